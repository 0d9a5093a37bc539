"""Asks a workspace again and again who it is, through the Databricks SDK for Python: signed in as the environment says.

Usage: sdk.py SECONDS. Prints each answer that differs from the last one; the first failed call ends it.
"""

import sys
import time

from databricks.sdk import WorkspaceClient

workspace = WorkspaceClient()
last = None
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    name = workspace.current_user.me().user_name
    if name != last:
        last = name
        print(name, flush=True)
    time.sleep(0.5)

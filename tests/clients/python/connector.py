"""Runs the smoke query again and again through the Databricks SQL connector for Python, over its Statement Execution
backend, signed in by a `credentials_provider` that asks lakekey.

Usage: connector.py WAREHOUSE SECONDS. Prints each row that differs from the last one; the first failed query ends it.
"""

import os
import sys
import time
import urllib.parse

from databricks import sql
from databricks.sdk.core import Config
from databricks.sql.auth.token_federation import TokenFederationProvider

# That wrapper takes every workspace for https at port 443, so it would try to exchange a token of the simulated cloud, which
# is neither; a token that a workspace has issued itself is not exchanged.
TokenFederationProvider._should_exchange_token = lambda self, token: False


def credentials_provider():
    """What docs/tokens.md shows: the SDK asks lakekey, and knows when to ask again."""
    return Config().authenticate


warehouse, seconds = sys.argv[1], float(sys.argv[2])
host = urllib.parse.urlsplit(os.environ["DATABRICKS_HOST"])
last = None
end = time.monotonic() + seconds
with sql.connect(
    # Only loopback is spoken to in the clear; a real workspace needs neither scheme nor port.
    server_hostname=f"{host.scheme}://{host.hostname}" if host.scheme == "http" else host.hostname,
    _port=host.port or 443,
    http_path=f"/sql/1.0/warehouses/{warehouse}",
    credentials_provider=credentials_provider,
    use_sea=True,
    use_cloud_fetch=False,
    enable_telemetry=False,
) as connection:
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user(), current_catalog(), current_schema()")
            row = cursor.fetchone()
        if row != last:
            last = row
            print(*row, flush=True)
        time.sleep(0.5)

"""Runs dbt as its own command does, against a workspace on a port of loopback: the SQL connector that comes with
dbt-databricks takes every workspace for one at port 443.

Usage: run_dbt.py ARGUMENTS-OF-DBT.
"""

import sys
import urllib.parse

from dbt.adapters.databricks.spog import probe

# It would ask at port 443 whether the workspace is one of the kind that has one address for all.
probe.probe_host = lambda host: probe.HostMetadata(host_type=None)

from databricks.sql.auth.token_federation import TokenFederationProvider
from databricks.sql.backend.sea.utils.http_client import SeaHttpClient
from dbt.cli.main import cli

make = SeaHttpClient.__init__


def at_its_port(self, server_hostname, port, *rest, **named):
    url = urllib.parse.urlsplit(server_hostname)
    make(self, f"{url.scheme}://{url.hostname}", url.port, *rest, **named)


SeaHttpClient.__init__ = at_its_port
# It would exchange a token of the simulated cloud at port 443; one that a workspace has issued itself is not exchanged.
TokenFederationProvider._should_exchange_token = lambda self, token: False
sys.exit(cli())

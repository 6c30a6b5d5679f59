"""Template as a bridge.

The runner asks for targets, their columns and pages of their rows; it filters, orders, counts and aggregates by itself.
"""

import urllib.parse
from typing import Any

from bridge import (
    Column,
    Description,
    Failure,
    Field,
    Kind,
    Plugin,
    ReadOptions,
    Rows,
    Schema,
    export,
    fetch,
)


class Connection(Plugin):
    """The service, as one source of a runner reaches it."""

    description = Description(
        "@example/bridge-template",
        "Template",
        "0.1.0",
        [
            # An endpoint is a host that the plugin may connect to. All others the operator must allow.
            Field("baseUrl", "Base URL", required=True, endpoint=True, placeholder="https://api.acme.com/v1"),
            Field("token", "API token", type="password"),
        ],
    )

    def __init__(self, config: dict[str, Any]):
        self.base_url = config["baseUrl"].rstrip("/")
        self.headers = {"authorization": f"Bearer {config['token']}"} if "token" in config else {}

    def targets(self) -> list[str]:
        return ["things"]

    def schema(self, target: str) -> Schema:
        if target != "things":
            raise Failure("not-found", f"there is no {target}")
        return Schema([Column("id", Kind.INT64, key=True), Column("name", Kind.TEXT)])

    def read(self, target: str, options: ReadOptions) -> Rows:
        """At most options.limit rows in the order of the key, from options.cursor on. With a service that gives things
        behind an id, as many as it is asked for:

            after = urllib.parse.quote(options.cursor or "0", safe="")
            things = self.get(f"/{target}?after={after}&limit={options.limit}")
            rows = [[thing["id"], thing["name"]] for thing in things]
            full = len(rows) == options.limit > 0
            return Rows(self.schema(target).columns, rows, next_cursor=str(rows[-1][0]) if full else None)
        """
        self.schema(target)
        raise Failure("internal", "read is still to be written, in app.py")

    def get(self, path: str) -> Any:
        response = fetch(self.base_url + path, headers=self.headers)
        if response.status != 200:
            raise Failure("query-failed", f"{path} answers {response.status}", native_code=str(response.status))
        return response.json()


Bridge = export(Connection)

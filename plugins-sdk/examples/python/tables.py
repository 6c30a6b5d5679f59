"""Tables that stand in the settings, as JSON:

    {"tables": [{
      "name": "planets",
      "columns": [{"name": "id", "kind": "int64"}, {"name": "seen", "kind": "timestamp", "nullable": true}],
      "key": ["id"],
      "rows": [[1, "2026-01-02T03:04:05Z"], [2, null]]
    }]}
"""

import base64
import datetime
import json
from dataclasses import dataclass
from typing import Any

from bridge import Column, Kind, Mistake, micros

SETTING = "data"


@dataclass
class Table:
    """One table, its rows in the order of their key."""

    columns: list[Column]
    rows: list[list[Any]]


def tables(text: str) -> dict[str, Table]:
    """Reads the setting."""
    try:
        return {table["name"]: read_table(table) for table in json.loads(text)["tables"]}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Mistake(SETTING, f"tables as JSON ({type(error).__name__}: {error})") from error


def read_table(table: dict[str, Any]) -> Table:
    key = table["key"]
    columns = [read_column(column, key) for column in table["columns"]]
    rows = [read_row(columns, row) for row in table["rows"]]
    names = [column.name for column in columns]
    positions = [names.index(name) for name in key]
    rows.sort(key=lambda row: [row[position] for position in positions])
    return Table(columns, rows)


def read_column(column: dict[str, Any], key: list[str]) -> Column:
    name = column["name"]
    return Column(name, Kind[column["kind"].upper()], column.get("nullable", False), key=name in key)


def read_row(columns: list[Column], row: list[Any]) -> list[Any]:
    if len(row) != len(columns):
        raise ValueError(f"a row of {len(row)} values for {len(columns)} columns")
    return [read_value(column, value) for column, value in zip(columns, row)]


def read_value(column: Column, value: Any) -> Any:
    if value is None:
        if not column.nullable or column.key:
            raise ValueError(f"null in {column.name}")
        return None
    match column.kind:
        case Kind.BINARY:
            return base64.b64decode(value, validate=True)
        case Kind.DATE:
            return datetime.date.fromisoformat(value[:10])
        case Kind.TIMESTAMP:
            return micros(datetime.datetime.fromisoformat(value))
        case Kind.FLOAT64:
            return float(value)
        case Kind.JSON:
            return value
    wanted = TYPES[column.kind]
    if type(value) is not wanted:
        raise ValueError(f"{type(value).__name__} in {column.name}")
    return value


TYPES = {
    Kind.BOOLEAN: bool,
    Kind.INT64: int,
    Kind.UINT64: int,
    Kind.DECIMAL: str,
    Kind.TEXT: str,
    Kind.TIME: str,
    Kind.UUID: str,
}

"""A plugin that serves rows out of its own memory: a table of generated people, or tables that stand in its settings.

It implements only `read`; filters, orders, counts and aggregates are the runner's.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from bridge import (
    Column,
    Description,
    Failure,
    Field,
    Mistake,
    Plugin,
    ReadOptions,
    Rows,
    Schema,
    export,
)
from people import COLUMNS, people
from tables import SETTING, Table, tables

#: The table of generated rows.
PEOPLE = "people"


class Memory(Plugin):
    """Tables in memory."""

    description = Description(
        "@semilayer-example/bridge-memory-python",
        "Memory (Python)",
        "0.1.0",
        [
            Field(
                "rows",
                "Generated rows",
                type="number",
                required=True,
                hint='How many rows the table "people" has; 0 for no such table.',
            ),
            Field(
                SETTING,
                "Tables",
                hint='Tables as JSON: {"tables": [{"name", "columns", "key", "rows"}]}.',
                advanced=True,
            ),
        ],
    )

    @staticmethod
    def settings(config: dict[str, Any]) -> tuple[int, dict[str, Table]]:
        rows = config.get("rows")
        if type(rows) is not int or rows < 0:
            raise Mistake("rows", "a whole number, 0 or more")
        return rows, tables(config[SETTING]) if SETTING in config else {}

    def __init__(self, settings: tuple[int, dict[str, Table]]):
        self.people, self.tables = settings

    def targets(self) -> list[str]:
        return [*self.tables, *([PEOPLE] if self.people else [])]

    def schema(self, target: str) -> Schema:
        if self.people and target == PEOPLE:
            return Schema(COLUMNS, self.people)
        table = self.table(target)
        return Schema(table.columns, len(table.rows))

    def read(self, target: str, options: ReadOptions) -> Rows:
        if self.people and target == PEOPLE:
            first, end = page(options, self.people)
            return rows(COLUMNS, self.people, people(first, end), end, options)
        table = self.table(target)
        first, end = page(options, len(table.rows))
        return rows(table.columns, len(table.rows), table.rows[first:end], end, options)

    def table(self, target: str) -> Table:
        if target not in self.tables:
            raise Failure("not-found", f"there is no {target}")
        return self.tables[target]


Bridge = export(Memory)


def page(options: ReadOptions, count: int) -> tuple[int, int]:
    """The first row and the end. A cursor is the position of the next row: these tables never change."""
    cursor = options.cursor or "0"
    if not cursor.isdecimal():
        raise Failure("invalid-request", "expected a cursor of this target", field="cursor")
    first = int(cursor)
    return first, min(count, first + options.limit)


def rows(columns: list[Column], count: int, values: Iterable[Any], end: int, options: ReadOptions) -> Rows:
    """The page with the columns that were asked for."""
    total = count if options.total else None
    next_cursor = str(end) if end < count else None
    if options.fields is not None:
        columns, values = picked(columns, values, options.fields)
    return Rows(columns, values, next_cursor, total)


def picked(
    columns: list[Column], values: Iterable[Any], fields: list[str]
) -> tuple[list[Column], Iterable[Any]]:
    names = [column.name for column in columns]
    for field in fields:
        if field not in names:
            raise Failure("invalid-request", "expected a column of this target", field=field)
    positions = [names.index(field) for field in fields]
    if len(positions) == 1:
        return [columns[positions[0]]], ([row[positions[0]]] for row in values)
    return [columns[position] for position in positions], map(itemgetter(*positions), values)

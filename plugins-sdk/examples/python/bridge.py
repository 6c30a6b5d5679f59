"""What a bridge is in Python: a subclass of Plugin. The shapes of the interface stay in here.

The component's connections and cursors are classes of the module that has the interface's name, so this file keeps its
name. Modules are found while the component is built, not when it runs: import at the top of a file, never in a function.
"""

import datetime
import json
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import Any

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import bridge as interface
from wit_world.imports import host, http, types
from wit_world.imports.types import ErrorCode, Kind

SDK = "python 0.1.0"
#: How many rows are made before it is seen how large they are.
ROWS_AT_ONCE = 32
#: The largest body of an answer, in bytes.
BODY_LIMIT = 64 << 20


@dataclass
class Field:
    """A setting of a source, with a key in lowerCamelCase."""

    key: str
    label: str
    type: str = "string"  # or "password", "number", "boolean"
    required: bool = False
    default: str | None = None
    placeholder: str | None = None
    hint: str | None = None
    advanced: bool = False
    #: Whether the value is a URL or a host that the plugin connects to.
    endpoint: bool = False


@dataclass
class Description:
    """What a plugin is."""

    package_name: str
    display_name: str
    version: str
    fields: list[Field] = field(default_factory=list)
    #: What a url looks like that may stand for the fields.
    url_placeholder: str | None = None
    icon: str | None = None
    #: Whether `read` looks at changed_since.
    changed_since: bool = False


@dataclass
class Column:
    """A column of a target, and of rows."""

    name: str
    kind: Kind
    nullable: bool = True
    key: bool = False
    #: The database's own name of the type; the kind's when there is none.
    native_type: str | None = None


@dataclass
class Schema:
    """What a target looks like. The number of rows is 0 when nobody knows it."""

    columns: list[Column]
    row_count: int = 0


@dataclass
class ReadOptions:
    """Which page of a target is wanted."""

    limit: int
    #: What an earlier page gave as its next_cursor.
    cursor: str | None = None
    #: Columns; all when there is no list. Rows may have more.
    fields: list[str] | None = None
    changed_since: datetime.datetime | None = None
    change_tracking_column: str = "updated_at"
    #: Whether the number of all rows is wanted.
    total: bool = False


@dataclass
class Rows:
    """A page. Each row has one value a column, None for null; rows are taken as they are needed.

    A value is what its column's kind says: bool, int (int64 and uint64; date in days since 1970 or a datetime.date;
    timestamp in microseconds since 1970 or a datetime), float, str (decimal, text, time, uuid), bytes (binary), and for
    json whatever json.dumps takes.
    """

    columns: list[Column]
    rows: Iterable[Sequence[Any]]
    #: Where the next page begins, if there is one.
    next_cursor: str | None = None
    total: int | None = None


class Failure(Exception):
    """Why something failed: Failure("query-failed", "what was wrong"). The codes are those of the interface."""

    def __init__(
        self,
        code: str,
        message: str,
        field: str | None = None,
        native_code: str | None = None,
        retry_after_ms: int | None = None,
        connection_lost: bool = False,
    ):
        super().__init__(message)
        self.code = ErrorCode[code.replace("-", "_").upper()]
        self.field = field
        self.native_code = native_code
        self.retry_after_ms = retry_after_ms
        self.connection_lost = connection_lost

    def told(self) -> types.Error:
        return types.Error(
            self.code, str(self), self.field, self.native_code, self.retry_after_ms, self.connection_lost
        )


class Mistake(Exception):
    """What is wrong with one setting; `expected` is fit to stand after the word expected."""

    def __init__(self, field: str, expected: str):
        super().__init__(f"expected {expected}")
        self.field = field
        self.expected = expected


class Plugin:
    """A connection to a source. The runner makes one instance of the component for each."""

    description: Description

    @staticmethod
    def settings(config: dict[str, Any]) -> Any:
        """What __init__ needs, out of the configuration. Raises Mistake. Uses no network."""
        return config

    def __init__(self, settings: Any):
        """Connects. Raises Failure, as everything below does."""

    def test(self) -> None:
        """Proves that the database answers."""
        self.targets()

    def targets(self) -> list[str]:
        """Names of everything that can be read."""
        raise NotImplementedError

    def schema(self, target: str) -> Schema:
        """The columns of a target."""
        raise NotImplementedError

    def read(self, target: str, options: ReadOptions) -> Rows:
        """One page of a target, in an order that does not change. The runner does the rest from this."""
        raise NotImplementedError


@dataclass
class Response:
    """An answer over HTTP, whatever its status is. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def fetch(
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timeout_ms: int | None = None,
) -> Response:
    """Asks an endpoint of the settings, or another host that the operator allows."""
    request = http.Request(method, url, list((headers or {}).items()), body, None, timeout_ms)
    with http.send(request) as response:
        parts: list[bytes] = []
        while part := response.read(1 << 16):
            parts.append(part)
            if sum(map(len, parts)) > BODY_LIMIT:
                raise Failure("resource-exhausted", f"an answer above {BODY_LIMIT} bytes")
        return Response(response.status(), dict(response.headers()), b"".join(parts))


def export(plugin: type[Plugin]) -> type[exports.Bridge]:
    """The class that the component exports. The module that is built must have it under the name Bridge."""

    class Exported(exports.Bridge):
        def describe(self) -> types.Description:
            return _description(plugin.description)

        def check_config(self, config: str) -> list[types.Mistake]:
            try:
                plugin.settings(json.loads(config))
            except Mistake as mistake:
                return [types.Mistake(mistake.field, mistake.expected)]
            return []

        def connect(self, config: str) -> interface.Connection:
            with _Told():
                return Connection(plugin(plugin.settings(json.loads(config))))

    return Exported


class Connection(interface.Connection):
    """The interface's connection."""

    def __init__(self, plugin: Plugin):
        self.plugin = plugin

    def test(self) -> None:
        with _Told():
            self.plugin.test()

    def list_targets(self) -> list[str]:
        with _Told():
            return sorted(self.plugin.targets())

    def introspect_target(self, target: str) -> types.Schema:
        with _Told():
            schema = self.plugin.schema(target)
            return types.Schema([_column_schema(column) for column in schema.columns], schema.row_count)

    def read(self, target: str, options: str) -> interface.Cursor:
        with _Told():
            return Cursor(self.plugin.read(target, _read_options(json.loads(options))))

    def query(self, target: str, options: str) -> interface.Cursor:
        raise _left_to_the_runner("query")

    def count(self, target: str, where: str | None) -> types.Counted:
        raise _left_to_the_runner("count")

    def aggregate(self, target: str, options: str) -> interface.Cursor:
        raise _left_to_the_runner("aggregate")

    def search(self, target: str, options: str) -> interface.Cursor:
        raise _left_to_the_runner("search")

    def similar(self, target: str, options: str) -> interface.Cursor:
        raise _left_to_the_runner("similar")


class Cursor(interface.Cursor):
    """The interface's cursor: packs rows into columns, which is faster here than writing JSON."""

    def __init__(self, page: Rows):
        self.page = page
        self.rows = iter(page.rows)
        self.encoders = [_ENCODERS[column.kind] for column in page.columns]

    def columns(self) -> list[types.ColumnInfo]:
        return [types.ColumnInfo(column.name, column.kind) for column in self.page.columns]

    def next_batch(self, max_rows: int, max_bytes: int) -> types.Batch | None:
        with _Told():
            rows = self._take(max_rows, max_bytes)
            if not rows:
                return None
            columns = [encode(values) for encode, values in zip(self.encoders, zip(*rows, strict=True))]
            return types.Batch_Columns(types.ColumnBatch(len(rows), columns))

    def tail(self) -> types.Tail:
        return types.Tail(self.page.next_cursor, self.page.total, approximate=False, method=None)

    def _take(self, max_rows: int, max_bytes: int) -> list[Sequence[Any]]:
        taken: list[Sequence[Any]] = []
        size = 0
        while len(taken) < max_rows and size < max_bytes:
            some = list(islice(self.rows, min(ROWS_AT_ONCE, max_rows - len(taken))))
            if not some:
                break
            taken += some
            size += sum(len(value) for row in some for value in row if type(value) in (str, bytes))
        return taken


class _Told:
    """What is raised within becomes an error of the interface; what nobody expected is in the log, too."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: Any, error: BaseException | None, _traceback: Any) -> None:
        match error:
            case None | Err():
                return
            case Failure():
                raise Err(error.told())
            case Mistake():
                raise Err(Failure("invalid-config", str(error), field=error.field).told())
            case Exception():
                host.log(host.Level.ERROR, "".join(traceback.format_exception(error)))
                raise Err(Failure("internal", f"{type(error).__name__}: {error}").told())


def _left_to_the_runner(kind: str) -> Err:
    return Err(Failure("unsupported-kind", f"{kind} is the runner's").told())


def _description(description: Description) -> types.Description:
    fields = [
        types.Field(
            field.key,
            field.label,
            types.FieldType[field.type.upper()],
            field.required,
            field.default,
            field.placeholder,
            field.hint,
            field.advanced,
            field.endpoint,
        )
        for field in description.fields
    ]
    manifest = types.Manifest(
        description.package_name, description.display_name, description.icon, description.url_placeholder, fields
    )
    capabilities = types.Capabilities.CHANGED_SINCE if description.changed_since else types.Capabilities(0)
    return types.Description(
        description.version, SDK, manifest, types.Provides(0), capabilities, types.Aggregates(0)
    )


def _column_schema(column: Column) -> types.ColumnSchema:
    native_type = column.native_type or column.kind.name.lower()
    return types.ColumnSchema(column.name, native_type, column.nullable and not column.key, column.key)


def _read_options(options: dict[str, Any]) -> ReadOptions:
    changed_since = options.get("changedSince")
    return ReadOptions(
        options["limit"],
        options.get("cursor"),
        options.get("fields"),
        datetime.datetime.fromisoformat(changed_since) if changed_since else None,
        options.get("changeTrackingColumn", "updated_at"),
        options.get("total", False),
    )


def _validity(values: Sequence[Any]) -> bytes:
    """One bit a row, the first row in the lowest; nothing when no value is null."""
    if None not in values:
        return b""
    bits = "".join("0" if value is None else "1" for value in reversed(values))
    return int(bits, 2).to_bytes((len(values) + 7) // 8, "little")


def _booleans(values: Sequence[bool | None]) -> types.Column:
    return types.Column(_validity(values), types.ColumnData_Bools(bytes(map(bool, values))))


def _integers(values: Sequence[int | None]) -> types.Column:
    return types.Column(_validity(values), types.ColumnData_Ints([value or 0 for value in values]))


def _unsigned(values: Sequence[int | None]) -> types.Column:
    return types.Column(_validity(values), types.ColumnData_Uints([value or 0 for value in values]))


def _floats(values: Sequence[float | None]) -> types.Column:
    return types.Column(_validity(values), types.ColumnData_Floats([value or 0.0 for value in values]))


def _strings(values: Sequence[Any]) -> types.Column:
    texts = ["" if value is None else str(value) for value in values]
    return types.Column(_validity(values), types.ColumnData_Strings(texts))


def _documents(values: Sequence[Any]) -> types.Column:
    texts = [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in values]
    return types.Column(_validity(values), types.ColumnData_Strings(texts))


def _binaries(values: Sequence[bytes | None]) -> types.Column:
    parts = [value or b"" for value in values]
    packed = types.Packed([0, *accumulate(map(len, parts))], b"".join(parts))
    return types.Column(_validity(values), types.ColumnData_Binaries(packed))


def _dates(values: Sequence[datetime.date | int | None]) -> types.Column:
    days = [value if type(value) is int else _days(value) for value in values]
    return types.Column(_validity(values), types.ColumnData_Ints(days))


def _timestamps(values: Sequence[datetime.datetime | int | None]) -> types.Column:
    instants = [value if type(value) is int else micros(value) for value in values]
    return types.Column(_validity(values), types.ColumnData_Ints(instants))


def _days(date: datetime.date | None) -> int:
    return 0 if date is None else date.toordinal() - _EPOCH.toordinal()


def micros(instant: datetime.datetime | None) -> int:
    """Microseconds since 1970. Without a time zone it is taken as UTC."""
    if instant is None:
        return 0
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=datetime.timezone.utc)
    return (instant - _EPOCH) // datetime.timedelta(microseconds=1)


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_ENCODERS = {
    Kind.BOOLEAN: _booleans,
    Kind.INT64: _integers,
    Kind.UINT64: _unsigned,
    Kind.FLOAT64: _floats,
    Kind.DECIMAL: _strings,
    Kind.TEXT: _strings,
    Kind.BINARY: _binaries,
    Kind.DATE: _dates,
    Kind.TIME: _strings,
    Kind.TIMESTAMP: _timestamps,
    Kind.UUID: _strings,
    Kind.JSON: _documents,
}

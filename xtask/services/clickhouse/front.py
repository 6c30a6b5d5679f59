"""ClickHouse's HTTP interface in front of chdb, which is ClickHouse's engine as a library.

usage: front.py SETTINGS, where SETTINGS is a JSON file:

    {"host": "127.0.0.1", "port": 8123, "tlsPort": 8443,
     "certificate": "server.crt", "key": "server.key", "ca": "ca.crt",
     "data": "folder of the data", "database": "made at the start",
     "users": [{"name": "app", "password": "..", "readonly": 0, "certificate": "common name"}]}

Every request has an engine session of its own (a `session_id` keeps one), so that settings, limits, read-only
modes, parameters, cancellation and errors are the engine's. The front adds what a server does: credentials,
status codes and headers, streaming with back-pressure, compressed bodies, errors in the middle of an answer.

What it is not: there are no grants, no quotas, no query log, no native protocol. A query is known to the
engine by its comment, so `log_comment` belongs to the front; `KILL QUERY` and `system.processes` show the
query id that the client gave.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hmac
import http.server
import json
import re
import secrets
import select
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import lz4.block
import lz4.frame
from chdb.session import Session

Read = Callable[[int], bytes]
"""Returns as many bytes as asked for, fewer only at the end; -1 asks for all."""

PIECE = 1 << 18
BODY_LIMIT = 1 << 28
"""Of a body that must be in memory as a whole; inserts are streamed and have no limit."""
SESSION_LIMIT = 100

COMMENTS = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
INSERT = re.compile(COMMENTS + r"INSERT\s+INTO\b", re.I | re.S)
INSERT_FORMAT = re.compile(r"\bFORMAT\s+(\w+)[ \t]*;?[ \t]*\r?\n?", re.I)
OUTPUT_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\s[^()]*)?;?\s*$", re.I)
SELECT = re.compile(COMMENTS + r"\(*\s*(?:SELECT|WITH|FROM|VALUES)\b", re.I | re.S)
SESSION_STATEMENT = re.compile(r"\s*(?:SET|USE)\b", re.I)
KILL = re.compile(r"\s*KILL\s+QUERY\b", re.I)
PROCESSES = re.compile(r"\bsystem\s*\.\s*processes\b", re.I)
ENGINE_ERROR = re.compile(r"Code: (\d+)\. DB::Exception: ")
ENGINE_VERSION = re.compile(r"\s*\(version [^)]*\)\.?(?:\s*\([A-Z0-9_]+\))?\s*$")

# Formats whose pieces can be sent one after the other as they are.
STREAMED = frozenset(
    "TabSeparated TSV TSVRaw TabSeparatedRaw CSV JSONEachRow JSONLines NDJSON JSONCompactEachRow JSONStringsEachRow "
    "JSONCompactStringsEachRow RowBinary Native Values Null TSKV MsgPack LineAsString".split()
)
# Formats that begin with so many lines of names and types. The engine repeats them in every piece.
HEADER_LINES = {
    "CSVWithNames": 1,
    "CSVWithNamesAndTypes": 2,
    "TSVWithNames": 1,
    "TSVWithNamesAndTypes": 2,
    "TabSeparatedWithNames": 1,
    "TabSeparatedWithNamesAndTypes": 2,
    "JSONCompactEachRowWithNames": 1,
    "JSONCompactEachRowWithNamesAndTypes": 2,
}
# The same in binary: a count, then so many strings for each column.
HEADER_STRINGS = {"RowBinaryWithNames": 1, "RowBinaryWithNamesAndTypes": 2}

# Arguments of the URL that are for the front; all others are settings of the engine.
ARGUMENTS = frozenset(
    "query database default_format user password query_id session_id session_timeout session_check role compress decompress "
    "buffer_size wait_end_of_query quota_key stacktrace close_session client_protocol_version log_comment "
    "send_progress_in_http_headers http_headers_progress_interval_ms cancel_http_readonly_queries_on_client_close "
    "enable_http_compression".split()
)

STATUS_OF_CODE = {
    **dict.fromkeys((6, 25, 26, 27, 33, 36, 38, 41, 53, 62, 70, 72, 86, 107, 117, 130, 131, 349, 427, 456, 457, 620), 400),
    194: 401,
    **dict.fromkeys((192, 193, 511, 516), 403),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 63, 73, 81, 115), 404),
    159: 408,
    61: 413,
    48: 501,
    **dict.fromkeys((76, 209), 503),
}
CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "Parquet": "application/octet-stream",
}


class Refusal(Exception):
    """Something the front refuses, in the engine's words."""

    def __init__(self, code: int, text: str, name: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text} ({name})")


@dataclasses.dataclass(frozen=True)
class User:
    name: str
    password: str | None = None
    readonly: int = 0
    certificate: str | None = None
    """The common name of the certificate that is this user's way in."""


@dataclasses.dataclass
class Front:
    """What all requests share."""

    data: str
    users: dict[str, User]
    keep: Session
    """Never used for requests: the data stays open as long as it is."""
    version: str
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    sessions: dict[tuple[str, str], Session] = dataclasses.field(default_factory=dict)

    def session(self, owner: str, name: str | None) -> Session:
        """A new session, or the owner's of this name, which stays until the server ends."""
        with self.lock:
            if name is None:
                return Session(self.data)
            known = self.sessions.get((owner, name))
            if known is None:
                if len(self.sessions) >= SESSION_LIMIT:
                    raise Refusal(202, "Too many sessions", "TOO_MANY_SIMULTANEOUS_QUERIES")
                known = self.sessions[owner, name] = Session(self.data)
            return known

    def kill(self, query: str) -> None:
        """Ends a query of which the client has gone."""
        with self.session("", None) as session:
            session.query(f"KILL QUERY WHERE Settings['log_comment'] = {literal(query)} ASYNC")


@dataclasses.dataclass
class Request:
    """One statement, with the data that is for it."""

    arguments: dict[str, str]
    query_id: str
    statement: str
    data: Iterator[bytes]
    method: str
    compression: bool
    """Whether the client takes lz4."""
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def parameters(self) -> dict[str, str]:
        return {name[6:]: value for name, value in self.arguments.items() if name.startswith("param_")}

    @property
    def settings(self) -> dict[str, str]:
        return {
            name: value
            for name, value in self.arguments.items()
            if name not in ARGUMENTS and not name.startswith("param_")
        }

    def format(self) -> str:
        stated = OUTPUT_FORMAT.search(self.statement)
        return stated[1] if stated else self.arguments.get("default_format") or "TabSeparated"


@dataclasses.dataclass
class Counts:
    """What the summary header says."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0

    def summary(self, started: float) -> str:
        total = self.read_rows or self.written_rows
        size = self.read_bytes or self.written_bytes
        values = {
            "read_rows": total,
            "read_bytes": size,
            "written_rows": self.written_rows,
            "written_bytes": self.written_bytes,
            "total_rows_to_read": self.read_rows,
            "result_rows": self.result_rows or self.written_rows,
            "result_bytes": size,
            "elapsed_ns": int((time.monotonic() - started) * 1e9),
        }
        return json.dumps({name: str(value) for name, value in values.items()}, separators=(",", ":"))


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection. `server.front` has what is shared."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    server: Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their URLs may have passwords."""

    def handle_expect_100(self) -> bool:
        self.send_response_only(100)
        self.end_headers()
        return True

    def do_POST(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        arguments = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.query_id = arguments.get("query_id") or str(uuid.uuid4())
        self.tag = secrets.token_hex(8)
        self.begun, self.body_read = False, False
        self.frame: lz4.frame.LZ4FrameCompressor | None = None
        try:
            if url.path == "/ping" or (url.path == "/" and self.command == "GET" and "query" not in arguments):
                self.answer(b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
            elif url.path in ("/", "/query"):
                self.perform(arguments)
            else:
                self.answer(b"There is no handle " + url.path.encode() + b"\n", {"Content-Type": "text/plain"}, 404)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            self.fail(str(error))
        finally:
            self.wfile.flush()

    do_GET = do_POST

    # A request, as far as the statement.

    def perform(self, arguments: dict[str, str]) -> None:
        user = self.authenticate(arguments)
        request = self.read_request(arguments)
        name = arguments.get("session_id")
        session = self.server.front.session(user.name, name)
        try:
            self.prepare(session, request, user)
            with self.watched(arguments):
                self.execute(session, request)
        finally:
            if name is None:
                session.close()

    def authenticate(self, arguments: dict[str, str]) -> User:
        name = self.headers.get("X-ClickHouse-User")
        password = self.headers.get("X-ClickHouse-Key")
        basic = self.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            name, _, password = base64.b64decode(basic[6:]).decode().partition(":")
        name = name or arguments.get("user") or "default"
        password = arguments.get("password", "") if password is None else password
        user = self.server.front.users.get(name)
        if user is not None and self.is_proven(user, password):
            return user
        text = f"{name}: Authentication failed: password is incorrect, or there is no user with such name."
        raise Refusal(516, text, "AUTHENTICATION_FAILED")

    def is_proven(self, user: User, password: str) -> bool:
        if self.headers.get("X-ClickHouse-SSL-Certificate-Auth") == "on":
            return user.certificate is not None and user.certificate == self.client_name()
        return user.password is not None and hmac.compare_digest(user.password.encode(), password.encode())

    def client_name(self) -> str | None:
        """The common name of the client's certificate, which the handshake has verified."""
        if not isinstance(self.connection, ssl.SSLSocket):
            return None
        certificate = self.connection.getpeercert() or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        return names[0] if names else None

    def read_request(self, arguments: dict[str, str]) -> Request:
        read = reader(self.pieces())
        content_type = self.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            arguments = arguments | form_fields(content_type, whole(read))
            read = reader(iter(()))
        data = pieces_of(read)
        if self.headers.get("Content-Encoding") == "gzip":
            data = iter([gzip.decompress(whole(read))])
        elif arguments.get("decompress") == "1":
            data = native_blocks(read)
        statement = arguments.get("query", "")
        if not statement:
            statement, data = self.statement_in_body(data)
        elif not INSERT.match(statement):
            statement, data = "\n".join(filter(None, [statement, collected(data).decode()])), iter(())
        database = self.headers.get("X-ClickHouse-Database")
        if database and "database" not in arguments:
            arguments = arguments | {"database": database}
        default_format = self.headers.get("X-ClickHouse-Format")
        if default_format and "default_format" not in arguments:
            arguments = arguments | {"default_format": default_format}
        takes_lz4 = "lz4" in self.headers.get("Accept-Encoding", "") and arguments.get("enable_http_compression", "1") != "0"
        return Request(arguments, self.query_id, statement, data, self.command, takes_lz4)

    @staticmethod
    def statement_in_body(data: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
        """An insert's rows follow its statement, so it is cut where its format is named."""
        body = collected(data)
        head = body[: 1 << 16].decode(errors="replace")
        named = INSERT_FORMAT.search(body[: 1 << 16].decode("latin-1")) if INSERT.match(head) else None
        if named is None:
            return body.decode(), iter(())
        return body[: named.end()].decode(), iter([body[named.end() :]])

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes; `body_read` says whether the connection can be used again."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0].strip() or b"0", 16):
                yield self.exactly(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0:
                piece = self.exactly(min(left, PIECE))
                left -= len(piece)
                yield piece
        self.body_read = True

    def exactly(self, size: int) -> bytes:
        piece = self.rfile.read(size)
        if len(piece) < size:
            raise ConnectionError("the client went away")
        return piece

    # The statement.

    def prepare(self, session: Session, request: Request, user: User) -> None:
        """Gives the session what the request says. The read-only mode comes at its right moment: a user who is
        read-only may not change settings at all, a GET request may, and then only read."""
        if database := request.arguments.get("database"):
            session.query(f"USE {identifier(database)}")
        mode = int(session.query("SELECT getSetting('readonly')", "TSV").bytes())
        if mode == 0:
            # As in a server: the library would take an unknown word for an expression.
            session.query(f"SET implicit_select = 0, log_comment = {literal(request.query_id)}")
            session.query(f"SET readonly = {user.readonly}")
        for name, value in request.settings.items():
            session.query(f"SET {identifier(name)} = {literal(value)}")
        if request.method == "GET" and not user.readonly and "session_id" not in request.arguments:
            session.query("SET readonly = 2")

    def execute(self, session: Session, request: Request) -> None:
        named = INSERT_FORMAT.search(request.statement) if INSERT.match(request.statement) else None
        if named is not None:
            return self.insert(session, request, named)
        # An insert without a format brings its rows as a part of the statement.
        request.statement += collected(request.data).decode()
        self.body_read = True
        statement = with_query_ids(request.statement)
        kind = session._conn._conn.classify_query(statement)
        if kind["statement_count"] > 1:
            raise Refusal(62, "Syntax error (Multi-statements are not allowed)", "SYNTAX_ERROR")
        if kind["query_class"].name != "READ_ONLY" and not SESSION_STATEMENT.match(statement):
            if request.method == "GET":
                raise Refusal(164, "default: Cannot execute query in readonly mode.", "READONLY")
            return self.write(session, request, statement)
        format = request.format()
        streams = format in STREAMED or format in HEADER_LINES or format in HEADER_STRINGS
        if SELECT.match(statement) and streams:
            return self.stream(session, request, statement, format)
        # The engine cannot make the others in pieces: JSON, Parquet, Arrow, and what SHOW and DESCRIBE say.
        result = session.query(statement, format, params=request.parameters)
        counts = Counts(result.storage_rows_read(), result.storage_bytes_read(), result_rows=result.rows_read())
        return self.finish(request, format, counts, result.bytes())

    def insert(self, session: Session, request: Request, named: re.Match[str]) -> None:
        """Rows go to the engine as they come."""
        mode = session.query("SELECT getSetting('readonly')", "TSV").bytes().strip()
        if mode != b"0":
            raise Refusal(164, "default: Cannot execute query in readonly mode.", "READONLY")
        insert = session.send_insert(request.statement[: named.start()], named[1])
        try:
            if rest := request.statement[named.end() :]:
                insert.append(rest.encode())
            for piece in request.data:
                insert.append(piece)
            result = insert.finish()
        finally:
            insert.close()
        counts = Counts(written_rows=result.rows_written, written_bytes=result.bytes_written)
        self.finish(request, "TabSeparated", counts, b"")

    def write(self, session: Session, request: Request, statement: str) -> None:
        result = session.query(statement, "TabSeparated", params=request.parameters)
        counts = Counts(written_rows=result.rows_written(), written_bytes=result.bytes_written())
        self.finish(request, "TabSeparated", counts, result.bytes())

    def stream(self, session: Session, request: Request, statement: str, format: str) -> None:
        """Sends the engine's pieces as it makes them. A client that reads slowly holds the engine back; one that
        goes away ends the query."""
        connection = session._conn._conn
        query = connection.send_query(statement, format, params=request.parameters)
        over = False
        try:
            rows, pieces = 0, self.streamed(connection, query, format)
            first = next(pieces, None)
            if request.arguments.get("wait_end_of_query") == "1":
                held = [first, *pieces] if first else []
                rows = sum(count for _, count in held)
                over = True
                counts = Counts(rows, sum(len(piece) for piece, _ in held), result_rows=rows)
                return self.finish(request, format, counts, b"".join(piece for piece, _ in held))
            self.begin(request, format)
            if first:
                self.send_chunk(first[0])
                for piece, _ in pieces:
                    self.send_chunk(piece)
            over = True
            self.end()
        except RuntimeError:
            over = True
            raise
        finally:
            if not over:
                connection.streaming_cancel_query(query)
        return None

    @staticmethod
    def streamed(connection: Any, query: Any, format: str) -> Iterator[tuple[bytes, int]]:
        """The pieces and their rows, with the header of the format in the first alone."""
        repeats = format in HEADER_LINES or format in HEADER_STRINGS
        first = True
        while (result := connection.streaming_fetch_result(query)) is not None:
            piece, rows = result.bytes(), result.rows_read()
            if not rows and not first:
                return
            if not first and repeats:
                piece = piece[header_length(format, piece) :]
            if piece:
                yield piece, rows
            if not rows:
                return
            first = False

    def watched(self, arguments: dict[str, str]) -> Watch:
        wanted = arguments.get("cancel_http_readonly_queries_on_client_close") == "1"
        return Watch(self.connection, self.query_id, self.server.front, wanted)

    # The answer.

    def answer(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_head(status, headers | {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def finish(self, request: Request, format: str, counts: Counts, body: bytes) -> None:
        self.answer(body, self.result_headers(request, format, counts))

    def begin(self, request: Request, format: str) -> None:
        headers = self.result_headers(request, format, Counts()) | {
            "X-ClickHouse-Exception-Tag": self.tag,
            "Transfer-Encoding": "chunked",
        }
        if request.compression:
            headers["Content-Encoding"] = "lz4"
            self.frame = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX1MB, auto_flush=True)
        self.send_head(200, headers)
        if self.frame is not None:
            self.write_chunk(self.frame.begin())

    def result_headers(self, request: Request, format: str, counts: Counts) -> dict[str, str]:
        return {
            "Content-Type": CONTENT_TYPES.get(format, "text/plain; charset=UTF-8"),
            "X-ClickHouse-Format": format,
            "X-ClickHouse-Summary": counts.summary(request.started),
        }

    def send_head(self, status: int, headers: dict[str, str]) -> None:
        self.begun = True
        self.send_response_only(status)
        own = {
            "Date": self.date_time_string(),
            "X-ClickHouse-Server-Display-Name": "chdb",
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Query-Id": self.query_id,
        }
        for name, value in (own | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def send_chunk(self, piece: bytes) -> None:
        self.write_chunk(piece if self.frame is None else self.frame.compress(piece))

    def write_chunk(self, piece: bytes) -> None:
        if piece:
            self.wfile.write(b"%x\r\n" % len(piece))
            self.wfile.write(piece)
            self.wfile.write(b"\r\n")

    def end(self) -> None:
        if self.frame is not None:
            self.write_chunk(self.frame.flush())
        self.wfile.write(b"0\r\n\r\n")

    def fail(self, text: str) -> None:
        code, text = engine_error(text)
        message = f"{text} (version {self.server.front.version} (official build))\n".encode()
        if self.begun:
            return self.fail_in_the_middle(message)
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Exception-Code": str(code),
            "X-ClickHouse-Exception-Tag": self.tag,
        }
        status = STATUS_OF_CODE.get(code, 500)
        if status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        if not self.body_read:
            # What is left of the body would be taken for the next request.
            headers["Connection"] = "close"
            self.close_connection = True
        self.answer(message, headers, status)

    def fail_in_the_middle(self, message: bytes) -> None:
        """The tagged block of ClickHouse 25.11 and newer, and a body that never ends."""
        tag = self.tag.encode()
        block = b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tag, message, len(message), tag)
        self.close_connection = True
        try:
            self.send_chunk(block)
            self.wfile.flush()
        except (ConnectionError, TimeoutError):
            pass


class Watch:
    """Ends the query if its client closes the connection while the engine has nothing to send yet."""

    def __init__(self, connection: socket.socket, query: str, front: Front, wanted: bool) -> None:
        self.connection, self.query, self.front = connection, query, front
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True) if wanted else None

    def __enter__(self) -> None:
        if self.thread is not None:
            self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.thread is not None:
            self.thread.join()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLRDHUP)
        while not self.over.is_set():
            if poll.poll(50):
                self.front.kill(self.query)
                return


def with_query_ids(statement: str) -> str:
    """The engine gives queries ids of its own; the client's id is in the comment."""
    if KILL.match(statement):
        return re.sub(r"\bquery_id\b", "Settings['log_comment']", statement)
    shown = "(SELECT * REPLACE (Settings['log_comment'] AS query_id) FROM system.processes)"
    return PROCESSES.sub(shown, statement)


def engine_error(text: str) -> tuple[int, str]:
    """The code, and the text as a server says it: the library wraps one error in another."""
    found = list(ENGINE_ERROR.finditer(text))
    if not found:
        return 1002, f"Code: 1002. DB::Exception: {text} (UNKNOWN_EXCEPTION)"
    return int(found[-1][1]), ENGINE_VERSION.sub("", text[found[-1].start() :])


def header_length(format: str, piece: bytes) -> int:
    if format in HEADER_LINES:
        at = 0
        for _ in range(HEADER_LINES[format]):
            at = piece.index(b"\n", at) + 1
        return at
    columns, at = number(piece, 0)
    for _ in range(columns * HEADER_STRINGS[format]):
        length, at = number(piece, at)
        at += length
    return at


def number(piece: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number and where it ends."""
    value = shift = 0
    while True:
        value |= (piece[at] & 0x7F) << shift
        shift += 7
        at += 1
        if piece[at - 1] < 0x80:
            return value, at


def native_blocks(read: Read) -> Iterator[bytes]:
    """Undoes ClickHouse's own framing: a checksum of 16 bytes, a method, two sizes, the data."""
    while head := read(25):
        method, size, original = struct.unpack("<BII", head[16:25])
        data = read(size - 9)
        if method == 0x82:
            yield lz4.block.decompress(data, uncompressed_size=original)
        elif method == 0x02:
            yield data
        else:
            raise Refusal(89, f"Unknown codec family code: {method}", "UNKNOWN_COMPRESSION_METHOD")


def reader(pieces: Iterator[bytes]) -> Read:
    buffer = bytearray()

    def read(size: int) -> bytes:
        while size < 0 or len(buffer) < size:
            piece = next(pieces, None)
            if piece is None:
                break
            buffer.extend(piece)
            if size < 0 and len(buffer) > BODY_LIMIT:
                raise Refusal(307, "The body is too large", "TOO_MANY_BYTES")
        taken = len(buffer) if size < 0 else size
        out = bytes(buffer[:taken])
        del buffer[:taken]
        return out

    return read


def whole(read: Read) -> bytes:
    return read(-1)


def pieces_of(read: Read) -> Iterator[bytes]:
    return iter(lambda: read(PIECE), b"")


def collected(data: Iterator[bytes]) -> bytes:
    return whole(reader(data))


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if boundary is None:
        raise Refusal(36, "A form without a boundary", "BAD_ARGUMENTS")
    fields = {}
    for part in body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        if name := re.search(rb'name="([^"]+)"', head):
            fields[name[1].decode()] = value[:-2].decode()
    return fields


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self, address: tuple[str, int], front: Front, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(address, Handler)
        self.front, self.tls = front, tls

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.socket.accept()
        if self.tls is not None:
            # The handshake is the connection's own thread's: a client that never ends it holds nobody up.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends badly is the client's affair."""


def tls_context(settings: dict[str, Any]) -> ssl.SSLContext:
    """Certificates of clients are verified where they are shown, and never demanded."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings["ca"])
    context.load_cert_chain(settings["certificate"], settings["key"])
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    users = {user["name"]: User(**user) for user in settings["users"]}
    keep = Session(settings["data"])
    keep.query(f"CREATE DATABASE IF NOT EXISTS {identifier(settings['database'])}")
    version = keep.query("SELECT version()", "TSV").bytes().decode().strip()
    front = Front(settings["data"], users, keep, version)
    secure = Server((settings["host"], settings["tlsPort"]), front, tls_context(settings))
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    plain = Server((settings["host"], settings["port"]), front)
    print(f"ClickHouse {version} at {settings['host']}:{settings['port']}", flush=True)
    plain.serve_forever()


if __name__ == "__main__":
    main()

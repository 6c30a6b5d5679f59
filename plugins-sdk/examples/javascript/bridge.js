// What a bridge is in JavaScript: a subclass of Plugin. The shapes of the interface stay in here.

import host from "semilayer:bridge/host@0.1.0";
import http from "semilayer:bridge/http@0.1.0";

const SDK = "javascript 0.1.0";
/** The largest body of an answer, in bytes. */
const BODY_LIMIT = 64 << 20;
/** What is read of it at once: few enough to be arguments of one call. */
const PART = 1 << 14;

/** Why something failed. The codes are those of the interface: "not-found", "query-failed", … */
export class Failure extends Error {
  /** `more` may have field, nativeCode, retryAfterMs and connectionLost. */
  constructor(code, message, more = {}) {
    super(message);
    this.code = code;
    this.more = more;
  }
}

/** What is wrong with one setting; `expected` is fit to stand after the word expected. */
export class Mistake extends Error {
  constructor(field, expected) {
    super(`expected ${expected}`);
    this.field = field;
    this.expected = expected;
  }
}

/** A connection to a source. The runner makes one instance of the component for each. */
export class Plugin {
  /**
   * What the plugin is: packageName, displayName, version, fields, and where it has them urlPlaceholder, icon and
   * changedSince (whether `read` looks at it). A field has key, label, and where it needs them type ("string", "password",
   * "number", "boolean"), required, default, placeholder, hint, advanced, endpoint (whether the plugin connects to it).
   */
  static description;

  /** What the constructor needs, out of the configuration. Throws Mistake. Uses no network. */
  static settings(config) {
    return config;
  }

  /** Connects. Throws Failure, as everything below does. */
  constructor(_settings) {}

  /** Proves that the database answers. */
  test() {
    this.targets();
  }

  /** Names of everything that can be read. */
  targets() {
    throw new Failure("internal", "targets() is not written");
  }

  /**
   * The columns of a target, and how many rows it has where that is known: `{ columns, rowCount }`. A column has name,
   * kind, and where it needs them nullable (true unless it says otherwise), key and nativeType.
   */
  schema(_target) {
    throw new Failure("internal", "schema() is not written");
  }

  /**
   * One page of a target, in an order that does not change: `{ columns, rows, nextCursor, total }`. The runner does the
   * rest from this. `options` has limit, and maybe cursor (an earlier page's nextCursor), fields (the columns that are
   * wanted), changedSince, changeTrackingColumn and total (whether the number of all rows is wanted).
   *
   * `rows` is anything that can be iterated: each row an array with one value a column, null for null. A value is what
   * its column's kind says: a boolean; a number, or a BigInt beyond 2^53 (int64, uint64); a number (float64, date in days
   * since 1970, timestamp in microseconds since 1970) or a Date; a string (decimal, text, time, uuid); a Uint8Array
   * (binary); and for json whatever JSON.stringify takes.
   */
  read(_target, _options) {
    throw new Failure("internal", "read() is not written");
  }
}

/**
 * Asks an endpoint of the settings, or another host that the operator allows, over HTTP. Answers `{ status, headers, body }`,
 * whatever the status is: names of headers are in lower case, the body is text.
 */
export function fetch(url, { method = "GET", headers = {}, body = null, timeoutMs = null } = {}) {
  const request = { method, url, headers: Object.entries(headers), body, tls: null, timeoutMs };
  const response = http.send(request);
  let bytes = "";
  for (let part = response.read(PART); part.length > 0; part = response.read(PART)) {
    bytes += String.fromCharCode(...part);
    if (bytes.length > BODY_LIMIT) throw new Failure("resource-exhausted", `an answer above ${BODY_LIMIT} bytes`);
  }
  // UTF-8, in an engine without TextDecoder.
  const text = decodeURIComponent(escape(bytes));
  return { status: response.status(), headers: Object.fromEntries(response.headers()), body: text };
}

/** What the component exports. The module that is built must export it under the name bridge. */
export function component(PluginClass) {
  return {
    describe: () => description(PluginClass.description),
    checkConfig: (config) => mistakes(() => PluginClass.settings(JSON.parse(config))),
    connect: (config) =>
      told(() => new Connection(new PluginClass(PluginClass.settings(JSON.parse(config))))),
    Connection,
    Cursor,
  };
}

class Connection {
  constructor(plugin) {
    this.plugin = plugin;
  }

  test() {
    told(() => this.plugin.test());
  }

  listTargets() {
    return told(() => this.plugin.targets());
  }

  introspectTarget(target) {
    return told(() => {
      const { columns, rowCount = 0 } = this.plugin.schema(target);
      return { columns: columns.map(columnSchema), rowCount };
    });
  }

  read(target, options) {
    return told(() => new Cursor(this.plugin.read(target, JSON.parse(options))));
  }

  query() {
    throw leftToTheRunner("query");
  }

  count() {
    throw leftToTheRunner("count");
  }

  aggregate() {
    throw leftToTheRunner("aggregate");
  }

  search() {
    throw leftToTheRunner("search");
  }

  similar() {
    throw leftToTheRunner("similar");
  }
}

/** Packs rows into columns, which is faster here than writing JSON. */
class Cursor {
  constructor({ columns, rows, nextCursor = null, total = null }) {
    this.kinds = columns.map(({ name, kind }) => ({ name, kind }));
    this.rows = rows[Symbol.iterator]();
    this.end = { nextCursor, total, approximate: false, method: null };
  }

  columns() {
    return this.kinds;
  }

  nextBatch(maxRows, maxBytes) {
    return told(() => {
      const columns = this.kinds.map(() => []);
      const rows = this.#fill(columns, maxRows, maxBytes);
      if (rows === 0) return null;
      const packed = columns.map((values, index) => column(values, this.kinds[index].kind));
      return { tag: "columns", val: { rows, columns: packed } };
    });
  }

  tail() {
    return this.end;
  }

  #fill(columns, maxRows, maxBytes) {
    let count = 0;
    let size = 0;
    while (count < maxRows && size < maxBytes) {
      const { done, value: row } = this.rows.next();
      if (done) break;
      if (row.length !== columns.length) {
        throw new Failure("internal", `a row of ${row.length} values for ${columns.length} columns`);
      }
      for (let index = 0; index < columns.length; index += 1) {
        const value = row[index];
        columns[index].push(value);
        if (typeof value === "string" || value instanceof Uint8Array) size += value.length;
      }
      count += 1;
    }
    return count;
  }
}

/** What is thrown within becomes an error of the interface; what nobody expected is in the log, too. */
function told(work) {
  try {
    return work();
  } catch (error) {
    throw refusal(error);
  }
}

function refusal(error) {
  // What the runner itself refused is passed on as it is.
  if (error?.payload?.code !== undefined) return error.payload;
  if (error instanceof Failure) return failure(error.code, error.message, error.more);
  if (error instanceof Mistake) return failure("invalid-config", error.message, { field: error.field });
  host.log("error", `${error}\n${error?.stack ?? ""}`);
  return failure("internal", String(error));
}

function failure(code, message, more = {}) {
  const { field = null, nativeCode = null, retryAfterMs = null, connectionLost = false } = more;
  return { code, message, field, nativeCode, retryAfterMs, connectionLost };
}

function leftToTheRunner(kind) {
  return failure("unsupported-kind", `${kind} is the runner's`);
}

function mistakes(work) {
  try {
    work();
    return [];
  } catch (error) {
    if (error instanceof Mistake) return [{ field: error.field, expected: error.expected }];
    throw error;
  }
}

const NOTHING = { provides: {}, aggregates: {} };

function description({ packageName, displayName, version, fields, urlPlaceholder, icon, changedSince }) {
  return {
    version,
    sdk: SDK,
    manifest: {
      packageName,
      displayName,
      icon: icon ?? null,
      urlPlaceholder: urlPlaceholder ?? null,
      fields: fields.map(setting),
    },
    capabilities: { changedSince: changedSince ?? false },
    ...NOTHING,
  };
}

function setting(field) {
  return {
    type: "string",
    required: false,
    default: null,
    placeholder: null,
    hint: null,
    advanced: false,
    endpoint: false,
    ...field,
  };
}

function columnSchema({ name, kind, nativeType = kind, nullable = true, key = false }) {
  return { name, nativeType, nullable: nullable && !key, primaryKey: key };
}

function column(values, kind) {
  return { validity: validity(values), data: ENCODERS[kind](values) };
}

/** One bit a row, the first row in the lowest; nothing when no value is null. */
function validity(values) {
  if (!values.includes(null)) return new Uint8Array(0);
  const bits = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, index) => {
    if (value !== null) bits[index >> 3] |= 1 << (index & 7);
  });
  return bits;
}

const strings = (values) => ({ tag: "strings", val: values.map((value) => value ?? "") });
const floats = (values) => ({ tag: "floats", val: values.map((value) => value ?? 0) });
const ENCODERS = {
  boolean: (values) => ({ tag: "bools", val: Uint8Array.from(values, (value) => (value ? 1 : 0)) }),
  int64: (values) => integers(values, "ints"),
  uint64: (values) => integers(values, "uints"),
  float64: floats,
  decimal: strings,
  text: strings,
  binary: (values) => ({ tag: "binaries", val: packed(values) }),
  date: (values) => ({ tag: "ints", val: values.map((value) => days(value ?? 0)) }),
  time: strings,
  timestamp: (values) => ({ tag: "ints", val: values.map((value) => micros(value ?? 0)) }),
  uuid: strings,
  json: (values) => ({ tag: "strings", val: values.map((value) => JSON.stringify(value)) }),
};

/** Numbers cross as they are. What a number cannot hold exactly crosses as digits. */
function integers(values, tag) {
  if (values.some((value) => typeof value === "bigint")) {
    return { tag: "strings", val: values.map((value) => String(value ?? 0)) };
  }
  return { tag, val: values.map((value) => value ?? 0) };
}

function packed(values) {
  const offsets = [0];
  for (const value of values) offsets.push(offsets.at(-1) + (value?.length ?? 0));
  const bytes = new Uint8Array(offsets.at(-1));
  values.forEach((value, index) => value && bytes.set(value, offsets[index]));
  return { offsets, bytes };
}

function days(value) {
  return value instanceof Date ? Math.floor(value.getTime() / 86_400_000) : value;
}

function micros(value) {
  return value instanceof Date ? value.getTime() * 1_000 : value;
}

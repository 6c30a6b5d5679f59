// Tables that stand in the settings, as JSON:
//
//   {"tables": [{
//     "name": "planets",
//     "columns": [{"name": "id", "kind": "int64"}, {"name": "seen", "kind": "timestamp", "nullable": true}],
//     "key": ["id"],
//     "rows": [[1, "2026-01-02T03:04:05Z"], [2, null]]
//   }]}

import { Mistake } from "./bridge.js";

export const SETTING = "data";

/** Reads the setting: a Map of tables, `{ columns, rows }`, with rows in the order of their key. */
export function tables(text) {
  try {
    return new Map(parse(text).tables.map((table) => [table.name, readTable(table)]));
  } catch (error) {
    throw new Mistake(SETTING, `tables as JSON (${error.message})`);
  }
}

/** JSON in which no digit of a large integer is lost: such an integer becomes text on the way. */
function parse(text) {
  return JSON.parse(text.replace(STRING_OR_LARGE, (found) => (found.startsWith('"') ? found : `"${found}"`)));
}

const STRING_OR_LARGE = /"(?:[^"\\]|\\.)*"|(?<![\d.])-?\d{16,}(?![\d.eE])/g;

function readTable({ columns: listed, key, rows: given }) {
  const columns = listed.map(({ name, kind, nullable = false }) => {
    if (!(kind in READERS)) throw new TypeError(`no kind is called ${kind}`);
    return { name, kind, nullable, key: key.includes(name) };
  });
  const positions = key.map((name) => {
    const position = columns.findIndex((column) => column.name === name);
    if (position < 0) throw new TypeError(`no column ${name} for the key`);
    return position;
  });
  const order = (one, other) => {
    for (const position of positions) {
      const difference = compare(one[position], other[position]);
      if (difference !== 0) return difference;
    }
    return 0;
  };
  const rows = given.map((row) => readRow(columns, row));
  const sorted = rows.every((row, index) => index === 0 || order(rows[index - 1], row) <= 0);
  return { columns, rows: sorted ? rows : rows.sort(order) };
}

function readRow(columns, row) {
  if (row.length !== columns.length) {
    throw new TypeError(`a row of ${row.length} values for ${columns.length} columns`);
  }
  return columns.map((column, index) => readValue(column, row[index]));
}

function readValue({ name, kind, nullable, key }, value) {
  if (value === null && nullable && !key) return null;
  const read = value === null ? undefined : READERS[kind](value);
  if (read === undefined) throw new TypeError(`${JSON.stringify(value)} in ${name}`);
  return read;
}

// What does not fit is undefined.
const only = (type) => (value) => (typeof value === type ? value : undefined);
const READERS = {
  boolean: only("boolean"),
  int64: integer,
  uint64: integer,
  float64: (value) => (typeof value === "number" ? value : undefined),
  decimal: only("string"),
  text: only("string"),
  binary: (value) => Uint8Array.from(atob(value), (character) => character.charCodeAt(0)),
  date: (value) => instant(value) / 86_400_000_000,
  time: only("string"),
  timestamp: instant,
  uuid: only("string"),
  json: (value) => value,
};

function integer(value) {
  if (typeof value === "string") return BigInt(value);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Microseconds since 1970 of a text in UTC. A Date has milliseconds only. */
function instant(text) {
  const [, seconds, fraction = ""] = /^([^.Z]+)(?:\.(\d+))?Z?$/.exec(text);
  return Date.parse(`${seconds}Z`) * 1_000 + Number(fraction.padEnd(6, "0").slice(0, 6));
}

/** Texts in the order of their characters, which is not that of JavaScript's own comparison. */
function compare(one, other) {
  if (typeof one === "string") return compareTexts([...one], [...other]);
  return one < other ? -1 : Number(one > other);
}

function compareTexts(one, other) {
  for (let index = 0; index < Math.min(one.length, other.length); index += 1) {
    const difference = one[index].codePointAt(0) - other[index].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

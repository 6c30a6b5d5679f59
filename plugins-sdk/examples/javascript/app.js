// A plugin that serves rows out of its own memory: a table of generated people, or tables that stand in its settings.
//
// It implements only `read`; filters, orders, counts and aggregates are the runner's.

import { Failure, Mistake, Plugin, component } from "./bridge.js";
import { COLUMNS, people } from "./people.js";
import { SETTING, tables } from "./tables.js";

/** The table of generated rows. */
const PEOPLE = "people";

/** Tables in memory. */
class Memory extends Plugin {
  static description = {
    packageName: "@semilayer-example/bridge-memory-javascript",
    displayName: "Memory (JavaScript)",
    version: "0.1.0",
    fields: [
      {
        key: "rows",
        label: "Generated rows",
        type: "number",
        required: true,
        hint: 'How many rows the table "people" has; 0 for no such table.',
      },
      {
        key: SETTING,
        label: "Tables",
        hint: 'Tables as JSON: {"tables": [{"name", "columns", "key", "rows"}]}.',
        advanced: true,
      },
    ],
  };

  static settings({ rows, [SETTING]: data }) {
    if (!Number.isSafeInteger(rows) || rows < 0) throw new Mistake("rows", "a whole number, 0 or more");
    return { people: rows, tables: data === undefined ? new Map() : tables(data) };
  }

  constructor(settings) {
    super(settings);
    this.people = settings.people;
    this.tables = settings.tables;
  }

  targets() {
    return [...this.tables.keys(), ...(this.people > 0 ? [PEOPLE] : [])];
  }

  schema(target) {
    if (this.isPeople(target)) return { columns: COLUMNS, rowCount: this.people };
    const { columns, rows } = this.table(target);
    return { columns, rowCount: rows.length };
  }

  read(target, options) {
    if (this.isPeople(target)) {
      const { first, end, ...tail } = page(options, this.people);
      return { ...picked(COLUMNS, people(first, end), options.fields), ...tail };
    }
    const { columns, rows } = this.table(target);
    const { first, end, ...tail } = page(options, rows.length);
    return { ...picked(columns, rows.slice(first, end), options.fields), ...tail };
  }

  isPeople(target) {
    return this.people > 0 && target === PEOPLE;
  }

  table(target) {
    const table = this.tables.get(target);
    if (table === undefined) throw new Failure("not-found", `there is no ${target}`);
    return table;
  }
}

export const bridge = component(Memory);

/** The first row, the end and what comes after. A cursor is the position of the next row: these tables never change. */
function page({ limit, cursor = "0", total }, count) {
  if (!/^\d+$/.test(cursor)) {
    throw new Failure("invalid-request", "expected a cursor of this target", { field: "cursor" });
  }
  const first = Number(cursor);
  const end = Math.min(count, first + limit);
  return { first, end, nextCursor: end < count ? String(end) : null, total: total ? count : null };
}

/** The columns that were asked for, and their values. */
function picked(columns, rows, fields) {
  if (fields === undefined) return { columns, rows };
  const positions = fields.map((field) => {
    const position = columns.findIndex((column) => column.name === field);
    if (position < 0) throw new Failure("invalid-request", "expected a column of this target", { field });
    return position;
  });
  return { columns: positions.map((position) => columns[position]), rows: values(rows, positions) };
}

function* values(rows, positions) {
  for (const row of rows) yield positions.map((position) => row[position]);
}

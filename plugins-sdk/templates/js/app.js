// Template as a bridge.
//
// The runner asks for targets, their columns and pages of their rows; it filters, orders, counts and aggregates by itself.

import { Failure, Plugin, component, fetch } from "./bridge.js";

/** The service, as one source of a runner reaches it. */
class Connection extends Plugin {
  static description = {
    packageName: "@example/bridge-template",
    displayName: "Template",
    version: "0.1.0",
    fields: [
      // An endpoint is a host that the plugin may connect to. All others the operator must allow.
      {
        key: "baseUrl",
        label: "Base URL",
        required: true,
        endpoint: true,
        placeholder: "https://api.acme.com/v1",
      },
      { key: "token", label: "API token", type: "password" },
    ],
  };

  constructor({ baseUrl, token }) {
    super();
    this.baseUrl = baseUrl.replace(/\/+$/, "");
    this.headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  targets() {
    return ["things"];
  }

  schema(target) {
    if (target !== "things") throw new Failure("not-found", `there is no ${target}`);
    return {
      columns: [
        { name: "id", kind: "int64", key: true },
        { name: "name", kind: "text" },
      ],
    };
  }

  /**
   * At most options.limit rows in the order of the key, from options.cursor on. With a service that gives things behind
   * an id, as many as it is asked for:
   *
   *   const after = encodeURIComponent(options.cursor ?? "0");
   *   const things = this.get(`/${target}?after=${after}&limit=${options.limit}`);
   *   const rows = things.map(({ id, name }) => [id, name]);
   *   const full = rows.length > 0 && rows.length === options.limit;
   *   const nextCursor = full ? String(rows.at(-1)[0]) : null;
   *   return { ...this.schema(target), rows, nextCursor };
   */
  read(target, _options) {
    this.schema(target);
    throw new Failure("internal", "read is still to be written, in app.js");
  }

  get(path) {
    const { status, body } = fetch(this.baseUrl + path, { headers: this.headers });
    if (status !== 200) {
      throw new Failure("query-failed", `${path} answers ${status}`, { nativeCode: String(status) });
    }
    return JSON.parse(body);
  }
}

export const bridge = component(Connection);

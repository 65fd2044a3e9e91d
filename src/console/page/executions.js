// The list of executions, newest first.

import { get, withQuery } from "./api.js";
import { agoNode, badge, errorNotice, h, say, setBadge, setText, sinceNode } from "./dom.js";
import { cost, duration, oneLine, shortId } from "./format.js";
import { EXECUTION_CHANGES, loadOnEvents } from "./stream.js";

const PAGE = 50;
const STATUSES = ["pending", "running", "completed", "failed", "cancelled"];
const ENDED = new Set(["completed", "failed", "cancelled"]);

class Row {
  constructor(record, withAgent) {
    this.withAgent = withAgent;
    this.badge = badge(record.status);
    this.link = h("a", { class: "stretched", href: `#/executions/${record.id}` },
      h("code", {}, shortId(record.id)));
    this.what = h("span", { class: "summary" });
    this.why = h("span", { class: "why" });
    this.iterations = h("td", { class: "number", "data-label": "Iterations" });
    this.took = h("td", { class: "number", "data-label": "Duration" });
    this.cost = h("td", { class: "number", "data-label": "Cost" });
    this.node = h("tr", {}, h("td", {}, this.badge),
      h("td", {}, h("div", { class: "what" }, this.link, this.what, this.why)),
      withAgent && h("td", { class: "agent" }, h("a", {
        href: `#/agents/${encodeURIComponent(record.agent_name)}` }, record.agent_name)),
      this.iterations, this.took, this.cost,
      h("td", { class: "when", "data-label": "Created" }, agoNode(record.created_at)));
    this.update(record);
  }

  update(record) {
    const text = JSON.stringify(record);
    if (text === this.text) return;
    this.text = text;
    setBadge(this.badge, record.status);
    const input = record.input_summary;
    setText(this.what, input == null ? "(a large input)" : oneLine(input, 160));
    setText(this.why, record.error ? record.error.code : "");
    setText(this.iterations, `${record.total_iterations}/${record.max_iterations}`);
    setText(this.cost, cost(record.usage.cost_usd));
    const running = record.status === "running" && record.started_at;
    if (!running) this.took.replaceChildren(duration(record.duration_ms));
    else if (!this.running) this.took.replaceChildren(sinceNode(Date.parse(record.started_at)));
    this.running = running;
  }
}

/** A table that is brought to what a page of the API says, row by row: the focus and a selection
 *  stay where they are. */
export class ExecutionTable {
  constructor({ withAgent, empty }) {
    this.withAgent = withAgent;
    this.rows = new Map();
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true }, empty);
    const head = (name, kind) => h("th", { scope: "col", class: kind }, name);
    this.table = h("table", { class: "executions", hidden: true }, h("thead", {}, h("tr", {},
      head("Status", "c-status"), head("Execution", "c-what"),
      withAgent && head("Agent", "c-agent"), head("Iterations", "number c-small"),
      head("Duration", "number c-small"), head("Cost", "number c-small"),
      head("Created", "c-when"))), this.body);
    this.node = h("div", { class: "listing" }, this.table, this.empty);
  }

  show(items) {
    const before = this.rows;
    this.rows = new Map();
    let place = this.body.firstChild;
    for (const record of items) {
      const row = before.get(record.id) ?? new Row(record, this.withAgent);
      this.tellEnd(before.has(record.id) ? row.status : undefined, record);
      row.status = record.status;
      row.update(record);
      this.rows.set(record.id, row);
      before.delete(record.id);
      if (row.node === place) place = place.nextSibling;
      else this.body.insertBefore(row.node, place);
    }
    for (const row of before.values()) row.node.remove();
    this.table.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
  }

  tellEnd(before, record) {
    if (before && before !== record.status && ENDED.has(record.status))
      say(`${record.agent_name} ${shortId(record.id)}: ${record.status}`);
  }
}

function filters(ctx, changed) {
  const status = h("select", { id: "status", change: () => changed({ status: status.value }) },
    h("option", { value: "" }, "any status"),
    STATUSES.map((name) => h("option", { value: name,
      selected: ctx.query.get("status") === name }, name)));
  const names = h("datalist", { id: "agent-names" });
  const agent = h("input", { id: "agent", list: "agent-names", type: "search", spellcheck: "false",
    autocomplete: "off", placeholder: "any agent", value: ctx.query.get("agent") ?? "",
    change: () => changed({ agent: agent.value.trim() }) });
  get("/v1/agents?limit=500", ctx.signal).then(({ items }) => names.replaceChildren(
    ...items.map((item) => h("option", { value: item.name })))).catch(() => {});
  return h("div", { class: "filters", role: "search" },
    h("label", { for: "status" }, "Status"), status,
    h("label", { for: "agent" }, "Agent"), agent, names);
}

/** A page of the list from the API, and what runs and waits on the node. */
async function load(ctx, table, around) {
  const { query, signal } = ctx;
  const where = withQuery("/v1/executions", { limit: PAGE, input_summary: true,
    status: query.get("status"), agent: query.get("agent"), cursor: query.get("cursor") });
  try {
    const [page, node] = await Promise.all([get(where, signal), get("/v1/node", signal)]);
    table.show(page.items);
    setText(table.empty, ["status", "agent", "cursor"].some((name) => query.get(name))
      ? "No execution is like that." : "Nothing was executed yet.");
    setText(around.now, `${node.running_executions} running, ${node.queued_executions} queued`);
    const older = new URLSearchParams(query);
    older.set("cursor", page.next_cursor ?? "");
    around.older.hidden = !page.next_cursor;
    around.older.href = `#/executions?${older}`;
    around.problem.replaceChildren();
  } catch (error) {
    if (!signal.aborted) around.problem.replaceChildren(errorNotice(error));
  }
}

export function executionsPage(ctx) {
  ctx.setTitle("Executions");
  const table = new ExecutionTable({ withAgent: true, empty: "" });
  const newest = new URLSearchParams(ctx.query);
  newest.delete("cursor");
  const around = { now: h("p", { class: "dim now" }), problem: h("div"),
    older: h("a", { class: "button", hidden: true }, "Older"),
    newest: h("a", { class: "button", href: `#/executions?${newest}`,
      hidden: !ctx.query.has("cursor") }, "Newest") };
  let again = null;
  const changed = (filter) => {
    ctx.setQuery({ ...filter, cursor: "" });
    around.newest.hidden = true;
    again();
  };
  ctx.root.append(
    h("div", { class: "heading" }, h("h1", {}, "Executions"), around.now, filters(ctx, changed)),
    around.problem, table.node,
    h("nav", { class: "pages", "aria-label": "Pages" }, around.newest, around.older));
  again = loadOnEvents(EXECUTION_CHANGES, { signal: ctx.signal, onState: ctx.onState,
    load: () => load(ctx, table, around) });
}

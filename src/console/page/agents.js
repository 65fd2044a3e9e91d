// Agents: the list, and one of them with its manifest, revisions, executions, and the form that
// starts another.

import { get, path, post, withQuery } from "./api.js";
import { agoNode, badge, confirmed, errorNotice, h, say, setBadge, setText } from "./dom.js";
import { ExecutionTable } from "./executions.js";
import { bytes } from "./format.js";
import { AGENT_CHANGES, EXECUTION_CHANGES, loadOnEvents } from "./stream.js";
import { textBox } from "./texts.js";

const PAGE = 100;
const RECENT = 10;
const MOST_INPUT = 8 << 20;

const link = (name) => `#/agents/${encodeURIComponent(name)}`;
/** Of archived agents several may have had one name. */
const reference = (agent) => (agent.status === "archived" ? agent.id : agent.name);
const labelList = (labels) => h("span", { class: "labels" },
  Object.entries(labels).map(([k, v]) => h("span", { class: "label" }, `${k}=${v}`)));

function agentRow(agent) {
  return h("tr", {}, h("td", {}, badge(agent.status)),
    h("td", {}, h("div", { class: "what" },
      h("a", { class: "stretched", href: link(reference(agent)) }, agent.name),
      h("span", { class: "summary" }, agent.description))),
    h("td", { "data-label": "Version" }, agent.version),
    h("td", { class: "number", "data-label": "Revision" }, String(agent.revision)),
    h("td", { "data-label": "Labels" }, labelList(agent.labels)),
    h("td", { class: "when", "data-label": "Updated" }, agoNode(agent.updated_at)));
}

export function agentsPage(ctx) {
  ctx.setTitle("Agents");
  const head = (name, kind) => h("th", { scope: "col", class: kind }, name);
  const body = h("tbody");
  const table = h("table", { class: "agents", hidden: true }, h("thead", {}, h("tr", {},
    head("Status", "c-status"), head("Agent", "c-what"), head("Version", "c-small"),
    head("Revision", "number c-small"), head("Labels", "c-labels"), head("Updated", "c-when"))),
  body);
  const empty = h("p", { class: "empty", hidden: true }, "No agent is deployed. ",
    h("code", {}, "aegis agent deploy FILE"), " deploys one.");
  const problem = h("div");
  const older = h("a", { class: "button", hidden: true }, "More");
  const archived = h("input", { type: "checkbox", id: "all", checked: ctx.query.has("all"),
    change: () => { ctx.setQuery({ all: archived.checked && "true", cursor: "" }); again(); } });
  ctx.root.append(h("div", { class: "heading" }, h("h1", {}, "Agents"), h("div",
    { class: "filters" }, archived, h("label", { for: "all" }, "archived ones too"))),
  problem, h("div", { class: "listing" }, table, empty),
  h("nav", { class: "pages", "aria-label": "Pages" }, older));
  const load = async () => {
    try {
      const page = await get(withQuery("/v1/agents", { limit: PAGE, all: ctx.query.get("all"),
        cursor: ctx.query.get("cursor") }), ctx.signal);
      body.replaceChildren(...page.items.map(agentRow));
      table.hidden = page.items.length === 0;
      empty.hidden = page.items.length > 0;
      older.hidden = !page.next_cursor;
      older.href = withQuery("#/agents", { all: ctx.query.get("all"), cursor: page.next_cursor });
      problem.replaceChildren();
    } catch (error) {
      if (!ctx.signal.aborted) problem.replaceChildren(errorNotice(error));
    }
  };
  const again = loadOnEvents(AGENT_CHANGES, { signal: ctx.signal, load, onState: ctx.onState });
}

/** Another key each time a form is sent anew: a repeat of a lost request starts nothing twice.
 *  randomUUID() is not there where the page did not come over https or from this machine. */
function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `console-${[...random].map((n) => n.toString(16).padStart(2, "0")).join("")}`;
}

class ExecuteForm {
  constructor(name, signal) {
    this.name = name;
    this.key = newKey();
    this.kind = h("p", { class: "dim", id: "input-kind" });
    this.input = h("textarea", { id: "input", rows: "5", spellcheck: "false", placeholder: "{}",
      "aria-describedby": "input-kind", input: () => this.changed() });
    this.model = h("select", { id: "model", change: () => this.changed() },
      h("option", { value: "" }, "as the manifest says"));
    this.most = h("input", { id: "most", type: "number", min: "1", max: "100", placeholder: "–",
      input: () => this.changed() });
    this.button = h("button", { type: "button", class: "primary", click: () => this.start() },
      "Execute");
    this.problem = h("div");
    this.node = h("section", { class: "card execute", "aria-label": "Execute" },
      h("h2", {}, "Execute"), h("label", { for: "input" }, "Input"), this.input, this.kind,
      h("div", { class: "fields" },
        h("label", { for: "model" }, "Model"), this.model,
        h("label", { for: "most" }, "Max iterations"), this.most, this.button),
      this.problem);
    get("/v1/node", signal).then((node) => this.model.append(
      ...node.model_aliases.map((alias) => h("option", { value: alias }, alias)))).catch(() => {});
    this.changed();
  }

  setStatus(status) {
    this.node.hidden = status !== "deployed";
  }

  /** Says how the text will be taken; a changed form is another request. */
  changed() {
    this.key = newKey();
    const text = this.input.value;
    setText(this.kind, text.trim() === "" ? "Empty: the manifest's input_data, or {}." :
      isJson(text) ? "JSON: {{input.field}} works in the prompt." :
        "Not JSON: taken as plain text.");
  }

  async start() {
    const body = {};
    const text = this.input.value;
    if (text.trim() !== "") body.input = text;
    if (this.model.value) body.model = this.model.value;
    if (this.most.value) body.max_iterations = Number(this.most.value);
    this.problem.replaceChildren();
    this.button.disabled = true;
    try {
      if (new Blob([text]).size > MOST_INPUT)
        throw new Error(`An input may have at most ${bytes(MOST_INPUT)}.`);
      const made = await post(path("v1", "agents", this.name, "execute"), body,
        { "Idempotency-Key": this.key });
      location.hash = `#/executions/${made.id}`;
    } catch (error) {
      this.problem.replaceChildren(errorNotice(error));
    }
    this.button.disabled = false;
  }
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The manifest as deployed, or with every default filled in. */
function manifestCard(agent) {
  const place = h("div");
  const choices = h("div", { class: "choices", role: "group", "aria-label": "Form" });
  const forms = [["As deployed", () => agent.manifest_yaml],
    ["Resolved", () => JSON.stringify(agent.manifest, null, 2)]];
  const buttons = forms.map(([name, text]) => h("button", { type: "button", class: "quiet",
    click: ({ target }) => {
      for (const button of buttons)
        button.setAttribute("aria-pressed", String(button === target));
      place.replaceChildren(textBox(text()));
    } }, name));
  choices.append(...buttons);
  buttons[0].click();
  return h("section", { class: "card", "aria-label": "Manifest" },
    h("div", { class: "heading" }, h("h2", {}, `Manifest of revision ${agent.revision}`), choices),
    place);
}

function revisionsCard(name, revisions, shown) {
  const rows = revisions.map((r) => h("tr", {},
    h("td", {}, h("a", { class: "stretched", "aria-current": r.revision === shown && "true",
      href: withQuery(link(name), { revision: String(r.revision) }) }, `Revision ${r.revision}`)),
    h("td", { "data-label": "Version" }, r.version),
    h("td", { class: "when", "data-label": "Created" }, agoNode(r.created_at))));
  return h("section", { class: "card", "aria-label": "Revisions" }, h("h2", {}, "Revisions"),
    h("table", { class: "revisions" }, h("thead", { class: "unseen" }, h("tr", {},
      ["Revision", "Version", "Created"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, rows)));
}

class AgentView {
  constructor(ctx) {
    this.ctx = ctx;
    this.name = ctx.argument;
    this.problem = h("div");
    this.state = badge("");
    this.title = h("h1", {}, this.name);
    this.crumb = h("span", {}, this.name);
    this.description = h("p");
    this.about = h("p", { class: "dim" });
    this.toggle = h("button", { type: "button", click: () => this.change() });
    this.form = new ExecuteForm(this.name, ctx.signal);
    this.table = new ExecutionTable({ withAgent: false, empty: "It was never executed." });
    this.cards = h("div", { class: "cards" });
    const all = withQuery("#/executions", { agent: this.name });
    ctx.root.append(
      h("p", { class: "crumbs" }, h("a", { href: "#/agents" }, "Agents"), " / ", this.crumb),
      h("div", { class: "heading" }, this.title, this.state,
        h("div", { class: "actions" }, this.toggle)),
      this.description, this.about, this.problem, this.form.node,
      h("section", { "aria-label": "Executions" }, h("div", { class: "heading" },
        h("h2", {}, "Executions"), h("a", { class: "button quiet", href: all }, "All of them")),
      this.table.node), this.cards);
  }

  async load() {
    const { signal, query } = this.ctx;
    const where = path("v1", "agents", this.name);
    try {
      const [agent, versions, runs] = await Promise.all([
        get(withQuery(where, { revision: query.get("revision") }), signal),
        get(`${where}/versions`, signal),
        get(withQuery("/v1/executions", { agent: this.name, limit: RECENT, input_summary: true }),
          signal)]);
      this.show(agent, versions.items);
      this.table.show(runs.items);
      this.problem.replaceChildren();
    } catch (error) {
      if (!signal.aborted) this.problem.replaceChildren(errorNotice(error));
    }
  }

  show(agent, revisions) {
    this.ctx.setTitle(agent.name);
    for (const node of [this.title, this.crumb]) setText(node, agent.name);
    this.status = agent.status;
    setBadge(this.state, agent.status);
    setText(this.description, agent.description);
    this.about.replaceChildren(`version ${agent.version}, revision ${agent.revision}, `,
      agent.runtime.image ?? `${agent.runtime.language} ${agent.runtime.version}`, ", ",
      agent.runtime.isolation, " ", labelList(agent.labels));
    setText(this.toggle, agent.status === "paused" ? "Resume" : "Pause");
    this.toggle.hidden = agent.status === "archived";
    this.form.setStatus(agent.status);
    // Drawn anew only when there is another one: who reads in it is not disturbed.
    const shown = `${agent.revision} ${revisions.length}`;
    if (shown === this.shown) return;
    this.shown = shown;
    this.cards.replaceChildren(manifestCard(agent),
      revisionsCard(this.name, revisions, agent.revision));
  }

  async change() {
    const verb = this.status === "paused" ? "resume" : "pause";
    if (verb === "pause" && !await confirmed({ title: `Pause ${this.name}?`,
      text: "New executions are refused until it is resumed; those that run go on.",
      yes: "Pause the agent", no: "Leave it" })) return;
    try {
      await post(path("v1", "agents", this.name, verb));
      say(`${this.name}: ${verb}d`);
    } catch (error) {
      this.problem.replaceChildren(errorNotice(error));
    }
  }
}

export function agentPage(ctx) {
  ctx.setTitle(ctx.argument);
  const view = new AgentView(ctx);
  loadOnEvents([...AGENT_CHANGES, ...EXECUTION_CHANGES], { signal: ctx.signal,
    onState: ctx.onState, load: () => view.load() });
}

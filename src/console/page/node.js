// The node: its volumes, and the daemon itself.

import { get, send } from "./api.js";
import { agoNode, badge, errorNotice, h } from "./dom.js";
import { bytes, number, shortId } from "./format.js";
import { EXECUTION_CHANGES, loadOnEvents, VOLUME_CHANGES } from "./stream.js";

/** Rows at once: a node may have thousands of volumes. */
const MOST_ROWS = 500;

function volumeRow(volume, names) {
  const used = h("meter", { min: "0", max: String(volume.size_limit_bytes),
    value: String(volume.used_bytes), "aria-label": "used" });
  return h("tr", {},
    h("td", {}, h("div", { class: "what" }, h("code", {}, shortId(volume.id)), volume.name)),
    h("td", { "data-label": "Agent" }, names.get(volume.agent_id) ?? shortId(volume.agent_id)),
    h("td", { "data-label": "Kind" }, volume.storage_class),
    h("td", { "data-label": "Used" }, used,
      ` ${bytes(volume.used_bytes)} of ${bytes(volume.size_limit_bytes)}`),
    h("td", { "data-label": "Mounted by" }, volume.mounted_by
      ? h("a", { href: `#/executions/${volume.mounted_by}` }, shortId(volume.mounted_by)) : "–"),
    h("td", { class: "when", "data-label": "Created" }, agoNode(volume.created_at)));
}

export function volumesPage(ctx) {
  ctx.setTitle("Volumes");
  const body = h("tbody");
  const head = [["Volume"], ["Agent", "c-agent"], ["Kind", "c-status"], ["Used", "c-labels"],
    ["Mounted by", "c-status"], ["Created", "c-when"]];
  const table = h("table", { class: "volumes", hidden: true }, h("thead", {},
    h("tr", {}, head.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))), body);
  const note = h("p", { class: "empty", hidden: true });
  const problem = h("div");
  ctx.root.append(h("div", { class: "heading" }, h("h1", {}, "Volumes")), problem,
    h("div", { class: "listing" }, table, note));
  const load = async () => {
    try {
      const [volumes, agents] = await Promise.all([get("/v1/volumes", ctx.signal),
        get("/v1/agents?all=true&limit=1000", ctx.signal)]);
      const names = new Map(agents.items.map((agent) => [agent.id, agent.name]));
      const shown = volumes.items.slice(0, MOST_ROWS);
      body.replaceChildren(...shown.map((volume) => volumeRow(volume, names)));
      table.hidden = shown.length === 0;
      note.hidden = shown.length === volumes.items.length && shown.length > 0;
      note.replaceChildren(shown.length === 0 ? "There is no volume."
        : `${number(volumes.items.length - shown.length)} more: aegis volume list`);
      problem.replaceChildren();
    } catch (error) {
      if (!ctx.signal.aborted) problem.replaceChildren(errorNotice(error));
    }
  };
  loadOnEvents(VOLUME_CHANGES, { signal: ctx.signal, load, onState: ctx.onState });
}

function fact(name, ...value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
}

function nodeFacts(node) {
  return [fact("Version", node.version), fact("Running", number(node.running_executions)),
    fact("Queued", number(node.queued_executions)), fact("Started", agoNode(node.started_at)),
    fact("Address", node.address), fact("Isolation", node.isolation),
    fact("Model aliases", node.model_aliases.join(", ") || "none"),
    fact("Data directory", h("code", {}, node.data_dir)), fact("Process", String(node.pid)),
    fact("Node", h("code", {}, node.node_id))];
}

function checkRow(check) {
  return h("li", { "data-state": check.ok ? "ok" : "error" }, h("div", { class: "line" },
    h("strong", {}, check.name), h("span", { class: "word" }, check.ok ? "ok" : "not well"),
    h("span", { class: "dim" }, check.message)));
}

export function daemonPage(ctx) {
  ctx.setTitle("Daemon");
  const problem = h("div");
  const facts = h("dl", { class: "facts-list" });
  const state = h("span");
  const checks = h("ul", { class: "verdicts" });
  ctx.root.append(h("div", { class: "heading" }, h("h1", {}, "Daemon"), state), problem, facts,
    h("div", { class: "heading" }, h("h2", {}, "Health"), h("div", { class: "actions" },
      h("button", { type: "button", click: () => again() }, "Check again"))), checks);
  const load = async () => {
    try {
      facts.replaceChildren(...nodeFacts(await get("/v1/node", ctx.signal)));
      // 503 is an answer as well: it says what is not well.
      const health = await (await send("/health/ready", { signal: ctx.signal })).json();
      state.replaceChildren(badge(health.status === "ready" ? "ready" : "not ready"));
      checks.replaceChildren(...health.checks.map(checkRow));
      problem.replaceChildren();
    } catch (error) {
      if (!ctx.signal.aborted) problem.replaceChildren(errorNotice(error));
    }
  };
  const again = loadOnEvents(EXECUTION_CHANGES, { signal: ctx.signal, load,
    onState: ctx.onState });
}

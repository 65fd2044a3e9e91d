// One execution: what it is, how it stands, and its timeline, live while it runs.

import { download, get, path, post } from "./api.js";
import { agoNode, badge, confirmed, errorNotice, h, say, setBadge, setText, sinceNode }
  from "./dom.js";
import { cost, duration, number, shortId } from "./format.js";
import { follow } from "./stream.js";
import { textDetails } from "./texts.js";
import { Timeline } from "./timeline.js";
import { token } from "./token.js";

const ENDS = { ExecutionCompleted: "completed", ExecutionFailed: "failed",
  ExecutionCancelled: "cancelled" };
const ENDED = new Set(Object.values(ENDS));
/** The next step for each way to fail. */
const HINTS = {
  validation_exhausted: "Every attempt was refused; the last iteration below says by which " +
    "validator and why. Say in the instruction what is checked, or allow more max_iterations.",
  timeout: "The whole of it took longer than security.resources.timeout (or --timeout).",
  iteration_timeout: "An iteration took longer than execution.iteration_timeout.",
  sandbox_error: "The sandbox did not start or broke. `aegis doctor` looks at this node.",
  out_of_memory: "It needed more than security.resources.memory.",
  model_error: "The provider refused or failed; the model call below has its words. " +
    "`aegis doctor` looks at the providers.",
  model_call_limit: "It made execution.max_model_calls calls of the model.",
  tool_call_limit: "It made execution.max_tool_calls tool calls.",
  budget_exceeded: "What execution.budget (or the request's) allows is used up.",
  internal: "A fault of the daemon; its log has more.",
};

class Facts {
  constructor() {
    this.node = h("dl", { class: "facts-list" });
    this.values = new Map();
  }

  set(name, ...content) {
    let value = this.values.get(name);
    if (!value) {
      value = h("dd");
      this.values.set(name, value);
      this.node.append(h("div", {}, h("dt", {}, name), value));
    }
    value.replaceChildren(...content);
  }
}

/** The page of one execution; fed with its record and its events. */
class View {
  constructor(ctx, record) {
    Object.assign(this, { ctx, id: record.id, status: record.status });
    this.waiting = [];
    this.usage = { calls: 0, prompt: 0, completion: 0, usd: 0 };
    this.badge = badge(record.status);
    this.facts = new Facts();
    this.problem = h("div");
    this.failure = h("div");
    this.texts = h("div", { class: "texts" });
    this.cancel = h("button", { type: "button", class: "danger", click: () => this.askCancel() },
      "Cancel");
    this.timeline = new Timeline(record.id, ctx.signal);
    ctx.root.append(
      h("p", { class: "crumbs" }, h("a", { href: "#/executions" }, "Executions"), " / ",
        h("code", {}, shortId(record.id))),
      h("div", { class: "heading" }, h("h1", {}, record.agent_name), this.badge, this.actions()),
      this.problem, this.failure, this.facts.node, this.texts,
      h("div", { class: "heading" }, h("h2", {}, "Timeline"), this.timeline.jumps),
      this.timeline.node);
    this.show(record);
  }

  actions() {
    const base = path("v1", "executions", this.id);
    const raw = (name, where, file) => h("a", { class: "button quiet", href: where,
      target: "_blank", rel: "noopener", click: (event) => {
        if (!token()) return;
        event.preventDefault();  // a link could not send it
        download(where, file).catch((e) => this.trouble(e));
      } }, name);
    const short = shortId(this.id);
    return h("div", { class: "actions" },
      raw("Record", base, `${short}.json`),
      raw("Events", `${base}/events?limit=1000`, `${short}-events.json`),
      raw("Logs", `${base}/logs`, `${short}-logs.json`),
      raw("Export", `${base}/export`, `${short}.tar.gz`), this.cancel);
  }

  trouble(error) {
    if (!this.ctx.signal.aborted) this.problem.replaceChildren(errorNotice(error));
  }

  /** What the record says; the events go on from there. */
  show(record) {
    this.record = record;
    this.facts.set("Id", h("code", {}, record.id));
    this.facts.set("Agent", h("a", { href: `#/agents/${encodeURIComponent(record.agent_name)}` },
      record.agent_name), ` revision ${record.agent_revision}`);
    this.facts.set("Model", record.model);
    this.facts.set("Created", agoNode(record.created_at));
    this.setStatus(record.status);
    this.showDuration();
    this.showIterations(record.total_iterations);
    const { usage } = record;
    this.showUsage({ calls: usage.calls, prompt: usage.prompt_tokens,
      completion: usage.completion_tokens, usd: usage.cost_usd });
    const labels = Object.entries(record.labels).map(([k, v]) => `${k}=${v}`);
    if (labels.length > 0) this.facts.set("Labels", labels.join(", "));
    if (record.volumes.length > 0) this.facts.set("Volumes",
      record.volumes.map((v) => `${v.name} at ${v.mount_point}`).join(", "));
    this.showTexts(record);
    this.showFailure(record.error);
  }

  showTexts({ input, output }) {
    this.texts.replaceChildren(
      ...[textDetails("Input", input, input.length < 400),
        output != null && textDetails("Output", output, true)].filter(Boolean));
  }

  showFailure(error) {
    this.failure.replaceChildren();
    if (!error) return;
    this.failure.append(errorNotice({ ...error, hint: HINTS[error.code] }));
  }

  setStatus(status) {
    this.status = status;
    setBadge(this.badge, status);
    this.cancel.hidden = ENDED.has(status);
    this.ctx.setTitle(`${this.record.agent_name} ${status}`);
  }

  showDuration() {
    const { started_at: started, duration_ms: ms } = this.record;
    if (ENDED.has(this.status)) this.facts.set("Duration", duration(ms));
    else if (started) this.facts.set("Duration", sinceNode(Date.parse(started)));
    else this.facts.set("Duration", "not started yet");
  }

  showIterations(count) {
    this.facts.set("Iterations", `${count} of at most ${this.record.max_iterations}`);
  }

  showUsage({ calls, prompt, completion, usd }) {
    this.facts.set("Model calls", number(calls));
    this.facts.set("Tokens", `${number(prompt)} + ${number(completion)}`);
    this.facts.set("Cost", cost(usd));
  }

  /** One event of the stream; true after the last one. Those of a frame are drawn together: to lay
   *  the page out after each would take seconds where a log is long. */
  onEvent(event) {
    this.waiting.push(event);
    this.frame ||= requestAnimationFrame(() => this.draw());
    return event.type in ENDS;
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    // Who reads the end goes on seeing it.
    const pinned = innerHeight + scrollY >= document.documentElement.scrollHeight - 40 &&
      scrollY > 0;
    for (const event of this.waiting.splice(0)) this.take(event);
    if (pinned) scrollTo(0, document.documentElement.scrollHeight);
  }

  take(event) {
    this.timeline.add(event);
    if (event.type === "LlmCallCompleted") this.addUsage(event.data.usage);
    if (!ENDED.has(this.record.status)) this.onLive(event);
  }

  onLive({ type, time, iteration }) {
    if (type === "ExecutionStarted") {
      this.record.started_at = time;
      this.setStatus("running");
      this.showDuration();
    }
    if (type === "IterationStarted") this.showIterations(iteration);
    if (type in ENDS) say(`The execution has ${ENDS[type] === "cancelled" ? "been " : ""}` +
      `${ENDS[type]}`);
  }

  addUsage({ calls, prompt_tokens: prompt, completion_tokens: completion, cost_usd: usd }) {
    const sum = this.usage;
    sum.calls += calls;
    sum.prompt += prompt;
    sum.completion += completion;
    sum.usd += usd;
    if (!ENDED.has(this.record.status)) this.showUsage(sum);
  }

  async askCancel() {
    const yes = await confirmed({ title: "Cancel this execution?",
      text: "Its sandbox is stopped at once. What it has done so far stays in its record.",
      yes: "Cancel the execution", no: "Keep it running" });
    if (!yes) return;
    this.cancel.disabled = true;
    setText(this.cancel, "Cancelling");
    try {
      await post(path("v1", "executions", this.id, "cancel"));
    } catch (error) {
      this.trouble(error);
    }
    this.cancel.disabled = false;
    setText(this.cancel, "Cancel");
  }
}

export async function executionPage(ctx) {
  try {
    const record = await get(path("v1", "executions", ctx.argument), ctx.signal);
    // From here on by its id: a prefix or @last may come to mean another one.
    const where = path("v1", "executions", record.id);
    const view = new View(ctx, record);
    await follow(`${where}/stream`, { signal: ctx.signal, onState: ctx.onState,
      onEvent: (event) => view.onEvent(event) });
    if (ctx.signal.aborted) return;
    view.draw();
    ctx.onState("ended");
    if (!ENDED.has(view.record.status)) view.show(await get(where, ctx.signal));
  } catch (error) {
    ctx.fail(error);
  }
}

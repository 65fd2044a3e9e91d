// An execution's events as a timeline: a section for each iteration, a line for each step.

import { h, setBadge, badge, setText, sinceNode } from "./dom.js";
import { bytes, cost, counted, duration, number, score } from "./format.js";
import { bodyDetails } from "./texts.js";

/** Steps in the page at once; the oldest go first, and their iteration says so. */
const MOST_STEPS = 400;
/** Of an answer that is being spoken: the end of it. */
const MOST_SPOKEN = 4000;
const OPEN_ITERATIONS = 5;

/** A step: when, what, how it ended, and its texts behind it. */
class Step {
  constructor(kind, name, at) {
    this.state = h("span", { class: "took number" });
    this.what = h("span", { class: "summary" });
    this.name = h("strong", {}, name);
    this.extra = h("div", { class: "extra" });
    this.node = h("li", { class: "step", "data-kind": kind },
      h("span", { class: "at number" }, at),
      h("div", { class: "line" }, this.name, this.what, this.state), this.extra);
  }

  start(time) {
    this.node.dataset.state = "running";
    this.state.replaceChildren(sinceNode(Date.parse(time)));
    return this;
  }

  end(state, ms, words = "") {
    this.node.dataset.state = state;
    const shown = [state !== "ok" && state, words, ms != null && duration(ms)].filter(Boolean);
    this.state.replaceChildren(shown.join(" · "));
    return this;
  }

  say(text) {
    setText(this.what, text ?? "");
    return this;
  }

  add(...nodes) {
    this.extra.append(...nodes.filter(Boolean));
    return this;
  }
}

/** One iteration, or what comes before the first and after the last. */
class Section {
  constructor(title, status) {
    this.badge = status && badge(status);
    this.facts = h("span", { class: "dim facts" });
    this.steps = h("ol", { class: "steps" });
    this.cut = h("p", { class: "cut", hidden: true });
    this.verdicts = h("ul", { class: "verdicts", hidden: true });
    this.after = h("div", { class: "after" });
    this.dropped = 0;
    this.usage = { calls: 0, tokens: 0, cost: 0 };
    this.node = h("details", { class: "iteration", open: true },
      h("summary", {}, h("h3", {}, title), this.badge, this.facts),
      this.cut, this.steps, this.verdicts, this.after);
  }

  drop(step) {
    step.node.remove();
    ++this.dropped;
    setText(this.cut, `${number(this.dropped)} earlier steps are not shown here; ` +
      "the raw events have all of them.");
    this.cut.hidden = false;
  }

  setStatus(status) {
    this.status = status;
    if (this.badge) setBadge(this.badge, status);
  }

  showFacts() {
    const { calls, tokens, cost: usd } = this.usage;
    const took = this.took == null ? null : duration(this.took);
    setText(this.facts, [took, this.score, calls && counted(calls, "model call"),
      tokens && `${number(tokens)} tokens`, usd && cost(usd)].filter(Boolean).join(" · "));
  }
}

export class Timeline {
  constructor(execution, signal) {
    this.execution = execution;
    this.signal = signal;
    this.node = h("div", { class: "timeline" });
    this.jumps = h("nav", { class: "jumps", "aria-label": "Iterations", hidden: true });
    this.iterations = new Map();
    this.open = new Map();  // steps that have not ended, by kind and call
    this.shown = [];
    this.current = null;
  }

  /** One event; unknown types are left to the raw events. */
  add(event) {
    this.began ??= Date.parse(event.time);
    if (event.iteration) this.current = this.iterations.get(event.iteration) ?? this.current;
    HANDLERS[event.type]?.call(this, event.data, event);
  }

  body(name, ref) {
    return ref && bodyDetails(name, this.execution, ref, this.signal);
  }

  section() {
    this.current ??= this.addSection("Start", null);
    return this.current;
  }

  addSection(title, status) {
    const section = new Section(title, status);
    this.node.append(section.node);
    return section;
  }

  step(kind, name, event) {
    const at = `+${duration(Date.parse(event.time) - this.began)}`;
    const step = new Step(kind, name, at);
    step.section = this.section();
    step.section.steps.append(step.node);
    this.shown.push(step);
    if (this.shown.length > MOST_STEPS) {
      const oldest = this.shown.shift();
      oldest.section.drop(oldest);
    }
    return step;
  }

  iterate(event) {
    const n = event.iteration;
    const section = this.addSection(`Iteration ${n}`, "running");
    section.setStatus("running");
    section.began = Date.parse(event.time);
    section.facts.replaceChildren(sinceNode(section.began));
    this.iterations.set(n, section);
    this.current = section;
    if (n > OPEN_ITERATIONS) {
      const old = this.iterations.get(n - OPEN_ITERATIONS);
      if (old) old.node.open = false;
    }
    section.jump = h("button", { type: "button", "data-status": "running", click: () => {
      section.node.open = true;
      section.node.scrollIntoView({ block: "start" });
      section.node.querySelector("summary").focus({ preventScroll: true });
    } }, String(n));
    this.jumps.append(section.jump);
    this.jumps.hidden = this.iterations.size < 2;
  }

  /** The last iteration's end. */
  close(status, event) {
    const section = [...this.iterations.values()].at(-1);
    if (!section) return;
    section.setStatus(status);
    section.jump.dataset.status = status;
    if (section.took == null) section.took = Date.parse(event.time) - section.began;
    section.showFacts();
  }

  ended(key, event) {
    const step = this.open.get(key) ?? this.step(key.split(" ")[0], key, event);
    this.open.delete(key);
    return step;
  }
}

function verdict(result) {
  const passed = result.passed ? "passed" : "refused";
  return h("li", { "data-state": result.passed ? "ok" : "error" },
    h("div", { class: "line" }, h("strong", {}, result.validator ?? "validator"),
      h("span", { class: "word" }, passed),
      h("span", { class: "dim" }, `score ${score(result.score)}`,
        result.confidence < 1 && `, confidence ${score(result.confidence)}`)),
    result.detail && h("pre", { tabindex: "0" }, result.detail));
}

const target = (data) => `${data.host ?? ""}:${data.port}`;
const HANDLERS = {
  ExecutionCreated(data, event) {
    this.step("note", "Accepted", event).say(data.model_alias && `model ${data.model_alias}`);
  },
  ExecutionStarted(data, event) { this.step("note", "Started", event); },
  ExecutionResumed(data, event) {
    this.step("note", "Resumed", event).say("the daemon had stopped in between");
  },
  VolumeAttached(data, event) {
    this.step("note", "Volume", event).say(`${data.name} at ${data.mount_point}`);
  },
  VolumeQuotaExceeded(data, event) {
    this.step("note", "Volume full", event).say(data.name).end("error");
  },
  IterationStarted(data, event) { this.iterate(event); },
  SandboxStarted(data, event) {
    this.step("note", "Sandbox", event).say(data.runtime).end("ok", data.start_ms);
  },
  LlmCallStarted(data, event) {
    const step = this.step("model", "Model", event).start(event.time)
      .say(data.model_alias ?? "").add(this.body("Prompt", data.prompt));
    this.open.set(`model ${data.call}`, step);
    this.speaking = step;
  },
  OutputAppended(data) {
    const step = this.speaking;
    if (!step || data.stream !== "model") return;
    if (!step.spoken) {
      step.spoken = h("pre", { class: "spoken", tabindex: "0" });
      step.add(step.spoken);
    }
    const text = step.spoken.textContent + (data.text ?? "");
    step.spoken.textContent = text.length > MOST_SPOKEN ? `…${text.slice(-MOST_SPOKEN)}` : text;
  },
  LlmCallCompleted(data, event) {
    const { usage } = data;
    const tokens = `${number(usage.prompt_tokens)} + ${number(usage.completion_tokens)} tokens`;
    const step = this.ended(`model ${data.call}`, event);
    step.spoken?.remove();
    const asked = data.tool_calls > 0 && `asks for ${counted(data.tool_calls, "tool call")}`;
    step.say([data.model ?? data.provider, asked].filter(Boolean).join(", "))
      .end("ok", data.duration_ms, tokens).add(this.body("Answer", data.answer));
    const { usage: sum } = this.section();
    sum.calls += usage.calls;
    sum.tokens += usage.prompt_tokens + usage.completion_tokens;
    sum.cost += usage.cost_usd;
  },
  LlmCallFailed(data, event) {
    const step = this.ended(`model ${data.call}`, event).end("error", data.duration_ms);
    if (data.error) step.say(`${data.error.code}: ${data.error.message}`);
  },
  ToolCallStarted(data, event) {
    const step = this.step("tool", data.tool, event).start(event.time).say(data.summary);
    this.open.set(`tool ${data.call}`, step);
  },
  ToolCallCompleted(data, event) {
    const step = this.ended(`tool ${data.call}`, event);
    setText(step.name, data.tool);
    if (data.summary) step.say(data.summary);
    const exit = data.exit_code == null ? "" : `exit code ${data.exit_code}`;
    step.end(data.ok ? "ok" : "error", data.duration_ms, exit)
      .add(data.reason && h("p", { class: "reason" }, data.reason),
        this.body("Result", data.result));
  },
  ToolCallDenied(data, event) {
    this.step("tool", data.tool, event).say(data.summary).end("denied")
      .add(data.reason && h("p", { class: "reason" }, data.reason),
        this.body("Answer to the model", data.result));
  },
  EgressAllowed(data, event) {
    this.step("net", "Network", event).say(target(data)).end("ok", null, bytes(data.bytes));
  },
  EgressDenied(data, event) {
    this.step("net", "Network", event).say(target(data)).end("denied")
      .add(data.reason && h("p", { class: "reason" }, data.reason));
  },
  BudgetExceeded(data, event) {
    this.step("note", "Budget", event).say(data.message ?? data.what).end("error");
  },
  EffectLost(data, event) {
    this.step("note", "Lost", event).say(`${data.effect}: the daemon stopped before it ended`);
  },
  CancelRequested(data, event) {
    this.step("note", "Cancel", event).say(data.reason ?? "requested");
  },
  IterationCompleted(data, event) {
    const section = this.section();
    if (section.began) section.took = Date.parse(event.time) - section.began;
    section.after.append(...[
      data.error && h("p", { class: "reason" }, `${data.error.code}: ${data.error.message}`),
      data.exit_code != null && data.exit_code !== 0 &&
        h("p", { class: "reason" }, `The agent ended with exit code ${data.exit_code}.`),
      this.body("Output", data.output), this.body("stdout", data.stdout),
      this.body("stderr", data.stderr)].filter(Boolean));
    if (data.error) this.close("failed", event);
    else section.showFacts();
  },
  ValidationCompleted(data) {
    const section = this.section();
    section.score = `score ${score(data.score)}`;
    section.verdicts.replaceChildren(...(data.results ?? []).map(verdict));
    section.verdicts.hidden = !data.results?.length;
    section.showFacts();
  },
  IterationRefining(data, event) {
    this.close("refining", event);
    const told = this.body("What the next iteration is told", data.error_text);
    if (told) this.section().after.append(told);
  },
  OutcomeDecided(data, event) {
    const section = [...this.iterations.values()].at(-1);
    if (section?.status !== "running" && data.outcome === "cancelled") return;
    this.close(data.outcome === "completed" ? "success" : data.outcome, event);
  },
};

// Event streams by fetch: what browsers have for them could not send the token.

import { ApiError, errorOf, send } from "./api.js";

const SHORTEST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
// The daemon sends something every 15 s; three times nothing is a connection that is dead.
const SILENCE_MS = 45_000;
const BETWEEN_LOADS_MS = 400;

export function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

function untilSeen(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", done);
      resolve();
    };
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done, { once: true });
  });
}

function parsed(block) {
  let id = null;
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("id:")) id = line.slice(3).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5));
  }
  return data.length > 0 ? { id, value: JSON.parse(data.join("\n")) } : null;
}

/** Each event of one connection; `alive` is called whenever something came. */
async function* eventsOf(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    text += value;
    let from = 0;
    for (let end; (end = text.indexOf("\n\n", from)) >= 0; from = end + 2) {
      const event = parsed(text.slice(from, end));
      if (event) yield event;
    }
    text = text.slice(from);
  }
}

/** One connection's abort: with the page, by silence, and while nobody looks (a browser has six
 *  connections to one address for all its tabs). */
function lifeOf(signal) {
  const own = new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => own.abort(), SILENCE_MS);
  };
  const hidden = () => { if (document.hidden) own.abort(); };
  document.addEventListener("visibilitychange", hidden);
  alive();
  return { signal: AbortSignal.any([signal, own.signal]), alive, end: () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", hidden);
    own.abort();
  } };
}

/** Follows a stream until `onEvent` returns true, joining it again when it is lost: behind the last
 *  event, or with `anew` where the path itself says. Throws an ApiError that a repeat would not
 *  change. */
export async function follow(path, { signal, anew, onOpen, onEvent, onState }) {
  let last = null;
  let wait = SHORTEST_WAIT_MS;
  while (!signal.aborted) {
    await untilSeen(signal);
    const life = lifeOf(signal);
    try {
      const headers = { Accept: "text/event-stream" };
      if (last && !anew) headers["Last-Event-ID"] = last;
      const response = await send(path, { signal: life.signal, headers });
      if (!response.ok) throw await errorOf(response);
      wait = SHORTEST_WAIT_MS;
      onState("live");
      onOpen?.();
      for await (const { id, value } of eventsOf(response.body, life.alive)) {
        if (id) last = id;
        if (onEvent(value)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status < 500 && error.status !== 429) throw error;
    } finally {
      life.end();
    }
    if (signal.aborted) return;
    if (document.hidden) continue;  // nothing was lost, nobody looks
    onState("lost");
    await pause(wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

/** `load`, but never twice at once and not more often than BETWEEN_LOADS_MS; a call meanwhile makes
 *  it run once more. */
export function calmed(load, signal) {
  let running = false;
  let again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    while (again && !signal.aborted) {
      again = false;
      await load();
      await pause(BETWEEN_LOADS_MS, signal);
    }
    running = false;
  };
}

/** Loads now, after every event of these types, and after the stream was joined again: the stream
 *  says that something has changed, the answer says what it is. */
export function loadOnEvents(types, { signal, load, onState }) {
  const again = calmed(load, signal);
  const where = `/v1/events?after=newest&type=${types.join(",")}`;
  const onEvent = () => { again(); };
  // Anew each time: what was missed is in what is loaded.
  follow(where, { signal, anew: true, onOpen: again, onEvent, onState })
    .catch(() => { onState("lost"); again(); });
  return again;
}

export const EXECUTION_CHANGES = ["ExecutionCreated", "ExecutionStarted", "IterationStarted",
  "LlmCallCompleted", "ExecutionCompleted", "ExecutionFailed", "ExecutionCancelled"];
export const AGENT_CHANGES = ["AgentDeployed", "AgentUpdated", "AgentPaused", "AgentResumed",
  "AgentDeleted"];
export const VOLUME_CHANGES = ["VolumeAttached", "VolumeDetached"];

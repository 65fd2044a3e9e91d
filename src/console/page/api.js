// Requests to the daemon. The token is in a header and in this tab's session, never in an address.

import { askToken, token } from "./token.js";

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message ?? `the daemon answered with ${status}`);
    Object.assign(this, { status, code: error.code, hint: error.hint, details: error.details });
  }
}

export async function errorOf(response) {
  const body = await response.json().catch(() => ({}));
  return new ApiError(response.status, body.error ?? {});
}

/** The answer to a request; asks for a token as often as the daemon does. */
export async function send(path, options = {}) {
  for (;;) {
    const used = token();
    const headers = { ...options.headers };
    if (used) headers.Authorization = `Bearer ${used}`;
    const response = await fetch(path, { cache: "no-store", credentials: "omit",
      redirect: "error", referrerPolicy: "no-referrer", ...options, headers });
    if (response.status !== 401) return response;
    await askToken(used, options.signal);
  }
}

async function answered(path, options) {
  const response = await send(path, options);
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** What a GET answers, parsed. */
export async function get(path, signal) {
  return (await answered(path, { signal })).json();
}

export async function post(path, body, headers = {}) {
  const options = { method: "POST", headers };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json", ...headers };
  }
  return (await answered(path, options)).json();
}

/** {text, cut}: at most `most` bytes of an answer; the rest is never read. */
export async function getText(path, most, signal) {
  const reader = (await answered(path, { signal })).body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let seen = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text: text + decoder.decode(), cut: false };
    const room = most - seen;
    text += decoder.decode(value.subarray(0, room), { stream: true });
    seen += value.length;
    if (seen > most) {
      await reader.cancel();
      return { text, cut: true };
    }
  }
}

/** Saves an answer as a file. A plain link could not send the token. */
export async function download(path, name) {
  const blob = await (await answered(path)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const path = (...segments) => "/" + segments.map(encodeURIComponent).join("/");

export function withQuery(where, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
  return query.size > 0 ? `${where}?${query}` : where;
}

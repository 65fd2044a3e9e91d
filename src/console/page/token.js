// The bearer token: kept for this tab only, asked for when the daemon wants one.

import { h } from "./dom.js";

const KEY = "aegis.token";
let asking = null;

export const token = () => sessionStorage.getItem(KEY) ?? "";

function keep(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
  document.getElementById("forget").hidden = !value;
}

/** Resolves when there is a token other than `used`, which the daemon has refused. One question
 *  for all requests that wait. */
export async function askToken(used, signal) {
  if (token() !== used) return;
  asking ??= question(used !== "").finally(() => { asking = null; });
  await asking;
  signal?.throwIfAborted();
}

function question(wrong) {
  keep("");
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "token", autocomplete: "off",
      spellcheck: "false", autofocus: true, "aria-describedby": "token-help" });
    const help = h("p", { id: "token-help", role: "status" }, wrong
      ? "The daemon refused that token."
      : "This daemon asks for a bearer token (server.token in its configuration).");
    const done = () => {
      const value = input.value.trim();
      if (!/^[\x21-\x7e]+$/.test(value)) {
        help.textContent = "A token has no spaces and only ASCII characters.";
        return;
      }
      keep(value);
      dialog.close();
    };
    const enter = (event) => { if (event.key === "Enter") done(); };
    const dialog = h("dialog", { "aria-labelledby": "token-title",
      cancel: (event) => event.preventDefault(),
      close: () => { dialog.remove(); resolve(); } },
    h("h2", { id: "token-title" }, "Token"), help,
    h("label", { for: "token" }, "Bearer token"), input,
    h("p", { class: "dim" }, "It stays in this tab and is forgotten with it."),
    h("div", { class: "buttons" },
      h("button", { type: "button", class: "primary", click: done }, "Use token")));
    input.addEventListener("keydown", enter);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Wires the button that forgets the token. */
export function offerForgetting() {
  const button = document.getElementById("forget");
  button.hidden = !token();
  button.addEventListener("click", () => {
    keep("");
    location.reload();
  });
}

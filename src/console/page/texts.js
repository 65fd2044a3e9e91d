// Long texts: fetched when they are opened, shown up to a bound that is said.

import { download, getText, path } from "./api.js";
import { errorNotice, h } from "./dom.js";
import { bytes, pretty } from "./format.js";

const MOST_BYTES = 128 * 1024;

/** A text in a box that scrolls; beyond the bound it is cut, and says so. */
export function textBox(text, { cut = false, whole = null } = {}) {
  const shown = text.length > MOST_BYTES ? text.slice(0, MOST_BYTES) : text;
  const short = cut || shown.length < text.length;
  const box = h("pre", { tabindex: "0" }, shown);
  if (!short) return box;
  return h("div", {}, box, h("p", { class: "cut" },
    `Cut here, after the first ${bytes(MOST_BYTES)}.`, whole && " ", whole));
}

/** A text that is at hand, behind its name. */
export function textDetails(name, text, open = false) {
  return h("details", { class: "text", open },
    h("summary", {}, name, h("span", { class: "dim" }, ` ${bytes(new Blob([text]).size)}`)),
    textBox(pretty(text)));
}

/** A text that the journal names (`ref`), fetched when it is opened for the first time. */
export function bodyDetails(name, execution, ref, signal) {
  const where = path("v1", "executions", execution, "bodies", ref.sha256);
  const place = h("div");
  const load = async () => {
    place.replaceChildren(h("p", { class: "dim" }, "loading"));
    try {
      const { text, cut } = await getText(where, MOST_BYTES, signal);
      const whole = h("button", { type: "button", class: "quiet",
        click: () => download(where, `${ref.sha256.slice(0, 12)}.txt`) }, "Save all of it");
      place.replaceChildren(textBox(cut ? text : pretty(text), { cut, whole }));
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(errorNotice(error));
    }
  };
  let asked = false;
  const toggle = ({ target }) => {
    if (!target.open || asked) return;
    asked = true;
    load();
  };
  return h("details", { class: "text", toggle },
    h("summary", {}, name, h("span", { class: "dim" }, ` ${bytes(ref.size)}`)), place);
}

// Elements. Whatever is shown goes in as text: nothing in here makes markup out of it.

/** An element. `props`: attributes; a function is a listener (`click`); true and false set and
 *  leave out an attribute. Children: nodes, texts, lists of them; null and false are left out. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(9).filter((child) => child != null && child !== false));
  return node;
}

/** Sets the text only where it is another one: a selection in it survives. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Tells those who do not see the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** A status as a word with a colour. */
export function badge(status) {
  const node = h("span", { class: "badge" });
  setBadge(node, status);
  return node;
}

export function setBadge(node, status) {
  setText(node, status);
  node.dataset.status = status;
}

/** A time that the ticker in main.js keeps true: "5 min ago". */
export function agoNode(time) {
  return h("time", { datetime: time, title: time, "data-ago": Date.parse(time) });
}

/** How long something has been going on, kept true by the ticker until setEnd(). */
export function sinceNode(from) {
  return h("span", { class: "number", "data-since": from });
}

/** A question before something is done; resolves to whether the answer was yes. */
export function confirmed({ title, text, yes, no }) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "question", close: () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    } },
    h("h2", { id: "question" }, title), h("p", {}, text),
    h("div", { class: "buttons" },
      h("button", { type: "button", autofocus: true, click: () => dialog.close("no") }, no),
      h("button", { type: "button", class: "danger", click: () => dialog.close("yes") }, yes)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** What went wrong, with the next step where the daemon names one. */
export function errorNotice(error) {
  const details = (error.details ?? []).slice(0, 20).map((d) =>
    h("li", {}, d.line ? `line ${d.line}, column ${d.column}: ` : d.path ? `${d.path}: ` : "",
      d.message));
  return h("div", { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, error.code ? `${error.code}: ` : ""), error.message),
    error.hint && h("p", {}, error.hint), details.length > 0 && h("ul", {}, details));
}

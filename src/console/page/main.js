// Which page is shown, what they share, and the clock that keeps times on them true.

import { agentPage, agentsPage } from "./agents.js";
import { executionPage } from "./execution.js";
import { executionsPage } from "./executions.js";
import { errorNotice, h, setText } from "./dom.js";
import { ago, duration } from "./format.js";
import { daemonPage, volumesPage } from "./node.js";
import { offerForgetting } from "./token.js";

const PAGES = [
  [/^executions$/, executionsPage, "executions"],
  [/^executions\/([^/]+)$/, executionPage, "executions"],
  [/^agents$/, agentsPage, "agents"],
  [/^agents\/([^/]+)$/, agentPage, "agents"],
  [/^volumes$/, volumesPage, "volumes"],
  [/^daemon$/, daemonPage, "daemon"],
];
const LINK_WORDS = { live: "live", lost: "reconnecting", ended: "ended", none: "" };
const TICK_MS = 1000;

let current = null;

function parts() {
  const [path, query] = location.hash.slice(2).split("?");
  return { path: path || "executions", query: new URLSearchParams(query ?? "") };
}

/** The state of the page's event stream, in the page's head. */
function showLink(state) {
  const node = document.getElementById("link");
  node.dataset.state = state;
  setText(node, LINK_WORDS[state]);
}

function setTitle(text) {
  document.title = text ? `${text} – AEGIS` : "AEGIS";
}

/** What a page gets: where it is drawn, what it was asked for, and when it is over. */
function contextOf(root, query, argument) {
  const controller = new AbortController();
  return { root, query, argument, controller, signal: controller.signal, setTitle,
    onState: (state) => { if (!controller.signal.aborted) showLink(state); },
    fail: (error) => { if (!controller.signal.aborted) root.replaceChildren(errorNotice(error)); },
    /** Another query of the same page, without drawing it anew. */
    setQuery(changed) {
      for (const [name, value] of Object.entries(changed))
        if (value) query.set(name, value);
        else query.delete(name);
      const text = query.size > 0 ? `?${query}` : "";
      history.replaceState(null, "", `#/${parts().path}${text}`);
    } };
}

function show() {
  // "#main" is the skip link's.
  if (location.hash !== "" && !location.hash.startsWith("#/")) return;
  const { path, query } = parts();
  current?.controller.abort();
  const root = document.getElementById("main");
  const [page, argument, tab] = found(path);
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#/${tab}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const drawn = current !== null;
  current = contextOf(root, query, argument);
  showLink("none");
  root.replaceChildren();
  scrollTo(0, 0);
  page(current);
  if (drawn) root.focus({ preventScroll: true });
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** [page, what of it, its tab] for a path. */
function found(path) {
  for (const [pattern, page, tab] of PAGES) {
    const match = pattern.exec(path);
    if (match) return [page, decoded(match[1] ?? ""), tab];
  }
  const nothing = ({ root }) => root.append(h("div", { class: "empty" },
    h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/executions" },
      "Executions"))));
  return [nothing, "", ""];
}

function tick() {
  const now = Date.now();
  for (const node of document.querySelectorAll("[data-ago]"))
    setText(node, ago(now - Number(node.dataset.ago)));
  for (const node of document.querySelectorAll("[data-since]"))
    setText(node, duration(now - Number(node.dataset.since)));
}

new MutationObserver(tick).observe(document.getElementById("main"),
  { childList: true, subtree: true });
setInterval(tick, TICK_MS);
addEventListener("hashchange", show);
offerForgetting();
show();

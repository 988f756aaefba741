// The page: which view is shown, what the header says, and who is told of what the agent sends.

import { byId, clock, el, setText } from "./dom.js";
import { follow } from "./live.js";
import * as panel from "./panel.js";
import * as topicPanel from "./topic_panel.js";
import * as topics from "./topics.js";
import * as workers from "./workers.js";

// where we are: #/workers, #/workers/PATH, #/topics, #/topics/TOPIC

function place() {
  const [, view, ...path] = location.hash.split("/");
  return { view: view === "topics" ? view : "workers", path: path.map(decode).join("/") };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function go(path, view = "workers") {
  const wanted = `#/${view}${path ? `/${path.split("/").map(encodeURIComponent).join("/")}` : ""}`;
  if (location.hash !== wanted) location.hash = wanted;
}

let shown = "";

function route() {
  const { view, path } = place();
  for (const name of ["workers", "topics"]) {
    byId(name).hidden = name !== view;
    if (name === view) byId(`tab-${name}`).setAttribute("aria-current", "page");
    else byId(`tab-${name}`).removeAttribute("aria-current");
  }
  topics.show(view === "topics");
  const topic = view === "topics" ? path : "";
  topics.choose(topic);
  if (topic) topicPanel.show(topic);
  else topicPanel.close();
  const before = shown;
  shown = view === "workers" ? path : "";
  workers.choose(shown);
  if (shown) panel.show(shown);
  else panel.close();
  if (before && !shown) workers.focusRow(before);
}

// the header

function showLink(state) {
  const link = byId("link");
  if (link.dataset.state === state) return;
  link.dataset.state = state;
  setText(link, state === "live" ? "live" : "connection lost");
  byId("lost").hidden = state === "live";
  setText(byId("lost"), state === "live" ? "" : "The connection to the agent is lost. What you see is what it said last; trying again.");
  document.title = state === "live" ? "Setpoint" : "✖ Setpoint";
}

function showConfig(status) {
  const file = status.file.split("/").slice(-2).join("/");
  setText(byId("file"), file);
  byId("file").title = status.file;
  const bar = byId("config");
  bar.hidden = status.ok && !status.problems.length;
  if (bar.hidden) return;
  const lead = status.ok
    ? "The config file has remarks:"
    : `The config file has an error and was not applied. What runs: ${inForce(status)}.`;
  const line = ({ file: source, line: row, column, key, message, hint }) =>
    el("li", {}, el("span", { class: "place" }, `${source}:${row}:${column}`), key ? ` ${key}: ` : " ", [message, hint].filter(Boolean).join("; "));
  bar.className = `bar ${status.ok ? "warning" : "error"}`;
  bar.setAttribute("role", status.ok ? "status" : "alert");
  bar.replaceChildren(el("strong", {}, lead), el("ul", {}, status.problems.slice(0, 8).map(line), more(status.problems.length - 8)));
}

/** What runs instead of a file with an error: an earlier version of it, unless the agent started on the bad one. */
const inForce = ({ applied, applied_at: at }) => (applied === "this file" ? `its version of ${clock(at)}` : applied);

const more = (count) => (count > 0 ? el("li", {}, `and ${count} more; setpoint check shows them all`) : null);

// keys

function onKey(event) {
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === "Escape" && typing && event.target.value) {
    event.target.value = "";
    event.target.dispatchEvent(new Event("input"));
  } else if (event.key === "Escape" && place().path) {
    go("", place().view);
  } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId(place().view === "topics" ? "find-topic" : "find").focus();
  }
}

workers.setUp(go);
panel.setUp(go);
topics.setUp((topic) => go(topic, "topics"));
topicPanel.setUp(() => go("", "topics"));
addEventListener("hashchange", route);
addEventListener("keydown", onKey);
follow({
  link: showLink,
  config: showConfig,
  workers(list) {
    workers.replaceAll(list);
    workers.choose(shown);
    panel.changed([shown]);
  },
  changes(changes) {
    workers.change(changes);
    panel.changed([...changes.workers.map((worker) => worker.path), ...changes.removed]);
  },
});
route();

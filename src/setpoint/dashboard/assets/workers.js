// The tree of workers. Each worker has one row for as long as it lives; an event touches only the rows it names.

import { ago, blink, byId, el, phaseClass, setPill, setText } from "./dom.js";

const PHASES = ["healthy", "degraded", "failed", "starting", "stopping", "stopped"];
const rows = new Map(); // path → {worker, row, cells…}
const collapsed = new Set();
let order = []; // paths in the order shown
let phase = ""; // show only this one; "" all
let words = "";
let chosen = "";
let open = () => {};

export function setUp(onOpen) {
  open = onOpen;
  byId("find").addEventListener("input", (event) => {
    words = event.target.value.trim().toLowerCase();
    arrange();
  });
  byId("rows").addEventListener("click", onClick);
  byId("rows").addEventListener("keydown", onKey);
  setInterval(tick, 1000);
  countPhases();
}

export function replaceAll(workers) {
  const here = new Set(workers.map((worker) => worker.path));
  for (const path of [...rows.keys()]) if (!here.has(path)) drop(path);
  workers.forEach((worker) => put(worker, false));
  rebuild();
}

export function change({ workers, removed }) {
  const known = rows.size;
  removed.forEach(drop);
  let added = 0;
  for (const worker of workers) added += put(worker, true) ? 1 : 0;
  if (added || removed.length || rows.size !== known) rebuild();
  else if (phase || words) arrange();
  countPhases();
}

export function choose(path) {
  if (chosen) rows.get(chosen)?.row.removeAttribute("aria-selected");
  chosen = path;
  rows.get(path)?.row.setAttribute("aria-selected", "true");
}

export function focusRow(path) {
  rows.get(path)?.row.focus();
}

export const workerAt = (path) => rows.get(path)?.worker;

function put(worker, flash) {
  const entry = rows.get(worker.path);
  if (entry) {
    const moved = entry.worker.state !== worker.state;
    entry.worker = worker;
    fill(entry);
    if (moved && flash) blink(entry.row);
    return false;
  }
  rows.set(worker.path, make(worker));
  return true;
}

function drop(path) {
  const entry = rows.get(path);
  if (!entry) return;
  entry.row.remove();
  rows.delete(path);
}

function make(worker) {
  const entry = {
    worker,
    steps: worker.path.split("/"),
    depth: 0,
    parent: "",
    labelled: "",
    text: el("span", { class: "text" }),
    twist: el("button", { class: "twist", type: "button", tabindex: "-1", "aria-hidden": "true" }, "▾"),
    pill: el("span", { class: "pill" }),
    reason: el("span", { class: "reason", role: "gridcell" }),
    desired: el("span", { class: "desired", role: "gridcell" }),
    since: el("span", { class: "since right", role: "gridcell" }),
  };
  entry.name = el("span", { class: "name", role: "rowheader" }, entry.twist, entry.text);
  entry.row = el(
    "div",
    { role: "row", class: "row", tabindex: "-1", "data-path": worker.path },
    entry.name,
    el("span", { role: "gridcell" }, entry.pill),
    entry.reason,
    entry.desired,
    entry.since,
  );
  fill(entry);
  return entry;
}

function fill(entry) {
  const { worker } = entry;
  setPill(entry.pill, worker.state, worker.phase);
  setText(entry.reason, worker.reason);
  entry.reason.title = worker.reason;
  setText(entry.desired, worker.desired);
  entry.desired.classList.toggle("odd", worker.desired === "stopped" || worker.desired === "removed");
  setText(entry.since, ago(worker.since));
}

// which rows there are, in which order

function rebuild() {
  order = [...rows.values()].sort(byPath).map((entry) => entry.worker.path);
  const parents = new Set();
  for (const path of order) {
    const entry = rows.get(path);
    entry.parent = parentOf(path);
    entry.depth = entry.parent ? rows.get(entry.parent).depth + 1 : 0;
    if (entry.parent) parents.add(entry.parent);
  }
  let place = byId("rows").firstElementChild;
  for (const path of order) {
    const entry = rows.get(path);
    label(entry, parents.has(path));
    if (entry.row === place) place = place.nextElementSibling;
    else byId("rows").insertBefore(entry.row, place);
  }
  arrange();
  countPhases();
}

const names = new Intl.Collator(undefined, { numeric: true });

const byPath = ({ steps: left }, { steps: right }) => {
  for (let i = 0; i < Math.min(left.length, right.length); i += 1) {
    if (left[i] !== right[i]) return names.compare(left[i], right[i]) || (left[i] < right[i] ? -1 : 1);
  }
  return left.length - right.length;
};

function parentOf(path) {
  let end = path.lastIndexOf("/");
  while (end > 0) {
    const parent = path.slice(0, end);
    if (rows.has(parent)) return parent;
    end = path.lastIndexOf("/", end - 1);
  }
  return "";
}

function label(entry, isParent) {
  const { path, type } = entry.worker;
  const folded = collapsed.has(path);
  const key = `${entry.parent} ${entry.depth} ${isParent} ${folded}`;
  if (entry.labelled === key) return;
  entry.labelled = key;
  const below = entry.parent ? path.slice(entry.parent.length + 1) : path.slice(path.indexOf("/") + 1);
  const cut = below.lastIndexOf("/") + 1;
  entry.text.replaceChildren(cut ? el("span", { class: "group" }, below.slice(0, cut)) : "", below.slice(cut));
  entry.text.title = `${path} (${type})`;
  entry.name.style.paddingLeft = `${entry.depth * 20}px`;
  entry.row.setAttribute("aria-level", entry.depth + 1);
  entry.twist.toggleAttribute("data-leaf", !isParent);
  if (isParent) entry.row.setAttribute("aria-expanded", String(!folded));
  else entry.row.removeAttribute("aria-expanded");
  setText(entry.twist, folded ? "▸" : "▾");
}

function matches({ worker }) {
  if (phase && worker.phase !== phase) return false;
  if (!words) return true;
  return `${worker.path} ${worker.type} ${worker.state} ${worker.reason}`.toLowerCase().includes(words);
}

/** Show what the filter and the folded parents leave; a match brings its parents along. */
function arrange() {
  const filtering = Boolean(phase || words);
  const shown = new Set();
  for (const path of order) {
    if (filtering) {
      if (!matches(rows.get(path))) continue;
      for (let at = path; at; at = rows.get(at).parent) shown.add(at);
    } else {
      const { parent } = rows.get(path);
      if (!parent || (shown.has(parent) && !collapsed.has(parent))) shown.add(path);
    }
  }
  let first = null;
  for (const path of order) {
    const { row } = rows.get(path);
    const hide = !shown.has(path);
    if (row.hidden !== hide) row.hidden = hide;
    if (row.tabIndex === 0) row.tabIndex = -1;
    if (!hide && !first) first = row;
  }
  const current = rows.get(chosen)?.row;
  const entrance = current && !current.hidden ? current : first;
  if (entrance) entrance.tabIndex = 0;
  byId("empty").hidden = Boolean(first);
  setText(byId("empty"), order.length ? "No worker fits the filter." : "No workers yet. Add a bridge or a flow to the config file.");
}

function countPhases() {
  const counts = new Map(PHASES.map((name) => [name, 0]));
  for (const { worker } of rows.values()) counts.set(worker.phase, (counts.get(worker.phase) ?? 0) + 1);
  const chips = byId("phases");
  if (!chips.children.length) {
    chips.append(chip("", "all"), ...PHASES.map((name) => chip(name, name)));
  }
  for (const button of chips.children) {
    const name = button.dataset.phase;
    const count = name ? counts.get(name) : rows.size;
    setText(button.querySelector("b"), String(count));
    button.hidden = Boolean(name) && !count && phase !== name;
    button.setAttribute("aria-pressed", String(phase === name));
  }
}

function chip(name, text) {
  const choosePhase = () => {
    phase = phase === name ? "" : name;
    countPhases();
    arrange();
  };
  const mark = name ? el("i", { class: phaseClass(name), "aria-hidden": "true" }) : null;
  return el("button", { class: "chip", type: "button", "data-phase": name, onclick: choosePhase }, mark, text, el("b"));
}

function tick() {
  for (const { worker, since, row } of rows.values()) if (!row.hidden) setText(since, ago(worker.since));
}

// hands

function onClick(event) {
  const row = event.target.closest(".row");
  if (!row) return;
  if (event.target.closest(".twist")) fold(row.dataset.path);
  else open(row.dataset.path);
}

function fold(path, wanted = !collapsed.has(path)) {
  const entry = rows.get(path);
  if (!entry?.row.hasAttribute("aria-expanded")) return;
  if (wanted) collapsed.add(path);
  else collapsed.delete(path);
  label(entry, true);
  arrange();
}

function onKey(event) {
  const row = event.target.closest(".row");
  if (!row) return;
  const { path } = row.dataset;
  const step = (direction) => {
    let next = row;
    do next = next[direction];
    while (next && next.hidden);
    next?.focus();
  };
  const keys = {
    ArrowDown: () => step("nextElementSibling"),
    ArrowUp: () => step("previousElementSibling"),
    ArrowRight: () => (collapsed.has(path) ? fold(path, false) : step("nextElementSibling")),
    ArrowLeft: () => (row.getAttribute("aria-expanded") === "true" ? fold(path, true) : focusRow(rows.get(path).parent)),
    Enter: () => open(path),
    " ": () => open(path),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

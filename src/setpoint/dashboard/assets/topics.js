// The namespace as a tree: places, and topics with their last values, as they change. Asked for only while somebody looks.

import { agentNow, ago, ask, blink, byId, duration, el, setText } from "./dom.js";

const REFRESH = 5000; // ms until the tree is asked for again: new topics, and values while nobody follows the log
const AT_FIRST = 300; // nodes that are opened by themselves
const BELOW = 1000; // children of a place that are asked for
const PLACES = 40; // more open places than this, and the stream is not narrowed to them
const RETRY = 5000;
const rows = new Map(); // path → {row, cells…, topic}
const opened = new Set(); // paths that somebody opened
const closed = new Set(); // paths that somebody closed
let tree = [];
let query = "";
let visible = false;
let chosen = "";
let timer = 0;
let asking = null;
let stream = null; // {source, url}
let again = 0;
let open = () => {};

export function setUp(onOpen) {
  open = onOpen;
  byId("find-topic").addEventListener("input", (event) => {
    query = parameters(event.target.value);
    opened.clear();
    closed.clear();
    if (visible) refresh();
  });
  byId("topic-rows").addEventListener("click", onClick);
  setInterval(tick, 1000);
}

export function show(yes) {
  if (yes === visible) return;
  visible = yes;
  clearTimeout(timer);
  if (yes) refresh();
  else {
    asking?.abort();
    unfollow();
  }
}

export function choose(topic) {
  rows.get(chosen)?.row.removeAttribute("aria-selected");
  chosen = pathOf(topic);
  rows.get(chosen)?.row.setAttribute("aria-selected", "true");
}

const pathOf = (topic) => topic.replace(/^umh\.v1\./, "");

/** What was typed as a query: key=value is metadata, a word with * or ? a pattern, any other word part of the name. */
function parameters(text) {
  const found = new URLSearchParams();
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    if (word.indexOf("=") > 0) found.append("meta", word);
    else found.set(/[*?]/.test(word) ? "pattern" : "contains", word);
  }
  return found.toString();
}

// asking

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const found = await ask(`/topics/tree?depth=64&limit=${AT_FIRST}&${query}`, signal);
    await Promise.all(unasked(found).map((node) => fetchBelow(node, signal)));
    tree = found;
    render(Number(found.total ?? 0));
    follow();
  } catch (error) {
    if (error.name === "AbortError") return;
    setText(byId("topic-count"), error.message);
  }
  if (visible) timer = setTimeout(refresh, REFRESH);
}

/** Places that somebody opened and whose children were not in the answer. */
function unasked(nodes) {
  return nodes.flatMap((node) => (node.children ? unasked(node.children) : opened.has(node.path) ? [node] : []));
}

async function fetchBelow(node, signal) {
  node.children = await ask(`/topics/tree?at=${encodeURIComponent(node.path)}&limit=${BELOW}&${query}`, signal);
  await Promise.all(unasked(node.children).map((child) => fetchBelow(child, signal)));
}

// live

function follow() {
  const followed = [...rows.values()].filter(({ topic }) => topic && topic.rate !== null); // without a rate nobody follows the log
  const places = new Set(followed.map(({ path }) => path.slice(0, path.lastIndexOf("."))));
  const at = places.size <= PLACES ? [...places].map((place) => `&at=${encodeURIComponent(place)}`).join("") : "";
  const url = `/api/v1/topics/events?${query}${at}`;
  if (!visible || (stream?.url === url && stream.source.readyState !== EventSource.CLOSED)) return;
  unfollow();
  if (!places.size || agentNow() < again) return;
  const source = new EventSource(url);
  source.addEventListener("topics", (event) => JSON.parse(event.data).forEach(changed));
  source.addEventListener("end", lost);
  source.onerror = lost;
  stream = { source, url };
}

/** Nobody follows the log, or the connection is gone: the tree is still asked for, and this again after a while. */
function lost() {
  unfollow();
  again = agentNow() + RETRY;
}

function unfollow() {
  stream?.source.close();
  stream = null;
}

function changed(topic) {
  const entry = rows.get(pathOf(topic.topic));
  if (!entry) return;
  entry.topic = topic;
  fill(entry, true);
}

// showing

function render(total) {
  const seen = new Set();
  let place = byId("topic-rows").firstElementChild;
  for (const line of lines(tree, 0)) {
    const { node } = line;
    seen.add(node.path);
    const entry = rows.get(node.path) ?? make(node.path);
    label(entry, line);
    if (node.topic || !entry.topic) entry.topic = node.topic;
    fill(entry, Boolean(entry.shown));
    if (entry.row === place) place = place.nextElementSibling;
    else byId("topic-rows").insertBefore(entry.row, place);
  }
  for (const [path, entry] of rows) {
    if (seen.has(path)) continue;
    entry.row.remove();
    rows.delete(path);
  }
  rows.get(chosen)?.row.setAttribute("aria-selected", "true");
  setText(byId("topic-count"), `${total.toLocaleString("en")} topic${total === 1 ? "" : "s"}`);
  byId("no-topics").hidden = tree.length > 0;
  setText(byId("no-topics"), query ? "No topic is meant by that." : "No topic has been written to yet.");
}

/** The rows there are: open places with what is below them. A place with one place below it shares its row. */
function* lines(nodes, depth) {
  for (let node of nodes) {
    let name = node.name;
    while (!node.topic && node.children?.length === 1 && node.children[0].topics === node.topics) {
      [node] = node.children;
      name += `.${node.name}`;
    }
    const leaf = node.topics === (node.topic ? 1 : 0);
    const isOpen = !leaf && Boolean(node.children) && !closed.has(node.path);
    yield { node, name, depth, leaf, isOpen };
    if (!isOpen) continue;
    yield* lines(node.children, depth + 1);
    const missing = node.topics - (node.topic ? 1 : 0) - node.children.reduce((sum, child) => sum + child.topics, 0);
    if (missing > 0) yield { node: { path: `${node.path}…`, topics: 0, topic: null }, name: `… ${missing.toLocaleString("en")} more: filter`, depth: depth + 1, leaf: true, isOpen: false };
  }
}

function make(path) {
  const cells = {
    twist: el("button", { class: "twist", type: "button", "data-fold": path }, "▾"),
    text: el("span", {}),
    below: el("span", { class: "below" }),
    value: el("td", { class: "value" }),
    age: el("td", { class: "right" }),
    rate: el("td", { class: "right" }),
    count: el("td", { class: "right" }),
  };
  cells.name = el("td", { class: "topic" }, cells.twist, cells.text, cells.below);
  const row = el("tr", { "data-path": path }, cells.name, cells.value, cells.age, cells.rate, cells.count);
  const entry = { ...cells, row, path, topic: null, shown: "", labelled: "" };
  rows.set(path, entry);
  return entry;
}

function label(entry, { node, name, depth, leaf, isOpen }) {
  const key = `${name} ${depth} ${leaf} ${isOpen} ${node.topics} ${Boolean(node.topic)}`;
  if (entry.labelled === key) return;
  entry.labelled = key;
  const cut = name.lastIndexOf(".") + 1;
  const last = node.topic ? el("button", { class: "open", type: "button", "data-topic": node.topic.topic }, name.slice(cut)) : name.slice(cut);
  entry.text.replaceChildren(cut ? el("span", {}, name.slice(0, cut)) : "", last);
  setText(entry.below, leaf ? "" : node.topics.toLocaleString("en"));
  entry.name.style.paddingLeft = `${depth * 20 + 12}px`;
  entry.twist.toggleAttribute("data-leaf", leaf);
  entry.twist.setAttribute("aria-expanded", String(isOpen));
  entry.twist.setAttribute("aria-label", `${isOpen ? "Close" : "Open"} ${name}`);
  setText(entry.twist, isOpen ? "▾" : "▸");
}

export const valueText = ({ problem, value }) => (problem ? `unreadable: ${problem}` : typeof value === "string" ? value : JSON.stringify(value));

function fill(entry, flash) {
  const { topic } = entry;
  const text = topic ? valueText(topic) : "";
  if (entry.shown !== text) {
    entry.shown = text;
    setText(entry.value, text);
    entry.value.title = text.slice(0, 2000);
    if (flash) blink(entry.value);
  }
  entry.row.title = topic?.producer ? `written by ${topic.producer}` : "";
  setText(entry.age, topic ? ago(topic.timestamp) : "");
  setText(entry.count, topic ? topic.count.toLocaleString("en") : "");
  setText(entry.rate, topic ? rateText(topic.rate) : "");
}

/** Messages a second, or how long there is to one message. */
export function rateText(rate) {
  if (rate === null) return "";
  if (rate < 1 / 86400) return "0";
  return rate >= 0.1 ? `${rate >= 100 ? Math.round(rate).toLocaleString("en") : rate.toPrecision(3)}/s` : `1 in ${duration(1 / rate)}`;
}

function tick() {
  if (visible) for (const { topic, age } of rows.values()) if (topic) setText(age, ago(topic.timestamp));
}

// hands

function onClick(event) {
  const fold = event.target.closest("[data-fold]")?.dataset.fold;
  const row = event.target.closest("tr");
  const topic = row?.querySelector("[data-topic]")?.dataset.topic;
  if (fold !== undefined || !topic) turn(fold ?? row?.dataset.path);
  else open(topic);
}

function turn(path) {
  const entry = rows.get(path);
  if (!entry || entry.twist.hasAttribute("data-leaf")) return;
  if (entry.twist.getAttribute("aria-expanded") === "true") {
    closed.add(path);
    opened.delete(path);
  } else {
    closed.delete(path);
    opened.add(path);
  }
  refresh();
}

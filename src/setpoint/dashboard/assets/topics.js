// The namespace: every topic with its last value. Asked for only while somebody looks.

import { agentNow, ago, ask, blink, byId, duration, el, setText } from "./dom.js";

const REFRESH = 2000;
const LIMIT = 500;
const rows = new Map(); // topic → {row, cells, count, at, rate}
let timer = 0;
let asking = null;
let words = "";
let visible = false;

export function setUp() {
  byId("find-topic").addEventListener("input", (event) => {
    words = event.target.value.trim();
    if (visible) refresh();
  });
}

export function show(yes) {
  visible = yes;
  clearTimeout(timer);
  if (yes) refresh();
  else asking?.abort();
}

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  asking = new AbortController();
  try {
    const found = await ask(`/topics?limit=${LIMIT}&contains=${encodeURIComponent(words)}`, asking.signal);
    render(found, Number(found.total ?? found.length));
  } catch (error) {
    if (error.name === "AbortError") return;
    setText(byId("topic-count"), error.message);
  }
  if (visible) timer = setTimeout(refresh, REFRESH);
}

function render(found, total) {
  const here = new Set(found.map((topic) => topic.topic));
  for (const [name, entry] of rows) {
    if (here.has(name)) continue;
    entry.row.remove();
    rows.delete(name);
  }
  let place = byId("topic-rows").firstElementChild;
  for (const topic of found) {
    const entry = rows.get(topic.topic) ?? make(topic);
    fill(entry, topic);
    if (entry.row === place) place = place.nextElementSibling;
    else byId("topic-rows").insertBefore(entry.row, place);
  }
  const some = total > found.length ? `the first ${found.length} of ${total} topics` : `${total} topic${total === 1 ? "" : "s"}`;
  setText(byId("topic-count"), some);
  byId("no-topics").hidden = found.length > 0;
  setText(byId("no-topics"), words ? "No topic has this in its name." : "No topic has been written to yet.");
}

function make({ topic }) {
  const cut = topic.lastIndexOf(".") + 1;
  const cells = {
    value: el("td", { class: "value" }),
    age: el("td", { class: "right" }),
    rate: el("td", { class: "right" }),
    count: el("td", { class: "right" }),
  };
  const name = el("td", { class: "topic" }, el("span", {}, topic.slice(0, cut)), el("b", {}, topic.slice(cut)));
  const entry = { ...cells, row: el("tr", {}, name, cells.value, cells.age, cells.rate, cells.count), seen: [] };
  rows.set(topic, entry);
  return entry;
}

function fill(entry, topic) {
  const text = topic.problem ? `unreadable: ${topic.problem}` : typeof topic.value === "string" ? topic.value : JSON.stringify(topic.value);
  if (entry.value.textContent !== text) {
    if (entry.seen.length) blink(entry.value);
    setText(entry.value, text);
    entry.value.title = text.slice(0, 2000);
  }
  entry.row.title = topic.producer ? `written by ${topic.producer}` : "";
  setText(entry.age, ago(topic.timestamp));
  setText(entry.count, topic.count.toLocaleString("en"));
  setText(entry.rate, rate(entry, topic.count));
}

/** Messages a second over the last half minute that this page has seen. */
function rate(entry, count) {
  const now = agentNow() / 1000;
  if (entry.seen.length && count < entry.seen.at(-1).count) entry.seen = [];
  entry.seen.push({ now, count });
  while (entry.seen.length > 2 && now - entry.seen[0].now > 30) entry.seen.shift();
  const [first] = entry.seen;
  const seconds = now - first.now;
  if (seconds < 1) return "…";
  const perSecond = (count - first.count) / seconds;
  if (perSecond === 0) return "0";
  return perSecond >= 0.1 ? `${perSecond.toFixed(1)}/s` : `1 in ${duration(1 / perSecond)}`;
}

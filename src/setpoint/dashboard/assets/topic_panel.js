// One topic in full: its value, who writes it, its metadata, and its last values.

import { ago, ask, byId, clock, el } from "./dom.js";
import { rateText, valueText } from "./topics.js";

const REFRESH = 1000;
const WIDE = 520;
const HIGH = 64;
let topic = "";
let timer = 0;
let asking = null;
let leave = () => {};

export function setUp(onLeave) {
  leave = onLeave;
}

export function show(wanted) {
  if (wanted === topic) return;
  close();
  topic = wanted;
  byId("topic-panel").hidden = false;
  byId("topic-panel").replaceChildren(el("p", { class: "empty" }, "asking the agent…"));
  refresh();
}

export function close() {
  topic = "";
  clearTimeout(timer);
  asking?.abort();
  byId("topic-panel").hidden = true;
}

async function refresh() {
  clearTimeout(timer);
  asking = new AbortController();
  try {
    render(await ask(`/topics/${encodeURIComponent(topic)}`, asking.signal));
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("topic-panel").replaceChildren(heading(), el("p", { class: "lead trouble" }, error.message));
  }
  if (topic) timer = setTimeout(refresh, REFRESH);
}

function heading() {
  const shut = el("button", { class: "close", type: "button", "aria-label": "Close", onclick: leave }, "×");
  return el("div", { class: "top" }, el("div", {}, el("h2", {}, topic)), shut);
}

function render(found) {
  const fact = (name, text) => (text ? [el("dt", {}, name), el("dd", {}, text)] : []);
  const metadata = Object.entries(found.metadata).filter(([key, value]) => key !== "bridged_by" && value !== found.topic);
  const facts = el(
    "dl",
    { class: "facts" },
    fact("Contract", found.contract),
    fact("Producer", found.producer),
    fact("Rate", rateText(found.rate)),
    fact("Messages", found.count.toLocaleString("en")),
    fact("Measured", when(found.timestamp)),
    fact("Written", when(found.written)),
  );
  const said = metadata.length ? [el("h3", {}, "Metadata"), el("dl", { class: "facts" }, metadata.sort().map(([key, value]) => fact(key, value)))] : [];
  const scrolled = byId("topic-panel").scrollTop;
  byId("topic-panel").replaceChildren(
    heading(),
    el("p", { class: found.problem ? "lead trouble" : "lead now" }, valueText(found)),
    curve(found.history) ?? "",
    facts,
    ...said,
    el("h3", {}, found.history.length === 1 ? "Last value" : `Last ${found.history.length} values`),
    el("ol", { class: "past" }, [...found.history].reverse().map(past)),
  );
  byId("topic-panel").scrollTop = scrolled;
}

const when = (moment) => (moment ? `${clock(moment)} (${ago(moment)} ago)` : "");

const past = (value) => el("li", {}, el("time", { datetime: value.timestamp, title: value.timestamp }, clock(value.timestamp)), el("span", {}, valueText(value)));

/** The course of numbers over their times; nothing for other values. */
function curve(history) {
  const points = history.map(({ timestamp, value }) => [Date.parse(timestamp), value]);
  if (points.length < 2 || points.some(([at, value]) => typeof value !== "number" || Number.isNaN(at))) return null;
  const scale = (numbers, size) => {
    const low = Math.min(...numbers);
    const span = Math.max(...numbers) - low || 1;
    return (number) => 3 + ((number - low) / span) * (size - 6);
  };
  const x = scale(points.map(([at]) => at), WIDE);
  const y = scale(points.map(([, value]) => value), HIGH);
  const drawing = byId("curve").content.firstElementChild.cloneNode(true);
  drawing.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
  drawing.firstElementChild.setAttribute("points", points.map(([at, value]) => `${x(at).toFixed(1)},${(HIGH - y(value)).toFixed(1)}`).join(" "));
  return drawing;
}

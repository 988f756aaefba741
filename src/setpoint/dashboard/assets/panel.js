// One worker in full: why it is where it is, its machine, what it observed, and what it did before.

import { agentNow, ago, ask, byId, clock, duration, el, inUrl, phaseClass, pill } from "./dom.js";

const REFRESH = 2000;
const machines = new Map(); // name → promise of its definition; it does not change while the agent runs
let path = "";
let timer = 0;
let asking = null;
let parts = null;
let jump = () => {};

export function setUp(onJump) {
  jump = onJump;
}

export function show(wanted) {
  if (wanted === path) return;
  close();
  path = wanted;
  parts = null;
  byId("panel").hidden = false;
  byId("panel").replaceChildren(el("p", { class: "empty" }, "asking the agent…"));
  refresh();
}

export function close() {
  path = "";
  clearTimeout(timer);
  asking?.abort();
  byId("panel").hidden = true;
  byId("panel").replaceChildren();
}

/** Something about these workers changed. */
export function changed(paths) {
  if (path && paths.includes(path)) refresh();
}

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const wanted = path;
  try {
    const [found, past] = await Promise.all([
      ask(`/workers/${inUrl(wanted)}/explain`, signal),
      ask(`/workers/${inUrl(wanted)}/history?limit=50`, signal),
    ]);
    const machine = found.worker.machine ? await definition(found.worker.machine) : null;
    if (wanted === path) render(found, past, machine);
  } catch (error) {
    if (error.name === "AbortError" || wanted !== path) return;
    byId("panel").replaceChildren(top(wanted, ""), el("p", { class: "empty" }, error.message));
    parts = null;
  }
  if (wanted === path) timer = setTimeout(refresh, REFRESH);
}

function definition(name) {
  if (!machines.has(name)) {
    const asked = ask(`/machines/${inUrl(name)}`).catch(() => {
      machines.delete(name);
      return null;
    });
    machines.set(name, asked);
  }
  return machines.get(name);
}

/** The frame is made once a worker; each refresh replaces the content of its parts, so that scrolling and focus stay. */
function frame(worker) {
  const section = (title) => {
    const body = el("div");
    const box = el("section", { "aria-label": title }, el("h3", {}, title), body);
    return { box, body };
  };
  parts = {
    head: el("div"),
    why: section("Ways out of this state"),
    holding: section("Held by its children"),
    facts: section("Now"),
    observed: section("Observed"),
    past: section("History"),
    drawing: section(`Machine: ${worker.machine}`),
    drawn: "",
  };
  const boxes = [parts.facts, parts.why, parts.holding, parts.observed, parts.past, parts.drawing].map((part) => part.box);
  byId("panel").replaceChildren(top(worker.path, worker.type), parts.head, ...boxes);
  byId("panel").scrollTop = 0;
}

function top(title, type) {
  return el(
    "div",
    { class: "top" },
    el("div", {}, el("h2", {}, title.split("/").slice(1).join("/") || title), el("p", { class: "note" }, type)),
    el("button", { class: "close", type: "button", "aria-label": "Close", title: "Close (Esc)", onclick: () => jump("") }, "×"),
  );
}

function render(found, past, machine) {
  const { worker } = found;
  if (!parts) frame(worker);
  fill(parts.head, el("p", { class: "lead" }, pill(worker.state, worker.phase), " ", worker.reason));
  fill(parts.facts, facts(worker));
  fill(parts.why, found.ways.length ? el("ul", { class: "ways" }, found.ways.map(way)) : null);
  fill(parts.holding, found.holding.length ? el("ul", { class: "ways" }, found.holding.map(holder)) : null);
  fill(parts.observed, observed(worker.observed));
  fill(parts.past, past.length ? [strip(past, machine), timeline(past)] : null);
  draw(worker, machine);
}

function fill(part, content) {
  const body = part.body ?? part;
  body.replaceChildren(...[content].flat(Infinity).filter(Boolean));
  if (part.box) part.box.hidden = !body.children.length;
}

function facts(worker) {
  const rows = [
    ["since", `${clock(worker.since)}, ${ago(worker.since)}`],
    ["wanted", worker.desired],
    ["observed", worker.age === null ? "never yet" : worker.age < 1.5 ? "just now" : `${duration(worker.age)} ago`],
    ["transitions", String(worker.transitions)],
    ["started", `${worker.starts} ${worker.starts === 1 ? "time" : "times"}${worker.restarts > 1 ? `, ${worker.restarts} in a row` : ""}`],
  ];
  for (const name of ["ready", "reconciling", "stalled"]) {
    const { ok, reason } = worker[name];
    rows.push([name, `${ok ? "yes" : "no"}${reason ? `: ${reason}` : ""}`]);
  }
  if (worker.acting.length) rows.push(["acting", worker.acting.join(", ")]);
  const list = el("dl", { class: "facts" }, rows.map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
  if (worker.error) list.append(el("dt", {}, "last error"), el("dd", { class: "trouble" }, worker.error));
  return list;
}

function way({ event, target, open, opens_in: opensIn, guard }) {
  const later = opensIn ? ` not before ${duration(Math.ceil(opensIn))} from now` : "";
  return el(
    "li",
    {},
    mark(open),
    el("code", {}, event),
    " → ",
    el("strong", {}, target),
    el("span", { class: "meaning" }, later),
    el("ul", {}, node(guard)),
  );
}

const COMPOSED = { all: "all of", any: "any of", not: "not" };

function node({ kind, text, ok, doc, because, parts: below }) {
  if (kind === "not" && !below[0].parts.length) {
    // one line says it all
    const [leaf] = below;
    return node({ ...leaf, kind: "leaf", text: `not ${leaf.text}`, ok, doc: docOfNot(leaf) });
  }
  const words = [doc, because].filter(Boolean).join(" — ");
  return el(
    "li",
    {},
    mark(ok),
    el("code", {}, COMPOSED[kind] ?? text),
    words ? el("span", { class: "meaning" }, ` ${words}`) : null,
    below.length ? el("ul", {}, below.map(node)) : null,
  );
}

/** The meaning of a guard that must not hold, said so that it cannot be read as its opposite. */
function docOfNot({ ok, doc }) {
  return doc ? `${ok ? "but" : "not"}: ${doc}` : "";
}

function mark(ok) {
  return el("span", { class: `mark ${ok ? "yes" : "no"}`, role: "img", "aria-label": ok ? "holds" : "does not hold" }, ok ? "✓" : "✗");
}

function holder(worker) {
  const name = worker.path.slice(path.length + 1);
  const go = el("button", { class: "jump", type: "button", onclick: () => jump(worker.path) }, name);
  return el("li", {}, go, " ", pill(worker.state, worker.phase), el("span", { class: "meaning" }, ` ${worker.reason}`));
}

function observed(values) {
  const rows = values && typeof values === "object" ? Object.entries(values) : [];
  if (!rows.length) return null;
  const text = (value) => (typeof value === "string" ? value || "—" : JSON.stringify(value));
  return el("dl", { class: "facts" }, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, text(value))]));
}

/** Where it was, as a strip of time: each stay as wide as it was long, by its root so that short ones stay visible. */
function strip(past, machine) {
  const phases = new Map((machine?.states ?? []).map((state) => [state.name, state.phase]));
  const stays = past.map((move, index) => {
    const end = index + 1 < past.length ? Date.parse(past[index + 1].at) : agentNow();
    return { state: move.target, seconds: Math.max(0, (end - Date.parse(move.at)) / 1000) };
  });
  const bars = stays.map(({ state, seconds }) => {
    const bar = el("span", { class: phaseClass(phases.get(state)), title: `${state} for ${duration(seconds)}` });
    bar.style.flexGrow = String(Math.sqrt(seconds) + 0.5);
    return bar;
  });
  const label = stays.map(({ state, seconds }) => `${state} for ${duration(seconds)}`).slice(-5).join(", then ");
  return [
    el("div", { class: "strip", role: "img", "aria-label": `lately: ${label}` }, bars),
    el("p", { class: "ends", "aria-hidden": "true" }, el("span", {}, `${ago(past[0].at)} ago`), el("span", {}, "now")),
  ];
}

function timeline(past) {
  const item = (move) =>
    el(
      "li",
      {},
      el("time", { datetime: move.at, title: move.at }, clock(move.at)),
      el(
        "span",
        {},
        `${move.source} → `,
        el("strong", {}, move.target),
        el("span", { class: "event meaning" }, `  ${move.event}`),
        move.reason ? el("span", { class: "why" }, move.reason) : null,
      ),
    );
  return el("ol", { class: "past" }, [...past].reverse().slice(0, 30).map(item));
}

function draw(worker, machine) {
  const known = machine?.states.some((state) => state.name === worker.state);
  const source = machine ? `/api/v1/machines/${inUrl(worker.machine)}?format=svg${known ? `&at=${encodeURIComponent(worker.state)}` : ""}` : "";
  if (source === parts.drawn) return;
  parts.drawn = source;
  const image = el("img", { src: source, alt: `The machine ${worker.machine}, now in ${worker.state}` });
  image.addEventListener("error", () => fill(parts.drawing, null));
  const link = { class: "drawing", href: source, target: "_blank", rel: "noopener", title: "Open in full size" };
  fill(parts.drawing, source ? el("a", link, image) : null);
}

// Elements and words. Everything becomes text: nothing here, or anywhere else on the page, reads a string as markup.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text nodes, null and false nothing. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

/** Set the text of an element, only where it differs: writing the same text still costs a layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Draw the eye to what just changed, without making the browser lay out the page. */
export function blink(element) {
  if (!calm.matches) element.animate({ backgroundColor: ["var(--chosen)", "transparent"] }, { duration: 1200, easing: "ease-out" });
}

let skew = 0; // milliseconds that the agent's clock is ahead of this one

export function agentTimeIs(moment) {
  const then = Date.parse(moment);
  if (!Number.isNaN(then)) skew = then - Date.now();
}

export const agentNow = () => Date.now() + skew;

/** A duration in one unit: "12 s", "3 min". */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

export function ago(moment) {
  const then = Date.parse(moment);
  return Number.isNaN(then) ? "" : duration((agentNow() - then) / 1000);
}

/** An RFC 3339 moment in local time: the time of day, with the date where that is another day. */
export function clock(moment) {
  const then = new Date(moment);
  if (Number.isNaN(then.getTime())) return moment;
  const two = (n) => String(n).padStart(2, "0");
  const time = `${two(then.getHours())}:${two(then.getMinutes())}:${two(then.getSeconds())}`;
  const today = new Date(agentNow()).toDateString() === then.toDateString();
  return today ? time : `${two(then.getMonth() + 1)}-${two(then.getDate())} ${time}`;
}

const PHASES = new Set(["healthy", "degraded", "failed", "starting", "stopping", "stopped"]);
export const phaseClass = (phase) => (PHASES.has(phase) ? `p-${phase}` : "p-none");

export function pill(state, phase) {
  return el("span", { class: `pill ${phaseClass(phase)}`, title: phase ? `${state} (${phase})` : state }, state);
}

export function setPill(element, state, phase) {
  setText(element, state);
  const wanted = `pill ${phaseClass(phase)}`;
  if (element.className !== wanted) element.className = wanted;
  element.title = phase ? `${state} (${phase})` : state;
}

/** The JSON at an address below /api/v1. Throws an Error that says what is wrong. */
export async function ask(path, signal) {
  const answer = await fetch(`/api/v1${path}`, { signal, headers: { accept: "application/json" } });
  const data = await answer.json().catch(() => ({ error: `the agent answered ${answer.status}` }));
  if (!answer.ok) throw new Error([data.error, data.hint].filter(Boolean).join("; "));
  data.total = answer.headers.get("X-Total-Count");
  return data;
}

export const inUrl = (path) => path.split("/").map(encodeURIComponent).join("/");

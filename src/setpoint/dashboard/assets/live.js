// The live stream: workers and config as the agent sends them, and whether it still does.

import { agentTimeIs } from "./dom.js";

const SILENCE = 25000; // ms without a word after which the stream counts as lost; the agent speaks every 10 s
const RETRY = 2000;

/** Follow the agent. `on` has the handlers workers(list), changes({workers, removed}), config(status) and link(state). */
export function follow(on) {
  let source = null;
  let watchdog = 0;
  let retry = 0;

  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(lose, SILENCE);
    on.link("live");
  };
  const lose = () => {
    clearTimeout(watchdog);
    if (source) source.close();
    on.link("lost");
    clearTimeout(retry);
    retry = setTimeout(open, RETRY);
  };
  const listen = (name, handle) =>
    source.addEventListener(name, (event) => {
      alive();
      handle(JSON.parse(event.data));
    });
  const open = () => {
    source = new EventSource("/api/v1/events");
    source.onerror = lose;
    listen("time", agentTimeIs);
    listen("workers", on.workers);
    listen("changes", on.changes);
    listen("config", on.config);
  };
  open();
}

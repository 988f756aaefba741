"""``setpoint explain`` and ``setpoint history``: why a worker is where it is, and how it came there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.connect import Connection, JsonOption, UrlOption, in_url
from setpoint.cli.output import STYLES, ago, clean, clock, console, duration, print_json, state_text
from setpoint.cli.trouble import Trouble

if TYPE_CHECKING:
    from rich.text import Text

PathArgument = Annotated[
    str, typer.Argument(metavar="PATH", help="A worker, by its path or the end of it, such as press-1/connection.")
]
COMPOSED = {"all": "all of", "any": "any of", "not": "not"}


def explain(path: PathArgument, json: JsonOption = False, url: UrlOption = None) -> None:
    """Say why a worker is in its state, and what would move it."""
    agent = Connection(url)
    found = agent.get(f"/workers/{in_url(agent.worker_path(path))}/explain")
    if json:
        print_json(found)
        return
    out = console()
    for line in _explanation(found):
        out.print(line)


def history(
    path: PathArgument,
    json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="So many of the latest.")] = 20,
    url: UrlOption = None,
) -> None:
    """Show the last transitions of a worker, oldest first."""
    agent = Connection(url)
    moves = agent.get(f"/workers/{in_url(_path_with_past(agent, path))}/history", limit=limit)
    if json:
        print_json(moves)
        return
    out = console()
    for move in moves:
        out.print(_move(move))


def _path_with_past(agent: Connection, path: str) -> str:
    """The path that is meant; a whole path may also be that of a worker which has been removed since."""
    try:
        return agent.worker_path(path)
    except Trouble:
        if "/" not in path.strip("/"):
            raise
        return path.strip("/")


def _explanation(found: dict[str, Any]) -> Iterator[Text | str]:
    worker = found["worker"]
    yield from _head(worker)
    yield from _section("Ways out", (line for way in found["ways"] for line in _way(way)))
    yield from _section("Held by its children", map(_child, found["holding"]))
    yield from _section("Last transitions", map(_move, found["history"]))


def _section(title: str, lines: Iterator[Text]) -> Iterator[Text | str]:
    from rich.text import Text

    content = list(lines)
    if content:
        yield ""
        yield Text(title, style="bold")
        yield from content


def _head(worker: dict[str, Any]) -> Iterator[Text]:
    from rich.text import Text

    yield Text.assemble((clean(worker["path"]), "bold"), f"  {clean(worker['type'])}")
    state = state_text(worker["state"], worker["phase"])
    yield Text.assemble(
        "  state    ",
        state,
        f" ({worker['phase'] or 'not alive'}) since {clock(worker['since'])}, {ago(worker['since'])}",
    )
    yield Text(f"  reason   {clean(worker['reason']) or '—'}")
    yield Text(f"  desired  {clean(worker['desired'])}")
    for name in ("ready", "reconciling", "stalled"):
        condition = worker[name]
        good = condition["ok"] != (name == "stalled")
        note = f": {clean(condition['reason'])}" if condition["reason"] else ""
        yield Text.assemble(f"  {name:<13}", ("yes" if condition["ok"] else "no", "green" if good else "yellow"), note)
    yield Text("  observed     " + _observed(worker))
    yield Text("  counts       " + _counts(worker))
    own = {**worker["tally"]["counters"], **worker["tally"]["gauges"]}
    if known := {name: value for name, value in own.items() if value is not None}:  # JSON has no "not a number"
        yield Text("  figures      " + clean(", ".join(f"{name}={value:g}" for name, value in known.items())))
    if worker["error"]:
        yield Text(f"  last error   {clean(worker['error'])}", style="red")
    if worker["acting"]:
        yield Text(f"  acting       {', '.join(map(clean, worker['acting']))}")


def _observed(worker: dict[str, Any]) -> str:
    if worker["age"] is None:
        return "never yet"
    values = worker["observed"] if isinstance(worker["observed"], dict) else {}
    facts = ", ".join(
        f"{key}={value}" for key, value in values.items() if isinstance(value, str | int | float) and value != ""
    )
    when = "just now" if worker["age"] < 1 else f"{duration(worker['age'])} ago"
    return clean(f"{when}: {facts}" if facts else when)


def _counts(worker: dict[str, Any]) -> str:
    times = "once" if worker["starts"] == 1 else f"{worker['starts']} times"
    in_a_row = f", {worker['restarts']} starts in a row" if worker["restarts"] > 1 else ""
    return f"came to life {times}{in_a_row}, {worker['transitions']} transitions"


def _way(way: dict[str, Any]) -> Iterator[Text]:
    from rich.text import Text

    line = Text.assemble("  ", _mark(way["open"]), f" {clean(way['event'])} → {clean(way['target'])}")
    if way["opens_in"]:
        line.append(f"  (not before {duration(way['opens_in'] + 1)} from now)", style="dim")
    yield line
    yield from _guard(way["guard"], 2)


def _guard(node: dict[str, Any], depth: int) -> Iterator[Text]:
    from rich.text import Text

    line = Text("  " * depth)
    line.append_text(_mark(node["ok"]))
    parts = node["parts"]
    if node["kind"] == "not" and not parts[0]["parts"]:  # one line says it all
        leaf, parts = parts[0], []
        line.append(f" not {clean(leaf['text'])}")
        _append_facts(line, _doc_of_not(leaf), leaf["because"])
    else:
        line.append(f" {clean(COMPOSED.get(node['kind'], node['text']))}")
        _append_facts(line, node["doc"], node["because"])
    yield line
    for part in parts:
        yield from _guard(part, depth + 1)


def _doc_of_not(leaf: dict[str, Any]) -> str:
    """The meaning of a guard that must not hold, said so that it cannot be read as its opposite."""
    return f"{'but' if leaf['ok'] else 'not'}: {leaf['doc']}" if leaf["doc"] else ""


def _append_facts(line: Text, doc: str, because: str) -> None:
    """What the guard means, and the fact behind its answer."""
    for text, style in ((doc, "dim"), (because, "")):
        if text:
            line.append(f" — {clean(text)}", style=style)


def _mark(ok: bool) -> Text:
    from rich.text import Text

    return Text("✓", style="green") if ok else Text("✗", style="red")


def _child(worker: dict[str, Any]) -> Text:
    from rich.text import Text

    state = state_text(worker["state"], worker["phase"])
    return Text.assemble("  ", clean(worker["path"]), "  ", state, f"  {clean(worker['reason'])}")


def _move(move: dict[str, Any]) -> Text:
    from rich.text import Text

    return Text.assemble(
        (f"  {clock(move['at'])} ", "dim"),
        f"{clean(move['source'])} → ",
        (clean(move["target"]), "bold"),
        f"  {clean(move['event'])}",
        (f": {clean(move['reason'])}" if move["reason"] else "", STYLES["stopped"]),
    )

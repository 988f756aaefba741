"""``setpoint status``: every worker with its state, why it is in it, and since when."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from setpoint.cli.connect import Connection, JsonOption, UrlOption
from setpoint.cli.output import ago, clean, clock, console, is_terminal, print_json, state_text
from setpoint.cli.trouble import NOT_HEALTHY, Trouble

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

REFRESH = 1.0
"""Seconds between two looks with --watch."""


class Status(NamedTuple):
    """What the agent says: its workers, and what became of its config file."""

    workers: list[dict[str, Any]]
    config: dict[str, Any]

    @property
    def code(self) -> int:
        """0 when everything that is wanted is healthy and the config is right, else 3."""
        return 0 if self.config["ok"] and all(is_as_wanted(worker) for worker in self.workers) else NOT_HEALTHY


def is_as_wanted(worker: dict[str, Any]) -> bool:
    """A worker that is wanted stopped is stopped; any other is healthy."""
    if worker["desired"] in ("stopped", "removed"):
        return worker["phase"] in ("stopped", "")
    return bool(worker["phase"] == "healthy")


def status(
    json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
    url: UrlOption = None,
) -> None:
    """Show every worker: its state, the reason, and since when.

    Exit code 3 when one is not as it is wanted."""
    agent = Connection(url)
    if watch:
        _watch(agent, json=json)
        return
    found = _ask(agent)
    if json:
        print_json(found.workers)
        for line in _config_lines(found.config):  # the list has no room for it, and exit code 3 needs its reason
            console(stderr=True).print(line)
    else:
        console().print(_report(found))
    raise typer.Exit(found.code)


def _ask(agent: Connection) -> Status:
    workers = agent.get("/workers")
    workers.sort(key=lambda worker: place_of(worker["path"]))
    return Status(workers, agent.get("/config/status"))


def place_of(path: str) -> list[list[tuple[int, str]]]:
    """Where a path comes in the list: children right after their parents, press-2 before press-10."""
    return [
        [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", step)] for step in path.split("/")
    ]


def _watch(agent: Connection, *, json: bool) -> None:
    try:
        if is_terminal() and not json:
            _watch_on_terminal(agent)
        else:
            _watch_in_pipe(agent, json=json)
    except KeyboardInterrupt:
        return


def _watch_on_terminal(agent: Connection) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(console=console(), auto_refresh=False, screen=True, vertical_overflow="ellipsis") as live:
        while True:
            try:
                live.update(_report(_ask(agent)), refresh=True)
            except Trouble as trouble:
                live.update(Text(f"{clean(trouble.error)}; trying again", style="bold red"), refresh=True)
            time.sleep(REFRESH)


def _watch_in_pipe(agent: Connection, *, json: bool) -> None:
    """Each time something changed: the list as one line of JSON, or the whole table. Ends when the agent does."""
    import json as json_module

    last: Status | None = None
    while True:
        found = _ask(agent)
        if found != last:
            if json:
                print(json_module.dumps(found.workers), flush=True)
            else:
                console().print(_report(found))
        last = found
        time.sleep(REFRESH)


def _report(found: Status) -> Group:
    from rich.console import Group

    return Group(_table(found.workers), *_config_lines(found.config), _summary(found))


def _table(workers: list[dict[str, Any]]) -> Table:
    """A tree on a terminal, whole paths in a pipe. Long reasons wrap: they are what people came for."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("worker", no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column("state", no_wrap=True)
    table.add_column("since", no_wrap=True, justify="right")
    table.add_column("reason", overflow="fold", ratio=1 if is_terminal() else None)
    names = tree_names([worker["path"] for worker in workers]) if is_terminal() else [w["path"] for w in workers]
    for name, worker in zip(names, workers, strict=True):
        state = state_text(worker["state"], worker["phase"])
        table.add_row(clean(name), state, ago(worker["since"]), Text(clean(worker["reason"])))
    return table


def tree_names(paths: list[str]) -> list[str]:
    """What to call each worker in a tree: its path below its parent, indented by depth. `paths` has parents before children."""
    known: dict[str, int] = {}
    names = []
    for path in paths:
        parent = path
        while parent and (parent == path or parent not in known):
            parent = parent.rpartition("/")[0]
        depth = known[path] = known[parent] + 1 if parent else 0
        below = path[len(parent) + 1 :] if parent else path.partition("/")[2] or path
        names.append("  " * depth + below)
    return names


def _config_lines(config: dict[str, Any]) -> list[Text]:
    from rich.text import Text

    lines = []
    for problem in config["problems"]:
        style = "bold red" if problem["severity"] == "error" else "yellow"
        lines.append(Text(f"{problem['severity']}: {clean(problem['text'])}", style=style))
    if not config["ok"]:
        lines.append(Text(f"the config file is not applied; what runs: {_in_force(config)}", style="bold red"))
    return [Text(""), *lines] if lines else []


def _in_force(config: dict[str, Any]) -> str:
    """What runs instead of a file with an error: an earlier version of it, unless the agent started on the bad one."""
    if config["applied"] == "this file":
        return f"the version of {clock(config['applied_at'])}"
    return clean(config["applied"])


def _summary(found: Status) -> Text:
    from rich.text import Text

    off = sum(not is_as_wanted(worker) for worker in found.workers)
    total = len(found.workers)
    if not total:
        return Text("\nno workers: the config asks for none, or none of it could be applied", style="dim")
    text = f"{total} worker{'s' * (total != 1)}, " + (f"{off} not as wanted" if off else "all as wanted")
    return Text(f"\n{text}", style="dim")

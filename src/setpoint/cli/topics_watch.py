"""Watching topics: on a terminal a table or a tree that is drawn again in place, in a pipe one line a change. Ctrl-C ends it well.

A topic that changes faster than five times a second is told of five times a second, with its latest value.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from setpoint.cli.connect import Connection
from setpoint.cli.output import clean, console
from setpoint.cli.topics_shown import plain, table, tree_table
from setpoint.cli.trouble import Trouble

Conditions = Mapping[str, str | list[str]]
BESIDES = 3
"""Lines of the screen that are not rows."""


def watch_lines(connection: Connection, conditions: Conditions, *, json: bool) -> None:
    """Print a line for each change from now on: JSON, or the moment, the topic and the value, with tabs between."""
    with suppress(KeyboardInterrupt):
        for topics in _changes(connection, conditions, limit=0):
            for topic in topics:
                if json:
                    print(json_module.dumps(topic), flush=True)
                else:
                    value = f"unreadable: {clean(topic['problem'])}" if topic["problem"] else plain(topic["value"])
                    print(topic["written"], clean(topic["topic"]), value, sep="\t", flush=True)


def watch_screen(connection: Connection, conditions: Conditions, *, tree: bool, limit: int) -> None:
    """Draw the topics again and again, as many as the screen has room for."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    out = console()
    known: dict[str, dict[str, Any]] = {}

    def screen() -> Any:
        here = [known[name] for name in sorted(list(known))]  # a copy: another thread draws
        shown = here[: max(1, out.height - BESIDES)]
        left = f"… and {len(here) - len(shown)} more: narrow the pattern" if len(shown) < len(here) else ""
        body = (tree_table if tree else table)(shown) if shown else Text("no topic yet", style="dim")
        return Group(body, Text(left or "Ctrl-C ends this", style="dim"))

    with suppress(KeyboardInterrupt), Live(get_renderable=screen, console=out, refresh_per_second=4):
        for topics in _changes(connection, conditions, limit=limit):
            known |= {topic["topic"]: topic for topic in topics if topic["topic"] in known or len(known) < limit}


def _changes(connection: Connection, conditions: Conditions, *, limit: int) -> Iterator[list[dict[str, Any]]]:
    for name, data in connection.events("/topics/events", **conditions, limit=min(limit, 10_000)):
        if name == "topics":
            yield data
        elif name == "end":
            raise Trouble(str(data), "start the command again once it is back")

"""``setpoint topics``: the names in the namespace, and the last value of each."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from setpoint.cli.connect import Connection, JsonOption, UrlOption
from setpoint.cli.output import ago, clean, console, is_terminal, print_json

WIDE = 160
"""Columns from which on a terminal has room for the producers too; below, the topics need it."""


def topics(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Only topics that have this in their name.")] = "",
    json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many.")] = 1000,
    url: UrlOption = None,
) -> None:
    """List the topics with their last value."""
    found = Connection(url).get("/topics", contains=pattern, limit=limit)
    if json:
        print_json(found)
    elif found:
        console().print(_table(found))
    else:
        typer.echo(f"no topic has {pattern!r} in its name" if pattern else "no topic has been written to yet", err=True)


def _table(found: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    wide = console().width >= WIDE
    longest = None if not is_terminal() else 48 if wide else 20
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("topic", overflow="fold", min_width=20)
    table.add_column("value", no_wrap=True, overflow="ellipsis", max_width=longest)
    table.add_column("age", no_wrap=True, justify="right")
    table.add_column("messages", no_wrap=True, justify="right")
    if wide:
        table.add_column("producer", no_wrap=True, overflow="ellipsis")
    for topic in found:
        value = (
            Text(f"unreadable: {clean(topic['problem'])}", style="red")
            if topic["problem"]
            else Text(_value(topic["value"]))
        )
        producer = [clean(topic["producer"])] if wide else []
        table.add_row(clean(topic["topic"]), value, ago(topic["timestamp"]), str(topic["count"]), *producer)
    return table


def _value(value: Any) -> str:
    return clean(value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False))

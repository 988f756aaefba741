"""``setpoint letters``: the messages that flows could not handle, with the reasons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from setpoint.cli.connect import Connection, JsonOption, UrlOption
from setpoint.cli.output import ago, clean, console, print_json


def letters(
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="Only of flows that have this in their path.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 20,
    json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Show the newest messages that flows could not handle: where each failed, why, and what it was.

    Of each flow some are kept (60 a minute, 2 to 4 MB); a flow with a `dead_letter` output keeps none here. All are counted: see `explain`.
    """
    found = Connection(url).get("/letters", flow=flow, limit=limit)
    if json:
        print_json(found)
        return
    if not found:
        typer.echo(f"no message failed in a flow with {flow!r} in its path" if flow else "no message failed", err=True)
    for letter in found:
        console().print(_told(letter), soft_wrap=True)


def _told(letter: dict[str, Any]) -> Any:
    from rich.text import Text

    when = ago(datetime.fromtimestamp(letter["at"], UTC).isoformat())
    text = Text(f"{when} ago  ", style="dim")
    text.append(f"{clean(letter['flow'])}  ", style="bold")
    text.append(f"{clean(letter['state'])}: {clean(letter['reason'])}\n", style="red")
    topic = letter["meta"].get("umh_topic", "")
    text.append(f"    {clean(topic)}  " if topic else "    ", style="default")
    text.append(clean(letter["payload"][:300]), style="default")
    return text

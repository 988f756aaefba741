"""``setpoint topics``: what there is in the namespace, what it says now, and what one topic said before."""

from __future__ import annotations

from typing import Annotated

import typer

from setpoint.cli.connect import Connection, JsonOption, UrlOption
from setpoint.cli.trouble import FAILED, USAGE, Trouble

MOST = 100_000
"""Topics that the agent names at most."""


def topics(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATTERN | show TOPIC]",
            help="A text that is part of the name, or a pattern for the whole name: * in a segment, ** for any number of segments, "
            "? for one character. Or show and a topic: all that is known of it.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on: every change as it comes, until Ctrl-C.")
    ] = False,
    tree: Annotated[bool, typer.Option("--tree", help="As a tree of locations, contracts and paths.")] = False,
    meta: Annotated[
        list[str] | None,
        typer.Option(
            "--meta", metavar="KEY=VALUE", help="Only topics with this metadata; may be repeated.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MOST, help="At most so many.")] = 1000,
    url: UrlOption = None,
) -> None:
    """List the topics with their last value, watch them, or show one with its history.

    Exit code 1 when there is none of those that were asked for.
    """
    wanted = words or []
    if wanted[:1] == ["show"] and len(wanted) == 2:
        if watch or tree or meta:
            raise Trouble(
                "'topics show TOPIC' takes no --watch, --tree or --meta", "leave 'show' out to watch", code=USAGE
            )
        _show(Connection(url), wanted[1], json=json)
        return
    if len(wanted) > 1:
        raise Trouble(
            f"one pattern, not {len(wanted)}", "setpoint topics PATTERN, or setpoint topics show TOPIC", code=USAGE
        )
    conditions = _conditions("".join(wanted), meta or [])
    if watch:
        from setpoint.cli.output import is_terminal
        from setpoint.cli.topics_watch import watch_lines, watch_screen

        connection = Connection(url)
        if json or not is_terminal():
            watch_lines(connection, conditions, json=json)
        else:
            watch_screen(connection, conditions, tree=tree, limit=limit)
        return
    _list(Connection(url), conditions, tree=tree, json=json, limit=limit)


def _conditions(pattern: str, meta: list[str]) -> dict[str, str | list[str]]:
    """What the agent is asked for: a text with wildcards is a pattern, one without is part of the name."""
    return {"pattern" if "*" in pattern or "?" in pattern else "contains": pattern, "meta": meta}


def _list(
    connection: Connection, conditions: dict[str, str | list[str]], *, tree: bool, json: bool, limit: int
) -> None:
    from setpoint.cli.output import console, print_json
    from setpoint.cli.topics_shown import nested, table, tree_table

    found = connection.get("/topics", **conditions, limit=min(limit + 1, MOST))
    more, found = len(found) > limit, found[:limit]
    if json:
        print_json(nested(found) if tree else found)
    elif found:
        console().print(tree_table(found) if tree else table(found))
    if more:
        typer.echo(f"there are more than {limit}: narrow the pattern, or ask for more with --limit", err=True)
    if not found and any(conditions.values()):
        typer.echo("there is no such topic", err=True)
        raise typer.Exit(FAILED)
    if not found:
        typer.echo("no topic has been written to yet", err=True)


def _show(connection: Connection, topic: str, *, json: bool) -> None:
    from urllib.parse import quote

    from setpoint.cli.output import print_json
    from setpoint.cli.topics_shown import print_topic

    whole = topic if topic.startswith("umh.v1.") else f"umh.v1.{topic}"
    found = connection.get(f"/topics/{quote(whole, safe='')}")
    if json:
        print_json(found)
    else:
        print_topic(found)

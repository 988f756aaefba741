"""What is shown of topics: a table, a tree, one topic with its history."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from setpoint.cli.output import ago, clean, clock, console, is_terminal

WIDE = 160
"""Columns from which on a terminal has room for the producers too; below, the topics need it."""
BARS = "▁▂▃▄▅▆▇█"
Topics = Sequence[dict[str, Any]]


def table(found: Topics) -> Any:
    """One row a topic."""
    from rich.table import Table

    wide = console().width >= WIDE
    rates = any(topic["rate"] is not None for topic in found)
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    grid.add_column("topic", overflow="fold", min_width=20)
    grid.add_column("value", no_wrap=True, overflow="ellipsis", max_width=_room(wide))
    grid.add_column("age", no_wrap=True, justify="right")
    if rates:
        grid.add_column("rate", no_wrap=True, justify="right")
    grid.add_column("messages", no_wrap=True, justify="right")
    if wide:
        grid.add_column("producer", no_wrap=True, overflow="ellipsis")
    for topic in found:
        cells = [clean(topic["topic"]), value_text(topic), ago(topic["timestamp"])]
        cells += [rate_text(topic["rate"])] * rates + [str(topic["count"])] + [clean(topic["producer"])] * wide
        grid.add_row(*cells)
    return grid


def _room(wide: bool) -> int | None:
    return None if not is_terminal() else 48 if wide else 20


def value_text(topic: dict[str, Any]) -> Any:
    """The value, or why it cannot be read."""
    from rich.text import Text

    if topic["problem"]:
        return Text(f"unreadable: {clean(topic['problem'])}", style="red")
    return Text(plain(topic["value"]))


def plain(value: Any) -> str:
    """A value as people write it: a text without quotes, anything else as JSON."""
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def rate_text(rate: float | None) -> str:
    """Messages a second, or how many seconds, minutes or hours there are to one message."""
    if rate is None:
        return ""
    if rate >= 0.1:
        return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.3g}/s"
    if rate <= 1 / 86_400:
        return "0"
    seconds = 1 / rate
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"1 in {seconds / size:.0f} {unit}"
    return ""


# the tree


def nested(found: Topics) -> list[dict[str, Any]]:
    """The topics as a tree: nodes with `name`, the `topic` that is there or None, and `children`."""
    roots: list[dict[str, Any]] = []
    at: dict[str, dict[str, Any]] = {}
    for topic in found:
        siblings, path = roots, ""
        for name in topic["topic"].removeprefix("umh.v1.").split("."):
            path = f"{path}.{name}"
            if path not in at:
                at[path] = {"name": name, "topic": None, "children": []}
                siblings.append(at[path])
            siblings = at[path]["children"]
        at[path]["topic"] = topic
    return roots


def tree_table(found: Topics) -> Any:
    """The tree with the last values. Places with one place below them share a line."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=_room(console().width >= WIDE))
    grid.add_column(no_wrap=True, justify="right")
    for label, topic in _lines(nested(found)):
        grid.add_row(label, *([value_text(topic), ago(topic["timestamp"])] if topic else ["", ""]))
    return grid


def _lines(nodes: list[dict[str, Any]], guide: str | None = None) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The lines below a node, each with what stands before it: nothing at the top, where `guide` is None."""
    for node in nodes:
        name, last = clean(node["name"]), node is nodes[-1]
        while node["topic"] is None and len(node["children"]) == 1:
            node = node["children"][0]
            name = f"{name}.{clean(node['name'])}"
        turn, below = ("", "") if guide is None else (("└─ ", "   ") if last else ("├─ ", "│  "))
        yield f"{guide or ''}{turn}{name}", node["topic"]
        yield from _lines(node["children"], f"{guide or ''}{below}")


# one topic


def print_topic(found: dict[str, Any]) -> None:
    """All that is known of a topic, and its last values."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(Text(clean(found["topic"]), style="bold"))
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("value", value_text(found))
    facts.add_row("measured", _moment(found["timestamp"]))
    facts.add_row("written", _moment(found["written"]))
    facts.add_row("contract", clean(found["contract"]))
    facts.add_row("producer", clean(found["producer"]) or "not said")
    rate = rate_text(found["rate"]) or "not known: the topic browser does not follow the namespace"
    facts.add_row("rate", rate)
    facts.add_row("messages", f"{found['count']:,}")
    for key, value in sorted(found["metadata"].items()):
        if value == found["topic"] or key == "bridged_by":
            continue  # it is there already
        facts.add_row("metadata", f"{clean(key)}={clean(value)}")
    out.print(facts)
    out.print(_history(found["history"]))


def _history(history: Topics) -> Any:
    from rich.table import Table

    curve = sparkline([value["value"] for value in history])
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    grid.title, grid.title_justify, grid.title_style = f"\nlast {len(history)} {curve}".rstrip(), "left", ""
    grid.add_column("measured", no_wrap=True)
    grid.add_column("written", no_wrap=True)
    grid.add_column("value", overflow="fold")
    for value in reversed(history):
        grid.add_row(clock(value["timestamp"]), clock(value["written"]), value_text(value))
    return grid


def sparkline(values: Sequence[Any]) -> str:
    """The course of numbers, oldest first; "" for anything else, and for a single one."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) != len(values) or len(numbers) < 2:
        return ""
    low, high = min(numbers), max(numbers)
    if low == high:
        return BARS[0] * len(numbers)
    top, span = len(BARS) - 1, high / 2 - low / 2  # halves: the span of all floating point numbers is none of them
    return "".join(BARS[round(top * ((number / 2 - low / 2) / span))] for number in numbers)


def _moment(moment: str) -> str:
    return f"{clock(moment)} ({ago(moment)} ago)" if moment else "not known"

"""Drawing: a machine as Mermaid, DOT, SVG or a Markdown table, with the state it is in marked.

Parallel arcs, from one state to one other, are one edge with several labels. Every name and text is escaped for the format it goes into, so
a hostile one can spoil its own label only. Each format is a module; all are pure text and need no other program.
"""

from __future__ import annotations

from typing import Literal, get_args

from setpoint.machine.model import Machine

Format = Literal["mermaid", "dot", "svg", "markdown"]


def draw(machine: Machine, format: Format = "mermaid", at: str | None = None) -> str:
    """The machine as a drawing, `at` being the state to mark. Raises `ValueError` for a format or state that there is not."""
    if at is not None and at not in machine.by_name:
        raise ValueError(f"machine {machine.name!r} has no state {at!r}; it has {', '.join(machine.by_name)}")
    match format:
        case "mermaid":
            from setpoint.machine.draw.mermaid import mermaid as drawn
        case "dot":
            from setpoint.machine.draw.dot import dot as drawn
        case "svg":
            from setpoint.machine.draw.svg import svg as drawn
        case "markdown":
            from setpoint.machine.draw.markdown import markdown as drawn
        case _:
            raise ValueError(f"unknown format {format!r}; there are {', '.join(get_args(Format))}")
    return drawn(machine, at)

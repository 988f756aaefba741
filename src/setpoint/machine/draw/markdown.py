"""Markdown: a table of the states and a table of the arcs, for documentation.

Arcs with the same event, target and guard are one row with several sources. Names are code, guards are code, texts are escaped.
"""

from __future__ import annotations

import re

from setpoint.machine.draw.edges import asks, condition, one_line
from setpoint.machine.model import Machine, State


def markdown(machine: Machine, at: str | None = None) -> str:
    """The machine as two tables."""
    states = [_row(_name(machine, state, at), state.phase or "", escaped(meaning(state))) for state in machine.states]
    arcs = [
        _row(code(event), ", ".join(code(name) for name in sources), code(target), code(when))
        for (event, target, when), sources in _merged(machine).items()
    ]
    lines = [
        *([escaped(machine.doc), ""] if machine.doc else []),
        *_table(("State", "Phase", "Meaning"), states),
        "",
        *_table(("Event", "From", "To", "When"), arcs),
    ]
    return "\n".join(lines) + "\n"


def meaning(state: State) -> str:
    """What a state is for people: its doc, else its reason, else what it does."""
    if state.doc:
        return state.doc
    if isinstance(state.reason, str) and state.reason:
        return state.reason
    return f"does {state.act.replace('_', ' ')}" if state.act else ""


def _name(machine: Machine, state: State, at: str | None) -> str:
    name = f"**{code(state.name)} ← here**" if state.name == at else code(state.name)
    kinds = {"initial": state.name == machine.initial, "final": state.final, asks(state): state.signal}
    marks = [mark for mark, holds in kinds.items() if holds]
    return name + (f" ({', '.join(marks)})" if marks else "")


def _merged(machine: Machine) -> dict[tuple[str, str, str], list[str]]:
    rows: dict[tuple[str, str, str], list[str]] = {}
    for arc in machine.arcs:
        rows.setdefault((arc.event, arc.target.name, condition(arc)), []).append(arc.source.name)
    return rows


def _table(heads: tuple[str, ...], rows: list[str]) -> list[str]:
    return [_row(*heads), _row(*["---"] * len(heads)), *rows]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """The text as code that fits into a cell: fenced by more backticks than it has in a row, bars escaped."""
    text = one_line(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def escaped(text: str) -> str:
    """The text with every sign that Markdown or HTML could act upon made plain."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)

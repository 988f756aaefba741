"""DOT: the language of Graphviz (https://graphviz.org/doc/info/lang.html).

In a quoted string only the quote and the backslash have a meaning; both are escaped.
"""

from __future__ import annotations

from setpoint.machine.draw.edges import COLOURS, asks, condition, label, one_line, parallel
from setpoint.machine.model import Machine, State


def dot(machine: Machine, at: str | None = None) -> str:
    """The machine as DOT text."""
    lines = [
        f"digraph {quoted(machine.name)} {{",
        '  graph [rankdir=TB, fontname="sans-serif"];',
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
        '  "" [shape=point, width=0.15];',
        *(_node(state, here=state.name == at) for state in machine.states),
        f'  "" -> {quoted(machine.initial)};',
    ]
    for (source, target), arcs in parallel(machine).items():
        text = quoted(*(label(arc) for arc in arcs))
        tip = quoted(*(f"{arc.event}: {condition(arc)}" for arc in arcs))
        lines.append(f"  {quoted(source)} -> {quoted(target)} [label={text}, tooltip={tip}];")
    return "\n".join([*lines, "}"]) + "\n"


def _node(state: State, *, here: bool) -> str:
    colour = COLOURS[state.phase]
    attributes = {
        "fillcolor": colour.fill,
        "color": colour.stroke,
        "fontcolor": colour.text,
        "tooltip": state.doc or state.phase or state.name,
        **({"penwidth": "4"} if here else {}),
        **({"peripheries": "2"} if state.final else {}),
    }
    label = f"label={quoted(state.name, asks(state))}, " if state.signal else ""
    return (
        f"  {quoted(state.name)} [{label}{', '.join(f'{key}={quoted(value)}' for key, value in attributes.items())}];"
    )


def quoted(*lines: str) -> str:
    r"""A quoted string of these lines."""
    return '"' + "\\n".join(one_line(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'

"""Mermaid: a ``stateDiagram-v2``, which Markdown viewers draw.

Syntax: https://mermaid.js.org/syntax/stateDiagram.html. A state whose name is a word of the syntax gets another identifier, and every
character of a label that could mean something is written as its code (``#58;``).
"""

from __future__ import annotations

import re
from typing import Final

from setpoint.machine.draw.edges import COLOURS, asks, classes, label, one_line, parallel
from setpoint.machine.model import Machine, Phase, State

WORDS: Final = frozenset({
    "accdescr", "acctitle", "as", "bt", "choice", "class", "classdef", "click", "default", "direction", "end", "fork", "hide", "href",
    "join", "left", "lr", "note", "of", "over", "rl", "right", "root", "scale", "start", "state", "statediagram", "style", "tb", "title",
    "constructor", "hasownproperty", "isprototypeof", "propertyisenumerable", "tolocalestring", "tostring", "valueof",
})  # fmt: skip
"""Words of the syntax, and names of every JavaScript object, in which Mermaid keeps states by their identifiers."""


def mermaid(machine: Machine, at: str | None = None) -> str:
    """The machine as Mermaid text."""
    ids = _identifiers(machine)
    lines = ["stateDiagram-v2", f"    %% {machine.name} {escaped(machine.version)}"]
    labels = {state.name: _label(state) for state in machine.states}
    lines += [f'    state "{labels[name]}" as {ids[name]}' for name in ids if ids[name] != labels[name]]
    lines.append(f"    [*] --> {ids[machine.initial]}")
    for (source, target), arcs in parallel(machine).items():
        lines.append(f"    {ids[source]} --> {ids[target]} : {'<br/>'.join(escaped(label(arc)) for arc in arcs)}")
    lines += [f"    {ids[state.name]} --> [*]" for state in machine.states if state.final]
    for name, members in classes(machine).items():
        colour = COLOURS[None if name == "step" else Phase(name)]
        lines.append(f"    classDef {name}_phase fill:{colour.fill},stroke:{colour.stroke},color:{colour.text}")
        lines.append(f"    class {','.join(ids[member] for member in members)} {name}_phase")
    if at is not None:
        lines += ["    classDef here stroke-width:4px,font-weight:bold", f"    class {ids[at]} here"]
    return "\n".join(lines) + "\n"


def _label(state: State) -> str:
    return f"{state.name} ({asks(state)})" if state.signal else state.name


def _identifiers(machine: Machine) -> dict[str, str]:
    """An identifier for each state: its name, with underscores behind it where the name is a word of the syntax."""
    ids: dict[str, str] = {}
    for name in machine.by_name:
        identifier = name
        while identifier.lower() in WORDS or (identifier != name and identifier in machine.by_name):
            identifier += "_"
        ids[name] = identifier
    return ids


def escaped(text: str) -> str:
    """The text for a label: anything but letters, digits, spaces and harmless signs as its code."""
    return re.sub(
        r"[^\w ().,=+*/'\[\]-]|--", lambda found: "".join(f"#{ord(sign)};" for sign in found[0]), one_line(text)
    )

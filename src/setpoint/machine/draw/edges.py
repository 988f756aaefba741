"""What all drawings share: arcs merged into edges, the colours of phases, and labels.

Colours are picked to be told apart with the common kinds of colour blindness, and to be read on white and on black.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from setpoint.machine.guards import ALWAYS
from setpoint.machine.model import Arc, Machine, Phase, State
from setpoint.machine.seconds import seconds_text


class Colour(NamedTuple):
    """The colours of one phase: of its area, its rim, and the text on it."""

    fill: str
    stroke: str
    text: str


COLOURS: Final[Mapping[Phase | None, Colour]] = {
    Phase.STOPPED: Colour("#e5e7eb", "#6b7280", "#111827"),
    Phase.STARTING: Colour("#dbeafe", "#2563eb", "#1e3a8a"),
    Phase.HEALTHY: Colour("#dcfce7", "#16a34a", "#14532d"),
    Phase.DEGRADED: Colour("#fef3c7", "#d97706", "#78350f"),
    Phase.STOPPING: Colour("#ede9fe", "#7c3aed", "#4c1d95"),
    Phase.FAILED: Colour("#fee2e2", "#dc2626", "#7f1d1d"),
    None: Colour("#f3f4f6", "#4b5563", "#111827"),
}

LONGEST_GUARD: Final = 40
"""Characters of a guard that still fit on an edge; longer ones are left to the table."""


def parallel(machine: Machine) -> dict[tuple[str, str], list[Arc]]:
    """The arcs by source and target, in order of definition."""
    edges: dict[tuple[str, str], list[Arc]] = {}
    for arc in machine.arcs:
        edges.setdefault((arc.source.name, arc.target.name), []).append(arc)
    return edges


def label(arc: Arc) -> str:
    """``event [guard] after 5 s``, the guard where it is short."""
    guard = "" if arc.when is ALWAYS or len(str(arc.when)) > LONGEST_GUARD else f" [{arc.when}]"
    return f"{arc.event}{guard}{wait(arc)}"


def wait(arc: Arc) -> str:
    """`` after 5 s``, or nothing; with the policy where it is not the usual one."""
    policy = "" if arc.resume == "deadline" else f" ({arc.resume})"
    return "" if arc.after is None else f" after {seconds_text(arc.after)} s{policy}"


def condition(arc: Arc) -> str:
    """The guard and the wait, in words."""
    return f"{arc.when}{wait(arc)}"


def asks(state: State) -> str:
    """``asks for removal``, or nothing."""
    return f"asks for {state.signal}" if state.signal else ""


def classes(machine: Machine) -> dict[str, list[str]]:
    """The names of the states of each phase, by the phase's name; states of a data machine count as ``step``."""
    found: dict[str, list[str]] = {}
    for state in machine.states:
        found.setdefault(state.phase or "step", []).append(state.name)
    return found


def one_line(text: str) -> str:
    """The text without line breaks and control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def sources_in_words(machine: Machine, names: Iterable[str], target: str) -> str:
    """Several states, as short as can be: ``any healthy, starting_dfc``. A phase stands for all its states but the target."""
    left = list(dict.fromkeys(names))
    words: list[str] = []
    for phase in dict.fromkeys(state.phase for state in machine.states if state.phase is not None):
        members = [state.name for state in machine.states if state.phase is phase and state.name != target]
        if len(members) > 1 and all(name in left for name in members):
            words.append(f"any {phase.value}")
            left = [name for name in left if name not in members]
    return ", ".join([*words, *left])

"""Explaining: for the present state every way out, each guard tree ticked or crossed, with the facts behind the answers.

An `Explanation` is data. It asks the same guards as `decide` does, over the same snapshot, so what it shows is what decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from setpoint.machine.decide import Position, decide, moment_of
from setpoint.machine.guards import Judged, judge
from setpoint.machine.model import Machine
from setpoint.machine.seconds import seconds_in_force


class Way(NamedTuple):
    """One way out of the present state: whether it is open, its guard tree as judged, and when its `after` is over."""

    event: str
    target: str
    open: bool
    guard: Judged
    opens_at: float | None = None


class Explanation(NamedTuple):
    """Why a machine is where it is, and what would move it. Times are of the clock that `now` came from."""

    machine: str
    state: str
    phase: str
    reason: str
    entered_at: float
    ways: tuple[Way, ...]
    next: str  # the state it moves to now, or the present one
    acts: tuple[str, ...]
    wake_at: float | None

    def lines(self) -> Iterator[str]:
        """The ways as indented text, one line a node: what a terminal or a log shows."""
        for way in self.ways:
            yield f"{_mark(way.open)} {way.event} → {way.target}"
            yield from _tree(way.guard, 1)


def explain(machine: Machine, position: Position, snapshot: Any, now: float) -> Explanation:
    """Explain the present state. Raises what `decide` raises."""
    decision = decide(machine, position, snapshot, now)
    moment = moment_of(machine, position, snapshot, now)
    ways = []
    for arc in machine.outgoing(position.state):
        judged = judge(arc.when, moment)
        opens_at = None if arc.after is None else position.began(arc) + seconds_in_force(arc.after, snapshot)
        ways.append(
            Way(arc.event, arc.target.name, judged.ok and (opens_at is None or now >= opens_at), judged, opens_at)
        )
    state = machine.by_name[position.state]
    return Explanation(
        machine.name,
        position.state,
        state.phase or "",
        decision.reason,
        position.entered_at,
        tuple(ways),
        decision.state,
        decision.effects,
        decision.wake_at,
    )


def _tree(node: Judged, depth: int) -> Iterator[str]:
    label = {"all": "all of", "any": "any of", "not": "not"}.get(node.kind, node.text)
    facts = [text for text in (node.doc if node.doc != node.text else "", node.because) if text]
    yield f"{'  ' * depth}{_mark(node.ok)} {label}" + (f": {' — '.join(facts)}" if facts else "")
    for part in node.parts:
        yield from _tree(part, depth + 1)


def _mark(ok: bool) -> str:
    return "✓" if ok else "✗"

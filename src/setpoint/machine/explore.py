"""Exploring: what several machines that see one another can come to together.

`check` looks at one machine alone. Two machines that are each sound can still both be active where only one may, or wait for each other
for ever. `explore` goes through all joint states that can be reached, breadth first, so that a witness is a shortest one. One instance
moves at a time, which is how a runtime with a single writer moves them; whoever is wanted may be so or not from any moment on. See
`setpoint.machine.joint` for what is known of guards there. The questions:

- ``forbidden``: a joint state that must never be can be reached;
- ``deadlock``: no instance can move, whatever is observed, and some that are not where they are wanted wait for nobody but each other;
- ``out-of-reach``: from a joint state in which all are wanted, a target cannot be reached any more while they stay so;
- ``no-way-to-stop``: told to stop, all of them, they cannot all come to rest any more.

The verdict is *exact* where everything was seen, *bounded* where the limit was met first, and *opaque* where guards in Python, which cannot
be looked into, were taken as true and as false: then what was not found does not exist, and a witness may rest on answers that never come
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from setpoint.machine.check import Certainty, Finding
from setpoint.machine.guards import Guard
from setpoint.machine.joint import Instance, Part, Table, assemble, condition
from setpoint.machine.model import Machine

LIMIT = 500_000
"""Joint states that are looked at by default: some 100 MB and seconds."""

AT_ONCE = 4_096
"""Joint states between two looks at the limit."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """What was found. `states` is the number of joint states seen; `opaque` names the guards that were taken as true and as false."""

    states: int
    findings: tuple[Finding, ...]
    certainty: Certainty
    opaque: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Everything was seen, and nothing is wrong."""
        return not self.findings and self.certainty != "bounded"

    def __str__(self) -> str:
        found = f"{len(self.findings)} found" if self.findings else "nothing found"
        return f"{self.states:,} joint states, {self.certainty}: {found}"


def explore(
    system: Mapping[str, Machine | Instance],
    *,
    never: Mapping[str, Guard] | None = None,
    targets: Mapping[str, Guard] | None = None,
    limit: int = LIMIT,
) -> Exploration:
    """Explore the joint states of named instances of machines.

    `never` are guards, by names for people, that may not be true in any joint state; `targets` those that must stay reachable while all are
    wanted. They ask about instances: ``peer("a").is_in("active") & peer("b").is_in("active")``. At most `limit` joint states are looked
    at. Raises `ValueError` where a guard asks about an instance or a state that there is not, or anything but instances.
    """
    search = _Search(assemble(system), limit)
    shunned = {name: condition(f"never {name!r}", guard, search.parts) for name, guard in (never or {}).items()}
    wanted = {name: condition(f"target {name!r}", guard, search.parts) for name, guard in (targets or {}).items()}
    search.spread()
    opaque = tuple(sorted({name for part in search.parts.values() for name in part.opaque()}))
    certainty: Certainty = "bounded" if search.cut or search.unsettled else "opaque" if opaque else "exact"
    of_findings: Certainty = "opaque" if opaque else "exact"
    findings = [*search.forbidden(shunned, of_findings), *search.deadlocks(of_findings)]
    if not search.cut:  # what lies beyond the limit could be the way
        findings += [*search.out_of_reach(wanted, of_findings), *search.no_way_to_stop(of_findings)]
    return Exploration(len(search.came_from), tuple(findings), certainty, opaque)


class _Search:
    """One search through the joint states. `came_from` has each that was seen, in that order, with the one before it."""

    def __init__(self, parts: dict[str, Part], limit: int) -> None:
        self.parts = parts
        self.limit = limit
        self.wishes = sum(part.wish for part in parts.values())
        self.came_from: dict[int, int] = {}
        self.cut = False

    @property
    def unsettled(self) -> bool:
        return any(part.unsettled for part in self.parts.values())

    def spread(self) -> None:
        """Go through all joint states, each once, the nearest first. This loop is all that counts for speed."""
        tables = [(part.onward.mask, part.onward) for part in self.parts.values()]
        came_from = self.came_from
        start = sum(part.start() for part in self.parts.values())
        came_from[start] = start
        layer = [start]
        while layer:
            following: list[int] = []
            for first in range(0, len(layer), AT_ONCE):
                if len(came_from) > self.limit:
                    self.cut = True
                    return
                found = {
                    after: joint
                    for joint in layer[first : first + AT_ONCE]
                    for mask, onward in tables
                    for bits in onward[joint & mask]
                    if (after := joint ^ bits) not in came_from
                }
                came_from.update(found)
                following.extend(found)
            layer = following

    def forbidden(self, never: Mapping[str, Table[bool]], certainty: Certainty) -> Iterator[Finding]:
        for name, table in never.items():
            joint = next((joint for joint in self.came_from if table[joint & table.mask]), None)
            if joint is not None:
                text = f"{name}: it can come to this"
                yield Finding("forbidden", "error", text, self.text(joint), self.way(joint), certainty)

    def deadlocks(self, certainty: Certainty) -> Iterator[Finding]:
        stuck = {joint: names for joint in self._still() if (names := [part.name for part in self._bound(joint)])}
        for joint, names in list(stuck.items())[:1]:
            who = f"{', '.join(names)} wait for each other" if len(names) > 1 else f"nothing can free {names[0]}"
            more = f"; there are {len(stuck) - 1:,} more such" if len(stuck) > 1 else ""
            text = f"a deadlock: no instance can move, and {who}{more}"
            yield Finding("deadlock", "error", text, self.text(joint), self.way(joint), certainty)

    def _still(self) -> Iterator[int]:
        """The joint states in which no instance can move."""
        tables = [(part.moves.mask, part.moves) for part in self.parts.values()]
        for joint in self.came_from:
            for mask, moves in tables:
                if moves[joint & mask]:
                    break
            else:
                yield joint

    def _bound(self, joint: int) -> list[Part]:
        """The instances that may not stay where they are, and that none but they themselves could free, wherever the others go.

        So one that waits for another that works does not count: that is what a guard against working both at once is for.
        """
        bound = [
            part for part in self.parts.values() if not any(part.at_rest(joint, wish) for wish in part.wishes(joint))
        ]
        while free := [part for part in bound if part.could_move(joint, bound)]:
            bound = [part for part in bound if part not in free]
        return bound

    def out_of_reach(self, targets: Mapping[str, Table[bool]], certainty: Certainty) -> Iterator[Finding]:
        wanted = [joint for joint in self.came_from if joint & self.wishes == self.wishes]
        for name, table in targets.items():
            lost = self._lost(wanted, {joint for joint in wanted if table[joint & table.mask]})
            text = f"{name}: cannot be reached any more"
            yield from self._first("out-of-reach", text, lost, len(wanted), certainty)

    def no_way_to_stop(self, certainty: Certainty) -> Iterator[Finding]:
        """Of those that follow a wish. Where nobody is told, nobody stops."""
        told = [part for part in self.parts.values() if part.wish or part.derived is not None]
        if not self.wishes:
            return
        off = [joint for joint in self.came_from if not joint & self.wishes]
        lost = self._lost(off, {joint for joint in off if all(part.at_rest(joint, False) for part in told)})
        text = "told to stop, they can never all come to rest"
        yield from self._first("no-way-to-stop", text, lost, len(off), certainty)

    def _lost(self, scope: list[int], reached: set[int]) -> list[int]:
        """The joint states of the scope from which none of `reached` can be reached; wishes stay as they are."""
        tables = [(part.moves_to.mask, part.moves_to) for part in self.parts.values()]
        left = set(scope) - reached
        queue = list(reached)
        for joint in queue:  # grows while it is walked
            for mask, moves_to in tables:
                for bits in moves_to[joint & mask]:
                    if joint ^ bits in left:
                        left.remove(joint ^ bits)
                        queue.append(joint ^ bits)
        return [joint for joint in scope if joint in left]

    def _first(self, code: str, text: str, lost: list[int], of: int, certainty: Certainty) -> Iterator[Finding]:
        if lost:
            text = f"{text}, from {len(lost):,} of {of:,} joint states"
            yield Finding(code, "error", text, self.text(lost[0]), self.way(lost[0]), certainty)

    def text(self, joint: int) -> str:
        """The joint state for people: ``a=active, b=idle``."""
        return ", ".join(f"{part.name}={part.state(joint)}" for part in self.parts.values())

    def way(self, joint: int) -> tuple[str, ...]:
        """The shortest way of events to a joint state: ``a.start``, or ``a is wanted``."""
        steps: list[str] = []
        while (before := self.came_from[joint]) != joint:
            steps.append(self._event(before, before ^ joint))
            joint = before
        return tuple(reversed(steps))

    def _event(self, before: int, bits: int) -> str:
        part = next(part for part in self.parts.values() if bits & part.mask)
        if bits == part.wish:
            return f"{part.name} is {'no longer ' if before & bits else ''}wanted"
        return next(f"{part.name}.{event}" for event, changed in part.events(before) if changed == bits)

"""Comparing two versions of a machine: what changed, and how much it breaks.

Levels are those of semantic versioning, seen from what runs and from what shows it:

- *major*: something that instances, rules or screens rely upon is gone or means something else: a state removed, its phase or finality
  changed, an arc removed;
- *minor*: it can do more, or decides otherwise: a state or arc added, a guard, wait, action, signal or the initial state changed, or
  the order of two arcs that can be open together;
- *patch*: only texts for people.

States are known by their names, arcs by source, event and target. Machines with the same `content_hash` differ by patches at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, zip_longest
from typing import Any, Final, Literal

from setpoint.machine.export import to_dict
from setpoint.machine.logic import Terms, every, search
from setpoint.machine.model import Arc, Machine
from setpoint.machine.seconds import seconds_text

Level = Literal["none", "patch", "minor", "major"]
LEVELS: Final[tuple[Level, ...]] = ("none", "patch", "minor", "major")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference at `place` (a state's name, an arc's text, a guard's name); `before` and `after` are texts, empty where there is
    nothing."""

    kind: str
    place: str
    before: str
    after: str
    level: Level
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.message}"


def diff(a: Machine, b: Machine) -> list[Change]:
    """What changed from `a` to `b`, the gravest first; empty when nothing did. A new version number alone is no change."""
    changes = [*_machine(a, b), *_states(a, b), *_arcs(a, b), *_order(a, b), *_guards(a, b)]
    return sorted(changes, key=lambda change: -LEVELS.index(change.level))


def level(changes: Iterable[Change]) -> Level:
    """How much they break taken together: the gravest of their levels."""
    return max((change.level for change in changes), key=LEVELS.index, default="none")


def _machine(a: Machine, b: Machine) -> Iterator[Change]:
    fields: tuple[tuple[str, str, str, Level], ...] = (
        ("name", a.name, b.name, "major"),
        ("initial", a.initial, b.initial, "minor"),
        ("doc", a.doc, b.doc, "patch"),
    )
    yield from _fields("machine", b.name, "the machine", fields)


def _states(a: Machine, b: Machine) -> Iterator[Change]:
    old, new = _by_name(a), _by_name(b)
    for name in old:
        if name not in new:
            yield Change(
                "state-removed", name, name, "", "major", f"state {name} is gone: instances in it need a migration"
            )
    for name, state in new.items():
        if name not in old:
            yield Change("state-added", name, "", name, "minor", f"state {name} is new")
            continue
        before = old[name]
        levels: Mapping[str, Level] = {
            "phase": "major",
            "final": "major",
            "act": "minor",
            "signal": "minor",
            "reason": "patch",
            "doc": "patch",
        }
        fields = [(key, _text(before.get(key)), _text(state.get(key)), level) for key, level in levels.items()]
        yield from _fields("state", name, f"state {name}", fields)


def _by_name(machine: Machine) -> dict[str, Mapping[str, Any]]:
    return {state["name"]: state for state in to_dict(machine)["states"]}


def _arcs(a: Machine, b: Machine) -> Iterator[Change]:
    old, new = _by_key(a), _by_key(b)
    for key in [*old, *(key for key in new if key not in old)]:
        for before, after in zip_longest(*_unequal(old.get(key, []), new.get(key, []))):
            if after is None:
                message = f"arc {before} is gone (when {before.when})"
                yield Change("arc-removed", str(before), str(before.when), "", "major", message)
            elif before is None:
                message = f"arc {after} is new (when {after.when})"
                yield Change("arc-added", str(after), "", str(after.when), "minor", message)
            else:
                yield from _arc(before, after)


def _by_key(machine: Machine) -> dict[tuple[str, str, str], list[Arc]]:
    found: dict[tuple[str, str, str], list[Arc]] = {}
    for arc in machine.arcs:
        found.setdefault((arc.source.name, arc.event, arc.target.name), []).append(arc)
    return found


def _unequal(old: list[Arc], new: list[Arc]) -> tuple[list[Arc], list[Arc]]:
    """Both lists with arcs of the same guard in the same places, and those left over behind them."""
    guards = [str(arc.when) for arc in old if any(str(arc.when) == str(other.when) for other in new)]

    def place(arc: Arc) -> int:
        return guards.index(str(arc.when)) if str(arc.when) in guards else len(guards)

    return sorted(old, key=place), sorted(new, key=place)


def _arc(before: Arc, after: Arc) -> Iterator[Change]:
    fields: tuple[tuple[str, str, str, Level], ...] = (
        ("guard", str(before.when), str(after.when), "minor"),
        ("after", _wait(before), _wait(after), "minor"),
        ("resume", before.resume, after.resume, "minor"),
        ("reason", _text(before.reason), _text(after.reason), "patch"),
    )
    yield from _fields("arc", str(after), f"arc {after}", fields)


def _wait(arc: Arc) -> str:
    return "" if arc.after is None else f"{seconds_text(arc.after)} s"


def _order(a: Machine, b: Machine) -> Iterator[Change]:
    """Pairs of arcs that changed places, where both can be open at once and lead to different states."""
    for name in (state.name for state in b.states if state.name in a.by_name):
        before = {(str(arc), str(arc.when)): place for place, arc in enumerate(a.outgoing(name))}
        common = [arc for arc in b.outgoing(name) if (str(arc), str(arc.when)) in before]
        for first, second in combinations(common, 2):
            swapped = before[str(first), str(first.when)] > before[str(second), str(second.when)]
            if swapped and first.target.name != second.target.name and _can_meet(first, second):
                message = f"state {name}: {first} is now tried before {second}, and both can be open at once"
                yield Change("order-changed", name, f"{second}, {first}", f"{first}, {second}", "minor", message)


def _can_meet(first: Arc, second: Arc) -> bool:
    terms = Terms()
    return search(every([terms.formula(first.when), terms.formula(second.when)]), terms).possible is not False


def _guards(a: Machine, b: Machine) -> Iterator[Change]:
    old, new = to_dict(a), to_dict(b)
    for name in [name for name in new["guards"] if name in old["guards"]]:
        fields: tuple[tuple[str, str, str, Level], ...] = (
            ("doc", old["guards"][name], new["guards"][name], "patch"),
            ("wanted", _text(name in old.get("wanted", [])), _text(name in new.get("wanted", [])), "patch"),
        )
        yield from _fields("guard", name, f"guard {name}", fields)


def _fields(what: str, place: str, subject: str, fields: Iterable[tuple[str, str, str, Level]]) -> Iterator[Change]:
    for key, before, after, grave in fields:
        if before != after:
            message = f"{subject}: {key} was {before or 'nothing'}, is {after or 'nothing'}"
            yield Change(f"{what}-{key}-changed", place, before, after, grave, message)


def _text(value: object) -> str:
    if callable(value):
        return f"{getattr(value, '__name__', type(value).__name__)}()"
    return "" if value is None or value is False else "yes" if value is True else str(value)

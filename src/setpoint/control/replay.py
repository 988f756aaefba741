"""Replay: make recorded decisions again with today's machines, and say which come out differently.

Guards are pure: of the same snapshot, position and time the same machine decides the same. So a decision that differs, differs because the
machine, its guards or the types of its data have changed since; whoever changed them sees what the change would have done. Only decisions
that were made are made again: a machine that would have decided at another moment shows in when it wants to look again (`timing`).

An entry that today's code cannot read any more, or whose state today's machine does not have, is a difference of its own kind: a worker
restored from it would be in the same trouble.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec
from pydantic import BaseModel, TypeAdapter

from setpoint.control.recorder import FACTS
from setpoint.control.snapshot import Fact, Facts, Figures, Snapshot
from setpoint.control.tally import Calls
from setpoint.control.worker import Worker
from setpoint.machine import Explanation, Machine, Phase, Position, content_hash, decide, explain
from setpoint.machine.guards import Judged
from setpoint.store.recording import Decided, Entry, Plain
from setpoint.store.secrets import REDACTED, redacted

Kind = Literal["decision", "timing", "reason", "state", "machine", "data"]
"""What differs: what is decided; when it looks again; only the text of the reason; the state is not in the machine; there is no such
machine; the data cannot be read as today's types."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Subject(NamedTuple):
    """What decides for a worker: a machine, and the types of what it decides on (`Any`: whatever was recorded)."""

    machine: Machine
    desired: Any = Any
    observed: Any = Any


def subject_of(worker: type[Worker[Any, Any, Any]], machine: Machine | None = None) -> Subject:
    """What decides for workers of a class: its machine, or the one given in its place."""
    return Subject(machine or worker.machine, worker.desired_type, worker.observed_type)


class Answer(NamedTuple):
    """A guard and what it answers, then and now. None: it is not asked there, or nobody knows any more."""

    guard: str
    then: bool | None
    now: bool | None
    because: str = ""


class Difference(NamedTuple):
    """A recorded decision that would be another one now. `now` and `explanation` are None where nothing can be decided; `why` then says
    what stands in the way. `answers` are the guards that tell the two apart: those of the arcs taken then and now, and single ones."""

    entry: Entry
    kind: Kind
    why: str = ""
    now: Decided | None = None
    explanation: Explanation | None = None
    answers: tuple[Answer, ...] = ()


class Unreadable(ValueError):
    """What was recorded is no value of today's types; the message says of what and why."""


def replay(
    entries: Iterable[Entry],
    subjects: Mapping[str, Subject],
    *,
    before: Mapping[str, Subject] | None = None,
    reasons: bool = False,
) -> Iterator[Difference]:
    """Make each decision again; yields those that differ. With `reasons` also those of which only the reason's text does.

    `subjects` are found by the name of the recorded machine, or the worker type. `before` may hold the machines as they were when it was
    recorded; where one still has the recorded content hash, the answers of its guards are compared one by one.
    """
    types, earlier = _Types(subjects), _Types(before or {})
    for entry in entries:
        subject = subjects.get(entry.machine.name) or subjects.get(entry.type)
        if subject is None:
            yield Difference(entry, "machine", f"there is no machine {entry.machine.name!r}")
            continue
        if entry.position.state not in subject.machine.by_name:
            why = f"machine {subject.machine.name!r} has no state {entry.position.state!r}"
            yield Difference(entry, "state", why)
            continue
        try:
            snapshot = types.snapshot(entry, subject)
        except Unreadable as error:
            yield Difference(entry, "data", str(error))
            continue
        now = decide_again(entry, subject.machine, snapshot)
        kind = _differs(entry.decision, now)
        if kind is not None and (reasons or kind != "reason"):
            explanation = _explained(entry, subject.machine, snapshot)
            answers = _of_arcs(entry, now, explanation) + _changed(earlier.explanation(entry), explanation)
            yield Difference(entry, kind, now=now, explanation=explanation, answers=answers)


def decide_again(entry: Entry, machine: Machine, snapshot: Snapshot[Any, Any]) -> Decided:
    """What the machine decides at the recorded position and time, in the form that is recorded."""
    try:
        decision = decide(machine, _position(entry), snapshot, entry.clocks.now)
    except Exception as error:
        return Decided(entry.position.state, error=redacted(f"{type(error).__name__}: {error}"))
    return Decided(
        decision.state,
        decision.arc.event if decision.arc else "",
        list(decision.effects),
        redacted(decision.reason),
        decision.wake_at,
    )


def _differs(then: Decided, now: Decided) -> Kind | None:
    if (then.state, then.event, then.effects, bool(then.error)) != (now.state, now.event, now.effects, bool(now.error)):
        return "decision"
    if then.wake_at != now.wake_at:
        return "timing"
    return "reason" if (then.reason, then.error) != (now.reason, now.error) else None


def _explained(entry: Entry, machine: Machine, snapshot: Snapshot[Any, Any]) -> Explanation | None:
    """The explanation of the decision; None where nothing can be decided, which the decision says itself."""
    try:
        return explain(machine, _position(entry), snapshot, entry.clocks.now)
    except Exception:
        return None


def _of_arcs(entry: Entry, now: Decided, explanation: Explanation | None) -> tuple[Answer, ...]:
    """Of the two arcs: the one taken then was open, of the one taken now nobody knows whether it was."""
    found = []
    for way in explanation.ways if explanation else ():
        taken_then = (way.event, way.target) == (entry.decision.event, entry.decision.state)
        taken_now = (way.event, way.target) == (now.event, now.state)
        if taken_then != taken_now:
            then = True if taken_then else None
            found.append(Answer(f"{way.event} when {way.guard.text}", then, way.open, _because(way.guard)))
    return tuple(found)


def _changed(was: Explanation | None, is_now: Explanation | None) -> tuple[Answer, ...]:
    """The guards that answer otherwise, or that only one of the two machines asks; none where one of the two is not known."""
    if was is None or is_now is None:
        return ()
    then, now = _leaves(was), _leaves(is_now)
    return tuple(
        Answer(
            guard,
            then[guard].ok if guard in then else None,
            now[guard].ok if guard in now else None,
            (now.get(guard) or then[guard]).because,
        )
        for guard in {**now, **then}
        if guard not in then or guard not in now or then[guard].ok != now[guard].ok
    )


def _leaves(explanation: Explanation) -> dict[str, Judged]:
    """Every guard that is asked, by its text; ``held(...)`` counts as one."""
    found: dict[str, Judged] = {}
    stack = [way.guard for way in explanation.ways]
    while stack:
        node = stack.pop()
        if node.kind in ("leaf", "held"):
            found[node.text] = node
        stack += node.parts
    return found


def _because(guard: Judged) -> str:
    """The facts behind the leaves of a guard."""
    if not guard.parts:
        return guard.because
    return ", ".join(filter(None, map(_because, guard.parts)))


def _position(entry: Entry) -> Position:
    return Position(**msgspec.structs.asdict(entry.position))


# plain data as what it was


class _Types:
    """Turns recorded snapshots into snapshots of today's types. Remembers the latest of each worker, since most parts are as before."""

    def __init__(self, subjects: Mapping[str, Subject]) -> None:
        self._subjects = subjects
        self._latest: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._adapters: dict[Any, TypeAdapter[Any]] = {}

    def explanation(self, entry: Entry) -> Explanation | None:
        """Why it was decided so, where the machine that decided is known to be among these."""
        subject = self._subjects.get(entry.machine.name)
        if subject is None or content_hash(subject.machine) != entry.machine.hash:
            return None
        try:
            return _explained(entry, subject.machine, self.snapshot(entry, subject))
        except Unreadable:
            return None

    def snapshot(self, entry: Entry, subject: Subject) -> Snapshot[Any, Any]:
        """The snapshot of an entry. Raises `Unreadable`."""
        fields: Plain = {"path": entry.path, "state": entry.position.state}
        for name, value in entry.snapshot.items():
            if name in FACTS:
                fields[name] = self._facts(value, getattr(entry.clocks, name))
            elif name == "figures":
                fields[name] = _figures(value, entry)
            elif name == "desired":
                fields[name] = self._value(entry.path, name, value, subject.desired)
            elif name == "observed":
                fields[name] = self._value(entry.path, name, value, subject.observed)
            elif name in Snapshot._fields:
                fields[name] = value
        try:
            return Snapshot(**fields)
        except TypeError as error:
            raise Unreadable(f"the snapshot: {error}") from None

    def _value(self, path: str, field: str, value: Any, wanted: Any) -> Any:
        known = self._latest.get((path, field))
        if known is not None and known[0] == value:
            return known[1]
        try:
            made = self._made_of_what_is_told(value, wanted)
        except Exception as error:  # what validation may raise is up to the type
            text = f"{field} is no {getattr(wanted, '__name__', wanted)} any more: {error}"
            raise Unreadable(text.replace("\n", " ")[:500]) from None
        self._latest[path, field] = value, made
        return made

    def _made_of_what_is_told(self, value: Any, wanted: Any) -> Any:
        """A secret was left out and a text put in its place; where that fits no field, the field takes its default."""
        try:
            return self._made(value, wanted)
        except Exception:
            told = _told(value)
            if told == value:
                raise
            return self._made(told, wanted)

    def _made(self, value: Any, wanted: Any) -> Any:
        if value is None or wanted is Any or wanted is None:
            return _open(value)
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            return msgspec.convert(value, wanted, str_keys=True, dec_hook=self._model)
        if isinstance(wanted, type) and not _has_fields(wanted) and isinstance(value, Mapping) and wanted is not dict:
            return _open(value)  # an object of a class that says nothing of its fields
        return self._model(wanted, value)

    def _model(self, wanted: Any, value: Any) -> Any:
        if wanted not in self._adapters:
            self._adapters[wanted] = TypeAdapter(wanted)
        return self._adapters[wanted].validate_python(value)

    def _facts(self, recorded: Any, ages: Mapping[str, float | None]) -> Facts:
        facts = {name: self._fact(name, plain, ages.get(name)) for name, plain in recorded.items()}
        gone = {name: fact for name, fact in facts.items() if fact.state == "removed"}
        return Facts({name: name for name in facts if name not in gone}, facts.__getitem__, gone)

    def _fact(self, name: str, plain: Any, age: float | None) -> Fact:
        try:
            known = {field: value for field, value in plain.items() if field in Fact._fields}
            phase = Phase(known["phase"]) if known.get("phase") else None
            subject = self._subjects.get(known.get("type", ""))
            wanted = subject.observed if subject else Any
            observed = self._value(known["path"], "observed by it", known.get("observed"), wanted)
            return Fact(**{**known, "phase": phase, "observed": observed, "age": age})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise Unreadable(f"the fact about {name!r}: {error}") from None


def _figures(recorded: Any, entry: Entry) -> Figures:
    in_state = entry.clocks.now - entry.position.entered_at
    try:
        known = {name: value for name, value in recorded.items() if name in Figures._fields}
        known["actions"] = {name: Calls(*calls) for name, calls in known.get("actions", {}).items()}
        return Figures(**{"seconds_in_state": in_state, **known, **entry.clocks.figures})
    except (TypeError, AttributeError) as error:
        raise Unreadable(f"figures: {error}") from None


def _has_fields(wanted: type) -> bool:
    known = (BaseModel, str, int, float, bool, tuple, list, dict, set, frozenset, Mapping)
    return issubclass(wanted, known) or dataclasses.is_dataclass(wanted)


class Open(dict[str, Any]):
    """Recorded data of no declared type: its fields can be read as attributes and as items."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name in self:
            return self[name]
        return super().__getattribute__(name)


def _told(value: Any) -> Any:
    """What is left without the places of secrets."""
    if isinstance(value, dict):
        return {key: _told(part) for key, part in value.items() if part != REDACTED}
    return [_told(part) for part in value] if isinstance(value, list) else value


def _open(value: Any) -> Any:
    if isinstance(value, dict):
        return Open({key: _open(part) for key, part in value.items()})
    return [_open(part) for part in value] if isinstance(value, list) else value

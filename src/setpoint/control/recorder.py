"""The flight recorder: keeps every decision with all that it was made on, so that it can be made again.

What a decision depends on is immutable, except that facts about others are asked for when needed; so recording a decision means keeping
references to its parts, and asking for the facts once. Everything else, making plain data of it and finding out what has changed since
the worker's previous decision, happens in the writer's thread. A decision whose inputs and outcome are those of the worker's previous
one, but for clocks that run by themselves, is not recorded.

What becomes of it is described in `setpoint.store.recording`; `setpoint.control.replay` makes recorded decisions again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import astuple

from setpoint import __version__
from setpoint.control.record import Record
from setpoint.control.snapshot import Fact, Facts, Figures, Snapshot
from setpoint.machine import Decision, Machine, Position, content_hash
from setpoint.secrets import names_a_secret
from setpoint.store.recording import Plain
from setpoint.store.recording_writer import KEEP_BYTES, SEGMENT_BYTES, RecordingWriter
from setpoint.store.secrets import redacted

FACTS: Final = ("children", "peers")
"""The fields of a snapshot that hold facts about others."""
RUNNING: Final = ("seconds_in_state", "age", "lag")
"""Figures that change by themselves; the others are counted."""
COUNTED: Final = tuple(name for name in Figures._fields if name not in RUNNING)
counted: Callable[[Any], tuple[Any, ...]] = itemgetter(*map(Figures._fields.index, COUNTED))
MAX_INT: Final = 2**53
NO_FACTS: Final[Mapping[str, Fact]] = {}
NO_FIELDS: Final[Plain] = {}
NOTHING: Final = object()
NAMING: Final = frozenset({"name", "key", "header"})
"""Fields whose value may name the secret that stands beside it."""


class Look(NamedTuple):
    """One decision as it was taken: references to what it was made on, and what came of it."""

    path: str
    type: str
    machine: Machine
    snapshot: Snapshot[Any, Any]
    children: Mapping[str, Fact]
    peers: Mapping[str, Fact]
    position: Position
    now: float
    wall: float
    outcome: Decision | str
    secrets: frozenset[str] = frozenset()


class Recorder:
    """Records the decisions of one supervisor into a directory of its own. `decided` costs its caller some microseconds and never raises.

    `keep_bytes` bounds the directory, `segment_bytes` a file in it.
    """

    def __init__(self, directory: Path, *, keep_bytes: int = KEEP_BYTES, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._machines: dict[int, tuple[Machine, Plain]] = {}
        self._writer = RecordingWriter[Look](
            directory,
            lambda: _Plainly(self._machines),
            program=f"setpoint {__version__}",
            keep_bytes=keep_bytes,
            segment_bytes=segment_bytes,
        )

    def decided(
        self,
        record: Record,
        snapshot: Snapshot[Any, Any],
        position: Position,
        now: float,
        wall: float,
        outcome: Decision | str,
    ) -> None:
        """A worker has been decided on: by what `decide` said of this snapshot at this position, or the error text where it raised.

        Call it before anything else changes: facts about others are asked for now.
        """
        worker = record.worker
        if worker is not None:
            children, peers = _captured(snapshot.children), _captured(snapshot.peers)
            self._writer.put(
                Look(
                    record.path,
                    record.type,
                    worker.machine,
                    snapshot,
                    children,
                    peers,
                    position,
                    now,
                    wall,
                    outcome,
                    record.secrets,
                )
            )

    @property
    def trouble(self) -> str:
        """Why nothing can be recorded at present; "" when it can."""
        return self._writer.trouble

    @property
    def lost(self) -> int:
        """Decisions that are missing in the recording."""
        return self._writer.lost

    @property
    def written(self) -> int:
        """Decisions that are in the recording."""
        return self._writer.written

    def close(self) -> None:
        """Write what is waiting. Returns within some seconds, whatever the disk does."""
        self._writer.close()


def _captured(facts: Facts) -> Mapping[str, Fact]:
    """All facts as they are now, those of workers that are gone included."""
    if not facts and not facts.gone:
        return NO_FACTS
    return {name: facts[name] for name in (*facts.gone, *facts)}


class _Plainly:
    """Makes plain data of looks, without secrets. What is the same as at the worker's previous look is not converted again."""

    def __init__(self, machines: dict[int, tuple[Machine, Plain]]) -> None:
        self._machines = machines
        self._latest: dict[str, tuple[Look, Plain]] = {}

    def __call__(self, look: Look) -> Plain:
        entry = self._entry(look)
        self._latest[look.path] = look, entry
        return entry

    def _entry(self, look: Look) -> Plain:
        before, written = self._latest.get(look.path, (None, {}))
        clocks: Plain = {"at": round(look.wall, 3), "now": look.now}
        here = before is not None and before.position == look.position
        alike = here and before is not None and before.outcome is look.outcome  # most decisions to stay are made once
        return {
            "path": look.path,
            "type": look.type,
            "machine": self._machine(look.machine),
            "snapshot": _snapshot(look, clocks, before, written),
            "position": written["position"] if here else _position(look.position),
            "decision": written["decision"] if alike else _decision(look),
            "clocks": clocks,
        }

    def _machine(self, machine: Machine) -> Plain:
        known = self._machines.get(id(machine))
        if known is None:
            plain = {"name": machine.name, "version": machine.version, "hash": content_hash(machine)}
            known = self._machines[id(machine)] = machine, plain
        return known[1]


def _snapshot(look: Look, clocks: Plain, before: Look | None, written: Plain) -> Plain:
    """The snapshot by field; what runs by itself goes to the clocks. `written` is what became of the look before."""
    fields: Plain = {}
    known: Plain = written["snapshot"] if before else {}
    for name, value in zip(look.snapshot._fields, look.snapshot, strict=True):
        if name in ("path", "state"):  # they are said elsewhere
            continue
        earlier = getattr(before.snapshot, name) if before else NOTHING
        if name in FACTS:
            facts = getattr(look, name)
            fields[name] = _facts(facts, getattr(before, name, NO_FACTS), known.get(name, NO_FIELDS), look.secrets)
            clocks[name] = {name: fact.age for name, fact in facts.items()} if facts else NO_FIELDS
        elif isinstance(value, Figures):
            alike = earlier is not NOTHING and counted(value) == counted(earlier)
            fields[name] = known[name] if alike else _figures(value)
            clocks[name] = _running(value, look)
        else:
            fields[name] = known[name] if value is earlier else _plain(value, earlier, known.get(name), look.secrets)
    return fields


def _plain(value: Any, before: Any, written: Any, secrets: frozenset[str]) -> Any:
    """The value without secrets; what was written before, as far as it is the same. Most fields of an observation are."""
    if not isinstance(value, msgspec.Struct) or not NAMING.isdisjoint(value.__struct_fields__):
        return redacted(value, secrets)
    fields: Plain = {}
    earlier = astuple(before) if type(value) is type(before) else repeat(NOTHING)
    for name, field, was in zip(value.__struct_fields__, astuple(value), earlier, strict=False):
        if field is was:
            fields[name] = written[name]
        elif type(field) in (int, bool, float) and abs(field) < MAX_INT and not names_a_secret(name):
            fields[name] = field
        else:
            fields[name] = redacted({name: field}, secrets)[name]
    return fields


def _figures(figures: Figures) -> Plain:
    fields = dict(zip(COUNTED, counted(figures), strict=True))
    fields["actions"] = {name: list(astuple(calls)) for name, calls in figures.actions.items()}
    return fields


def _running(figures: Figures, look: Look) -> Plain:
    """The figures that change by themselves; how long it is in its state only where that cannot be worked out."""
    fields: Plain = {"age": figures.age, "lag": figures.lag}
    if figures.seconds_in_state != look.now - look.position.entered_at:
        fields["seconds_in_state"] = figures.seconds_in_state
    return fields


def _facts(facts: Mapping[str, Fact], before: Mapping[str, Fact], written: Plain, secrets: frozenset[str]) -> Plain:
    fields: Plain = {}
    for name, fact in facts.items():
        earlier = before.get(name)
        if earlier is not None and earlier._replace(age=fact.age) == fact:
            fields[name] = written[name]
        else:
            fields[name] = redacted(fact._replace(age=None), secrets)
            del fields[name]["age"]
    return fields or NO_FIELDS


def _position(position: Position) -> Plain:
    return {
        "state": position.state,
        "entered_at": position.entered_at,
        "held": dict(position.held),
        "begun": dict(position.begun),
    }


def _decision(look: Look) -> Plain:
    outcome = look.outcome
    if isinstance(outcome, str):
        return {"state": look.position.state, "error": redacted(outcome, look.secrets)}
    return {
        "state": outcome.state,
        "event": outcome.arc.event if outcome.arc else "",
        "effects": list(outcome.effects),
        "reason": redacted(outcome.reason, look.secrets),
        "wake_at": outcome.wake_at,
    }

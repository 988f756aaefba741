"""Remembering: what the store is told of each worker, and what an earlier run of the agent left there.

Four documents a worker: its identity, its desired state, what it observed, and where it stands. They are handed over when they change,
which takes no time; the store writes them by itself and leaves out what it has already.

What is left of an earlier run belongs to a worker of the same path and type. Where nobody asks for that any more it is forgotten; but one
that was left running is brought back first, with the desired state that it had, to be stopped.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import structlog

from setpoint.control.agenda import Agenda
from setpoint.control.comparing import digest
from setpoint.control.family import Family, Left
from setpoint.control.record import Record
from setpoint.control.standing import Identity, Memory, Seen, Standing, definition_of
from setpoint.control.worker import ChildSpec
from setpoint.machine import Machine, content_hash, elapsed, to_dict
from setpoint.store import Documents, Store

log = structlog.get_logger(__name__)


class Remembering:
    """Between the table of workers and a store. Without a store nothing is remembered, and nothing is spent on it."""

    def __init__(self, agenda: Agenda, family: Family, store: Store | None) -> None:
        self._agenda = agenda
        self._family = family
        self._store = store
        self._hashes: dict[int, tuple[Machine, str]] = {}
        self._before = _memories(store) if store is not None else {}
        self._below: dict[str, list[str]] = {}  # paths of what is remembered, by that of the parent
        for path, memory in self._before.items():
            self._below.setdefault(memory.identity.parent, []).append(path)
        family.added = self._added
        family.forgotten = self._forget
        family.ran_before = self._ran_before
        family.left_running = self._left_running
        family.given_up = self._give_up

    def desired(self, record: Record) -> None:
        """Another desired state is in force."""
        if self._store is not None:
            self._store.put(record.path, "desired", record.desired, at=self._agenda.wall, secrets=record.secrets)

    def observed(self, record: Record) -> None:
        """What it observed has changed, or whether it could."""
        if self._store is not None:
            seen = Seen(record.observed, record.error)
            self._store.put(record.path, "observed", seen, at=self._agenda.wall, secrets=record.secrets)

    def standing(self, record: Record) -> None:
        """Where it stands, if that has changed since it was last told."""
        if self._store is None:
            return
        told = (record.position, record.seen_generation, record.paused, record.disabled)
        if told == record.remembered:
            return
        record.remembered = told
        standing = self._standing(record) if record.alive else self._not_yet_standing(record)
        if standing is not None:
            self._store.put(record.path, "state", standing, at=self._agenda.wall)

    def only(self, parent: Record | None, names: Collection[str]) -> None:
        """Only these children are asked for: of others, what was left running is stopped, and the rest forgotten."""
        left = self._below.get(parent.path if parent else "", [])
        for path in [path for path in left if path in self._before]:
            name = self._before[path].identity.name
            if name in names or path in self._family.table:
                continue
            if self._before[path].left_running:
                self._family.bring_back(parent, name, _left(self._before[path]))
            else:
                self._give_up(path)

    # what the family tells and asks

    def _added(self, record: Record) -> None:
        """A row is new: what operators told the worker before is still so, and it may go on where it was."""
        if self._store is None:
            return
        parent = record.parent.path if record.parent else ""
        self._store.put(record.path, "identity", Identity(record.type, record.name, parent), at=self._agenda.wall)
        memory = self._before.pop(record.path, None)
        if memory is None or memory.standing.finished or memory.identity.type != record.type:
            return
        was = memory.standing
        if was.state:
            record.memory = memory
            self._store.put(record.path, "state", memory.moved_on(self._agenda.wall), at=self._agenda.wall)
        record.started = not was.at_rest
        record.paused, record.disabled = was.paused, was.disabled
        record.transitions, record.starts, record.generation = was.transitions, was.starts, was.generation

    def _ran_before(self, path: str, spec: ChildSpec) -> bool:
        memory = self._before.get(path)
        return memory is not None and memory.standing.finished and memory.standing.asked == _asked(spec)

    def _left_running(self, path: str, spec: ChildSpec) -> Left | None:
        memory = self._before.get(path)
        if memory is None or memory.identity.type == spec.worker_type or not memory.left_running:
            return None
        return _left(memory)

    def _forget(self, record: Record) -> None:
        """The worker is gone for good; its history stays, and if it asked for that, that it did."""
        if self._store is None:
            return
        for path in self._below.get(record.path, []):
            self._give_up(path)
        if record.finished:
            finished = Standing(state=record.state, finished=True, asked=_asked(record.given), starts=record.starts)
            self._store.put(record.path, "state", finished, at=self._agenda.wall)
        else:
            self._store.drop(record.path)

    def _give_up(self, path: str) -> None:
        """What is remembered of a worker, and of all below it, counts no longer."""
        if self._store is not None:
            self._before.pop(path, None)
            self._store.drop(path)
            for child in self._below.get(path, []):
                if child in self._before:
                    self._give_up(child)

    # what is written

    def _not_yet_standing(self, record: Record) -> Standing | None:
        """Of a worker that is not alive: what operators told it, beside what was known before; None where that is nothing new."""
        memory = record.memory
        was = memory.moved_on(self._agenda.wall) if memory is not None else Standing(at=self._agenda.wall)
        if record.state == "removed" or (record.paused, record.disabled) == (was.paused, was.disabled):
            return None
        return msgspec.structs.replace(was, paused=record.paused, disabled=record.disabled)

    def _standing(self, record: Record) -> Standing:
        assert record.worker is not None
        machine = record.worker.machine
        stored = elapsed(machine, record.position, self._agenda.now)
        return Standing(
            machine=machine.name,
            version=machine.version,
            hash=self._hash(machine),
            state=stored["state"],
            since=record.since,
            in_state=stored["in_state"],
            clocks=stored["clocks"],
            at=self._agenda.wall,
            generation=record.generation,
            transitions=record.transitions,
            starts=record.starts,
            paused=record.paused,
            disabled=record.disabled,
            at_rest=record.at_rest,
        )

    def _hash(self, machine: Machine) -> str:
        """The machine's content hash; what it stands for is kept with the first use."""
        known = self._hashes.get(id(machine))
        if known is None:
            known = self._hashes[id(machine)] = (machine, content_hash(machine))
            assert self._store is not None
            self._store.keep_machine(known[1], to_dict(machine))
        return known[1]


def _asked(spec: ChildSpec) -> str:
    return digest([spec.worker_type, spec.spec, dict(spec.variables)])


def _left(memory: Memory) -> Left:
    return Left(memory.identity.type, memory.desired)


def _memories(store: Store) -> dict[str, Memory]:
    """What the store has of each worker. What cannot be read counts as not remembered, and is said."""
    found: dict[str, Memory] = {}
    machines: dict[str, Machine | None] = {}
    for path, documents in store.load().items():
        try:
            found[path] = _memory(store, documents, machines)
        except (KeyError, msgspec.ValidationError) as error:
            log.warning("what is stored of a worker cannot be read; it begins anew", path=path, why=str(error))
    return found


def _memory(store: Store, documents: Documents, machines: dict[str, Machine | None]) -> Memory:
    identity = msgspec.convert(documents["identity"].value, Identity)
    standing = msgspec.convert(documents["state"].value, Standing) if "state" in documents else Standing()
    desired = documents["desired"].value if "desired" in documents else None
    alive_at = standing.at if store.alive_at is None else store.alive_at
    if standing.hash not in machines:
        machines[standing.hash] = definition_of(store.machine(standing.hash))
    return Memory(identity, standing, desired, machines[standing.hash], alive_at)

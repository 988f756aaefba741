"""Remembering: what the store is told of each worker, and what an earlier run of the agent left there.

Four documents a worker: its identity, its desired state, what it observed, and where it stands. They are handed over when they change,
which takes no time; the store writes them by itself and leaves out what it has already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from setpoint.control.agenda import Agenda
from setpoint.control.record import Record
from setpoint.control.standing import Identity, Memory, Seen, Standing
from setpoint.control.worker import ChildSpec
from setpoint.machine import Machine, MachineError, content_hash, elapsed, load, to_dict
from setpoint.store import Documents, Store

log = structlog.get_logger(__name__)


class Remembering:
    """Between the table of workers and a store. Without a store nothing is remembered, and nothing is spent on it."""

    def __init__(self, agenda: Agenda, store: Store | None) -> None:
        self._agenda = agenda
        self._store = store
        self._hashes: dict[int, tuple[Machine, str]] = {}
        self._before = _memories(store) if store is not None else {}

    def added(self, record: Record) -> None:
        """A row is new: what operators told the worker before is still so, and it may go on where it was."""
        if self._store is None:
            return
        parent = record.parent.path if record.parent else ""
        identity = Identity(record.type, record.name, parent, digest(record.given))
        self._store.put(record.path, "identity", identity, at=self._agenda.wall)
        memory = self._before.pop(record.path, None)
        if memory is not None and not memory.standing.finished:
            was = memory.standing
            record.memory = memory if was.state else None
            record.paused, record.disabled = was.paused, was.disabled
            record.transitions, record.starts, record.generation = was.transitions, was.starts, was.generation

    def ran_before(self, path: str, spec: ChildSpec) -> bool:
        """Whether a worker with this spec asked for its own removal in an earlier run of the agent."""
        memory = self._before.get(path)
        return memory is not None and memory.standing.finished and memory.asked == digest(spec)

    def desired(self, record: Record) -> None:
        """Another desired state is in force."""
        if self._store is not None:
            self._store.put(record.path, "desired", record.desired, at=self._agenda.wall)

    def observed(self, record: Record) -> None:
        """What it observed has changed, or whether it could."""
        if self._store is not None:
            self._store.put(record.path, "observed", Seen(record.observed, record.error), at=self._agenda.wall)

    def standing(self, record: Record) -> None:
        """Where it stands, if that has changed since it was last told."""
        if self._store is None or record.worker is None or not (record.alive or record.finished):
            return
        told = (record.position, record.seen_generation, record.paused, record.disabled, record.finished)
        if told != record.remembered:
            record.remembered = told
            self._store.put(record.path, "state", self._standing(record), at=self._agenda.wall)

    def forget(self, record: Record) -> None:
        """The worker is gone for good; its history stays. That one has finished is remembered."""
        if self._store is not None and not record.finished:
            self._store.drop(record.path)

    def only(self, wanted: set[str], below: str) -> None:
        """Of the workers right below a path only these are asked for any more: what is remembered of others is over."""
        if self._store is None or not self._before:
            return
        for path in [path for path in self._before if path.startswith(below)]:
            if not any(path == each or path.startswith(f"{each}/") for each in wanted):
                del self._before[path]
                self._store.drop(path)

    def _standing(self, record: Record) -> Standing:
        assert record.worker is not None
        machine, now = record.worker.machine, self._agenda.now
        stored: dict[str, Any] = elapsed(machine, record.position, now) if record.alive else {"state": record.state}
        return Standing(
            machine=machine.name,
            version=machine.version,
            hash=self._hash(machine),
            state=stored["state"],
            since=record.since,
            in_state=stored.get("in_state", 0.0),
            clocks=stored.get("clocks", {}),
            at=self._agenda.wall,
            generation=record.generation,
            transitions=record.transitions,
            starts=record.starts,
            paused=record.paused,
            disabled=record.disabled,
            finished=record.finished,
        )

    def _hash(self, machine: Machine) -> str:
        """The machine's content hash; what it stands for is kept with the first use."""
        known = self._hashes.get(id(machine))
        if known is None:
            known = self._hashes[id(machine)] = (machine, content_hash(machine))
            assert self._store is not None
            self._store.keep_machine(known[1], to_dict(machine))
        return known[1]


def digest(spec: ChildSpec) -> str:
    """A short text that differs where what is asked of a child differs."""
    text = repr((spec.worker_type, spec.spec, sorted(spec.variables.items())))
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=12).hexdigest()


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
    alive_at = standing.at if store.alive_at is None else store.alive_at
    if standing.hash not in machines:
        machines[standing.hash] = _definition(store.machine(standing.hash))
    return Memory(standing, identity.asked, machines[standing.hash], alive_at)


def _definition(kept: Mapping[str, Any] | None) -> Machine | None:
    """The machine as it was. One whose guards cannot be had any more is as good as none: it is used to say what has changed."""
    if kept is None:
        return None
    try:
        return load(dict(kept))
    except (MachineError, LookupError, ValueError, TypeError):
        return None

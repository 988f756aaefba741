"""Family: which workers there are. A flat table by path; parents want children by name, and the table follows.

A child that is no longer wanted is told to stop, and removed once it is at rest. One that is wanted again in time simply goes on. One
whose type changed is replaced when the old one is gone. A child that cannot be made (unknown type, failing constructor) is a row like any
other, with its reason, tried again for ever; its siblings never wait for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from setpoint.control.agenda import Abandon, Agenda, Close
from setpoint.control.record import Record
from setpoint.control.worker import ChildSpec


class Family:
    """The table of all workers of one supervisor."""

    def __init__(self, agenda: Agenda, root: str) -> None:
        self._agenda = agenda
        self.root = root
        self.table: dict[str, Record] = {}
        self._top: dict[str, str] = {}
        self._top_specs: dict[str, ChildSpec] = {}
        self._readers: dict[str, set[str]] = {}

    def want_at_top(self, specs: Sequence[ChildSpec]) -> None:
        """Set the workers without a parent. Raises `ValueError` when two have the same name, or one the path of another's child."""
        self._refuse_clashes(None, specs)
        self._top_specs = {spec.name: spec for spec in specs}
        self._follow(None, self._top, specs)

    def want(self, parent: Record, specs: Sequence[ChildSpec]) -> None:
        """Set the children of a worker. Raises `ValueError` when two have the same name, or one the path of another worker."""
        self._refuse_clashes(parent, specs)
        self._follow(parent, parent.children, specs)

    def _refuse_clashes(self, parent: Record | None, specs: Sequence[ChildSpec]) -> None:
        doubles = sorted(name for name, count in Counter(spec.name for spec in specs).items() if count > 1)
        if doubles:
            raise ValueError(
                f"two children have the same name: {', '.join(doubles)}; names are unique under one parent"
            )
        for spec in specs:
            other = self.table.get(self._path(parent, spec.name))
            if other is not None and other.parent is not parent:
                raise ValueError(f"the name {spec.name!r} would be the path of another worker: {other.path}")

    def _path(self, parent: Record | None, name: str) -> str:
        return f"{parent.path if parent else self.root}/{name}"

    def _follow(self, parent: Record | None, present: dict[str, str], specs: Sequence[ChildSpec]) -> None:
        wanted = {spec.name: spec for spec in specs}
        for name, path in present.items():
            if name not in wanted:
                self._remove(self.table[path])
        for spec in specs:
            record = self.table.get(present.get(spec.name, ""))
            if record is None:
                self._add(parent, present, spec)
            elif record.type != spec.worker_type:
                self._remove(record)  # its place is taken by the new one when it is gone
            else:
                self._update(record, spec)

    def _add(self, parent: Record | None, present: dict[str, str], spec: ChildSpec) -> None:
        path = self._path(parent, spec.name)
        record = Record(
            path, spec.name, spec.worker_type, parent, spec.spec, spec.enabled, dict(spec.reads), spec.needs
        )
        record.since, record.born_at = self._agenda.wall, self._agenda.now
        record.position = record.position._replace(entered_at=record.born_at)
        self.table[path] = record
        present[spec.name] = path
        self._set_readers(record, {}, record.reads)
        self._agenda.mark(record)
        self.announce(record)

    def _update(self, record: Record, spec: ChildSpec) -> None:
        if spec.spec != record.spec:
            record.spec = spec.spec
            record.spec_changed = True
            record.generation += 1
            record.circuit.try_now(self._agenda.now)
        elif not record.removing and (spec.enabled, spec.reads, spec.needs) == (
            record.enabled,
            record.reads,
            record.needs,
        ):
            return
        self._set_readers(record, record.reads, spec.reads)
        record.reads, record.peers = dict(spec.reads), None
        record.enabled, record.removing, record.needs = spec.enabled, False, spec.needs
        self._agenda.mark(record)

    def _remove(self, record: Record) -> None:
        if not record.removing:
            record.removing = True
            self._agenda.mark(record)

    def remove_children(self, record: Record) -> None:
        """A worker that is being removed takes its children with it."""
        for path in record.children.values():
            self._remove(self.table[path])

    def forget(self, record: Record) -> None:
        """The worker is removed: drop its row, and let whoever wants its name have it."""
        del self.table[record.path]
        self._agenda.unmark(record)
        self._set_readers(record, record.reads, {})
        for token in (record.observing, *(running.token for running in record.running.values())):
            if token:
                self._agenda.emit(Abandon(token))
        if record.worker is not None:
            self._agenda.emit(Close(record.path, record.worker))
        self.announce(record)
        if record.parent is None:
            del self._top[record.name]
            if (spec := self._top_specs.get(record.name)) is not None:
                self._add(None, self._top, spec)  # one of another type waited for the name
        else:
            del record.parent.children[record.name]
            record.parent.children_due = True

    def announce(self, record: Record) -> None:
        """The worker's fact changed: whoever sees it looks again."""
        if record.parent is not None:
            self._agenda.mark(record.parent)
        for path in self._readers.get(record.path, ()):
            reader = self.table.get(path)
            if reader is not None:
                self._agenda.mark(reader)

    def announce_observation(self, record: Record) -> None:
        """What the worker observed changed: those look again that see it."""
        others = [self.table.get(path) for path in self._readers.get(record.path, ())]
        for other in (record.parent, *others):
            if other is not None and other.worker is not None and other.worker.sees_observations:
                self._agenda.mark(other)

    def _set_readers(self, record: Record, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        for path in set(before.values()):
            readers = self._readers[path]
            readers.discard(record.path)
            if not readers:
                del self._readers[path]
        for path in after.values():
            self._readers.setdefault(path, set()).add(record.path)

    def plan_shutdown(self) -> None:
        """Set for each worker which others stop before it: those that need it, except around a circle of needs."""
        order = self._order_of_needs()
        for record in self.table.values():
            for needed in record.needs:
                if order.get(needed, len(order)) < order[record.path]:
                    self.table[needed].stops_after |= {record.path}

    def _order_of_needs(self) -> dict[str, int]:
        """Numbers in which needed workers come before those that need them, except around a circle."""
        order: dict[str, int] = {}
        begun: set[str] = set()
        stack = list(self.table)
        while stack:
            path = stack[-1]
            deeper = (
                []
                if path in begun
                else [need for need in self.table[path].needs if need in self.table and need not in begun]
            )
            begun.add(path)
            if deeper:
                stack += deeper
                continue
            stack.pop()
            order.setdefault(path, len(order))
        return order

    def still_needed(self, record: Record) -> bool:
        """Whether a worker that stops before this one has not come to rest, and can still be asked to."""
        waited_for = (self.table[path] for path in record.stops_after if path in self.table)
        return any(not other.at_rest and not other.circuit.open for other in waited_for)

    def children_of(self, record: Record) -> Iterator[Record]:
        return (self.table[path] for path in record.children.values())

    def height(self) -> int:
        """Levels of the tree: 1 when no worker has a child."""
        return max((path.count("/") - self.root.count("/") for path in self.table), default=0)

"""Family: which workers there are. A flat table by path; parents want children by name, and the table follows.

A child that is no longer wanted is told to stop, and removed once it is at rest. One that is wanted again in time simply goes on. One
whose type changed is replaced when the old one is gone. One that asked for its own removal stays away until its spec changes. A child
that cannot be made (unknown type, failing constructor) is a row like any other, with its reason, tried again for ever; its siblings
never wait for it, unless they are to start `after` it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from setpoint.control.agenda import Abandon, Agenda, Close
from setpoint.control.comparing import same
from setpoint.control.record import PUBLIC_SCOPE, Record
from setpoint.control.snapshot import Fact
from setpoint.control.variables import Scope
from setpoint.control.worker import ChildSpec
from setpoint.machine import Position


@dataclass(slots=True)
class Top:
    """The place above all workers: which there are at the top, which were asked for, and which asked for their own removal."""

    children: dict[str, str] = field(default_factory=dict)
    gone: dict[str, Fact] = field(default_factory=dict)
    gone_specs: dict[str, ChildSpec] = field(default_factory=dict)
    specs: dict[str, ChildSpec] = field(default_factory=dict)
    circular: frozenset[str] | None = None


class Left(NamedTuple):
    """A worker that an earlier run of the agent left running: its type, and what was wanted of it."""

    type: str
    desired: Any


class Family:
    """The table of all workers of one supervisor. `scope` is what specs may name at the top of the tree."""

    def __init__(self, agenda: Agenda, root: str, scope: Scope = PUBLIC_SCOPE) -> None:
        self._agenda = agenda
        self.root = root
        self.scope = scope
        self.table: dict[str, Record] = {}
        self.added: Callable[[Record], None] = lambda record: None
        """Called for each new row."""
        self.forgotten: Callable[[Record], None] = lambda record: None
        """Called for each row that goes."""
        self.ran_before: Callable[[str, ChildSpec], bool] = lambda path, spec: False
        """Whether a worker that asked for its removal, before the agent was started again, is the one that is asked for."""
        self.left_running: Callable[[str, ChildSpec], Left | None] = lambda path, spec: None
        """What an earlier run of the agent left running at a path, where it is of another type than what is asked for now."""
        self.given_up: Callable[[str], None] = lambda path: None
        """Called when nothing counts any more of one that asked for its removal."""
        self._top = Top()
        self._readers: dict[str, dict[str, None]] = {}  # in an order that is the same in every run

    def want_at_top(self, specs: Sequence[ChildSpec]) -> None:
        """Set the workers without a parent. Raises `ValueError` when two have the same name, or one the path of another's child."""
        self._refuse_clashes(None, specs)
        self._top.specs = {spec.name: spec for spec in specs}
        self._follow(None, specs)

    @property
    def asked_for(self) -> list[ChildSpec]:
        """What was last asked for at the top."""
        return list(self._top.specs.values())

    def want(self, parent: Record, specs: Sequence[ChildSpec]) -> None:
        """Set the children of a worker. Raises `ValueError` when two have the same name, or one the path of another worker."""
        self._refuse_clashes(parent, specs)
        self._follow(parent, specs)

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

    def _follow(self, parent: Record | None, specs: Sequence[ChildSpec]) -> None:
        place = parent or self._top
        wanted = {spec.name: spec for spec in specs}
        for name, path in place.children.items():
            if name not in wanted:
                self._remove(self.table[path])
        for name in [name for name in place.gone if name not in wanted]:
            self._forget_gone(parent, name)
        for spec in specs:
            self._place(parent, spec)

    def _place(self, parent: Record | None, spec: ChildSpec) -> None:
        place = parent or self._top
        record = self.table.get(place.children.get(spec.name, ""))
        if record is None:
            if not same(spec, place.gone_specs.get(spec.name)):
                self._forget_gone(parent, spec.name)
                self._add(parent, spec)
        elif record.type != spec.worker_type:
            self._remove(record)  # its place is taken by the new one when it is gone
        else:
            self._update(record, spec)

    def _forget_gone(self, parent: Record | None, name: str) -> None:
        """One that asked for its removal is asked for anew, or not any more: what is known of it counts no longer."""
        place = parent or self._top
        place.gone.pop(name, None)
        if place.gone_specs.pop(name, None) is not None:
            self.given_up(self._path(parent, name))

    def _add(self, parent: Record | None, spec: ChildSpec) -> None:
        path = self._path(parent, spec.name)
        place = parent or self._top
        if (left := self.left_running(path, spec)) is not None:
            self.bring_back(parent, spec.name, left)  # and when it has stopped, what is asked for now
            return
        if self.ran_before(path, spec):
            place.gone[spec.name] = Fact(path, spec.worker_type, "removed", None, "finished earlier")
            place.gone_specs[spec.name] = spec
            return
        self._row(parent, spec)

    def _row(self, parent: Record | None, spec: ChildSpec) -> Record:
        path, place = self._path(parent, spec.name), parent or self._top
        record = Record(path, parent, spec)
        record.since, record.born_at = self._agenda.wall, self._agenda.now
        record.position = Position(record.state, record.born_at)
        self.table[path] = record
        place.children[spec.name] = path
        place.circular = None
        self._watch(record, set(), record.watched())
        self._agenda.mark(record)
        self.added(record)
        self.announce(record)
        return record

    def bring_back(self, parent: Record | None, name: str, left: Left) -> None:
        """A worker that an earlier run of the agent left running, and that is not asked for any more: it is stopped, and goes."""
        path = self._path(parent, name)
        if path in self.table:
            return
        record = self._row(parent, ChildSpec(name, left.type))
        record.desired, record.derived, record.spec_changed = left.desired, True, False
        record.removing = True

    def _update(self, record: Record, spec: ChildSpec) -> None:
        before = record.given
        if record.finished or (same(spec, before) and not record.removing):
            return  # one that has finished makes way first, for whatever is asked for now
        watched = record.watched()
        (record.parent or self._top).circular = None
        record.given = spec
        if not same(spec.spec, before.spec):
            record.spec_changed = True
            record.generation += 1
            record.circuit.try_now(self._agenda.now)
        if not same(spec.variables, before.variables):
            self._variables_changed(record)
        self._watch(record, watched, record.watched())
        record.children_due = record.children_due or record.removing  # they were about to go with it
        record.peers, record.removing = None, False
        self._agenda.mark(record)

    def _variables_changed(self, record: Record) -> None:
        for each in (record, *self._descendants(record)):
            each.spec_changed = True
            self._agenda.mark(each)

    def _descendants(self, record: Record) -> Iterator[Record]:
        for child in self.children_of(record):
            yield child
            yield from self._descendants(child)

    def scope_of(self, record: Record) -> Scope:
        """What the spec of a worker may name. Raises `SpecError` for variables that cannot be used, its own or those of one above."""
        above = self.scope if record.parent is None else self.scope_of(record.parent)
        return above.below(record.given.variables)

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
        self._watch(record, record.watched(), set())
        for token in (record.observing, *(running.token for running in record.running.values())):
            if token:
                self._agenda.emit(Abandon(token))
        if record.worker is not None:
            self._agenda.emit(Close(record.path, record.worker))
        self.forgotten(record)
        self.announce(record)
        place = record.parent or self._top
        del place.children[record.name]
        if record.finished:
            place.gone[record.name] = record.fact(self._agenda.now, observed=False)
            place.gone_specs[record.name] = record.given
        record.worker = record.desired = record.observed = None  # timers may keep the row for a while
        record.facts = record.peers = None
        if record.parent is not None:
            record.parent.children_due = True
        elif (spec := self._top.specs.get(record.name)) is not None:
            self._place(None, spec)  # another of the name may have waited for it to go

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
        parent = record.parent
        if parent is not None and parent.worker is not None and parent.worker.sees_observations:
            self._agenda.mark(parent)
        for path in self._readers.get(record.path, ()):
            reader = self.table.get(path)
            if reader is not None and reader.worker is not None and reader.worker.sees_observations:
                self._agenda.mark(reader)

    def _watch(self, record: Record, before: set[str], after: set[str]) -> None:
        for path in before - after:
            readers = self._readers[path]
            readers.pop(record.path, None)
            if not readers:
                del self._readers[path]
        for path in after - before:
            self._readers.setdefault(path, {})[record.path] = None

    def waits_for_siblings(self, record: Record) -> tuple[str, str]:
        """Which siblings must start before it and have not, and why that can never be; each "" where there is nothing to say."""
        place = record.parent or self._top
        if circle := self._circle(record):
            return circle, circle
        for name in record.given.after:
            if name in place.gone:
                continue  # it did what it was for
            sibling = self.table.get(place.children.get(name, ""))
            if sibling is None:
                text = f"waits for {name!r} to start, which is not one of its siblings"
                return text, text
            if not sibling.up:
                return f"waits for {name} to start, which is {sibling.state}", ""
        return "", ""

    def _circle(self, record: Record) -> str:
        """How a worker waits for itself; "" when it does not."""
        place = record.parent or self._top
        if place.circular is None:
            after = {name: self.table[path].given.after for name, path in place.children.items()}
            place.circular = frozenset(_never_first(after))
        if record.name not in place.circular:
            return ""
        ways: list[tuple[str, ...]] = [(record.name,)]
        seen: set[str] = set()
        while ways:
            way = ways.pop()
            other = self.table.get(place.children.get(way[-1], ""))
            for name in other.given.after if other else ():
                if name == record.name:
                    return f"waits for itself to start: {' → '.join([*way, name])}"
                if name not in seen:
                    seen.add(name)
                    ways.append((*way, name))
        return ""

    def plan_shutdown(self) -> None:
        """Set for each worker which others stop before it: those that need it or start after it, except around a circle."""
        outlived_by = {record.path: self._outlived_by(record) for record in self.table.values()}
        order = _numbered(outlived_by)
        for path, needs in outlived_by.items():
            for needed in needs:
                if order[needed] < order[path]:
                    self.table[needed].stops_after |= {path}

    def _outlived_by(self, record: Record) -> list[str]:
        place = record.parent or self._top
        siblings = (place.children[name] for name in record.given.after if name in place.children)
        return [path for path in (*record.given.needs, *siblings) if path in self.table]

    def still_needed(self, record: Record) -> bool:
        """Whether a worker that stops before this one has not come to rest, and can still be asked to."""
        waited_for = (self.table[path] for path in record.stops_after if path in self.table)
        return any(not other.at_rest and not other.circuit.open for other in waited_for)

    def waiting_on(self, record: Record) -> list[Record]:
        """Those that may stop, at shutdown, once this one has."""
        return [self.table[path] for path in self._outlived_by(record)]

    def children_of(self, record: Record) -> Iterator[Record]:
        return (self.table[path] for path in record.children.values())

    def looked_at(self, record: Record) -> Iterator[Record]:
        """The workers whose facts it decides on: its children and peers, as far as there are any."""
        paths = (*record.children.values(), *record.given.reads.values())
        return (self.table[path] for path in paths if path in self.table)

    def height(self) -> int:
        """Levels of the tree: 1 when no worker has a child."""
        return max((path.count("/") - self.root.count("/") for path in self.table), default=0)


def _never_first(after: Mapping[str, Sequence[str]]) -> set[str]:
    """The names that come after themselves, or after one that does."""
    left = {name: {other for other in others if other in after} for name, others in after.items()}
    before: dict[str, list[str]] = {}
    for name, others in left.items():
        for other in others:
            before.setdefault(other, []).append(name)
    free = [name for name, others in left.items() if not others]
    while free:
        name = free.pop()
        del left[name]
        for later in before.get(name, ()):
            left[later].discard(name)
            if not left[later]:
                free.append(later)
    return set(left)


def _numbered(outlived_by: dict[str, list[str]]) -> dict[str, int]:
    """Numbers in which those that outlive others come before them, except around a circle."""
    order: dict[str, int] = {}
    begun: set[str] = set()
    stack = list(outlived_by)
    while stack:
        path = stack[-1]
        deeper = [] if path in begun else [other for other in outlived_by[path] if other not in begun]
        begun.add(path)
        if deeper:
            stack += deeper
            continue
        stack.pop()
        order.setdefault(path, len(order))
    return order

"""Planning: what a changed config would cause, from where everything stands now. The same run as a simulation, with nothing that fails.

The tree of the config in force is brought to where the store says its workers stand, over a plant in the condition in which it was last
observed: devices that did not answer do not, flows that ran run. Then the new tree is asked for, and every move from that moment on is the
plan. How long such a step took before is known from the store's transitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from setpoint.agent.rehearsal.plant import Address, ModelEngine, Plant
from setpoint.agent.rehearsal.scene import StandIns, address_text, addresses, flows_in, registry_over
from setpoint.agent.tree import BROKER, CONTAINER_MONITOR, ROOT
from setpoint.control import ChildSpec
from setpoint.control.views import reason_text
from setpoint.machine import Phase
from setpoint.services import HostFigures
from setpoint.store import Documents, MemoryStore, Step, Store
from setpoint.testing.simulation import Move, Scene, Simulation
from setpoint.workers.bridge import BridgeSpec
from setpoint.workers.topic_browser import TopicBrowserSpec

QUIET_S = 70.0
"""So long without a move, and nothing more is to be expected: longer than any window of the machines."""
AT_MOST_S = 1800.0
REST = (Phase.HEALTHY, Phase.STOPPED)
NOT_RUNNING = ("", "stopped", "starting", "creating", "to_be_created")
"""Stored states of a flow or of the broker in which there is nothing outside that runs."""


class Planned(NamedTuple):
    """One move that would be made, `after` seconds from the change. `before` says how long such a step took before: for so long a worker,
    this one or another of its type, stayed in `source`. None where that is not known."""

    after: float
    path: str
    source: str
    target: str
    event: str
    reason: str
    phase: str
    before: Step | None


class Blocked(NamedTuple):
    """A worker that would not get to where it is wanted, where it would be instead, and why."""

    path: str
    state: str
    why: str


class Planning(NamedTuple):
    """The whole plan. `settings` are items that would take new settings without a move."""

    moves: Sequence[Planned]
    blocked: Sequence[Blocked]
    settings: Sequence[str]
    assumed: Sequence[str]


def plan_of(
    before: Sequence[ChildSpec],
    after: Sequence[ChildSpec],
    store: Store | None,
    *,
    stand_ins: StandIns = MappingProxyType({}),
) -> Planning:
    """What would happen if `after` were asked for in place of `before`, with the workers standing as the store says.

    `stand_ins` are worker classes in place of those that do real I/O, by worker type. Raises `NotSimulated` where one is missing.
    """
    documents = store.load() if store is not None else {}
    down = _not_answering(before, documents)
    simulation = _standing(before, documents, store, down, stand_ins)
    _until_quiet(simulation)
    known = len(simulation.moves)
    begun = simulation.clock.now
    simulation.want(after)
    _until_quiet(simulation)
    steps = _Steps(store)
    moves = [_planned(move, begun, steps, simulation) for move in simulation.moves[known:]]
    simulation.close()
    changed = _changed(before, after)
    moved = {simulation.neighbours.top_of(move.path) for move in moves} | {_top(move.path, after) for move in moves}
    return Planning(
        moves,
        _blocked(simulation),
        [name for name in changed if name not in moved],
        _assumptions(after, before, down, documents),
    )


def _standing(
    tree: Sequence[ChildSpec],
    documents: Mapping[str, Documents],
    store: Store | None,
    down: Iterable[Address],
    stand_ins: StandIns,
) -> Simulation:
    """The present, rebuilt: the workers as remembered, over a plant as last observed."""
    plant = Plant()
    plant.host = _host_found(documents) or plant.host
    engine = ModelEngine(plant)
    for address in down:
        plant.down[address] += 1
    plant.broker.is_open = _state(documents, BROKER) not in NOT_RUNNING
    for spec in tree:
        if isinstance(spec.spec, TopicBrowserSpec) and _state(documents, f"{ROOT}/{spec.name}") not in NOT_RUNNING:
            plant.browser.limits = spec.spec.limits
    scene = Scene(lambda: registry_over(plant, engine, stand_ins), tree, root=ROOT)
    simulation = Simulation(lambda rng: scene, faults=(), store=_copy(documents, store))
    with simulation.clock.running():
        for path, config, bridged_by in flows_in(tree):
            if _state(documents, path) not in NOT_RUNNING:
                engine.begin(path, config, bridged_by=bridged_by)
    return simulation


def _copy(documents: Mapping[str, Documents], store: Store | None) -> MemoryStore:
    """What the store remembers, in memory: the run must not write."""
    memory = MemoryStore()
    for path, kinds in documents.items():
        for kind, document in kinds.items():
            memory.put(path, kind, document.value, at=document.at)
        hash = _field(kinds, "state", "hash")
        definition = store.machine(hash) if store is not None and hash else None
        if definition is not None:
            memory.keep_machine(hash, definition)
    copy = memory.reopened()
    copy.alive_at = max((document.at for kinds in documents.values() for document in kinds.values()), default=0.0)
    return copy


def _until_quiet(simulation: Simulation) -> None:
    end = simulation.clock.now + AT_MOST_S
    moved_at = simulation.clock.now
    while simulation.clock.now < min(end, moved_at + QUIET_S):
        known = len(simulation.moves)
        simulation.advance(simulation.clock.now + 1.0)
        if len(simulation.moves) > known:
            moved_at = simulation.clock.now


def _planned(move: Move, begun: float, steps: _Steps, simulation: Simulation) -> Planned:
    record = simulation.record(move.path)
    step = None
    if record is not None and record.worker is not None:
        source = record.worker.machine.by_name.get(move.source)
        if source is None or source.phase not in REST:  # how long it was at rest says nothing about the step
            step = steps.of(move, record.type)
    return Planned(
        round(move.at - begun, 2), move.path, move.source, move.target, move.event, move.reason, move.phase, step
    )


class _Steps:
    """How long steps took before, of the worker itself or else of its type."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Sequence[Step]] = {}

    def of(self, move: Move, type: str) -> Step | None:
        for path, of_type in ((move.path, ""), ("", type)):
            for step in self._typical(path, of_type) if path or of_type else ():
                if (step.source, step.event, step.target) == (move.source, move.event, move.target):
                    return step
        return None

    def _typical(self, path: str, type: str) -> Sequence[Step]:
        if self._store is None:
            return ()
        if (path, type) not in self._known:
            self._known[path, type] = self._store.typical(path=path, type=type)
        return self._known[path, type]


def _blocked(simulation: Simulation) -> list[Blocked]:
    found = []
    for path, record in sorted(simulation.core.family.table.items()):
        target = Phase.HEALTHY if record.wanted else Phase.STOPPED
        if record.phase is not target and (record.wanted or record.alive):
            found.append(Blocked(path, record.state, reason_text(record)))
    return found


def _changed(before: Sequence[ChildSpec], after: Sequence[ChildSpec]) -> list[str]:
    """The items that are asked for in another way, that come or that go."""
    old, new = ({spec.name: spec for spec in tree} for tree in (before, after))
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def _top(path: str, tree: Sequence[ChildSpec]) -> str:
    below = path.removeprefix(f"{ROOT}/")
    return next((spec.name for spec in tree if f"{below}/".startswith(f"{spec.name}/")), below)


def _not_answering(tree: Sequence[ChildSpec], documents: Mapping[str, Documents]) -> list[Address]:
    """The devices that did not answer when their connection was last observed."""
    found = []
    for spec in tree:
        if isinstance(spec.spec, BridgeSpec):
            seen = _field(documents.get(f"{ROOT}/{spec.name}/connection", {}), "observed", "value")
            if isinstance(seen, Mapping) and seen.get("answer") not in ("open", "not probed"):
                found.append((spec.spec.target, spec.spec.port))
    return found


def _host_found(documents: Mapping[str, Documents]) -> HostFigures | None:
    """The host as it was last observed; None where nobody knows."""
    seen = _field(documents.get(CONTAINER_MONITOR, {}), "observed", "value")
    try:
        return msgspec.convert(seen["figures"], HostFigures)
    except (KeyError, TypeError, msgspec.ValidationError):
        return None


def _assumptions(
    after: Sequence[ChildSpec], before: Sequence[ChildSpec], down: Sequence[Address], documents: Mapping[str, Documents]
) -> list[str]:
    known = addresses(before) if documents else []
    texts = ["every action succeeds", "flows carry messages as soon as they are connected"]
    if any(isinstance(spec.spec, BridgeSpec) and spec.spec.gate is not None for spec in after):
        texts.append(
            "the host is as full as now" if _host_found(documents) else "the host has room (nobody has looked)"
        )
    for address in addresses(after):
        if address in down:
            texts.append(f"device {address_text(address)} does not answer, as now")
        elif address in known:
            texts.append(f"device {address_text(address)} answers, as now")
        else:
            texts.append(f"device {address_text(address)} answers (nobody has tried)")
    return texts


def _state(documents: Mapping[str, Documents], path: str) -> str:
    return str(_field(documents.get(path, {}), "state", "state"))


def _field(kinds: Documents, kind: Any, name: str) -> Any:
    document = kinds.get(kind)
    return document.value.get(name, "") if document is not None and isinstance(document.value, Mapping) else ""

"""Stand-ins: workers with the states of another one and a mind of their own, for the children and siblings of a worker under test.

    connection = stand_in(Connection, "up")
    async with Stage(Bridge, spec, types={"connection": connection, …}) as stage:
        await stage.reaches("idle")
        connection.go("down", because="no answer from plc:502")
        await stage.reaches("degraded_connection")

A stand-in goes at once where it is told, with the reason it is told, and to its first stopped state when it is told to stop: what the
worker under test sees of it are real facts from the real runtime.
"""

from __future__ import annotations

from typing import Any

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Machine, Phase, State, guard
from setpoint.testing.sources import Source, class_of


class Told(Observation, frozen=True):
    """Where a stand-in was told to be, and why; for parents that look at what others observe, with the fields of `told_observed`."""

    told_state: str = ""
    told_because: str = ""
    told_observed: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.told_observed, name)


Seen = Snapshot[Any, Told]


class StandIn:
    """Makes the stand-ins of one worker type, and tells them where to be."""

    def __init__(self, worker: Source, state: str) -> None:
        self._class = _told_class(class_of(worker).machine)
        self._made: list[Worker[Any, Any, Any]] = []
        self._told = Told()
        self.go(state)

    @property
    def __name__(self) -> str:
        return f"stand_in_of_{self._class.machine.name}"

    def go(self, state: str, *, because: str = "", observed: Any = None) -> None:
        """Be in this state while wanted, for this reason, and observe this. Raises `ValueError` for a state that the type does not have."""
        known = self._class.machine.by_name
        if state not in known:
            raise ValueError(f"machine {self._class.machine.name!r} has no state {state!r}; it has {', '.join(known)}")
        self._told = Told(state, because or "the test says so", observed)
        for worker in self._made:
            worker.context.observe()

    def __call__(self) -> Worker[Any, Any, Any]:
        """A stand-in."""
        worker = self._class()

        async def look(desired: Any) -> Told:
            return self._told

        vars(worker)["collect_observed_state"] = look
        self._made.append(worker)
        return worker


def stand_in(worker: Source, state: str) -> StandIn:
    """Make stand-ins with the states of a worker class, which begin in `state` as soon as they are wanted.

    Raises `ValueError` when that is none of its states, or none of them is a stopped one.
    """
    return StandIn(worker, state)


def _told_class(machine: Machine) -> type[Worker[Any, Any, Any]]:
    """A worker class with the states of a machine, and arcs that only do as told."""
    states = {
        state.name: State(state.phase, name=state.name, reason=lambda s: s.observed.told_because)
        for state in machine.states
    }
    rest = next((state for state in states.values() if state.phase is Phase.STOPPED), None)
    if rest is None:
        raise ValueError(f"machine {machine.name!r} has no stopped state, so nobody can stand in for it")
    arcs = []
    for target in states.values():
        told = wanted & _told_to(target.name)
        arcs += [
            source.to(target, on=f"told_{target.name}", when=told) for source in states.values() if source != target
        ]
    arcs += [source.to(rest, on="stop", when=~wanted) for source in states.values() if source != rest]
    body = {**states, "arcs": arcs, "machine_name": machine.name, "interval": 1.0}
    return type("StandInWorker", (Worker,), body)


def _told_to(name: str) -> Any:
    @guard(name=f"told_to_be_{name}")
    def told(s: Seen) -> bool:
        "it was told to be there"
        return bool(s.observed.told_state == name)

    return told

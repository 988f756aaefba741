"""The kinds of faults: what each does to a run while it lasts. Each is a function that begins it and returns what ends it.

    eyes       observations fail, hang, get lost, are slow, old, or garbage
    hands      actions fail, hang, are slow, say they failed although they worked, or say they worked although they did nothing
    code       the worker's own code raises: deciding, deriving what is wanted, naming children
    agent      it is killed in the middle of what it does; the wall clock jumps; workers push bursts of observations
    wishes     a worker is removed, renamed, given another type, stopped, disabled
    operator   pause, disable, restart, retry, force

These befall any worker. What can befall the world behind the workers is for the scene to say (`Trouble`). Faults of eyes and hands are
coroutines around the worker's own; the latest one counts. Wishes and operator's verbs change what is asked for, not how well the world
obeys: workers under them are judged as ever, from the moment of the change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from setpoint.control import ChildSpec, NotPossible, Observation, Verb
from setpoint.testing.simulation.calls import FOREVER, pause
from setpoint.testing.simulation.faults import Fault
from setpoint.testing.simulation.scene import Heal

if TYPE_CHECKING:
    from setpoint.testing.simulation.simulation import Simulation

Run = Callable[[], Coroutine[Any, Any, Any]]
Around = Callable[[Run], Coroutine[Any, Any, Any]]
Begin = Callable[["Simulation", Fault], Heal]


class Kind(NamedTuple):
    """One kind. `befalls` says what its targets are; `world` whether the world around the target is not to be relied on meanwhile."""

    group: str
    begin: Begin
    befalls: Literal["worker", "top", "agent"] = "worker"
    world: bool = True


class Injected(Exception):
    """What injected faults raise."""


class Poison(Observation, frozen=True):
    """An observation that cannot be read: whatever decides on it raises."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Injected(f"{name} cannot be read")


class Other(Observation, frozen=True):
    """An observation of a type that nobody expects."""


def _nothing() -> None:
    return None


# calls that go wrong


async def _fails(run: Run) -> NoReturn:
    raise Injected("it fails")


async def _fails_late(run: Run) -> NoReturn:
    await run()
    raise Injected("it worked, and says it failed")


async def _lost(run: Run) -> None:
    await pause(FOREVER)


async def _hangs(run: Run) -> None:
    while True:
        try:
            await pause(FOREVER)
        except asyncio.CancelledError:
            continue  # it does not listen


async def _does_nothing(run: Run) -> None:
    await pause(0.1)


def _slow(most: float) -> Callable[[float], Around]:
    def at_level(level: float) -> Around:
        async def slow(run: Run) -> Any:
            await pause(most * level)
            return await run()

        return slow

    return at_level


GARBAGE: tuple[Any, ...] = (None, 42, "text", object(), {"a": 1}, float("nan"), Observation, [[]] * 10_000, Other())


def _garbage(level: float) -> Around:
    async def garbage(run: Run) -> Any:
        return GARBAGE[int(level * len(GARBAGE)) % len(GARBAGE)]

    return garbage


async def _poison(run: Run) -> Poison:
    return Poison()


def _always(around: Around) -> Callable[[float], Around]:
    return lambda level: around


def _eyes(at_level: Callable[[float], Around]) -> Begin:
    return _around("eyes", at_level)


def _hands(at_level: Callable[[float], Around]) -> Begin:
    return _around("hands", at_level)


def _around(attribute: str, at_level: Callable[[float], Around]) -> Begin:
    def begin(sim: Simulation, fault: Fault) -> Heal:
        watch, around = sim.neighbours.watch(fault.target), at_level(fault.level)
        setattr(watch, attribute, around)

        def heal() -> None:
            if getattr(watch, attribute) is around:
                setattr(watch, attribute, None)

        return heal

    return begin


def _old(sim: Simulation, fault: Fault) -> Heal:
    """What is seen is what was seen when the fault began."""
    record = sim.record(fault.target)
    if record is None or not record.has_observed:
        return _nothing
    seen = record.observed

    async def old(run: Run) -> Any:
        return seen

    return _around("eyes", _always(old))(sim, fault)


# code that raises


def _raises(method: str) -> Begin:
    def begin(sim: Simulation, fault: Fault) -> Heal:
        record = sim.record(fault.target)
        worker: Any = record.worker if record is not None else None
        if worker is None:
            return _nothing

        def raising(*_: object) -> NoReturn:
            raise Injected(f"{method} raises")

        setattr(worker, method, raising)
        mend = _edited(sim, fault)  # so that it is called

        def heal() -> None:
            if worker.__dict__.get(method) is raising:
                delattr(worker, method)
            mend()

        return heal

    return begin


# the agent


def _kill(sim: Simulation, fault: Fault) -> Heal:
    sim.kill_after(1 + int(fault.level * 20))
    return _nothing


def _clock_jump(sim: Simulation, fault: Fault) -> Heal:
    days = (fault.level - 0.5) * 60
    sim.clock.offset += days * 86_400
    return _nothing


def _push(sim: Simulation, fault: Fault) -> Heal:
    record = sim.record(fault.target)
    if record is not None and record.has_observed:
        for _ in range(int(10 ** (1 + 2 * fault.level))):
            sim.carrier.pushed(fault.target, record.observed)
    return _nothing


# wishes


def _wish(change: Callable[[ChildSpec], ChildSpec | None]) -> Begin:
    """Change one spec at the top until the fault heals."""
    return lambda sim, fault: sim.change(sim.neighbours.top_of(fault.target), change)


def _edited(sim: Simulation, fault: Fault) -> Heal:
    return _wish(lambda spec: sim.scene.edit(spec, fault.level))(sim, fault)


# the operator


def _tells(verb: Verb, undo: Verb | None = None) -> Begin:
    def begin(sim: Simulation, fault: Fault) -> Heal:
        _tell(sim, fault, verb)
        return (lambda: _tell(sim, fault, undo)) if undo else _nothing

    return begin


def _tell(sim: Simulation, fault: Fault, verb: Verb) -> None:
    record = sim.record(fault.target)
    if record is None:
        return
    state = ""
    if verb == "force" and record.worker is not None:
        names = list(record.worker.machine.by_name)
        state = names[int(fault.level * len(names)) % len(names)]
    try:
        sim.core.tell(fault.target, verb, why="the simulation", state=state)
    except NotPossible:  # as things are
        return


KINDS: Mapping[str, Kind] = {
    "observe-fails": Kind("eyes", _eyes(_always(_fails))),
    "observe-hangs": Kind("eyes", _eyes(_always(_hangs))),
    "observe-lost": Kind("eyes", _eyes(_always(_lost))),
    "observe-slow": Kind("eyes", _eyes(_slow(5.0))),
    "observe-old": Kind("eyes", _old),
    "observe-garbage": Kind("eyes", _eyes(_garbage)),
    "act-fails": Kind("hands", _hands(_always(_fails))),
    "act-hangs": Kind("hands", _hands(_always(_hangs))),
    "act-slow": Kind("hands", _hands(_slow(40.0))),
    "act-says-failed": Kind("hands", _hands(_always(_fails_late))),
    "act-does-nothing": Kind("hands", _hands(_always(_does_nothing))),
    "decide-raises": Kind("code", _eyes(_always(_poison))),
    "derive-raises": Kind("code", _raises("derive_desired_state"), "top"),
    "children-raises": Kind("code", _raises("children"), "top"),
    "kill": Kind("agent", _kill, "agent"),
    "clock-jump": Kind("agent", _clock_jump, "agent"),
    "push-burst": Kind("agent", _push),
    "edit": Kind("wishes", _edited, "top", world=False),
    "remove": Kind("wishes", _wish(lambda spec: None), "top", world=False),
    "rename": Kind("wishes", _wish(lambda spec: replace(spec, name=f"{spec.name}-renamed")), "top", world=False),
    "retype": Kind("wishes", _wish(lambda spec: replace(spec, worker_type="a-type-that-is-gone")), "top"),
    "disable": Kind("wishes", _wish(lambda spec: replace(spec, enabled=False)), "top", world=False),
    "operator-pause": Kind("operator", _tells("pause", "resume"), world=False),
    "operator-disable": Kind("operator", _tells("disable", "enable"), world=False),
    "operator-restart": Kind("operator", _tells("restart"), world=False),
    "operator-retry": Kind("operator", _tells("retry"), world=False),
    "operator-force": Kind("operator", _tells("force"), world=False),
}
"""Every kind of fault that befalls any worker, by name."""
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS.values()))

"""Laws of a worker that runs: it stops when told to, starts again, comes back after faults; its calls may be repeated and cancelled.

Each is a story on a stage: the real runtime on virtual time, with the worker's own eyes and hands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from setpoint.control import Snapshot
from setpoint.control.intent import stopped_version
from setpoint.machine import Machine, Phase, Position, State, decide
from setpoint.testing.case import Case
from setpoint.testing.faults import KINDS, Faulty, faulty
from setpoint.testing.sources import AnyWorker, make
from setpoint.testing.stage import Stage
from setpoint.testing.virtual import jump_wall, run, virtual_loop

SETTLES_S: Final = 60.0
"""A worker is given so long to come to where it stays."""
RUNS_S: Final = 10.0
"""It is left in peace for so long before a fault comes while it runs."""
FAULT_S: Final = 45.0
CALM_S: Final = 15.0
HEALS_S: Final = 240.0
"""After a fault it is given so long to be where it was: several times the longest pause between two tries."""
STOPS_S: Final = 60.0
CLOCKS: Final[Mapping[str, Callable[[Faulty], object]]] = {
    "the wall clock is set back by a day": lambda faults: jump_wall(-86_400.0),
    "the wall clock is set forward by a day": lambda faults: jump_wall(86_400.0),
    "the machine is suspended for an hour": lambda faults: virtual_loop().freeze(3600.0),
}
"""Faults of time, which are nobody's in particular."""
BEST_FIRST: Final = (Phase.HEALTHY, Phase.DEGRADED, Phase.STARTING, Phase.FAILED, Phase.STOPPING, Phase.STOPPED)


def says_what_is_missing(case: Case) -> Iterator[str]:
    """Made without a spec, as a parent may by mistake."""

    async def story() -> None:
        async with replace(case, spec=None).stage() as stage:
            await asyncio.sleep(RUNS_S)
            record = stage.supervisor.records[stage.path]
            if not record.alive and not record.spec_error and not record.error:
                raise AssertionError(f"without a spec it neither lives nor says what is wrong\n{stage.explanation()}")
            if record.circuit.reason:
                raise AssertionError(f"without a spec its own code raises\n{stage.explanation()}")

    yield from _failed(story)


def stops(case: Case) -> Iterator[str]:
    if not any(state.phase is Phase.STOPPED for state in case.machine.states):
        return

    async def story() -> None:
        async with case.stage() as stage:
            await asyncio.sleep(SETTLES_S)
            stage.want_stopped()
            await stage.reaches(Phase.STOPPED, within=STOPS_S)
            await stage.stays(Phase.STOPPED, for_=SETTLES_S)
            stage.remove()
            await stage.reaches("removed", within=STOPS_S)

    yield from _failed(story)


def starts_again(case: Case) -> Iterator[str]:
    async def story() -> None:
        async with case.stage() as stage:
            phase = await _best_phase(stage)
            if phase is None:
                raise AssertionError(f"it never came to life\n{stage.explanation()}")
            stage.want_stopped()
            await asyncio.sleep(STOPS_S)
            stage.want_running()
            await stage.reaches(phase, within=HEALS_S)

    yield from _failed(story)


def recovers(case: Case) -> Iterator[str]:
    async def undisturbed() -> tuple[Phase | None, float]:
        async with case.stage() as stage:
            phase = await _best_phase(stage)
            first = next((at for at, state in stage.visits if case.machine.by_name[state].phase is phase), 0.0)
            return phase, first + RUNS_S

    phase, settled = run(undisturbed())
    if phase is None:
        yield "it never came to life, without any fault"
        return
    for kind, put in {**KINDS, **CLOCKS}.items():
        for begins in ("before it starts", "while it runs"):
            quiet = 0.0 if begins == "before it starts" else settled
            story = partial(_through_fault, case, put, quiet, phase)
            yield from (f"{kind}, {begins}: {problem}" for problem in _failed(story))


async def _through_fault(case: Case, put: Callable[[Faulty], object], quiet: float, phase: Phase) -> None:
    """Run it into a fault and out again: it has to come to the best phase that it comes to without one."""
    faults = faulty(case.source)
    async with case.stage(faults) as stage:
        await asyncio.sleep(quiet)
        put(faults)
        await asyncio.sleep(FAULT_S)
        faults.heal()
        for _ in range(2):  # at first it may only seem well, by what was known before
            if not await stage.supervisor.until(lambda _: _well(stage, phase), HEALS_S):
                raise AssertionError(
                    f"{HEALS_S:g} s after the fault it is not in the phase {phase} and free to move\n{stage.explanation()}"
                )
            await asyncio.sleep(CALM_S)


def _well(stage: Stage, phase: Phase) -> bool:
    record = stage.supervisor.records.get(stage.path)
    return record is not None and record.phase is phase and (phase is Phase.FAILED or not record.stalled)


async def _best_phase(stage: Stage) -> Phase | None:
    """The best phase it comes through while it settles: one that comes and goes may be in any of them at the end."""
    await asyncio.sleep(SETTLES_S)
    phases = {stage.machine.by_name[state].phase for _, state in stage.visits}
    return next((phase for phase in BEST_FIRST if phase in phases), None)


def repeats(case: Case) -> Iterator[str]:
    async def story() -> None:
        worker, desired = make(case.source), case.desired_now
        for state in sorted(case.machine.states, key=lambda each: each.phase is Phase.STOPPING):
            if state.act:
                await _repeat(case.machine, worker, state, desired)

    yield from _failed(story)


async def _repeat(machine: Machine, worker: AnyWorker, state: State, desired: Any) -> None:
    """Call the action of a state twice: the second call must not raise, and must not change what is decided next."""
    wanted = state.phase is not Phase.STOPPING
    in_force = desired if wanted else stopped_version(desired)
    try:
        await getattr(worker, state.act)(in_force)
        after_one = await _next(machine, worker, state, in_force, wanted=wanted)
    except Exception:  # its world does not obey, which is no matter of repetition
        return
    try:
        await getattr(worker, state.act)(in_force)
    except Exception as error:
        raise AssertionError(
            f"{state.act} works once, and called again raises {type(error).__name__}: {error}"
        ) from error
    after_two = await _next(machine, worker, state, in_force, wanted=wanted)
    if after_one != after_two:
        raise AssertionError(
            f"after {state.act} was called once, {state.name} leads to {after_one}; after twice, to {after_two}"
        )


async def _next(machine: Machine, worker: AnyWorker, state: State, desired: Any, *, wanted: bool) -> str:
    from setpoint.testing.strategies import known

    observed = await worker.collect_observed_state(desired)
    snapshot = Snapshot("stage/worker", desired, observed, state.name, wanted, "", known({}), known({}))
    return decide(machine, Position(state.name, 0.0), snapshot, 0.0).state


def heeds_cancellation(case: Case) -> Iterator[str]:
    async def story() -> None:
        desired = case.desired_now
        names = ["collect_observed_state", *dict.fromkeys(state.act for state in case.machine.states if state.act)]
        for name in names:
            task = asyncio.ensure_future(getattr(make(case.source), name)(desired))
            for _ in range(3):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=5.0)
            if not done:
                raise AssertionError(f"{name} goes on for more than 5 s after it was cancelled")
            if not task.cancelled():
                task.exception()  # what it raised is not the matter here

    yield from _failed(story)


def _failed(story: Callable[[], Any]) -> Iterator[str]:
    """What a story on virtual time fails with; nothing when it does not."""
    try:
        run(story())
    except AssertionError as error:
        yield str(error)

"""The ring on which state-machine libraries are compared, run by Setpoint: our part in a comparison that measures all in one go.

The workload is that of the comparison's harness: a ring of states, one guard that reads a flag and one action that counts, for each
transition; calls are counted and the end state is checked. The harness is the module ``fsm_common``, which is not ours and must be on the
path. Its runner takes this file beside those of the libraries:

    python fsm_run_all.py transitions automat python_statemachine baseline --extra <path of this file>

By itself, with the harness on the path: ``PYTHONPATH=<folder of fsm_common> python benchmarks/peers.py``.

A transition is what a runtime does for one: decide, carry out what belongs to the event, hold the new position. Setpoint's guards are pure
and therefore synchronous; actions may be asynchronous.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fsm_common import Case, main, ring_check

from setpoint.machine import Decision, Machine, Position, State, decide, guard


class Model:
    """What the guard reads and the action changes."""

    def __init__(self) -> None:
        self.guards = self.actions = 0
        self.ok = True
        self.position = Position("a")
        self.trace: list[tuple[str, str, str, str]] = []

    def action(self) -> None:
        self.actions += 1

    async def async_action(self) -> None:
        self.actions += 1


@guard
def allowed(model: Model) -> bool:
    "the flag is set"
    model.guards += 1
    return model.ok


def ring(names: list[str]) -> Machine:
    """Each state leads to the next, the last to the first."""
    states = [State(name=name) for name in names]
    return Machine(
        "ring", states, [a.to(b, on="step", when=allowed) for a, b in zip(states, states[1:] + states[:1], strict=True)]
    )


THREE = ring(["a", "b", "c"])
MANY = ring([f"s{number}" for number in range(300)])

Made = tuple[Callable[[int], Any], Callable[[int], None]]


def plain(machine: Machine) -> Made:
    """Decide, act, hold the position."""
    model = Model()
    model.position = Position(machine.initial)
    actions = {"step": model.action}

    def run(n: int) -> None:
        position = model.position
        for _ in range(n):
            decision = decide(machine, position, model, 0.0)
            if decision.arc is not None:
                actions[decision.arc.event]()
                position = Position(decision.state, 0.0)
        model.position = position

    return run, check(model, machine)


def traced() -> Made:
    """The same, and each transition is recorded with its reason."""
    model = Model()
    actions = {"step": model.action}

    def record(source: str, decision: Decision, event: str) -> None:
        model.trace.append((source, event, decision.state, decision.reason))

    def run(n: int) -> None:
        position = model.position
        for _ in range(n):
            decision = decide(THREE, position, model, 0.0)
            if decision.arc is not None:
                record(position.state, decision, decision.arc.event)
                actions[decision.arc.event]()
                position = Position(decision.state, 0.0)
        model.position = position

    def checked(n: int) -> None:
        check(model, THREE)(n)
        if len(model.trace) != n:
            raise AssertionError(f"{len(model.trace)} transitions were recorded of {n}")

    return run, checked


def asynchronous() -> Made:
    """The action is awaited."""
    model = Model()
    actions: dict[str, Callable[[], Awaitable[None]]] = {"step": model.async_action}

    async def run(n: int) -> None:
        position = model.position
        for _ in range(n):
            decision = decide(THREE, position, model, 0.0)
            if decision.arc is not None:
                await actions[decision.arc.event]()
                position = Position(decision.state, 0.0)
        model.position = position

    return run, check(model, THREE)


def check(model: Model, machine: Machine) -> Callable[[int], None]:
    """The harness's check, which knows three states; the end state of a larger ring is checked here."""

    def checked(n: int) -> None:
        number = list(machine.by_name).index(model.position.state)
        if number != n % len(machine.states):
            raise AssertionError(f"the ring stands at {model.position.state} after {n} transitions")
        ring_check(model, lambda: "abc"[n % 3])(n)

    return checked


main(
    [
        Case("setpoint decide, act, move", partial(plain, THREE)),
        Case("setpoint decide, act, move, 300 states", partial(plain, MANY)),
        Case("setpoint with a recorded trace", traced, cap=1_000_000),
        Case("setpoint with an async action", asynchronous, note="guards are pure, so they are never async"),
    ],
    {"setpoint position": lambda: Position("a", 0.5), "setpoint model and position": Model},
)

"""How a flow's configuration becomes a data machine.

::

    input -received-> <processor> -passed-> … -passed-> output -prepared-> done
                          │ error ↘                       │ error ↘
                          └ dropped → dropped              └──────→ failed

Every message walks it. The function of a processor's state is the processor; that of `output` checks the message and puts it in the form in
which it is written. Messages in `done` are written together, by the engine.

A `switch` is a state with an arc for each case, guarded by its check; its processors are states between it and what follows. A `catch` is a
state that the errors of the processors before it lead to instead of to `failed`; those that did not fail go on behind it. A message that
failed goes from there to the nearest `catch` that follows, in its own list or in one around it: nothing in between touches it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from setpoint.data import DROPPED, FAILED, ON_DROPPED, ON_ERROR
from setpoint.flows.checking import ComponentConfig
from setpoint.flows.config import FlowConfig, parse
from setpoint.flows.pipeline import Case, Catch, Step, Switch, Try, check
from setpoint.machine import ALWAYS, Arc, Machine, State, guard

DONE = "done"
OUTPUT = "output"


class FlowPlan(msgspec.Struct, frozen=True):
    """A checked flow: the configuration as it was given, what was read from it, and the machine its messages walk through."""

    source: Mapping[str, Any]
    config: FlowConfig
    machine: Machine


def compile_flow(source: Mapping[str, Any], *, base: Path | None = None) -> FlowPlan:
    """The checked flow, nothing opened. Raises `FlowConfigError` with all faults at once. `base` is as for `parse`."""
    config = parse(source, base=base)
    return FlowPlan(copy.deepcopy(source), config, _machine(config))


def _machine(config: FlowConfig) -> Machine:
    done = State(name=DONE, final=True, doc="checked and ready to be written")
    failed = State(name=FAILED, final=True, doc="could not be handled; counted with the reason")
    dropped = State(name=DROPPED, final=True, doc="left out on purpose; counted")
    source = State(name="input", doc=f"read from {config.input.kind}")
    sink = State(name=OUTPUT, doc=f"checked for {config.output.kind}")
    laid = Layout(dropped)
    first = laid.steps(config.steps, sink, failed)
    arcs = [source.to(first, on="received"), *laid.arcs, sink.to(done, on="prepared"), sink.to(failed, on=ON_ERROR)]
    return Machine("flow", [source, *laid.states, sink, done, failed, dropped], arcs)


def steps_machine(name: str, steps: Sequence[Step]) -> Machine:
    """A machine of such steps alone: from `in` to `done`, `failed` or `dropped`."""
    start = State(name="in")
    done, failed, dropped = (State(name=end, final=True) for end in (DONE, FAILED, DROPPED))
    laid = Layout(dropped)
    first = laid.steps(steps, done, failed)
    return Machine(name, [start, *laid.states, done, failed, dropped], [start.to(first, on="received"), *laid.arcs])


def _said(number: int, case: Case) -> str:
    """A case for people."""
    text = " ".join(case.check.split()) or "all else"
    return f"case {number} {text if len(text) <= 60 else text[:60] + '…'}"


class Layout:
    """Lays steps out as states and arcs, from the last to the first: each needs to know what follows, and where its errors lead."""

    def __init__(self, dropped: State) -> None:
        self._dropped = dropped
        self.states: list[State] = []
        self.arcs: list[Arc] = []

    def steps(self, steps: Sequence[Step], following: State, caught: State) -> State:
        """Lays out a list that goes on at `following`, and whose errors lead to `caught`; gives the state it begins with."""
        for step in reversed(steps):
            if isinstance(step, Catch):
                caught = self._catch(step, following, caught)
            elif isinstance(step, Try):
                following = self.steps(step.steps, following, caught)
            elif isinstance(step, Switch):
                following = self._switch(step, following, caught)
            else:
                following = self._processor(step, following, caught)
        return following

    def _processor(self, step: ComponentConfig, following: State, caught: State) -> State:
        state = State(name=step.name, doc=step.kind)
        passed = state.to(following, on="passed")
        return self._put(state, passed, state.to(caught, on=ON_ERROR), state.to(self._dropped, on=ON_DROPPED))

    def _catch(self, step: Catch, following: State, caught: State) -> State:
        state = State(name=step.name, doc="catch: what failed before it")
        return self._put(state, state.to(self.steps(step.steps, following, caught), on="caught"))

    def _switch(self, step: Switch, following: State, caught: State) -> State:
        state = State(name=step.name, doc=f"switch: {'; '.join(_said(n, case) for n, case in enumerate(step.cases))}")
        arcs: list[Arc] = []
        begin = following
        for n, case in reversed(list(enumerate(step.cases))):
            begin = self.steps(case.steps, begin if case.fallthrough else following, caught)
            if not case.check:
                arcs.clear()  # it always holds: no later one is asked
            when = guard(name=f"{step.name}_{n}")(check(case.check)) if case.check else ALWAYS
            arcs.insert(0, state.to(begin, on=f"case_{n}", when=when))
        if all(case.check for case in step.cases):
            arcs.append(state.to(following, on="otherwise"))
        return self._put(state, *arcs, state.to(caught, on=ON_ERROR))

    def _put(self, state: State, *arcs: Arc) -> State:
        self.states.insert(0, state)
        self.arcs[:0] = arcs
        return state

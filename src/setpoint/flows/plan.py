"""How a flow's configuration becomes a data machine.

::

    input -received-> <processor> -passed-> … -passed-> output -prepared-> done
                          │ error ↘                       │ error ↘
                          └ dropped → dropped              └──────→ failed

Every message walks it. The function of a processor's state is the processor; that of `output` checks the message and puts it in the form in
which it is written. Messages in `done` are written together, by the engine.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from setpoint.data import DROPPED, FAILED, ON_DROPPED, ON_ERROR
from setpoint.flows.config import FlowConfig, parse
from setpoint.machine import Arc, Machine, State

DONE = "done"
OUTPUT = "output"


class FlowPlan(msgspec.Struct, frozen=True):
    """A checked flow: the configuration as it was given, what was read from it, and the machine its messages walk through."""

    source: Mapping[str, Any]
    config: FlowConfig
    machine: Machine


def compile_flow(source: Mapping[str, Any]) -> FlowPlan:
    """The checked flow, nothing opened. Raises `FlowConfigError` with all faults at once."""
    config = parse(source)
    return FlowPlan(copy.deepcopy(source), config, _machine(config))


def _machine(config: FlowConfig) -> Machine:
    done = State(name=DONE, final=True, doc="checked and ready to be written")
    failed = State(name=FAILED, final=True, doc="could not be handled; counted with the reason")
    dropped = State(name=DROPPED, final=True, doc="left out on purpose; counted")
    source = State(name="input", doc=f"read from {config.input.kind}")
    steps = [State(name=component.name, doc=component.kind) for component in config.processors]
    sink = State(name=OUTPUT, doc=f"checked for {config.output.kind}")
    way = [source, *steps, sink]
    arcs: list[Arc] = [source.to(way[1], on="received")]
    for state, following in zip(steps, way[2:], strict=True):
        arcs += [state.to(following, on="passed"), state.to(failed, on=ON_ERROR), state.to(dropped, on=ON_DROPPED)]
    arcs += [sink.to(done, on="prepared"), sink.to(failed, on=ON_ERROR)]
    return Machine("flow", [*way, done, failed, dropped], arcs)

"""Carries messages through the pipeline of a flow, as the runner does but with nothing around it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from flows_plant import context

from setpoint.data import Plan, Result
from setpoint.flows import FlowConfigError, compile_flow
from setpoint.flows.component import Msg, serialized
from setpoint.flows.plan import FlowPlan


class Pipeline:
    """Processors as a flow's configuration has them, with the sections beside them, ready to be walked through."""

    def __init__(
        self, *processors: Any, sections: dict[str, Any] | None = None, base: Any = None, **world: Any
    ) -> None:
        self.plan = compiled(*processors, sections=sections, base=base)
        self.steps = {one.name: one.make(one.fields, context(**world)) for one in self.plan.config.processors}
        self.walk = Plan(self.plan.machine, self.steps)

    def result(self, payload: Any = None, meta: dict[str, str] | None = None) -> Result:
        """Where a message ended."""
        msg = Msg(payload, meta or {})
        return asyncio.run(self.walk.arun(msg)) if self.walk.is_async else self.walk.run(msg)

    def out(self, payload: Any = None, meta: dict[str, str] | None = None) -> list[Any]:
        """The payloads that came through. Raises `AssertionError` for a message that failed."""
        ends = list(self.result(payload, meta).ends())
        assert [end.error for end in ends if end.error] == []
        return [end.data.payload for end in ends if end.final_state == "done"]

    def written(self, payloads: Sequence[Any]) -> list[bytes]:
        """What an output would write of these messages; those that fail are left out."""
        ends = [end for payload in payloads for end in self.result(payload).ends()]
        return [serialized(end.data.payload) for end in ends if end.final_state == "done"]


def compiled(*processors: Any, sections: dict[str, Any] | None = None, base: Any = None) -> FlowPlan:
    """The flow of these processors, between an input and an output that need nothing."""
    ends: dict[str, Any] = {"input": {"generate": {"mapping": "root = 1"}}, "output": {"drop": {}}}
    return compile_flow({**ends, "pipeline": {"processors": list(processors)}, **(sections or {})}, base=base)


def problems(*processors: Any, sections: dict[str, Any] | None = None, base: Any = None) -> dict[str, str]:
    """The faults of such a flow, by their paths behind ``pipeline.processors``."""
    try:
        compiled(*processors, sections=sections, base=base)
    except FlowConfigError as error:
        return {
            ".".join(map(str, fault.path)).removeprefix("pipeline.processors."): f"{fault.message} {fault.hint}"
            for fault in error.problems
        }
    return {}

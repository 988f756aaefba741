"""`branch`: sends a message made of this one through processors of its own, and puts what comes back into this one.

    branch:
      request_map: "root.id = this.order"      what is sent; all of the message without it. root = deleted() skips the branch
      processors:  [{nodered_js: {code: "…"}}] what is done with it
      result_map:  "root.customer = this.name" what of the answer goes into the message; nothing without it

In `result_map` `this`, `content()` and `meta()` are of the answer, `root` and `@` of the message. A message whose branch fails, or comes
back as none or several, fails as a whole and stays as it was. The processors are carried by a machine of their own, with the same names.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, PlainValidator, ValidationInfo

from setpoint.data import DROPPED, FAILED, Plan, Result
from setpoint.flows.bloblang import World
from setpoint.flows.component import Context, MessageError, Msg, Processor
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.pipeline import Step, components, nested_steps
from setpoint.flows.processors.mapping import parsed
from setpoint.flows.scope import scope_of


def _map(value: object, info: ValidationInfo) -> object:
    return None if value in (None, "") else parsed(value, info)


def _steps(value: object, info: ValidationInfo) -> tuple[Step, ...]:
    scope = scope_of(info)
    steps = nested_steps(value, msgspec.structs.replace(scope, caught=False, depth=scope.depth + 1))
    keeping = [one.kind for one in components(steps) if hasattr(one.make, "flush")]
    if keeping:
        raise ValueError(
            f"{keeping[0]} keeps messages back, which a branch cannot wait for; put it before or behind the branch"
        )
    return steps


class BranchFields(ComponentFields):
    """A branch as it is written."""

    request_map: Annotated[Any, BeforeValidator(_map)] = None
    processors: Annotated[Any, PlainValidator(_steps)] = ()
    result_map: Annotated[Any, BeforeValidator(_map)] = None


class Branch:
    """A branch whose processors do not wait."""

    def __init__(self, fields: BranchFields, context: Context) -> None:
        from setpoint.flows.plan import steps_machine

        world = World(context.clock, context.random)
        self._request = fields.request_map and fields.request_map.bind(world)
        self._result = fields.result_map and fields.result_map.bind_onto(world)
        self._processors: dict[str, Processor] = {
            one.name: one.make(one.fields, context) for one in components(fields.processors)
        }
        self._plan = Plan(steps_machine("branch", fields.processors), self._processors)

    @property
    def waits(self) -> bool:
        """Whether one of its processors is asynchronous."""
        return self._plan.is_async

    def __call__(self, msg: Msg) -> Msg | None:
        """The message with what came back. Raises `MessageError`."""
        asked = self._asked(msg)
        return msg if asked is None else self._answered(self._plan.run(asked), msg)

    def _asked(self, msg: Msg) -> Msg | None:
        asked: Msg | None = self._request(msg) if self._request else Msg(msg.payload, dict(msg.meta))
        return asked

    def _answered(self, result: Result, msg: Msg) -> Msg | None:
        ends = list(result.ends())
        if len(ends) != 1 or ends[0].final_state == DROPPED:
            count = sum(end.final_state != DROPPED for end in ends)
            raise MessageError(f"its processors made {count or 'no'} messages of one")
        if ends[0].error is not None or ends[0].final_state == FAILED:
            error = ends[0].error
            raise MessageError(f"its processors failed: {f'{error.state}: {error.message}' if error else FAILED}")
        if self._result is None:
            return msg
        answer: Msg | None = self._result(ends[0].data, msg)
        return answer

    async def connect(self) -> None:
        """Makes its processors ready. Raises `ConnectError`."""
        for processor in self._processors.values():
            if hasattr(processor, "connect"):
                await processor.connect()

    async def close(self) -> None:
        """Lets go of what its processors hold. Idempotent."""
        closing = [one.close() for one in self._processors.values() if hasattr(one, "close")]
        with contextlib.suppress(Exception):
            await asyncio.gather(*closing, return_exceptions=True)


class WaitingBranch(Branch):
    """A branch with processors that wait."""

    async def __call__(self, msg: Msg) -> Msg | None:  # type: ignore[override]
        """The message with what came back. Raises `MessageError`."""
        asked = self._asked(msg)
        return msg if asked is None else self._answered(await self._plan.arun(asked), msg)


def branch(fields: BranchFields, context: Context) -> Processor:
    """The processor."""
    made = Branch(fields, context)
    return WaitingBranch(fields, context) if made.waits else made

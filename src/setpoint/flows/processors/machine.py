"""`machine`: a machine for records (docs/data.md) as one step of a flow: each message's payload is a record that walks through it.

    - machine: {file: order.yaml}
    - machine: {definition: {name: order, states: {…}}, state_meta: order_state}

The record's end decides what becomes of the message: at an end it goes on with what the record is by then, at one with `emit_output: false`
and where the record is dropped it is dropped, and a failure is the message's failure, with the state and the reason. A record that becomes
several makes several messages. `state_meta` names the meta that says in which state it ended.

The file is read when the configuration is, from the folder of the configuration where that is known, else from the one the agent was
started in; what is wrong with it is said with its lines. It is not trusted with Python. Its resources are opened when the flow connects and
closed with it; they are those that do not keep other flows waiting: `async_http`, `async_database`, `async_cache`, `values`, …
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

from pydantic import PrivateAttr, ValidationInfo, model_validator

from setpoint.data import DROPPED, FAILED, Result, Several
from setpoint.data.errors import PlanError
from setpoint.data.modes import deep_copy
from setpoint.flows.component import ConnectError, Context, MessageError, Msg, structured
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.scope import scope_of

_BLOCKING: Final = {"http": "async_http", "database": "async_database", "cache": "async_cache"}


class MachineFields(ComponentFields):
    """A machine as it is written."""

    file: str = ""
    definition: dict[str, Any] | None = None
    state_meta: str = ""
    _source: Any = PrivateAttr(None)

    @property
    def source(self) -> Any:
        """What it is made of: the definition, or the path of the file."""
        return self._source

    @model_validator(mode="after")
    def _loads(self, info: ValidationInfo) -> Self:
        if bool(self.file) == (self.definition is not None):
            raise ValueError("a machine needs either file or definition")
        source = self.definition if self.definition is not None else scope_of(info).base / self.file
        made = _made(source)
        blocking = [one for one in made.definition.resources if one.type in _BLOCKING and not _harmless(one)]
        if blocking:
            one = blocking[0]
            raise ValueError(
                f"the resource {one.name!r} would keep other flows waiting: make its type {_BLOCKING[one.type]}"
            )
        self._source = source
        return self


def _harmless(resource: Any) -> bool:
    """A cache in memory, which nobody waits for."""
    return resource.type == "cache" and "url" not in resource.config


def _made(source: Any) -> Any:
    """The machine, nothing opened. Raises `ValueError` with every fault, each with its place in the file."""
    from setpoint.data.fsm import SimpleFSM

    if isinstance(source, Path) and not source.is_file():
        raise ValueError(f"there is no file {source}; relative paths start from {source.parent.resolve()}")
    try:
        return SimpleFSM(source)
    except PlanError as error:
        raise ValueError(str(error)) from error


class Machine:
    """Carries records through a machine of the user's."""

    def __init__(self, fields: MachineFields, context: Context) -> None:
        self._source, self._meta = fields.source, fields.state_meta
        self._machine = _made(fields.source)
        self._closed = False

    async def connect(self) -> None:
        """Opens the machine's resources. Raises `ConnectError` where one cannot be had."""
        if self._closed:
            self._machine, self._closed = _made(self._source), False
        resources = self._machine.plan.resources
        if resources is None:
            return
        supply, names = resources.awaiting(), {one.name: one.name for one in self._machine.definition.resources}
        try:
            await supply.acquire(names, "connect")
            await supply.release(names, "connect", True)
            await supply.finish("connect", True)
        except Exception as error:
            raise ConnectError(f"machine {self._machine.definition.name!r}: {error}") from error

    async def close(self) -> None:
        """Closes them. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._machine.aclose()

    async def __call__(self, msg: Msg) -> Any:
        """The messages that the record's ends give; None where it was dropped. Raises `MessageError`."""
        payload = msg.payload
        record = structured(payload) if type(payload) is bytes else deep_copy(payload)
        result: Result = await self._machine.plan.arun(record)
        parts = [self._message(end, msg) for end in result.ends() if self._goes_on(end)]
        return None if not parts else parts[0] if len(parts) == 1 else Several(parts)

    def _goes_on(self, end: Result) -> bool:
        if end.error is not None or end.final_state == FAILED:
            why = str(end.error) if end.error else f"it ended in {FAILED}"
            raise MessageError(f"machine {self._machine.definition.name!r}: {why}")
        return end.final_state != DROPPED and end.final_state not in self._machine.plan.silent

    def _message(self, end: Result, msg: Msg) -> Msg:
        meta = dict(msg.meta)
        if self._meta:
            meta[self._meta] = end.final_state
        return Msg(end.data, meta)

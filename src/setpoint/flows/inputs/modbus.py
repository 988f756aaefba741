"""`modbus`: reads values from a Modbus device at an interval, one message a value.

One connection is held open. Each reading asks for all addresses, neighbours together, and gives one message for each value, with meta that
says where it came from (`modbus_tag_name`, …). What can go wrong, and what then happens:

    the device does not answer in time    the slave is left out of this reading; when no slave answers, the connection counts as lost
    it refuses a run of addresses         they are read one by one from then on, so that only the wrong address fails
    it is busy                            the request is sent again, `busyRetries` times
    the connection breaks                 what was read before is delivered, then the input connects again

No call waits longer than `timeout` for an answer.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.inputs.modbus_fields import ModbusFields
from setpoint.flows.inputs.modbus_requests import Request, one_each, requests_for
from setpoint.flows.modbus import GOODBYE, Link, NoAnswer, Refused

_READS: Final = {
    "coil": "read_coils",
    "discrete": "read_discrete_inputs",
    "holding": "read_holding_registers",
    "input": "read_input_registers",
}
_REFUSED: Final = {2, 3}
"""Exception codes: illegal data address, illegal data value (Modbus application protocol, 7)."""


class Modbus:
    """Polls one device."""

    def __init__(self, fields: ModbusFields, context: Context) -> None:
        self._fields = fields
        self._requests = requests_for(fields)
        self._now = context.now
        self._random = context.random
        self._failed = context.failed
        self._link = Link(fields, context)
        self._due: float | None = None
        self._broken = ""
        self._reading: asyncio.Task[list[Msg]] | None = None

    async def connect(self) -> None:
        await self.close()
        self._broken = ""
        await self._link.connect()

    async def read(self) -> list[Msg]:
        """All values, at the next beat. A reading that was begun is finished for the next call where this one is cancelled."""
        if self._reading is None:
            if self._broken:
                raise ConnectError(self._broken)
            await self._beat()
            self._reading = asyncio.get_running_loop().create_task(self._poll())
            self._reading.add_done_callback(
                lambda reading: reading.cancelled() or reading.exception()
            )  # closing asks for neither
        await asyncio.wait({self._reading})
        reading, self._reading = self._reading, None
        return reading.result()

    async def _beat(self) -> None:
        """Waits for the next moment to read. Beats are spread over the interval, so that many inputs do not read all at once."""
        interval, now = self._fields.timeBetweenReads, self._now()
        if self._due is None:
            self._due = now + interval * (0.5 + 0.5 * self._random())
            return
        if self._due > now:
            try:
                async with asyncio.timeout(self._due - now):
                    await self._link.lost.wait()
            except TimeoutError:
                pass
            else:
                raise ConnectError("the device closed the connection")
        self._due = max(self._due + interval, now)

    async def _poll(self) -> list[Msg]:
        found: list[Msg] = []
        silent: dict[int, str] = {}
        for request in tuple(self._requests):
            if request.slave in silent:
                continue
            if not self._link.connected:
                self._broken = "the connection broke while reading"
                break
            try:
                found += self._values(request, await self._ask(request))
            except NoAnswer as fault:
                silent[request.slave] = str(fault)
            await asyncio.sleep(0)
        if not found and (self._broken or len(silent) == len(self._fields.slaves)):
            raise ConnectError(self._broken or next(iter(silent.values())))
        for reason in silent.values():
            self._failed(reason)
        return found

    async def _ask(self, request: Request) -> list[Any]:
        """The registers or bits of the request; none where the device refuses, which is counted. Raises `NoAnswer`."""
        try:
            answer = await self._link.ask(
                _READS[request.register], slave=request.slave, address=request.start, count=request.size
            )
        except Refused as error:
            if error.code in _REFUSED and len(request.tags) > 1:
                at = self._requests.index(request)
                self._requests[at : at + 1] = one_each(request)
            self._failed(f"{request}: {error}")
            return []
        values: list[Any] = answer.bits if request.register in ("coil", "discrete") else answer.registers
        if len(values) >= request.size:
            return values
        self._failed(f"{request}: the device gave {len(values)} values where {request.size} were asked for")
        return []

    def _values(self, request: Request, values: list[Any]) -> list[Msg]:
        found = []
        for tag in request.tags if values else ():
            at = tag.address.address - request.start
            try:
                found.append(Msg(tag.decode(values[at : at + tag.address.size]), dict(tag.meta)))
            except (ValueError, OverflowError) as error:
                self._failed(f"{tag.address.name}: {error}")
        return found

    async def acknowledge(self) -> None:
        """A device keeps no record of what was read."""

    async def close(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading}, timeout=GOODBYE)
        await self._link.close()

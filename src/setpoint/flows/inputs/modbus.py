"""`modbus`: reads values from a Modbus TCP device at an interval, one message a value.

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
import logging
from typing import TYPE_CHECKING, Any, Final

from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.inputs.modbus_fields import ModbusFields
from setpoint.flows.inputs.modbus_values import Request, one_each, requests_for

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusTcpClient

_READS: Final = {
    "coil": "read_coils",
    "discrete": "read_discrete_inputs",
    "holding": "read_holding_registers",
    "input": "read_input_registers",
}
_REFUSED: Final = {2, 3}
"""Exception codes: illegal data address, illegal data value (Modbus application protocol, 7)."""
_BUSY: Final = {5, 6}
"""Exception codes: acknowledge (still at it), server device busy."""
_MEANINGS: Final = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure", 5: "still at it", 6: "device busy",
    8: "memory parity error", 10: "gateway path unavailable", 11: "gateway target did not respond",
}  # fmt: skip


class _NoAnswer(Exception):
    """A slave did not answer in time."""


class Modbus:
    """Polls one device."""

    def __init__(self, fields: ModbusFields, context: Context) -> None:
        self._fields = fields
        self._requests = requests_for(fields)
        self._now = context.now
        self._random = context.random
        self._failed = context.failed
        self._answered = context.answered
        self._client: AsyncModbusTcpClient | None = None
        self._lost: asyncio.Event | None = None
        self._due: float | None = None
        self._broken = ""

    async def connect(self) -> None:
        from pymodbus.client import AsyncModbusTcpClient

        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # its troubles are in the flow's status
        host, port = self._fields.endpoint
        await self.close()
        self._lost, self._broken = asyncio.Event(), ""
        lost = self._lost
        self._client = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=self._fields.timeout,
            retries=0,
            reconnect_delay=0,
            trace_connect=lambda up: None if up else lost.set(),
        )
        if not await self._client.connect():
            raise ConnectError(f"{host}:{port} cannot be reached within {self._fields.timeout:g} s")
        if self._fields.workarounds.pauseAfterConnect:
            await asyncio.sleep(self._fields.workarounds.pauseAfterConnect)

    async def read(self) -> list[Msg]:
        """All values, at the next beat."""
        if self._broken:
            raise ConnectError(self._broken)
        await self._beat()
        return await self._poll()

    async def _beat(self) -> None:
        """Waits for the next moment to read. Beats are spread over the interval, so that many inputs do not read all at once."""
        interval, now = self._fields.timeBetweenReads, self._now()
        if self._due is None:
            self._due = now + interval * (0.5 + 0.5 * self._random())
            return
        if self._due > now and self._lost is not None:
            try:
                async with asyncio.timeout(self._due - now):
                    await self._lost.wait()
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
            if self._client is None or not self._client.connected:
                self._broken = "the connection broke while reading"
                break
            try:
                found += self._values(request, await self._ask(request))
            except _NoAnswer as fault:
                silent[request.slave] = str(fault)
            await asyncio.sleep(self._fields.workarounds.timeBetweenRequests)
        if not found and (self._broken or len(silent) == len(self._fields.slaves)):
            raise ConnectError(self._broken or next(iter(silent.values())))
        for reason in silent.values():
            self._failed(reason)
        return found

    async def _ask(self, request: Request) -> list[Any]:
        """The registers or bits of the request; none where the device refuses, which is counted. Raises `_NoAnswer`."""
        code = 0
        for attempt in range(self._fields.busyRetries + 1):
            if attempt:
                await asyncio.sleep(self._fields.busyRetriesWait)
            answer = await self._send(request)
            self._answered(*self._fields.endpoint)
            if not answer.isError():
                values: list[Any] = answer.bits if request.register in ("coil", "discrete") else answer.registers
                if len(values) >= request.size:
                    return values
                self._failed(f"{request}: the device gave {len(values)} values where {request.size} were asked for")
                return []
            code = getattr(answer, "exception_code", 0)
            if code not in _BUSY:
                break
        if code in _REFUSED and len(request.tags) > 1:
            at = self._requests.index(request)
            self._requests[at : at + 1] = one_each(request)
        self._failed(f"{request}: {_MEANINGS.get(code, f'exception {code}')}")
        return []

    async def _send(self, request: Request) -> Any:
        from pymodbus.exceptions import ModbusException

        read = getattr(self._client, _READS[request.register])
        try:
            return await read(request.start, count=request.size, device_id=request.slave)
        except ModbusException as error:
            raise _NoAnswer(f"slave {request.slave} did not answer within {self._fields.timeout:g} s") from error

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
        if self._client is not None:
            self._client.close()
            self._client = None

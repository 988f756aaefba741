"""`modbus`: writes values to a Modbus device.

The addresses are those of the input (`setpoint.flows.modbus_address`), coils and holding registers alone, and `setpoint.flows.modbus` has
the fields of the connection. The name of an address is the field of the payload whose value goes there: of ``{"speed": 40, "on": true}``
the addresses `speed` and `on` are written, in the order in which they are configured; fields without an address are none of this output's
business. A payload that has none of them is set aside, and so is one with a value that does not fit. Where there is one address alone, a
payload that is no object is its value.

A bit, or half a register, is written by a mask (function 22), so that the rest of the register stays what the device made it; a device
without that function is not written to. With `readBack` what was written is read again, and a message that the device did not keep is set
aside with what it has instead.

A batch is taken when the device has answered to all of it. What of it was written is not written again when the rest is tried again,
unless the answer was lost: at least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Self

import msgspec
from pydantic import BeforeValidator, model_validator

from setpoint.flows.component import (
    ConnectError,
    Context,
    MessageError,
    Msg,
    Rejected,
    WriteError,
    serialized,
    structured,
)
from setpoint.flows.modbus import ConnectionFields, Link, NoAnswer, Refused
from setpoint.flows.modbus_address import Address, SlaveID, unified
from setpoint.flows.modbus_values import Change, Encode, encoder

_NEVER: Final = {1, 2, 3}
"""Exception codes after which trying again is no use: illegal function, data address, data value."""


class Pending(msgspec.Struct):
    """A message as it will be written: the changes that are still to be made, and its size."""

    changes: list[tuple[Address, Change]]
    size: int


class Modbus:
    """Writes to the slaves of one controller."""

    class Fields(ConnectionFields):
        slaveID: SlaveID = 1
        addresses: tuple[Address, ...] = ()
        unifiedAddresses: tuple[Annotated[Address, BeforeValidator(unified)], ...] = ()
        readBack: bool = False

        @model_validator(mode="after")
        def _writable(self) -> Self:
            if bool(self.addresses) == bool(self.unifiedAddresses):
                raise ValueError("give either addresses or unifiedAddresses, with at least one address")
            for address in self.targets:
                if address.register_ in ("discrete", "input"):
                    raise ValueError(
                        f"{address.name}: {address.register_} can only be read; coil and holding can be written"
                    )
                if address.output:
                    raise ValueError(f"{address.name}: output is for reading")
            names = [address.name for address in self.targets]
            if len(set(names)) < len(names):
                raise ValueError("two addresses have one name")
            return self

        @property
        def targets(self) -> tuple[Address, ...]:
            """The addresses, whichever way they were given."""
            return self.addresses or self.unifiedAddresses

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._link = Link(fields, context)
        location = fields.workarounds.stringRegisterLocation
        self._targets: list[tuple[Address, Encode]] = [
            (address, encoder(address, fields.byteOrder, location)) for address in fields.targets
        ]

    async def connect(self) -> None:
        await self._link.connect()

    def prepare(self, msg: Msg) -> Pending:
        """The changes that the payload asks for. Raises `MessageError`."""
        payload = structured(msg.payload)
        if not isinstance(payload, dict):
            if len(self._targets) > 1:
                raise MessageError(f"the payload is no object with {self._names()} in it")
            payload = {self._targets[0][0].name: payload}
        changes = []
        for address, encode in self._targets:
            if address.name in payload:
                try:
                    changes.append((address, encode(payload[address.name])))
                except ValueError as error:
                    raise MessageError(f"{address.name}: {error}") from error
        if not changes:
            raise MessageError(f"the payload has none of {self._names()}")
        return Pending(changes, len(serialized(msg.payload)))

    def _names(self) -> str:
        return ", ".join(address.name for address, _ in self._targets)

    async def write(self, batch: Sequence[Pending]) -> int:
        """Writes what is not written yet. Raises `Rejected` with what the device will never take, after all else was written."""
        refused: dict[int, str] = {}
        for number, pending in enumerate(batch):
            try:
                while pending.changes:
                    address, change = pending.changes[0]
                    await self._change(address, change)
                    pending.changes.pop(0)
            except NoAnswer as error:
                raise (WriteError if self._link.connected else ConnectError)(
                    f"{self._fields.where}: {error}"
                ) from error
            except Refused as error:
                reason = f"{address.name} ({address.register_} {address.address}): {error}"
                if error.code not in _NEVER:
                    raise WriteError(f"{self._fields.where}: {reason}") from error
                refused[number] = reason
            except MessageError as error:
                refused[number] = str(error)
        if refused:
            raise Rejected(refused)
        return sum(pending.size for pending in batch)

    async def _change(self, address: Address, change: Change) -> None:
        slave = address.slaveID or self._fields.slaveID
        at, values = address.address, change.values
        if address.in_bits:
            await self._link.ask("write_coil", slave=slave, address=at, value=bool(values[0]))
        elif change.mask:
            kept = change.mask ^ 0xFFFF
            await self._link.ask("mask_write_register", slave=slave, address=at, and_mask=kept, or_mask=values[0])
        elif len(values) == 1:
            await self._link.ask("write_register", slave=slave, address=at, value=values[0])
        else:
            await self._link.ask("write_registers", slave=slave, address=at, values=values)
        if self._fields.readBack:
            await self._compare(address, change, slave)

    async def _compare(self, address: Address, change: Change, slave: int) -> None:
        """Raises `MessageError` where the device has not kept what was written."""
        size = len(change.values)
        function = "read_coils" if address.in_bits else "read_holding_registers"
        answer = await self._link.ask(function, slave=slave, address=address.address, count=size)
        found: list[Any] = [int(bit) for bit in answer.bits[:size]] if address.in_bits else list(answer.registers)
        meant = [value & (change.mask or 0xFFFF) for value in found]
        if meant != change.values:
            raise MessageError(
                f"{address.name} ({address.register_} {address.address}): {change.values} was written, the device has {meant}"
            )

    async def close(self) -> None:
        await self._link.close()

"""What a `modbus` input may be told, as documented for benthos-umh: the connection, how often to read, and the addresses."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from setpoint.flows.component import Duration
from setpoint.flows.modbus import ConnectionFields, Workarounds
from setpoint.flows.modbus_address import MAX_REGISTERS, Address, SlaveID, unified


class ReadWorkarounds(Workarounds):
    """For devices with habits of their own in how they are read."""

    oneRequestPerField: bool = False
    readCoilsStartingAtZero: bool = False


class ModbusFields(ConnectionFields):
    """What to read from a controller."""

    slaveIDs: Annotated[tuple[SlaveID, ...], Field(min_length=1)] = (1,)
    slaveID: SlaveID | None = None
    timeBetweenReads: Duration = Field(default=1.0, ge=0.001)
    optimization: Literal["none", "max_insert"] = "none"
    optimizationMaxRegisterFill: int = Field(default=50, ge=0, le=MAX_REGISTERS)
    workarounds: ReadWorkarounds = ReadWorkarounds()
    addresses: tuple[Address, ...] = ()
    unifiedAddresses: tuple[Annotated[Address, BeforeValidator(unified)], ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.addresses) == bool(self.unifiedAddresses):
            raise ValueError("give either addresses or unifiedAddresses, with at least one address")
        if self.slaveID is not None and self.slaveIDs != (1,):
            raise ValueError("give either slaveIDs or slaveID")
        strange = [tag.name for tag in self.tags if tag.slaveID and tag.slaveID not in self.slaves]
        if strange:
            raise ValueError(f"the slaveID of {', '.join(strange)} is not among slaveIDs")
        return self

    @property
    def tags(self) -> tuple[Address, ...]:
        """The addresses, whichever way they were given."""
        return self.addresses or self.unifiedAddresses

    @property
    def slaves(self) -> tuple[int, ...]:
        """The slaves to read from, each once."""
        return tuple(dict.fromkeys(self.slaveIDs if self.slaveID is None else (self.slaveID,)))

"""The address of a value in a Modbus device: one language for reading and for writing.

An address is a mapping (`Address`) or a text ``name.register.address.type[:key=value]…``, as in
``pressure.holding.300.FLOAT32:scale=0.1``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from setpoint.flows.component import Fields

REGISTERS: Final = {
    "BIT": 1, "BOOL": 1, "INT8L": 1, "INT8H": 1, "UINT8L": 1, "UINT8H": 1, "INT16": 1, "UINT16": 1, "INT32": 2, "UINT32": 2, "INT64": 4,
    "UINT64": 4, "FLOAT16": 1, "FLOAT32": 2, "FLOAT64": 4, "STRING": 0,
}  # fmt: skip
"""How many 16-bit registers a type takes; a string says so itself."""

MAX_REGISTERS: Final = 125
"""The most registers one request can ask for (Modbus application protocol, function codes 3 and 4)."""

Type = Literal["BIT", "BOOL", "INT8L", "INT8H", "UINT8L", "UINT8H", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "FLOAT16", "FLOAT32", "FLOAT64", "STRING"]  # fmt: skip # noqa: E501
Output = Literal["", "native", "INT64", "UINT64", "FLOAT64", "STRING", "BOOL", "UINT16"]
Register = Literal["coil", "discrete", "holding", "input"]
SlaveID = Annotated[int, Field(ge=0, le=255)]


class Address(Fields):
    """One value of the device: where it is, how it is written there, and what it shall become."""

    name: str = Field(min_length=1)
    register_: Register = Field(default="holding", alias="register")
    address: int = Field(ge=0, le=65_535)
    type: Type
    length: int = Field(default=0, ge=0, le=MAX_REGISTERS)
    bit: int = Field(default=0, ge=0, le=15)
    scale: float = Field(default=0.0, allow_inf_nan=False)
    output: Output = ""
    slaveID: SlaveID = 0

    @property
    def in_bits(self) -> bool:
        """Whether it lies among the single bits (coils, discrete inputs) rather than the registers."""
        return self.register_ in ("coil", "discrete")

    @property
    def size(self) -> int:
        """How many registers, or bits, it takes."""
        return 1 if self.in_bits else REGISTERS[self.type] or self.length

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.in_bits and self.type not in ("BIT", "BOOL"):
            raise ValueError(f"{self.register_} holds single bits: type must be BIT or BOOL, not {self.type}")
        if self.type == "STRING" and self.length == 0:
            raise ValueError("a STRING needs length, its number of registers")
        if self.type != "STRING" and self.length:
            raise ValueError("length is for STRING alone")
        if self.bit and (self.type not in ("BIT", "BOOL") or self.in_bits):
            raise ValueError("bit is for BIT in a register alone")
        if self.scale and self.type in ("BIT", "BOOL", "STRING"):
            raise ValueError(f"scale is for numbers, not for {self.type}")
        if self.type == "STRING" and self.output not in ("", "native", "STRING"):
            raise ValueError(f"a STRING cannot become {self.output}")
        if self.address + self.size > 65_536:
            raise ValueError("it reaches beyond the last address, 65535")
        return self


_KEYS: Final = {
    "slave": "slaveID",
    "slaveID": "slaveID",
    "length": "length",
    "bit": "bit",
    "scale": "scale",
    "output": "output",
}


def unified(text: object) -> object:
    """The address a text such as ``pressure.holding.300.FLOAT32:scale=0.1`` stands for."""
    if not isinstance(text, str):
        raise ValueError(f"expected a text name.register.address.type, got {text!r}")
    place, *options = text.split(":")
    parts = place.split(".")
    if len(parts) != 4:
        raise ValueError(f"{text!r} is not of the form name.register.address.type[:key=value]")
    made: dict[str, Any] = {"name": parts[0], "register": parts[1], "address": parts[2], "type": parts[3]}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(f"{option!r} in {text!r} is not one of {', '.join(f'{known}=' for known in _KEYS)}")
        made[_KEYS[key]] = value
    return made


def safe_name(name: str) -> str:
    """The name with everything replaced that a topic cannot hold."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)

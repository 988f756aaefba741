"""From registers to values, and from values to registers.

A register is 16 bits. Values of several registers come in four orders, named by where the bytes of the number ABCD (A most significant)
lie: ABCD; CDAB, words swapped; BADC, bytes swapped within words; DCBA, both. Single registers and texts know only the swap within words.

A value to be written must fit: what would have to be cut off or rounded is refused, but for a scaled number, which goes to the nearest
that its register can hold.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from setpoint.flows.modbus_address import Address

_FORMATS: Final = {
    "INT16": ">h", "UINT16": ">H", "INT32": ">i", "UINT32": ">I", "INT64": ">q", "UINT64": ">Q", "FLOAT16": ">e", "FLOAT32": ">f",
    "FLOAT64": ">d", "INT8H": ">bx", "INT8L": ">xb", "UINT8H": ">Bx", "UINT8L": ">xB",
}  # fmt: skip

Decode = Callable[[Sequence[Any]], Any]


class Change(NamedTuple):
    """What to write: registers (or one bit, for a coil), and where it is part of one register, the bits that are meant."""

    values: list[int]
    mask: int = 0


Encode = Callable[[Any], Change]


def decoder(address: Address, order: str, string_location: str) -> Decode:
    """The function from the registers (or the bit) of this address to its value."""
    output = _output(address)
    if address.in_bits:
        return lambda bits: output(int(bits[0]))
    if address.type.startswith("FLOAT"):
        made, output = output, lambda value: made(_finite(value))
    swapped = order in ("BADC", "DCBA")
    if address.type in ("BIT", "BOOL"):
        bit = (address.bit + 8) % 16 if swapped else address.bit
        return lambda registers: output(registers[0] >> bit & 1)
    if address.type == "STRING":
        return lambda registers: output(_text(registers, swapped=swapped, location=string_location))
    backwards = order in ("CDAB", "DCBA")
    unpack = struct.Struct(_FORMATS[address.type]).unpack
    word = struct.Struct(("<" if swapped else ">") + "H" * address.size).pack
    scale = address.scale
    if scale:
        return lambda registers: output(unpack(word(*(registers[::-1] if backwards else registers)))[0] * scale)
    return lambda registers: output(unpack(word(*(registers[::-1] if backwards else registers)))[0])


def _text(registers: Sequence[int], *, swapped: bool, location: str) -> str:
    """The text in the bytes of the registers up to the first NUL; other than UTF-8 is replaced."""
    raw = struct.pack(("<" if swapped else ">") + "H" * len(registers), *registers)
    if location:
        raw = raw[0 if location == "upper" else 1 :: 2]
    return raw.partition(b"\0")[0].decode("utf-8", errors="replace")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"the device gives {value}, not a number")
    return value


def _output(address: Address) -> Callable[[Any], Any]:
    """What makes the value into what was asked for. Without being asked, a scaled number is a float and a BOOL a truth value."""
    if address.output in ("", "native"):
        return bool if address.type == "BOOL" else _as_is
    makers: dict[str, Callable[[Any], Any]] = {
        "INT64": lambda value: _within(int(value), -(2**63), 2**63 - 1),
        "UINT64": lambda value: _within(int(value), 0, 2**64 - 1),
        "UINT16": lambda value: _within(int(value), 0, 2**16 - 1),
        "FLOAT64": float,
        "STRING": str,
        "BOOL": bool,
    }
    return makers[address.output]


def _as_is(value: Any) -> Any:
    return value


def _within(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(f"{value} does not fit into the output type ({low} to {high})")
    return value


def encoder(address: Address, order: str, string_location: str) -> Encode:
    """The function from a value to what stands for it at this address. It raises `ValueError` for a value that does not fit."""
    if address.in_bits:
        return lambda value: Change([_bit(value)])
    swapped = order in ("BADC", "DCBA")
    if address.type in ("BIT", "BOOL"):
        bit = (address.bit + 8) % 16 if swapped else address.bit
        return lambda value: Change([_bit(value) << bit], 1 << bit)
    if address.type == "STRING":
        return lambda value: Change(_registers(_padded(value, address.length, string_location), swapped=swapped))
    mask = {"H": 0xFF00, "L": 0x00FF}.get(address.type[-1], 0)
    if swapped and mask:
        mask ^= 0xFFFF
    direction = -1 if order in ("CDAB", "DCBA") else 1

    def encode(value: Any) -> Change:
        return Change(_registers(_packed(value, address), swapped=swapped)[::direction], mask)

    return encode


def _bit(value: Any) -> int:
    if value not in (0, 1) or isinstance(value, float):
        raise ValueError(f"{value!r} is no bit; true, false, 1 and 0 are")
    return int(value)


def _registers(raw: bytes, *, swapped: bool) -> list[int]:
    return list(struct.unpack(("<" if swapped else ">") + "H" * (len(raw) // 2), raw))


def _packed(value: Any, address: Address) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    number = value / address.scale if address.scale else value
    if not math.isfinite(number):
        raise ValueError(f"{value!r} does not fit into {address.type}")
    if not address.type.startswith("FLOAT"):
        whole = round(number)
        if not address.scale and whole != number:
            raise ValueError(f"{value!r} is no whole number, and {address.type} holds only those")
        number = whole
    try:
        return struct.pack(_FORMATS[address.type], number)
    except (struct.error, OverflowError):
        raise ValueError(f"{value!r} does not fit into {address.type}") from None


def _padded(value: Any, length: int, location: str) -> bytes:
    """The text in as many registers, NUL behind it. With a location each register holds one byte of it."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is no text that a register can hold")
    raw, room = value.encode("utf-8"), length if location else length * 2
    if len(raw) > room:
        raise ValueError(f"{value[:40]!r} has {len(raw)} bytes; there is room for {room}")
    raw = raw.ljust(room, b"\0")
    if not location:
        return raw
    return b"".join(bytes((byte, 0)) if location == "upper" else bytes((0, byte)) for byte in raw)

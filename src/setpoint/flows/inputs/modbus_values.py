"""From addresses to requests, and from registers to values.

Neighbouring addresses are read together: a request covers a run of them without gaps, or, where filling is allowed, with gaps up to a
number of registers, and never more than the protocol allows (125 registers, 2000 bits).

A register is 16 bits. Values of several registers come in four orders, named by where the bytes of the number ABCD (A most significant)
lie: ABCD; CDAB, words swapped; BADC, bytes swapped within words; DCBA, both. Single registers and texts know only the swap within words.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from setpoint.flows.component import Meta
from setpoint.flows.inputs.modbus_fields import MAX_REGISTERS, Address, ModbusFields, safe_name

MAX_BITS: Final = 2000
_FORMATS: Final = {
    "INT16": ">h", "UINT16": ">H", "INT32": ">i", "UINT32": ">I", "INT64": ">q", "UINT64": ">Q", "FLOAT16": ">e", "FLOAT32": ">f",
    "FLOAT64": ">d", "INT8H": ">bx", "INT8L": ">xb", "UINT8H": ">Bx", "UINT8L": ">xB",
}  # fmt: skip

Decode = Callable[[Sequence[Any]], Any]


class Tag(NamedTuple):
    """One value to read from one slave: where, how to make sense of it, and the meta its messages carry."""

    address: Address
    decode: Decode
    meta: Meta


class Request(NamedTuple):
    """One reading: a run of registers or bits of one slave, and the tags in it."""

    slave: int
    register: str
    start: int
    size: int
    tags: tuple[Tag, ...]

    def __str__(self) -> str:
        return f"{self.register} {self.start}..{self.start + self.size - 1} of slave {self.slave}"


def requests_for(fields: ModbusFields) -> list[Request]:
    """The fewest requests for all addresses, slave by slave."""
    found: list[Request] = []
    for slave in fields.slaves:
        tags = [_tag(address, slave, fields) for address in fields.tags if address.slaveID in (0, slave)]
        for register in dict.fromkeys(tag.address.register_ for tag in tags):
            run = sorted(
                (tag for tag in tags if tag.address.register_ == register), key=lambda tag: tag.address.address
            )
            found += _runs(slave, register, run, fields)
    return found


def one_each(request: Request) -> list[Request]:
    """The same readings one by one, for a device that refuses the whole."""
    return [
        Request(request.slave, request.register, tag.address.address, tag.address.size, (tag,)) for tag in request.tags
    ]


def _runs(slave: int, register: str, tags: Iterable[Tag], fields: ModbusFields) -> Iterable[Request]:
    bits = register in ("coil", "discrete")
    limit = MAX_BITS if bits else MAX_REGISTERS
    gap = fields.optimizationMaxRegisterFill if fields.optimization == "max_insert" else 0
    from_zero = register == "coil" and fields.workarounds.readCoilsStartingAtZero
    start, end, group = 0, 0, list[Tag]()
    for tag in tags:
        first, last = tag.address.address, tag.address.address + tag.address.size
        joins = first <= end + gap and last - start <= limit and not fields.workarounds.oneRequestPerField
        if group and not joins:
            yield Request(slave, register, start, end - start, tuple(group))
            group = []
        if not group:
            start, end = (0 if from_zero and last <= limit else first), last
        group.append(tag)
        end = max(end, last)
    if group:
        yield Request(slave, register, start, end - start, tuple(group))


def _tag(address: Address, slave: int, fields: ModbusFields) -> Tag:
    kind = _json_type(address)
    unified = f"{address.name}.{address.register_}.{address.address}.{address.type}"
    meta = {
        "modbus_tag_name": safe_name(address.name),
        "modbus_tag_name_original": address.name,
        "modbus_tag_datatype": address.type,
        "modbus_tag_datatype_json": kind,
        "modbus_tag_address": str(address.address),
        "modbus_tag_length": str(address.size),
        "modbus_tag_register": address.register_,
        "modbus_tag_slaveid": str(slave),
        "modbus_tag_unified_address": unified,
    }
    return Tag(address, decoder(address, fields.byteOrder, fields.workarounds.stringRegisterLocation), meta)


def _json_type(address: Address) -> str:
    """What the value is in JSON: number, bool or string."""
    output = address.output
    if output in ("", "native"):
        return "string" if address.type == "STRING" else "bool" if address.type == "BOOL" else "number"
    return {"STRING": "string", "BOOL": "bool"}.get(output, "number")


def decoder(address: Address, order: str, string_location: str) -> Decode:
    """The function from the registers (or the bit) of this address to its value."""
    output = _output(address)
    if address.in_bits:
        return lambda bits: output(int(bits[0]))
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

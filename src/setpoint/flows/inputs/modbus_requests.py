"""From addresses to requests.

Neighbouring addresses are read together: a request covers a run of them without gaps, or, where filling is allowed, with gaps up to a
number of registers, and never more than the protocol allows (125 registers, 2000 bits).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from setpoint.flows.component import Meta
from setpoint.flows.inputs.modbus_fields import ModbusFields
from setpoint.flows.modbus_address import MAX_REGISTERS, Address, safe_name
from setpoint.flows.modbus_values import Decode, decoder

MAX_BITS: Final = 2000


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

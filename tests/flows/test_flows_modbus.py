"""The `modbus` input against a real Modbus TCP server on the loopback, and against devices that misbehave."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from flows_plant import Plc, context, run, until
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from setpoint.flows.component import ConnectError, Msg
from setpoint.flows.inputs.modbus import Modbus
from setpoint.flows.inputs.modbus_fields import ModbusFields
from setpoint.flows.inputs.modbus_requests import MAX_BITS, requests_for
from setpoint.flows.modbus_address import REGISTERS, Address
from setpoint.flows.modbus_values import decoder

VALUES: dict[str, tuple[str, Any]] = {
    "INT16": ("h", -1234), "UINT16": ("H", 54321), "INT32": ("i", -123456789), "UINT32": ("I", 4123456789), "INT64": ("q", -(2**60) - 1),
    "UINT64": ("Q", 2**63 + 1), "FLOAT16": ("e", 1.5), "FLOAT32": ("f", -2.25), "FLOAT64": ("d", 3.141592653589793),
}  # fmt: skip


def fields(url: str = "tcp://plc:502", **more: Any) -> ModbusFields:
    return ModbusFields.model_validate(
        {"controller": url, "timeBetweenReads": "10ms", "timeout": "300ms", "busyRetriesWait": "1ms", **more}
    )


@asynccontextmanager
async def reading(url: str, faults: list[str], **more: Any) -> AsyncIterator[Modbus]:
    modbus = Modbus(fields(url, **more), context(faults.append))
    try:
        await modbus.connect()
        yield modbus
    finally:
        await modbus.close()


def test_every_register_and_type_is_read_with_its_meta() -> None:
    """One message an address, from all four kinds of register, in one reading."""

    async def scenario() -> None:
        plc, at, addresses = Plc(), 0, []
        for name, (layout, value) in VALUES.items():
            plc.put(at, layout, value)
            addresses.append({"name": name, "register": "holding", "address": at, "type": name})
            at += REGISTERS[name]
        plc.holding[60], plc.holding[61] = 0xFE05, 0b100
        addresses += [{"name": kind, "address": 60, "type": kind} for kind in ("INT8L", "INT8H", "UINT8L", "UINT8H")]
        addresses += [
            {"name": "bit", "address": 61, "type": "BIT", "bit": 2},
            {"name": "bool", "address": 61, "type": "BOOL", "bit": 1},
        ]
        plc.holding[70:74] = struct.unpack(">4H", b"M\xc3\xbcll\0xy")
        addresses.append({"name": "text", "address": 70, "type": "STRING", "length": 4})
        addresses += [
            {"name": "coil 3", "register": "coil", "address": 3, "type": "BIT"},
            {"name": "lamp", "register": "discrete", "address": 4, "type": "BOOL"},
            {"name": "in", "register": "input", "address": 7, "type": "UINT16", "scale": 0.5},
        ]
        faults: list[str] = []
        async with plc, reading(plc.url, faults, addresses=addresses) as modbus:
            found = {msg.meta["modbus_tag_name_original"]: msg for msg in await modbus.read()}
        assert faults == []
        got = {name: msg.payload for name, msg in found.items()}
        assert got == {
            **{name: value for name, (_, value) in VALUES.items()},
            "INT8L": 5,
            "INT8H": -2,
            "UINT8L": 5,
            "UINT8H": 254,
            "bit": 1,
            "bool": False,
            "text": "Müll",
            "coil 3": 1,
            "lamp": False,
            "in": 503.5,
        }
        assert found["coil 3"].meta == {
            "modbus_tag_name": "coil_3", "modbus_tag_name_original": "coil 3", "modbus_tag_datatype": "BIT",
            "modbus_tag_datatype_json": "number", "modbus_tag_address": "3", "modbus_tag_length": "1", "modbus_tag_register": "coil",
            "modbus_tag_slaveid": "1", "modbus_tag_unified_address": "coil 3.coil.3.BIT",
        }  # fmt: skip

    run(scenario())


@pytest.mark.parametrize(
    ("order", "places"), [("ABCD", "ABCDEFGH"), ("CDAB", "GHEFCDAB"), ("BADC", "BADCFEHG"), ("DCBA", "HGFEDCBA")]
)
@pytest.mark.parametrize("kind", [*VALUES])
def test_byte_orders(order: str, places: str, kind: str) -> None:
    """A number written by a device of that order reads as itself, whatever its size."""
    layout, value = VALUES[kind]
    big = struct.pack(">" + layout, value)
    lanes = {2: {"ABCD": "AB", "CDAB": "AB", "BADC": "BA", "DCBA": "BA"}[order], 4: order, 8: places}[len(big)]
    sent = bytes(big["ABCDEFGH".index(letter)] for letter in lanes)
    registers = struct.unpack(f">{len(sent) // 2}H", sent)
    assert decoder(Address(name="a", address=0, type=kind), order, "")(registers) == value  # type: ignore[arg-type, call-arg]


@pytest.mark.parametrize(("location", "text"), [("", "AaBb"), ("upper", "AB"), ("lower", "ab")])
def test_texts_may_lie_in_half_of_each_register(location: str, text: str) -> None:
    """`stringRegisterLocation` picks the byte; a swap within words is undone first."""
    address = Address(name="a", address=0, type="STRING", length=2)  # type: ignore[call-arg]
    assert decoder(address, "ABCD", location)(struct.unpack(">2H", b"AaBb")) == text
    assert decoder(address, "DCBA", location)(struct.unpack("<2H", b"AaBb")) == text


@pytest.mark.parametrize(
    ("kind", "scale", "output", "raw", "value"),
    [
        ("UINT16", 0.1, "", 250, 25.0), ("UINT16", 0.0, "FLOAT64", 3, 3.0), ("INT16", 2.5, "INT64", 3, 7),
        ("UINT16", 0.0, "STRING", 7, "7"), ("UINT16", 0.0, "BOOL", 7, True), ("BIT", 0.0, "BOOL", 1, True),
        ("BIT", 0.0, "UINT16", 1, 1), ("UINT16", 0.0, "native", 7, 7),
    ],
)  # fmt: skip
def test_scale_and_output(kind: str, scale: float, output: str, raw: int, value: Any) -> None:
    """Values become what was asked for, in type as well."""
    address = Address.model_validate({"name": "a", "address": 0, "type": kind, "scale": scale, "output": output})
    result = decoder(address, "ABCD", "")([raw])
    assert result == value
    assert type(result) is type(value)


def test_a_value_that_does_not_fit_its_output_is_counted_not_bent() -> None:
    """-1 is no UINT64: that tag fails, the others are read."""

    async def scenario() -> None:
        plc, faults = Plc(), list[str]()
        plc.put(0, "h", -1)
        addresses = [
            {"name": "a", "address": 0, "type": "INT16", "output": "UINT64"},
            {"name": "b", "address": 0, "type": "INT16"},
        ]
        async with plc, reading(plc.url, faults, addresses=addresses) as modbus:
            assert [msg.payload for msg in await modbus.read()] == [-1]
        assert faults == ["a: -1 does not fit into the output type (0 to 18446744073709551615)"]

    run(scenario())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"controller": "plc:502"}, "tcp://host:port"),
        ({"controller": "tcp://plc:99999"}, "tcp://host:port"),
        ({"addresses": []}, "at least one address"),
        ({"unifiedAddresses": ["a.coil.0.BIT"]}, "either addresses or unifiedAddresses"),
        ({"addresses": [{"name": "a", "register": "coil", "address": 0, "type": "INT16"}]}, "holds single bits"),
        ({"addresses": [{"name": "a", "address": 0, "type": "STRING"}]}, "needs length"),
        ({"addresses": [{"name": "a", "address": 0, "type": "INT16", "bit": 3}]}, "bit is for BIT"),
        ({"addresses": [{"name": "a", "address": 65535, "type": "INT32"}]}, "beyond the last address"),
        ({"addresses": [{"name": "a", "address": 0, "type": "INT16", "slaveID": 9}]}, "not among slaveIDs"),
        ({"addresses": [{"name": "a", "address": 0, "type": "INT24"}]}, "Input should be"),
        ({"slaveIDs": []}, "at least 1 item"),
        ({"timeout": "0s"}, "greater than 0"),
        ({"optimization": "shrink"}, "'none' or 'max_insert'"),
        ({"transmissionMode": "RTU"}, "RTUOverTCP"),
        ({"baudRate": 9600}, "serial line"),
        ({"controller": "file:///dev/ttyUSB0", "transmissionMode": "TCP"}, "RTU, ASCII"),
        ({"controller": "file://host/dev/ttyUSB0"}, "file:///dev"),
    ],
)
def test_what_cannot_be_read_is_refused_when_configured(change: dict[str, Any], text: str) -> None:
    """Contradictions in addresses and options the input does not have are faults of the configuration."""
    with pytest.raises(ValidationError, match=text):
        fields(**{"addresses": [{"name": "a", "address": 0, "type": "INT16"}], **change})


def test_unified_addresses_mean_the_same() -> None:
    """The short form gives the addresses of the long one."""
    short = [
        "t.holding.100.INT16",
        "m.discrete.1.BIT:output=BOOL",
        "s.holding.200.STRING:length=10",
        "p.input.3.FLOAT32:scale=0.1:slave=2",
    ]
    long = [
        {"name": "t", "register": "holding", "address": 100, "type": "INT16"},
        {"name": "m", "register": "discrete", "address": 1, "type": "BIT", "output": "BOOL"},
        {"name": "s", "register": "holding", "address": 200, "type": "STRING", "length": 10},
        {"name": "p", "register": "input", "address": 3, "type": "FLOAT32", "scale": 0.1, "slaveID": 2},
    ]
    assert fields(unifiedAddresses=short, slaveIDs=[1, 2]).tags == fields(addresses=long, slaveIDs=[1, 2]).tags
    with pytest.raises(ValidationError, match=r"name\.register\.address\.type"):
        fields(unifiedAddresses=["t.100.INT16"])


places = st.lists(
    st.tuples(st.sampled_from(["coil", "holding"]), st.integers(0, 3000), st.sampled_from(["INT16", "FLOAT64"])),
    min_size=1,
    max_size=40,
)


@given(places, st.sampled_from(["none", "max_insert"]), st.integers(0, 60), st.booleans())
def test_requests_cover_every_address_within_the_limits(
    wanted: list[tuple[str, int, str]], optimization: str, fill: int, single: bool
) -> None:
    """Each address lies in exactly one request; none is larger than the protocol allows; without filling none reads what nobody wants."""
    addresses = [
        {"name": f"n{n}", "register": register, "address": at, "type": "BIT" if register == "coil" else kind}
        for n, (register, at, kind) in enumerate(wanted)
    ]
    made = requests_for(
        fields(
            addresses=addresses,
            optimization=optimization,
            optimizationMaxRegisterFill=fill,
            workarounds={"oneRequestPerField": single},
        )
    )
    names = [tag.address.name for request in made for tag in request.tags]
    assert sorted(names) == sorted(address["name"] for address in addresses)  # type: ignore[type-var]
    for request in made:
        covered = {
            n for tag in request.tags for n in range(tag.address.address, tag.address.address + tag.address.size)
        }
        assert covered <= set(range(request.start, request.start + request.size))
        assert request.size <= (MAX_BITS if request.register == "coil" else 125)
        assert optimization == "max_insert" or len(covered) == request.size
        assert not single or len(request.tags) == 1


def test_neighbours_are_read_in_one_request() -> None:
    """A hundred registers in a row are one request, not a hundred."""
    row = [{"name": f"r{n}", "address": n, "type": "UINT16"} for n in range(100)]
    assert len(requests_for(fields(addresses=row))) == 1
    long = [{"name": f"r{n}", "address": n, "type": "UINT32"} for n in range(0, 300, 2)]
    assert [(one.start, one.size) for one in requests_for(fields(addresses=long))] == [(0, 124), (124, 124), (248, 52)]
    apart = [{"name": "a", "address": 0, "type": "UINT16"}, {"name": "b", "address": 9, "type": "UINT16"}]
    assert len(requests_for(fields(addresses=apart))) == 2
    assert len(requests_for(fields(addresses=apart, optimization="max_insert", optimizationMaxRegisterFill=8))) == 1


def test_one_wrong_address_does_not_take_its_neighbours_with_it() -> None:
    """A refused run is read one by one from then on; the wrong address is counted at each reading."""

    async def scenario() -> None:
        plc, faults = Plc(size=10), list[str]()
        addresses = [{"name": f"r{n}", "register": "input", "address": n, "type": "UINT16"} for n in (8, 9, 10)]
        async with plc, reading(plc.url, faults, addresses=addresses) as modbus:
            assert await modbus.read() == []
            assert [msg.payload for msg in await modbus.read()] == [1008, 1009]
        assert faults == [
            "input 8..10 of slave 1: illegal data address",
            "input 10..10 of slave 1: illegal data address",
        ]

    run(scenario())


def test_several_slaves_and_one_that_is_silent() -> None:
    """Each slave gives its own messages; one that does not answer is counted and leaves the others alone."""

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.read(12):
                slave, count = head[6], head[11]
                asked.append(slave)
                body = bytes([slave, 3, 2 * count, *([0, slave] * count)])
                if slave != 2:
                    writer.write(head[:4] + struct.pack(">H", len(body)) + body)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url, faults = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", list[str]()
        asked: list[int] = []
        addresses = [
            {"name": "a", "address": 0, "type": "UINT16"},
            {"name": "b", "address": 9, "type": "UINT16"},
        ]
        async with reading(url, faults, addresses=addresses, slaveIDs=[1, 2, 3], timeout="50ms") as modbus:
            found = [
                (msg.meta["modbus_tag_slaveid"], msg.meta["modbus_tag_name"], msg.payload)
                for msg in await modbus.read()
            ]
        assert found == [("1", "a", 1), ("1", "b", 1), ("3", "a", 3), ("3", "b", 3)]
        assert asked == [1, 1, 2, 3, 3]
        assert faults == ["slave 2 did not answer within 0.05 s"]
        server.close()
        await server.wait_closed()

    run(scenario())


def test_a_closed_port_and_a_dead_address_are_told_in_time() -> None:
    """Connecting fails with the place and the time it was given."""

    async def scenario() -> None:
        modbus = Modbus(
            fields("tcp://127.0.0.1:1", addresses=[{"name": "a", "address": 0, "type": "INT16"}]), context()
        )
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1 cannot be reached"):
            await modbus.connect()
        await modbus.close()

    run(scenario())


def test_a_device_that_closes_the_connection_is_noticed_at_once() -> None:
    """Not only at the next reading, and the same object can connect again."""

    async def scenario() -> None:
        plc = Plc()
        addresses = [{"name": "a", "address": 0, "type": "INT16"}]
        async with plc, reading(plc.url, [], addresses=addresses, timeBetweenReads="1h") as modbus:
            assert len(await modbus.read()) == 1
            waiting = asyncio.ensure_future(modbus.read())
            await asyncio.sleep(0)
            await plc.stop()
            with pytest.raises(ConnectError, match="closed the connection"):
                await waiting
            await plc.start()
            await modbus.connect()

    run(scenario())


@pytest.mark.parametrize(
    "answer", [b"", b"\x00\x01\x00\x00\x00\x03\x01\x83", b"\xff" * 700, b"HTTP/1.1 400 Bad Request\r\n\r\n"]
)
def test_a_device_that_accepts_and_talks_nonsense_never_hangs_the_input(answer: bytes) -> None:
    """Silence, half an answer, rubbish, another protocol: the connection counts as lost after the time-out."""

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(100):
                writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with reading(
            url, [], addresses=[{"name": "a", "address": 0, "type": "INT16"}], timeout="100ms"
        ) as modbus:
            async with asyncio.timeout(2):
                with pytest.raises(ConnectError):
                    await modbus.read()
        server.close()
        await server.wait_closed()

    run(scenario())


def test_a_busy_device_is_asked_again() -> None:
    """Exception 6 means later: the request is repeated, and counted only when it stays busy."""

    async def scenario(busy_times: int) -> tuple[list[Msg], list[str]]:
        asked = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            while head := await reader.read(12):
                asked += 1
                body = b"\x01\x83\x06" if asked <= busy_times else b"\x01\x03\x02\x00\x2a"
                writer.write(head[:4] + struct.pack(">H", len(body)) + body)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        faults: list[str] = []
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with reading(
            url, faults, addresses=[{"name": "a", "address": 0, "type": "INT16"}], busyRetries=2
        ) as modbus:
            found = await modbus.read()
        server.close()
        await server.wait_closed()
        return found, faults

    found, faults = run(scenario(2))
    assert ([msg.payload for msg in found], faults) == ([42], [])
    found, faults = run(scenario(3))
    assert (found, faults) == ([], ["holding 0..0 of slave 1: device busy"])


def test_a_reading_that_is_cancelled_is_finished_for_the_next_call() -> None:
    """Nothing that the device was asked for is lost, and nothing is asked twice."""

    async def scenario() -> None:
        asked, go = 0, asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            while head := await reader.read(12):
                asked += 1
                await go.wait()
                writer.write(head[:4] + b"\0\x05\x01\x03\x02" + struct.pack(">H", asked))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with reading(url, [], addresses=[{"name": "a", "address": 0, "type": "INT16"}], timeout="5s") as modbus:
            first = asyncio.create_task(modbus.read())
            await until(lambda: asked)
            first.cancel()
            await asyncio.wait({first})
            assert first.cancelled()
            go.set()
            assert [msg.payload for msg in await modbus.read()] == [1]
            assert [msg.payload for msg in await modbus.read()] == [2]
        server.close()
        await server.wait_closed()

    run(scenario())


def test_no_number_is_counted_and_never_a_value() -> None:
    """Devices write NaN for what they do not know."""

    async def scenario() -> None:
        plc, faults = Plc(), list[str]()
        plc.put(0, "f", float("nan"))
        addresses = [
            {"name": "a", "address": 0, "type": "FLOAT32"},
            {"name": "b", "address": 0, "type": "UINT16"},
        ]
        async with plc, reading(plc.url, faults, addresses=addresses) as modbus:
            assert [msg.payload for msg in await modbus.read()] == [0x7FC0]
        assert faults == ["a: the device gives nan, not a number"]

    run(scenario())

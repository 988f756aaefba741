"""The `modbus` output against a real Modbus TCP server on the loopback, what it writes, and framings that are not plain TCP."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from flows_plant import Plc, context, run
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from setpoint.flows.component import ConnectError, MessageError, Msg, Rejected, WriteError
from setpoint.flows.inputs.modbus import Modbus as ModbusInput
from setpoint.flows.inputs.modbus_fields import ModbusFields
from setpoint.flows.modbus_address import Address
from setpoint.flows.modbus_values import decoder, encoder
from setpoint.flows.outputs.modbus import Modbus

ORDERS = ["ABCD", "DCBA", "BADC", "CDAB"]
RANGES: dict[str, tuple[int, int]] = {
    "INT8L": (-128, 127), "INT8H": (-128, 127), "UINT8L": (0, 255), "UINT8H": (0, 255), "INT16": (-(2**15), 2**15 - 1),
    "UINT16": (0, 2**16 - 1), "INT32": (-(2**31), 2**31 - 1), "UINT32": (0, 2**32 - 1), "INT64": (-(2**63), 2**63 - 1),
    "UINT64": (0, 2**64 - 1),
}  # fmt: skip


def address(kind: str, **more: Any) -> Address:
    return Address.model_validate({"name": "a", "address": 0, "type": kind, **more})


@asynccontextmanager
async def writing(url: str, *addresses: str, **more: Any) -> AsyncIterator[Modbus]:
    given = {
        "controller": url,
        "timeout": "300ms",
        "busyRetriesWait": "1ms",
        "unifiedAddresses": list(addresses),
        **more,
    }
    sink = Modbus(Modbus.Fields.model_validate(given), context())
    await sink.connect()
    try:
        yield sink
    finally:
        await sink.close()


async def values(url: str, *addresses: str, **more: Any) -> dict[str, Any]:
    """What a reader has of these addresses."""
    fields = {"controller": url, "timeBetweenReads": "1ms", "unifiedAddresses": list(addresses), **more}
    source = ModbusInput(ModbusFields.model_validate(fields), context())
    await source.connect()
    found = {msg.meta["modbus_tag_name"]: msg.payload for msg in await source.read()}
    await source.close()
    return found


@given(st.sampled_from(ORDERS), st.sampled_from(sorted(RANGES)), st.data())
def test_whole_numbers_are_read_as_they_were_written(order: str, kind: str, data: st.DataObject) -> None:
    """In every type and byte order, and the bits beside those of half a register are left alone."""
    number = data.draw(st.integers(*RANGES[kind]))
    change = encoder(address(kind), order, "")(number)
    assert decoder(address(kind), order, "")(change.values) == number
    assert change.mask in (0, 0xFF00, 0x00FF)
    assert not change.mask or change.values[0] & ~change.mask == 0


@given(st.sampled_from(ORDERS), st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_as_they_were_written(order: str, number: float) -> None:
    """In every byte order."""
    for kind, layout in (("FLOAT64", ">d"), ("FLOAT32", ">f"), ("FLOAT16", ">e")):
        try:
            (held,) = struct.unpack(layout, struct.pack(layout, number))
        except OverflowError:
            with pytest.raises(ValueError, match="does not fit"):
                encoder(address(kind), order, "")(number)
        else:
            assert decoder(address(kind), order, "")(encoder(address(kind), order, "")(number).values) == held


@given(
    st.sampled_from(ORDERS),
    st.sampled_from(["", "upper", "lower"]),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9),
)
def test_texts_are_read_as_they_were_written(order: str, location: str, text: str) -> None:
    """Wherever in the registers their bytes lie."""
    place = address("STRING", length=40)
    change = encoder(place, order, location)(text)
    assert len(change.values) == 40
    assert decoder(place, order, location)(change.values) == text


@given(st.sampled_from(ORDERS), st.integers(0, 15), st.booleans(), st.integers(0, 2**16 - 1))
def test_a_bit_is_read_as_it_was_written_and_the_others_are_left_alone(
    order: str, bit: int, value: bool, before: int
) -> None:
    """As a mask of that one bit."""
    place = address("BIT", bit=bit)
    change = encoder(place, order, "")(value)
    after = (before & (change.mask ^ 0xFFFF)) | change.values[0]
    assert decoder(place, order, "")([after]) == value
    assert bin(after ^ before).count("1") <= 1


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (address("UINT16"), -1, "does not fit into UINT16"),
        (address("INT16"), 1.5, "no whole number"),
        (address("INT16"), True, "is no number"),
        (address("INT16"), "5", "is no number"),
        (address("FLOAT32"), float("nan"), "is no number"),
        (address("FLOAT32"), 1e39, "does not fit"),
        (address("UINT16", scale=0.1), 6554, "does not fit"),
        (address("UINT16", scale=1e-300), 1e300, "does not fit"),
        (address("BIT"), 2, "is no bit"),
        (address("BOOL"), "true", "is no bit"),
        (address("STRING", length=1), "abc", "room for 2"),
        (address("STRING", length=2), "a\0b", "no text"),
        (address("BIT", register="coil"), 1.0, "is no bit"),
    ],
)
def test_what_does_not_fit_is_refused(place: Address, value: Any, text: str) -> None:
    """Nothing is cut off or bent."""
    with pytest.raises(ValueError, match=text):
        encoder(place, "ABCD", "")(value)


def test_a_scaled_number_goes_to_the_nearest_that_the_register_holds() -> None:
    """25.04 in tenths is 250."""
    assert encoder(address("INT16", scale=0.1), "ABCD", "")(25.04).values == [250]
    assert encoder(address("FLOAT32", scale=2.0), "ABCD", "")(5).values == list(
        struct.unpack(">2H", struct.pack(">f", 2.5))
    )


def test_the_fields_of_a_payload_are_written_to_their_addresses() -> None:
    """Coils, registers of every kind and texts; a second message after the first; what has no address is left alone."""
    places = [
        "run.coil.3.BIT",
        "speed.holding.10.FLOAT32",
        "count.holding.12.INT64:scale=0.5",
        "text.holding.20.STRING:length=4",
        "one.holding.30.UINT16",
    ]

    async def scenario() -> None:
        async with Plc() as plc, writing(plc.url, *places, readBack=True) as sink:
            first = {"run": True, "speed": 1.5, "count": 21.0, "text": "Müll", "one": 1, "other": "x"}
            batch = [sink.prepare(Msg(first, {})), sink.prepare(Msg(b'{"one": 2}', {}))]
            assert await sink.write(batch) > 50
            assert await values(plc.url, *places) == {"run": 1, "speed": 1.5, "count": 21.0, "text": "Müll", "one": 2}

    run(scenario())


def test_a_bare_value_goes_to_the_one_address_there_is() -> None:
    """With more than one address it is set aside, as is a payload that has none of them."""

    async def scenario() -> None:
        async with Plc() as plc:
            async with writing(plc.url, "a.holding.0.UINT16") as sink:
                await sink.write([sink.prepare(Msg(5, {}))])
                assert await values(plc.url, "a.holding.0.UINT16") == {"a": 5}
            async with writing(plc.url, "a.holding.0.UINT16", "b.holding.1.UINT16") as sink:
                with pytest.raises(MessageError, match="no object with a, b in it"):
                    sink.prepare(Msg(5, {}))
                with pytest.raises(MessageError, match="none of a, b"):
                    sink.prepare(Msg({"c": 5}, {}))
                with pytest.raises(MessageError, match="b: -1 does not fit into UINT16"):
                    sink.prepare(Msg({"a": 1, "b": -1}, {}))

    run(scenario())


def test_a_bit_of_a_register_is_written_by_mask() -> None:
    """The other bits stay what they are on the device, also when they change between two writes."""

    async def scenario() -> None:
        async with (
            Plc() as plc,
            writing(plc.url, "b.holding.5.BIT:bit=2", "low.holding.6.UINT8L", readBack=True) as sink,
        ):
            plc_values = ["whole.holding.5.UINT16", "other.holding.6.UINT16"]
            async with writing(plc.url, *plc_values) as other:
                await other.write([other.prepare(Msg({"whole": 0x8001, "other": 0xAB00}, {}))])
            await sink.write([sink.prepare(Msg({"b": 1, "low": 0xCD}, {}))])
            assert await values(plc.url, *plc_values) == {"whole": 0x8005, "other": 0xABCD}

    run(scenario())


def test_what_the_device_refuses_is_rejected_with_its_reason_and_the_rest_is_written_once() -> None:
    """An address that it does not have; the batch without it writes nothing again."""

    async def scenario() -> None:
        async with Plc(size=10) as plc, writing(plc.url, "good.holding.1.UINT16", "bad.holding.99.UINT16") as sink:
            batch = [sink.prepare(Msg({name: n}, {})) for n, name in ((1, "good"), (2, "bad"), (3, "good"))]
            with pytest.raises(Rejected) as found:
                await sink.write(batch)
            assert found.value.reasons == {1: "bad (holding 99): illegal data address"}
            async with writing(plc.url, "good.holding.1.UINT16") as other:
                await other.write([other.prepare(Msg(9, {}))])
            assert await sink.write([batch[0], batch[2]]) > 0
            assert await values(plc.url, "good.holding.1.UINT16") == {"good": 9}

    run(scenario())


@asynccontextmanager
async def device(*answers: bytes) -> AsyncIterator[str]:
    """A device that answers each request with the next of these bodies, the last for ever; an empty one is silence."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(300):
            body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if body:
                writer.write(head[:4] + struct.pack(">H", len(body)) + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("answers", "fault", "text"),
    [
        ((b"\x01\x86\x04",), WriteError, "device failure"),
        ((b"\x01\x86\x06",), WriteError, "device busy"),
        ((b"\x01\x86\x06", b"\x01\x06\0\0\0\x05"), None, ""),
        ((b"",), (WriteError, ConnectError), "slave 1 did not answer"),
        ((b"\x01\x86\x02",), Rejected, "illegal data address"),
        ((b"\x01\x06\0\0\0\x05", b"\x01\x03\x02\0\x07"), Rejected, r"\[5\] was written, the device has \[7\]"),
    ],
)
def test_answers_of_a_device(answers: tuple[bytes, ...], fault: Any, text: str) -> None:
    """Failure and silence are tried again by the flow, a wrong address and a value that was not kept are set aside, busy is asked again."""

    async def scenario() -> None:
        async with (
            device(*answers) as url,
            writing(url, "a.holding.0.UINT16", readBack=len(answers) > 1 and fault is Rejected) as sink,
        ):
            ready = [sink.prepare(Msg(5, {}))]
            if fault is None:
                assert await sink.write(ready) == 1
            else:
                with pytest.raises(fault, match=text):
                    await sink.write(ready)

    run(scenario())


def test_a_device_that_went_away_is_a_connect_error() -> None:
    """And the same batch is written once it is back."""

    async def scenario() -> None:
        async with Plc() as plc, writing(plc.url, "a.holding.0.UINT16") as sink:
            ready = [sink.prepare(Msg(5, {}))]
            await plc.stop()
            await asyncio.sleep(0.05)
            with pytest.raises(ConnectError):
                await sink.write(ready)
            await plc.start()
            await sink.connect()
            assert await sink.write(ready) == 1
            assert await values(plc.url, "a.holding.0.UINT16") == {"a": 5}

    run(scenario())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"unifiedAddresses": ["a.input.0.UINT16"]}, "can only be read"),
        ({"unifiedAddresses": ["a.discrete.0.BIT"]}, "can only be read"),
        ({"unifiedAddresses": ["a.holding.0.UINT16:output=STRING"]}, "output is for reading"),
        ({"unifiedAddresses": ["a.holding.0.UINT16", "a.holding.1.UINT16"]}, "one name"),
        ({"unifiedAddresses": []}, "at least one address"),
        ({"timeBetweenReads": "1s"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_written_is_refused_when_configured(change: dict[str, Any], text: str) -> None:
    """Registers that can only be read, and options of reading."""
    with pytest.raises(ValidationError, match=text):
        Modbus.Fields.model_validate({"controller": "tcp://plc:502", "unifiedAddresses": ["a.coil.0.BIT"], **change})


@pytest.mark.parametrize(("mode", "framer"), [("RTUOverTCP", "rtu"), ("ASCIIOverTCP", "ascii")])
def test_serial_devices_behind_a_converter(mode: str, framer: str) -> None:
    """Their frames over TCP, read and written, several slaves behind one converter."""

    async def scenario() -> None:
        from pymodbus.framer import FramerType
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        devices = [SimDevice(n, simdata=[SimData(0, values=[n] * 20, datatype=DataType.REGISTERS)]) for n in (1, 2)]
        server = ModbusTcpServer(devices, framer=FramerType(framer), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        url = f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
        async with writing(url, "a.holding.3.INT32:slave=2", transmissionMode=mode) as sink:
            await sink.write([sink.prepare(Msg(-70000, {}))])
        places = ["a.holding.3.INT32:slave=2", "b.holding.0.UINT16:slave=1"]
        assert await values(url, *places, transmissionMode=mode, slaveIDs=[1, 2]) == {"a": -70000, "b": 1}
        await server.shutdown()

    run(scenario())

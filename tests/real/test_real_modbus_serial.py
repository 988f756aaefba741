"""Modbus over a serial line: pymodbus' own server at the other end of a pair of pseudo terminals, with several slaves on it."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

pytest.importorskip("serial", reason="the library for serial lines is not installed: pip install 'setpoint[serial]'")

from setpoint.flows import FlowEngine
from setpoint.flows.component import ConnectError, Context, Msg, WriteError
from setpoint.flows.inputs.modbus import Modbus
from setpoint.flows.inputs.modbus_fields import ModbusFields
from setpoint.flows.outputs.modbus import Modbus as ModbusOutput

pytestmark = pytest.mark.real


class Line:
    """A serial line: the names of its two ends. While `cut` is set nothing comes through, and never what is for slave 9.

    `late` is the answer that comes late, and by how many seconds.
    """

    def __init__(self) -> None:
        self._ends = [os.openpty(), os.openpty()]
        for _, slave in self._ends:
            tty.setraw(slave)
        self.ours, self.theirs = (os.ttyname(slave) for _, slave in self._ends)
        self.cut, self._over = threading.Event(), threading.Event()
        self.late: tuple[int, float] = (0, 0.0)
        self._answers = 0
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        masters = [master for master, _ in self._ends]
        while not self._over.is_set():
            for master in select.select(masters, [], [], 0.05)[0]:
                data = os.read(master, 1000)
                self._answers += master is masters[1]
                if master is masters[1] and self._answers == self.late[0]:
                    time.sleep(self.late[1])
                if not self.cut.is_set() and not data.startswith((b"\x09", b":09")):
                    os.write(masters[1 - masters.index(master)], data)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for descriptor in (each for end in self._ends for each in end):
            os.close(descriptor)


@contextmanager
def line() -> Iterator[Line]:
    made = Line()
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def slaves(port: str, framer: str) -> AsyncIterator[None]:
    """Slaves 1 and 2 on the line; their holding registers are 100, 101, … and 200, 201, …"""
    from pymodbus.framer import FramerType
    from pymodbus.server import ModbusSerialServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    registers = {1: [100 + n for n in range(20)], 2: [200 + n for n in range(20)]}
    devices = [
        SimDevice(number, simdata=[SimData(0, values=values, datatype=DataType.REGISTERS)])
        for number, values in registers.items()
    ]
    server = ModbusSerialServer(devices, framer=FramerType(framer), port=port, baudrate=19200)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


def context(faults: list[str]) -> Context:
    return Context("test", "", None, time.time, time.monotonic, lambda: 0.5, faults.append, lambda host, port: None)


def fields(port: str, **more: Any) -> dict[str, Any]:
    return {"controller": f"file://{port}", "baudRate": 19200, "timeout": "500ms", **more}


@pytest.mark.parametrize("mode", ["RTU", "ASCII"])
def test_several_slaves_on_one_line_are_read(mode: str) -> None:
    """In both framings; one that is silent does not keep the others from being read."""

    async def scenario() -> None:
        with line() as wire:
            async with slaves(wire.theirs, mode.lower()):
                faults: list[str] = []
                config = fields(
                    wire.ours,
                    transmissionMode=mode,
                    slaveIDs=[1, 9, 2],
                    timeBetweenReads="10ms",
                    unifiedAddresses=["a.holding.3.UINT16", "b.holding.4.UINT16"],
                )
                source = Modbus(ModbusFields.model_validate(config), context(faults))
                await source.connect()
                found = [(msg.meta["modbus_tag_slaveid"], msg.payload) for msg in await source.read()]
                assert found == [("1", 103), ("1", 104), ("2", 203), ("2", 204)]
                assert faults == ["slave 9 did not answer within 0.5 s"]
                await source.close()

    asyncio.run(scenario())


def test_values_are_written_to_the_slave_that_is_named() -> None:
    """And read back over the same line."""

    async def scenario() -> None:
        with line() as wire:
            async with slaves(wire.theirs, "rtu"):
                addresses = ["speed.holding.10.FLOAT32", "mode.holding.5.UINT16:slave=2"]
                config = ModbusOutput.Fields.model_validate(
                    fields(wire.ours, unifiedAddresses=addresses, readBack=True)
                )
                sink = ModbusOutput(config, context([]))
                await sink.connect()
                assert await sink.write([sink.prepare(Msg({"speed": 1.5, "mode": 7}, {}))]) > 0
                await sink.close()
                read = fields(
                    wire.ours,
                    slaveIDs=[1, 2],
                    unifiedAddresses=["a.holding.10.FLOAT32:slave=1", "b.holding.5.UINT16:slave=2"],
                )
                source = Modbus(ModbusFields.model_validate({**read, "timeBetweenReads": "10ms"}), context([]))
                await source.connect()
                assert [msg.payload for msg in await source.read()] == [1.5, 7]
                await source.close()

    asyncio.run(scenario())


def test_a_line_that_is_cut_is_told_and_read_again_when_it_is_mended() -> None:
    """Reading and writing; nothing hangs."""

    async def scenario() -> None:
        with line() as wire:
            async with slaves(wire.theirs, "rtu"):
                config = fields(wire.ours, timeBetweenReads="10ms", unifiedAddresses=["a.holding.3.UINT16"])
                source = Modbus(ModbusFields.model_validate(config), context([]))
                await source.connect()
                assert [msg.payload for msg in await source.read()] == [103]
                wire.cut.set()
                with pytest.raises(ConnectError, match="slave 1 did not answer"):
                    await source.read()
                wire.cut.clear()
                await source.close()
                await source.connect()
                assert [msg.payload for msg in await source.read()] == [103]
                sink = ModbusOutput(
                    ModbusOutput.Fields.model_validate(fields(wire.ours, unifiedAddresses=["a.holding.3.UINT16"])),
                    context([]),
                )
                await source.close()
                await sink.connect()
                wire.cut.set()
                with pytest.raises((WriteError, ConnectError)):
                    await sink.write([sink.prepare(Msg(5, {}))])
                await sink.close()

    asyncio.run(scenario())


def test_a_late_answer_is_not_taken_for_that_of_the_next_request() -> None:
    """Frames on a line carry no number: after a silence the line is left alone until the answer must have passed."""

    async def scenario() -> None:
        with line() as wire:
            async with slaves(wire.theirs, "rtu"):
                wire.late = (2, 0.3)
                faults: list[str] = []
                addresses = ["a.holding.3.UINT16", "b.holding.10.UINT16"]
                config = fields(wire.ours, timeout="200ms", timeBetweenReads="10ms", unifiedAddresses=addresses)
                source = Modbus(ModbusFields.model_validate(config), context(faults))
                await source.connect()
                found = [[msg.payload for msg in await source.read()] for _ in range(3)]
                assert found == [[103], [103, 110], [103, 110]]
                assert faults == ["slave 1 did not answer within 0.2 s"]
                await source.close()

    asyncio.run(scenario())


def test_a_line_that_is_not_there_and_one_that_is_taken_are_connect_errors() -> None:
    """A line has one owner."""

    async def scenario() -> None:
        with line() as wire:
            async with slaves(wire.theirs, "rtu"):
                config = fields(wire.ours, unifiedAddresses=["a.holding.3.UINT16"])
                first = Modbus(ModbusFields.model_validate(config), context([]))
                await first.connect()
                for port in (wire.ours, "/dev/no-such-line"):
                    other = Modbus(
                        ModbusFields.model_validate(fields(port, unifiedAddresses=["a.holding.3.UINT16"])), context([])
                    )
                    with pytest.raises(ConnectError, match=port):
                        await other.connect()
                    await other.close()
                await first.close()

    asyncio.run(scenario())


def test_a_flow_goes_on_over_a_line_that_was_cut() -> None:
    """The flow says that it has no connection, and has one again by itself."""

    async def scenario() -> None:
        with line() as wire:
            async with slaves(wire.theirs, "rtu"):
                engine = FlowEngine()
                source = fields(
                    wire.ours, timeout="100ms", timeBetweenReads="20ms", unifiedAddresses=["a.holding.3.UINT16"]
                )
                await engine.start("a", {"input": {"modbus": source}, "output": {"drop": {}}})

                async def until(fact: Any) -> None:
                    async with asyncio.timeout(10):
                        while not fact(engine.status("a")):  # noqa: ASYNC110  # a status tells nobody
                            await asyncio.sleep(0.01)

                await until(lambda status: status.output_sent >= 3)
                wire.cut.set()
                await until(lambda status: not status.input_connected)
                wire.cut.clear()
                sent = engine.status("a").output_sent  # type: ignore[union-attr]
                await until(lambda status: status.input_connected and status.output_sent > sent + 3)
                await engine.close()

    asyncio.run(scenario())

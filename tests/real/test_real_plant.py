"""The simulated plant of the demo: real Modbus TCP on loopback, a machine that drops off the network, and the example config over it."""

import asyncio
import itertools
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.plant.plant import COILS, DISCRETE, HOLDING, INPUT, Plant, furnace, press
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient

from setpoint.agent.config import Configuration, read_config
from setpoint.flows import FlowEngine
from setpoint.namespace import EmbeddedBroker

EXAMPLE = Path(__file__).parents[2] / "examples" / "plant"


def floats(registers: list[int]) -> tuple[float, ...]:
    packed = struct.pack(f">{len(registers)}H", *registers)
    return struct.unpack(f">{len(packed) // 4}f", packed)


async def closed(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    await writer.wait_closed()
    return False


@given(st.floats(0, 1e6))
def test_a_press_behaves_like_one(seconds: float) -> None:
    """Temperature and pressure stay in range, strokes are only ever added, and none while it stands."""
    now, later = press(seconds), press(seconds + 1)
    temperature, pressure = floats(now[HOLDING][:4])
    assert 20 < temperature < 70
    assert 6 <= pressure < 182
    strokes, strokes_later = (table[HOLDING][4] << 16 | table[HOLDING][5] for table in (now, later))
    assert 0 <= strokes_later - strokes <= 1
    if now[COILS] == later[COILS] == [0]:
        assert strokes == strokes_later
        assert pressure == 6


@given(st.floats(0, 1e6))
def test_a_furnace_behaves_like_one(seconds: float) -> None:
    """It holds its setpoint, colder after the door was open, and burns more gas then."""
    tables = furnace(seconds)
    temperature, gas_flow = floats(tables[INPUT])
    assert 790 < temperature < 852
    assert 17 < gas_flow < 40
    assert tables[HOLDING] == [850]
    assert tables[DISCRETE][0] in (0, 1)


def test_values_move_from_reading_to_reading() -> None:
    """A dashboard over it shows curves, not lines."""
    readings = {tuple(press(second / 2)[HOLDING][:4]) for second in range(40)}
    assert len(readings) == 40


def test_a_machine_is_read_over_modbus_tcp_and_cannot_be_written() -> None:
    """A stock client reads all four tables; a write is refused by the device."""

    async def scenario() -> None:
        plant = Plant(port_base=0, drop_every=0, say=lambda _: None)
        await plant.start()
        client = AsyncModbusTcpClient("127.0.0.1", port=plant.machines["furnace-1"].port, reconnect_delay=0)
        try:
            assert await client.connect()
            assert (await client.read_holding_registers(0, count=1)).registers == [850]
            assert floats((await client.read_input_registers(0, count=4)).registers)[0] > 790
            assert (await client.read_discrete_inputs(0, count=1)).bits[0] in (True, False)
            assert (await client.write_register(0, 900)).isError()
            assert (await client.read_holding_registers(7, count=1)).isError()
        finally:
            client.close()
            await plant.stop()

    asyncio.run(scenario())


def test_a_machine_that_drops_off_breaks_its_connections_and_comes_back_on_its_port() -> None:
    """As if unplugged: connections end, the port refuses, the others are not touched; then it answers again."""

    async def scenario() -> None:
        said = asyncio.Queue[str]()
        plant = Plant(port_base=0, drop_every=0.2, drop_for=0.15, say=said.put_nowait)
        await plant.start()
        assert [(await said.get()).split()[0] for _ in range(3)] == ["press-1", "press-2", "furnace-1"]
        port, other = plant.machines["press-2"].port, plant.machines["press-1"].port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        work = asyncio.create_task(plant.run())
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
            assert await closed(port)
            assert not await closed(other)
            assert await said.get() == "press-2 off the network for 0.15 s"
            assert await said.get() == f"press-2 back on 127.0.0.1:{port}"
            assert not await closed(port)
        finally:
            writer.close()
            work.cancel()
            await plant.stop()
        assert await closed(port)
        assert await closed(other)

    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """The plant as a process of its own, on free ports."""
    command = [
        sys.executable,
        str(EXAMPLE / "plant.py"),
        "--port-base",
        "0",
        "--drop-every",
        "0.3",
        "--drop-for",
        "0.1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_says_what_happens_and_ends_cleanly(process: subprocess.Popen[str], number: int) -> None:
    """One line an event, exit status 0 on SIGINT and SIGTERM, and no traceback."""
    assert process.stdout is not None
    first = [line.strip() for line in itertools.islice(process.stdout, 5)]
    assert [line.rpartition(":")[0] for line in first[:3]] == [
        f"{n} on 127.0.0.1" for n in ("press-1", "press-2", "furnace-1")
    ]
    assert first[3] == "press-2 off the network for 0.1 s"
    assert first[4] == first[1].replace(" on ", " back on ")
    process.send_signal(number)
    rest = process.stdout.read()
    assert process.wait(5) == 0
    assert rest.endswith("the plant stops\n")
    assert "Traceback" not in rest


@pytest.mark.real
def test_a_taken_port_is_said_in_words() -> None:
    """Two plants at once is the usual mistake of a newcomer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, str(EXAMPLE / "plant.py"), "--port-base", str(port)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 1
    assert f"press-1: port {port} is taken; choose others with --port-base" in result.stderr
    assert "Traceback" not in result.stderr


def example(ports: dict[str, int]) -> Configuration:
    text = (EXAMPLE / "config.yaml").read_text(encoding="utf-8")
    for old, name in (("5020", "press-1"), ("5021", "press-2"), ("5022", "furnace-1")):
        text = text.replace(f'PORT: "{old}"', f'PORT: "{ports[name]}"').replace(
            'timeBetweenReads: "2s"', 'timeBetweenReads: "1s"'
        )
    return read_config(text)


def test_the_example_config_is_right() -> None:
    """The first config a newcomer reads has no problem and no warning."""
    configuration = example({"press-1": 5020, "press-2": 5021, "furnace-1": 5022})
    assert configuration.problems == ()
    assert [(bridge.name, bridge.port) for bridge in configuration.bridges] == [
        ("press-1", 5020),
        ("press-2", 5021),
        ("furnace-1", 5022),
    ]


@pytest.mark.real
def test_every_value_of_the_plant_reaches_its_topic(tmp_path: Path) -> None:
    """Machines, config, flows and broker together: the topics the example promises are there, with values in range."""

    async def scenario() -> None:
        plant = Plant(port_base=0, drop_every=0, say=lambda _: None)
        await plant.start()
        configuration = example({name: machine.port for name, machine in plant.machines.items()})
        async with EmbeddedBroker(tmp_path / "broker.db") as broker:
            engine = FlowEngine(broker)
            subscription = broker.subscribe("test")
            for bridge in configuration.bridges:
                assert bridge.read is not None
                await engine.start(bridge.name, bridge.read, bridged_by=bridge.bridged_by)
            seen: dict[str, str] = {}
            while len(seen) < 12:
                for message in await subscription.read(timeout=5):
                    seen[message.topic] = message.headers["bridged_by"]
            await subscription.close()
            await engine.close()
        await plant.stop()
        shop = "umh.v1.acme.cologne.press-shop"
        expected = {
            f"{shop}.press-{n}._raw.{tag}" for n in (1, 2) for tag in ("temperature", "pressure", "strokes", "running")
        }
        expected |= {f"{shop}.furnace-1._raw.{tag}" for tag in ("temperature", "setpoint", "gas_flow", "door_open")}
        assert set(seen) == expected
        assert seen[f"{shop}.press-1._raw.temperature"] == "protocol-converter-acme-cologne-press-shop-press-1"

    asyncio.run(asyncio.wait_for(scenario(), 15))

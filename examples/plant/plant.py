"""A small press shop to try Setpoint on: two presses and a furnace, each a real Modbus TCP server of its own.

    python examples/plant/plant.py                          # ports 5020, 5021 and 5022
    python examples/plant/plant.py --port-base 0            # free ports, printed at the start
    python examples/plant/plant.py --drop-every 0           # press-2 stays on the network

A machine is nothing but a function of time: asked for its registers, it works out what they hold at that moment. Press-2 has a bad
cable: every minute it is off the network for 15 seconds, its port closed and its connections broken, as if it had been unplugged.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

COILS, DISCRETE, HOLDING, INPUT = 1, 2, 3, 4
"""The function codes that read the four tables of a Modbus device."""

Tables = dict[int, list[int]]
"""The registers of each table from address 0 on; coils and discrete inputs are packed 16 to a register."""


def registers(layout: str, *values: float) -> list[int]:
    """Values as Modbus registers, highest word first; `layout` as in `struct`, such as ``ffI``."""
    packed = struct.pack(">" + layout, *values)
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


def press(seconds: float) -> Tables:
    """A press after so many seconds: 100 s of work, then 20 s to change the tool. Each stroke takes 2 s."""
    shift, within = divmod(seconds, 120)
    running = within < 100
    worked = within if running else 100
    strokes = int(shift * 50 + worked // 2)
    cooling = 0 if running else within - 100
    temperature = 24 + 41 * (1 - math.exp(-worked / 40)) * math.exp(-cooling / 60) + 0.4 * math.sin(seconds * 1.7)
    pressure = 6 + 175 * max(0.0, math.sin(math.pi * within)) ** 2 if running else 6.0
    return {COILS: [int(running)], HOLDING: registers("ffI", temperature, pressure, strokes)}


def furnace(seconds: float) -> Tables:
    """A furnace after so many seconds: it holds its setpoint, and loses heat while the door is open (12 s in every 90 s)."""
    within = seconds % 90
    door_open = within < 12
    lost = 55 * (within / 12 if door_open else math.exp(-(within - 12) / 15))
    temperature = 850 - lost + 1.5 * math.sin(seconds / 7)
    gas_flow = 18 + 0.35 * lost
    return {DISCRETE: [int(door_open)], INPUT: registers("ff", temperature, gas_flow), HOLDING: registers("h", 850)}


@dataclass
class Machine:
    """One machine on the network: a Modbus TCP server on a port of the loopback interface."""

    name: str
    process: Callable[[float], Tables]
    port: int
    begun: float = 0.0
    server: ModbusTcpServer | None = None

    async def plug_in(self) -> None:
        """Open the port. A port of 0 becomes a free one, which the machine then keeps. Raises `RuntimeError` when it is taken."""
        self.server = ModbusTcpServer(self._device(), address=("127.0.0.1", self.port))
        try:
            await self.server.serve_forever(background=True)
        except RuntimeError:
            raise RuntimeError(f"{self.name}: port {self.port} is taken; choose others with --port-base") from None
        self.port = self.server.transport.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        """Close the port and break every connection."""
        if self.server:
            await self.server.shutdown()
            self.server = None

    def _device(self) -> SimDevice:
        tables = self.process(0.0)

        async def answer(code: int, _start: int, _address: int, _count: int, current: list[int], _new: object) -> None:
            current[:] = self.process(time.monotonic() - self.begun).get(code, current)

        def block(code: int) -> list[SimData]:
            kind = DataType.BITS if code in (COILS, DISCRETE) else DataType.REGISTERS
            return [SimData(0, values=tables.get(code, [0]), datatype=kind, readonly=True)]

        return SimDevice(id=1, simdata=(block(COILS), block(DISCRETE), block(HOLDING), block(INPUT)), action=answer)


class Plant:
    """The whole shop. `drop_every` and `drop_for` are seconds; with 0 no machine ever drops off the network."""

    def __init__(
        self,
        *,
        port_base: int = 5020,
        drop_every: float = 60.0,
        drop_for: float = 15.0,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        kinds = (("press-1", press), ("press-2", press), ("furnace-1", furnace))
        self.machines = {
            name: Machine(name, process, port_base + number if port_base else 0)
            for number, (name, process) in enumerate(kinds)
        }
        self.drop_every, self.drop_for, self.say = drop_every, drop_for, say

    async def start(self) -> None:
        """Plug in all machines. The presses are not in step."""
        try:
            for number, machine in enumerate(self.machines.values()):
                machine.begun = time.monotonic() - 37 * number
                await machine.plug_in()
                self.say(f"{machine.name} on 127.0.0.1:{machine.port}")
        except RuntimeError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Unplug all machines."""
        for machine in self.machines.values():
            await machine.unplug()

    async def run(self) -> None:
        """Let the bad cable of press-2 do its work, until cancelled."""
        if not self.drop_every or not self.drop_for:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(max(0.0, self.drop_every - self.drop_for))
            await self.drop("press-2", self.drop_for)

    async def drop(self, name: str, seconds: float) -> None:
        """Take a machine off the network for a while."""
        machine = self.machines[name]
        self.say(f"{name} off the network for {seconds:g} s")
        await machine.unplug()
        await asyncio.sleep(seconds)
        await machine.plug_in()
        self.say(f"{name} back on 127.0.0.1:{machine.port}")


async def main() -> None:
    """Run the plant until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="Two presses and a furnace on Modbus TCP.")
    parser.add_argument(
        "--port-base", type=int, default=5020, help="first of three ports; 0 picks free ones (default: 5020)"
    )
    parser.add_argument(
        "--drop-every", type=float, default=60, help="seconds from drop to drop, 0 for never (default: 60)"
    )
    parser.add_argument("--drop-for", type=float, default=15, help="seconds off the network (default: 15)")
    chosen = parser.parse_args()
    plant = Plant(port_base=chosen.port_base, drop_every=chosen.drop_every, drop_for=chosen.drop_for)
    work = asyncio.create_task(plant.run())
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, work.cancel)
    try:
        await plant.start()
        await work
    except asyncio.CancelledError:
        with suppress(OSError):  # whoever listened may be gone
            print("the plant stops", flush=True)
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
    finally:
        await plant.stop()


if __name__ == "__main__":
    asyncio.run(main())

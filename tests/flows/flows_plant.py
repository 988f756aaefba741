"""What the tests of flows share: a Modbus device on the loopback, and waiting for a fact without sleeping blindly."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

from setpoint.flows.component import Context


class Plc:
    """A real Modbus TCP server (pymodbus) with its registers in the open. Starts on a free port and keeps it over a restart."""

    def __init__(self, *, size: int = 200) -> None:
        self.coils = [n % 3 == 0 for n in range(64)]
        self.discrete = [n % 2 == 1 for n in range(64)]
        self.holding = [0] * size
        self.inputs = list(range(1000, 1000 + size))
        self.port = 0
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def put(self, address: int, layout: str, value: Any) -> None:
        """Stores the value in big endian order (`layout` as in `struct`) from that holding register on."""
        raw = struct.pack(">" + layout, value)
        self.holding[address : address + len(raw) // 2] = struct.unpack(f">{len(raw) // 2}H", raw)

    async def start(self) -> None:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import SimData, SimDevice
        from pymodbus.simulator.simutils import DataType

        blocks = (
            [SimData(0, values=self.coils, datatype=DataType.BITS)],
            [SimData(0, values=self.discrete, datatype=DataType.BITS)],
            [SimData(0, values=self.holding, datatype=DataType.REGISTERS)],
            [SimData(0, values=self.inputs, datatype=DataType.REGISTERS)],
        )
        self._server = ModbusTcpServer(SimDevice(1, simdata=blocks), address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)
        self.port = self._server.transport.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()
            self._server = None

    async def __aenter__(self) -> "Plc":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()


def context(failed: Callable[[str], None] = lambda reason: None, **more: Any) -> Context:
    """A context for a component outside a flow."""
    given: dict[str, Any] = {
        "flow": "test",
        "bridged_by": "",
        "broker": None,
        "clock": lambda: 1_700_000_000.0,
        "random": lambda: 0.5,
    }
    return Context(**{**given, "now": time.monotonic, "failed": failed, "answered": lambda host, port: None, **more})


async def until(fact: Callable[[], Any], timeout: float = 5.0) -> None:
    """Waits until the fact is true; fails when it does not become true in time."""
    async with asyncio.timeout(timeout):
        while not fact():  # noqa: ASYNC110  # facts of many kinds, none of which tells
            await asyncio.sleep(0.002)


def run(scenario: Awaitable[Any]) -> Any:
    """Runs a scenario that must not take longer than 20 s."""

    async def limited() -> Any:
        async with asyncio.timeout(20):
            return await scenario

    return asyncio.run(limited())

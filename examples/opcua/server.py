"""A small OPC UA server to try the connector with: a press line whose values move. Needs `pip install 'setpoint[opcua]'`.

    python examples/opcua/server.py [PORT]

It listens on loopback alone, without security, and ends with Ctrl-C or the end of its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import sys
from datetime import UTC, datetime

from asyncua import Server, ua

NAMESPACE = "urn:setpoint:example:plant"


async def plant(server: Server) -> dict[str, ua.NodeId]:
    """Adds the line to the server's objects; gives the nodes of what moves."""
    index = await server.register_namespace(NAMESPACE)

    def node(name: str) -> tuple[ua.NodeId, ua.QualifiedName]:
        return ua.NodeId(name, index), ua.QualifiedName(name.rpartition(".")[2], index)

    line = await server.nodes.objects.add_folder(*node("Line"))
    press = await line.add_object(*node("Line.Press"))
    await press.add_variable(*node("Line.Press.Speed"), 12.5)
    await press.add_variable(*node("Line.Press.Count"), 0, ua.VariantType.UInt32)
    await press.add_variable(*node("Line.Press.Running"), True)
    setpoint = await press.add_variable(*node("Line.Press.Setpoint"), 40.0)
    await setpoint.set_writable()
    oven = await line.add_object(*node("Line.Oven"))
    await oven.add_variable(*node("Line.Oven.Zones"), [180.0, 200.0, 190.0])
    await oven.add_variable(*node("Line.Oven.Recipe"), "bread")
    return {name: ua.NodeId(f"Line.Press.{name}", index) for name in ("Speed", "Count")}


async def run(port: int) -> None:
    """Serves until standard input ends."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    nodes = await plant(server)
    async with server:
        print(f"opc.tcp://127.0.0.1:{port}/plant", flush=True)
        end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        for count in itertools.count():
            for name, value in (
                ("Speed", ua.Variant(12.5 + math.sin(count / 10))),
                ("Count", ua.Variant(count, ua.VariantType.UInt32)),
            ):
                moved = ua.DataValue(value, SourceTimestamp=datetime.now(UTC))
                await server.write_attribute_value(nodes[name], moved)
            done, _ = await asyncio.wait({end}, timeout=0.2)
            if done:
                return


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 4840))

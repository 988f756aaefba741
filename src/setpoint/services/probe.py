"""A TCP probe: can a connection be opened, how fast, and if not, why.

The three answers are those a port scanner gives for a connect scan: *open* (accepted), *closed* (refused), *filtered* (no answer in time,
or a router said no). A name that cannot be resolved is *unresolved*. A connection that opens is closed again at once; nothing is sent.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Literal

import msgspec

from setpoint.services.resolver import Resolver

Answer = Literal["open", "closed", "filtered", "unresolved"]

_FILTERED = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EACCES, errno.EPERM}


class Probe(msgspec.Struct, frozen=True):
    """The answer to one probe. `latency_ms` is the time to connect, None unless open; `detail` is for people."""

    answer: Answer
    detail: str
    latency_ms: float | None = None


async def probe_tcp(host: str, port: int, timeout: float, resolver: Resolver) -> Probe:
    """Try to open a TCP connection within `timeout` seconds. Never raises for what the network does or how the host is called."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(await resolver.address(host), port)
    except TimeoutError:
        return Probe("filtered", f"no answer from {where} within {timeout:g} s")
    except socket.gaierror as error:
        return Probe("unresolved", f"{host} cannot be resolved: {error.strerror}")
    except (UnicodeError, ValueError) as error:
        return Probe("unresolved", f"{host!r} is not the name of a host: {error}")
    except ConnectionRefusedError:
        return Probe("closed", f"{where} refuses connections")
    except OSError as error:
        answer: Answer = "filtered" if error.errno in _FILTERED else "closed"
        return Probe(answer, f"{where}: {error.strerror or error}")
    latency = (loop.time() - started) * 1000
    writer.transport.abort()  # nothing was sent: a reset frees the device's slot at once
    return Probe("open", f"{where} accepts connections", latency)

"""The TCP probe: open, closed, filtered and unresolved, as a port scanner would say."""

from __future__ import annotations

import asyncio
import socket

from setpoint.services import Resolver, probe_tcp


def test_a_listening_port_is_open_with_a_latency() -> None:
    """The time to connect is measured in milliseconds."""

    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        probe = await probe_tcp("127.0.0.1", port, 1.0, Resolver())
        assert probe.answer == "open"
        assert probe.latency_ms is not None
        assert 0 < probe.latency_ms < 1000
        server.close()

    asyncio.run(main())


def test_a_port_nobody_listens_on_is_closed() -> None:
    """Refused is an answer, and it names the place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    probe = asyncio.run(probe_tcp("127.0.0.1", port, 1.0, Resolver()))
    assert (probe.answer, probe.detail) == ("closed", f"127.0.0.1:{port} refuses connections")


def test_a_port_that_does_not_answer_is_filtered() -> None:
    """A full accept queue drops the request, as a firewall would; the probe gives up in time."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        port = busy.getsockname()[1]
        waiting = []
        for _ in range(4):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
            waiting.append(caller)
        probe = asyncio.run(probe_tcp("127.0.0.1", port, 0.2, Resolver()))
        for caller in waiting:
            caller.close()
    assert (probe.answer, probe.detail) == ("filtered", f"no answer from 127.0.0.1:{port} within 0.2 s")


def test_a_name_that_cannot_be_resolved_is_said_so() -> None:
    """Names under `.invalid` never resolve (RFC 2606)."""
    probe = asyncio.run(probe_tcp("plc.invalid", 502, 5.0, Resolver()))
    assert probe.answer == "unresolved"
    assert "plc.invalid cannot be resolved" in probe.detail


def test_what_cannot_be_a_name_of_a_host_is_said_so() -> None:
    """Empty labels, labels that are too long, and zero bytes raise nothing."""
    for host in ("a..b", "x" * 70 + ".example", "plc\0"):
        assert asyncio.run(probe_tcp(host, 502, 5.0, Resolver())).answer == "unresolved", host

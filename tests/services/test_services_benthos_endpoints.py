"""Looking at a flow's HTTP server: who answers, what they say, and strangers of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from setpoint.services.benthos import Connection, Endpoints, Scan

DIGEST = "0123456789abcdef"
METRICS = '# TYPE x counter\ninput_received{path="root.input"} 5\noutput_sent{path="root.output"} 4\n'
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reply(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()


class Benthos:
    """Answers as the real one does; what it says can be changed. Counts the connections it took."""

    def __init__(self, digest: str = DIGEST) -> None:
        self.pages = {"ping": "pong", "ready": "OK", "metrics": METRICS, "version": '{"version":"1.20.0", "built":""}'}
        self.ready_status = "200 OK"
        self.digest = digest
        self.connections = 0
        self.asked: list[str] = []
        self.hang_up = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while request := await _request(reader):
            if self.hang_up:
                self.hang_up = False
                return
            page = request.split()[1].removeprefix(f"/setpoint/{self.digest}").lstrip("/")
            self.asked.append(page)
            if page not in self.pages:
                writer.write(reply("404 page not found\n", "404 Not Found"))
            else:
                writer.write(reply(self.pages[page], self.ready_status if page == "ready" else "200 OK"))


async def _request(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[int]:
    """The port on which the handler answers."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def look(handler: Handler, *, timeout: float = 2.0) -> Scan:
    """One look at this server."""

    async def main() -> Scan:
        async with served(handler) as port:
            endpoints = Endpoints(port, DIGEST, timeout=timeout)
            scan = await endpoints.scan()
            endpoints.close()
            return scan

    return asyncio.run(asyncio.wait_for(main(), 20))


def saying(answer: bytes) -> Handler:
    """Sends this, whatever it is asked, and waits for the other side to go."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        while await reader.read(65_536):
            pass

    return handler


def test_a_flow_that_is_well() -> None:
    """Live, ready, with version and metrics, over one connection that is kept; the version is asked once."""

    async def main() -> None:
        benthos = Benthos()
        async with served(benthos) as port:
            endpoints = Endpoints(port, DIGEST)
            scans = [await endpoints.scan() for _ in range(3)]
            endpoints.close()
        assert scans[0] == scans[1] == scans[2]
        scan = scans[0]
        assert (scan.answered, scan.live, scan.ready, scan.version) == ("flow", True, True, "1.20.0")
        assert scan.metrics is not None
        assert scan.metrics.counters.input_received == 5
        assert (scan.problem, scan.not_ready, scan.metrics_problem) == ("", "", "")
        assert benthos.connections == 1
        assert benthos.asked.count("version") == 1

    asyncio.run(main())


def test_not_ready_says_why() -> None:
    """In a sentence, as Bento does, or for each connection, as Benthos 4 does."""
    benthos = Benthos()
    benthos.ready_status = "503 Service Unavailable"
    benthos.pages["ready"] = "input not connected\n"
    scan = look(benthos)
    assert (scan.live, scan.ready, scan.not_ready, scan.connections) == (True, False, "input not connected", ())
    benthos.pages["ready"] = (
        '{"statuses":[{"label":"a","path":"input","connected":false,"error":"refused"},'
        '{"label":"","path":"output","connected":true}]}'
    )
    scan = look(benthos)
    assert (scan.ready, scan.not_ready) == (False, "input refused")
    assert scan.connections == (Connection("a", "input", False, "refused"), Connection("", "output", True))


@pytest.mark.parametrize("body", ["", "{", "{}", "[]", '{"statuses": 5}', '{"error": ""}'])
def test_an_odd_readiness_is_no_error(body: str) -> None:
    """The status says whether it is ready; without a reason of its own that is the reason."""
    benthos = Benthos()
    benthos.pages["ready"] = body
    assert look(benthos).ready
    benthos.ready_status = "503 Service Unavailable"
    scan = look(benthos)
    assert (scan.live, scan.ready) == (True, False)
    assert scan.not_ready


def test_metrics_that_cannot_be_read_are_a_reason() -> None:
    """Another kind of metrics, none at all, or a counter that is not there; the flow is live all the same."""
    benthos = Benthos()
    benthos.pages["metrics"] = '{"input_received":0}'
    scan = look(benthos)
    assert (scan.live, scan.metrics) == (True, None)
    assert scan.metrics_problem.startswith("/metrics: metrics are not in the Prometheus format: they begin with ")
    benthos.pages["metrics"] = 'input_received{path="root.input"} 5\n'
    assert look(benthos).metrics_problem == "/metrics has no output_sent"
    del benthos.pages["metrics"]
    assert look(benthos).metrics_problem.startswith("/metrics answers 404: ")


def test_another_config_is_not_taken_for_this_flow() -> None:
    """A Benthos that answers elsewhere than under our path: an older one, or another flow's."""
    scan = look(Benthos(digest="another"))
    assert (scan.answered, scan.live) == ("other config", False)
    assert "runs another config" in scan.problem


def test_nobody_is_at_home() -> None:
    """Refused is a reason, and it names the place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scan = asyncio.run(Endpoints(port, DIGEST).scan())
    assert (scan.answered, scan.problem) == ("nobody", f"nothing listens on 127.0.0.1:{port}")


STRANGERS = {
    "another web server": reply("hello", "404 Not Found") * 5,
    "a server that speaks first": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a page that only contains the word": reply("<html>a pong table</html>" * 100) * 5,
    "no length": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "a length without measure": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nhello",
    "a chunk without measure": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nhello",
    "a chunk that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
    "a status that is none": b"HTTP/1.1 twohundred\r\nContent-Length: 0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000,
    "a line without end": b"x" * 300_000,
    "an empty line": b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_known_as_one(answer: bytes) -> None:
    """Whatever has taken the port: a reason that says so, and nothing it says is believed."""
    scan = look(saying(answer))
    assert (scan.answered, scan.live, scan.ready, scan.metrics) == ("stranger", False, False, None)
    assert "port" in scan.problem or "does not answer as Benthos does" in scan.problem


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_one_that_hangs_costs_the_timeout_and_no_more(answer: bytes) -> None:
    """Before, within and after the head of its answer."""
    scan = look(saying(answer), timeout=0.1)
    assert scan.answered == "nobody"
    assert scan.problem.endswith("within 0.1 s")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_one_that_hangs_up_is_nobody(answer: bytes) -> None:
    """In the middle of whatever it says: a process that is ending."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(answer)

    scan = look(handler)
    assert scan.answered == "nobody"
    assert scan.problem.startswith("127.0.0.1:")


def test_a_body_in_chunks_is_read() -> None:
    """Also with an extension and a trailer; Go sends all that is longer than 2 kB so."""
    metrics = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = METRICS.encode()
    metrics += b"%x;a=b\r\n%s\r\n%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    scan = look(saying(reply("pong") + reply("OK") + metrics + reply('{"version":"1"}')))
    assert scan.metrics is not None
    assert (scan.metrics.counters.output_sent, scan.version) == (4, "1")


def test_a_process_that_was_restarted_is_found_within_the_same_look() -> None:
    """The kept connection turns out to be dead: another is opened at once, and the version asked again."""

    async def main() -> None:
        benthos = Benthos()
        async with served(benthos) as port:
            endpoints = Endpoints(port, DIGEST)
            assert (await endpoints.scan()).version == "1.20.0"
            benthos.hang_up = True
            benthos.pages["version"] = '{"version":"1.21.0"}'
            scan = await endpoints.scan()
            assert (scan.live, scan.version) == (True, "1.21.0")
            assert benthos.connections == 2
            endpoints.close()

    asyncio.run(main())


def test_a_look_that_is_given_up_leaves_nothing_behind() -> None:
    """Cancelled in the middle of an answer: the next look does not read the rest of it as its own."""

    async def main() -> None:
        benthos = Benthos()
        hangs, ended = asyncio.Event(), asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if hangs.is_set():
                await benthos(reader, writer)
                return
            hangs.set()
            writer.write(reply("pong"))
            with contextlib.suppress(ConnectionError):
                while await reader.read(10_000):
                    pass
            ended.set()

        async with served(handler) as port:
            endpoints = Endpoints(port, DIGEST, timeout=20.0)
            task = asyncio.create_task(endpoints.scan())
            await hangs.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(ended.wait(), 5)
            assert (await endpoints.scan()).version == "1.20.0"
            endpoints.close()

    asyncio.run(main())

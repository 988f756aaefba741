"""HTTP and WebSockets, with real servers on this machine."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.data.stream.stream_samples import double, numbers, straight

from setpoint.data.stream import Mark, StreamError, open_sink, open_source, run_stream


class Shop(ThreadingHTTPServer):
    """Gives 25 records in pages of 10, each way that pages are given; takes records, and remembers under which keys."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[tuple[str, str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.stumbles = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked[self.path] += 1
        if self.server.stumbles:
            self.server.stumbles -= 1
            self._answer(503, b"busy", {"Retry-After": "7"})
            return
        first = int(query.get("from", 0)) if parts.path != "/numbered" else (int(query["page"]) - 1) * 10
        page = numbers(25)[first : first + 10]
        more = first + 10 < 25
        if parts.path == "/link":
            headers = {"Link": f'</link?from={first + 10}>; rel="next"'} if more else {}
            self._answer(200, json.dumps(page).encode(), headers)
        elif parts.path == "/cursor":
            self._answer(200, json.dumps({"data": {"rows": page}, "next": first + 10 if more else None}).encode())
        elif parts.path == "/url":
            self._answer(200, json.dumps({"rows": page, "next": f"?from={first + 10}" if more else ""}).encode())
        elif parts.path == "/numbered":
            self._answer(200, json.dumps(page).encode())
        elif parts.path == "/lines":
            lines = b'{"a":0}\nbroken\n\n{"a":1}\n'
            self._answer(200, lines, {"Content-Type": "application/x-ndjson"})
        elif parts.path == "/again":
            self._answer(200, b"[]", {"Link": '</again>; rel="next"'})
        else:
            self._answer(404, b"no")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.stumbles:
            self.server.stumbles -= 1
            self._answer(503, b"busy")
            return
        if b'"a":7,' in body:
            self._answer(422, b"seven is not for sale")
            return
        self.server.bodies.append((self.headers["Idempotency-Key"], self.headers["Content-Type"], body))
        self._answer(200, b"")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def shop() -> Iterator[Shop]:
    server = Shop()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


WAYS: dict[str, dict[str, str]] = {
    "/link": {},
    "/cursor": {"items": "data.rows", "next": "next", "cursor": "from"},
    "/url": {"items": "rows", "next": "next"},
    "/numbered": {"page": "page"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limit", [4, 10, 100])
def test_pages_are_read_one_after_the_other(shop: Shop, way: str, limit: int) -> None:
    """However the next one is named; every position is one to go on from, also in the middle of a page."""

    async def rest(source: Any) -> list[Any]:
        found = []
        while (chunk := await source.read(limit)) is not None:
            found.append(chunk)
        await source.close()
        return found

    async def scenario() -> None:
        whole = await rest(open_source(shop.url + way, **WAYS[way]))
        assert [record for chunk in whole for record in chunk.records] == numbers(25)
        for done, chunk in enumerate(whole, 1):
            source: Any = open_source(shop.url + way, **WAYS[way])
            await source.seek(chunk.position)
            again = await rest(source)
            assert [c.records for c in again] == [c.records for c in whole[done:]]

    asyncio.run(scenario())


def test_a_server_that_is_busy_is_asked_again(shop: Shop) -> None:
    """After as long as it says; not without end; and not where asking again does not help."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    shop.stumbles = 2
    report = run_stream(straight(), open_source(f"{shop.url}/link", sleep=sleep), [])
    assert report.read == 25
    assert waits == [7.0, 7.0]
    shop.stumbles = 9
    with pytest.raises(StreamError, match="the source broke: HTTPStatusError: Server error '503"):
        run_stream(straight(), open_source(f"{shop.url}/link", sleep=sleep, attempts=3))
    shop.stumbles = 0
    with pytest.raises(StreamError, match="404"):
        run_stream(straight(), open_source(f"{shop.url}/nothing", sleep=sleep))
    assert shop.asked["/nothing"] == 1


def test_answers_without_records_are_errors(shop: Shop) -> None:
    """An object in which nobody said where the records are; a page that follows itself; a broken line is malformed."""
    with pytest.raises(StreamError, match="no list of records in the answer"):
        run_stream(straight(), f"{shop.url}/cursor")
    with pytest.raises(StreamError, match="this page again"):
        run_stream(straight(), f"{shop.url}/again")
    report = run_stream(straight(), f"{shop.url}/lines")
    assert (report.read, report.malformed) == (2, 1)


def test_chunks_are_posted_under_keys_that_stay(shop: Shop) -> None:
    """The chunk that is sent again after a resume has the key it had, all others have their own."""

    def broken(mark: Mark) -> None:
        if mark.source["taken"] == 4:
            raise OSError("killed before it was noted")

    marks: list[Mark] = []

    def keep(mark: Mark) -> None:
        broken(mark)
        marks.append(mark)

    with pytest.raises(StreamError, match="the checkpoint broke"):
        run_stream(straight(double), numbers(6), f"{shop.url}/in", chunk_size=2, on_commit=keep)
    run_stream(straight(double), numbers(6), f"{shop.url}/in", chunk_size=2, resume=True, start=marks[-1])
    keys = [key for key, _, _ in shop.bodies]
    assert [len(json.loads(body)) for _, _, body in shop.bodies] == [2, 2, 2, 2]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(("body", "requests", "failed"), [("each", 9, 1), ("lines", 2, 4), ("array", 2, 4)])
def test_what_the_server_refuses_is_a_dead_letter(shop: Shop, body: str, requests: int, failed: int) -> None:
    """One record where each is sent by itself, else the chunk that it was in; the answer is the reason."""

    async def sleep(seconds: float) -> None: ...

    shop.stumbles = 1
    sink = open_sink(f"{shop.url}/in", body=body, sleep=sleep)
    report = run_stream(straight(double), numbers(10), sink, chunk_size=4)
    assert report.failed == {"done": failed}
    assert report.first[0].reason == "refused with 422: seven is not for sale"
    assert len(shop.bodies) == requests


def websocket(serve: Callable[[Any], Awaitable[None]], stream: Callable[[str], Awaitable[None]]) -> None:
    """Runs a server and, against it, a stream."""
    pytest.importorskip("websockets", reason="needs websockets: pip install 'setpoint[websocket]'")
    from websockets.asyncio.server import serve as listen

    async def both() -> None:
        async with listen(serve, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            await stream(f"ws://127.0.0.1:{port}")

    asyncio.run(both())


def test_messages_of_a_websocket_are_records() -> None:
    """Until the server says that it is done; what is no JSON is malformed."""
    from setpoint.data.stream import arun_stream

    async def serve(connection: Any) -> None:
        assert json.loads(await connection.recv()) == {"topic": "orders"}
        for number in range(50):
            await connection.send(json.dumps({"a": number}))
        await connection.send("broken")

    async def stream(url: str) -> None:
        into: list[Any] = []
        source = open_source(url, subscribe={"topic": "orders"})
        report = await arun_stream(straight(), source, into, chunk_size=7)
        assert into == numbers(50)
        assert report.malformed == 1
        assert report.finished

    websocket(serve, stream)


def test_a_websocket_that_breaks_is_an_error() -> None:
    """A connection that ends other than normally is not the end of the records."""
    from setpoint.data.stream import arun_stream

    async def serve(connection: Any) -> None:
        await connection.send("1")
        await connection.close(1011, "out of orders")

    async def stream(url: str) -> None:
        with pytest.raises(StreamError, match="out of orders"):
            await arun_stream(straight(), url, [])

    websocket(serve, stream)


def test_records_are_sent_as_messages() -> None:
    """In order; the stream is done when the server has read them."""
    from setpoint.data.stream import arun_stream

    got: list[Any] = []

    async def serve(connection: Any) -> None:
        async for message in connection:
            got.append(json.loads(message))

    async def stream(url: str) -> None:
        report = await arun_stream(straight(double), numbers(20), url, chunk_size=6)
        assert report.emitted == {"done": 20}
        assert [record["b"] for record in got] == [2 * n for n in range(20)]

    websocket(serve, stream)

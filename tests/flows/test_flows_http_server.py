"""The `http_server` input: what it answers and when, and that nobody who sends can hold it up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from flows_plant import context, run, until

from setpoint.flows import FlowEngine, http_serving
from setpoint.flows.component import ConnectError, WriteError
from setpoint.flows.config import FlowConfigError, parse
from setpoint.flows.inputs import INPUTS
from setpoint.flows.inputs.http_server import HttpServer
from setpoint.flows.outputs.drop import Drop


@asynccontextmanager
async def listening(failed: Callable[[str], None] = lambda reason: None, **fields: Any) -> AsyncIterator[HttpServer]:
    given = {"address": "127.0.0.1:0", **fields}
    source = HttpServer(HttpServer.Fields.model_validate(given), context(failed=failed))
    await source.connect()
    try:
        yield source
    finally:
        await source.close()


@asynccontextmanager
async def delivered(source: HttpServer) -> AsyncIterator[list[Any]]:
    """A flow that takes everything at once; what it took."""
    found: list[Any] = []

    async def take() -> None:
        while True:
            found.extend(await source.read())
            await source.acknowledge()

    task = asyncio.create_task(take())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait({task})


async def send(
    source: HttpServer, body: bytes | AsyncIterator[bytes] = b"x", *, path: str = "/post", **more: Any
) -> Any:
    method = more.pop("method", "POST")
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"http://127.0.0.1:{source.port}{path}", content=body, **more)


async def raw(source: HttpServer, data: bytes, *, close: bool = False) -> bytes:
    """What is answered to these bytes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", source.port)
    writer.write(data)
    if close:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


def test_a_request_is_a_message() -> None:
    """Its body, with headers, parameters and where it came from as meta; nothing that says who somebody is."""

    async def scenario() -> None:
        async with listening(path="/in", allowed_verbs=["POST", "PUT"]) as source, delivered(source) as found:
            headers = {"X-Line-Id": "7", "Authorization": "Bearer hush", "Cookie": "hush", "User-Agent": "me"}
            answer = await send(source, b'{"n":1}', path="/in?tag=a%20b&http_server_verb=forged", headers=headers)
            assert (answer.status_code, answer.text) == (200, "")
            assert (await send(source, b"", path="/in", method="PUT")).status_code == 200
            first, second = found
            assert (first.payload, second.payload) == (b'{"n":1}', b"")
            assert first.meta["tag"] == "a b"
            assert first.meta["X-Line-Id"] == "7"
            assert first.meta["http_server_verb"] == "POST"
            assert first.meta["http_server_request_path"] == "/in"
            assert first.meta["http_server_remote_ip"] == "127.0.0.1"
            assert first.meta["http_server_user_agent"] == "me"
            assert "hush" not in str(first.meta)

    run(scenario())


def test_the_answer_comes_when_the_message_is_delivered() -> None:
    """Not before its own batch is acknowledged, in the order of the batches."""

    async def scenario() -> None:
        async with listening() as source:
            first = asyncio.create_task(send(source, b"1"))
            assert [msg.payload for msg in await source.read()] == [b"1"]
            second = asyncio.create_task(send(source, b"2"))
            assert [msg.payload for msg in await source.read()] == [b"2"]
            done, _ = await asyncio.wait({first, second}, timeout=0.1)
            assert not done
            await source.acknowledge()
            assert (await first).status_code == 200
            assert not second.done()
            await source.acknowledge()
            assert (await second).status_code == 200

    run(scenario())


def test_what_is_not_delivered_in_time_is_to_be_sent_again() -> None:
    """503 with when; one that the flow has not begun with is forgotten, one that it has may still be delivered, and that is said."""

    async def scenario() -> None:
        faults: list[str] = []
        async with listening(faults.append, timeout="100ms") as source:
            first = await send(source, b"1")
            assert (first.status_code, first.headers["retry-after"]) == (503, "1")
            assert first.text == "not delivered within 0.1 s\n"
            second = asyncio.create_task(send(source, b"2"))
            assert [msg.payload for msg in await source.read()] == [b"2"]
            assert (await second).text == "not delivered within 0.1 s; it may be delivered all the same\n"
            await source.acknowledge()
            assert faults[0] == "127.0.0.1 was answered 503: not delivered within 0.1 s"

    run(scenario())


def test_a_request_that_cannot_be_taken_is_told_why() -> None:
    """Before its body is read, by the status that says it; the sender's own faults are not the flow's."""

    async def scenario() -> None:
        faults: list[str] = []

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 100

        async with listening(faults.append, max_body_size=1000) as source, delivered(source) as found:

            async def status(body: Any = b"x", **more: Any) -> int:
                code: int = (await send(source, body, **more)).status_code
                return code

            assert await status(path="/other") == 404
            assert await status(method="GET") == 405
            assert await status(method="HEAD", path="/other") == 404
            assert await status(headers={"Content-Encoding": "gzip"}) == 415
            assert await status(headers={"Content-Type": "multipart/form-data; boundary=x"}) == 415
            assert await status(b"x" * 1001) == 413
            assert await status(b"x" * 20_000_000) == 413
            assert await status(endless()) == 413
            assert await status(b"x" * 1000) == 200
            assert len(found) == 1
            assert [fault.partition(" was answered ")[2][:3] for fault in faults] == ["415", "415", "413", "413", "413"]

    run(scenario())


def test_only_who_is_known_may_send() -> None:
    """By a token or a password, where any is asked for."""

    async def scenario() -> None:
        known = {"bearer_token": "let-me-in", "basic_auth": {"enabled": True, "username": "eva", "password": "secret"}}
        async with listening(**known) as source, delivered(source) as found:
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": "let-me-in"},
                {"Authorization": "Bearer"},
            ):
                answer = await send(source, headers=headers)
                assert answer.status_code == 401
                assert answer.headers.get_list("www-authenticate") == [
                    'Basic realm="setpoint"',
                    'Bearer realm="setpoint"',
                ]
            assert (await send(source, auth=("eva", "wrong"))).status_code == 401
            assert not found
            assert (await send(source, auth=("eva", "secret"))).status_code == 200
            assert (await send(source, headers={"Authorization": "bearer let-me-in"})).status_code == 200

    run(scenario())


def test_no_more_than_the_rate_and_no_more_than_fit() -> None:
    """429 above the rate, 503 when too many wait, both with when to come again."""

    async def scenario() -> None:
        async with listening(rate=2) as source, delivered(source):
            codes = [(await send(source)).status_code for _ in range(4)]
            assert codes[:2] == [200, 200]
            assert codes[3] == 429
        async with listening(max_in_flight=2) as source:
            waiting = [asyncio.create_task(send(source)) for _ in range(2)]
            await until(lambda: len(source._waiting) == 2)
            busy = await send(source)
            assert (busy.status_code, busy.text, busy.headers["retry-after"]) == (503, "2 requests wait already\n", "1")
            async with delivered(source):
                assert [(await each).status_code for each in waiting] == [200, 200]

    run(scenario())


def test_senders_who_hang_drip_or_talk_nonsense_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bounded time, while others are served."""
    monkeypatch.setattr(http_serving, "HEAD_WITHIN", 0.2)
    monkeypatch.setattr(http_serving, "LINGER", 0.2)

    async def scenario() -> None:
        async with listening(timeout="200ms") as source, delivered(source) as found:
            start = b"POST /post HTTP/1.1\r\nHost: a\r\n"
            silent, half, slow = (
                asyncio.create_task(raw(source, data)) for data in (b"", start, start + b"Content-Length: 9\r\n\r\nabc")
            )
            assert (await send(source)).status_code == 200
            assert await silent == b""
            assert b"408" in (await half).splitlines()[0]
            assert b"408" in (await slow).splitlines()[0]
            for nonsense in (b"\x16\x03\x01 is TLS\r\n\r\n", b"GET\r\n\r\n", start + b"Content-Length: -1\r\n\r\n"):
                assert b" 400 " in (await raw(source, nonsense)).splitlines()[0]
            assert b" 431 " in (await raw(source, start + b"A: " + b"b" * 100_000)).splitlines()[0]
            assert b" 400 " in (await raw(source, start + b"Content-Length: 9\r\n\r\nabc", close=True)).splitlines()[0]
            assert len(found) == 1
            await until(lambda: not source._server._connections)

    run(scenario())


def test_a_connection_has_one_request_after_the_other() -> None:
    """Kept open between them, also when they come all at once; a client that asks first whether it may is told so."""

    async def scenario() -> None:
        async with listening() as source, delivered(source) as found:
            one = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
            last = b"POST /post HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n3"
            assert (await raw(source, one + b"1" + one + b"2" + last)).count(b"HTTP/1.1 200") == 3
            assert [msg.payload for msg in found] == [b"1", b"2", b"3"]
            reader, writer = await asyncio.open_connection("127.0.0.1", source.port)
            writer.write(one.replace(b"Host", b"Expect: 100-continue\r\nHost"))
            assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"4")
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            writer.close()

    run(scenario())


def test_a_stop_answers_all_who_wait_and_takes_no_time() -> None:
    """With 503; idle connections are closed; the port is free at once."""

    async def scenario() -> None:
        async with listening(timeout="60s") as source:
            port = source.port
            idle = asyncio.create_task(raw(source, b""))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1")
            await source.read()
            other = asyncio.create_task(send(source))
            await until(lambda: len(source._waiting) == 1)
            async with asyncio.timeout(0.5):
                await source.close()
            assert b" 503 " in await reader.readuntil(b"\r\n\r\n")
            writer.close()
            assert (await other).text == "the flow is stopping\n"
            assert await idle == b""
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            await source.acknowledge()

    run(scenario())


def test_an_address_that_is_taken_is_the_reason() -> None:
    """Or no address of this machine, or without the files of TLS; it is tried again."""

    async def scenario() -> None:
        async with listening() as source:
            with pytest.raises(
                ConnectError, match=f"cannot listen on 127.0.0.1:{source.port}: another flow or program"
            ):
                async with listening(address=f"127.0.0.1:{source.port}"):
                    pass
            with pytest.raises(ConnectError, match=r"cannot listen on 192\.0\.2\.1:80: "):
                async with listening(address="192.0.2.1:80"):
                    pass
            with pytest.raises(ConnectError, match="No such file"):
                async with listening(cert_file="/nowhere/a.pem", key_file="/nowhere/a.key"):
                    pass

    run(scenario())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"address": "8080"}, "of the form host:port"),
        ({"address": ":8080"}, "0.0.0.0:8080 for all who reach it"),
        ({"address": "127.0.0.1:99999"}, "of the form host:port"),
        ({"path": "post"}, "path"),
        ({"allowed_verbs": ["HEAD"]}, "allowed_verbs"),
        ({"cert_file": "a.pem"}, "both cert_file and key_file"),
        ({"basic_auth": {"enabled": True, "username": "eva"}}, "anybody would get in"),
    ],
)
def test_each_fault_of_the_fields_is_named(fields: dict[str, Any], text: str) -> None:
    """At load."""
    with pytest.raises(FlowConfigError) as caught:
        parse({"input": {"http_server": fields}, "output": {"drop": {}}})
    assert text in str(caught.value)


def test_a_flow_answers_200_only_for_what_its_output_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the output fails senders are told to come again; what was in its hands is delivered when it recovers."""
    taken: list[bytes] = []
    failing = True

    async def write(self: Drop, batch: Any) -> int:
        if failing:
            raise WriteError("the output is away")
        taken.extend(batch)
        return 1

    monkeypatch.setattr(Drop, "write", write)

    async def scenario() -> None:
        nonlocal failing
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        engine = FlowEngine()
        fields = {"address": f"127.0.0.1:{port}", "timeout": "200ms"}
        await engine.start("hook", {"input": {"http_server": fields}, "output": {"drop": {}}})
        await until(lambda: engine.status("hook").input_connected)  # type: ignore[union-attr]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert (await client.post("/post", content=b"1")).status_code == 503
            failing = False
            await until(lambda: taken == [b"1"])
            assert (await client.post("/post", content=b"2")).status_code == 200
            assert taken == [b"1", b"2"]
        await engine.close()

    run(scenario())


def test_it_is_in_the_table_of_inputs() -> None:
    """By the name that Benthos has for it."""
    assert INPUTS["http_server"].make is HttpServer

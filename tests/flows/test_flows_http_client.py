"""The `http_client` input and output: what they ask, what they make of the answers, and that no peer holds them up."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from flows_http import Asked, Service, answer
from flows_plant import context, run, until
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from setpoint.flows import FlowEngine
from setpoint.flows.component import ConnectError, MessageError, Msg, Rejected, WriteError
from setpoint.flows.config import FlowConfigError, parse
from setpoint.flows.inputs import INPUTS
from setpoint.flows.outputs import OUTPUTS
from setpoint.flows.outputs.http_client import Target


@asynccontextmanager
async def opened(table: Any, fields: dict[str, Any], **more: Any) -> AsyncIterator[Any]:
    component = table["http_client"].make(table["http_client"].fields.model_validate(fields), context(**more))
    await component.connect()
    try:
        yield component
    finally:
        await component.close()


def reader(service: Service, failed: Callable[[str], None] = lambda reason: None, **fields: Any) -> Any:
    return opened(INPUTS, {"url": f"{service.url}/state", "interval": "0s", "retries": 0, **fields}, failed=failed)


def writer(service: Service, **fields: Any) -> Any:
    return opened(OUTPUTS, {"url": f"{service.url}/in", **fields})


async def put(output: Any, *payloads: Any, **meta: str) -> int:
    size: int = await output.write([output.prepare(Msg(payload, dict(meta))) for payload in payloads])
    return size


# the input


def test_each_answer_is_a_message() -> None:
    """As it came, with its status and the headers asked for as meta; empty ones are left out."""

    async def scenario() -> None:
        bodies = iter([b'{"n":1}', b"", b"\x00"])
        async with Service(lambda asked: answer(200, next(bodies), X_Line="7", Other="no")) as service:
            extract = {"include_prefixes": ["X-"]}
            async with reader(
                service, verb="post", payload="{}", headers={"A": "b"}, extract_headers=extract
            ) as source:
                found = [await source.read() for _ in range(3)]
            assert found == [
                [Msg(b'{"n":1}', {"http_status_code": "200", "x-line": "7"})],
                [],
                [Msg(b"\x00", {"http_status_code": "200", "x-line": "7"})],
            ]
            asked = service.asked[0]
            assert (asked.method, asked.target, asked.body, asked.headers["a"]) == ("POST", "/state", b"{}", "b")

    run(scenario())


def test_requests_keep_their_interval_and_are_made_when_wanted() -> None:
    """From beginning to beginning; nothing is asked for while nobody reads."""

    async def scenario() -> None:
        async with Service(lambda asked: answer(200, b"1")) as service, reader(service, interval="100ms") as source:
            begin = time.monotonic()
            for _ in range(4):
                await source.read()
                await asyncio.sleep(0.05)
            assert 0.3 <= time.monotonic() - begin < 0.6
            assert len(service.asked) == 4

    run(scenario())


def test_a_read_that_is_cancelled_loses_nothing() -> None:
    """The request goes on, and its answer is the next read's; also in the middle of a stream."""

    async def scenario() -> None:
        gate = asyncio.Event()
        numbers = iter(range(1, 100))

        async def later(out: asyncio.StreamWriter) -> None:
            number = next(numbers)
            if number == 2:
                await gate.wait()
            out.write(answer(200, b"%d" % number))
            await out.drain()

        async with Service(lambda asked: later) as service, reader(service) as source:
            assert [msg.payload for msg in await source.read()] == [b"1"]
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(source.read(), 0.02)
            gate.set()
            assert [msg.payload for msg in await source.read()] == [b"2"]
            assert len(service.asked) == 2

    run(scenario())


def test_the_first_answer_decides_whether_it_is_connected() -> None:
    """Nobody there, an error, too much: the reason names the peer, and never the path, the query or what is secret."""

    async def scenario() -> None:
        async with Service() as service:
            secret = {"Authorization": "Bearer hush-hush", "X-Api-Key": "also-hushed"}

            async def refused(reply: Any, match: str, **fields: Any) -> None:
                service.reply = lambda asked: reply
                url = f"{service.url}/path-is-mine?key=query-is-mine"
                with pytest.raises(ConnectError, match=match) as caught:
                    async with reader(service, url=url, headers=secret, **fields):
                        pass
                assert str(caught.value).startswith(f"127.0.0.1:{service.port}")
                for hidden in ("hush-hush", "also-hushed", "path-is", "query-is"):
                    assert hidden not in str(caught.value)

            await refused(
                answer(401, b"unknown token hush-hush"), r"answers 401 Unauthorized: unknown token \[redacted\]$"
            )
            await refused(answer(503), "answers 503 Service Unavailable$")
            await refused(answer(200, b"x" * 11), "answers more than 10 bytes", max_body_size=10)
            await refused(answer(200, b"x", Content_Encoding="gzip"), "compressed")
            await refused(answer(302, Location="http://other.example/"), "redirects GET to GET http://other.example")
            await refused(answer(302, Location="/path-is-mine/again"), "redirects more than 5 times")
            await refused(b"what\r\n\r\n", "illegal status line")
            await refused(b"", "disconnected")
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1: Connection refused"):
            async with opened(INPUTS, {"url": "http://127.0.0.1:1/", "retries": 0}):
                pass
        with pytest.raises(ConnectError, match=r"nowhere\.invalid:80: "):
            async with opened(INPUTS, {"url": "http://nowhere.invalid/", "retries": 0}):
                pass

    run(scenario())


def test_a_peer_that_hangs_or_drips_is_given_up() -> None:
    """After `timeout` in all, whatever it sends meanwhile."""

    async def scenario() -> None:
        async def hang(out: asyncio.StreamWriter) -> None:
            await asyncio.sleep(10)

        async def drip(out: asyncio.StreamWriter) -> None:
            out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                out.write(b"x")
                await out.drain()
                await asyncio.sleep(0.02)

        async def drip_head(out: asyncio.StreamWriter) -> None:
            out.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                out.write(b"a: b\r\n")
                await out.drain()
                await asyncio.sleep(0.02)

        for reply in (hang, drip, drip_head):
            async with Service(lambda asked, reply=reply: reply) as service:  # type: ignore[misc]
                begin = time.monotonic()
                with pytest.raises(ConnectError, match=r"did not answer in full within 0\.2 s"):
                    async with reader(service, timeout="200ms"):
                        pass
                assert time.monotonic() - begin < 1

    run(scenario())


def test_attempts_are_repeated_and_each_is_told() -> None:
    """After `retry_period`; what is in `drop_on` is not repeated, and is a reading that failed, no more."""

    async def scenario() -> None:
        replies = iter([answer(500, b"a"), answer(502, b"b"), answer(200, b"good"), answer(404), answer(200, b"again")])
        faults: list[str] = []
        async with Service(lambda asked: next(replies)) as service:
            async with reader(service, faults.append, retries=2, retry_period="10ms", drop_on=[404]) as source:
                assert [msg.payload for msg in await source.read()] == [b"good"]
                assert await source.read() == []
                assert [msg.payload for msg in await source.read()] == [b"again"]
            name = f"127.0.0.1:{service.port}"
        assert faults == [
            f"{name} answers 500 Internal Server Error: a",
            f"{name} answers 502 Bad Gateway: b",
            f"{name} answers 404 Not Found",
        ]

    run(scenario())


def test_what_retry_after_says_is_kept_to() -> None:
    """By the attempts of a request and by the next request; up to `max_retry_backoff`."""

    async def scenario() -> None:
        replies = iter(
            [answer(429, Retry_After="1"), answer(200, b"1"), answer(429, Retry_After="3600"), answer(200, b"2")]
        )
        times: list[float] = []

        def reply(asked: Asked) -> bytes:
            times.append(time.monotonic())
            return next(replies)

        fields = {"retries": 1, "retry_period": "1ms", "max_retry_backoff": "300ms"}
        async with Service(reply) as service, reader(service, **fields) as source:
            await source.read()
            await source.read()
        first, _, third = (after - before for before, after in pairwise(times))
        assert 0.29 <= first < 1
        assert 0.29 <= third < 1

    run(scenario())


def test_redirects_within_the_service_are_followed() -> None:
    """With method and body; another method would be another request."""

    async def scenario() -> None:
        def reply(asked: Asked) -> bytes:
            return answer(200, b"there") if asked.target == "/new" else answer(307, Location="/new")

        async with Service(reply) as service:
            async with reader(service, verb="POST", payload="p") as source:
                assert [msg.payload for msg in await source.read()] == [b"there"]
            assert [(asked.method, asked.body) for asked in service.asked] == [("POST", b"p")] * 2
            service.reply = lambda asked: answer(303, Location="/new")
            with pytest.raises(ConnectError, match="redirects POST to GET"):
                async with reader(service, verb="POST", payload="p"):
                    pass
            service.reply = reply
            with pytest.raises(ConnectError, match="answers 307 Temporary Redirect"):
                async with reader(service, follow_redirects=False):
                    pass

    run(scenario())


def test_who_we_are_is_shown() -> None:
    """By a password, or by a token that is asked for, used until its end, and asked for again when it is refused."""

    async def scenario() -> None:
        tokens = iter(["first", "second", "third"])
        good = {"first"}

        def reply(asked: Asked) -> bytes:
            if asked.target == "/token":
                return answer(200, json.dumps({"access_token": next(tokens), "expires_in": 60}).encode())
            known = asked.headers.get("authorization", "").removeprefix("Bearer ") in good
            return answer(200, b"1") if known else answer(401)

        async with Service(lambda asked: answer(200, b"1")) as service:
            basic = {"enabled": True, "username": "eva", "password": "secret"}
            async with reader(service, basic_auth=basic) as source:
                await source.read()
            sent = service.asked[0].headers["authorization"]
            assert sent == f"Basic {base64.b64encode(b'eva:secret').decode()}"
        async with Service(reply) as service:
            oauth2 = {
                "enabled": True, "client_key": "me", "client_secret": "s&s", "token_url": f"{service.url}/token",
                "scopes": ["a", "b"], "endpoint_params": {"audience": ["x"]},
            }  # fmt: skip
            async with reader(service, oauth2=oauth2, retries=1, retry_period="1ms") as source:
                await source.read()
                await source.read()
                good = {"second"}
                await source.read()
            asked = [each for each in service.asked if each.target == "/token"]
            assert len(asked) == 2
            assert asked[0].body == b"audience=x&grant_type=client_credentials&scope=a+b"
            assert asked[0].headers["authorization"] == f"Basic {base64.b64encode(b'me:s%26s').decode()}"
            for bad, why in ((answer(200, b"{}"), "no access_token"), (answer(403, b"s&s"), "it answers 403")):
                service.reply = lambda asked, bad=bad: bad  # type: ignore[misc]
                with pytest.raises(ConnectError, match=f"no token from 127.0.0.1: .*{why}"):
                    async with reader(service, oauth2=oauth2):
                        pass

    run(scenario())


def test_a_stream_is_cut_into_lines_as_it_comes() -> None:
    """A line across pieces is one; the last one counts without an end; the end of it is a lost connection, or that of the input."""

    async def scenario() -> None:
        gate = asyncio.Event()

        async def stream(out: asyncio.StreamWriter) -> None:
            out.write(b"HTTP/1.1 200 OK\r\n\r\none\nt")
            await out.drain()
            await gate.wait()
            out.write(b"wo\nthree")
            await out.drain()

        async with Service(lambda asked: stream) as service:
            async with reader(service, stream={"enabled": True}) as source:
                assert [msg.payload for msg in await source.read()] == [b"one"]
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(source.read(), 0.02)
                gate.set()
                assert [msg.payload for msg in await source.read()] == [b"two"]
                assert [msg.payload for msg in await source.read()] == [b"three"]
                with pytest.raises(ConnectError, match="has ended what it sent"):
                    await source.read()
            async with reader(service, stream={"enabled": True, "reconnect": False}) as source:
                found: list[Msg] = []
                while (batch := await source.read()) is not None:
                    found += batch
                assert [msg.payload for msg in found] == [b"one", b"two", b"three"]
            gate.clear()
            async with reader(service, stream={"enabled": True, "idle_timeout": "100ms"}) as source:
                await source.read()
                with pytest.raises(ConnectError, match=r"has sent nothing for 0\.1 s"):
                    await source.read()
            gate.set()
            service.reply = lambda asked: answer(500, b"no")
            with pytest.raises(ConnectError, match="answers 500 Internal Server Error: no"):
                async with reader(service, stream={"enabled": True}):
                    pass

    run(scenario())


def test_a_flow_polls_on_when_its_service_comes_back() -> None:
    """It goes: the flow is not connected, with the reason. It comes: it is."""

    async def scenario() -> None:
        async with Service(lambda asked: answer(200, b"1")) as service:
            engine = FlowEngine()
            fields = {"url": service.url, "interval": "5ms", "retries": 0}
            await engine.start("f", {"input": {"http_client": fields}, "output": {"drop": {}}})
            status = lambda: engine.status("f")  # noqa: E731
            await until(lambda: status().output_sent > 2)
            await service.stop()
            await until(lambda: not status().input_connected)
            refused = f"input http_client: 127.0.0.1:{service.port}: Connection refused"
            await until(lambda: status().last_error == refused)  # a connection that was open is reset before
            before = status().output_sent
            await service.start()
            await until(lambda: status().output_sent > before)
            await engine.close()

    run(scenario())


# the output


def test_each_message_is_a_request() -> None:
    """In order, of its kind, to where its values say, and with a key of its own."""

    async def scenario() -> None:
        async with Service() as service:
            url = f'{service.url}/lines/${{! meta("line") }}?n=${{! json("n") }}'
            async with writer(service, url=url, headers={"X-Shift": '${! meta("shift") }'}) as output:
                assert await put(output, {"n": 1}, b'{"n": 2}', line="a/b ü", shift="late") == 15
                for shift in ("a\r\nX-Evil: 1", "ü"):
                    with pytest.raises(MessageError, match="header X-Shift has a character"):
                        output.prepare(Msg({"n": 1}, {"line": "a", "shift": shift}))
                with pytest.raises(MessageError, match=r"'\.\.' cannot be a part of its URL"):
                    output.prepare(Msg({"n": 1}, {"line": "..", "shift": "a"}))
                with pytest.raises(MessageError, match="has no meta 'line'"):
                    output.prepare(Msg({"n": 1}, {"shift": "a"}))
        first, second = service.asked
        assert (first.method, first.target, first.body) == ("POST", "/lines/a%2Fb%20%C3%BC?n=1", b'{"n":1}')
        assert (second.target, second.body) == ("/lines/a%2Fb%20%C3%BC?n=2", b'{"n": 2}')
        assert [asked.headers["content-type"] for asked in service.asked] == [
            "application/json",
            "application/octet-stream",
        ]
        assert first.headers["x-shift"] == "late"
        assert first.headers["idempotency-key"] != second.headers["idempotency-key"]

    run(scenario())


@given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
def test_no_value_leads_out_of_its_place_in_a_url(value: str) -> None:
    """Whatever it is, it stays one segment of the path, and says the same when it is unquoted."""
    from urllib.parse import unquote, urlsplit

    try:
        value.encode()
    except UnicodeEncodeError:
        return
    url = urlsplit(Target('http://host/a/${! meta("x") }/b')(Msg(b"", {"x": value})))
    assert (url.netloc, url.query, url.fragment) == ("host", "", "")
    before, segment, after = url.path.rsplit("/", 2)
    assert (before, unquote(segment), after) == ("/a", value, "b")


def test_an_expression_in_a_url_may_have_braces_in_it() -> None:
    """It ends where it is whole; what follows it is fixed again."""
    target = Target('http://host/${! meta("}") }/a}/${! json("n") }')
    assert target(Msg({"n": 7}, {"}": "x/y"})) == "http://host/x%2Fy/a}/7"
    with pytest.raises(ValueError, match="cannot be evaluated"):
        Target("http://host/${! json( }")


def test_what_the_service_refuses_is_set_aside_and_the_rest_is_taken_once() -> None:
    """With what the service says; the rest of the batch, written again, is not sent again."""

    async def scenario() -> None:
        def reply(asked: Asked) -> bytes:
            return answer(422, b"n is odd") if json.loads(asked.body)["n"] % 2 else answer(201)

        async with Service(reply) as service, writer(service) as output:
            batch = [output.prepare(Msg({"n": n}, {})) for n in range(5)]
            with pytest.raises(Rejected) as caught:
                await output.write(batch)
            reason = f"127.0.0.1:{service.port} answers 422 Unprocessable Entity: n is odd"
            assert caught.value.reasons == {1: reason, 3: reason}
            assert await output.write([batch[0], batch[2], batch[4]]) == 21
            assert len(service.asked) == 5

    run(scenario())


def test_what_may_be_taken_later_is_sent_again_with_the_same_key() -> None:
    """After an error of the service, or a wrong token; what was taken of the batch is not."""

    async def scenario() -> None:
        replies = iter([answer(200), answer(503), answer(401), answer(200), answer(204)])
        async with Service(lambda asked: next(replies)) as service, writer(service) as output:
            batch = [output.prepare(Msg({"n": n}, {})) for n in range(3)]
            for why in ("503 Service Unavailable", "401 Unauthorized"):
                with pytest.raises(WriteError, match=f"answers {why}"):
                    await output.write(batch)
            await output.write(batch)
            assert [json.loads(asked.body)["n"] for asked in service.asked] == [0, 1, 1, 1, 2]
            assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 3

    run(scenario())


@pytest.mark.parametrize(("body", "text"), [("array", b'[{"n":0},"x",{"n":2}]'), ("lines", b'{"n":0}\n"x"\n{"n":2}\n')])
def test_a_batch_is_one_request(body: str, text: bytes) -> None:
    """Payloads of any kind as JSON; the same batch has the same key."""

    async def scenario() -> None:
        replies = iter([answer(500), answer(200)])
        async with Service(lambda asked: next(replies)) as service, writer(service, body=body) as output:
            batch = [output.prepare(Msg(payload, {})) for payload in ({"n": 0}, "x", b'{ "n": 2 }')]
            with pytest.raises(WriteError):
                await output.write(batch)
            await output.write(batch)
            first, second = service.asked
            assert (first.body, second.body) == (text, text)
            assert first.headers["idempotency-key"] == second.headers["idempotency-key"]

    run(scenario())


@given(st.sets(st.integers(0, 19)))
def test_of_a_refused_batch_only_the_messages_that_are_the_reason_are_set_aside(bad: set[int]) -> None:
    """Whichever they are: all others arrive once."""

    async def scenario() -> None:
        taken: list[int] = []

        def reply(asked: Asked) -> bytes:
            numbers = json.loads(asked.body)
            if bad.intersection(numbers):
                return answer(400, b"bad")
            taken.extend(numbers)
            return answer(200)

        async with Service(reply) as service, writer(service, body="array") as output:
            batch = [output.prepare(Msg(n, {})) for n in range(20)]
            rest = [message for n, message in enumerate(batch) if n not in bad]
            if bad:
                with pytest.raises(Rejected) as caught:
                    await output.write(batch)
                assert set(caught.value.reasons) == bad
            await output.write(rest)
            assert taken == [n for n in range(20) if n not in bad]

    run(scenario())


def test_several_requests_at_once() -> None:
    """As many as `max_in_flight`; all that are under way are waited for when one fails, and none is sent twice."""

    async def scenario() -> None:
        at_once = most = 0
        failing = True

        async def reply(out: asyncio.StreamWriter) -> None:
            nonlocal at_once, most
            number = len(service.asked)
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.02)
            at_once -= 1
            out.write(answer(503 if failing and number == 3 else 200))
            await out.drain()

        async with Service(lambda asked: reply) as service, writer(service, max_in_flight=4) as output:
            batch = [output.prepare(Msg(n, {})) for n in range(20)]
            with pytest.raises(WriteError):
                await output.write(batch)
            failing = False
            await output.write(batch)
            assert most == 4
            bodies = [asked.body for asked in service.asked]
            assert set(bodies) == {b"%d" % n for n in range(20)}

    run(scenario())


def test_a_service_that_is_not_there_or_hangs_is_a_reason() -> None:
    """Not there: the output cannot connect. Silent: the write fails after `timeout`, and is tried again."""

    async def scenario() -> None:
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1: Connection refused"):
            async with opened(OUTPUTS, {"url": "http://127.0.0.1:1/"}):
                pass

        async def hang(out: asyncio.StreamWriter) -> None:
            await asyncio.sleep(10)

        async with Service(lambda asked: hang) as service, writer(service, timeout="100ms") as output:
            with pytest.raises(WriteError, match=r"did not answer in full within 0\.1 s"):
                await put(output, b"1")
            await service.stop()
            with pytest.raises(ConnectError, match="Connection refused"):
                await put(output, b"1")
            await service.start()

    run(scenario())


# the fields


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"url": "ftp://host/"}, "of the form http://host:port/path"),
        ({"url": "http://eva:hush-hush@host/"}, "use basic_auth"),
        ({"url": "http://host:99999/"}, "host or port is none"),
        ({"url": "http://host/", "verb": "GET IT"}, "a verb is a word"),
        ({"url": "http://host/", "headers": {"A b": "c"}}, "no name of a header"),
        ({"url": "http://host/", "headers": {"X-Token": "hush-hush\n"}}, "header X-Token has a character"),
        ({"url": "http://host/", "tls": {"enabled": True}}, "write https://"),
        ({"url": "http://host/", "proxy_url": "socks5://eva:hush-hush@proxy"}, "proxy_url"),
        ({"url": "http://host/", "oauth2": {"enabled": True}}, "needs a client_key and a token_url"),
        (
            {"url": "http://host/", "headers": {"authorization": "hush-hush"}, "basic_auth": {"enabled": True}},
            "in one way",
        ),
        ({"url": "http://host/", "retires": 1}, "did you mean 'retries'"),
    ],
)
@pytest.mark.parametrize("end", ["input", "output"])
def test_each_fault_of_the_fields_is_named(end: str, fields: dict[str, Any], text: str) -> None:
    """At load, and without what may be secret."""
    other = {"output": {"drop": {}}} if end == "input" else {"input": {"stdin": {}}}
    with pytest.raises(FlowConfigError) as caught:
        parse({end: {"http_client": fields}, **other})
    assert text in str(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_values_fill_in_what_they_may() -> None:
    """In an output behind the host; in an input there is no message yet; in one request for many none differs."""
    fields = OUTPUTS["http_client"].fields
    for url in ('${! meta("url") }', 'http://${! meta("host") }/', 'http://host${! meta("x") }'):
        with pytest.raises(ValidationError, match="behind the host"):
            fields.model_validate({"url": url})
    with pytest.raises(ValidationError, match="cannot be evaluated"):
        fields.model_validate({"url": "http://host/${! hostname() }"})
    with pytest.raises(ValidationError, match="one request for many messages"):
        fields.model_validate({"url": 'http://host/${! meta("x") }', "body": "array"})
    with pytest.raises(ValidationError, match="there is no message yet"):
        INPUTS["http_client"].fields.model_validate({"url": 'http://host/${! meta("x") }'})

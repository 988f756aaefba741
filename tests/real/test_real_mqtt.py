"""The `mqtt` input and output against a real Mosquitto: what is promised of each quality of service, and what happens when things break."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.real.real_mosquitto import Mosquitto, certificates, mosquitto, no_mosquitto

from setpoint.flows import FlowEngine
from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.inputs import INPUTS
from setpoint.flows.outputs import OUTPUTS

pytest.importorskip("paho", reason="the client of MQTT is not installed: pip install 'setpoint[mqtt]'")
pytestmark = pytest.mark.real

VERSIONS = ("3.1.1", "5")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if missing := no_mosquitto():
        pytest.skip(missing)
    with mosquitto(tmp_path_factory.mktemp("mosquitto")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker for one test, to be stopped and started."""
    if missing := no_mosquitto():
        pytest.skip(missing)
    with mosquitto(tmp_path / "mosquitto") as made:
        yield made


def made(table: Any, url: str, **fields: Any) -> Any:
    given = {"urls": [url], "connect_timeout": "5s", **fields}
    context = Context(
        "test", "", None, time.time, time.monotonic, lambda: 0.5, lambda reason: None, lambda host, port: None
    )
    return table["mqtt"].make(table["mqtt"].fields.model_validate(given), context)


@asynccontextmanager
async def connected(component: Any) -> AsyncIterator[Any]:
    await component.connect()
    try:
        yield component
    finally:
        await component.close()


def publisher(broker: Mosquitto, topic: str, **fields: Any) -> Any:
    return connected(made(OUTPUTS, broker.url, topic=topic, **fields))


def reader(broker: Mosquitto, *topics: str, **fields: Any) -> Any:
    return connected(made(INPUTS, broker.url, topics=list(topics), **fields))


async def put(output: Any, *payloads: Any, **meta: str) -> None:
    await output.write([output.prepare(Msg(payload, dict(meta))) for payload in payloads])


async def got(source: Any, count: int, *, within: float = 5.0) -> list[Msg]:
    """The next messages, acknowledged."""
    found: list[Msg] = []
    async with asyncio.timeout(within):
        while len(found) < count:
            found += await source.read()
            await source.acknowledge()
    return found


async def nothing(source: Any, seconds: float = 0.2) -> None:
    """Nothing comes for a while."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await source.read()


async def until(fact: Callable[[], Any], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not fact():  # noqa: ASYNC110  # facts of many kinds, none of which tells
            await asyncio.sleep(0.01)


def run(scenario: Awaitable[Any]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(limited())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_arrive_in_order_with_what_is_known_of_them(broker: Mosquitto, qos: int, version: str) -> None:
    """1,000 of them at each quality of service and in both versions: JSON, text and bytes as they were."""

    async def scenario() -> None:
        topic = f"order/{qos}/{version}"
        async with (
            reader(broker, f"{topic}/+", qos=qos, protocol_version=version) as source,
            publisher(broker, f'{topic}/${{! meta("line") }}', qos=qos, protocol_version=version) as output,
        ):
            await put(output, *[{"n": n} for n in range(1000)], line="a")
            found = await got(source, 1000)
            assert [json.loads(msg.payload)["n"] for msg in found] == list(range(1000))
            meta = found[0].meta
            assert (meta["mqtt_topic"], meta["mqtt_qos"], meta["mqtt_retained"]) == (f"{topic}/a", str(qos), "false")
            assert (meta["mqtt_message_id"] == "0") == (qos == 0)
            await put(output, "ä text", b"\x00\xff", b"", line="b")
            assert [msg.payload for msg in await got(source, 3)] == ["ä text".encode(), b"\x00\xff", b""]
            await nothing(source)

    run(scenario())


def test_a_payload_of_two_megabytes_passes(broker: Mosquitto) -> None:
    """In both directions, at each quality of service."""

    async def scenario() -> None:
        for qos in (0, 1, 2):
            async with reader(broker, "large", qos=qos) as source, publisher(broker, "large", qos=qos) as output:
                await put(output, b"x" * (2 << 20), b"after")
                assert [len(msg.payload) for msg in await got(source, 2)] == [2 << 20, 5]

    run(scenario())


def test_wildcards_retained_messages_and_shared_subscriptions(broker: Mosquitto) -> None:
    """``+`` is one level, ``#`` all below; who comes later gets what is retained; a group shares what it is sent."""

    async def scenario() -> None:
        async with reader(broker, "w/+/t", "w/x/#") as source, publisher(broker, '${! meta("to") }') as output:
            for topic in ("w/a/t", "w/a/b/t", "w/x/y/z", "w/a"):
                await put(output, b"1", to=topic)
            assert [msg.meta["mqtt_topic"] for msg in await got(source, 2)] == ["w/a/t", "w/x/y/z"]
        async with publisher(broker, "kept", retained=True) as output:
            await put(output, b"last")
        async with reader(broker, "kept") as source:
            [msg] = await got(source, 1)
            assert (msg.payload, msg.meta["mqtt_retained"]) == (b"last", "true")
        shared = "$share/all/shared/#"
        async with (
            reader(broker, shared) as one,
            reader(broker, shared) as two,
            publisher(broker, "shared/x") as output,
        ):
            await put(output, *[{"n": n} for n in range(10)])
            mine, others = await asyncio.gather(got(one, 5), got(two, 5))
            assert sorted(json.loads(msg.payload)["n"] for msg in mine + others) == list(range(10))

    run(scenario())


def test_user_properties_are_meta(broker: Mosquitto) -> None:
    """Those of MQTT 5; they cannot pretend to be what the connection says."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("line", "7"), ("mqtt_topic", "forged")]

    def publish() -> None:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.publish("properties", "x", qos=1, properties=properties).wait_for_publish(5)
        client.disconnect()
        client.loop_stop()

    async def scenario() -> None:
        async with reader(broker, "properties", protocol_version="5") as source:
            await asyncio.to_thread(publish)
            [msg] = await got(source, 1)
            assert (msg.meta["line"], msg.meta["mqtt_topic"]) == ("7", "properties")

    run(scenario())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again(broker: Mosquitto, qos: int, version: str) -> None:
    """To whoever goes on with the session, as if the one before had been killed; what was acknowledged does not."""
    session = {"client_id": f"again-{qos}-{version}", "clean_session": False, "qos": qos, "protocol_version": version}
    topic = f"again/{qos}/{version}"

    async def scenario() -> None:
        async with reader(broker, topic, **session):
            pass  # now there is a session
        async with publisher(broker, topic, qos=qos) as output:
            await put(output, *[{"n": n} for n in range(5)])
        async with reader(broker, topic, **session) as source:
            first: list[Msg] = []
            while len(first) < 5:
                first += await source.read()
            assert [json.loads(msg.payload)["n"] for msg in first] == list(range(5))
        async with reader(broker, topic, **session) as source:
            again = await got(source, 5)
            assert [json.loads(msg.payload)["n"] for msg in again] == list(range(5))
        async with reader(broker, topic, **session) as source:
            await nothing(source)

    run(scenario())


@pytest.mark.parametrize("qos", [1, 2])
def test_batches_are_acknowledged_from_the_oldest_on(broker: Mosquitto, qos: int) -> None:
    """While others are out: what was acknowledged does not come again, the rest does, and once only by the connection that is there."""
    session = {"client_id": f"oldest-{qos}", "clean_session": False, "qos": qos}
    topic = f"oldest/{qos}"

    async def scenario() -> None:
        async with publisher(broker, topic, qos=qos) as output, reader(broker, topic, **session) as source:
            for n in range(3):
                await put(output, {"n": n})
                [msg] = await source.read()
                assert json.loads(msg.payload)["n"] == n
            await source.acknowledge()
            await source.connect()
            again: list[Msg] = []
            while len(again) < 2:
                again += await source.read()
            assert [json.loads(msg.payload)["n"] for msg in again] == [1, 2]
            for _ in range(2):
                await source.acknowledge()  # of the connection that is gone: nobody hears it
        async with reader(broker, topic, **session) as source:
            assert [json.loads(msg.payload)["n"] for msg in await got(source, 2)] == [1, 2]
            await nothing(source)

    run(scenario())


def test_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    """A wrong one is said to be wrong, by the broker's own word; the right one is let in."""
    if missing := no_mosquitto():
        pytest.skip(missing)
    passwords = tmp_path / "passwords"
    import subprocess

    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("no mosquitto_passwd is installed: apt-get install mosquitto")
    subprocess.run([program, "-c", "-b", str(passwords), "eva", "right"], check=True, capture_output=True)
    passwords.chmod(0o644)
    with mosquitto(tmp_path / "m", ["allow_anonymous false", f"password_file {passwords}"]) as broker:

        async def scenario() -> None:
            for version in VERSIONS:
                wrong = made(INPUTS, broker.url, topics=["a"], user="eva", password="wrong", protocol_version=version)
                with pytest.raises(ConnectError, match=r"refuses the connection: (Not authorized|Bad user name)"):
                    await wrong.connect()
                async with reader(broker, "a", user="eva", password="right", protocol_version=version):
                    pass

        run(scenario())


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl is installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")
    certificates(folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def test_tls_verifies_the_broker_and_shows_who_we_are(certified: Path, tmp_path: Path) -> None:
    """A broker whose authority is not known is refused, unless told not to look; one that wants a certificate gets ours."""
    if missing := no_mosquitto():
        pytest.skip(missing)
    files = [f"cafile {certified}/ca.pem", f"certfile {certified}/server.pem", f"keyfile {certified}/server.key"]
    with mosquitto(tmp_path / "m", ["allow_anonymous true", *files, "require_certificate true"]) as broker:
        url = broker.url.replace("tcp", "ssl")
        client = {"cert_file": f"{certified}/client.pem", "key_file": f"{certified}/client.key"}
        inline = {"cert": (certified / "client.pem").read_text(), "key": (certified / "client.key").read_text()}
        known = {"root_cas_file": f"{certified}/ca.pem"}

        async def refused(match: str, **tls: Any) -> None:
            with pytest.raises(ConnectError, match=match):
                await made(INPUTS, url, topics=["a"], tls=tls).connect()

        async def scenario() -> None:
            await refused("certificate does not verify", client_certs=[client])
            await refused(
                "certificate does not verify", root_cas_file=f"{certified}/stranger.pem", client_certs=[client]
            )
            await refused(
                f"^127.0.0.1:{broker.port}: .", **known
            )  # TLS 1.3 tells after the handshake, in one word or another
            await refused("cannot be read", root_cas_file=f"{certified}/not-there.pem")
            with pytest.raises(ConnectError, match="certificate does not verify"):
                await made(INPUTS, url.replace("127.0.0.1", "localhost"), topics=["a"], tls=known).connect()
            for tls in (
                {**known, "client_certs": [client]},
                {"root_cas": (certified / "ca.pem").read_text(), "client_certs": [inline]},
                {"skip_cert_verify": True, "client_certs": [client]},
            ):
                source = made(INPUTS, url, topics=["tls"], tls=tls)
                output = made(OUTPUTS, url, topic="tls", tls=tls)
                async with connected(source), connected(output):
                    await put(output, *[b"x" * 50_000] * 20)
                    assert len(await got(source, 20)) == 20

        run(scenario())


def test_the_last_will_is_published_for_who_is_gone(broker: Mosquitto) -> None:
    """Not after a goodbye; after a connection that just ended."""
    will = {"enabled": True, "topic": "will", "payload": "gone", "qos": 1}

    async def scenario() -> None:
        async with reader(broker, "will") as watcher:
            async with reader(broker, "x", will=will):
                pass
            await nothing(watcher)
            source = made(INPUTS, broker.url, topics=["x"], will=will)
            await source.connect()
            source._link._client.socket().shutdown(2)
            [msg] = await got(watcher, 1)
            assert msg.payload == b"gone"
            await source.close()

    run(scenario())


def test_a_subscription_that_is_refused_is_named(tmp_path: Path) -> None:
    """By the topic and the broker's reason."""
    if missing := no_mosquitto():
        pytest.skip(missing)
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite allowed/#\n")
    acl.chmod(0o644)
    with mosquitto(tmp_path / "m", ["allow_anonymous true", f"acl_file {acl}"]) as broker:

        async def scenario() -> None:
            async with reader(broker, "allowed/x", protocol_version="5"):
                pass
            output = made(OUTPUTS, broker.url, topic="forbidden", protocol_version="5", write_timeout="1s")
            async with connected(output):
                with pytest.raises(Exception, match="Not authorized"):
                    await put(output, b"x")

        run(scenario())


def test_a_broker_that_answers_nothing_is_given_up(own: Mosquitto) -> None:
    """At the greeting after `connect_timeout`; in the middle after the keep-alive; a write after `write_timeout`."""

    async def scenario() -> None:
        source = made(INPUTS, own.url, topics=["a"], keepalive=1)
        output = made(OUTPUTS, own.url, topic="a", write_timeout="300ms", keepalive=60)
        async with connected(source), connected(output):
            own.freeze()
            with pytest.raises(ConnectError, match="did not answer within"):
                await made(INPUTS, own.url, topics=["a"], connect_timeout="300ms").connect()
            with pytest.raises(Exception, match=r"has not taken 1 messages in 0\.3 s"):
                await put(output, b"x")
            with pytest.raises(ConnectError, match="does not answer"):
                await source.read()
            own.thaw()

    run(scenario())


def test_a_flow_that_does_not_read_bounds_what_is_held(broker: Mosquitto) -> None:
    """30,000 messages at QoS 0 for a flow that stands still: a thousand or so are held, the connection holds, it goes on afterwards."""

    async def scenario() -> None:
        async with (
            reader(broker, "flood", qos=0, keepalive=1) as source,
            publisher(broker, "flood", qos=0, write_timeout="60s") as output,
        ):
            for _ in range(30):
                await put(output, *[b"x" * 1000] * 1000)
            await until(lambda: source._link._paused)
            held = len(source._held)
            assert 1000 <= held <= 1100
            await asyncio.sleep(2.5)  # more than the broker allows without a word
            assert source._link.lost == ""
            assert len(source._held) == held
            while source._held:
                await source.read()
                await source.acknowledge()
            await put(output, b"after")
            async with asyncio.timeout(10):
                while (await source.read())[-1].payload != b"after":
                    await source.acknowledge()

    run(scenario())


def count(file: Path) -> list[int]:
    return [json.loads(line)["n"] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("qos", [1, 2])
def test_a_broker_that_is_stopped_and_started_loses_nothing(own: Mosquitto, tmp_path: Path, qos: int) -> None:
    """A flow publishes, a flow reads into a file, the broker goes away twice; what is doubled is counted."""
    total = 3000
    into = tmp_path / "out.jsonl"
    source = {"urls": [own.url], "topics": ["n"], "qos": qos, "client_id": "reader", "clean_session": False}
    writing = {
        "input": {"generate": {"mapping": "root.n = counter()", "interval": "1ms", "count": total}},
        "output": {"mqtt": {"urls": [own.url], "topic": "n", "qos": qos}},
    }
    reading = {"input": {"mqtt": source}, "output": {"file": {"path": str(into)}}}

    async def scenario() -> None:
        engine = FlowEngine()
        await engine.start("reading", reading)
        await until(lambda: (status := engine.status("reading")) and status.input_connected)
        await engine.start("writing", writing)
        for stop_at in (total // 4, total // 2):
            await until(lambda at=stop_at: len(count(into)) >= at)  # type: ignore[misc]
            await asyncio.to_thread(own.stop)
            await until(lambda: not status_of(engine, "reading").input_connected)
            assert status_of(engine, "reading").last_error.startswith("input mqtt: 127.0.0.1:")
            await asyncio.to_thread(own.start)
        await until(lambda: status_of(engine, "writing").finished, 30)
        await until(lambda: len(set(count(into))) == total, 30)
        assert status_of(engine, "reading").input_connection_lost == 2
        await engine.close()

    run(scenario())
    found = count(into)
    print(f"qos {qos}: {total} published, {total - len(set(found))} lost, {len(found) - len(set(found))} doubled")
    assert sorted(set(found)) == list(range(1, total + 1))


def status_of(engine: FlowEngine, name: str) -> Any:
    status = engine.status(name)
    assert status is not None
    return status


def test_another_broker_of_the_list_is_tried(broker: Mosquitto) -> None:
    """One after the other, as the flow's attempts come; the one that answered is asked first the next time."""

    async def scenario() -> None:
        source = made(INPUTS, f"tcp://127.0.0.1:1,{broker.url}", topics=["a"])
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1: Connection refused"):
            await source.connect()
        for _ in range(2):
            await source.connect()
        await source.close()

    run(scenario())

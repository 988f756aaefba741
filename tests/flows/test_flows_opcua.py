"""The `opcua` input and output against a real OPC UA server on the loopback. Servers that stop and hang are in tests/real."""

import asyncio
import hashlib
import stat
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flows_plant import context, run, until
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

pytest.importorskip("asyncua", reason="the client of OPC UA is not installed: pip install 'setpoint[opcua]'")

from asyncua import ua
from flows_opcua import URI, Plant, opcua_plant

from setpoint.flows.component import ConnectError, MessageError, Msg, Rejected
from setpoint.flows.inputs import opcua as opcua_input
from setpoint.flows.inputs.opcua import Opcua
from setpoint.flows.opcua_values import plain, variant
from setpoint.flows.outputs.opcua import Opcua as OpcuaOutput


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with opcua_plant(tmp_path_factory.mktemp("plant")) as made:
        yield made


def fields(url: str = "opc.tcp://plc:4840", **more: Any) -> Opcua.Fields:
    return Opcua.Fields.model_validate({"endpoint": url, "nodeIDs": ["i=85"], "pollRate": 20, **more})


@asynccontextmanager
async def reading(plant: Plant, *nodes: str, faults: list[str] | None = None, **more: Any) -> AsyncIterator[Opcua]:
    found = faults if faults is not None else []
    source = Opcua(fields(plant.url, nodeIDs=list(nodes), **more), context(found.append))
    await source.connect()
    try:
        yield source
    finally:
        await source.close()


async def got(source: Opcua, count: int) -> list[Msg]:
    """The next messages, acknowledged."""
    found: list[Msg] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += await source.read()
            await source.acknowledge()
    return found


def values(messages: list[Msg]) -> dict[str, Any]:
    return {msg.meta["opcua_tag_name"]: msg.payload for msg in messages}


MOMENT = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
TYPES: dict[str, tuple[Any, Any, str]] = {
    "double": (1.5, 1.5, "number"),
    "uint64": (ua.Variant(2**63, ua.VariantType.UInt64), 2**63, "number"),
    "truth": (True, True, "bool"),
    "text": ("Müll", "Müll", "string"),
    "bytes": (b"\x00\xff", "AP8=", "string"),
    "moment": (MOMENT, "2026-01-31T12:30:00.000000Z", "string"),
    "guid": (uuid.UUID(int=5), str(uuid.UUID(int=5)), "string"),
    "array": ([1, 2, 3], [1, 2, 3], "string"),
    "local": (ua.LocalizedText("Halt", "de"), "Halt", "string"),
    "name": (ua.QualifiedName("a", 2), "2:a", "string"),
    "enum": (ua.Variant(int(ua.ServerState.Failed), ua.VariantType.Int32), 1, "number"),
    "range": (ua.Variant(ua.Range(1.0, 2.0)), {"Low": 1.0, "High": 2.0}, "string"),
    "node": (ua.NodeId(85), "i=85", "string"),
}


def test_a_folder_is_all_variables_below_it_each_with_its_meta(plant: Plant) -> None:
    """Path, group and name come from the browse names on the way; the values are as JSON can say them."""
    top = plant.folder_of("Types", {name: value for name, (value, _, _) in TYPES.items()})
    plant.folder_of("Types.Deep Folder", {"level/1": ua.Variant(7, ua.VariantType.Int16)}, top)

    async def scenario() -> None:
        faults: list[str] = []
        async with reading(plant, f"nsu={URI};s=Types", faults=faults) as source:
            found = {msg.meta["opcua_tag_name"]: msg for msg in await got(source, len(TYPES) + 1)}
        assert faults == []
        for name, (_, payload, kind) in TYPES.items():
            assert (found[name].payload, found[name].meta["opcua_tag_type"]) == (payload, kind)
        meta = found["level_1"].meta
        assert meta.pop("opcua_source_timestamp").endswith("Z")
        assert meta.pop("opcua_server_timestamp").endswith("Z")
        node = f"ns={plant.index};s=Types.Deep Folder.level/1"
        assert meta == {
            "opcua_node_id": node,
            "opcua_tag_name": "level_1",
            "opcua_tag_group": "Types.Deep_Folder",
            "opcua_tag_path": "Types.Deep Folder.level/1",
            "opcua_tag_type": "number",
            "opcua_attr_nodeid": node,
            "opcua_attr_nodeclass": "Variable",
            "opcua_attr_browsename": "level/1",
            "opcua_attr_description": "level/1",
            "opcua_attr_accesslevel": "CurrentRead",
            "opcua_attr_datatype": "Int16",
            "opcua_attr_statuscode": "Good",
        }

    run(scenario())


def test_a_variable_stands_for_itself_and_equal_names_are_told_apart(plant: Plant) -> None:
    """Its group is its name; of two variables with one name in one group the second has its node id behind it."""
    plant.folder_of("Twins", {"a": 1})

    async def add() -> None:
        folder = plant.node("Twins")
        await folder.add_variable(ua.NodeId("Twins.other", plant.index), ua.QualifiedName("a", plant.index), 2)

    plant.do(add())

    async def scenario() -> None:
        async with reading(plant, f"ns={plant.index};s=Twins.a") as source:
            (msg,) = await got(source, 1)
            assert (msg.meta["opcua_tag_group"], msg.meta["opcua_tag_name"], msg.meta["opcua_tag_path"]) == (
                "a",
                "a",
                "a",
            )
        async with reading(plant, f"ns={plant.index};s=Twins") as source:
            assert values(await got(source, 2)) == {"a": 1, f"a_ns_{plant.index}_s_Twins_other": 2}

    run(scenario())


def test_references_that_form_a_ring_come_to_an_end(plant: Plant) -> None:
    """Each node is looked at once, and each variable is read once, whichever ways lead to it."""
    outer = plant.folder_of("Outer", {"x": 1})
    inner = plant.folder_of("Inner", {"y": 2}, outer)
    plant.do(inner.add_reference(outer, ua.ObjectIds.HasComponent))

    async def scenario() -> None:
        index = plant.index
        async with reading(plant, f"ns={index};s=Outer", f"ns={index};s=Inner", f"ns={index};s=Outer.x") as source:
            assert sorted(msg.payload for msg in await source.read()) == [1, 2]

    run(scenario())


@pytest.mark.parametrize("subscribe", [True, False])
def test_changes_arrive(plant: Plant, subscribe: bool) -> None:
    """By subscription each change, with the server's source time; by polling the present value at each beat."""
    plant.folder_of(f"Moving{subscribe}", {"v": 0, "w": 0})

    async def scenario() -> None:
        async with reading(plant, f"ns={plant.index};s=Moving{subscribe}", subscribeEnabled=subscribe) as source:
            assert [msg.payload for msg in await got(source, 2)] == [0, 0]
            plant.write(f"Moving{subscribe}.v", ua.DataValue(ua.Variant(5), SourceTimestamp=MOMENT))
            async with asyncio.timeout(5):
                while (found := await source.read()) and all(msg.payload != 5 for msg in found):
                    pass
            assert len(found) == (1 if subscribe else 2)
            changed = next(msg for msg in found if msg.payload == 5)
            assert changed.meta["opcua_source_timestamp"] == "2026-01-31T12:30:00.000000Z"

    run(scenario())


@pytest.mark.parametrize("subscribe", [True, False])
def test_a_bad_status_and_no_number_are_counted_and_never_values(plant: Plant, subscribe: bool) -> None:
    """The reason names the node and the status; an uncertain value is a value, and says that it is uncertain."""
    name = f"Bad{subscribe}"
    plant.folder_of(name, {"dead": 1.0, "nan": float("nan"), "unsure": 2.0})
    plant.write(f"{name}.dead", ua.DataValue(ua.Variant(1.0), ua.StatusCode(ua.StatusCodes.BadSensorFailure)))
    plant.write(f"{name}.unsure", ua.DataValue(ua.Variant(2.0), ua.StatusCode(ua.StatusCodes.UncertainLastUsableValue)))

    async def scenario() -> None:
        faults: list[str] = []
        async with reading(plant, f"ns={plant.index};s={name}", subscribeEnabled=subscribe, faults=faults) as source:
            (msg,) = await got(source, 1)
        assert (msg.payload, msg.meta["opcua_attr_statuscode"]) == (2.0, "UncertainLastUsableValue")
        assert faults[0].startswith(f"ns={plant.index};s={name}.dead: BadSensorFailure: ")
        assert faults[1] == f"ns={plant.index};s={name}.nan: the value is nan, not a number"

    run(scenario())


def test_a_missing_node_is_counted_and_read_once_it_is_there(plant: Plant) -> None:
    """At each beat, beside the others; when it appears the input connects anew and browses it."""
    plant.folder_of("Early", {"a": 1})

    async def scenario() -> None:
        faults: list[str] = []
        nodes = (f"ns={plant.index};s=Early.a", f"ns={plant.index};s=Late")
        async with reading(plant, *nodes, subscribeEnabled=True, faults=faults) as source:
            assert values(await got(source, 1)) == {"a": 1}
            await until(lambda: len(faults) >= 2)
            assert faults[0].startswith(f"ns={plant.index};s=Late: BadNodeIdUnknown")
            plant.folder_of("Late", {"b": 2})
            with pytest.raises(ConnectError, match="is there now"):
                async with asyncio.timeout(5):
                    await source.read()
            await source.close()
            await source.connect()
            assert values(await got(source, 2)) == {"a": 1, "b": 2}

    run(scenario())


def test_what_the_subscription_does_not_take_is_polled(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server has limits: the rest of the nodes is read at each beat, and the reason is counted once."""
    from setpoint.flows.opcua_session import Session

    plant.folder_of("Many", {"a": 1, "b": 2})
    whole = Session.subscribe

    async def half(self: Any, items: Any, **more: Any) -> Any:
        taken = await whole(self, items[:1], **more)
        return [*taken, *[ua.StatusCode(ua.StatusCodes.BadTooManyMonitoredItems) for _ in items[1:]]]

    monkeypatch.setattr(Session, "subscribe", half)

    async def scenario() -> None:
        faults: list[str] = []
        async with reading(plant, f"ns={plant.index};s=Many", subscribeEnabled=True, faults=faults) as source:
            found = [msg.payload for msg in await got(source, 4)]
        assert (found.count(1), found.count(2)) == (1, 3)
        assert [fault.split(": ")[-1] for fault in faults] == ["BadTooManyMonitoredItems"]

    run(scenario())


def test_requests_keep_to_the_limits_of_the_server(plant: Plant) -> None:
    """A server that takes three nodes at once is asked for three at once, and all are read."""
    plant.folder_of("Slow", {f"n{n}": n for n in range(10)})
    limit = ua.NodeId(11705)

    async def limited(count: int) -> None:
        await plant._server.write_attribute_value(limit, ua.DataValue(ua.Variant(count, ua.VariantType.UInt32)))

    async def scenario() -> None:
        plant.do(limited(3))
        try:
            async with reading(plant, f"ns={plant.index};s=Slow") as source:
                plant.reads.clear()
                assert sorted(msg.payload for msg in await got(source, 10)) == list(range(10))
                assert plant.reads[:4] == [3, 3, 3, 1]
        finally:
            plant.do(limited(10_000))

    run(scenario())


def test_a_slow_flow_makes_the_server_wait(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the flow is bounded; the server keeps `queueSize` values a node, and the last one arrives."""
    monkeypatch.setattr(opcua_input, "HELD", 3)
    plant.folder_of("Fast", {"v": 0})

    async def scenario() -> None:
        async with reading(plant, f"ns={plant.index};s=Fast.v", subscribeEnabled=True, queueSize=2) as source:
            for n in range(1, 60):
                await asyncio.to_thread(plant.write, "Fast.v", n)
                await asyncio.sleep(0.02)
            assert len(source._held) <= 3 + 2
            found: list[Any] = []
            while not found or found[-1] != 59:
                found += [msg.payload for msg in await got(source, 1)]
        assert found == sorted(found)

    run(scenario())


def test_what_the_server_dropped_is_counted(plant: Plant) -> None:
    """A server marks the value after those that had no room in its queue."""
    plant.folder_of("Full", {"v": 0})
    plant.write("Full.v", ua.DataValue(ua.Variant(5), ua.StatusCode(0x480)))

    async def scenario() -> None:
        faults: list[str] = []
        node = f"ns={plant.index};s=Full.v"
        async with reading(plant, node, subscribeEnabled=True, faults=faults) as source:
            assert values(await got(source, 1)) == {"v": 5}
        assert faults == [f"{node}: the server dropped values; the flow is slower than its queueSize"]

    run(scenario())


async def _unless_cancelled(reading: "asyncio.Task[list[Msg]]") -> list[Msg]:
    try:
        return await reading
    except asyncio.CancelledError:
        return []


def test_a_reading_that_is_cancelled_loses_nothing(plant: Plant) -> None:
    """What was not returned comes with the next call."""
    plant.folder_of("Kept", {"v": 0})

    async def scenario() -> None:
        async with reading(plant, f"ns={plant.index};s=Kept.v", subscribeEnabled=True) as source:
            found = [msg.payload for msg in await got(source, 1)]
            for n in range(1, 20):
                waiting = asyncio.create_task(source.read())
                await asyncio.sleep(0)
                await asyncio.to_thread(plant.write, "Kept.v", n)
                waiting.cancel()
                found += await asyncio.wait_for(asyncio.gather(_unless_cancelled(waiting)), 5)
            flat = [msg.payload for part in found[1:] for msg in part]
            while not flat or flat[-1] != 19:
                flat += [msg.payload for msg in await got(source, 1)]
            assert flat[-10:] == list(range(10, 20))  # the server keeps ten
            assert flat == sorted(set(flat))

    run(scenario())


def test_the_heartbeat_is_a_message_and_a_clock_that_stands_still_is_the_end(plant: Plant) -> None:
    """With useHeartbeat the server's time is read beside the rest; ten seconds without a new one end the connection.

    Time runs fifty times as fast here, so that the server's clock, which moves once a second, is too slow.
    """
    plant.folder_of("Beat", {"v": 1})

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        config = fields(plant.url, nodeIDs=[f"ns={plant.index};s=Beat"], useHeartbeat=True)
        source = Opcua(config, context(now=lambda: loop.time() * 50))
        await source.connect()
        found = {msg.meta["opcua_node_id"]: msg for msg in await got(source, 2)}
        assert found["i=2258"].meta["opcua_heartbeat_message"] == "true"
        with pytest.raises(ConnectError, match="clock has stood still"):
            await got(source, 1_000_000)
        await source.close()

    run(scenario())


@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
def test_signed_and_encrypted_with_a_user(plant: Plant, tmp_path: Path, mode: str) -> None:
    """The client's certificate is made once, and its key is nobody else's to read; the server's may be pinned."""
    plant.folder_of(f"Safe{mode}", {"v": 7})
    pinned = hashlib.sha256(plant.certificate).hexdigest()
    folder = tmp_path / "own"

    async def scenario() -> None:
        secure = {"securityMode": mode, "username": "eva", "certificateFolder": str(folder)}
        made = b""
        for _ in range(2):
            node = f"ns={plant.index};s=Safe{mode}"
            async with reading(plant, node, password="secret", serverCertificateFingerprint=pinned, **secure) as source:
                assert values(await got(source, 1)) == {"v": 7}
            assert made in (b"", (folder / "client.pem").read_bytes())
            made = (folder / "client.pem").read_bytes()
        assert stat.S_IMODE((folder / "client.key").stat().st_mode) == 0o600
        with pytest.raises(ConnectError, match="shows a certificate with the sha3_512"):
            async with reading(plant, node, password="secret", serverCertificateFingerprint="0" * 128, **secure):
                pass
        with pytest.raises(ConnectError, match=r"BadUserAccessDenied|BadIdentityTokenRejected"):
            async with reading(plant, node, password="wrong", **secure):
                pass

    run(scenario())


def test_the_keys_of_a_channel_are_renewed_before_they_expire(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three quarters of their lifetime; values arrive before and after, encrypted with the new keys."""
    from asyncua.client.client import Client

    from setpoint.flows import opcua_session

    monkeypatch.setattr(opcua_session, "WATCH", 0.05)
    whole, renewals = Client.open_secure_channel, list[bool]()

    async def open_short(self: Any, renew: bool = False) -> None:
        self.secure_channel_timeout = 400
        renewals.append(renew)
        await whole(self, renew)

    monkeypatch.setattr(Client, "open_secure_channel", open_short)
    plant.folder_of("Renewed", {"v": 0})

    async def scenario() -> None:
        secure = {"securityMode": "SignAndEncrypt", "certificateFolder": str(tmp_path)}
        async with reading(plant, f"ns={plant.index};s=Renewed", subscribeEnabled=True, **secure) as source:
            found = await got(source, 1)
            await until(lambda: renewals.count(True) >= 3)
            plant.write("Renewed.v", 5)
            found += await got(source, 1)
        assert [msg.payload for msg in found] == [0, 5]

    run(scenario())


def test_half_a_certificate_is_told_and_nothing_is_overwritten(plant: Plant, tmp_path: Path) -> None:
    """Somebody's own certificate without its key is not replaced."""
    (tmp_path / "client.pem").write_text("mine")

    async def scenario() -> None:
        with pytest.raises(ConnectError, match=r"has no client\.key; put it there"):
            async with reading(plant, "i=85", securityMode="Sign", certificateFolder=str(tmp_path)):
                pass

    run(scenario())
    assert (tmp_path / "client.pem").read_text() == "mine"


def test_a_policy_that_the_server_does_not_offer_is_named(plant: Plant, tmp_path: Path) -> None:
    """The reason says what was asked for."""

    async def scenario() -> None:
        secure = {"securityMode": "Sign", "securityPolicy": "Aes256Sha256RsaPss", "certificateFolder": str(tmp_path)}
        with pytest.raises(ConnectError, match="does not offer Sign with Aes256Sha256RsaPss"):
            async with reading(plant, "i=85", **secure):
                pass

    run(scenario())


def test_a_user_may_be_known_by_password_without_security_of_messages(plant: Plant) -> None:
    """And who does not know it is refused."""
    plant.folder_of("Open", {"v": 1})

    async def scenario() -> None:
        node = f"ns={plant.index};s=Open"
        async with reading(plant, node, username="eva", password="secret") as source:
            assert values(await got(source, 1)) == {"v": 1}
        with pytest.raises(ConnectError, match="Bad"):
            async with reading(plant, node, username="eva", password="wrong"):
                pass

    run(scenario())


def test_nobody_there_is_a_connect_error() -> None:
    """At once, or within the time-out for a server that says nothing."""

    async def scenario() -> None:
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"):
            await Opcua(fields("opc.tcp://127.0.0.1:1"), context()).connect()

    run(scenario())


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"ACKF\xff\xff\xff\xff", b"MSGF\x10\0\0\0" + b"\0" * 8]
)
def test_a_peer_that_is_no_server_is_a_connect_error(answer: bytes) -> None:
    """Whatever it says, and soon."""

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ConnectError):
            async with asyncio.timeout(10):
                await Opcua(fields(url), context()).connect()
        server.close()
        await server.wait_closed()

    run(scenario())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"endpoint": "http://plc:4840"}, "opc.tcp://host:port"),
        ({"endpoint": "opc.tcp://eva:x@plc"}, "a user does not stand in an endpoint"),
        ({"nodeIDs": []}, "at least 1 item"),
        ({"nodeIDs": ["Line.Press"]}, "no node id"),
        ({"nodeIDs": ["ns=70000;i=1"]}, "no node id"),
        ({"securityPolicy": "Basic256Sha256"}, "needs securityMode"),
        ({"securityMode": "Sign", "insecure": True}, "contradicts"),
        ({"clientCertificate": "x"}, "Extra inputs"),
        ({"serverCertificateFingerprint": "abc"}, "hexadecimal digits"),
        ({"password": "x"}, "needs a username"),
        ({"autoReconnect": False}, "True"),
        ({"pollRate": 1}, "greater than or equal to 10"),
    ],
)
def test_what_cannot_be_read_is_refused_when_configured(change: dict[str, Any], text: str) -> None:
    """Contradictions, and options the input does not have."""
    with pytest.raises(ValidationError, match=text):
        fields(**change)


@given(
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text()
    | st.lists(st.integers(-9, 9))
)
def test_what_is_written_reads_as_itself(value: Any) -> None:
    """A value of a type is the same again."""
    kinds: dict[type, str] = {bool: "Boolean", int: "Int64", float: "Double", str: "String", list: "Int16"}
    assert plain(variant(value, kinds[type(value)])) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Byte", 256), ("Byte", -1), ("Int16", 1.5), ("Int16", True), ("Int16", "1"), ("Boolean", 1), ("Float", 1e39), ("Double", "x"),
        ("Double", None), ("String", 1), ("DateTime", "yesterday"), ("DateTime", "2026-01-31T12:00:00"), ("Guid", "5"), ("ByteString", "%"),
        ("Int32", [1, "a"]), ("Int32", float("inf")),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    """Nothing is bent into a type."""
    with pytest.raises(ValueError, match=r"is no|does not fit"):
        variant(value, kind)


# the output


@asynccontextmanager
async def writing(plant: Plant, *mappings: tuple[str, str, str], **more: Any) -> AsyncIterator[OpcuaOutput]:
    nodes = [
        {"nodeId": f"ns={plant.index};s={node}", "valueFrom": place, "dataType": kind} for node, place, kind in mappings
    ]
    sink = OpcuaOutput(
        OpcuaOutput.Fields.model_validate({"endpoint": plant.url, "nodeMappings": nodes, **more}), context()
    )
    await sink.connect()
    try:
        yield sink
    finally:
        await sink.close()


def writable(plant: Plant, name: str, values: dict[str, Any]) -> None:
    plant.folder_of(name, values)
    for each in values:
        plant.do(plant.node(f"{name}.{each}").set_writable())


def test_values_of_a_payload_are_written_to_their_nodes(plant: Plant) -> None:
    """As the type that was said, in order, those fields that the payload has; `readBack` looks whether they were kept."""
    writable(plant, "Out", {"speed": 0.0, "count": ua.Variant(0, ua.VariantType.UInt16), "zones": [0.0]})

    async def scenario() -> None:
        mappings = [
            ("Out.speed", "press.speed", "Double"),
            ("Out.count", "count", "UInt16"),
            ("Out.zones", "zones", "Double"),
        ]
        async with writing(plant, *mappings, readBack=True) as sink:
            batch = [
                sink.prepare(Msg(b'{"press":{"speed":12.5},"count":3}', {})),
                sink.prepare(Msg({"count": 4, "zones": [1, 2.5], "other": "x"}, {})),
            ]
            assert await sink.write(batch) > 40
        assert [plant.value(f"Out.{name}") for name in ("speed", "count", "zones")] == [12.5, 4, [1.0, 2.5]]

    run(scenario())


def test_what_can_never_be_written_is_a_message_error(plant: Plant) -> None:
    """A value of another type, and a payload without any of the fields."""
    writable(plant, "Typed", {"v": ua.Variant(0, ua.VariantType.Byte)})

    async def scenario() -> None:
        async with writing(plant, ("Typed.v", "v", "Byte")) as sink:
            with pytest.raises(MessageError, match=r"v: 256 does not fit into Byte \(0 to 255\)"):
                sink.prepare(Msg({"v": 256}, {}))
            for payload in ({"w": 1}, b"text", 5):
                with pytest.raises(MessageError, match="the payload has none of v"):
                    sink.prepare(Msg(payload, {}))

    run(scenario())


def test_what_the_server_refuses_is_rejected_with_its_reason_and_the_rest_is_written(plant: Plant) -> None:
    """A node that may not be written, one of another type, one that is not there."""
    writable(plant, "Picky", {"good": 0, "text": "a"})
    plant.folder_of("Locked", {"v": 0})

    async def scenario() -> None:
        mappings = [
            ("Picky.good", "good", "Int64"),
            ("Picky.text", "text", "Double"),
            ("Locked.v", "locked", "Int64"),
            ("No", "no", "Int64"),
        ]
        async with writing(plant, *mappings) as sink:
            batch = [
                sink.prepare(Msg({name: n}, {})) for n, name in enumerate(("good", "text", "locked", "no", "good"))
            ]
            with pytest.raises(Rejected) as found:
                await sink.write(batch)
            reasons = {number: reason.split(": ")[1] for number, reason in found.value.reasons.items()}
            assert reasons == {
                1: "BadTypeMismatch",
                2: "BadUserAccessDenied",
                3: "BadUserAccessDenied",
            }  # so says this server
            assert plant.value("Picky.good") == 4
            plant.write("Picky.good", 9)
            assert await sink.write([batch[0], batch[4]]) > 0
            assert plant.value("Picky.good") == 9  # what was written is not written again

    run(scenario())


def test_a_write_without_a_server_is_a_connect_error(plant: Plant) -> None:
    """The flow keeps the batch and connects again."""

    async def scenario() -> None:
        async with writing(plant, ("Any.v", "v", "Int64")) as sink:
            ready = sink.prepare(Msg({"v": 1}, {}))
            await sink.close()
            with pytest.raises(ConnectError):
                await sink.write([ready])

    run(scenario())

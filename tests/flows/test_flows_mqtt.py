"""What the `mqtt` input and output accept, and what they do with peers that are no broker. What a broker does is in tests/real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from flows_plant import context, run
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.stream import open_sink, open_source
from setpoint.flows import FlowConfigError, compile_flow, ends
from setpoint.flows.component import ConnectError, MessageError, Msg
from setpoint.flows.inputs.mqtt import Mqtt as MqttInput
from setpoint.flows.interpolation import Interpolated
from setpoint.flows.mqtt import filter_fault, topic_fault
from setpoint.flows.outputs.mqtt import Mqtt as MqttOutput

pytest.importorskip("paho", reason="the client of MQTT is not installed: pip install 'setpoint[mqtt]'")

BENTHOS_INPUT = {
    "urls": ["tcp://one:1883,ssl://two"],
    "client_id": "me",
    "dynamic_client_id_suffix": "nanoid",
    "connect_timeout": "30s",
    "will": {"enabled": False, "qos": 0, "retained": False, "topic": "", "payload": ""},
    "user": "",
    "password": "",
    "keepalive": 30,
    "tls": {
        "enabled": False,
        "skip_cert_verify": False,
        "enable_renegotiation": False,
        "root_cas": "",
        "root_cas_file": "",
        "client_certs": [],
    },
    "topics": ["a/#"],
    "qos": 1,
    "clean_session": True,
    "auto_replay_nacks": True,
}
BENTHOS_OUTPUT = {
    **{
        key: BENTHOS_INPUT[key]
        for key in ("urls", "client_id", "connect_timeout", "will", "user", "password", "keepalive", "tls")
    },
    "topic": 'a/${! meta("mqtt_topic") }',
    "qos": 1,
    "write_timeout": "3s",
    "retained": False,
    "retained_interpolated": '${! json("keep") }',
    "max_in_flight": 64,
}


def problems(**ends: Any) -> str:
    """What is wrong with a flow of these ends, in one text."""
    whole = {"input": {"generate": {"mapping": "root = {}"}}, "output": {"drop": {}}, **ends}
    with pytest.raises(FlowConfigError) as caught:
        compile_flow(whole)
    return str(caught.value)


def test_what_benthos_documents_is_accepted() -> None:
    """With all of its fields, as people have them."""
    plan = compile_flow({"input": {"mqtt": BENTHOS_INPUT}, "output": {"mqtt": BENTHOS_OUTPUT}})
    assert plan.config.input.fields.urls == ("tcp://one:1883", "ssl://two")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"urls": []}, "urls: "),
        ({"urls": ["http://a"]}, "not of the form tcp://host:port"),
        ({"urls": ["tcp://a:99999"]}, "not of the form tcp://host:port"),
        ({"urls": ["tcp://a/b"]}, "not of the form tcp://host:port"),
        ({"urls": ["tcp://eva:secret@a"]}, "use user and password"),
        ({"topics": []}, "topics: "),
        ({"topics": ["a/#/b"]}, "'#' stands alone in the last level"),
        ({"topics": ["a/b+"]}, "'+' stands alone in a level"),
        ({"topics": ["$share/g"]}, "not of the form $share/<group>/<filter>"),
        ({"qos": 3}, "qos: "),
        ({"topcs": ["a"]}, "did you mean 'topics'?"),
        ({"tls": {"root_ca_file": "x"}}, "did you mean 'root_cas_file'?"),
        ({"clean_session": False}, "needs a client_id"),
        (
            {"clean_session": False, "client_id": "a", "dynamic_client_id_suffix": "nanoid"},
            "needs a client_id that stays the same",
        ),
        ({"will": {"enabled": True}}, "the topic of the will is empty"),
        ({"will": {"enabled": True, "topic": "a/+"}}, "has a wildcard"),
        ({"tls": {"client_certs": [{"cert_file": "a"}]}}, "cert with key, or cert_file with key_file"),
        ({"protocol_version": 4}, "protocol_version: "),
        ({"keepalive": 0}, "keepalive: "),
    ],
)
def test_each_fault_of_an_input_is_named(change: dict[str, Any], text: str) -> None:
    """At load, with its field; a secret in a URL is not repeated."""
    said = problems(input={"mqtt": {"urls": ["tcp://a"], "topics": ["a"], **change}})
    assert text in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"topic": ""}, "the topic is empty"),
        ({"topic": "a/#"}, "has a wildcard"),
        ({"topic": "${! ksuid() }"}, "cannot be evaluated"),
        ({"retained_interpolated": "${! nanoid() }"}, "cannot be evaluated"),
        ({"max_in_flight": 0}, "max_in_flight: "),
        ({"topics": ["a"]}, "did you mean 'topic'?"),
    ],
)
def test_each_fault_of_an_output_is_named(change: dict[str, Any], text: str) -> None:
    """At load, with its field."""
    assert text in problems(output={"mqtt": {"urls": ["tcp://a"], "topic": "a", **change}})


@given(st.text(max_size=12) | st.from_regex(r"\A(\$share/)?[ab+#/]{1,8}\Z"))
def test_a_topic_that_may_be_published_to_may_be_subscribed_to(text: str) -> None:
    """Every topic is a filter; a filter without wildcards is a topic; the library agrees about filters."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import MQTTErrorCode

    if not topic_fault(text) and not text.startswith("$share/"):
        assert not filter_fault(text)
    if not filter_fault(text) and "+" not in text and "#" not in text and not text.startswith("$share/"):
        assert not topic_fault(text)
    if not filter_fault(text):
        assert Client._filter_wildcard_len_check(text.encode()) == MQTTErrorCode.MQTT_ERR_SUCCESS


def test_topics_of_illegal_length_and_letters() -> None:
    """NUL, halves of surrogate pairs, 65,536 bytes."""
    assert "NUL" in topic_fault("a\0b")
    assert "Unicode" in topic_fault("\ud800")
    assert not topic_fault("ä" * 32_767)
    assert "65536 bytes; at most 65535" in topic_fault("ä" * 32_768)


def test_texts_take_values_of_the_message() -> None:
    """Meta and places in the payload; what is not there is a fault of the message."""
    text = Interpolated('a/${! meta("line") }/${!json("b.c")}/z')
    assert text(Msg(b'{"b": {"c": 1.5}}', {"line": "7"})) == "a/7/1.5/z"
    assert text(Msg({"b": {"c": True}}, {"line": "7"})) == "a/7/true/z"
    assert Interpolated("plain")(Msg(b"", {})) == "plain"
    for msg, match in (
        (Msg(b"{}", {}), "has no meta 'line'"),
        (Msg(b"{}", {"line": "7"}), r"has no 'b\.c'"),
        (Msg(b'{"b": {"c": []}}', {"line": "7"}), "no text, number or truth value"),
        (Msg(b"broken", {"line": "7"}), "no JSON"),
    ):
        with pytest.raises(MessageError, match=match):
            text(msg)


def test_a_message_with_an_illegal_topic_is_set_aside() -> None:
    """Before it is written; the retained flag is the message's own where it says so."""
    fields = MqttOutput.Fields.model_validate({**BENTHOS_OUTPUT, "topic": '${! json("to") }'})
    output = MqttOutput(fields, context())
    assert output.prepare(Msg({"to": "a/b", "keep": True}, {}))[::2] == ("a/b", True)
    assert output.prepare(Msg({"to": "a/b", "keep": False}, {})).retain is False
    for to in ("a/#", "", "a\0"):
        with pytest.raises(MessageError, match="its topic"):
            output.prepare(Msg({"to": to, "keep": True}, {}))
    with pytest.raises(MessageError, match="cannot be written as JSON"):
        output.prepare(Msg({"to": "a", "keep": True, "x": object()}, {}))


# URLs of streams


def test_urls_say_what_the_fields_would() -> None:
    """The broker, who asks, the topic, and everything else by the query; a client certificate too."""
    ends.register()
    url = (
        "mqtts://eva:p%23w@plant.local/line/+/#?qos=2&client_id=me&clean_session=false&connect_timeout=5s&topics=b"
        "&tls.root_cas_file=/ca&tls.client_certs.cert_file=/c&tls.client_certs.key_file=/k&protocol_version=5"
    )
    source: Any = open_source(url, keepalive=7)
    fields = source._input._fields
    assert (fields.urls, fields.user, fields.password) == (("ssl://plant.local",), "eva", "p#w")
    assert (fields.topics, fields.qos, fields.clean_session, fields.keepalive) == (("line/+/#", "b"), 2, False, 7)
    assert (fields.connect_timeout, fields.protocol_version, fields.tls.client_certs[0].key_file) == (5.0, "5", "/k")
    assert source.name == "mqtts://plant.local/line/+/#"
    sink: Any = open_sink("mqtt://h:1/?topic_field=to&retained=true")
    assert (sink._output._fields.topic, sink._output._fields.retained) == ('${! meta("mqtt_topic") }', True)


@pytest.mark.parametrize(
    ("opened", "url", "text"),
    [
        (open_source, "mqtt://h", "topics: "),
        (open_source, "mqtt:///a", "not of the form tcp://host:port"),
        (open_source, "mqtt://h/a?qoz=1", "did you mean 'qos'?"),
        (open_source, "mqtt://h/a?qos=x", "qos: "),
        (open_source, "mqtt://h/a?urls=tcp://b", "urls: the URL itself says it"),
        (open_sink, "mqtt://h", "says no topic"),
        (open_sink, "mqtt://h/a?topic_field=t", "said twice"),
        (open_sink, "mqtt://h/a?idle=1s", "unknown field 'idle'"),
        (open_sink, "mqtt://h/a/#", "has a wildcard"),
    ],
)
def test_each_fault_of_a_url_is_named(opened: Callable[[str], Any], url: str, text: str) -> None:
    """When it is opened, before anything is connected."""
    ends.register()
    with pytest.raises(ValueError, match=r".") as caught:
        opened(url)
    assert text in str(caught.value)


# peers that are no broker


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def against(peer: Peer) -> str:
    """Why the input cannot connect to this peer, and that it says so at once or within its timeout."""
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = {"urls": [f"tcp://127.0.0.1:{port}"], "topics": ["a"], "connect_timeout": "300ms", "client_id": "x"}
    source = MqttInput(MqttInput.Fields.model_validate(given), context())
    began = time.monotonic()
    with pytest.raises(ConnectError) as caught:
        await source.connect()
    assert time.monotonic() - began < 3
    await source.close()
    server.close()
    return str(caught.value).replace(str(port), "PORT")


def test_a_peer_that_is_no_broker_is_named_with_the_reason() -> None:
    """One that closes, one that says nothing, one that speaks HTTP, one that sends half a packet, one that sends nonsense."""

    def sends(*answers: bytes, stays: bool = True) -> Peer:
        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:  # one to each packet of ours
                await reader.read(100)
                writer.write(answer)
                await writer.drain()
            if stays:
                await reader.read()
            writer.close()

        return peer

    async def scenario() -> None:
        assert await against(sends(b"", stays=False)) == "127.0.0.1:PORT: the broker closed the connection"
        assert await against(sends(b"")) == "127.0.0.1:PORT did not answer within 0.3 s"
        assert await against(sends(b"HTTP/1.1 400 Bad Request\r\n\r\n", stays=False))
        assert await against(sends(b"\x20\x02\x00")) == "127.0.0.1:PORT did not answer within 0.3 s"
        assert await against(sends(b"\x20\x02\x00\x05")) == "127.0.0.1:PORT refuses the connection: Not authorized"
        assert await against(sends(b"\x20\xff\xff\xff\xff\xff"))
        assert "not UTF-8" in await against(sends(b"\x20\x02\x00\x00", b"\x30\x03\x00\x01\xff"))
        refused = "127.0.0.1:PORT: the subscription to a was refused: Unspecified error"
        assert await against(sends(b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x80")) == refused

    run(scenario())


def test_who_cannot_be_reached_is_named() -> None:
    """A port where nobody listens, a name that does not exist; TLS with one that speaks none."""

    async def connect(url: str) -> str:
        fields = {"urls": [url], "topics": ["a"], "connect_timeout": "2s"}
        source = MqttInput(MqttInput.Fields.model_validate(fields), context())
        with pytest.raises(ConnectError) as caught:
            await source.connect()
        return str(caught.value)

    async def scenario() -> None:
        assert await connect("tcp://127.0.0.1:1") == "127.0.0.1:1: Connection refused"
        assert (await connect("tcp://no.such.name.invalid")).startswith("no.such.name.invalid:1883")
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        assert await connect(f"ssl://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        server.close()

    run(scenario())

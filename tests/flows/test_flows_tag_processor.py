"""`tag_processor` and `nodered_js`: from whatever was read to a value with a place in the namespace."""

from typing import Any

import pytest
from flows_plant import context

from setpoint.data import Several
from setpoint.flows.component import MessageError, Msg
from setpoint.flows.processors import PROCESSORS

DEFAULTS = """
msg.meta.location_path = "acme.cologne";
msg.meta.data_contract = "_raw";
msg.meta.tag_name = "level";
return msg;
"""


def processor(kind: str, **fields: Any) -> Any:
    known = PROCESSORS[kind]
    return known.make(known.fields.model_validate(fields), context())


def tag(payload: Any, meta: dict[str, str] | None = None, **fields: Any) -> Any:
    return processor("tag_processor", **{"defaults": DEFAULTS, **fields})(Msg(payload, meta or {}))


def test_a_value_gets_its_topic_and_its_time() -> None:
    """The payload is exactly value and time; the topic is in the meta under both of its names."""
    msg = tag(23.5, {"unit": "bar"})
    assert msg.payload == {"timestamp_ms": 1_700_000_000_000, "value": 23.5}
    topic = "umh.v1.acme.cologne._raw.level"
    assert msg.meta["umh_topic"] == msg.meta["topic"] == topic
    assert msg.meta["unit"] == "bar"


def test_the_three_stages_run_in_order() -> None:
    """Conditions see what defaults set; the last stage sees all; conditions that do not hold leave the message alone."""
    msg = tag(
        2,
        {"modbus_tag_name": "t1"},
        conditions=[
            {
                "if": 'msg.meta.modbus_tag_name === "t1"',
                "then": 'msg.meta.virtual_path = "motor." + msg.meta.modbus_tag_name; return msg;',
            },
            {"if": "msg.payload > 5", "then": 'msg.meta.virtual_path = "wrong"; return msg;'},
            {"if": True, "then": "msg.meta.location_path += '.line1'; return msg;"},
        ],
        advancedProcessing="msg.payload = msg.payload * 2; return msg;",
    )
    assert msg.meta["umh_topic"] == "umh.v1.acme.cologne.line1._raw.motor.t1.level"
    assert msg.payload["value"] == 4


def test_dropping_and_fanning_out() -> None:
    """null drops; a list makes several messages, each with a topic of its own."""
    assert not tag(-1, advancedProcessing="if (msg.payload < 0) { return null; } return msg;")
    two = tag(
        1,
        advancedProcessing="""
        msg1 = {payload: msg.payload, meta: msg.meta};
        msg2 = {payload: msg.payload * 2, meta: Object.assign({}, msg.meta, {tag_name: "twice"})};
        return [msg1, msg2];""",
    )
    assert isinstance(two, Several)
    assert [(msg.meta["tag_name"], msg.payload["value"]) for msg in two] == [("level", 1), ("twice", 2)]


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (42, 42), (True, True), ("2340925", "2340925"), (["a", 1], '["a",1]'), ({"k": 1}, '{"k":1}'), (b"12.5", 12.5), (b"text", "text"),
        (b"", ""), (2**63 - 1, 2**63 - 1),
    ],
)  # fmt: skip
def test_values_keep_their_type_and_structures_become_text(payload: Any, value: Any) -> None:
    """Numbers, texts and truth values stay what they are; raw text is read as JSON where it is JSON."""
    result = tag(payload).payload["value"]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("datatype", "payload", "value"),
    [
        ("number", "42", 42),
        ("number", "4.5", 4.5),
        ("number", True, 1),
        ("string", 42, "42"),
        ("bool", 1, True),
        ("bool", "false", False),
    ],
)
def test_datatype_forces_a_type(datatype: str, payload: Any, value: Any) -> None:
    """`msg.meta.datatype` converts explicitly."""
    result = tag(payload, {"datatype": datatype}).payload["value"]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("stamp", "timestamp_ms"),
    [
        ("1733903611000", 1733903611000),
        ("2024-12-11T07:53:31Z", 1733903611000),
        ("2024-12-11T08:53:31.5+01:00", 1733903611500),
    ],
)
def test_the_time_may_come_from_the_message(stamp: str, timestamp_ms: int) -> None:
    """`msg.meta.timestamp_ms` is milliseconds or RFC 3339."""
    assert tag(1, {"timestamp_ms": stamp}).payload["timestamp_ms"] == timestamp_ms


@pytest.mark.parametrize(
    ("payload", "meta", "fields", "text"),
    [
        (1, {}, {"defaults": "return msg;"}, "lacks location_path, data_contract, tag_name"),
        (1, {}, {"defaults": DEFAULTS.replace('"level"', '"a b"')}, "name 'a b' is not valid"),
        (1, {}, {"defaults": DEFAULTS.replace('"_raw"', '"raw"')}, "contract 'raw'"),
        (None, {}, {}, "payload is null"),
        (1, {"timestamp_ms": "yesterday"}, {}, "expected milliseconds"),
        (1, {"timestamp_ms": "2024-12-11T07:53:31"}, {}, "expected milliseconds"),
        ("abc", {"datatype": "number"}, {}, "is not one"),
        ("inf", {"datatype": "number"}, {}, "is not one"),
        ("maybe", {"datatype": "bool"}, {}, "neither true nor false"),
        (1, {"datatype": "uint"}, {}, "expected number, string or bool"),
        (1, {}, {"advancedProcessing": "return mesage;"}, "advancedProcessing: ReferenceError"),
    ],
)
def test_a_message_without_place_value_or_time_fails(
    payload: Any, meta: dict[str, str], fields: dict[str, Any], text: str
) -> None:
    """Each fault says what is missing; nothing is published under a guessed topic."""
    with pytest.raises(MessageError, match=text):
        tag(payload, meta, **fields)


def test_doubled_dots_of_templates_are_tidied() -> None:
    """Empty levels that a template leaves behind vanish."""
    msg = tag(1, defaults=DEFAULTS.replace("acme.cologne", ".acme..cologne."))
    assert msg.meta["umh_topic"] == "umh.v1.acme.cologne._raw.level"


def test_nodered_js_gives_whole_messages() -> None:
    """The payload is what the function returns, of any shape; meta is kept or replaced as it says."""
    run = processor("nodered_js", code="return {payload: {n: msg.payload.n + 1}, meta: {a: 'b'}};")
    assert run(Msg(b'{"n": 1}', {"x": "y"})) == Msg({"n": 2}, {"a": "b"})
    assert not processor("nodered_js", code="return null;")(Msg(1, {}))

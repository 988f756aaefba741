"""The stream processor: what comes of the latest values of its sources, when, where it goes, and what is late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flows_plant import context, run, until
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import Several
from setpoint.flows import FlowConfigError, FlowEngine
from setpoint.flows.component import MessageError, Msg
from setpoint.flows.processors.stream_processor import StreamProcessor
from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

T0 = 1_700_000_000_000
SOURCES = {
    "press": "umh.v1.acme.line._raw.press",
    "temp": "acme.line._raw.temp",
    "run": "umh.v1.acme.line._raw.run",
}


def fields(mapping: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "output_topic": "umh.v1.acme.line",
        "model": {"name": "pump", "version": "v1"},
        "sources": SOURCES,
        "mapping": mapping,
        **more,
    }


def processor(mapping: dict[str, Any], **more: Any) -> StreamProcessor:
    return StreamProcessor(StreamProcessor.Fields.model_validate(fields(mapping, **more)), context())


def message(name: str, value: Any, at: int = 0, written: int = 0) -> Msg:
    meta = {"umh_topic": f"umh.v1.acme.line._raw.{name}", "umh_timestamp_ms": str(T0 + written), "serial": "7"}
    return Msg(json.dumps({"timestamp_ms": T0 + at, "value": value}).encode(), meta)


def made(answer: Any) -> list[tuple[str, Any, int]]:
    """Path, value and time of what came of a message."""
    messages = [] if answer is None else list(answer) if isinstance(answer, Several) else [answer]
    start = "umh.v1.acme.line._pump_v1."
    assert all(one.meta["umh_topic"].startswith(start) for one in messages)
    return [
        (one.meta["umh_topic"].removeprefix(start), one.payload["value"], one.payload["timestamp_ms"] - T0)
        for one in messages
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("press * 9 / 5 + 32", 68.0),
        ("press > 10 ? 'high' : 'low'", "high"),
        ("Math.max(press, 100)", 100),
        ("press.toFixed(2)", "20.00"),
        ("press === 20", True),
        ("= round(press / 3, 2)", 6.67),
        ("= 'high' if press > 10 else 'low'", "high"),
        ("press", 20),
        ("null", None),
        ("= None", None),
        (3.5, 3.5),
        (True, True),
    ],
)
def test_a_field_is_what_its_expression_gives(text: Any, value: Any) -> None:
    """In either language; null publishes nothing, a number or truth value stands for itself."""
    expected = [] if value is None else [("f", value, 5)]
    assert made(processor({"f": text})(message("press", 20, 5))) == expected


def test_a_field_waits_for_all_its_sources_and_comes_with_each_of_them() -> None:
    """Those that use other sources are left alone; one that uses none comes with every message."""
    subject = processor({"sum": "press + temp", "hot": "temp > 90", "serial": "'SN-7'"})
    assert made(subject(message("press", 1, 1))) == [("serial", "SN-7", 1)]
    assert made(subject(message("temp", 2, 2))) == [("sum", 3, 2), ("hot", False, 2), ("serial", "SN-7", 2)]
    assert made(subject(message("press", 5, 3))) == [("sum", 7, 3), ("serial", "SN-7", 3)]
    assert made(subject(message("run", True, 4))) == [("serial", "SN-7", 4)]


def test_the_time_is_that_of_the_newest_source_used() -> None:
    """A source that is behind does not take the result back in time."""
    subject = processor({"sum": "press + temp"})
    subject(message("press", 1, 100))
    assert made(subject(message("temp", 2, 40))) == [("sum", 3, 100)]
    assert made(subject(message("temp", 3, 60))) == [("sum", 4, 100)]
    assert made(subject(message("temp", 4, 160))) == [("sum", 5, 160)]


def test_folders_are_the_virtual_path_and_metadata_is_that_of_the_message() -> None:
    """With the parts of the new topic in the place of the old ones, and what it was made of."""
    answer = processor({"motor": {"rpm": "press * 2"}}, contract="_pump")(message("press", 4, 9, written=3))
    assert answer == Msg(
        {"timestamp_ms": T0 + 9, "value": 8},
        {
            "umh_topic": "umh.v1.acme.line._pump.motor.rpm",
            "topic": "umh.v1.acme.line._pump.motor.rpm",
            "location_path": "acme.line",
            "data_contract": "_pump",
            "virtual_path": "motor",
            "tag_name": "rpm",
            "serial": "7",
            "made_of": f'{{"umh.v1.acme.line._raw.press":[{T0 + 9},4,{T0 + 3}]}}',
        },
    )


def test_an_older_message_is_late_and_counted_and_of_two_with_one_time_the_later_stands() -> None:
    """Late messages change nothing and make nothing due."""
    subject = processor({"f": "press"})
    assert made(subject(message("press", 1, 10))) == [("f", 1, 10)]
    assert made(subject(message("press", 2, 9))) == []
    assert subject.late == {"press": 1, "temp": 0, "run": 0}
    assert made(subject(message("press", 3, 10))) == [("f", 3, 10)]


@pytest.mark.parametrize("written", [60_001, -60_001])
def test_a_source_whose_clock_was_set_back_is_believed_after_a_minute(written: int) -> None:
    """One message from the far future does not silence it for ever, nor does the clock of the log, set back itself."""
    subject = processor({"f": "press"})
    subject(message("press", 1, 10**11))
    assert made(subject(message("press", 2, 0, written=written // abs(written) * 60_000))) == []
    assert made(subject(message("press", 3, 1, written=written))) == [("f", 3, 1)]
    assert made(subject(message("press", 4, 2, written=written))) == [("f", 4, 2)]


def test_a_copy_keeps_every_digit() -> None:
    """JavaScript would round it."""
    assert made(processor({"f": "press"})(message("press", 2**60 + 1))) == [("f", 2**60 + 1, 0)]


def test_a_source_may_send_objects() -> None:
    """Both languages reach into them; the time is theirs where they have one, else that of the log."""
    subject = processor({"x": "press.axis.x * 2", "y": "= press.axis.x"})
    given = message("press", 0, written=7)
    given.payload = json.dumps({"axis": {"x": 2}, "timestamp_ms": T0 + 5}).encode()
    assert made(subject(given)) == [("x", 4, 5), ("y", 2, 5)]
    given.payload = b'{"axis": {"x": 3}}'
    assert made(subject(given)) == [("x", 6, 7), ("y", 3, 7)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("press.nothing.there", "TypeError"),
        ("press.nothing", "gave undefined"),
        ("press / 0", "gave Infinity, which is not a value"),
        ("Math.sqrt(-press)", "gave NaN"),
        ("[press]", "gave a list"),
        ("({a: press})", "gave an object"),
        ("(() => { throw press })()", "mapping bad.one: 20"),
        ("(() => { while (press) {} })()", "more than 50 ms of CPU time"),
        ("'x'.repeat(500 * 1024 * 1024) + press", "memory"),
        ("(() => { const f = () => f() + 1; return f(); })() + press", "stack overflow"),
        ("'\\ud800' + press", "gave what cannot be read"),
        ("= press / 0", "division by zero"),
        ("= press.there", "there is no 'there'"),
        ("= [press]", "gave a list"),
    ],
)
def test_a_field_that_cannot_be_evaluated_fails_the_message_by_name_and_spares_the_others(
    text: str, words: str
) -> None:
    """Those beside it wait for the flow to ask, or go before what comes of the next message, in their order."""
    subject = processor({"good": "press + 1", "bad": {"one": text}, "better": "= press + 2"})
    with pytest.raises(MessageError, match=r"^mapping bad\.one: ") as caught:
        subject(message("press", 20, 1))
    assert words in str(caught.value)
    assert "good" not in str(caught.value)
    assert subject.held == 2
    assert subject.due() is not None
    assert made(subject(message("run", True, 2))) == [("good", 21, 1), ("better", 22, 1)]
    assert (subject.held, subject.due(), subject.release()) == (0, None, [])


def test_an_expression_cannot_change_what_others_see() -> None:
    """Strict code; each message is evaluated on values of its own."""
    with_globals = processor({"bad": "undeclared = press"}, sources={**SOURCES, "undeclared": "a._raw.u"})
    with_globals(Msg(b'{"timestamp_ms": 1, "value": 1}', {"umh_topic": "umh.v1.a._raw.u"}))
    assert made(with_globals(message("press", 2, 2))) == [("bad", 2, 2)]  # its own variable, gone afterwards
    assert with_globals.latest.of["umh.v1.a._raw.u"].value == 1


@pytest.mark.parametrize("payload", [b"nonsense", b"[1]", b'{"timestamp_ms": 1, "value": null}', b"5", b"\xff"])
def test_a_message_that_is_no_value_fails_with_the_contract_of_its_topic(payload: bytes) -> None:
    """And changes nothing."""
    subject = processor({"f": "press"})
    with pytest.raises(MessageError, match="payload of contract _raw"):
        subject(Msg(payload, {"umh_topic": SOURCES["press"]}))
    assert subject.latest.of == {}


def test_a_message_of_no_source_is_left_out() -> None:
    """A flow may read more than the processor uses."""
    assert processor({"f": "press"})(message("other", 1)) is None


def test_two_aliases_may_name_one_topic() -> None:
    """Both have its value."""
    subject = processor({"f": "a * b"}, sources={"a": "acme._raw.x", "b": "umh.v1.acme._raw.x"})
    answer = subject(Msg(b'{"timestamp_ms": 1, "value": 3}', {"umh_topic": "umh.v1.acme._raw.x"}))
    assert answer.payload["value"] == 9


MESSAGES = st.lists(
    st.tuples(st.sampled_from(["press", "temp", "run"]), st.integers(0, 5), st.integers(0, 9)), max_size=30
)


def final(messages: list[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    subject = processor({"f": "press"})
    for name, at, value in messages:
        subject(message(name, value, at))
    return {topic: (reading.timestamp_ms, reading.value) for topic, reading in subject.latest.of.items()}


@given(MESSAGES, st.randoms(use_true_random=False))
def test_the_latest_values_do_not_depend_on_how_sources_mix(messages: list[tuple[str, int, int]], rng: Any) -> None:
    """Law: only the times decide, and among equal ones of one source the order; another mix, or each message twice, ends the same."""
    by_source = {name: [one for one in messages if one[0] == name] for name in ("press", "temp", "run")}
    mixed = []
    while queues := [queue for queue in by_source.values() if queue]:
        mixed.append(rng.choice(queues).pop(0))
    expected = {}
    for name, at, value in messages:
        topic = f"umh.v1.acme.line._raw.{name}"
        if topic not in expected or T0 + at >= expected[topic][0]:
            expected[topic] = (T0 + at, value)
    assert final(messages) == final(mixed) == expected
    assert final(messages + messages) == expected


@given(MESSAGES)
def test_times_of_a_field_never_go_back(messages: list[tuple[str, int, int]]) -> None:
    """Law: as long as no clock is set back by more than a message may be late."""
    subject = processor({"f": "press + temp"})
    times = [at for name, at, value in messages for _, _, at in made(subject(message(name, value, at)))]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mapping": {"a": {"b": "pres"}}}, "mapping.a.b: 'pres' is no source; did you mean 'press'?"),
        ({"mapping": {}}, "at least 1 item"),
        ({"sources": {}}, "at least 1 item"),
        ({"sources": {"2nd": "acme._raw.x"}, "mapping": {"f": 1}}, "sources.2nd: '2nd' cannot be a variable"),
        ({"sources": {"press": "umh.v1.acme._raw.*"}}, "is not valid because of '*'"),
        ({"output_topic": "umh.v1.acme.line._raw"}, "stream_processor.output_topic: location level 2 '_raw'"),
        ({"output_topic": "acme"}, "does not start with"),
        ({"sources": {"press": "acme.line._pump_v1.f"}}, "mapping.f: is published to umh.v1.acme.line._pump_v1.f, which is a source"),
        ({"model": {"name": "pump"}}, "version"),
        ({"mode": "relational"}, "timeseries"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_work_is_refused_at_load(
    changed: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """With the field, and what may have been meant."""
    config = {
        "input": {"generate": {"mapping": "root = 1"}},
        "pipeline": {"processors": [{"stream_processor": {**fields({"f": "press"}), **changed}}]},
        "output": {"file": {"path": str(tmp_path / "out")}},
    }
    with pytest.raises(FlowConfigError) as caught:
        FlowEngine().compile(config)
    assert words in str(caught.value)


def test_in_a_flow_from_the_namespace_into_the_namespace(tmp_path: Path) -> None:
    """What cannot be evaluated is counted with its reason, what was made beside it is published in its order."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            engine = FlowEngine(broker)
            mapping = {"inverse": "press === 0 ? press.not.there : 1 / press", "twice": "= press * 2"}
            config = {
                "input": {"uns": {"umh_topics": [r"umh\.v1\.acme\.line\._raw\..*"]}},
                "pipeline": {"processors": [{"stream_processor": fields(mapping)}]},
                "output": {"uns": {}},
            }
            await engine.start("sp", config, bridged_by="stream-processor-acme-sp")
            together = [
                Message(SOURCES["press"], message("press", value, at).payload) for at, value in enumerate((4, 0, 2))
            ]
            await broker.publish(together)
            await broker.publish([Message(SOURCES["press"], message("press", 0, 9).payload)])

            def status() -> Any:
                return engine.status("sp")

            await until(lambda: status().output_sent == 6)
            assert (status().processor_errors, status().input_received) == (2, 4)
            assert "mapping inverse: TypeError" in status().last_error
            found = await broker.subscribe("t", [r".*\._pump_v1\."]).read()
            assert [(one.topic.rpartition(".")[2], json.loads(one.payload)["value"]) for one in found] == [
                ("inverse", 0.25), ("twice", 8), ("twice", 0), ("inverse", 0.5), ("twice", 4), ("twice", 0),
            ]  # fmt: skip
            assert {one.headers["bridged_by"] for one in found} == {"stream-processor-acme-sp"}
            await engine.close()

    run(story())

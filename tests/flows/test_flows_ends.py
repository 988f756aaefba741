"""Inputs and outputs of flows as ends of streams: URLs, records and messages, what is acknowledged when, what is tried again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.fsm import SimpleFSM
from setpoint.data.stream import Mark, StreamError, open_sink, open_source
from setpoint.flows import ends
from setpoint.flows.component import ConnectError, MessageError, Msg, WriteError
from setpoint.flows.ends import adapters
from setpoint.flows.ends.adapters import InputSource, OutputSink
from setpoint.flows.ends.form import Form
from setpoint.flows.ends.options import source_options
from setpoint.flows.ends.where import checked, nested, where
from setpoint.namespace import BrokerError, Message
from setpoint.namespace.embedded import EmbeddedBroker

COPY = "name: copy\nstates:\n  in: {arcs: [out]}\n  out: {final: true}\n"
TOPIC = "umh.v1.acme._raw.n"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    ends.register()
    monkeypatch.setattr(adapters, "Backoff", lambda rng: Quick())


class Quick:
    """Pauses of no length."""

    def reset(self) -> None:
        pass

    async def wait(self) -> None:
        await asyncio.sleep(0)


def run(source: Any, sink: Any = None, **options: Any) -> Any:
    return SimpleFSM(COPY).process_stream(source, sink, **options)


# URLs


def test_a_url_is_taken_apart() -> None:
    """Host and port, who asks, the path as it is, ``#`` among it, and the query: repeated keys are lists."""
    place = where("mqtt://eva:p%40ss@host:1883/a/+/#?qos=1&topics=b&topics=c%3Fd", {"idle": 2})
    assert place == ("mqtt", "host:1883", "eva", "p@ss", "a/+/#", {"qos": "1", "topics": ["b", "c?d"], "idle": 2})
    assert where("mqtt://host//abs", {}).path == "/abs"
    assert where("mqtt://[::1]:99/x", {}).server == "[::1]:99"
    assert where("uns://umh.v1.Acme.[ab]/@x", {}, host=False).path == "umh.v1.Acme.[ab]/@x"
    with pytest.raises(ValueError, match="no host and port"):
        where("mqtt://host:port/x", {})


def test_dots_lead_into_nested_fields() -> None:
    """As far as one wants; what is a value cannot be gone into."""
    assert nested({"tls.enabled": "true", "tls.a.b": "c", "qos": "1"}) == {
        "tls": {"enabled": "true", "a": {"b": "c"}},
        "qos": "1",
    }
    with pytest.raises(ValueError, match=r"tls\.enabled goes into tls, which has a value of its own"):
        nested({"tls": "x", "tls.enabled": "true"})


def test_fields_are_checked_with_the_nearest_name() -> None:
    """All that is wrong at once, each by its field."""
    with pytest.raises(ValueError, match=r"keepalive: .* got 0; qoz: unknown field 'qoz' \(did you mean 'qos'\?\)"):
        checked("input", "mqtt", {"urls": "tcp://h", "topics": "a", "qoz": 1, "keepalive": 0})


def test_options_say_what_they_are() -> None:
    """A format that is not known, one name for two things, a duration that is none."""
    for query, match in (
        ("format=xml", "there are json, text, bytes"),
        ("topic_field=a&meta_field=a", "give them two names"),
        ("idle=soon", "idle: 'soon' is not a duration"),
        ("unheard=1", "unheard: not an option here"),
    ):
        with pytest.raises(ValueError, match=match):
            source_options(where(f"x://y?{query}", {}), topic_meta="t", exactly=True)
    with pytest.raises(ValueError, match="have no topic"):
        source_options(where("x://y?topic_field=a", {}), topic_meta="")


# records and messages

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    payload=JSON,
    topic=st.text(min_size=1, max_size=9),
    meta=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)
def test_a_message_survives_being_a_record(payload: Any, topic: str, meta: dict[str, str]) -> None:
    """With topic and meta in fields or without, whatever the payload is: an object, a number, a list, null."""
    for form in (
        Form(),
        Form(topic_meta="t", topic_field="T_"),
        Form(topic_meta="t", topic_field="T_", meta_field="M_"),
    ):
        given = Msg(json.dumps(payload).encode(), {**meta, "t": topic})
        if isinstance(payload, dict) and payload.keys() == {"payload"} and form.topic_field:
            continue  # an object that has the field `payload` alone becomes its value when that is no object
        back = form.message(form.record(given))
        assert json.loads(back.payload) == payload
        assert back.meta.get("t") == (topic if form.topic_field else None)
        assert not form.meta_field or back.meta == given.meta


def test_what_is_no_record_says_why() -> None:
    """Broken JSON, text that is none, a field that is taken."""
    for form, payload, match in (
        (Form(), b'{"a": ', "not JSON: "),
        (Form(), b"\xff\xfe", "not JSON: "),
        (Form(), b"NaN", "not JSON: "),
        (Form(format="text"), b"\xff", "utf-8"),
        (Form(topic_field="a"), b'{"a": 1}', "has a field 'a' of its own"),
    ):
        with pytest.raises(ValueError, match=match):
            form.record(Msg(payload, {}))
    assert Form(format="text").record(Msg("ä".encode(), {})) == "ä"
    assert Form(format="bytes").record(Msg(b"\xff", {})) == b"\xff"


def test_what_is_no_message_says_why() -> None:
    """No topic, meta that are no texts, a value that the format cannot say."""
    fields = Form(topic_meta="t", topic_field="topic", meta_field="meta")
    for form, record, match in (
        (fields, {"a": 1}, "no text in the field 'topic'"),
        (fields, {"topic": ""}, "no text in the field 'topic'"),
        (fields, {"topic": "x", "meta": {"a": 1}}, "must map texts to texts"),
        (fields, [1], "is list, not a mapping"),
        (Form(), b"x", "is bytes, which JSON cannot say"),
        (Form(), {1, object()}, "cannot be written as JSON"),
        (Form(format="text"), {"a": 1}, "is dict, where format=text writes text"),
        (Form(format="text"), b"x", "is bytes, where format=text writes text"),
    ):
        with pytest.raises(MessageError, match=match):
            form.message(record)
    assert Form().message("text").payload == b'"text"'
    assert Form(format="text").message("text").payload == b"text"


# inputs as sources


class Batches:
    """An input of batches, in which an exception is raised where it stands; keeps what happened to it."""

    def __init__(self, *batches: Sequence[Any] | Exception | None) -> None:
        self.batches = list(batches)
        self.log: list[str] = []
        self.refusals: list[Exception] = []

    async def connect(self) -> None:
        self.log.append("connect")
        if self.refusals:
            raise self.refusals.pop(0)

    async def read(self) -> list[Msg] | None:
        self.log.append("read")
        if not self.batches:
            await asyncio.Event().wait()
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return None if batch is None else [Msg(b"%d" % n if isinstance(n, int) else n, {"t": "x"}) for n in batch]

    async def acknowledge(self) -> None:
        self.log.append("ack")

    async def close(self) -> None:
        self.log.append("close")


def source_of(batches: Batches, **more: Any) -> InputSource:
    return InputSource(lambda context: batches, name="batches", form=Form(topic_meta="t"), **more)


def test_a_batch_is_acknowledged_when_all_of_it_is_committed() -> None:
    """Not before, however small the chunks are, and the next is not read before; empty ones are passed over."""
    batches, seen = Batches(range(5), [], range(5, 7), None), []
    report = run(
        source_of(batches),
        chunk_size=2,
        on_commit=lambda mark: seen.append((mark.source["taken"], "".join(batches.log))),
    )
    assert report.success
    assert report.read == 7
    assert [taken for taken, _ in seen] == [2, 4, 5, 7]
    assert [log.count("ack") for _, log in seen] == [0, 0, 1, 3]
    assert batches.log == ["connect", "read", "ack", "read", "ack", "read", "ack", "read", "close"]


def test_what_is_no_record_is_a_dead_letter_with_its_topic(tmp_path: Path) -> None:
    """And acknowledged with the rest: it is safe in the file."""
    letters, batches = tmp_path / "dead.jsonl", Batches([1, b"{", 2], None)
    report = run(source_of(batches), dead_letters=letters)
    assert (report.read, report.malformed) == (2, 1)
    [letter] = [json.loads(line) for line in letters.read_text().splitlines()]
    assert (letter["at"], letter["text"], letter["source"]) == ("x #2", "{", "batches")
    assert batches.log.count("ack") == 1


def test_a_stream_ends_when_nothing_comes_for_long_enough() -> None:
    """Without `idle` it would go on for ever."""
    assert run(source_of(Batches([1, 2]), idle=0.01)).finished


def test_a_connection_that_breaks_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    """With its reason in the log; one that cannot be made at the beginning is an error."""
    batches = Batches([1], ConnectError("the cable is cut"), [2], None)
    batches.refusals = []
    report = run(source_of(batches))
    assert (report.read, report.success) == (2, True)
    assert batches.log.count("connect") == 2
    assert "batches: the cable is cut; trying again" in caplog.text
    assert "connected again after" in caplog.text
    refusing = Batches([1])
    refusing.refusals = [ConnectError("nobody there")]
    with pytest.raises(StreamError, match="nobody there"):
        run(source_of(refusing))


def test_patience_has_an_end() -> None:
    """What stays away for longer than `retry_for` breaks the stream, with the last reason."""
    batches = Batches([1], *[ConnectError(f"cut {n}") for n in range(3)])
    with pytest.raises(StreamError, match=r"cut 0; 1 records read"):
        run(source_of(batches, retry_for=0.0))


def test_a_connection_that_is_made_and_ended_at_once_is_none() -> None:
    """As where two have the same client id: without a message between them the attempts add up."""
    batches = Batches([1], *[ConnectError("the session was taken over")] * 10_000)
    with pytest.raises(StreamError, match="taken over"):
        run(source_of(batches, retry_for=0.1))
    assert len(batches.batches) > 0


def test_where_to_go_on_is_known_by_the_broker_or_by_nobody() -> None:
    """An input that resumes counts on; another refuses."""
    start = Mark({"taken": 40})
    found: list[Any] = []
    source = source_of(Batches([1], None), resumes=True)
    report = run(source, found, resume=True, start=start)
    assert report.resumed_from == start
    assert found == [1]
    with pytest.raises(StreamError, match="batches cannot go on where it broke off"):
        run(source_of(Batches([1], None)), found, resume=True, start=start)


# outputs as sinks


class Taken:
    """An output that takes what it is told to, and fails as it is told to."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.log: list[Any] = []

    async def connect(self) -> None:
        self.log.append("connect")

    def prepare(self, msg: Msg) -> bytes:
        if msg.payload == b"13":
            raise MessageError("thirteen is never written")
        return bytes(msg.payload)

    async def write(self, batch: Sequence[bytes]) -> int:
        if self.faults:
            raise self.faults.pop(0)
        self.log.append(b" ".join(batch))
        return 0

    async def close(self) -> None:
        self.log.append("close")


def sink_of(taken: Taken, **more: Any) -> OutputSink:
    return OutputSink(lambda context: taken, name="taken", form=Form(), **more)


def test_a_chunk_is_delivered_when_it_is_committed_and_again_until_it_is_taken() -> None:
    """The same batch, connected anew where the connection broke; what can never be written is refused alone."""
    taken = Taken(WriteError("full"), ConnectError("gone"))
    report = run([1, 13, 2, 3], sink_of(taken), chunk_size=3)
    assert (report.emitted, report.failed) == ({"out": 3}, {"out": 1})
    assert report.first[0].reason == "thirteen is never written"
    assert taken.log[:5] == ["connect", "close", "connect", b"1 2", b"3"]


def test_a_sink_that_takes_nothing_for_too_long_breaks_the_stream() -> None:
    """With its reason, and nothing counted as written."""
    with pytest.raises(StreamError, match="the disk of the broker is full") as caught:
        run([1], sink_of(Taken(WriteError("the disk of the broker is full")), retry_for=0.0))
    assert caught.value.report.emitted == {}


# flow://


def test_an_end_of_any_flow_is_an_end_of_a_stream(tmp_path: Path) -> None:
    """Its `input` as source, its `output` as sink; one file serves as both."""
    into = tmp_path / "out.txt"
    config = tmp_path / "flow.yaml"
    config.write_text(
        "input: {generate: {mapping: 'root.n = counter()', interval: '', count: 5}}\n"
        f"output: {{file: {{path: {into}}}}}\n"
    )
    report = run(f"flow://{config}", f"flow://{config}", chunk_size=2)
    assert report.success
    assert [json.loads(line)["n"] for line in into.read_text().splitlines()] == [1, 2, 3, 4, 5]
    found: list[Any] = []
    run(open_source("flow://", config={"input": {"file": {"paths": [str(into)]}}}), found)
    assert [record["n"] for record in found] == [1, 2, 3, 4, 5]
    with pytest.raises(StreamError, match="cannot go on where it broke off"):
        run(f"flow://{config}", found, resume=True, start=Mark({"taken": 1}))


def test_a_flow_that_is_no_end_is_refused(tmp_path: Path) -> None:
    """Processors, faults of its config, YAML that is none, a namespace that uns:// reads better, an option nobody reads."""
    config = tmp_path / "flow.yaml"
    for text, match in (
        (
            "input: {generate: {mapping: 'root = {}'}}\npipeline: {processors: [{nodered_js: {code: return msg;}}]}",
            "processors",
        ),
        ("input: {generat: {}}", "did you mean 'generate'"),
        ("input: {generate: {mapping: 'root = {}'}}\noutputt: {}", "unknown section 'outputt'"),
        ("input: {uns: {}}", "by uns://"),
        ("input: [", r"flow\.yaml:2: "),
        ("", "is empty"),
    ):
        config.write_text(text)
        with pytest.raises(ValueError, match=match):
            open_source(f"flow://{config}")
    config.write_text("input: {generate: {mapping: 'root = {}'}}")
    with pytest.raises(ValueError, match="count: not an option here"):
        open_source(f"flow://{config}?count=3")
    with pytest.raises(OSError, match="not-there"):
        open_source(f"flow://{tmp_path}/not-there.yaml")


# uns://


def filled(data: Path, *payloads: bytes, topic: str = TOPIC) -> None:
    async def fill() -> None:
        async with EmbeddedBroker(data / "broker.sqlite") as broker:
            await broker.publish([Message(topic, payload, {"bridged_by": "me"}) for payload in payloads])

    asyncio.run(fill())


def series(*values: int) -> list[bytes]:
    return [b'{"timestamp_ms":1,"value":%d}' % value for value in values]


def values(found: list[Any]) -> list[int]:
    return [record["value"] for record in found]


def test_the_namespace_is_read_from_offset_to_offset(tmp_path: Path) -> None:
    """What matches the pattern, with its topic, chunk by chunk; a position is the offset behind a chunk, so nothing is read twice."""
    filled(tmp_path, *series(*range(5)))
    filled(tmp_path, *series(99), topic="umh.v1.other._raw.n")
    filled(tmp_path, *series(*range(5, 8)))
    url = f"uns://umh.v1.acme.*?data={tmp_path}&idle=0s"
    found: list[Any] = []
    marks: list[Mark] = []
    run(url, found, chunk_size=2, on_commit=marks.append)
    assert found[0] == {"umh_topic": TOPIC, "timestamp_ms": 1, "value": 0}
    assert values(found) == list(range(8))
    for mark, done in zip(marks, (2, 4, 5, 7, 8), strict=True):
        rest: list[Any] = []
        run(url, rest, resume=True, start=mark)
        assert values(rest) == list(range(done, 8))


def test_the_namespace_is_read_beside_who_writes_it(tmp_path: Path) -> None:
    """New messages come as they are written; ``start=latest`` begins with them."""
    filled(tmp_path, *series(0))

    async def scenario() -> list[Any]:
        found: list[Any] = []
        async with EmbeddedBroker(tmp_path / "broker.sqlite") as broker:
            stream = asyncio.create_task(SimpleFSM(COPY).aprocess_stream(f"uns://?data={tmp_path}&start=latest", found))
            written = 0
            while len(found) < 3:  # it begins with whatever is written once it looks
                written += 1
                await broker.publish([Message(TOPIC, payload) for payload in series(written)])
                await asyncio.sleep(0.01)
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
        return found

    seen = values(asyncio.run(scenario()))
    assert seen[0] > 0
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_what_the_log_lost_is_told(tmp_path: Path) -> None:
    """Messages that retention took, and payloads that are no JSON, are malformed with their reason; a log that ends earlier is refused."""
    filled(tmp_path, *series(0))

    async def more() -> None:
        async with EmbeddedBroker(tmp_path / "broker.sqlite", retention_bytes=1) as broker:
            for n in range(1, 4):
                await broker.publish([Message(TOPIC, payload) for payload in series(n)])
            await broker.trim()
            await broker.publish([Message(TOPIC, b"{")])

    asyncio.run(more())
    url = f"uns://?data={tmp_path}&idle=0s"
    found: list[Any] = []
    report = run(url, found, resume=True, start=Mark({"offset": 1}))
    reasons = [letter.reason for letter in report.first]
    assert values(found) == [3]
    assert reasons[0] == "2 messages were taken by retention before they were read"
    assert reasons[1].startswith("not JSON")
    assert report.malformed == 2
    with pytest.raises(StreamError, match="it is another log, or lost its end"):
        run(url, found, resume=True, start=Mark({"offset": 100}))
    with pytest.raises(StreamError, match="there is no message log at"):
        run(f"uns://?data={tmp_path}/elsewhere", found)
    assert not (tmp_path / "elsewhere").exists()


def test_a_chunk_and_its_mark_are_in_the_log_together(tmp_path: Path) -> None:
    """A stream that broke off goes on behind what is there; begun anew it forgets; a later load goes on behind the last."""
    lines = tmp_path / "in.jsonl"
    lines.write_text("".join(f'{{"umh_topic": "{TOPIC}", "timestamp_ms": 1, "value": {n}}}\n' for n in range(10)))
    url = f"uns://?data={tmp_path}"
    found: list[Any] = []

    def now() -> list[int]:
        found.clear()
        run(f"uns://?data={tmp_path}&idle=0s", found)
        return values(found)

    def breaks_off(mark: Mark) -> None:
        if mark.counts.read == 6:
            raise OSError("the power of the plant is gone")

    with pytest.raises(StreamError, match="the power of the plant is gone"):
        run(lines, url, chunk_size=3, on_commit=breaks_off)
    assert now() == list(range(6))
    assert run(lines, url, chunk_size=3, resume=True).resumed_from.counts.read == 6
    assert now() == list(range(10))
    with lines.open("a") as file:
        file.write(f'{{"umh_topic": "{TOPIC}", "timestamp_ms": 1, "value": 10}}\n')
    assert run(lines, url, resume=True).read == 1
    assert now() == list(range(11))
    assert run(lines, f"{url}&stream=another", resume=True).read == 11  # that one has no mark yet
    assert run(lines, url).read == 11  # anew


def test_the_namespace_takes_nothing_that_is_not_valid(tmp_path: Path) -> None:
    """Topics, payloads and meta that are none, and 2 MB, are refused alone and named; the others are written."""
    good = {"umh_topic": TOPIC, "timestamp_ms": 1, "value": 1}
    bad = [
        ({**good, "umh_topic": "umh.v1.acme.n"}, "has no contract"),
        ({**good, "umh_topic": "umh.v1.ac me._raw.n"}, "is not valid because of ' '"),
        ({"timestamp_ms": 1, "value": 1}, "no text in the field 'umh_topic'"),
        ({**good, "value": None}, "value must be"),
        ({**good, "value": float("nan")}, "finite"),
        ({**good, "value": "x" * (2 << 20)}, "at most 1048576"),
        ({**good, "meta": {"a": "x" * 70_000}}, "headers take more than"),
        ([good], "is list, not a mapping"),
    ]
    records = [good, *(record for record, _ in bad), good]
    report = run(records, f"uns://?data={tmp_path}&meta_field=meta", chunk_size=4)
    assert (report.emitted, report.failed) == ({"out": 2}, {"out": len(bad)})
    for letter, (_, match) in zip(report.first, bad, strict=True):
        assert match in letter.reason


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """Whoever has the log is named; nothing is read before that is known."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "broker.sqlite"):
            with pytest.raises(StreamError, match="is in use by process"):
                await SimpleFSM(COPY).aprocess_stream([{"a": 1}], f"uns://?data={tmp_path}")

    asyncio.run(scenario())


def test_a_log_that_is_replaced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than waiting for ever at the end of a file that nobody writes any more."""
    from setpoint.flows.ends import uns

    monkeypatch.setattr(uns, "CHECK", 0.0)
    filled(tmp_path, *series(1))
    source = open_source(f"uns://?data={tmp_path}")

    async def scenario() -> None:
        assert len((await source.read(10)).records) == 1  # type: ignore[misc,union-attr]
        (tmp_path / "broker.sqlite").rename(tmp_path / "aside")
        with pytest.raises(BrokerError, match="was replaced or taken away"):
            await source.read(10)  # type: ignore[misc]
        await source.close()  # type: ignore[misc]

    asyncio.run(scenario())


def test_urls_of_the_namespace_are_checked(tmp_path: Path) -> None:
    """Patterns, topics and options that are none."""
    for opened, url, match in (
        (open_source, "uns://[", "regular expression"),
        (open_source, "mqtt://[::1/a", "no host and port"),
        (open_source, "uns://?start=now", "there are earliest and latest"),
        (open_source, "uns://?strat=latest", "strat: not an option here"),
        (open_sink, "uns://umh.v1.acme.n", "has no contract"),
        (open_sink, f"uns://{TOPIC}?topic_field=t", "said twice"),
        (open_sink, "uns://?dat=x", "dat: not an option here"),
    ):
        with pytest.raises(ValueError, match=match):
            opened(url)  # type: ignore[operator]
    into: list[Any] = []
    run([{"timestamp_ms": 1, "value": 4}], f"uns://{TOPIC}?data={tmp_path}")
    run(f"uns://?data={tmp_path}&idle=0s", into)
    assert into == [{"umh_topic": TOPIC, "timestamp_ms": 1, "value": 4}]

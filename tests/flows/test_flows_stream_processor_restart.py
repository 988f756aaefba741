"""The stream processor over restarts: its latest values come back from the log, and messages read twice give no wrong results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from flows_plant import context, run, until
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.data import Several
from setpoint.flows import FlowEngine
from setpoint.flows.component import ConnectError, Msg
from setpoint.flows.inputs.uns import Uns as Input
from setpoint.flows.outputs.uns import Uns as Output
from setpoint.flows.processors.stream_processor import StreamProcessor
from setpoint.namespace import BrokerError, BrokerStats, Message
from setpoint.namespace.embedded import EmbeddedBroker

T0 = 1_700_000_000_000
GROUP = "stream-processor-acme-sp"
SOURCES = {name: f"umh.v1.acme.line._raw.{name}" for name in ("press", "temp", "slow")}
FIELDS = {
    "output_topic": "umh.v1.acme.line",
    "model": {"name": "pump", "version": "v1"},
    "sources": SOURCES,
    "mapping": {"sum": "press + temp * 1000", "all": "= press + temp * 1000 + slow * 1000000"},
}
Said = tuple[str, float, int]
"""A message of a source: name, value, time."""


def message(said: Said) -> Message:
    name, value, at = said
    return Message(SOURCES[name], json.dumps({"timestamp_ms": T0 + at, "value": value}).encode())


def fields(kind: Any, **given: Any) -> Any:
    return kind.Fields.model_validate(given)


class Incarnation:
    """The flow's three components, stepped by hand, so that it can be killed between any two steps."""

    def __init__(self, broker: Any, **changed: Any) -> None:
        around = context(broker=broker, bridged_by=GROUP, flow="sp")
        patterns = [topic.replace(".", r"\.") + "$" for topic in SOURCES.values()]
        self.input = Input(fields(Input, umh_topics=patterns), around)
        self.processor = StreamProcessor(fields(StreamProcessor, **{**FIELDS, **changed}), around)
        self.output = Output(fields(Output), around)

    async def start(self) -> None:
        await self.input.connect()
        await self.processor.connect()
        await self.output.connect()

    async def step(self, *, deliver: bool = True, acknowledge: bool = True) -> None:
        """One batch."""
        answers = [self.processor(msg) for msg in await self.input.read()]
        if not deliver:
            return
        made = [one for answer in answers if answer for one in (answer if isinstance(answer, Several) else [answer])]
        if made:
            await self.output.write([self.output.prepare(one) for one in made])
        if acknowledge:
            await self.input.acknowledge()


async def published(broker: EmbeddedBroker) -> list[tuple[str, float, int]]:
    """All that was derived so far: field, value, time."""
    subscription = broker.subscribe("reader", [r".*\._pump_v1\."])
    found: list[Message] = []
    while more := await subscription.read(timeout=0):
        found += more
    await subscription.close()
    said = [(one.topic.rpartition(".")[2], json.loads(one.payload)) for one in found]
    return [(name, payload["value"], payload["timestamp_ms"] - T0) for name, payload in said]


def uninterrupted(said: Sequence[Said]) -> set[tuple[str, float, int]]:
    """What comes of these messages when nothing ever stops."""
    processor = StreamProcessor(fields(StreamProcessor, **FIELDS), context())
    made = set()
    for one in said:
        given = message(one)
        answer = processor(Msg(given.payload, {"umh_topic": given.topic, "umh_timestamp_ms": "1"}))
        for out in [] if answer is None else answer if isinstance(answer, Several) else [answer]:
            name = out.meta["umh_topic"].rpartition(".")[2]
            made.add((name, out.payload["value"], out.payload["timestamp_ms"] - T0))
    return made


WARM: list[Said] = [("press", 1, 1), ("temp", 1, 1), ("slow", 1, 1)]


def test_latest_values_are_back_after_a_restart(tmp_path: Path) -> None:
    """Also that of a source that has sent nothing for long, over the closing of log and engine."""

    async def story() -> None:
        flow = {
            "input": {"uns": {"umh_topics": [r"umh\.v1\.acme\.line\._raw\."], "consumer_group": GROUP}},
            "pipeline": {"processors": [{"stream_processor": FIELDS}]},
            "output": {"uns": {}},
        }
        for sent, expected in ((WARM, 2), ([("press", 2, 2)], 4)):
            async with EmbeddedBroker(tmp_path / "log") as broker:
                engine = FlowEngine(broker)
                await engine.start("sp", flow, bridged_by=GROUP)
                await broker.publish([message(one) for one in sent])
                reader = broker.subscribe("watch", [r".*\._pump_v1\."])
                count = 0
                async with asyncio.timeout(5):
                    while count < expected:
                        count += len(await reader.read())
                await engine.close()
        async with EmbeddedBroker(tmp_path / "log") as broker:
            assert await published(broker) == [
                ("sum", 1001, 1), ("all", 1001001, 1), ("sum", 1002, 2), ("all", 1001002, 2),
            ]  # fmt: skip

    run(story())


def test_an_engine_that_is_dropped_without_a_stop_loses_nothing(tmp_path: Path) -> None:
    """As kill -9 leaves it: what was not delivered is read again, and meets the values it would have met."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            first = Incarnation(broker)
            await first.start()
            await broker.publish([message(one) for one in WARM])
            await first.step()
            await broker.publish([message(("press", 5, 5)), message(("temp", 6, 6)), message(("press", 7, 7))])
            await first.step(deliver=False)
        async with EmbeddedBroker(tmp_path / "log") as broker:
            second = Incarnation(broker)
            await second.start()
            await second.step()
            assert (await published(broker))[2:] == [
                ("sum", 1005, 5), ("all", 1001005, 5), ("sum", 6005, 6), ("all", 1006005, 6),
                ("sum", 6007, 7), ("all", 1006007, 7),
            ]  # fmt: skip

    run(story())


def test_what_was_made_and_not_acknowledged_is_not_made_again_with_other_values(tmp_path: Path) -> None:
    """Messages read a second time are older than what was made of them, and late."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            first = Incarnation(broker)
            await first.start()
            said = [*WARM, ("press", 5, 5), ("temp", 6, 6), ("press", 7, 7)]
            await broker.publish([message(one) for one in said])
            await first.step(acknowledge=False)
        async with EmbeddedBroker(tmp_path / "log") as broker:
            second = Incarnation(broker)
            await second.start()
            assert second.processor.latest.of[SOURCES["press"]].timestamp_ms == T0 + 7
            await second.step()
            assert set(await published(broker)) == uninterrupted(said)
            assert second.processor.late["press"] == 2

    run(story())


def test_a_late_message_at_the_end_of_the_log_does_not_come_back_as_the_latest(tmp_path: Path) -> None:
    """The last message of a topic is not always its latest value."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            first = Incarnation(broker)
            await first.start()
            await broker.publish([message(one) for one in [*WARM, ("press", 9, 9), ("press", 3, 3)]])
            await first.step()
        async with EmbeddedBroker(tmp_path / "log") as broker:
            second = Incarnation(broker)
            await second.start()
            assert second.processor.latest.of[SOURCES["press"]].value == 9

    run(story())


def test_what_a_field_was_made_of_long_ago_is_not_the_latest(tmp_path: Path) -> None:
    """A field that has been silent says what was the latest then; the one that was made last says what it is now."""
    quiet = "press > 5 ? null : press"
    mapping = {"a_quiet": quiet, "loud": "press", "z_quiet": quiet}

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            first = Incarnation(broker, mapping=mapping)
            await first.start()
            for value, at in ((3, T0), (9, T0 + 3_600_000)):
                said = json.dumps({"timestamp_ms": at, "value": value}).encode()
                await broker.publish([Message(SOURCES["press"], said, timestamp_ms=at)])
                await first.step(acknowledge=False)
            second = Incarnation(broker, mapping=mapping)
            await second.start()
            assert second.processor.latest.of[SOURCES["press"]].value == 9

    run(story())


def test_a_value_of_which_nothing_was_made_yet_comes_from_the_log_if_it_was_dealt_with(tmp_path: Path) -> None:
    """Else it is yet to be read, and known only then."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            first = Incarnation(broker)
            await first.start()
            await broker.publish([message(("press", 4, 4))])
            await first.step()
            await broker.publish([message(("temp", 5, 5))])
            second = Incarnation(broker)
            await second.start()
            assert set(second.processor.latest.of) == {SOURCES["press"]}
            await second.step()
            assert await published(broker) == [("sum", 5004, 5)]

    run(story())


def test_where_the_broker_does_not_list_the_group_it_is_asked_for_its_next_message(tmp_path: Path) -> None:
    """As a Kafka cluster does not, before the group was asked for; what was dealt with is known all the same."""

    class Terse(EmbeddedBroker):
        async def stats(self) -> BrokerStats:
            return BrokerStats(ready=True)

    async def story() -> None:
        async with Terse(tmp_path / "log") as broker:
            first = Incarnation(broker)
            await first.start()
            await broker.publish([message(("press", 4, 4))])
            await first.step()
            for backlog, known in (([], {"press"}), ([("temp", 5, 5)], {"press"}), ([("press", 6, 6)], set())):
                await broker.publish([message(one) for one in backlog])
                second = Incarnation(broker)
                await second.processor.connect()
                assert set(second.processor.latest.of) == {SOURCES[name] for name in known}

    run(story())


def test_a_group_that_never_read_finds_nothing(tmp_path: Path) -> None:
    """All that is in the log is still to be read, and is derived from in its order."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            said = [*WARM, ("press", 2, 2)]
            await broker.publish([message(one) for one in said])
            subject = Incarnation(broker)
            await subject.processor.connect()  # also before anybody subscribed for the group
            assert subject.processor.latest.of == {}
            await subject.start()
            await subject.step()
            assert set(await published(broker)) == uninterrupted(said)

    run(story())


def test_a_broker_that_cannot_say_is_asked_again(tmp_path: Path) -> None:
    """A connection error, which the flow tries again; nothing is derived before."""

    class Deaf(EmbeddedBroker):
        async def topics(self, contains: str = "") -> Any:
            raise BrokerError("the disk is gone")

    async def story() -> None:
        async with Deaf(tmp_path / "log") as broker:
            with pytest.raises(ConnectError, match="the latest values cannot be read: the disk is gone"):
                await Incarnation(broker).processor.connect()
            engine = FlowEngine(broker)
            flow = {
                "input": {"uns": {}},
                "pipeline": {"processors": [{"stream_processor": FIELDS}]},
                "output": {"uns": {}},
            }
            await engine.start("sp", flow)

            def status() -> Any:
                return engine.status("sp")

            await until(lambda: "the disk is gone" in status().last_error)
            await broker.publish([message(one) for one in WARM])
            assert status().input_received == 0
            await engine.close()

    run(story())


def test_somebody_elses_header_of_the_name_is_passed_over(tmp_path: Path) -> None:
    """Whatever stands in it."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            for said in ("nonsense", "[]", json.dumps({SOURCES["press"]: [1]})):
                headers = {"made_of": said}
                await broker.publish(
                    [Message("umh.v1.acme.line._pump_v1.sum", b'{"timestamp_ms":1,"value":1}', headers)]
                )
                subject = Incarnation(broker)
                await subject.start()
                assert subject.processor.latest.of == {}

    run(story())


End = Literal["acknowledged", "killed before delivery", "killed before acknowledging", "down"]
ENDS: list[End] = ["acknowledged", "killed before delivery", "killed before acknowledging", "down"]
SAID = st.tuples(st.sampled_from(["press", "temp", "slow"]), st.integers(0, 9))
CHUNKS = st.lists(st.tuples(st.lists(SAID, min_size=1, max_size=4), st.sampled_from(ENDS)), max_size=6)


@settings(max_examples=40, deadline=None)
@given(CHUNKS, st.permutations(range(2, 30)))
def test_whenever_it_is_killed_it_makes_what_it_would_have_made(
    chunks: list[tuple[list[tuple[str, int]], End]], times: list[int]
) -> None:
    """Law: once each source had a value, what is published is, repetitions aside, what an uninterrupted run publishes; no more, no less."""
    at = iter(times)
    story = [([(name, value, next(at)) for name, value in chunk], end) for chunk, end in chunks]
    said = [*WARM, *(one for chunk, _ in story for one in chunk)]

    async def scenario(folder: Path) -> set[tuple[str, float, int]]:
        async with EmbeddedBroker(folder / "log") as broker:
            subject: Incarnation | None = None
            for chunk, end in [(WARM, "acknowledged"), *story, ([], "acknowledged")]:
                await broker.publish([message(one) for one in chunk])
                if end == "down":
                    subject = None
                    continue
                if subject is None:
                    subject = Incarnation(broker)
                    await subject.start()
                if await behind(broker):
                    deliver, acknowledge = end != "killed before delivery", end == "acknowledged"
                    await subject.step(deliver=deliver, acknowledge=acknowledge)
                subject = subject if end == "acknowledged" else None
            return set(await published(broker))

    with TemporaryDirectory() as folder:
        assert run(scenario(Path(folder))) == uninterrupted(said)


async def behind(broker: EmbeddedBroker) -> bool:
    """Whether the group has anything left to read of its sources."""
    position = next((one.position for one in (await broker.stats()).groups if one.group == GROUP), 0)
    return any(info.offset >= position for info in await broker.topics("._raw."))

"""`stream_processor`: derives values from the latest ones of several topics, and publishes them under the contract of a data model.

Each source has an alias and a latest value (`stream_latest` says which that is). When a message of a source comes, every field of the
mapping that uses it is evaluated, as soon as all sources that the field uses have a value; a field that uses none is published whenever any
source sends. A field comes out as the time series ``{timestamp_ms, value}`` at ``<output_topic>.<contract>.<path of the field>``, with the
newest time among the sources it uses and the metadata of the message that made it due. A field that gives null publishes nothing; one that
cannot be evaluated, or gives what no time series can hold, fails the message with its name and reason, and the others are published.

After a start the latest values are what they were. What the fields were made of stands in the header `made_of` of what was published last;
for a source of which nothing was made it is the last message in the log, if this flow has dealt with it. So messages that are read a second
time after a crash meet the values that they met the first time, or newer ones of which something was already made, and are then late.
Fields as documented for benthos-umh, and `contract`, `timeout` and `memoryLimit`.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from setpoint.data import Several
from setpoint.flows.component import ConnectError, Context, MessageError, Meta, Msg, serialized
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.processors.scripting import ScriptFields
from setpoint.flows.processors.stream_latest import MADE_OF, Latest, Reading
from setpoint.flows.processors.stream_mapping import Derived, alias_fault, read_mapping
from setpoint.flows.processors.stream_values import Evaluation
from setpoint.namespace import Broker, BrokerError, PayloadError, TimeSeries, Topic, TopicError, TopicInfo, decode

log = logging.getLogger("setpoint.flows")

PREFIX: Final = "umh.v1."
_NEVER_READ: Final = 2**63
"""Behind every offset."""


def source_topic(topic: str) -> str:
    """The topic of a source, which may be written without ``umh.v1.``. Raises `TopicError`."""
    return str(Topic.parse(topic if topic.startswith(PREFIX) else PREFIX + topic))


def pattern_of(topic: str) -> str:
    """The regular expression that matches this topic and no other."""
    return topic.replace(".", r"\.") + "$"


def _full(topic: str) -> str:
    try:
        return source_topic(topic)
    except TopicError as error:
        raise ValueError(str(error)) from None


def _base(topic: str) -> str:
    if not topic.startswith(PREFIX):
        raise ValueError(f"{topic!r} does not start with {PREFIX!r}; expected umh.v1.<location_path>")
    try:
        Topic.build(location_path=topic.removeprefix(PREFIX), contract="_contract", name="name")
    except TopicError as error:
        raise ValueError(str(error).removeprefix("topic to build: ")) from None
    return topic


class Model(ComponentFields):
    """A version of a data model."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)


class StreamProcessorFields(ScriptFields):
    """What a configuration says of one."""

    mode: Literal["timeseries"] = "timeseries"
    output_topic: Annotated[str, AfterValidator(_base)]
    model: Model
    contract: str = ""
    sources: dict[str, Annotated[str, AfterValidator(_full)]] = Field(min_length=1)
    mapping: dict[str, Any] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        wrong = [f"sources.{alias}: {fault}" for alias in self.sources if (fault := alias_fault(alias))]
        derived, faults = read_mapping(self.sources, self.mapping)
        wrong += [f"mapping.{fault}" for fault in faults]
        reads = set(self.sources.values())
        wrong += [
            f"mapping.{'.'.join(one.path)}: is published to {topic}, which is a source: it would feed itself for ever"
            for one in derived
            if (topic := str(self.topic_of(one))) in reads
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def topic_of(self, derived: Derived) -> Topic:
        """Where a field is published. Raises `TopicError`."""
        contract = self.contract or contract_of(self.model.name, self.model.version)
        location, *virtual, name = self.output_topic.removeprefix(PREFIX), *derived.path
        return Topic.build(location_path=location, contract=contract, virtual_path=".".join(virtual), name=name)


def contract_of(model: str, version: str) -> str:
    """The contract of a version of a model for which none is declared: ``_pump_v1``."""
    return f"_{model}_{version}"


class _Output(NamedTuple):
    """One field, ready to be evaluated and published."""

    number: int
    field: str
    topics: tuple[str, ...]
    meta: Meta


class _Source(NamedTuple):
    """One source: the first of its aliases, and the contract of its topic."""

    alias: str
    contract: str


class StreamProcessor:
    """Keeps the latest values and derives the fields."""

    Fields = StreamProcessorFields

    def __init__(self, fields: StreamProcessorFields, context: Context) -> None:
        self._context = context
        self._sources = {
            topic: _Source(alias, Topic.parse(topic).contract) for alias, topic in reversed(fields.sources.items())
        }
        derived, _ = read_mapping(fields.sources, fields.mapping)
        self._evaluate = Evaluation(derived, timeout=fields.timeout, memory=fields.memoryLimit)
        outputs = [_output(number, one, fields) for number, one in enumerate(derived)]
        self._outputs = {output.meta["umh_topic"] for output in outputs}
        self._due = {
            topic: [output for output in outputs if not output.topics or topic in output.topics]
            for topic in self._sources
        }
        self.latest = Latest()
        self.late = dict.fromkeys(fields.sources, 0)
        """How many messages of each source were late."""
        self._kept: list[Msg] = []

    async def connect(self) -> None:
        """Takes the latest values from the broker, as this flow had dealt with them. Raises `ConnectError`."""
        broker = self._context.broker
        if broker is None:
            return
        try:
            sources = await _last(broker, set(self._sources))
            for info in sorted(await _last(broker, self._outputs), key=lambda info: info.offset):
                self.latest.remember(info.headers, self._sources)
            readings = self._not_known(sources)
            dealt_with = await self._dealt_with(broker) if readings else 0
        except BrokerError as error:
            raise ConnectError(f"the latest values cannot be read: {error}") from error
        for info, reading in readings:
            if info.offset < dealt_with:
                self.latest.take(info.topic, reading)

    async def close(self) -> None:
        """Nothing is open."""

    def __call__(self, msg: Msg) -> Any:
        """What the message makes due. Raises `MessageError` for one that is no value, and for fields that cannot be evaluated."""
        topic = msg.meta.get("umh_topic", "")
        source = self._sources.get(topic)
        if source is None:
            return self._going([])
        written = msg.meta.get("umh_timestamp_ms", "")
        reading = _reading(serialized(msg.payload), int(written) if written.isdecimal() else 0, source.contract)
        if not self.latest.take(topic, reading):
            self._count_late(topic)
            return self._going([])
        return self._going(self._derive(topic, msg.meta, reading.timestamp_ms))

    @property
    def held(self) -> int:
        """How many messages wait for the next: those that were made beside a field that failed."""
        return len(self._kept)

    def due(self) -> float | None:
        """At once, when there are any."""
        return self._context.now() if self._kept else None

    def release(self) -> list[Msg]:
        """Those that wait."""
        kept, self._kept = self._kept, []
        return kept

    flush = release

    def _derive(self, topic: str, meta: Meta, timestamp_ms: int) -> list[Msg]:
        latest = self.latest.of
        ready = [output for output in self._due[topic] if all(source in latest for source in output.topics)]
        outcomes = self._evaluate([(one.number, [latest[source].value for source in one.topics]) for one in ready])
        made, faults = [], []
        for output, (value, fault) in zip(ready, outcomes, strict=True):
            if fault:
                faults.append(f"mapping {output.field}: {fault}")
            elif value is not None:
                stamp = max((latest[source].timestamp_ms for source in output.topics), default=timestamp_ms)
                made.append(Msg({"timestamp_ms": stamp, "value": value}, self._meta(meta, output)))
        if faults:
            self._kept += made
            raise MessageError("; ".join(faults))
        return made

    def _meta(self, meta: Meta, output: _Output) -> Meta:
        made = {**meta, **output.meta}
        made.pop("umh_timestamp_ms", None)
        made.pop(MADE_OF, None)
        if told := self.latest.told(output.topics):
            made[MADE_OF] = told
        return made

    def _going(self, made: list[Msg]) -> Any:
        """What the flow is given: with that which waited before it, so that the order is kept."""
        going = [*self.release(), *made] if self._kept else made
        return None if not going else going[0] if len(going) == 1 else Several(going)

    def _count_late(self, topic: str) -> None:
        alias = self._sources[topic].alias
        self.late[alias] += 1
        if math.log10(self.late[alias]).is_integer():
            text = "%s: %d messages of the source %s came late and were ignored: something newer had come before"
            log.warning(text, self._context.flow, self.late[alias], alias)

    def _not_known(self, sources: Sequence[TopicInfo]) -> list[tuple[TopicInfo, Reading]]:
        """The last messages of the sources with what they say, apart from those whose value is known already."""
        found = []
        for info in sources:
            try:
                reading = _reading(info.payload, info.timestamp_ms, self._sources[info.topic].contract)
            except MessageError:
                continue  # it failed when it came, too
            if self.latest.of.get(info.topic) != reading:
                found.append((info, reading))
        return found

    async def _dealt_with(self, broker: Broker) -> int:
        """The offset before which this flow has dealt with everything that its sources wrote: where its group goes on reading."""
        group = self._context.bridged_by or self._context.flow
        for info in (await broker.stats()).groups:
            if info.group == group:
                return info.position
        subscription = broker.subscribe(group, [pattern_of(topic) for topic in self._sources])
        try:
            waiting = await subscription.read(1, timeout=0)
        finally:
            await subscription.close()
        return waiting[0].offset if waiting else _NEVER_READ


def _output(number: int, derived: Derived, fields: StreamProcessorFields) -> _Output:
    topic = fields.topic_of(derived)
    meta = {
        "umh_topic": str(topic),
        "topic": str(topic),
        "location_path": topic.location_path,
        "data_contract": topic.contract,
        "virtual_path": ".".join(topic.virtual_path),
        "tag_name": topic.name,
    }
    return _Output(number, ".".join(derived.path), tuple(fields.sources[alias] for alias in derived.uses), meta)


async def _last(broker: Broker, topics: set[str]) -> list[TopicInfo]:
    """The last messages of these topics."""
    found = await broker.topics(os.path.commonprefix(list(topics)))  # noqa: RUF071  # topics are no paths
    return [info for info in found if info.topic in topics]


def _reading(payload: bytes, written_ms: int, contract: str) -> Reading:
    """What a message of a source says. Raises `MessageError`."""
    try:
        said = decode(payload, contract)
    except PayloadError as error:
        raise MessageError(str(error)) from None
    if isinstance(said, TimeSeries):
        return Reading(said.timestamp_ms, said.value, written_ms)
    stamp = said.get("timestamp_ms")
    return Reading(stamp if type(stamp) is int else written_ms, said, written_ms)

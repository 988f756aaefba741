"""``kafka://broker:9092/topic``: a topic of a Kafka cluster as an end of a stream; the query has the fields of the flows' `kafka`.

**Source.** Reads all partitions of the topic (several with commas between them), from the oldest message or, with
``start_from_oldest=false``, the newest. Its position is the next offset of each partition, so a resume goes on exactly there, whatever
sink keeps the mark. It joins no group and shares with nobody; with ``consumer_group=NAME`` it does, and then the cluster knows where to go
on, and what was written and not yet committed when the stream was killed comes again.

**Sink.** Exactly once: the records of a chunk and its mark are one transaction of the cluster (`kafka_sink`).

    setpoint run check.yaml --input kafka://broker:9092/raw?idle=5s --output kafka://broker:9092/checked?key=${! json("id") } --stream
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from setpoint.data.stream import Chunk, Malformed, Position
from setpoint.data.stream.parts import shown
from setpoint.flows.ends.adapters import RETRY_FOR, InputSource, Patience
from setpoint.flows.ends.form import Form
from setpoint.flows.ends.options import sink_options, source_options
from setpoint.flows.ends.where import Where, checked, nested, where
from setpoint.flows.inputs.kafka import Batch, Kafka, taken
from setpoint.flows.kafka import CONNECT_WITHIN
from setpoint.flows.outputs.kafka import Kafka as KafkaOutput
from setpoint.namespace import BrokerError
from setpoint.namespace.kafka.client import LIBRARY, Faults, persist, told
from setpoint.namespace.kafka.feed import Feed, consumer
from setpoint.services.blocking import in_thread

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

    from setpoint.flows.ends.kafka_sink import KafkaSink

_TOPIC: Final = "kafka_topic"
CLOSE_WITHIN: Final = 2.0
LOOK: Final = 0.2


def source(url: str, **options: Any) -> KafkaSource | InputSource:
    """Reads topics. Raises `ValueError` with all that is wrong with the URL and the options."""
    _installed()
    place = where(url, options)
    chosen, rest = source_options(place, topic_meta=_TOPIC)
    fields = checked("input", "kafka", {**_connection(place, rest), "topics": place.path})
    assert isinstance(fields, Kafka.Fields)
    if fields.consumer_group:
        return InputSource(lambda context: Kafka(fields, context), name=_name(place), resumes=True, **chosen)
    return KafkaSource(fields, name=_name(place), **chosen)


def sink(url: str, **options: Any) -> KafkaSink:
    """Writes to a topic. Raises `ValueError` with all that is wrong with the URL and the options."""
    from setpoint.flows.ends.kafka_sink import KafkaSink

    _installed()
    place = where(url, options)
    chosen, rest = sink_options(place, topic_meta=_TOPIC)
    own, rest = place._replace(query=rest).taken({"stream": "", "marks_topic": ""})
    if place.path and chosen["form"].topic_field:
        raise ValueError("the topic is said twice: by the path of the URL and by topic_field; keep one of them")
    topic = place.path or ('${! meta("kafka_topic") }' if chosen["form"].topic_field else "")
    if not topic:
        raise ValueError(f"kafka://{place.server} says no topic: write it behind the broker, or say topic_field=…")
    fields = checked("output", "kafka", {**_connection(place, rest), "topic": topic})
    assert isinstance(fields, KafkaOutput.Fields)
    named = {name: value for name, value in own.items() if value}
    return KafkaSink(fields, name=_name(place), **{"stream": place.path or place.server, **named}, **chosen)


def _connection(place: Where, rest: dict[str, Any]) -> dict[str, Any]:
    """The fields of the connection: from the URL, and what else its query says."""
    given = nested(rest)
    more = given.pop("addresses", [])
    if place.user:
        given["sasl"] = {"mechanism": "PLAIN", **given.get("sasl", {}), "user": place.user, "password": place.password}
    return {"addresses": [place.server, *([more] if isinstance(more, str) else more)], **given}


def _name(place: Where) -> str:
    return f"kafka://{place.server}/{place.path}"


def _installed() -> None:
    from importlib.util import find_spec

    if find_spec("confluent_kafka") is None:
        raise ValueError(LIBRARY)


class KafkaSource:
    """An `AsyncSource` of all partitions of its topics. `idle`: ends after so many seconds without a message; 0: when all is read."""

    def __init__(
        self, fields: Kafka.Fields, *, name: str, form: Form, idle: float | None = None, retry_for: float = RETRY_FOR
    ) -> None:
        self.name = name
        self._fields, self._form, self._idle = fields, form, idle
        self._patience = Patience(name, retry_for)
        self._faults = Faults()
        self._feed: Feed[Batch] | None = None
        self._ever = False
        self._next: dict[str, int] = {}
        self._until: dict[str, int] = {}
        self._reached: dict[str, int] = {}
        self._batch: Batch = []

    async def read(self, limit: int) -> Chunk | None:
        """The next messages. Raises `BrokerError` where the cluster cannot be reached, or does not have any more what comes next."""
        while not self._batch:
            try:
                if self._feed is None:
                    await self._connect()
                    self._ever = True
                assert self._feed is not None
                found = await self._feed.get_within(LOOK if self._idle == 0 else self._idle, self._faults)
            except BrokerError as error:
                await self.close()
                if not self._ever:
                    raise
                await self._patience.after(error)
                continue
            self._patience.worked()
            if found is None and (self._idle or self._all_read()):
                return None
            self._batch = found or []
        part, self._batch = self._batch[:limit], self._batch[limit:]
        return self._chunk(part)

    def _all_read(self) -> bool:
        """Whether every partition was read to where it ended when the stream began."""
        return all(self._reached.get(key, -1) >= end for key, end in self._until.items())

    def _end(self, topic: str, partition: int, offset: int) -> None:
        self._reached[_key(topic, partition)] = offset

    def _chunk(self, batch: Batch) -> Chunk:
        records, places, malformed = [], [], []
        for msg, (topic, partition, offset) in batch:
            self._next[_key(topic, partition)] = offset + 1
            place = f"{topic}/{partition} #{offset}"
            try:
                records.append(self._form.record(msg))
                places.append(place)
            except ValueError as error:
                malformed.append(Malformed(place, str(error), shown(msg.payload)))
        return Chunk(records, {"offsets": dict(self._next)}, places, malformed)

    async def _connect(self) -> None:
        fields, self._faults = self._fields, Faults()
        settings = {
            "group.id": "setpoint-stream",  # never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": self._idle == 0,
            "isolation.level": fields.transaction_isolation_level,
        }
        reader = consumer(fields.access(), self._faults, settings)
        try:
            parts = await in_thread(partial(self._places, reader))
        except BaseException:
            await in_thread(reader.close)
            raise
        reader.assign(parts)
        self._feed = Feed(reader, taken, name="setpoint-kafka-source", at_end=self._end)

    def _places(self, reader: Consumer) -> list[TopicPartition]:
        """Every partition with the offset to begin at. Blocks."""
        return persist(
            partial(self._look, reader),
            reader,
            access=self._fields.access(),
            faults=self._faults,
            within=CONNECT_WITHIN,
        )

    def _look(self, reader: Consumer) -> list[TopicPartition]:
        from confluent_kafka import TopicPartition

        found: list[TopicPartition] = []
        for topic in self._fields.topics:
            about = reader.list_topics(topic, timeout=1.0).topics[topic]
            if about.error is not None or not about.partitions:
                raise BrokerError(f"topic {topic}: {told(about.error) if about.error else 'has no partitions'}")
            for partition in about.partitions:
                marks = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=1.0)
                if marks is None:
                    raise BrokerError(f"topic {topic}: partition {partition} does not say what it has")
                found.append(TopicPartition(topic, partition, self._begin(_key(topic, partition), *marks)))
        return found

    def _begin(self, key: str, low: int, high: int) -> int:
        """Where to begin in a partition that has the offsets from `low` to before `high`."""
        self._until.setdefault(key, high)
        begin = self._next.setdefault(key, low if self._fields.start_from_oldest else high)
        if not low <= begin <= high:
            raise ValueError(
                f"{self.name}: {key} is to go on at offset {begin}, and has {low} to {high - 1}: what is between is lost, or the topic "
                "was made anew; start again without resuming"
            )
        return begin

    async def seek(self, position: Position) -> None:
        """Go on at these offsets. Raises `ValueError` for a position of something else."""
        offsets = position.get("offsets")
        if not isinstance(offsets, dict):
            raise ValueError(
                f"{self.name}: the position to go on from has no offsets; it was another source's: begin anew"
            )
        self._next = dict(offsets)

    async def acknowledge(self, position: Position) -> None:
        """A log keeps its messages whoever has read them."""

    async def close(self) -> None:
        """Lets go of the connection."""
        feed, self._feed = self._feed, None
        if feed is not None:
            await feed.close(CLOSE_WITHIN)


def _key(topic: str, partition: int) -> str:
    return f"{topic}/{partition}"

"""``uns://pattern``: the namespace on this machine, as source and as sink of streams, exactly once.

Both work on the embedded log of an agent (``?data=DIR``: its data directory, ``.setpoint`` by default). The topic of a message stands in
the field `umh_topic` of its record, beside what the payload says (``topic_field=…`` calls it otherwise)::

    {"umh_topic": "umh.v1.acme.press._raw.temperature", "timestamp_ms": 1732187001000, "value": 21.5}

**Source.** All messages whose topics match the pattern, a regular expression matched from the start of the topic (nothing: all of the
namespace), in the order of their offsets, from the oldest that is kept or, with ``start=latest``, from now on. It reads the log beside an
agent that writes it and takes nothing from its consumer groups. The position is the offset, so a resume goes on exactly there. Messages
that retention took before they were read, and damaged ones, are malformed, with their number and reason: counted, never passed over in
silence.

**Sink.** Appends a chunk and the stream's mark in one publish, which the log writes all or none: the mark is the last message of the topic
``_setpoint.stream.<name>``, which no pattern of the namespace matches and which outlives retention as every last value does. So the log has
either both or neither, also after `kill -9`, and after a power cut it ends with both or neither. ``stream=NAME`` names the mark; two
streams into one log need two names. The sink writes the log itself, and so not while an agent does: it is told which process has it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from setpoint.data.stream import Chunk, Malformed, Mark, Position, Refused
from setpoint.data.stream.parts import shown
from setpoint.flows.component import MessageError, Msg
from setpoint.flows.ends.adapters import context
from setpoint.flows.ends.form import Form
from setpoint.flows.ends.options import source_options
from setpoint.flows.ends.where import checked, where
from setpoint.flows.outputs.uns import Uns
from setpoint.namespace import EVERYTHING, BrokerError, EmbeddedBroker, Message, TopicFilter
from setpoint.namespace import records as log_records
from setpoint.namespace.lane import Lane
from setpoint.namespace.log_reader import Fetched, LogReader
from setpoint.places import BROKER, DATA

MARKS: Final = "_setpoint.stream."
"""What the topics begin with under which marks are kept."""
TOPIC: Final = "umh_topic"
POLL: Final = 0.05
"""Seconds between two looks for something new."""
CHECK: Final = 1.0
"""Seconds between two looks whether the log is still the same file."""
_NONE: Final = b"{}"
"""In place of a mark: the stream was begun anew."""


def source(url: str, **options: Any) -> UnsSource:
    """Reads the namespace. Raises `ValueError` with what is wrong with the URL and the options."""
    place = where(url, options, host=False)
    own, rest = place.taken({"data": DATA, "start": "earliest", "topic_field": TOPIC})
    chosen, _ = source_options(
        place._replace(query={**rest, "topic_field": own["topic_field"]}), topic_meta=TOPIC, exactly=True
    )
    if own["start"] not in ("earliest", "latest"):
        raise ValueError(f"start={own['start']}: there are earliest and latest")
    return UnsSource(
        Path(own["data"]) / BROKER,
        [place.path] if place.path else EVERYTHING,
        form=chosen["form"],
        latest=own["start"] == "latest",
        idle=chosen["idle"],
    )


def sink(url: str, **options: Any) -> UnsSink:
    """Writes the namespace. Raises `ValueError` with what is wrong with the URL and the options."""
    place = where(url, options, host=False)
    topic = place.path
    own, rest = place.taken(
        {"data": DATA, "stream": "run", "bridged_by": "", "topic_field": "" if topic else TOPIC, "meta_field": ""}
    )
    if rest:
        raise ValueError(f"{', '.join(rest)}: not an option here; there are {', '.join(own)}")
    if topic and own["topic_field"]:
        raise ValueError("the topic is said twice: by the URL and by topic_field; keep one of them")
    form = Form(topic_meta=TOPIC, topic_field=own["topic_field"], meta_field=own["meta_field"])
    fields = {"umh_topic": topic} if topic else {}
    component = checked("output", "uns", {**fields, "bridged_by": own["bridged_by"] or "setpoint"})
    assert isinstance(component, Uns.Fields)
    return UnsSink(Path(own["data"]) / BROKER, component, form=form, stream=own["stream"])


class UnsSource:
    """An `AsyncSource` over the log at `path`, beside whoever writes it."""

    def __init__(
        self, path: Path, patterns: Sequence[str], *, form: Form, latest: bool = False, idle: float | None = None
    ) -> None:
        self.name = "uns"
        self._path, self._form, self._idle, self._latest = path, form, idle, latest
        self._wanted = TopicFilter(patterns)
        self._lane: Lane | None = None
        self._reader: LogReader | None = None
        self._inode = 0
        self._position = -1
        self._found: list[Message] = []
        self._faults: list[Malformed] = []

    async def read(self, limit: int) -> Chunk | None:
        """The next messages. Raises `BrokerError` where the log cannot be read, was replaced or is not there."""
        if self._lane is None:
            self._lane = Lane("setpoint-uns-source")
            await self._lane.run(self._open)
        last = looked = time.monotonic()
        while not (self._found or self._faults):
            before = self._position
            await self._lane.run(self._fetch, limit)
            now = time.monotonic()
            if self._found or self._faults or self._position != before:  # what came and is not wanted is a sign of life
                last = now
                continue
            if self._idle is not None and now - last >= self._idle:
                return None
            if now - looked >= CHECK:
                looked = now
                await self._lane.run(self._same)
            await asyncio.sleep(POLL)
        return self._chunk(limit)

    def _open(self) -> None:
        if not self._path.exists():
            raise BrokerError(f"there is no message log at {self._path}: say data=DIR, the data directory of the agent")
        self._reader = LogReader(self._path)
        self._inode = self._path.stat().st_ino
        first, after = _bounds(self._path)
        if self._position < 0:
            self._position = after if self._latest else first
        elif self._position > after:
            raise ValueError(
                f"the log at {self._path} ends before offset {after}, but it was read up to {self._position}: "
                "it is another log, or lost its end in a power cut"
            )

    def _same(self) -> None:
        try:
            same = os.stat(self._path).st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise BrokerError(f"the message log {self._path} was replaced or taken away while it was read")

    def _fetch(self, limit: int) -> None:
        assert self._reader is not None
        fetched = self._reader.fetch(self._position, limit, self._wanted)
        self._faults = _faults(fetched, self._position)
        self._found = [message for message in fetched.messages if not message.topic.startswith(MARKS)]
        self._position = fetched.position

    def _chunk(self, limit: int) -> Chunk:
        messages, self._found = self._found[:limit], self._found[limit:]
        records, places, malformed = [], [], self._faults
        self._faults = []
        for message in messages:
            meta = {**message.headers, TOPIC: message.topic, "umh_timestamp_ms": str(message.timestamp_ms)}
            try:
                records.append(self._form.record(Msg(message.payload, meta)))
                places.append(message.offset)
            except ValueError as error:
                malformed.append(Malformed(message.offset, str(error), shown(message.payload)))
        after = messages[-1].offset + 1 if self._found else self._position
        return Chunk(records, {"offset": after}, places, malformed)

    async def seek(self, position: Position) -> None:
        """Go on at an offset."""
        self._position = int(position["offset"])

    async def acknowledge(self, position: Position) -> None:
        """The log keeps what retention says."""

    async def close(self) -> None:
        """Lets go of the file."""
        lane, self._lane = self._lane, None
        if lane is not None:
            if self._reader is not None:
                await lane.run(self._reader.close)
            lane.stop()
            self._reader = None


def _faults(fetched: Fetched, position: int) -> list[Malformed]:
    """What is not there, as pieces of input that are no records."""
    if fetched.damage:
        return [Malformed(position, fetched.damage, "")]
    if fetched.skipped:
        reason = f"{fetched.skipped} messages were taken by retention before they were read"
        return [Malformed(position, reason, "")]
    return []


def _bounds(path: Path) -> tuple[int, int]:
    """The oldest offset that is kept, and the one that comes next."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        first, last = connection.execute("SELECT min(first), max(last) FROM log").fetchone()
    except sqlite3.Error as fault:
        raise BrokerError(f"the message log {path} cannot be read: {fault}") from fault
    finally:
        connection.close()
    return (0, 0) if last is None else (first, last + 1)


class UnsSink:
    """An `AsyncSink` into the log at `path`, which it has for itself while it is open."""

    keeps_mark = True

    def __init__(self, path: Path, fields: Uns.Fields, *, form: Form, stream: str) -> None:
        self.name = "uns"
        self._broker = EmbeddedBroker(path)
        self._output = Uns(fields, context("uns", self._broker))
        self._form = form
        self._topic = f"{MARKS}{stream}"
        self._ready: list[Message] = []
        self._last: Mark | None = None

    async def open(self, resume: bool) -> Mark | None:
        """Open the log. To resume: the mark beside what was written last. Raises `BrokerError`."""
        await self._broker.open()
        kept = {info.topic: info.payload for info in await self._broker.topics(self._topic)}.get(self._topic, b"")
        if resume:
            self._last = msgspec.json.decode(kept, type=Mark) if kept not in (b"", _NONE) else None
            return self._last
        if kept:
            await self._broker.publish([Message(self._topic, _NONE)])
        return None

    async def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Make messages of the records, except those without a valid topic or payload."""
        refused = []
        for number, record in enumerate(records):
            try:
                self._ready.append(self._prepared(record))
            except (MessageError, BrokerError) as error:
                refused.append(Refused(number, str(error)))
        return refused

    def _prepared(self, record: Any) -> Message:
        message = self._output.prepare(self._form.apart(record))
        if (
            self._form.meta_field
        ):  # then headers can be of any size, and one that is too large must not hold up the others
            log_records.batches([message])
        return message

    async def commit(self, mark: Mark) -> None:
        """Append them and the mark, all or none. Raises `BrokerError`."""
        await self._broker.publish([*self._ready, Message(self._topic, msgspec.json.encode(mark))])
        self._ready, self._last = [], mark

    async def finish(self) -> None:
        """All is there; the mark stays and says so, for what comes later. Raises `BrokerError`."""
        if self._last is not None:
            await self.commit(msgspec.structs.replace(self._last, done=True))
        await self.abort()

    async def abort(self) -> None:
        """Close the log; what was not committed was never written."""
        self._ready = []
        await self._broker.close()

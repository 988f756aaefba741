"""How a message of a broker becomes a record of a machine, and a record a message.

The record is the payload. A message says more than that, above all its topic; where a machine needs it, two options name the field in which
it stands, on both ways::

    sensors/a  {"value": 21.5}                                    the message
               {"value": 21.5}                                    its record
               {"value": 21.5, "topic": "sensors/a"}              with topic_field=topic
               {"value": 21.5, "meta": {"mqtt_topic": …, …}}      with meta_field=meta

On the way out these fields are taken from the record again: they say where the message goes and what goes along, and are no part of its
payload. A payload that is no object (21.5) has no room for a field; it stands in the field `payload` then, and a record that has nothing
else becomes such a payload.

`format` says what payloads are: `json` (the default; one that is not JSON is malformed), `text` (UTF-8) or `bytes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from setpoint.data.stream.jsonl import UNREADABLE, UNWRITABLE
from setpoint.flows.component import MessageError, Meta, Msg

PAYLOAD: Final = "payload"
Format = Literal["json", "text", "bytes"]
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How messages and records of one end become each other. `topic_meta` is the meta in which its component says the topic."""

    topic_meta: str = ""
    topic_field: str = ""
    meta_field: str = ""
    format: Format = "json"

    def record(self, msg: Msg) -> Any:
        """The record of a message. Raises `ValueError`, which says why there is none."""
        record = self._payload(msg.payload)
        added: dict[str, Any] = {}
        if self.topic_field:
            added[self.topic_field] = msg.meta.get(self.topic_meta, "")
        if self.meta_field:
            added[self.meta_field] = msg.meta
        if not added:
            return record
        if not isinstance(record, dict):
            record = {PAYLOAD: record}
        for name in added:
            if name in record:
                raise ValueError(f"the payload has a field {name!r} of its own; choose another name for topic or meta")
        return {**record, **added}

    def _payload(self, payload: Any) -> Any:
        if type(payload) is not bytes or self.format == "bytes":
            return payload
        if self.format == "text":
            return payload.decode()
        try:
            return _decode(payload)
        except UNREADABLE as error:
            raise ValueError(f"not JSON: {error}") from error

    def apart(self, record: Any) -> Msg:
        """The record as payload and meta, the payload still as data. Raises `MessageError`."""
        if not (self.topic_field or self.meta_field):
            return Msg(record, {})
        if not isinstance(record, Mapping):
            raise MessageError(
                f"is {type(record).__name__}, not a mapping: it has no field that says its topic or meta"
            )
        rest, meta = dict(record), {}
        if self.meta_field:
            meta = _meta(rest.pop(self.meta_field, {}), self.meta_field)
        if self.topic_field:
            topic = rest.pop(self.topic_field, None)
            if not isinstance(topic, str) or not topic:
                raise MessageError(f"has no text in the field {self.topic_field!r}, which says its topic")
            meta[self.topic_meta] = topic
        alone = rest.keys() == {PAYLOAD} and not isinstance(rest[PAYLOAD], Mapping)
        return Msg(rest[PAYLOAD] if alone else rest, meta)

    def message(self, record: Any) -> Msg:
        """The message of a record, the payload as bytes. Raises `MessageError`."""
        msg = self.apart(record)
        return Msg(self._bytes(msg.payload), msg.meta)

    def _bytes(self, payload: Any) -> bytes:
        if self.format == "json":
            return _json(payload)
        if isinstance(payload, str):
            return payload.encode()
        if isinstance(payload, bytes) and self.format == "bytes":
            return payload
        raise MessageError(f"is {type(payload).__name__}, where format={self.format} writes {self.format}")


def _json(payload: Any) -> bytes:
    if isinstance(payload, bytes):
        raise MessageError("is bytes, which JSON cannot say: use format=bytes")
    try:
        return _encode(payload)
    except UNWRITABLE as error:
        raise MessageError(f"cannot be written as JSON: {error}") from error


def _meta(found: Any, name: str) -> Meta:
    if isinstance(found, Mapping) and all(isinstance(part, str) for pair in found.items() for part in pair):
        return dict(found)
    raise MessageError(f"the field {name!r} must map texts to texts: it is the meta of the message")

"""`uns`: publishes to the unified namespace.

Each message goes to the topic in its meta (`umh_topic`, by default), with all its meta as headers and `bridged_by` to say who brought it.
Topic and payload are checked before: time series are exactly ``{timestamp_ms, value}``, anything else is a JSON object, and either must
fit the data contract of its topic as it is in force at that moment (see `setpoint.namespace.contracts`). A message that does not fit is
set aside with the reason; it is never written as if it were valid. A batch is acknowledged when the broker says it is durable; a broker
that does not say so within 30 s is asked again.
Fields as documented for benthos-umh; there is one broker, so `broker_address` is not among them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from setpoint.flows.component import ConnectError, Context, MessageError, Msg, WriteError, structured
from setpoint.flows.component import Fields as ComponentFields
from setpoint.namespace import (
    BrokerError,
    Message,
    PayloadError,
    Topic,
    TopicError,
    encode_relational,
    encode_time_series,
)
from setpoint.namespace.contracts import ContractBook, ContractError

_META: Final = re.compile(r"""\$\{!\s*meta\((["'])([A-Za-z0-9_.-]+)\1\)\s*\}\Z""")
PUBLISH_TIMEOUT: Final = 30.0
_KEYS: Final = {"timestamp_ms", "value"}


def _topic_source(text: str) -> str:
    if _META.match(text):
        return text
    if "${!" in text:
        raise ValueError(f'{text!r} cannot be evaluated; write a topic, or ${{! meta("umh_topic") }}')
    try:
        return str(Topic.parse(text))
    except TopicError as error:
        raise ValueError(str(error)) from None


class Uns:
    """Publishes to the broker the engine was given."""

    class Fields(ComponentFields):
        umh_topic: Annotated[str, AfterValidator(_topic_source)] = '${! meta("umh_topic") }'
        bridged_by: str = ""

    def __init__(self, fields: Fields, context: Context) -> None:
        self._broker = context.broker
        self._contracts = context.contracts or ContractBook()
        self._bridged_by = context.bridged_by or fields.bridged_by or "setpoint"
        named = _META.match(fields.umh_topic)
        self._meta, self._fixed = (named.group(2), "") if named else ("", fields.umh_topic)

    async def connect(self) -> None:
        if self._broker is None:
            raise ConnectError("there is no broker to publish to: give the engine one")

    def prepare(self, msg: Msg) -> Message:
        """The message for the broker. Raises `MessageError` when topic or payload are not valid, or do not fit the contract."""
        topic = self._fixed or msg.meta.get(self._meta)
        if not topic:
            raise MessageError(f"msg.meta.{self._meta} is not set: a tag_processor sets it, or a nodered_js")
        payload = structured(msg.payload)
        try:
            place = Topic.parse(topic)
            body = _encoded(payload)
            self._contracts.check(place, body)
        except (TopicError, PayloadError, ContractError) as error:
            raise MessageError(str(error)) from error
        return Message(topic, body, {**msg.meta, "bridged_by": self._bridged_by})

    async def write(self, batch: Sequence[Message]) -> int:
        if self._broker is None:
            raise ConnectError("there is no broker to publish to: give the engine one")
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await self._broker.publish(batch)
        except BrokerError as error:
            raise WriteError(str(error)) from error
        except TimeoutError:
            raise WriteError(f"the broker did not answer within {PUBLISH_TIMEOUT:g} s") from None
        return sum(len(message.payload) for message in batch)

    async def close(self) -> None:
        """The broker is the engine's to close."""


def _encoded(payload: Any) -> bytes:
    if not isinstance(payload, dict):
        kind = "null" if payload is None else type(payload).__name__
        raise MessageError(f"the payload must be a time series or a JSON object, not {kind}: add a tag_processor")
    if payload.keys() == _KEYS:
        return encode_time_series(payload["value"], payload["timestamp_ms"])
    return encode_relational(payload)

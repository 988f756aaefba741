"""`uns`: reads the unified namespace, as one consumer group.

Every message whose topic matches one of `umh_topics` (regular expressions, matched from the start of the topic) comes once to the group,
in order; a batch is committed when the flow has delivered it, so what was not delivered is read again after a restart. The payload is as
it was written; meta are the headers it was written with, `umh_topic`, and `umh_timestamp_ms`.
Fields as documented for benthos-umh; there is one broker, so `broker_address` is not among them.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Annotated

from pydantic import AfterValidator, Field

from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.namespace import EVERYTHING, BrokerError, Subscription, TopicError, TopicFilter

BATCH = 500
"""Messages read at once, at most."""


def _patterns(patterns: list[str]) -> list[str]:
    try:
        TopicFilter(patterns)
    except TopicError as error:
        raise ValueError(str(error)) from None
    return patterns


class Uns:
    """Reads the broker the engine was given."""

    class Fields(ComponentFields):
        umh_topics: Annotated[list[str], AfterValidator(_patterns)] = Field(default=list(EVERYTHING), min_length=1)
        consumer_group: str = ""

    def __init__(self, fields: Fields, context: Context) -> None:
        self._broker = context.broker
        self._topics = fields.umh_topics
        self._group = fields.consumer_group or context.bridged_by or context.flow
        self._subscription: Subscription | None = None
        self._out: deque[int] = deque()  # the last offset of each batch that is out
        self._committed = -1

    async def connect(self) -> None:
        await self.close()
        if self._broker is None:  # the engine refuses such a flow; one that is made by hand is told here
            raise ConnectError("there is no broker to read from")
        try:
            self._subscription = self._broker.subscribe(self._group, self._topics)
        except BrokerError as error:
            raise ConnectError(str(error)) from error

    async def read(self) -> list[Msg]:
        """The next messages; waits for the first."""
        if self._subscription is None:
            raise ConnectError("not subscribed")
        try:
            messages = await self._subscription.read(BATCH)
        except BrokerError as error:
            raise ConnectError(str(error)) from error
        self._out.append(messages[-1].offset if messages else -1)
        return [
            Msg(
                message.payload,
                {**message.headers, "umh_topic": message.topic, "umh_timestamp_ms": str(message.timestamp_ms)},
            )
            for message in messages
        ]

    async def acknowledge(self) -> None:
        """The group goes on after what was delivered. What cannot be committed now is read again after a restart: at least once."""
        offset = self._out.popleft()
        if self._subscription is not None and offset > self._committed:  # less, where the log was subscribed to anew
            with suppress(BrokerError):  # the next read says what is the matter with the broker
                await self._subscription.commit(offset)
                self._committed = offset

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

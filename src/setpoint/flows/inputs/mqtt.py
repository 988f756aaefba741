"""`mqtt`: subscribes to topics of an MQTT broker.

Fields as documented for Benthos (`setpoint.flows.mqtt` has those of the connection): `topics` are filters with the wildcards ``+`` and
``#``, ``$share/group/filter`` shares them among all who name the same group; `qos` is asked for, the broker may grant less. Each message
has the meta `mqtt_topic`, `mqtt_qos`, `mqtt_retained`, `mqtt_duplicate`, `mqtt_message_id`, and with MQTT 5 its user properties by their
names.

**At least once.** With `qos` 1 and 2 a message is acknowledged to the broker when the flow has delivered it. What a broker keeps for us
while we are away it keeps for a session: `clean_session: false` and a `client_id`. Without these, and with `qos` 0, what is published while
we are away is not for us.

**Bounded.** Unacknowledged messages are bounded by the window that both sides agree on. When more than 1,000 messages or 8 MiB wait for
the flow, nothing more is read from the connection. What was received when a connection broke is delivered all the same, and may come again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import Field, model_validator

from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.mqtt import Connector, Filters, MqttFields

if TYPE_CHECKING:
    from setpoint.services.mqtt import Arrived, Link

BATCH: Final = 500
"""Messages given out at once, at most."""
HELD: Final = 1000
HELD_BYTES: Final = 8 * 1024 * 1024


class Mqtt:
    """Reads what a broker sends."""

    resumes = True

    class Fields(MqttFields):
        topics: Filters
        qos: int = Field(default=1, ge=0, le=2)
        clean_session: bool = True
        auto_replay_nacks: Literal[True] = True

        @model_validator(mode="after")
        def _fits_together(self) -> Self:
            if not self.clean_session and (not self.client_id or self.dynamic_client_id_suffix):
                raise ValueError("clean_session: false needs a client_id that stays the same: the session goes by it")
            return self

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._connector = Connector(fields, clean=fields.clean_session, window=HELD)
        self._link: Link | None = None
        self._held: deque[tuple[Link, Arrived]] = deque()
        self._bytes = 0
        self._out: deque[list[tuple[Link, Arrived]]] = deque()
        self._news = asyncio.Event()

    async def connect(self) -> None:
        from setpoint.services.mqtt import LinkError

        await self.close()
        self._link = await self._connector.connect(arrived=self._take, ended=self._news.set)
        try:
            await self._link.subscribe(self._fields.topics, self._fields.qos)
        except LinkError as error:
            raise ConnectError(str(error)) from error

    def _take(self, link: Link, message: Arrived) -> None:
        self._held.append((link, message))
        self._bytes += len(message.payload)
        if len(self._held) >= HELD or self._bytes >= HELD_BYTES:
            link.pause()
        self._news.set()

    async def read(self) -> list[Msg]:
        """What has come; waits for the first."""
        while not self._held:
            if self._link is None:
                raise ConnectError("not connected")
            if self._link.lost:
                raise ConnectError(self._link.lost)
            self._news.clear()
            await self._news.wait()
        hand = [self._held.popleft() for _ in range(min(BATCH, len(self._held)))]
        self._out.append(hand)
        self._bytes -= sum(len(message.payload) for _, message in hand)
        if self._link is not None and len(self._held) < HELD and self._bytes < HELD_BYTES:
            self._link.resume()
        return [_msg(message) for _, message in hand]

    async def acknowledge(self) -> None:
        """The broker may forget the oldest batch, as far as it came by the connection that is still there."""
        for link, message in self._out.popleft():
            if link is self._link:
                link.acknowledge(message)

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()


def _msg(message: Arrived) -> Msg:
    meta = dict(message.properties)
    meta["mqtt_topic"] = message.topic
    meta["mqtt_qos"] = str(message.qos)
    meta["mqtt_retained"] = str(message.retained).lower()
    meta["mqtt_duplicate"] = str(message.duplicate).lower()
    meta["mqtt_message_id"] = str(message.mid)
    return Msg(message.payload, meta)

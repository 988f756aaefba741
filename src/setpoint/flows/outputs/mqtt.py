"""`mqtt`: publishes to topics of an MQTT broker.

Fields as documented for Benthos (`setpoint.flows.mqtt` has those of the connection): `topic`, which may take values of the message
(`setpoint.flows.interpolation`), `qos`, `retained` or `retained_interpolated`, `max_in_flight` and `write_timeout`. A message whose
topic is none is set aside. `max_in_flight`, the messages under way at once, is 20 rather than 64: with MQTT 3.1.1 a broker cannot say how
many it allows, and Mosquitto, whose default is 20, ends the connection of a client that sends more at QoS 2. One of MQTT 5 says it, and is
heeded.

A batch is taken when the broker has acknowledged all of it (`qos` 0: when it was handed to the network). Where the connection breaks in
between, what was not acknowledged is sent again, at QoS 2 as well: at least once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import AfterValidator, Field

from setpoint.flows.component import ConnectError, Context, Duration, MessageError, Msg, WriteError, serialized
from setpoint.flows.interpolation import Interpolated
from setpoint.flows.mqtt import Connector, MqttFields, topic_fault

if TYPE_CHECKING:
    from setpoint.services.mqtt import Link


def _text(text: str) -> str:
    Interpolated(text)
    return text


def _topic(text: str) -> str:
    if not Interpolated(text).fixed:
        return text
    if fault := topic_fault(text):
        raise ValueError(f"the topic {fault}")
    return text


class Outgoing(NamedTuple):
    """A message as it will be published."""

    topic: str
    payload: bytes
    retain: bool


class Mqtt:
    """Publishes to one broker."""

    class Fields(MqttFields):
        topic: Annotated[str, AfterValidator(_topic)]
        qos: int = Field(default=1, ge=0, le=2)
        retained: bool = False
        retained_interpolated: Annotated[str, AfterValidator(_text)] = ""
        write_timeout: Duration = Field(default=3.0, gt=0, le=600)
        max_in_flight: int = Field(default=20, ge=1, le=65_535)

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._topic = Interpolated(fields.topic)
        self._retained = Interpolated(fields.retained_interpolated) if fields.retained_interpolated else None
        self._connector = Connector(fields, clean=True, window=fields.max_in_flight)
        self._link: Link | None = None
        self._batch: Sequence[Outgoing] = ()
        self._sent: dict[int, asyncio.Future[None]] = {}

    async def connect(self) -> None:
        await self.close()
        self._link = await self._connector.connect(arrived=lambda link, message: None, ended=lambda: None)

    def prepare(self, msg: Msg) -> Outgoing:
        """The message as it will be published. Raises `MessageError` for a topic that is none."""
        topic = self._topic(msg)
        if fault := topic_fault(topic):
            raise MessageError(f"its topic {fault}")
        retain = self._fields.retained if self._retained is None else self._retained(msg) == "true"
        return Outgoing(topic, serialized(msg.payload), retain)

    async def write(self, batch: Sequence[Outgoing]) -> int:
        """Publishes the batch and waits for the broker. Given the same batch again it publishes what was not acknowledged."""
        from setpoint.services.mqtt import LinkError, Refused

        link = self._link
        if link is None:
            raise ConnectError("not connected")
        if batch is not self._batch:
            self._batch, self._sent = batch, {}
        try:
            for number, (topic, payload, retain) in enumerate(batch):
                if number not in self._sent or self._failed(number):
                    self._sent[number] = link.publish(topic, payload, qos=self._fields.qos, retain=retain)
            await self._acknowledged()
        except LinkError as error:
            raise ConnectError(str(error)) from error
        except Refused as error:
            raise WriteError(str(error)) from error
        self._batch, self._sent = (), {}
        return sum(len(message.payload) for message in batch)

    def _failed(self, number: int) -> bool:
        sent = self._sent[number]
        return sent.done() and (sent.cancelled() or sent.exception() is not None)

    async def _acknowledged(self) -> None:
        """Waits as long as acknowledgements come."""
        waiting = {sent for sent in self._sent.values() if not sent.done()}
        while waiting:
            before = len(waiting)
            _, waiting = await asyncio.wait(waiting, timeout=self._fields.write_timeout)
            if len(waiting) == before:
                raise WriteError(f"the broker has not taken {before} messages in {self._fields.write_timeout:g} s")
        for sent in self._sent.values():
            sent.result()

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

"""`sparkplug_b`: metrics of Sparkplug B edge nodes and devices from an MQTT broker, one message a metric.

Fields as documented for benthos-umh: `mqtt` is the connection (`setpoint.flows.mqtt`; `credentials` and `keep_alive` are understood too),
`subscription.groups` narrows down to groups. `role` is what this host does besides listening:

    secondary_passive   nothing
    secondary_active    asks a node for its birth certificate when it is needed: a number that stands for nothing known, a gap in the
                        sequence. At most once in 10 s a node. The default
    primary             that, and publishes ``spBv1.0/STATE/<identity.edge_node_id>``: online while the flow is connected, offline by the
                        broker's hand when it is gone. Nodes that are told to wait for a primary host wait for it

The payload is the value; meta say the rest: `spb_group_id`, `spb_edge_node_id`, `spb_device_id`, `spb_device_key`, `spb_message_type`,
`spb_metric_name`, `spb_datatype`, `spb_timestamp` (milliseconds), `spb_sequence`, `spb_bdseq`, `spb_alias`, `spb_is_historical`, and
`spb_quality` where the metric has that property. Births and deaths are a metric more, `online`: true before the metrics of a birth
certificate, false for a death certificate, which has no others; with the quality STALE it holds for all of that node or device.

What cannot be read (a payload that is none, a number that no known birth certificate has, a value that is not of its type) is counted
with node and reason. After the connection was made anew nothing is believed of what was known, but with `clean_session: false`, where the
broker keeps what comes meanwhile. Acknowledged is what the flow has delivered: at least once at QoS 1, as far as the nodes publish with
it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec
from pydantic import AliasChoices, Field, model_validator

from setpoint.flows.component import ConnectError, Context, Fields, Meta, Msg, seconds
from setpoint.flows.mqtt import Connector, MqttFields, WillFields
from setpoint.flows.sparkplug_nodes import KINDS, PREFIX, Nodes, Outcome, Reading, Topic, topic
from setpoint.flows.sparkplug_payload import LIBRARY, decode, message, type_name, value_of

if TYPE_CHECKING:
    from setpoint.services.mqtt import Arrived, Link

BATCH: Final = 1000
"""Metrics after which no further message is taken into a batch."""
HELD: Final = 1000
HELD_BYTES: Final = 8 * 1024 * 1024
GOODBYE: Final = 1.0
REBIRTH_EVERY: Final = 10.0
"""Seconds between two requests to one node."""
ONLINE: Final = "online"
"""The metric that we make of births and deaths."""
_REBIRTH: Final = "Node Control/Rebirth"
_QUALITIES: Final = {0: "BAD", 192: "GOOD", 500: "STALE"}
"""The values of the property Quality (Eclipse Sparkplug 3.0, 6.4.14)."""


class Connection(MqttFields):
    """The connection, and what benthos-umh calls two of its fields."""

    clean_session: bool = True
    qos: int = Field(default=1, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _as_documented(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        made = {key: value for key, value in given.items() if key not in ("credentials", "keep_alive")}
        login = given.get("credentials")
        if isinstance(login, dict) and set(login) <= {"username", "password"}:
            made |= {"user": login.get("username", ""), "password": login.get("password", "")}
        elif login is not None:
            raise ValueError("credentials are username and password")
        if "keep_alive" in given:
            made["keepalive"] = round(seconds(given["keep_alive"]))
        return made

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.clean_session and (not self.client_id or self.dynamic_client_id_suffix):
            raise ValueError("clean_session: false needs a client_id that stays the same: the session goes by it")
        if self.will.enabled:
            raise ValueError("the will of a host is its STATE; use role: primary")
        return self


class Identity(Fields):
    """Who this host is."""

    edge_node_id: str = Field(
        default="", validation_alias=AliasChoices("edge_node_id", "host_id"), pattern=r"^[^/+#]*$"
    )


class Subscription(Fields):
    """What is listened to."""

    groups: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _single(self) -> Self:
        for group in self.groups:
            if not group or set(group) & set("/+#\0"):
                raise ValueError(f"{group!r} is no group id")
        return self


class SparkplugB:
    """Listens to edge nodes."""

    class Fields(Fields):
        mqtt: Connection
        identity: Identity = Identity()
        role: Literal["secondary_passive", "secondary_active", "primary"] = "secondary_active"
        subscription: Subscription = Subscription()

        @model_validator(mode="after")
        def _named(self) -> Self:
            if self.role == "primary" and not self.identity.edge_node_id:
                raise ValueError("a primary host needs identity.edge_node_id, the name under which nodes wait for it")
            return self

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields, self._context = fields, context
        self._link: Link | None = None
        self._heard: Link | None = None
        self._nodes = Nodes()
        self._held: deque[tuple[Link, Arrived]] = deque()
        self._bytes = 0
        self._out: deque[list[tuple[Link, Arrived]]] = deque()
        self._asked: dict[tuple[str, str], float] = {}
        self._news = asyncio.Event()
        self._connector = Connector(fields.mqtt, clean=fields.mqtt.clean_session, window=HELD)
        self._online_since = 0

    # the connection

    async def connect(self) -> None:
        """Raises `ConnectError`; `RuntimeError` where a library is not installed."""
        try:
            message("Payload")
            from setpoint.services.mqtt import LinkError
        except ModuleNotFoundError as error:
            raise RuntimeError(LIBRARY) from error
        await self.close()
        fields = self._fields
        if fields.role == "primary":
            self._online_since = int(self._context.clock() * 1000)
            will = WillFields(enabled=True, topic=self._state_topic, payload=self._state(False), qos=1, retained=True)
            connection = fields.mqtt.model_copy(update={"will": will})
            self._connector = Connector(connection, clean=fields.mqtt.clean_session, window=HELD)
        self._link = await self._connector.connect(arrived=self._take, ended=self._news.set)
        try:
            await self._link.subscribe(self._filters(), fields.mqtt.qos)
            if fields.role == "primary":
                async with asyncio.timeout(fields.mqtt.connect_timeout):
                    await self._publish_state(self._link, True)
        except (LinkError, TimeoutError) as error:
            raise ConnectError(str(error) or "the broker did not take the STATE of this host in time") from error

    def _filters(self) -> list[str]:
        groups = self._fields.subscription.groups or ("+",)
        nodes = [f"{PREFIX}/{group}/{kind}/+" for group in groups for kind in KINDS if kind[0] == "N"]
        devices = [f"{PREFIX}/{group}/{kind}/+/+" for group in groups for kind in KINDS if kind[0] == "D"]
        return nodes + devices + ([self._state_topic] if self._fields.role == "primary" else [])

    @property
    def _state_topic(self) -> str:
        return f"{PREFIX}/STATE/{self._fields.identity.edge_node_id}"

    def _state(self, online: bool) -> str:
        return msgspec.json.encode({"online": online, "timestamp": self._online_since}).decode()

    def _publish_state(self, link: Link, online: bool) -> Awaitable[None]:
        """Raises `LinkError`."""
        return link.publish(self._state_topic, self._state(online).encode(), qos=1, retain=True)

    def _take(self, link: Link, arrived: Arrived) -> None:
        self._held.append((link, arrived))
        self._bytes += len(arrived.payload)
        if len(self._held) >= HELD or self._bytes >= HELD_BYTES:
            link.pause()
        self._news.set()

    async def close(self) -> None:
        """Idempotent. A primary host says that it goes."""
        if self._link is not None and self._fields.role == "primary" and not self._link.lost:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(GOODBYE):
                    await self._publish_state(self._link, False)
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    # what comes in

    async def read(self) -> list[Msg]:
        """What has come; waits for the first."""
        while not self._held:
            if self._link is None:
                raise ConnectError("not connected")
            if self._link.lost:
                raise ConnectError(self._link.lost)
            self._news.clear()
            await self._news.wait()
        found: list[Msg] = []
        hand: list[tuple[Link, Arrived]] = []
        while self._held and len(found) < BATCH:
            link, arrived = self._held.popleft()
            self._bytes -= len(arrived.payload)
            hand.append((link, arrived))
            if link is not self._heard and self._fields.mqtt.clean_session:
                self._nodes.forget()  # what was sent while there was no connection is not known
            self._heard = link
            found += self._messages(arrived)
        self._out.append(hand)
        if self._link is not None and len(self._held) < HELD and self._bytes < HELD_BYTES:
            self._link.resume()
        return found

    def _messages(self, arrived: Arrived) -> list[Msg]:
        """The messages that one of the broker's stands for."""
        place = topic(arrived.topic)
        if place is None:
            self._state_came(arrived)
            return []
        try:
            payload = decode(arrived.payload)
        except ValueError as error:
            self._context.failed(f"{place.key}: {error}")
            return []
        outcome = self._nodes.take(place, payload, again=arrived.duplicate)
        for problem in outcome.problems:
            self._context.failed(problem)
        if outcome.rebirth and self._fields.role != "secondary_passive":
            self._ask_for_birth(place)
        return self._told(place, payload, outcome)

    def _told(self, place: Topic, payload: Any, outcome: Outcome) -> list[Msg]:
        about = self._about(place, payload)
        found = []
        if outcome.died or place.kind.endswith("BIRTH"):
            found.append(Msg(not outcome.died, {**about, **_online(payload, died=outcome.died)}))
        for reading in outcome.readings:
            try:
                value = value_of(reading.metric, reading.datatype)
                found.append(Msg(value, {**about, **_meta(reading, payload)}))
            except ValueError as error:
                self._context.failed(f"{place.key}: {reading.name} {error}")
        return found

    def _about(self, place: Topic, payload: Any) -> Meta:
        session = self._nodes.session(place)
        about = {
            "spb_group_id": place.group,
            "spb_edge_node_id": place.node,
            "spb_device_key": place.key,
            "spb_message_type": place.kind,
        }
        if place.device:
            about["spb_device_id"] = place.device
        if payload.HasField("seq"):
            about["spb_sequence"] = str(payload.seq)
        if session is not None:
            about["spb_bdseq"] = str(session)
        return about

    # what goes back

    def _ask_for_birth(self, place: Topic) -> None:
        """Has the node send its births again; not again before `REBIRTH_EVERY` seconds."""
        now, key = self._context.now(), (place.group, place.node)
        if self._link is None or self._link.lost or now - self._asked.get(key, float("-inf")) < REBIRTH_EVERY:
            return
        self._asked = {each: at for each, at in self._asked.items() if now - at < REBIRTH_EVERY} | {key: now}
        stamp = int(self._context.clock() * 1000)
        command = message("Payload")(timestamp=stamp)
        command.metrics.add(name=_REBIRTH, timestamp=stamp, datatype=11, boolean_value=True)
        self._link.publish(
            f"{PREFIX}/{place.group}/NCMD/{place.node}", command.SerializeToString(), qos=0, retain=False
        )

    def _state_came(self, arrived: Arrived) -> None:
        """Somebody, such as a former connection of ours, says that we are offline: we are not (Eclipse Sparkplug 3.0, 5.8)."""
        if (
            arrived.topic == self._state_topic
            and arrived.payload != self._state(True).encode()
            and self._link is not None
        ):
            with contextlib.suppress(Exception):  # without a connection it says so when there is one again
                self._publish_state(self._link, True)

    async def acknowledge(self) -> None:
        """The broker may forget the oldest batch, as far as it came by the connection that is still there."""
        for link, arrived in self._out.popleft():
            if link is self._link:
                link.acknowledge(arrived)


def _online(payload: Any, *, died: bool) -> Meta:
    return {
        "spb_metric_name": ONLINE,
        "spb_datatype": "Boolean",
        "spb_timestamp": str(payload.timestamp),
        "spb_is_historical": "false",
        **({"spb_quality": "STALE"} if died else {}),
    }


def _meta(reading: Reading, payload: Any) -> Meta:
    metric = reading.metric
    meta = {
        "spb_metric_name": reading.name,
        "spb_datatype": type_name(reading.datatype),
        "spb_timestamp": str(metric.timestamp or payload.timestamp),
        "spb_is_historical": "true" if metric.is_historical else "false",
    }
    if metric.HasField("alias"):
        meta["spb_alias"] = str(metric.alias)
    if metric.HasField("properties"):
        pairs = dict(zip(metric.properties.keys, metric.properties.values, strict=False))
        if "Quality" in pairs:
            quality = pairs["Quality"].int_value
            meta["spb_quality"] = _QUALITIES.get(quality, str(quality))
    return meta

"""paho's MQTT client, made as its settings say; what it receives is acknowledged when it is told so.

A message may be forgotten by the broker when it is safe, not when it has arrived. paho can hold back the PUBACK of QoS 1, but of QoS 2 only
the last of four packets (PUBCOMP), when the broker has already handed the message over and forgotten it: who is killed then has lost it.
So here a message is given out when it arrives, once, and PUBACK or, at QoS 2, PUBREC says that it is safe (MQTT 3.1.1, 4.3.3: the receiver
may take the message on before it answers). The rest of QoS 2 is paho's, also the PUBREL of a message from before a restart, which is
answered and gives nothing.

Methods replaced and called here are not part of paho's interface. The import fails where a version has them no more.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if not all(
    hasattr(Client, name)
    for name in ("_send_puback", "_send_pubrec", "_handle_publish", "_handle_on_message", "_send_pingreq")
):
    raise ImportError("this version of paho-mqtt is not known: install one from 2.1 to below 3")

_FOREVER: Final = 0xFFFFFFFF
"""A session that does not expire (MQTT 5, 3.1.2.11.2)."""


class Will(msgspec.Struct, frozen=True):
    """What the broker publishes for us when we are gone without a goodbye."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect. `keepalive` and `timeout` are seconds; `window`: messages that may be unacknowledged in either direction."""

    host: str
    port: int
    client_id: str = ""
    user: str = ""
    password: str = ""
    tls: ssl.SSLContext | None = None
    version: int = 4
    clean: bool = True
    keepalive: int = 30
    timeout: float = 30.0
    will: Will | None = None
    window: int = 20


class DeferringClient(Client):
    """Calls `arrived` with each message as it comes; `acknowledge` is the caller's to call."""

    arrived: Callable[[MQTTMessage], None]
    _second = 0

    def _send_puback(self, mid: int) -> MQTTErrorCode:
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _send_pubrec(self, mid: int) -> MQTTErrorCode:
        self._second = mid
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_publish(self) -> MQTTErrorCode:
        self._second = 0
        code = super()._handle_publish()
        if self._second and (message := self._in_messages.get(self._second)):
            self.arrived(message)
            message.payload = b""  # what is left waits for PUBREL, as a number
        return code

    def _handle_on_message(self, message: MQTTMessage) -> None:
        if message.qos < 2:  # at QoS 2 this is PUBREL
            self.arrived(message)

    def still_here(self) -> None:
        """Says so when it is time to, and does not ask for the answer: it waits behind what is not being read."""
        if self._keepalive and time.monotonic() - self._last_msg_out >= self._keepalive / 2:
            self._send_pingreq()
            self._ping_t = 0.0

    def acknowledge(self, mid: int, qos: int) -> None:
        """PUBACK or PUBREC: the message with this packet identifier is safe."""
        if qos == 1:
            super()._send_puback(mid)
        elif qos == 2:
            super()._send_pubrec(mid)


def made(settings: Settings) -> DeferringClient:
    """A client that has done nothing yet."""
    client = DeferringClient(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        clean_session=settings.clean if settings.version == 4 else None,
        protocol=MQTTProtocolVersion(settings.version),
        reconnect_on_failure=False,
    )
    if settings.user or settings.password:
        client.username_pw_set(settings.user, settings.password or None)
    if settings.tls is not None:
        client.tls_set_context(settings.tls)
        client.tls_insecure_set(not settings.tls.check_hostname)
    if settings.will is not None:
        client.will_set(settings.will.topic, settings.will.payload, settings.will.qos, settings.will.retain)
    client.connect_timeout = settings.timeout
    client.max_inflight_messages_set(0)  # its own bound does not heed what a broker of MQTT 5 allows
    return client


def greet(client: Client, settings: Settings) -> None:
    """Connects and sends the first packet. Blocks. Raises `OSError`."""
    more: dict[str, Any] = {}
    if settings.version == 5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # of the library
        properties.ReceiveMaximum = settings.window
        if not settings.clean:
            properties.SessionExpiryInterval = _FOREVER
        more = {"clean_start": settings.clean, "properties": properties}
    client.connect(settings.host, settings.port, settings.keepalive, **more)


def ended_by(code: Any) -> str:
    """Why a connection ended, in words."""
    text = str(code)
    known = {
        "Unspecified error": "the broker closed the connection",
        "Keep alive timeout": "the broker does not answer",
    }
    return known.get(text, text)


def why(error: OSError) -> str:
    """Why there is no connection, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    return error.strerror or str(error) or type(error).__name__

"""One connection to an MQTT broker (3.1.1 or 5), in the running event loop.

`Link` drives paho's client: its protocol, our event loop. What is ours:

**Acknowledging is ours.** A message that was received is acknowledged when `acknowledge` says so (`mqtt_client`).

**Reading can stop.** `pause` stops reading from the socket: the broker's packets fill its buffers, and the broker waits or, at QoS 0,
drops. We say all the while that we are there; whether the broker is, is found out when reading goes on.

**Nothing blocks.** Names, TCP and TLS are looked up and shaken hands with in a thread, and everything has an end within `timeout`. A
connection that ended is told once, with its reason (`lost`); making another is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode

from setpoint.services.blocking import in_thread
from setpoint.services.mqtt_client import Settings, Will, ended_by, greet, made, why

_TURN: Final = 100
"""Packets that are read in one go before others get their turn."""
_GOODBYE: Final = 0.5
"""Seconds in which what is queued, the goodbye among it, may still be sent and read when closing."""


__all__ = ["Arrived", "Link", "LinkError", "Refused", "Settings", "Will"]


class LinkError(Exception):
    """The broker cannot be reached, refuses, or the connection ended: says who and why."""


class Refused(Exception):
    """The broker did not take this one message: says why."""


class Arrived(msgspec.Struct, frozen=True):
    """A message from the broker. `mid` is its packet identifier, 0 at QoS 0; `properties` are its user properties (MQTT 5)."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    duplicate: bool
    mid: int
    properties: Sequence[tuple[str, str]] = ()


class _Outgoing(NamedTuple):
    """A message to be published, and who waits for it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    sent: asyncio.Future[None]


class Link:
    """A connection, from `connect` to its end; not to be connected twice. `arrived` is called with it and each message.

    `ended` is called once when the connection is lost, not when it is closed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        arrived: Callable[[Link, Arrived], None] = lambda link, message: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._arrived, self._ended = arrived, ended
        self.lost = ""
        """Why the connection is no more; empty while it is."""
        self._client = made(settings)
        self._client.arrived = self._hand
        self._loop = asyncio.get_running_loop()
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._granted: dict[int | None, asyncio.Future[list[Any]]] = {}
        self._sent: dict[int, tuple[asyncio.Future[None], bool]] = {}
        self._queue: deque[_Outgoing] = deque()
        self._window, self._under_way = settings.window, 0
        self._descriptor: int | None = None
        self._writing = self._paused = self._closed = False
        self._tick: asyncio.TimerHandle | None = None
        self._full = asyncio.Event()  # reading pauses
        self._opening = threading.Lock()

    # the connection

    async def connect(self) -> None:
        """Connects. Raises `LinkError`."""
        own = self._settings
        try:
            async with asyncio.timeout(own.timeout):
                await in_thread(self._open)
                self._watch()
                await self._greeted
        except TimeoutError:
            await self.close()
            raise LinkError(f"{self._where} did not answer within {own.timeout:g} s") from None
        except OSError as error:
            await self.close()
            raise LinkError(f"{self._where}: {why(error)}") from error
        except BaseException:
            await self.close()
            raise

    @property
    def _where(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _open(self) -> None:
        """Connects the socket and sends the first packet; in a thread. When nobody waits for it any more, it is closed again."""
        greet(self._client, self._settings)
        with self._opening:
            if self._closed:
                _shut(self._client.socket())

    def _watch(self) -> None:
        """Has the event loop look at the socket from now on. Raises `LinkError` where it has ended already."""
        client = self._client
        if client.socket() is None:
            raise LinkError(f"{self._where}: the broker closed the connection")
        self._descriptor = client_socket(client).fileno()
        client.on_connect = self._on_connect
        client.on_disconnect = lambda client, _, flags, reason, properties: self._down(ended_by(reason))
        client.on_subscribe = lambda client, _, mid, reasons, properties: self._settle(mid, reasons)
        client.on_publish = lambda client, _, mid, reason, properties: self._published(mid, reason)
        client.on_socket_register_write = lambda *_: self._write_watch(True)
        client.on_socket_unregister_write = lambda *_: self._write_watch(False)
        client.on_socket_close = lambda *_: self._unwatch()
        self._loop.add_reader(self._descriptor, self._readable)
        if client.want_write():
            self._write_watch(True)
        self._beat()

    def _write_watch(self, wanted: bool) -> None:
        if self._descriptor is None or wanted == self._writing:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._descriptor, self._writable)
        else:
            self._loop.remove_writer(self._descriptor)

    def _unwatch(self) -> None:
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._descriptor = None
        if self._tick is not None:
            self._tick.cancel()

    def _beat(self) -> None:
        """Keeps the connection alive, and finds out when it is not."""
        if self._paused:
            self._client.still_here()
        else:
            self._client.loop_misc()
        if self._descriptor is not None:
            self._tick = self._loop.call_later(min(1.0, (self._settings.keepalive or 4) / 4), self._beat)

    def _readable(self) -> None:
        for _ in range(_TURN):
            try:
                self._client.loop_read()
            except Exception as error:  # a packet that is none
                self._down(f"the broker's packet cannot be read: {type(error).__name__}: {error}")
            if self._paused or self._descriptor is None or not _more(client_socket(self._client)):
                return
        if self._descriptor is not None:  # what TLS has read already makes no socket readable
            self._loop.call_soon(self._again)

    def _again(self) -> None:
        if self._descriptor is not None and not self._paused:
            self._readable()

    def _writable(self) -> None:
        self._client.loop_write()

    def pause(self) -> None:
        """Stops reading."""
        if not self._paused and self._descriptor is not None:
            self._paused = True
            self._full.set()
            self._loop.remove_reader(self._descriptor)

    def resume(self) -> None:
        """Goes on reading."""
        if self._paused and self._descriptor is not None:
            self._loop.add_reader(self._descriptor, self._readable)
            self._loop.call_soon(self._again)
        self._paused = False
        self._full.clear()

    async def close(self) -> None:
        """Says goodbye and lets go of the connection. Idempotent."""
        with self._opening:
            self._closed = True
        if self._descriptor is not None and not self.lost:
            await self._goodbye(self._descriptor)
        self._unwatch()
        _shut(self._client.socket())
        self._fail(LinkError("the connection was closed"))

    async def _goodbye(self, descriptor: int) -> None:
        """Has the broker read all that we sent, acknowledgements among it.

        To close a socket on which something is unread takes back what the other side has not read yet. paho closes it behind its goodbye,
        so a second descriptor stays, from which is read until the broker closes.
        """
        rest = socket.socket(fileno=os.dup(descriptor))
        rest.setblocking(False)
        self.pause()
        self._client.disconnect()
        try:
            async with asyncio.timeout(_GOODBYE):
                while self._descriptor is not None:  # noqa: ASYNC110  # paho tells nobody when it has written
                    await asyncio.sleep(0.002)
                while await self._loop.sock_recv(rest, 65_536):
                    pass
        except (TimeoutError, OSError):  # it has been told, or there is nobody to tell
            pass
        finally:
            rest.close()

    # what comes in

    def _on_connect(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._greeted.done():
            return
        if reason.is_failure:
            self._greeted.set_exception(LinkError(f"{self._where} refuses the connection: {reason}"))
            return
        allowed = getattr(properties, "ReceiveMaximum", None)
        if allowed is not None:
            self._window = min(allowed, self._window)
        self._greeted.set_result(None)

    def _hand(self, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._down("the broker sent a topic that is not UTF-8")
            return
        pairs = getattr(message.properties, "UserProperty", ()) if message.properties else ()
        self._arrived(
            self, Arrived(topic, bytes(message.payload), message.qos, message.retain, message.dup, message.mid, pairs)
        )

    def acknowledge(self, message: Arrived) -> None:
        """The message is safe: the broker may forget it. Must be of this connection."""
        if message.qos and self._descriptor is not None:
            self._client.acknowledge(message.mid, message.qos)

    async def subscribe(self, filters: Sequence[str], qos: int) -> None:
        """Subscribes to all of them. Raises `LinkError`, which names the first that was refused.

        A broker that has a session of ours may send all of it before it answers. When reading pauses meanwhile, this returns; a refusal
        ends the connection then.
        """
        code, mid = self._client.subscribe([(each, qos) for each in filters])
        if mid is None:
            raise LinkError(self.lost or f"{self._where}: cannot subscribe: {MQTTErrorCode(code).name}")
        answer = self._granted[mid] = self._loop.create_future()
        answer.add_done_callback(lambda answer: self._judge(filters, answer))
        full = self._loop.create_task(self._full.wait())
        done, _ = await asyncio.wait(
            {answer, full}, timeout=self._settings.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        full.cancel()
        await asyncio.sleep(0)  # the judge speaks
        if self.lost:
            raise LinkError(self.lost)
        if not done:
            raise LinkError(f"{self._where} did not answer a subscription within {self._settings.timeout:g} s")

    def _settle(self, mid: int, reasons: list[Any]) -> None:
        answer = self._granted.pop(mid, None)
        if answer is not None and not answer.done():
            answer.set_result(reasons)

    def _judge(self, filters: Sequence[str], answer: asyncio.Future[list[Any]]) -> None:
        if answer.cancelled() or answer.exception():
            return
        for each, reason in zip(filters, answer.result(), strict=False):
            if reason.is_failure:
                self._down(f"the subscription to {each} was refused: {reason}")

    # what goes out

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> asyncio.Future[None]:
        """A future that is done when the broker has the message (at QoS 0: when it is on its way).

        It raises `LinkError` when the connection ends before, `Refused` when the broker says no. Raises `LinkError` where there is none.
        """
        if self._descriptor is None:
            raise LinkError(self.lost or "there is no connection")
        sent: asyncio.Future[None] = self._loop.create_future()
        sent.add_done_callback(_heard)
        self._queue.append(_Outgoing(topic, payload, qos, retain, sent))
        self._send()
        return sent

    def _send(self) -> None:
        """Sends what is queued as far as the window allows; QoS 0 keeps its place in the queue, but takes none in the window."""
        while self._queue and self._under_way < self._window:
            topic, payload, qos, retain, sent = self._queue.popleft()
            info = self._client.publish(topic, payload, qos, retain)
            self._sent[info.mid] = (sent, qos > 0)
            self._under_way += qos > 0

    def _published(self, mid: int, reason: Any) -> None:
        sent, counts = self._sent.pop(mid, (None, False))
        if sent is not None and not sent.done():
            if reason.is_failure:
                sent.set_exception(Refused(f"{self._where} did not take it: {reason}"))
            else:
                sent.set_result(None)
        self._under_way -= counts
        self._send()

    # the end

    def _down(self, why: str) -> None:
        """The connection is no more."""
        if self.lost or self._closed:
            return
        self.lost = f"{self._where}: {why}"
        self._unwatch()
        _shut(self._client.socket())
        self._fail(LinkError(self.lost))
        self._ended()

    def _fail(self, error: LinkError) -> None:
        waiting = cast(
            "list[asyncio.Future[Any]]",
            [
                self._greeted,
                *self._granted.values(),
                *(sent for sent, _ in self._sent.values()),
                *(each.sent for each in self._queue),
            ],
        )
        for future in waiting:
            if not future.done():
                future.add_done_callback(_heard)
                future.set_exception(error)
        self._sent.clear()
        self._queue.clear()


def client_socket(client: Client) -> socket.socket:
    """The client's socket; it has one while it is connected."""
    return cast(socket.socket, client.socket())


def _heard(future: asyncio.Future[Any]) -> None:
    """Nobody need ask for the outcome."""
    if not future.cancelled():
        future.exception()


def _more(own: socket.socket) -> bool:
    """Whether there is more to read right now."""
    if isinstance(own, ssl.SSLSocket):
        return own.pending() > 0
    try:
        return bool(own.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def _shut(own: Any) -> None:
    if own is not None:
        with contextlib.suppress(OSError):
            own.close()

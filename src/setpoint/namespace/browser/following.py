"""Following the log: how the index comes to know what is written.

A browser subscribes to the end of the log first, then asks the broker for the last value of every topic, and from then on takes in what
comes. What was written in between is in both and counts once, by its offset. It commits nothing: each time it begins with the last values.

It reads what others have written already, from memory where it keeps up, and so it never makes a publisher wait. It gathers for a moment
before it reads again, because a batch costs little more than a message, takes in at most a chunk at a time, and lets others have a turn
after each. When the log is not open, or breaks, it says why and tries again for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from setpoint.namespace.broker import Broker, BrokerError, Message, Subscription
from setpoint.namespace.browser.index import LIMITS, Index, Limits, loaded

GROUP: Final = "setpoint-topic-browser"
CHUNK: Final = 2_000
GATHER_S: Final = 0.05
LOOK_AGAIN_S: Final = 0.5
"""Until a log that is not open is asked for again."""
PAUSES_S: Final = (1.0, 30.0)
"""The first and the longest pause after something failed that had begun."""
LOAD_WITHIN_S: Final = 60.0

log = logging.getLogger(__name__)
Listener = Callable[[Sequence[Message]], None]


class Status(msgspec.Struct, frozen=True):
    """How a browser stands. `connected`: it has a subscription; `following`: the index is complete and follows the log.

    `fault` is why it is not, as far as it is known. `behind_s`: for how long it has not come to the end of the log. `messages` counts
    all that were taken in, `dropped` the topics that had to go; `held_bytes` are payloads and headers.
    """

    running: bool = False
    connected: bool = False
    following: bool = False
    fault: str = ""
    behind_s: float = 0.0
    messages: int = 0
    topics: int = 0
    dropped: int = 0
    held_bytes: int = 0
    limits: Limits = LIMITS


class Browser:
    """Follows the log of a broker while it is begun. `index` is what it knows; it is complete while `following`."""

    def __init__(self, broker: Broker) -> None:
        self.index = Index()
        self.following = False
        self._broker = broker
        self._limits = LIMITS
        self._task: asyncio.Task[None] | None = None
        self._connected = False
        self._fault = ""
        self._messages = self._dropped_before = 0
        self._behind_since: float | None = None
        self._listeners: list[Listener] = []
        self.changed: Callable[[], None] = lambda: None
        """Called when it stands otherwise than before."""

    def listen(self, listener: Listener) -> None:
        """Have it called with every batch of messages, once the index has them. It must be quick and raise nothing."""
        self._listeners.append(listener)

    async def begin(self, limits: Limits) -> None:
        """Follow the log from now on, within these limits. Idempotent; with other limits it begins anew."""
        if self._task is not None and not self._task.done() and limits == self._limits:
            return
        await self.end()
        self._limits, self._dropped_before = limits, 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def end(self) -> None:
        """Stop, and let go of what is known. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._forget()
        self._fault = ""

    def status(self) -> Status:
        """How it stands."""
        running = self._task is not None and not self._task.done()
        now = asyncio.get_running_loop().time()
        return Status(
            running=running,
            connected=self._connected,
            following=self.following,
            fault=self._fault,
            behind_s=now - self._behind_since if self._behind_since is not None else 0.0,
            messages=self._messages,
            topics=len(self.index),
            dropped=self._dropped_before + self.index.dropped,
            held_bytes=self.index.size,
            limits=self._limits,
        )

    async def _run(self) -> None:
        pause, longest = PAUSES_S
        while True:
            try:
                subscription = self._broker.subscribe(GROUP, start="latest")
            except BrokerError as error:
                self._fault = str(error)
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            self._connected, self._fault = True, ""
            self.changed()
            try:
                await self._follow(subscription)
            except BrokerError as error:
                self._fault = str(error)
            except Exception as error:  # a defect: what is served must not be what is wrong
                log.exception("the topic browser has a fault of its own; it begins anew")
                self._fault = f"a fault of its own: {type(error).__name__}: {error}"
            finally:
                pause = PAUSES_S[0] if self.following else pause
                self._forget()
                with suppress(BrokerError):
                    await subscription.close()
            self.changed()
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _forget(self) -> None:
        self.following = self._connected = False
        self._behind_since = None
        self._dropped_before += self.index.dropped
        self.index = Index(self._limits)

    async def _follow(self, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()
        self.index = index = await self._load()
        self.following, self._fault = True, ""
        self.changed()
        last = -1
        while True:
            messages = await subscription.read(CHUNK)
            if messages[0].offset <= last:
                raise BrokerError(f"the log was read up to offset {last} and goes on before that: it is another log")
            last = messages[-1].offset
            index.update(messages, loop.time())
            self._messages += len(messages)
            for listener in self._listeners:
                listener(messages)
            if len(messages) < CHUNK:
                self._behind_since = None
                await asyncio.sleep(GATHER_S)
            else:
                self._behind_since = self._behind_since or loop.time()
                await asyncio.sleep(0)

    async def _load(self) -> Index:
        """The last values. A broker that cannot give them yet is asked again; the subscription stays where it began."""
        pause, longest = PAUSES_S
        while True:
            try:
                async with asyncio.timeout(LOAD_WITHIN_S):
                    infos = await self._broker.topics()
                return await loaded(infos, self._limits, asyncio.get_running_loop().time())
            except TimeoutError:
                self._fault = f"the broker did not give its topics within {LOAD_WITHIN_S:g} s"
            except BrokerError as error:
                self._fault = str(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

"""The live stream of topics, as Server-Sent Events.

    event: topics   a list of topics as they are now: first those that the client asked to begin with, then those that changed
    event: time     the agent's clock, when nothing else was said          event: end   why the stream ends

As with the stream of workers (`setpoint.api.events`), a client has the names of the topics that changed since it was last written to, and
nothing else: what waits for a slow one never grows beyond one name a topic, and what it gets is always the present. It is written to at
most five times a second, at most `AT_ONCE` topics at a time, those that have waited longest first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from starlette.responses import Response

from setpoint.api import events
from setpoint.api.errors import Refusal
from setpoint.api.events import Changes, Stream, event, now, something
from setpoint.api.shapes import Topic, encode
from setpoint.namespace.topic import PREFIX

if TYPE_CHECKING:
    from setpoint.namespace import Message
    from setpoint.namespace.browser import Browser, Query

AT_ONCE = 1000
"""Topics in one write."""
LOOKED_AT = 10_000
"""Names that are compared with what a client asked for, before one write."""

Show = Callable[[Iterable[str]], list[Topic]]


class TopicClient:
    """One client: what it asked for, and the topics that changed since it was told, in that order."""

    def __init__(self, query: Query, at: frozenset[str]) -> None:
        self.query, self.at = query, at
        self.changed: dict[str, None] = {}
        self.wake = asyncio.Event()

    def take(self, browser: Browser) -> list[str]:
        """The next topics to be told of."""
        told: list[str] = []
        for name in list(islice(self.changed, LOOKED_AT)):
            if len(told) == AT_ONCE:
                break
            del self.changed[name]
            if self._wants(name, browser):
                told.append(name)
        if not self.changed:
            self.wake.clear()
        return told

    def _wants(self, name: str, browser: Browser) -> bool:
        if self.at and name.rpartition(".")[0].removeprefix(PREFIX) not in self.at:
            return False
        entry = browser.index.get(name)
        return entry is not None and self.query.fits(name, entry.headers)


class TopicEvents:
    """Listens to the topic browser on behalf of all clients."""

    def __init__(self, browser: Browser, changes: Changes) -> None:
        self._browser, self._changes = browser, changes
        self._clients: set[TopicClient] = set()
        browser.listen(self._note)

    def _note(self, messages: Sequence[Message]) -> None:
        if self._clients:
            topics = dict.fromkeys([message.topic for message in messages])
            for client in self._clients:
                client.changed |= topics
                client.wake.set()

    def stream(self, query: Query, show: Show, *, at: frozenset[str], limit: int) -> Response:
        """The answer to one more client. Raises `Refusal` (503) when there are too many, or nobody follows the log."""
        if not self._browser.following:
            raise Refusal(
                503, "the topic browser does not follow the namespace", "see the worker of type topic_browser"
            )
        if len(self._clients) >= events.MAX_CLIENTS or self._changes.closed:
            raise Refusal(503, f"there are {len(self._clients)} topic streams open already", "close one and try again")
        return Stream(self._bodies(TopicClient(query, at), show, limit))

    async def _bodies(self, client: TopicClient, show: Show, limit: int) -> AsyncGenerator[bytes, None]:
        browser, loop = self._browser, asyncio.get_running_loop()
        self._clients.add(client)
        try:
            names: Sequence[str] = (await client.query.find(browser.index))[:limit] if limit else ()
            yield b"retry: 1000\n" + event("time", now())
            for start in range(0, max(len(names), 1), AT_ONCE):
                yield event("topics", encode(show(names[start : start + AT_ONCE])))
            spoke = loop.time()
            while browser.following and not self._changes.closed:
                await something(client.wake)
                told = client.take(browser)
                if told or loop.time() - spoke >= events.HEARTBEAT:
                    spoke = loop.time()
                    yield event("topics", encode(show(told))) if told else event("time", now())
                await asyncio.sleep(events.PAUSE)
            why = (
                "the agent is stopping" if self._changes.closed else "the topic browser no longer follows the namespace"
            )
            yield event("end", encode(why))
        finally:
            self._clients.discard(client)

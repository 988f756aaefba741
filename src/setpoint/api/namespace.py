"""The namespace: the topics there are, their last values, and where they are in the tree.

While the topic browser follows the log, it answers: at once, with rates and history. While it does not (it is stopped, or begins anew) the
broker is asked for the last value of each topic, which takes longer; then no rate is known, and the history is that one value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from setpoint.api.errors import Refusal, in_time
from setpoint.api.shapes import Json, Topic, TopicDetail, TopicNode, TopicValue, rfc3339
from setpoint.api.topic_events import TopicEvents
from setpoint.namespace import PayloadError, TimeSeries, decode
from setpoint.namespace import browser as browsing
from setpoint.namespace.browser import Entry, Index, Limits, QueryError, contract_of, loaded
from setpoint.namespace.topic import PREFIX

if TYPE_CHECKING:
    from setpoint.agent import Agent
    from setpoint.api.events import Changes

PRODUCER = "bridged_by"
"""The header in which a flow says on whose behalf it publishes."""
AT_A_TIME = 500
"""Topics that are decoded before others get a turn."""

Contains = Annotated[str, Query(max_length=1000, description="A text that is part of the name.")]
Pattern = Annotated[
    str,
    Query(
        max_length=1000,
        description="For the whole name: * in a segment, ** for any number of segments, ? for one character.",
    ),
]
Meta = Annotated[list[str], Query(max_length=20, description="Metadata that the last message has, as key=value.")]


class Known:
    """What is known of the topics at the moment: the browser's index, or one made of what the broker says."""

    def __init__(self, index: Index, *, followed: bool) -> None:
        self.index, self._followed = index, followed
        self._now = asyncio.get_running_loop().time()

    def topic(self, name: str) -> Topic | None:
        """A topic as clients see it; None when it has gone."""
        entry = self.index.get(name)
        return None if entry is None else shown(entry, now=self._now if self._followed else None)

    async def topics(self, names: Iterable[str]) -> list[Topic]:
        """Many of them, a few at a time."""
        found = []
        for number, name in enumerate(names, 1):
            if (topic := self.topic(name)) is not None:
                found.append(topic)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        return found


async def known(agent: Agent, contains: str = "") -> Known:
    """What is known of the topics that have `contains` in their names, or of more. Raises `Refusal` where the broker has no answer."""
    if agent.browser.following:
        return Known(agent.browser.index, followed=True)
    infos = await in_time(agent.broker.topics(contains), "its topics")
    limits = Limits(topics=len(infos) + 1, history=1)
    return Known(await loaded(infos, limits, asyncio.get_running_loop().time()), followed=False)


def router(agent: Agent, changes: Changes) -> APIRouter:
    """The addresses below ``/topics``."""
    routes = APIRouter()
    events = TopicEvents(agent.browser, changes)

    @routes.get("/topics")
    async def list_topics(
        contains: Contains = "",
        pattern: Pattern = "",
        meta: Meta = [],  # noqa: B006 - never changed
        limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    ) -> Response:
        """The topics that are meant, in order; the header X-Total-Count says how many there are beyond `limit`."""
        query = query_of(contains, pattern, meta)
        there = await known(agent, contains)
        names = await in_time(query.find(there.index), "the topics that are looked for", of="agent")
        return Json(await there.topics(names[:limit]), headers={"X-Total-Count": str(len(names))})

    @routes.get("/topics/tree")
    async def topic_tree(
        at: Annotated[str, Query(max_length=1024, description="The place to look below, without umh.v1.")] = "",
        depth: Annotated[int, Query(ge=1, le=1024)] = 1,
        contains: Contains = "",
        pattern: Pattern = "",
        meta: Meta = [],  # noqa: B006
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> Response:
        """What lies below a place, so many levels deep, of the topics that are meant. X-Total-Count: how many those are everywhere."""
        query = query_of(contains, pattern, meta)
        there = await known(agent, contains)
        names = await in_time(query.find(there.index), "the topics that are looked for", of="agent")
        nodes = await browsing.tree(names, at.removeprefix(PREFIX), depth=depth, limit=limit)
        return Json([_node(node, there) for node in nodes], headers={"X-Total-Count": str(len(names))})

    @routes.get("/topics/events")
    async def topic_events(
        contains: Contains = "",
        pattern: Pattern = "",
        meta: Meta = [],  # noqa: B006
        at: Annotated[list[str], Query(max_length=1000, description="Only topics right below these places.")] = [],  # noqa: B006
        limit: Annotated[int, Query(ge=0, le=10_000, description="Begin with so many topics as they are now.")] = 0,
    ) -> Response:
        """Topics as they change (Server-Sent Events): each at most five times a second, with its latest value."""
        query = query_of(contains, pattern, meta)

        def shown_now(names: Iterable[str]) -> list[Topic]:
            there = Known(agent.browser.index, followed=True)
            return [topic for name in names if (topic := there.topic(name)) is not None]

        return events.stream(query, shown_now, at=frozenset(at), limit=limit)

    @routes.get("/topics/{name:path}")
    async def one_topic(name: str) -> Response:
        """A topic with its last values."""
        there = await known(agent, name)
        entry = there.index.get(name)
        if entry is None:
            raise Refusal(
                404,
                f"there is no topic {name[:200]!r}",
                "look for it: /api/v1/topics?contains=TEXT, setpoint topics TEXT",
            )
        topic = there.topic(name)
        assert topic is not None
        history = [_value(payload, written) for written, payload in entry.history()]
        fields = {field: getattr(topic, field) for field in topic.__struct_fields__}
        return Json(TopicDetail(**fields, history=history))

    return routes


def query_of(contains: str, pattern: str, meta: Iterable[str]) -> browsing.Query:
    """What is looked for. Raises `Refusal` (400) for what cannot be."""
    metadata: dict[str, str] = {}
    for text in meta:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise Refusal(400, f"meta: {text[:100]!r} is not key=value", "write it like meta=bridged_by=press-1")
        metadata[key] = value
    try:
        return browsing.Query(contains, pattern, metadata)
    except QueryError as error:
        raise Refusal(400, str(error)[:300], "correct the parameter") from None


def shown(entry: Entry, *, now: float | None) -> Topic:
    """A topic with its last value decoded, or with the reason why it cannot be; `now` (loop time) is None where no rate is known."""
    last = _value(entry.payload, entry.written)
    return Topic(
        entry.topic,
        last.kind,
        last.value,
        last.timestamp,
        entry.count,
        entry.headers.get(PRODUCER, ""),
        last.problem,
        contract_of(entry.topic),
        None if now is None else float(f"{entry.rate(now):.3g}"),
        entry.headers,
        last.written,
    )


def _value(payload: bytes, written_ms: int) -> TopicValue:
    written = rfc3339(written_ms / 1000)
    try:
        content = decode(payload)
    except PayloadError as error:
        return TopicValue("", None, written, written, str(error))
    if isinstance(content, TimeSeries):
        return TopicValue("time_series", content.value, rfc3339(content.timestamp_ms / 1000) or written, written)
    return TopicValue("relational", content, written, written)


def _node(node: browsing.Node, there: Known) -> TopicNode:
    topic = there.topic(f"{PREFIX}{node.path}") if node.is_topic else None
    children = None if node.children is None else [_node(child, there) for child in node.children]
    return TopicNode(node.name, node.path, node.kind, node.topics, topic, children)

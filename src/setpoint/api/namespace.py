"""The namespace: the topics there are, and the last value of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from setpoint.api.errors import in_time
from setpoint.api.shapes import Json, Topic, rfc3339
from setpoint.namespace import PayloadError, TimeSeries, TopicInfo, decode

if TYPE_CHECKING:
    from setpoint.agent import Agent

PRODUCER = "bridged_by"
"""The header in which a flow says on whose behalf it publishes."""


def router(agent: Agent) -> APIRouter:
    """The addresses below ``/topics``."""
    routes = APIRouter()

    @routes.get("/topics")
    async def list_topics(
        contains: Annotated[str, Query(max_length=1000)] = "",
        limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    ) -> Response:
        """The topics that have `contains` in their name, in order; the header X-Total-Count says how many there are beyond `limit`."""
        found = await in_time(agent.broker.topics(contains), "its topics")
        return Json([topic(info) for info in found[:limit]], headers={"X-Total-Count": str(len(found))})

    return routes


def topic(info: TopicInfo) -> Topic:
    """A topic with its last value decoded, or with the reason why it cannot be."""
    producer, written = info.headers.get(PRODUCER, ""), rfc3339(info.timestamp_ms / 1000)
    try:
        content = decode(info.payload)
    except PayloadError as error:
        return Topic(info.topic, "", None, written, info.count, producer, str(error))
    if isinstance(content, TimeSeries):
        measured = rfc3339(content.timestamp_ms / 1000)
        return Topic(info.topic, "time_series", content.value, measured or written, info.count, producer)
    return Topic(info.topic, "relational", content, written, info.count, producer)

"""Dead letters: messages that flows could not handle, as far as they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from setpoint.api.errors import in_time
from setpoint.api.shapes import Json
from setpoint.flows.letters import kept_letters
from setpoint.services.blocking import in_thread

if TYPE_CHECKING:
    from setpoint.agent import Agent


def router(agent: Agent) -> APIRouter:
    """The address ``/letters``."""
    routes = APIRouter()

    @routes.get("/letters")
    async def list_letters(
        flow: Annotated[str, Query(max_length=1000)] = "", limit: Annotated[int, Query(ge=1, le=10_000)] = 100
    ) -> Response:
        """The newest messages that flows with `flow` in their paths could not handle, each with where it failed and why."""
        letters = in_thread(lambda: kept_letters(agent.letters, flow, limit=limit))
        return Json(await in_time(letters, "the dead letters", of="disk"))

    return routes

"""The application: every address of the interface, in one place.

/healthz  the event loop answers                  /api/v1/workers, /topics, /letters, /machines, /config/status, /events
/readyz   what is wanted has been observed        /metrics, also below /api/v1 like the two before it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from setpoint.api import errors, letters, machines, metrics, namespace, operator, workers
from setpoint.api.access import Access
from setpoint.api.events import Changes
from setpoint.api.shapes import Failure, Json, config

if TYPE_CHECKING:
    from setpoint.agent import Agent

BASE = "/api/v1"


def build(agent: Agent, *, host: str) -> FastAPI:
    """The application for `agent`; see `setpoint.api.create_app`. `app.state.changes.close()` ends its event streams."""
    from setpoint import __version__

    app = FastAPI(
        title="Setpoint",
        version=__version__,
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,  # these pages load scripts from the internet
        redoc_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    app.add_middleware(Access, host=host)
    app.state.changes = changes = Changes(agent)
    for routes in (
        _config(agent),
        _events(changes),
        workers.router(agent),
        operator.router(agent),
        namespace.router(agent, changes),
        machines.router(agent),
        letters.router(agent),
    ):
        app.include_router(routes, prefix=BASE)
    probes = _probes(agent)
    app.include_router(probes)
    app.include_router(probes, prefix=BASE, include_in_schema=False)
    return app


def _config(agent: Agent) -> APIRouter:
    routes = APIRouter()

    @routes.get("/config/status")
    async def config_status() -> Response:
        """Whether the config file is right, what runs, and every problem with its place."""
        return Json(config(agent.config_status()))

    return routes


def _events(changes: Changes) -> APIRouter:
    routes = APIRouter()

    @routes.get("/events")
    async def events() -> Response:
        """What changes, as it changes (Server-Sent Events)."""
        return changes.stream()

    return routes


def _probes(agent: Agent) -> APIRouter:
    routes = APIRouter()

    @routes.api_route("/healthz", methods=["GET", "HEAD"])
    async def health() -> Response:
        """200 while the agent's event loop turns."""
        return Json({"status": "ok"})

    @routes.api_route("/readyz", methods=["GET", "HEAD"])
    async def ready() -> Response:
        """200 once every wanted worker has been observed and the config is right, else 503 with what is missing."""
        ok, text = agent.ready()
        return Json({"status": "ready"}) if ok else Json(Failure(f"not ready: {text}"), status_code=503)

    @routes.get("/metrics")
    async def figures() -> Response:
        """Figures for Prometheus."""
        return Response(await metrics.text(agent), media_type=metrics.MEDIA_TYPE)

    return routes

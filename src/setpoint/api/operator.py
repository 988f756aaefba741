"""The operator's verbs over HTTP: ``POST /api/v1/workers/{path}/{verb}`` with ``{"why": "…", "state": "…"}`` as JSON.

There are no passwords. What keeps a stranger's page in the operator's browser from telling workers what to do is that a body of JSON makes
the browser ask first (CORS preflight), and nobody is told yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from setpoint.api.errors import Refusal
from setpoint.api.shapes import Json
from setpoint.api.workers import found_worker
from setpoint.control import VERBS, NotPossible

if TYPE_CHECKING:
    from setpoint.agent import Agent

LONGEST_BODY = 10_000


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is told to a worker (kept in its history), and for ``force`` the state."""

    why: str
    state: str = ""


def router(agent: Agent) -> APIRouter:
    """The address below ``/workers``."""
    routes = APIRouter()

    @routes.post("/workers/{path:path}/{verb}")
    async def tell(path: str, verb: str, request: Request) -> Response:
        """Tell a worker to pause, resume, disable, enable, restart, retry, or force it to a state."""
        known = next((each for each in VERBS if each == verb), None)
        if known is None:
            raise Refusal(404, f"there is no verb {verb[:100]!r}", f"there are {', '.join(VERBS)}")
        found_worker(agent.supervisor, path)
        order = await _order(request)
        try:
            agent.supervisor.tell(path, known, why=order.why, state=order.state)
        except NotPossible as error:
            raise Refusal(409, str(error)) from error
        await (
            agent.supervisor.saved()
        )  # what was answered shall hold; a disk that hangs is shown by the worker `keeping`
        return Json({"path": path, "verb": known, "why": order.why})

    return routes


async def _order(request: Request) -> Order:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the body is not JSON", 'send {"why": "…"} with Content-Type: application/json')
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise Refusal(413, f"the body is larger than {LONGEST_BODY:,} bytes", "say why in fewer words")
    try:
        return msgspec.json.decode(body, type=Order)
    except msgspec.DecodeError as error:
        raise Refusal(400, f"the body cannot be read: {error}", 'send {"why": "…", "state": "…"}') from error

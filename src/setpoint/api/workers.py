"""Workers: what each one does, why, and what it did before.

A worker is addressed by its path, slashes and all: ``/api/v1/workers/agent/bridges/press-1/explain``. Where the whole of what follows
``/workers/`` is the path of a worker, that worker is meant, even if it ends in ``/explain``.
"""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from setpoint.api.errors import Refusal, in_time
from setpoint.api.shapes import Detail, Explained, Json, Move, Worker, move, rfc3339, ways, worker
from setpoint.control import Supervisor, WorkerDetail
from setpoint.control.views import view
from setpoint.services.blocking import in_thread

if TYPE_CHECKING:
    from setpoint.agent import Agent

LAST_MOVES = 3
_LONGEST_PATH = 500


def router(agent: Agent) -> APIRouter:
    """The addresses below ``/workers``."""
    routes = APIRouter()

    @routes.get("/workers")
    async def list_workers() -> Response:
        """All workers, parents before children."""
        return Json([worker(each) for each in agent.supervisor.workers()])

    @routes.get("/workers/{path:path}")
    async def one_worker(path: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """One worker in full; with ``/explain`` or ``/history`` after its path, why it is where it is, or its last transitions."""
        path, aspect = _split(agent.supervisor, path)
        match aspect:
            case "explain":
                return Json(await explained(agent.supervisor, path))
            case "history":
                return Json(await history(agent.supervisor, path, limit))
            case _:
                return Json(detail(found_worker(agent.supervisor, path)))

    return routes


def _split(supervisor: Supervisor, path: str) -> tuple[str, str]:
    head, _, last = path.rpartition("/")
    if last not in ("explain", "history"):
        return path, ""
    try:
        supervisor.worker(path)
    except KeyError:
        return head, last
    return path, ""


def found_worker(supervisor: Supervisor, path: str) -> WorkerDetail:
    try:
        return supervisor.worker(path)
    except KeyError:
        known = [each.path for each in supervisor.workers()]
        raise Refusal(404, f"there is no worker {path[:_LONGEST_PATH]!r}", _nearest(path, known)) from None


def _nearest(path: str, known: list[str]) -> str:
    """A hint: the path that was probably meant."""
    if len(path) > _LONGEST_PATH:
        return "the list of all is at /api/v1/workers"
    ending = [each for each in known if path and each.endswith("/" + path.strip("/"))]
    near = ending[:1] or get_close_matches(path, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "the list of all is at /api/v1/workers"


def detail(found: WorkerDetail) -> Detail:
    return Detail(
        **{name: getattr(found, name) for name in found.__struct_fields__ if name != "since"},
        since=rfc3339(found.since),
    )


async def history(supervisor: Supervisor, path: str, limit: int) -> list[Move]:
    """The last transitions, oldest first; also of a worker that has been removed. Raises `Refusal` (404) when nothing is known of it."""
    past = await _past(supervisor, path, limit)
    if not past:
        found_worker(supervisor, path)
    return past


async def _past(supervisor: Supervisor, path: str, limit: int) -> list[Move]:
    """The last transitions. They come from the disk, which may hang."""
    return [
        move(each)
        for each in await in_time(
            in_thread(lambda: supervisor.journal.history(path, limit)), "the worker's past", of="store"
        )
    ]


async def explained(supervisor: Supervisor, path: str) -> Explained:
    """Why a worker is where it is. Raises `Refusal` (404) when there is none at that path."""
    found_worker(supervisor, path)
    past = await _past(supervisor, path, LAST_MOVES)
    found = found_worker(supervisor, path)  # as it is now, after the wait
    answer = Explained(detail(found), [], found.state, found.acting, None, _holding(supervisor, found), past)
    try:
        explanation = supervisor.explain(path)
    except KeyError:  # no machine of its own yet
        return answer
    now = asyncio.get_running_loop().time()
    wakes_in = None if explanation.wake_at is None else max(0.0, explanation.wake_at - now)
    return msgspec.structs.replace(
        answer, ways=ways(explanation, now), next=explanation.next, acts=list(explanation.acts), wakes_in=wakes_in
    )


def _holding(supervisor: Supervisor, parent: WorkerDetail) -> list[Worker]:
    """The children that are not yet what their parent waits for: healthy while it is wanted, stopped while it is not."""
    table = supervisor.records
    children = [view(table[path]) for path in parent.children if path in table]
    if parent.desired in ("stopped", "removed"):
        holding = [child for child in children if child.phase not in ("stopped", "")]
    else:
        holding = [child for child in children if child.phase != "healthy" and child.desired != "stopped"]
    return [worker(child) for child in holding]

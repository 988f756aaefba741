"""Machines: the definitions behind the workers, as data and as drawings. Those of the catalogue, and those of workers that users wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from starlette.responses import Response

from setpoint.api.errors import Refusal
from setpoint.api.shapes import Json
from setpoint.machine import Machine, draw, to_dict
from setpoint.workers.catalogue import find_machine, machines

if TYPE_CHECKING:
    from setpoint.agent import Agent

MEDIA_TYPES = {
    "svg": "image/svg+xml",
    "mermaid": "text/plain; charset=utf-8",
    "dot": "text/vnd.graphviz; charset=utf-8",
    "markdown": "text/markdown; charset=utf-8",
}
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A drawing opened by itself may use its own styles and nothing else."""


def router(agent: Agent) -> APIRouter:
    """The addresses below ``/machines``."""
    routes = APIRouter()

    @routes.get("/machines")
    async def list_machines() -> Response:
        """All machines, in short."""
        return Json([summary(machine) for machine in (_running(agent) | machines()).values()])

    @routes.get("/machines/{name}")
    async def one_machine(
        name: str, format: Literal["json", "svg", "mermaid", "dot", "markdown"] = "json", at: str | None = None
    ) -> Response:
        """One machine, by its name or worker type: as data, or drawn, with the state `at` marked."""
        machine = _found(agent, name, at)
        if format == "json":
            return Json(to_dict(machine))
        headers = {"Content-Security-Policy": SVG_POLICY} if format == "svg" else None
        return Response(draw(machine, format=format, at=at), media_type=MEDIA_TYPES[format], headers=headers)

    return routes


def summary(machine: Machine) -> dict[str, Any]:
    """A machine in one line of a table."""
    return {
        "name": machine.name,
        "initial": machine.initial,
        "states": len(machine.states),
        "arcs": len(machine.arcs),
        "doc": machine.doc.partition("\n")[0],
    }


def _running(agent: Agent) -> dict[str, Machine]:
    """The machines of the workers there are, by name."""
    workers = [record.worker for record in agent.supervisor.records.values()]
    return {worker.machine.name: worker.machine for worker in workers if worker is not None}


def _found(agent: Agent, name: str, at: str | None) -> Machine:
    if len(name) > 200:
        raise Refusal(
            404, f"there is no machine of that name ({len(name)} characters)", "the list of all is at /api/v1/machines"
        )
    try:
        machine = find_machine(name)
    except LookupError as error:
        running = _running(agent)
        if name not in running:
            raise Refusal(404, str(error.args[0]), "the list of all is at /api/v1/machines") from None
        machine = running[name]
    if at is not None and at not in machine.by_name:
        raise Refusal(
            404, f"machine {machine.name!r} has no state {at[:100]!r}", f"its states are {', '.join(machine.by_name)}"
        )
    return machine

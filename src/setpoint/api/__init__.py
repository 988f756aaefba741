"""The HTTP interface of a running agent: what its workers do and why, as JSON, as a stream of events and as metrics.

    app      the application: routes, errors, headers       events   the live stream (Server-Sent Events)
    shapes   what the answers look like                     metrics  figures for Prometheus
    access   who may ask                                    server   the socket and the server behind it

Everything is read-only. `create_app` gives an ASGI application for an agent in the same event loop; it is imported when it is called,
because the web framework takes longer to import than all the rest of the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from setpoint.agent import Agent

__all__ = ["create_app"]


def create_app(agent: Agent, *, host: str = "127.0.0.1") -> FastAPI:
    """The application that answers for `agent`, as seen at the address `host` it is bound to."""
    from setpoint.api.app import build

    return build(agent, host=host)

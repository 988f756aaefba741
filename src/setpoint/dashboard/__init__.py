"""The dashboard: one page that shows every worker, why it is where it is, and what flows, live.

The page is plain HTML, CSS and JavaScript in `assets/`, with no framework, no build and no request to anywhere but its own agent. It keeps
no session on the agent: a browser costs one event stream. What it shows comes from machines and is untrusted, so it becomes text and never
markup, and the page's policy forbids everything but its own files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import APIRouter

__all__ = ["router"]


def router() -> APIRouter:
    """The addresses of the page and its files, to be included in the application of the agent's interface."""
    from setpoint.dashboard.pages import router as pages

    return pages()

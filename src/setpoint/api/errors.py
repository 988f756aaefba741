"""Errors: every answer that is not a success is ``{error, hint}`` with the status code that fits."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from setpoint.api.shapes import Failure, Json

T = TypeVar("T")

BROKER_TIMEOUT = 5.0
"""Seconds that an answer waits for the broker."""


class Refusal(Exception):
    """An answer with a status code that is not a success: what is wrong, and what to do."""

    def __init__(self, status: int, error: str, hint: str = "") -> None:
        super().__init__(error)
        self.status, self.error, self.hint = status, error, hint


async def in_time(answer: Awaitable[T], what: str, *, of: str = "broker") -> T:
    """The answer of the broker, or of another part. Raises `Refusal` (503) when it fails or takes too long, so that no request hangs."""
    import asyncio

    from setpoint.namespace import BrokerError

    try:
        async with asyncio.timeout(BROKER_TIMEOUT):
            return await answer
    except TimeoutError:
        raise Refusal(
            503, f"the {of} did not give {what} within {BROKER_TIMEOUT:g} s", "try again; see /readyz"
        ) from None
    except BrokerError as error:
        raise Refusal(
            503, f"the broker cannot give {what}: {error}", "see the state of the worker of type broker"
        ) from None


def install(app: FastAPI) -> None:
    """Have the application answer every failure in the one shape."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return Json(Failure(error.error, error.hint), status_code=error.status)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        hint = "the addresses are listed at /api/v1/openapi.json" if error.status_code == 404 else ""
        text = f"{error.detail}: {request.method} {request.url.path[:200]}"
        return Json(Failure(text, hint), status_code=error.status_code, headers=error.headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return Json(Failure(_faults(error.errors()), "correct the parameter"), status_code=400)

    async def unexpected(_: Request, error: Exception) -> Response:  # the server logs it
        return Json(
            Failure(f"{type(error).__name__} while answering", "the agent's log has the details"), status_code=500
        )

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def _faults(errors: Any) -> str:
    return "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in errors)

"""The calls of trip.yaml. Each booking has the trip's own number, so asking twice for it, or for its end, does no harm."""

import httpx

from setpoint.data.context import Context
from setpoint.data.errors import TimedOut


def book(record: dict, context: Context, what: str) -> None:
    """Raises `TimedOut` where nobody knows whether it is booked now, and `HTTPStatusError` where it is not."""
    try:
        answer = context.require("agency").request(
            "PUT", f"/{what}/{record['trip']}", json={"to": record["to"]}, check=False
        )
    except httpx.ConnectError:
        raise  # it never arrived
    except httpx.TransportError as error:
        raise TimedOut(f"no answer, so it may be booked: {error}") from error
    if answer.status_code >= 500:
        raise TimedOut(f"answer {answer.status_code}, so it may be booked")
    answer.raise_for_status()
    record[what] = answer.json()["number"]


def cancel(record: dict, context: Context, what: str) -> None:
    """Raises `HTTPStatusError`, `TransportError`; what is not there is cancelled."""
    answer = context.require("agency").request("DELETE", f"/{what}/{record['trip']}", check=False)
    if answer.status_code != 404:
        answer.raise_for_status()
    record.pop(what, None)

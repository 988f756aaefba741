"""The operator's verbs over HTTP: told with a reason, kept in the history, refused with a remedy."""

import asyncio
from typing import Any

import pytest
from tests.api.api_shop import client_of, open_shop

from setpoint.api import create_app

PRESS = "/api/v1/workers/agent/press-1"


def tell(*orders: tuple[str, dict[str, Any]], then: str = PRESS) -> list[Any]:
    """The answers to the orders for a press that runs, and the answer to the last question."""

    async def main() -> list[Any]:
        async with open_shop(broker=False) as shop, client_of(create_app(shop)) as client:  # type: ignore[arg-type]
            shop.want("press-1")
            await shop.until("agent/press-1", "pressing")
            answers = [await client.post(path, **content) for path, content in orders]
            await asyncio.sleep(0)
            return [*answers, await client.get(then)]

    return asyncio.run(main())


def test_a_verb_is_obeyed_and_kept_with_its_reason() -> None:
    """Paused, said so, and found in the history."""
    told, detail = tell((f"{PRESS}/pause", {"json": {"why": "looking at it (anna)"}}))
    assert told.json() == {"path": "agent/press-1", "verb": "pause", "why": "looking at it (anna)"}
    assert detail.json()["stalled"] == {"ok": True, "reason": "paused by the operator: looking at it (anna)"}
    _, history = tell((f"{PRESS}/pause", {"json": {"why": "looking (anna)"}}), then=f"{PRESS}/history")
    assert (history.json()[-1]["event"], history.json()[-1]["reason"]) == ("operator_pause", "looking (anna)")


@pytest.mark.parametrize(
    ("path", "content", "status", "error"),
    [
        (f"{PRESS}/explode", {"json": {"why": "x"}}, 404, "there is no verb 'explode'"),
        ("/api/v1/workers/agent/press-9/pause", {"json": {"why": "x"}}, 404, "there is no worker 'agent/press-9'"),
        (f"{PRESS}/force", {"json": {"why": "x", "state": "presing"}}, 409, "did you mean 'pressing'"),
        (f"{PRESS}/pause", {"content": b'{"why": "x"}'}, 415, "the body is not JSON"),
        (f"{PRESS}/pause", {"json": {"because": "x"}}, 400, "the body cannot be read"),
        (f"{PRESS}/pause", {"json": {"why": "x" * 20_000}}, 413, "larger than 10,000 bytes"),
        (f"{PRESS}/pause", {"data": {"why": "x"}}, 415, "the body is not JSON"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    path: str, content: dict[str, Any], status: int, error: str
) -> None:
    """Also a form that a stranger's page could send without asking first."""
    refused, detail = tell((path, content))
    assert (refused.status_code, error in refused.json()["error"]) == (status, True)
    assert not detail.json()["stalled"]["ok"]

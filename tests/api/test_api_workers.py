"""Workers over HTTP: lists, details, explanations and histories, and what is said of a path that is not there."""

import asyncio
import time
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.api_shop import PressSeen, client_of, open_shop, shop_and_client

from setpoint.api import create_app
from setpoint.api.shapes import rfc3339
from setpoint.control import Limits

PRESS = "agent/press-1"


def ask(path: str, *, state: str = "pressing", press: str = "press-1", readings: dict[str, Any] | None = None) -> Any:
    """The answer of a shop with one press that has reached a state."""

    async def main() -> Any:
        async with open_shop(broker=False) as shop, client_of(create_app(shop)) as client:  # type: ignore[arg-type]
            shop.readings |= readings or {}
            shop.want(press)
            await shop.until(f"agent/{press}", state)
            return await client.get(path)

    return asyncio.run(main())


def test_the_list_has_every_worker_with_state_reason_and_since() -> None:
    """Each worker is listed with exactly the fields that programs rely on, its time in RFC 3339 with milliseconds in UTC."""
    answer = ask("/api/v1/workers")
    assert answer.status_code == 200
    press, sensor = answer.json()
    assert (press["path"], sensor["path"]) == (PRESS, f"{PRESS}/sensor")
    assert set(press) == {"path", "type", "state", "phase", "reason", "since", "desired"}
    assert (press["state"], press["phase"], press["reason"]) == ("pressing", "healthy", "under pressure")
    assert press["since"].endswith("Z")
    assert len(press["since"]) == len("2026-01-01T00:00:00.000Z")
    assert abs(datetime.fromisoformat(press["since"]).timestamp() - time.time()) < 60


def test_one_worker_has_its_conditions_and_what_was_observed() -> None:
    """The detail carries the three conditions, the observation with its age, and the children."""
    worker = ask(f"/api/v1/workers/{PRESS}").json()
    assert worker["ready"] == {"ok": True, "reason": ""}
    assert worker["observed"] == {"pressure": 9.0, "note": ""}
    assert 0 <= worker["age"] < 10
    assert worker["children"] == [f"{PRESS}/sensor"]


def test_an_explanation_names_the_guard_that_holds_and_the_fact_behind_it() -> None:
    """A worker that waits says which guard is not met, what that guard means, and what was measured."""
    answer = ask(f"/api/v1/workers/{PRESS}/explain", state="waiting", readings={PRESS: PressSeen(3.0)}).json()
    ways = {way["event"]: way for way in answer["ways"]}
    reached = ways["pressure_reached"]
    assert not reached["open"]
    leaf = reached["guard"]["parts"][0]
    assert (leaf["text"], leaf["ok"], leaf["because"]) == ("has_pressure", False, "3 bar")
    assert 3590 < ways["gave_up"]["opens_in"] <= 3600
    assert 3590 < answer["wakes_in"] <= 3600
    assert [move["event"] for move in answer["history"]] == ["create", "create_done", "start"]


def test_an_explanation_names_the_children_that_hold_their_parent() -> None:
    """A child that is not healthy is listed with its own reason."""
    readings = {f"{PRESS}/sensor": PressSeen(1.0)}

    async def main() -> Any:
        async with shop_and_client("press-1", broker=False) as (shop, client):
            shop.readings |= readings
            await shop.until(f"{PRESS}/sensor", "waiting")
            return (await client.get(f"/api/v1/workers/{PRESS}/explain")).json()

    (holding,) = asyncio.run(main())["holding"]
    assert (holding["path"], holding["state"]) == (f"{PRESS}/sensor", "waiting")


def test_a_child_that_does_not_stop_holds_a_parent_that_shall() -> None:
    """While a worker is told to stop, the children that have not are the ones that hold it."""

    async def main() -> Any:
        async with shop_and_client("press-1", broker=False, limits=Limits(shutdown_per_level=0.1)) as (shop, client):
            shop.readings[f"{PRESS}/sensor"] = PressSeen(9.0, "stuck")
            await shop.until(f"{PRESS}/sensor", "pressing")
            shop.want("press-1", desired_state="stopped")
            await shop.until(PRESS, "stopped")
            return (await client.get(f"/api/v1/workers/{PRESS}/explain")).json()

    explained = asyncio.run(main())
    assert explained["worker"]["desired"] == "stopped"
    assert [(child["path"], child["state"]) for child in explained["holding"]] == [(f"{PRESS}/sensor", "pressing")]


def test_a_worker_without_a_machine_yet_is_explained_by_its_reason() -> None:
    """While the first observation fails there are no ways to show, but there is a reason."""
    readings = {PRESS: RuntimeError("no sensor")}
    answer = ask(f"/api/v1/workers/{PRESS}/explain", state="creating", readings=readings).json()
    assert answer["ways"] == []
    assert answer["worker"]["phase"] == ""
    assert answer["worker"]["age"] is None


def test_history_is_oldest_first_and_limited() -> None:
    """The last transitions come in the order in which they happened; `limit` keeps the latest."""
    answer = ask(f"/api/v1/workers/{PRESS}/history?limit=2").json()
    assert [move["target"] for move in answer] == ["waiting", "pressing"]


def test_history_outlives_its_worker() -> None:
    """What a removed worker did can still be asked for; only its present cannot."""

    async def main() -> tuple[Any, Any]:
        async with shop_and_client("press-1", broker=False) as (shop, client):
            await shop.until(PRESS, "pressing")
            shop.want()
            assert await shop.supervisor.until(lambda s: not s.workers(), 10)
            return await client.get(f"/api/v1/workers/{PRESS}/history"), await client.get(f"/api/v1/workers/{PRESS}")

    past, present = asyncio.run(main())
    assert past.json()[-1]["target"] == "removed"
    assert present.status_code == 404


@pytest.mark.parametrize("name", ["explain", "history", "press 1", "50% & more?", "ü#ñ", "..x", "a+b"])
def test_any_name_can_be_asked_for(name: str) -> None:
    """A worker's name may be a word of the interface or need percent-encoding; it is found all the same."""
    address = f"/api/v1/workers/agent/{quote(name)}"
    assert ask(address, press=name).json()["path"] == f"agent/{name}"
    assert ask(f"{address}/explain", press=name).json()["worker"]["path"] == f"agent/{name}"
    assert ask(f"{address}/history", press=name).json()[0]["path"] == f"agent/{name}"
    assert ask(f"/api/v1/workers/{quote(f'agent/{name}', safe='')}", press=name).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("agent/pres-1", PRESS), ("press-1", PRESS), ("sensor", f"{PRESS}/sensor"), ("press-1/sensor", f"{PRESS}/sensor")],
)
def test_a_path_that_is_not_there_names_the_nearest(wrong: str, meant: str) -> None:
    """A 404 says what was asked for and what was probably meant, as JSON."""
    answer = ask(f"/api/v1/workers/{wrong}/explain")
    assert answer.status_code == 404
    assert answer.json() == {"error": f"there is no worker '{wrong}'", "hint": f"did you mean '{meant}'?"}


@pytest.mark.parametrize("limit", ["0", "-1", "100000", "x", "1e9", ""])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    """A bad parameter is a 400 that names it."""
    answer = ask(f"/api/v1/workers/{PRESS}/history?limit={limit}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("limit: ")


HOSTILE = [
    "../../etc/passwd",
    "%2e%2e%2f%2e%2e",
    "agent%2f..%2f",
    "%00",
    "a" * 20_000,
    "//",
    "/",
    "agent//press-1",
    "%ff%fe",
    "'\"<script>",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_not_found_and_nothing_else(path: str) -> None:
    """Whatever a path contains, the answer is a small JSON error: no file is touched, nothing is echoed at length."""
    answer = ask(f"/api/v1/workers/{path}/explain")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "hint"}
    assert len(answer.content) < 2000


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=40), min_size=1, max_size=20))
def test_no_path_is_an_error_of_the_server(paths: list[str]) -> None:
    """Any text as a path is answered with 200 or 404, never with a 500."""

    async def main() -> list[int]:
        async with shop_and_client("press-1", broker=False) as (shop, client):
            await shop.until(PRESS, "pressing")
            return [(await client.get(f"/api/v1/workers/{quote(path, safe='')}")).status_code for path in paths]

    assert set(asyncio.run(main())) <= {200, 404, 405}


@given(st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 4e9))
def test_a_time_is_rfc3339_or_nothing(seconds: float) -> None:
    """Every moment that a calendar has is written so that it reads back within a millisecond; others are empty."""
    text = rfc3339(seconds)
    if text and 0 <= seconds <= 4e9:
        assert abs(datetime.fromisoformat(text).timestamp() - seconds) <= 0.001
    assert text == "" or text.endswith("Z")


def test_a_stale_worker_says_so() -> None:
    """When observations stop, the list says stale with the cause, and the detail is stalled."""

    async def main() -> Any:
        async with shop_and_client("press-1", broker=False, limits=Limits(stale_after=0.05)) as (shop, client):
            await shop.until(PRESS, "pressing")
            shop.readings[PRESS] = RuntimeError("cable pulled")
            assert await shop.supervisor.until(lambda s: "cable pulled" in s.workers()[0].reason, 10)
            return (await client.get(f"/api/v1/workers/{PRESS}")).json()

    worker = asyncio.run(main())
    assert worker["stalled"]["ok"]
    assert "cable pulled" in worker["stalled"]["reason"]
    assert "cable pulled" in worker["error"]


def test_one_odd_value_does_not_hide_the_others() -> None:
    """A text that is no valid Unicode or a huge number is passed on; list, detail and metrics still answer."""

    async def main() -> list[Any]:
        async with shop_and_client("press-1", "press-2") as (shop, client):
            await shop.until("agent/press-2", "pressing")
            shop.readings[PRESS] = PressSeen(2**70, "\udcff")
            assert await shop.supervisor.until(lambda s: s.worker(PRESS).observed["pressure"] > 9, 10)
            shop.readings[PRESS] = PressSeen(-(2**70), "\udcff")
            await shop.until(PRESS, "slack")
            return [await client.get(f"/api/v1/{path}") for path in ("workers", f"workers/{PRESS}", "metrics")]

    workers, detail, metrics = asyncio.run(main())
    assert len(workers.json()) == 4
    assert workers.json()[0]["reason"] == "lost pressure \udcff"
    assert detail.json()["observed"]["pressure"] == -(2**70)
    assert metrics.status_code == 200

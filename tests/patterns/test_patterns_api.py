"""Calls of an HTTP service: in sequence, in parallel, fanned out, on conditions; and what happens when the service misbehaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.patterns.patterns_folder import enter, module, serving

from setpoint.data.fsm import SimpleFSM
from setpoint.data.resources.http import retry_after


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter("api", tmp_path, monkeypatch)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The service; three calls for a customer must be there at once before it answers any."""
    with serving(module("service").Shop(meet=3)) as running:
        monkeypatch.setenv("SHOP", running.url)  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each pause would have been: none is waited for."""
    seen, sleep = list[float](), asyncio.sleep

    async def noted(seconds: float, result: Any = None) -> Any:
        if seconds:
            seen.append(seconds)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", noted)
    return seen


def carried(file: str, record: dict[str, Any]) -> Any:
    with SimpleFSM(file, trust=True) as fsm:
        return fsm.process(record)


def paths(shop: Any) -> list[str]:
    return [path for _, path, _ in shop.asked]


def profile(customer: int = 7) -> Any:
    return carried("profile.yaml", {"user": "me", "customer": customer})


def test_in_sequence_in_parallel_and_fanned_out(shop: Any) -> None:
    """The token first; then three calls, answered only because they are all there at once; then one for each order, joined in order."""
    result = profile()
    assert result.final_state == "complete"
    assert result.path == ("asked", "known", "with_orders", "complete")
    assert result.data == {
        "user": "me", "customer": 7, "name": "Ada Lovelace", "vip": True, "credit": 5000, "unknown": [],
        "orders": [{"article": "gear-40", "price": 8.5}, {"article": "motor", "price": 640.0}, {"article": "belt", "price": 2.2}],
    }  # fmt: skip
    asked = paths(shop)
    assert asked[0] == "/token"
    assert sorted(asked[1:4]) == ["/customers/7", "/customers/7/credit", "/customers/7/orders"]
    assert sorted(asked[4:]) == ["/articles/belt", "/articles/gear-40", "/articles/motor"]
    assert shop.most >= 3


def test_without_overlap_nothing_would_be_answered(shop: Any) -> None:
    """The proof of the test above: the same calls, one after the other, get no answer."""
    shop.meeting.wait = lambda timeout: type(shop.meeting).wait(shop.meeting, 0.1)
    machine = Path("profile.yaml").read_text()
    chained = machine.replace("{name: together, params: {of: [", "{chain: [").replace(
        '"calls:credit"]}}', '"calls:credit"]}'
    )
    assert chained != machine
    chained = chained.replace("attempts: 4", "attempts: 1")
    Path("chained.yaml").write_text(chained)
    result = carried("chained.yaml", {"user": "me", "customer": 7})
    assert result.error is not None
    assert (result.error.type, result.error.state) == ("RemoteProtocolError", "known")


def test_on_conditions(shop: Any) -> None:
    """Whoever has no credit is asked no further for."""
    result = profile(8)
    assert (result.final_state, result.data["credit"]) == ("no_credit", 0)
    assert not any(path.startswith("/articles") for path in paths(shop))


def test_a_fan_out_keeps_to_its_bound_and_says_what_failed(shop: Any) -> None:
    """Four at a time; what is unknown is set aside with its reason, the others are there, in order."""
    service = module("service")
    service.ORDERS["7"] = ["belt", "no such thing", *["motor"] * 10]
    result = profile()
    assert result.final_state == "incomplete"
    assert [order["article"] for order in result.data["orders"]] == ["belt", *["motor"] * 10]
    [unknown] = result.data["unknown"]
    assert (unknown["item"], unknown["type"]) == ("no such thing", "HTTPStatusError")
    assert "404" in unknown["reason"]
    assert shop.most <= 4


def test_a_token_is_in_no_output(shop: Any) -> None:
    """Neither in the record that comes out nor in one that fails."""
    failed = profile(9)
    assert failed.error is not None
    assert "404" in failed.error.message
    assert "t-me" not in f"{failed.data}{profile().data}"


def test_methods_are_sent_as_they_are(shop: Any) -> None:
    """POST, PUT and DELETE, each with its content, and the answer to POST is used."""
    made = carried("order.yaml", {"user": "me", "do": "make", "article": "motor", "quantity": 1})
    assert made.data["order"] == "1"
    carried("order.yaml", {"user": "me", "do": "change", "order": "1", "quantity": 5})
    assert shop.orders == {"1": {"quantity": 5}}
    carried("order.yaml", {"user": "me", "do": "cancel", "order": "1"})
    assert shop.orders == {}
    assert [one for one in shop.asked if one[1] != "/token"] == [
        ("POST", "/orders", {"article": "motor", "quantity": 1}),
        ("PUT", "/orders/1", {"quantity": 5}),
        ("DELETE", "/orders/1", {}),
    ]
    gone = carried("order.yaml", {"user": "me", "do": "cancel", "order": "1"})
    assert "404" in gone.error.message


def test_what_is_busy_is_asked_again_when_it_says(shop: Any, pauses: list[float]) -> None:
    """After 429 and 503, with growing pauses, and no sooner than Retry-After, as a number or a date."""
    later = formatdate(time.time() + 20, usegmt=True)
    shop.faults["/articles/belt"] = [503, (429, {"retry-after": "7"}), (503, {"retry-after": later})]
    assert profile().final_state == "complete"
    assert paths(shop).count("/articles/belt") == 4
    first, second, third = [pause for pause in pauses if pause > 0.1]
    assert 0.16 <= first <= 0.24
    assert second == 7
    assert 18 <= third <= 20


def test_retry_after_is_read_as_it_may_be_written() -> None:
    """Seconds, or a date (RFC 9110); nonsense and the past mean nothing."""
    at = 1_800_000_000.0

    def said(text: str | bytes) -> float | None:
        return retry_after(httpx.Response(503, headers={"retry-after": text}), lambda: at)

    assert said("120") == 120
    assert said(formatdate(at + 90, usegmt=True)) == 90
    assert said(formatdate(at - 90, usegmt=True)) == 0
    assert [said(text) for text in ("", "soon", "-5", "1e9", b"\xb2")] == [None] * 5
    assert retry_after(httpx.Response(503)) is None


def test_after_the_last_attempt_the_answer_is_the_error(shop: Any, pauses: list[float]) -> None:
    """A POST is not sent twice; a GET is, as often as the file says."""
    shop.faults["/token"] = [503]
    assert "503" in profile().error.message
    assert paths(shop) == ["/token"]
    shop.faults["/customers/7/credit"] = [503] * 9
    shop.meeting.abort = shop.meeting.reset
    result = profile()
    assert (result.error.type, result.error.state) == ("HTTPStatusError", "known")
    assert paths(shop).count("/customers/7/credit") == 4


def test_a_breaker_opens_half_opens_and_closes(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five failures in a row, then nobody is sent there; after the rest one call tries, and when that succeeds all may."""
    monkeypatch.setenv("REST", "0.3")
    shop.faults["/token"] = [500] * 6
    with SimpleFSM("profile.yaml", trust=True) as fsm:

        def types(count: int) -> list[str]:
            results = [fsm.process({"user": "me", "customer": 8}) for _ in range(count)]
            return [result.error.type if result.error else result.final_state for result in results]

        assert types(7) == ["HTTPStatusError"] * 5 + ["BreakerOpen"] * 2
        assert len(shop.asked) == 5
        breaker = fsm.plan.resources.entries["shop"].provider.service.breaker  # type: ignore[union-attr]
        assert _until(breaker, "half-open")
        assert types(2) == ["HTTPStatusError", "BreakerOpen"]
        assert len(shop.asked) == 6
        assert _until(breaker, "half-open")
        assert types(2) == ["no_credit"] * 2
        assert breaker.state == "closed"


def _until(breaker: Any, state: str) -> bool:
    ends = time.monotonic() + 5
    while breaker.state != state and time.monotonic() < ends:
        time.sleep(0.01)
    return bool(breaker.state == state)


def test_a_service_that_does_not_answer_is_given_up(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time-out of the resource: nothing hangs."""
    monkeypatch.setenv("TIMEOUT", "0.2")
    shop.faults["/token"] = [0]
    result = profile()
    shop.released.set()
    assert result.error.type == "ReadTimeout"


def test_calls_keep_to_the_rate(shop: Any, pauses: list[float]) -> None:
    """Ten at once, then fifty a second: forty-four calls need more than half a second of pauses."""
    module("service").ORDERS["7"] = ["motor"] * 40
    began = time.monotonic()
    assert profile().final_state == "complete"
    longest, spent = max(pauses), time.monotonic() - began
    assert longest + spent >= (44 - 10) / 50
    assert longest <= 44 / 50

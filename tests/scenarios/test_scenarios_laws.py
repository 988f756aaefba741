"""The laws behind the workers of the scenarios: what an error asks for, and when a maintenance is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.testing import run
from setpoint.testing.scenarios.maintenance import NIGHT, WEEKEND, UpkeepSpec, maintenance_time
from setpoint.testing.scenarios.sync.relay import Fault, Relay, reached
from setpoint.testing.scenarios.sync.session import Attempts, Outbox, RelayError, Session, Trouble, classify, pause

MOMENTS = st.integers(0, 2 * 366 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@pytest.mark.parametrize(
    ("status", "body", "trouble"),
    [
        (429, "<title>Just a moment...</title>", Trouble.CLOUDFLARE),
        (429, "slow down", Trouble.RATE_LIMIT),
        (200, "<b>Access Denied</b>", Trouble.PROXY),
        (503, "blocked by Zscaler", Trouble.PROXY),
        (401, "", Trouble.INVALID_TOKEN),
        (403, "", Trouble.INVALID_TOKEN),
        (404, "", Trouble.INSTANCE_DELETED),
        (500, "", Trouble.SERVER),
        (599, "", Trouble.SERVER),
        (400, "", Trouble.REJECTED),
        (418, "", Trouble.REJECTED),
    ],
)
def test_an_answer_is_told_apart(status: int, body: str, trouble: Trouble) -> None:
    """By status and page, the page of a proxy or a challenge first."""
    assert classify(status, body) is trouble


@given(st.sampled_from(Trouble), st.integers(1, 10_000))
def test_pauses_grow_and_are_capped(trouble: Trouble, failures: int) -> None:
    """No failure shortens the pause, none makes it longer than five minutes, and only a token is tried again at once."""
    now, later = pause(trouble, failures), pause(trouble, failures + 1)
    assert 0 <= now <= later <= 300
    assert now > 0 or (trouble is Trouble.INVALID_TOKEN and failures == 1)


@given(st.sampled_from(Trouble), st.integers(1, 100), st.floats(0, 1e9))
def test_the_relay_says_when_to_come_back_within_reason(trouble: Trouble, failures: int, after: float) -> None:
    """What the relay says overrides the table, up to ten minutes."""
    assert pause(trouble, failures, after) == min(after, 600)


def test_a_pause_is_measured_from_the_latest_failure() -> None:
    """However long the trouble has lasted, the next failure is followed by a whole pause."""

    async def story() -> None:
        attempts = Attempts(pace=1.0)
        for _ in range(20):
            attempts.failed(RelayError(Trouble.SERVER, "down"))
            await asyncio.sleep(100)
        attempts.failed(RelayError(Trouble.SERVER, "down"))
        await asyncio.sleep(44)
        assert attempts.resting
        await asyncio.sleep(17)
        assert not attempts.resting

    run(story())


@pytest.mark.real
def test_over_a_real_socket_it_is_the_same_protocol() -> None:
    """Log in, push and pull by HTTP on this machine; wrong credentials are refused, and no answer is an error of the network."""

    async def story() -> None:
        relay = Relay(auth_token="right", token_life=60, poll=0.05)
        async with reached(relay, in_process=False) as (url, client):
            session = Session(client, pace=0.05)
            with pytest.raises(RelayError, match="invalid token: 401"):
                await session.log_in(url, "wrong")
            await session.log_in(url, "right")
            assert 0 < session.left <= 60 / 0.05
            relay.send(["in"])
            await session.push([{"content": "out", "traceId": "1"}])
            assert relay.received == ["out"]
            assert [message["content"] for message in await session.pull(1)] == ["in"]
            assert await session.pull(1) == []
            relay.faults.append(Fault(503, headers={"retry-after": "9"}))
            with pytest.raises(RelayError, match="server error: 503") as raised:
                await session.push([{"content": "out", "traceId": "2"}])
            assert raised.value.retry_after == 9
            with pytest.raises(RelayError, match="network: ConnectError"):
                await session.log_in("http://127.0.0.1:1", "right")

    asyncio.run(story())


@given(st.lists(st.integers(1, 5), max_size=40), st.integers(1, 10))
def test_an_outbox_keeps_order_and_bound(taken: list[int], capacity: int) -> None:
    """Whoever puts into a full box waits; what leaves it is what came, in order, and it never holds more than it may."""

    async def story() -> None:
        outbox, left = Outbox(capacity), []

        async def put_all() -> None:
            for number in range(sum(taken)):
                await outbox.put(number)

        putting = asyncio.ensure_future(put_all())
        while len(left) < sum(taken):
            await asyncio.sleep(1)
            batch = outbox.first(taken[len(left) % len(taken)])
            left += [message["content"] for message in batch]
            await outbox.arrived(len(batch))
        await putting
        assert left == list(range(sum(taken)))
        assert outbox.most <= capacity

    run(story())


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=30)))
def test_a_maintenance_is_at_night_unless_it_is_late(now: datetime, age: timedelta) -> None:
    """Before its time only in a weekend night, in time in any night, past its tolerance always; never sooner than that."""
    spec = UpkeepSpec()
    due, because = maintenance_time(now, now - age, spec)
    assert because
    if age >= spec.maintain_every + spec.tolerance:
        assert due
    elif due:
        assert now.hour in NIGHT
        assert age >= spec.maintain_every or now.weekday() in WEEKEND
    if age < spec.maintain_every - spec.tolerance:
        assert not due

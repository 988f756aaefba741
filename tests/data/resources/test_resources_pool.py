"""Pools: limits, the queue, handles that grow old or die, and what is left at the end."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.resources.resource_samples import IT, Async, Clock, Sync, managed

from setpoint.data.definition import Retry
from setpoint.data.resources import (
    Entry,
    Manager,
    Owner,
    PoolSettings,
    ResourceClosed,
    ResourceDeadlock,
    ResourceError,
    ResourceTimeout,
    ResourceUnavailable,
)
from setpoint.data.resources.waiting import finish


def test_nothing_is_opened_before_it_is_needed_and_all_is_closed_at_the_end() -> None:
    """The provider is opened once, by the first who asks, and closed after its handles have ended."""
    provider = Sync()
    manager = managed(provider)
    assert provider.calls == []
    for run in ("a", "b"):
        assert manager.acquire(IT, run) == {"it": 1}
        manager.release(IT, run, True)
    assert manager.close() == []
    assert provider.calls == ["open", "close"]
    assert not provider.alive
    with pytest.raises(ResourceClosed):
        manager.acquire(IT, "c")


def test_records_never_share_a_handle() -> None:
    """Two runs at once have two handles; a run that asks twice for the same resource has one."""
    manager = managed(Sync())
    first = manager.acquire(IT, "a")
    second = manager.acquire(IT, "b")
    assert first != second
    assert manager.acquire({"again": "it"}, "a") == {"again": 1}
    manager.release({"again": "it"}, "a", True)
    assert manager.health()["it"].in_use == 2
    for run in "ab":
        manager.release(IT, run, True)
    assert manager.health()["it"].in_use == 0


def test_a_run_without_a_name_gets_nothing() -> None:
    """Runs that could not be told apart would share handles."""
    with pytest.raises(ResourceError, match="name of its own"):
        managed(Sync()).acquire(IT, "")


@pytest.mark.parametrize("timeout", [0.0, 0.02])
def test_who_waits_too_long_is_told_who_has_it(timeout: float) -> None:
    """The time-out names the holders, with their state; a time-out of zero does not wait at all."""
    manager = managed(Sync(), size=1, timeout=timeout)
    manager.acquire(IT, "run 7", "load")
    with pytest.raises(ResourceTimeout, match=r"none of its 1 handles .* run 7, state load"):
        manager.acquire(IT, "run 8")
    assert manager.health()["it"].timeouts == 1
    manager.release(IT, "run 7", True)
    assert manager.acquire(IT, "run 8")


def test_the_queue_is_in_order_of_asking() -> None:
    """Whoever asked first is served first, and a newcomer does not overtake."""

    async def scenario() -> list[str]:
        manager = managed(Async(), size=1)
        served: list[str] = []
        await manager.acquire(IT, "holder")

        async def ask(run: str) -> None:
            await manager.acquire(IT, run)
            served.append(run)
            await manager.release(IT, run, True)

        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(ask(f"run {number}")))
            await asyncio.sleep(0)
        assert manager.health()["it"].waiting == 5
        assert manager.health()["it"].status == "degraded"
        await manager.release(IT, "holder", True)
        tasks.append(asyncio.create_task(ask("newcomer")))
        await asyncio.gather(*tasks)
        await manager.aclose()
        return served

    assert asyncio.run(scenario()) == [f"run {number}" for number in range(5)] + ["newcomer"]


def test_a_run_that_holds_something_comes_first() -> None:
    """What is half done is ended first: a run with a hold on another resource goes before one that has nothing yet."""

    async def scenario() -> list[str]:
        entry = Entry(Async(), PoolSettings(size=1))
        manager = Manager({"a": Entry(Async()), "b": entry})
        served: list[str] = []
        await manager.acquire({"b": "b"}, "holder")
        await manager.acquire({"a": "a"}, "half done")

        async def ask(run: str) -> None:
            await manager.acquire({"b": "b"}, run)
            served.append(run)
            await manager.release({"b": "b"}, run, True)

        tasks = [asyncio.create_task(ask("fresh")), asyncio.create_task(ask("half done"))]
        await asyncio.sleep(0)
        await manager.release({"b": "b"}, "holder", True)
        await asyncio.gather(*tasks)
        return served

    assert asyncio.run(scenario()) == ["half done", "fresh"]


def test_threads_share_a_pool_within_its_limit() -> None:
    """Eight threads, three handles: never more than three exist, everybody is served, nobody waits for ever."""
    provider = Sync()
    manager = managed(provider, size=3, timeout=20)
    done: list[int] = []

    def work(number: int) -> None:
        for turn in range(40):
            manager.acquire(IT, f"{number}.{turn}")
            manager.release(IT, f"{number}.{turn}", turn % 3 > 0)
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == list(range(8))
    assert provider.most <= 3
    assert manager.health()["it"].taken == 320


def test_cancelled_while_waiting_the_place_goes_to_the_next() -> None:
    """A run that is cancelled in the queue, also at the very moment when its turn comes, takes no handle with it."""

    async def scenario() -> None:
        manager = managed(Async(), size=1)
        await manager.acquire(IT, "holder")
        first = asyncio.create_task(manager.acquire(IT, "first"))
        second = asyncio.create_task(manager.acquire(IT, "second"))
        await asyncio.sleep(0)
        await manager.release(IT, "holder", True)  # grants the first its turn …
        first.cancel()  # … which it never takes
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == {"it": 1}
        await manager.release(IT, "second", True)
        assert manager.health()["it"].in_use == 0
        assert await manager.aclose() == []

    asyncio.run(scenario())


def test_cancelled_while_a_handle_is_ended_none_is_lost() -> None:
    """A run that is cancelled while its old handle is replaced leaves a free place, and no handle that nobody has."""

    class Slow(Async):
        async def release(self, handle: int) -> None:  # type: ignore[override]
            await asyncio.sleep(60)

    async def scenario() -> None:
        clock, provider = Clock(), Slow()
        manager = managed(provider, clock=clock, size=1, idle=5)
        await manager.acquire(IT, "a")
        await manager.release(IT, "a", True)
        clock.now = 10
        replacing = asyncio.create_task(manager.acquire(IT, "b"))
        await asyncio.sleep(0)
        replacing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replacing
        assert provider.lost == [1]
        assert await manager.acquire(IT, "c") == {"it": 2}

    asyncio.run(scenario())


def test_sync_resources_are_awaited_in_an_event_loop() -> None:
    """`awaiting` waits for a sync resource without blocking the loop in which its holder runs."""

    async def scenario() -> None:
        manager = managed(Sync(), size=1, timeout=5).awaiting()
        await manager.acquire(IT, "a")
        waiting = asyncio.create_task(manager.acquire(IT, "b"))
        await asyncio.sleep(0)
        await manager.release(IT, "a", True)
        assert await waiting == {"it": 1}
        await manager.release(IT, "b", True)

    asyncio.run(scenario())


def test_a_thread_wakes_a_task() -> None:
    """A run in a thread gives back what a task of an idle event loop waits for: it goes on at once."""

    async def scenario() -> None:
        manager = managed(Sync(), size=1, timeout=30)
        manager.acquire(IT, "a")
        threading.Timer(0.05, manager.release, (IT, "a", True)).start()
        began = asyncio.get_running_loop().time()
        handles = await asyncio.wait_for(manager.awaiting().acquire(IT, "b"), 6)
        assert handles == {"it": 1}
        assert asyncio.get_running_loop().time() - began < 4, "only its time-out woke it"

    asyncio.run(scenario())


def test_an_async_resource_without_an_event_loop_is_an_error() -> None:
    """A sync batch cannot have it; nothing is left half taken."""
    manager = managed(Async())
    with pytest.raises(ResourceError, match="event loop"):
        finish(manager.acquiring(IT, Owner("a")))
    assert manager.health()["it"].in_use == 0


def test_a_provider_that_is_async_in_part_is_refused() -> None:
    """A coroutine that nobody awaits would be lost: the mixture is an error that names the methods."""

    class Mixed(Sync):
        async def close(self) -> None:  # type: ignore[override]
            pass

    with pytest.raises(ResourceError, match="async close and plain open"):
        managed(Mixed())


def test_a_handle_that_cannot_be_made_is_an_error_without_secrets() -> None:
    """The driver's error is the cause; what it says of passwords is not in ours. The place is free again."""
    provider = Sync()
    provider.failing = 1
    manager = managed(provider, size=1, timeout=0)
    with pytest.raises(ResourceUnavailable, match="ConnectionError: refused") as caught:
        manager.acquire(IT, "a")
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert manager.health()["it"].status == "unhealthy"
    assert manager.acquire(IT, "b") == {"it": 1}
    assert manager.health()["it"].status == "healthy"


def test_making_a_handle_is_retried_as_configured() -> None:
    """Three attempts survive two failures, and only errors of the named types are tried again."""
    provider = Sync()
    provider.failing = 2
    assert managed(provider, retry=Retry(attempts=3)).acquire(IT, "a") == {"it": 1}
    provider.failing = 2
    with pytest.raises(ResourceUnavailable):
        managed(provider, retry=Retry(attempts=3, on=("ValueError",))).acquire(IT, "b")
    assert provider.failing == 1


def test_only_one_opens_and_the_next_tries_when_that_failed() -> None:
    """While one run opens the provider the others wait; if it fails they get their own attempt."""

    class Slow(Async):
        async def open(self) -> None:  # type: ignore[override]
            self.calls.append("open")
            await asyncio.sleep(0)
            if self.calls.count("open") == 1:
                raise ConnectionError("not yet")

    async def scenario() -> None:
        provider = Slow()
        manager = managed(provider)
        answers = await asyncio.gather(*(manager.acquire(IT, run) for run in "abc"), return_exceptions=True)
        assert isinstance(answers[0], ResourceUnavailable)
        assert answers[1:] == [{"it": 1}, {"it": 2}]
        assert provider.calls == ["open", "open"]

    asyncio.run(scenario())


def test_old_and_idle_handles_are_ended() -> None:
    """A handle that lay idle for too long, or is too old, is not handed out; it goes when another is given back, or by `evict`."""
    clock, provider = Clock(), Sync()
    manager = managed(provider, clock=clock, idle=10, lifetime=25)

    def use() -> int:
        handle: int = manager.acquire(IT, "a")["it"]
        manager.release(IT, "a", True)
        return handle

    assert [use(), use()] == [1, 1]
    clock.now = 9
    assert use() == 1
    clock.now = 20
    assert use() == 2
    assert provider.alive == {2}
    clock.now = 28
    assert use() == 2
    clock.now = 37
    assert use() == 2
    clock.now = 45.5
    assert use() == 3, "2 is older than 25 s"
    manager.acquire(IT, "b")
    manager.acquire(IT, "c")
    manager.release(IT, "b", True)
    assert provider.alive == {3, 4}
    clock.now = 55.5
    manager.release(IT, "c", True)
    assert provider.alive == {4}
    clock.now = 66
    manager.evict()
    assert not provider.alive


def test_a_dead_handle_is_not_handed_out() -> None:
    """After lying idle, or after its holder failed, a handle is checked first; one that is dead is replaced."""
    clock, provider = Clock(), Sync()
    manager = managed(provider, clock=clock, check_after=5)
    for ok, now, handle, checks in ((True, 0, 1, 0), (True, 1, 1, 0), (False, 7, 1, 1), (True, 7, 1, 2)):
        clock.now = now
        assert manager.acquire(IT, "a") == {"it": handle}
        assert len([call for call in provider.calls if call.startswith("check")]) == checks
        manager.release(IT, "a", ok)
    provider.dead = {1}
    clock.now = 20
    assert manager.acquire(IT, "a") == {"it": 2}
    assert provider.alive == {2}


def test_what_was_not_given_back_is_reported_by_name() -> None:
    """Closing ends what is still out, warns with run and state, and returns it."""
    clock, provider = Clock(), Sync()
    manager = managed(provider, clock=clock)
    manager.acquire(IT, "run 3", "enrich")
    clock.now = 12
    assert [str(leak) for leak in manager.held(longer_than=10)] == ["it is held by run 3, state enrich for 12.0 s"]
    assert manager.held(longer_than=13) == []
    with pytest.warns(ResourceWarning, match="run 3, state enrich"):
        leaks = manager.close()
    assert [leak.owner for leak in leaks] == [Owner("run 3", "enrich")]
    assert not provider.alive
    manager.release(IT, "run 3", True)


def test_closing_frees_those_who_wait() -> None:
    """A run in the queue gets an error when the resource is closed, at once."""

    async def scenario() -> None:
        manager = managed(Async(), size=1)
        await manager.acquire(IT, "a")
        waiting = asyncio.create_task(manager.acquire(IT, "b"))
        await asyncio.sleep(0)
        with pytest.warns(ResourceWarning):
            await manager.aclose()
        with pytest.raises(ResourceClosed):
            await waiting

    asyncio.run(scenario())


def test_handles_of_an_event_loop_that_ended_are_let_go() -> None:
    """A second `asyncio.run` with the same machine gets a new handle; the old one is dropped without waiting."""
    provider = Async()
    manager = managed(provider)

    async def use() -> Any:
        handles = await manager.acquire(IT, "a")
        await manager.release(IT, "a", True)
        return handles["it"]

    assert [asyncio.run(use()), asyncio.run(use())] == [1, 2]
    assert provider.lost == [1]
    manager.close()
    assert not provider.alive


def test_health_is_tried_where_a_handle_is_to_spare() -> None:
    """`probe` finds what is broken before a record does, and that it is whole again."""
    provider = Sync()
    manager = managed(provider)
    assert manager.health()["it"].status == "unknown"
    provider.failing = 1
    assert manager.probe()["it"].status == "unhealthy"
    assert manager.probe()["it"].status == "healthy"
    provider.dead = {1}
    assert manager.probe()["it"].status == "unhealthy"
    assert manager.probe()["it"].status == "healthy"
    assert asyncio.run(managed(Async()).aprobe())["it"].status == "healthy"


def test_two_that_wait_for_each_other_are_found() -> None:
    """A circle over two states is refused at the moment it would close, and the other run goes on."""

    async def scenario() -> None:
        manager = Manager({name: Entry(Async(), PoolSettings(size=1)) for name in "ab"})
        await manager.acquire({"a": "a"}, "one")
        await manager.acquire({"b": "b"}, "two")
        waiting = asyncio.create_task(manager.acquire({"b": "b"}, "one"))
        await asyncio.sleep(0)
        with pytest.raises(ResourceDeadlock, match="two would wait for ever, for one"):
            await manager.acquire({"a": "a"}, "two")
        await manager.release({"b": "b"}, "two", False)
        assert await waiting == {"b": 1}

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_waiting_for_one_of_several_holders_is_no_circle() -> None:
    """Where one holder of the resource can still go on, the run waits: it is not stuck."""

    async def scenario() -> None:
        manager = Manager({"a": Entry(Async(), PoolSettings(size=2)), "b": Entry(Async(), PoolSettings(size=1))})
        await manager.acquire({"a": "a"}, "one")
        await manager.acquire({"a": "a"}, "free")
        await manager.acquire({"b": "b"}, "two")
        first = asyncio.create_task(manager.acquire({"b": "b"}, "one"))
        await asyncio.sleep(0)
        second = asyncio.create_task(manager.acquire({"a": "a"}, "two"))
        await asyncio.sleep(0)
        await manager.release({"a": "a"}, "free", True)
        await second
        await manager.release({"b": "b"}, "two", True)
        await first

    asyncio.run(asyncio.wait_for(scenario(), 5))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2), st.booleans())
def test_whatever_runs_ask_for_they_all_end(seed: int, size: int, keep: bool) -> None:
    """Random runs over random sets of resources, some nested and out of order: each ends, by its work or by a deadlock found."""
    chance = random.Random(seed)
    names = "abcd"

    async def scenario() -> None:
        providers = {name: Async() for name in names}
        manager = Manager({name: Entry(providers[name], PoolSettings(size=size, timeout=None)) for name in names})

        async def run(name: str, plan: list[tuple[list[str], list[str]]]) -> None:
            for outer, inner in plan:
                try:
                    await manager.acquire({n: n for n in outer}, name)
                    await asyncio.sleep(0)
                    try:
                        if keep:
                            await manager.acquire({n: n for n in inner}, name)
                            await asyncio.sleep(0)
                            await manager.release({n: n for n in inner}, name, True)
                    finally:
                        await manager.release({n: n for n in outer}, name, True)
                except ResourceDeadlock:
                    assert keep, "resources taken together are taken in one order"
            await manager.finish(name, True)

        def some() -> list[str]:
            return chance.sample(names, chance.randint(1, 3))

        tasks = []
        for number in range(8):
            tasks.append(run(f"run {number}", [(some(), some()) for _ in range(3)]))
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert all(provider.most <= size for provider in providers.values())
        assert all(health.in_use == 0 for health in manager.health().values())
        assert await manager.aclose() == []
        assert not any(provider.alive for provider in providers.values())

    asyncio.run(scenario())

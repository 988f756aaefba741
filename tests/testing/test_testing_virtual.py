"""Virtual time: it jumps, it never waits for ever, and its two clocks can misbehave."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from setpoint.testing import EPOCH, WaitsForEver, freeze, jump_wall, run, wall


def test_sleeping_takes_no_time() -> None:
    """A day passes for the loop and for the wall clock, in much less than a second of ours."""

    async def day() -> tuple[float, float]:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time(), wall()

    before = time.monotonic()
    assert run(day()) == (86_400, EPOCH + 86_400)
    assert time.monotonic() - before < 5


def test_waiting_for_what_nobody_can_send_is_an_error_at_once() -> None:
    """No timer, no thread, no descriptor: the message names the task and the line it waits at."""

    async def waits() -> None:
        await asyncio.Event().wait()

    with pytest.raises(WaitsForEver, match=r"no timer is set, at 0 s .*\n.*test_testing_virtual.py:\d+ in .*waits"):
        run(waits())


def test_waiting_while_timers_go_on_for_ever_ends_with_patience() -> None:
    """A supervisor never runs out of timers: the run ends after its real time, and names both who waits and who turns."""

    async def turns() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(1)

    async def waits() -> None:
        turning = asyncio.create_task(turns())
        await asyncio.Event().wait()
        turning.cancel()

    with pytest.raises(WaitsForEver, match=r"(?s)not done after 0.2 s of real time.*in .*waits") as raised:
        run(waits(), patience=0.2)
    assert "turns" in str(raised.value)


def test_a_task_that_ignores_its_end_does_not_hang_the_test() -> None:
    """After the main coroutine the others are cancelled; one that goes on is given up in the end."""

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        task = asyncio.create_task(stubborn())
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be left behind
        await asyncio.sleep(1)

    with pytest.raises(WaitsForEver, match="stubborn"):
        run(main(), patience=0.2)


def test_the_clock_does_not_jump_over_a_thread_that_answers() -> None:
    """Real work in a thread ends, though no timer is set meanwhile."""

    async def main() -> str:
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    assert "asyncio" in run(main())


def test_the_wall_clock_can_be_set_and_the_loop_does_not_notice() -> None:
    """Back by an hour: timers ring when they should."""

    async def main() -> tuple[float, float]:
        jump_wall(-3600)
        await asyncio.sleep(10)
        return asyncio.get_running_loop().time(), wall()

    assert run(main()) == (10, EPOCH - 3600 + 10)


def test_in_a_freeze_time_passes_and_nothing_runs() -> None:
    """What was due in it runs right after it, late and once."""

    async def main() -> list[float]:
        loop, rang = asyncio.get_running_loop(), list[float]()
        for due in (1.0, 2.0, 50.0):
            loop.call_at(due, lambda: rang.append(loop.time()))
        await freeze(10)
        await asyncio.sleep(1)
        assert rang == [10, 10]
        await asyncio.sleep(60)
        return rang

    assert run(main()) == [10, 10, 50]


def test_time_cannot_be_frozen_backwards() -> None:
    """The loop's clock never goes back, as that of the operating system never does."""

    async def main() -> None:
        await freeze(-1)

    with pytest.raises(ValueError, match="cannot go back"):
        run(main())


def test_a_real_loop_has_no_virtual_clock() -> None:
    """The mistake is named."""

    async def main() -> None:
        jump_wall(1)

    with pytest.raises(RuntimeError, match=r"setpoint\.testing\.run"):
        asyncio.run(main())

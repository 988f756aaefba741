"""The operator's verbs: obeyed over the head of the spec, noted with who and why, and undone by their counterparts."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.samples import Process, World, now, process, reach, state, supervisor, world

from setpoint.control import NotPossible
from setpoint.testing import run


def test_a_paused_worker_is_observed_but_does_nothing() -> None:
    """It crashes and stays down, visibly paused; resumed, it is repaired at once."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        s.tell("top/p", "pause", why="looking at it (anna)")
        world(s, "top/p").running = False
        await asyncio.sleep(60)
        assert s.worker("top/p").observed == {"running": False, "version": 0}
        assert state(s, "top/p") == "running"
        assert s.worker("top/p").stalled.reason == "paused by the operator: looking at it (anna)"
        s.tell("top/p", "resume", why="done (anna)")
        await reach(s, "top/p", "starting", within=0.1)
        await reach(s, "top/p", "running", within=5)
        await s.stop()

    run(main())


def test_a_pause_does_not_hold_up_a_removal_or_the_end() -> None:
    """A paused worker still stops when it has to."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p"), process("q")])
        await reach(s, "top/q", "running")
        await reach(s, "top/p", "running")
        s.tell("top/p", "pause", why="x")
        s.tell("top/q", "pause", why="x")
        s.want([process("q")])
        await reach(s, "top/p", "gone")
        assert await s.stop() == []

    run(main())


def test_a_disabled_worker_stops_until_it_is_enabled() -> None:
    """Its children with it; a new spec does not enable it."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p", children=["c"])])
        await reach(s, "top/p/c", "running")
        s.tell("top/p", "disable", why="maintenance (ben)")
        await reach(s, "top/p", "stopped")
        await reach(s, "top/p/c", "stopped")
        s.want([process("p", children=["c"], version=2)])
        await asyncio.sleep(30)
        assert state(s, "top/p") == "stopped"
        assert s.workers()[0].reason == "disabled by the operator: maintenance (ben)"
        s.tell("top/p", "enable", why="done (ben)")
        await reach(s, "top/p/c", "running")
        await s.stop()

    run(main())


def test_a_restart_stops_the_worker_and_makes_it_anew() -> None:
    """It goes through its stop, another object takes its place, and it comes back; its row, history and counts go on."""

    async def main() -> None:
        outside = World()
        s = supervisor(process=lambda: Process(outside))
        s.want([process("p")])
        await reach(s, "top/p", "running")
        before = s.records["top/p"].worker
        s.tell("top/p", "restart", why="stuck (ben)")
        await reach(s, "top/p", "stopping")
        await reach(s, "top/p", "running")
        assert s.records["top/p"].worker is not before
        assert s.records["top/p"].starts == 2
        events = [move.event for move in s.journal.history("top/p")]
        after = events[events.index("operator_restart") :]
        assert after == [
            "operator_restart",
            "stop",
            "stop_done",
            "recreate",
            "create",
            "create_done",
            "start",
            "start_done",
        ]
        s.tell("top/p", "disable", why="x")
        await reach(s, "top/p", "stopped")
        with pytest.raises(NotPossible, match="nothing to restart"):
            s.tell("top/p", "restart", why="x")
        await s.stop()

    run(main())


def test_a_restart_is_never_turned_into_a_removal_however_long_the_stop_takes() -> None:
    """One that does not stop within the restart time is made anew as it is, and its history says so."""

    async def main() -> None:
        outside = World()
        s = supervisor(process=lambda: Process(outside))
        s.want([process("p")])
        await reach(s, "top/p", "running")
        outside.takes = 100.0
        at = now()
        s.tell("top/p", "restart", why="stuck (ben)")
        assert await s.until(lambda s: any(m.event == "recreate" for m in s.journal.history("top/p")), 60)
        assert now() - at == pytest.approx(30, abs=0.1)
        made = next(m for m in s.journal.history("top/p") if m.event == "recreate")
        assert made.reason == "restarted by the operator: stuck (ben); made anew although it has not stopped"
        outside.takes = 0.1
        await reach(s, "top/p", "running", within=300)
        await s.stop()

    run(main())


def test_a_paused_worker_cannot_be_restarted() -> None:
    """It would be made anew without being stopped; the one who asks is told, and nothing happens."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        s.tell("top/p", "pause", why="hands off (eva)")
        with pytest.raises(NotPossible, match=r"paused \(hands off \(eva\)\); resume it first"):
            s.tell("top/p", "restart", why="script")
        await asyncio.sleep(60)
        assert (state(s, "top/p"), s.records["top/p"].starts) == ("running", 1)
        await s.stop()

    run(main())


def test_a_pause_during_a_restart_holds_it_until_the_worker_is_resumed() -> None:
    """However long: it is not made anew over what still runs."""

    async def main() -> None:
        outside = World()
        s = supervisor(process=lambda: Process(outside))
        s.want([process("p")])
        await reach(s, "top/p", "running")
        s.tell("top/p", "restart", why="stuck (ben)")
        s.tell("top/p", "pause", why="hands off (eva)")
        await asyncio.sleep(120)
        assert outside.running
        assert s.records["top/p"].starts == 1
        s.tell("top/p", "resume", why="done (eva)")
        await s.until(lambda s: s.records["top/p"].starts == 2, 60)
        await reach(s, "top/p", "running")
        assert len(outside.calls("stop")) == 1
        await s.stop()

    run(main())


def test_a_retry_ends_the_wait_that_failures_caused() -> None:
    """What would be tried again in a minute is tried now."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "starting")
        world(s, "top/p").start_fails = "no such file"
        await asyncio.sleep(300)
        world(s, "top/p").start_fails = ""
        before = len(world(s, "top/p").calls("start"))
        s.tell("top/p", "retry", why="file is there now (anna)")
        await reach(s, "top/p", "running", within=1.0)
        assert len(world(s, "top/p").calls("start")) == before + 1
        await s.stop()

    run(main())


def test_a_forced_state_is_taken_and_the_machine_goes_on_from_there() -> None:
    """With the move and its reason in the history; a state that does not exist is refused with the nearest name."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        s.tell("top/p", "force", state="starting", why="start it again (anna)")
        await s.changes()
        await reach(s, "top/p", "running", within=5)
        moves = [(move.event, move.reason) for move in s.journal.history("top/p")]
        assert ("operator_force", "start it again (anna)") in moves
        assert ("forced", "forced by the operator") in moves
        with pytest.raises(NotPossible, match="no state 'runing'; did you mean 'running'"):
            s.tell("top/p", "force", state="runing", why="x")
        await s.stop()

    run(main())


def test_a_worker_that_does_not_exist_cannot_be_told_anything() -> None:
    """The caller hears it."""

    async def main() -> None:
        s = supervisor()
        with pytest.raises(KeyError):
            s.tell("top/nobody", "pause", why="x")
        await s.stop()

    run(main())

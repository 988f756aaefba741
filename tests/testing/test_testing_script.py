"""Scripts: what a worker sees over time, and what its actions change."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.testing.pump import Pump, PumpSeen

from setpoint.testing import Stage, assert_reaches, run, scripted
from setpoint.testing.script import with_fields

RUNNING = PumpSeen(turning=True, bar=4.0)


def test_a_script_plays_in_time() -> None:
    """Changes come when they are due, in their order however they are written; fields that are not named stay."""

    async def story() -> list[str]:
        script = scripted(Pump, RUNNING).at(60, bar=4.5).at(30, bar=1.0).at(10, bar=3.0)
        async with Stage(script, must_stop=False) as stage:
            await stage.reaches("running")
            await stage.reaches("weak", within=40)
            assert 35 <= stage.now < 38  # five seconds without pressure
            await stage.reaches("running", within=30)
            assert 60 <= stage.now < 63
            return stage.states

    assert run(story()) == ["stopped", "starting", "running", "weak", "running"]


def test_actions_of_the_script_take_their_time_and_change_what_is_seen() -> None:
    """The worker's own hands are still; the script keeps who was called when."""
    script = scripted(Pump, PumpSeen()).on("start", turning=True, bar=4.0, takes=3).on("stop", PumpSeen(), takes=1)

    async def story() -> None:
        async with Stage(script) as stage:
            await stage.reaches("running", within=5)
            assert isinstance(stage.worker, Pump)
            assert not stage.worker.on
            stage.want_stopped()
            await stage.reaches("stopped", within=5)
        assert [name for name, _ in script.calls] == ["start", "stop"]
        assert script.calls[0][1] < 1

    run(story())


def test_looking_fails_and_hangs_for_a_while() -> None:
    """A failure keeps its text; a hang is abandoned by the runtime; both pass."""
    script = scripted(Pump, RUNNING).fails(20, "no route", for_=30).hangs(100, for_=40)

    async def story() -> None:
        async with Stage(script, must_stop=False) as stage:
            await asyncio.sleep(25)
            assert stage.view.error == "ObservationFailed: no route"
            await asyncio.sleep(20)
            assert "stale" in stage.view.stalled.reason
            await asyncio.sleep(10)
            assert stage.view.ready.ok
            await asyncio.sleep(60)
            assert "no answer" in stage.view.error
            await asyncio.sleep(120)
            assert stage.view.ready.ok

    run(story())


def test_what_is_seen_can_be_changed_in_the_middle_of_a_story() -> None:
    """For tests in which the moment depends on the worker."""
    script = scripted(Pump, RUNNING)

    async def story() -> None:
        async with Stage(script, must_stop=False) as stage:
            await stage.reaches("running")
            script.becomes(bar=0.5)
            await stage.reaches("weak")

    run(story())


def test_a_script_begins_anew_in_each_run() -> None:
    """So one script serves many tests, and the kit's laws."""
    script = scripted(Pump, PumpSeen()).on("start", turning=True, bar=4.0).at(10, bar=0.0)
    for _ in range(3):
        assert_reaches(script, "weak", within=20)
        assert len(script.calls) == 1


def test_a_slip_in_a_script_is_found_when_it_is_written() -> None:
    """A field or an action that is not there."""
    with pytest.raises(TypeError, match="pressure"):
        scripted(Pump, PumpSeen()).at(5, pressure=3)
    with pytest.raises(ValueError, match="no state acts by 'begin'; there are start, stop"):
        scripted(Pump, PumpSeen()).on("begin", turning=True)


class Model(BaseModel):
    a: int = 1
    b: str = ""


@dataclasses.dataclass(frozen=True)
class Plain:
    a: int = 1
    b: str = ""


@given(st.sampled_from([Model(), Plain()]), st.integers())
def test_fields_change_in_every_kind_of_record(value: object, number: int) -> None:
    """Models and dataclasses as well as structs; the others stay; the original is left alone."""
    changed = with_fields(value, {"a": number})
    assert (changed.a, changed.b) == (number, "")
    assert value in (Model(), Plain())
    with pytest.raises(TypeError, match="c"):
        with_fields(value, {"c": 1})
    with pytest.raises(TypeError, match="no fields"):
        with_fields(3, {"c": 1})

"""Changing a machine while it runs: what is different, who takes the new version when, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.data import ArcDef, PlanError, StateDef
from setpoint.data.change import Edit, differences
from setpoint.data.config import load
from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import NotMigrated, Runs

ORDERS = """
name: orders
states:
  received: {transforms: [{set: {seen: "'v1'"}}], on_complete: priced}
  priced: {on_complete: done}
  done: {final: true}
"""
CHECKED = """
name: orders
version: "2"
states:
  received: {transforms: [{set: {seen: "'v2'"}}], on_complete: checked}
  checked: {on_complete: done}
  done: {final: true}
"""


def test_the_next_record_takes_the_new_version() -> None:
    """What is different is said."""
    fsm = SimpleFSM(ORDERS)
    assert fsm.process({}).path == ("received", "priced", "done")
    found = [str(one) for one in fsm.swap(CHECKED)]
    assert fsm.process({}).path == ("received", "checked", "done")
    assert found == [
        "version changed",
        "arc received -> priced removed",
        "state priced removed",
        "arc priced -> done removed",
        "state received changed",
        "arc received -> checked added",
        "state checked added",
        "arc checked -> done added",
    ]


def test_a_run_in_flight_finishes_with_its_version() -> None:
    """It began with states that the new one has no more."""

    async def scene() -> tuple[Any, Any]:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def slow(record: Any) -> Any:
            reached.set()
            await go_on.wait()
            return record

        fsm = SimpleFSM(ORDERS.replace("priced: {", "priced: {transforms: [slow], "), functions={"slow": slow})
        first = asyncio.create_task(fsm.aprocess({}))
        await reached.wait()
        fsm.swap(CHECKED)
        second = await fsm.aprocess({})
        go_on.set()
        return await first, second

    first, second = asyncio.run(scene())
    assert first.path == ("received", "priced", "done")
    assert second.path == ("received", "checked", "done")


def test_a_stream_takes_the_new_version_with_its_next_chunk() -> None:
    """Each record goes through one version as a whole."""
    fsm = SimpleFSM(ORDERS)

    def source() -> Iterator[dict[str, int]]:
        for n in range(6):
            if n == 3:
                fsm.swap(CHECKED)
            yield {"n": n}

    out: list[Any] = []
    assert fsm.process_stream(source(), out, chunk_size=2).success
    assert [record["seen"] for record in out] == ["v1", "v1", "v2", "v2", "v2", "v2"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ORDERS.replace("on_complete: done", "on_complete: gone"), "gone"),
        (ORDERS.replace("name: orders", "name: others"), "is another machine"),
        (ORDERS + "  lost: {on_complete: lost}\n", "no way leads from here"),
    ],
)
def test_a_version_with_faults_is_not_taken(text: str, fault: str) -> None:
    """The machine goes on as it was."""
    fsm = SimpleFSM(ORDERS)
    before = fsm.plan
    with pytest.raises(ValueError, match=fault):
        fsm.swap(text)
    assert fsm.plan is before
    assert fsm.process({}).success


WAITING = """
name: approval
version: "{version}"
states:
  {asked}: {{arcs: [{{target: done, event: approved}}]}}
  done: {{final: true}}
"""


def test_waiting_runs_move_by_a_migration_or_nothing_changes(tmp_path: Path) -> None:
    """A migration that has no place for one of them is refused as a whole."""
    runs = Runs(tmp_path / "runs.sqlite")
    fsm = SimpleFSM(WAITING.format(version=1, asked="asked"), runs=runs)
    for n in range(3):
        fsm.process({"n": n}, run=f"r{n}")
    new = WAITING.format(version=2, asked="open")
    with pytest.raises(NotMigrated, match="stands in main:asked"):
        fsm.swap(new, migration={})
    assert fsm.definition.version == "1"
    assert {row.version for row in runs.find(status="waiting")} == {"1"}
    fsm.swap(new, migration={"asked": "open"})
    assert {(row.state, row.version, row.status) for row in runs.find()} == {("open", "2", "waiting")}
    assert fsm.runs.send("r1", "approved").path == ("asked", "done")
    runs.close()


def test_without_a_migration_waiting_runs_keep_their_version(tmp_path: Path) -> None:
    """They are finished by the definition that is kept with them."""
    fsm = SimpleFSM(WAITING.format(version=1, asked="asked"), runs=tmp_path / "runs.sqlite")
    fsm.process({}, run="r")
    fsm.swap(WAITING.format(version=2, asked="open"))
    assert fsm.runs.send("r", "approved").final_state == "done"


def test_states_and_arcs_are_added_removed_and_replaced() -> None:
    """Only the whole is checked, so that the steps may be in any order."""
    edit = Edit(load(ORDERS)).version("3").remove_state("priced")
    with pytest.raises(PlanError, match="no way forward"):
        SimpleFSM(edit.definition)
    edit.add_state(StateDef(name="audited")).add_arc("received", ArcDef(target="audited"))
    edit.add_arc("audited", ArcDef(target="done")).replace_state("done", StateDef(name="closed", final=True))
    edit.replace_arc("received", "audited", ArcDef(target="audited", priority=3))
    assert SimpleFSM(edit.definition).process({}).path == ("received", "audited", "closed")
    edit.add_arc("received", ArcDef(target="closed", name="short", priority=9))
    assert SimpleFSM(edit.definition).process({}).path == ("received", "closed")
    edit.remove_arc("received", "closed", name="short")
    fsm = SimpleFSM(ORDERS)
    assert "version changed" in map(str, fsm.swap(edit.definition))
    assert fsm.process({}).path == ("received", "audited", "closed")


def test_an_edit_of_what_is_not_there_says_what_there_is() -> None:
    """With the nearest name."""
    edit = Edit(load(ORDERS))
    with pytest.raises(KeyError, match="did you mean 'priced'"):
        edit.remove_state("price")
    with pytest.raises(KeyError, match="received -> priced"):
        edit.remove_arc("received", "done")
    with pytest.raises(KeyError, match="replace it"):
        edit.add_state(StateDef(name="done"))


def test_a_version_is_not_different_from_itself() -> None:
    """Wherever it was read from."""
    assert differences(load(ORDERS), load("\n\n" + ORDERS)) == []

"""The seams of the interpreter: events, checkpoints, resources, other processes."""

import asyncio
import pickle
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from setpoint.data import (
    ArcDef,
    Context,
    DataMode,
    Definition,
    Event,
    NetworkDef,
    Pause,
    Plan,
    PlanError,
    Progress,
    Retry,
    Several,
    StateDef,
)

DONE = StateDef(name="done", final=True)


def adds(record: Any) -> Any:
    return {**record, "n": record["n"] + 1}


def machine(*states: StateDef, **more: Any) -> Definition:
    return Definition(name="m", networks=(NetworkDef(name="main", states=(*states, DONE)),), **more)


def chain(count: int, transform: Any = adds) -> Definition:
    names = [f"s{number}" for number in range(count)] + ["done"]
    return machine(
        *(
            StateDef(name=name, transforms=(transform,), arcs=(ArcDef(target=names[at + 1]),))
            for at, name in enumerate(names[:-1])
        )
    )


def test_a_listener_hears_everything_in_order() -> None:
    """Start, each state entered and left, each arc, retries, errors, and the end."""
    events: list[Event] = []
    left = [ValueError("once")]

    def flaky(record: Any) -> Any:
        if left:
            raise left.pop()
        return record

    definition = machine(
        StateDef(name="a", transforms=(flaky,), retry=Retry(attempts=2), arcs=(ArcDef(target="b", name="go"),)),
        StateDef(name="b", transforms=(lambda record: record["missing"],), arcs=(ArcDef(target="done"),)),
    )
    Plan(definition, events=events.append).run({"n": 1}, run="r1")
    assert [(event.kind.value, event.state) for event in events] == [
        ("start", ""), ("enter", "a"), ("retry", "a"), ("exit", "a"), ("arc", "a"), ("enter", "b"), ("error", "b"), ("end", "failed"),
    ]  # fmt: skip
    assert {event.run for event in events} == {"r1"}
    assert (events[4].arc, events[4].target) == ("a -go-> b", "b")
    assert events[6].error is not None
    assert events[6].error.type == "KeyError"


def test_a_listener_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The record goes on, and the failure is in the log."""

    def listens(event: Event) -> None:
        raise RuntimeError("of the listener")

    assert Plan(chain(2), events=listens).run({"n": 0}).data == {"n": 2}
    assert "a listener failed" in caplog.text


def test_a_run_is_kept_after_each_state_and_resumed() -> None:
    """From any of its checkpoints, each a few bytes of plain data beside the record; the names in it survive a new plan."""
    kept: list[Progress] = []
    whole = Plan(chain(4), checkpoint=kept.append).run({"n": 0})
    assert [progress.tokens[0].state for progress in kept] == ["s1", "s2", "s3", "done"]
    for progress in kept:
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(progress), type=Progress)
        result = Plan(chain(4)).resume(again)
        assert (result.data, result.path) == (whole.data, whole.path)


def test_a_checkpoint_that_fails_ends_the_run() -> None:
    """Nothing goes on that could not be kept: the exception is the caller's."""

    def full(progress: Progress) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Plan(chain(2), checkpoint=full).run({"n": 0})


def test_a_split_run_is_kept_whole() -> None:
    """The parts that are done and those that are not: resumed, the result is the same."""
    kept: list[Progress] = []
    definition = machine(
        StateDef(
            name="a", transforms=(lambda record: Several([{"n": 1}, {"n": 2}, {"n": 3}]),), arcs=(ArcDef(target="b"),)
        ),
        StateDef(name="b", transforms=(adds,), arcs=(ArcDef(target="done"),)),
    )
    whole = Plan(definition, checkpoint=kept.append).run({})
    assert [part.data["n"] for part in whole.parts] == [2, 3, 4]
    for progress in kept:
        result = Plan(definition).resume(pickle.loads(pickle.dumps(progress)))
        assert (result.final_state, result.data, result.path) == (whole.final_state, whole.data, whole.path)


def test_a_plan_awaits_an_asynchronous_checkpoint() -> None:
    """It makes the plan asynchronous."""
    kept: list[str] = []

    async def keep(progress: Progress) -> None:
        await asyncio.sleep(0)
        kept.append(progress.tokens[0].state)

    plan = Plan(chain(2), checkpoint=keep)
    assert plan.is_async
    assert asyncio.run(plan.arun({"n": 0})).success
    assert kept == ["s1", "done"]


class Supply:
    """Resources that note what is asked of them."""

    is_async = False

    def __init__(self, *, broken: str = "") -> None:
        self.calls: list[str] = []
        self.broken = broken
        self.owners: set[str] = set()

    def _note(self, what: str, owner: str) -> None:
        self.calls.append(what)
        self.owners.add(owner)
        if self.broken and what.startswith(self.broken):
            raise ConnectionError(f"{what} failed")

    def acquire(self, names: Mapping[str, str], owner: str, state: str = "") -> dict[str, str]:
        self._note(f"acquire {','.join(names.values())} in {state}", owner)
        return {role: f"handle of {name}" for role, name in names.items()}

    def release(self, names: Mapping[str, str], owner: str, ok: bool) -> None:
        self._note(f"release {','.join(names.values())} {ok}", owner)

    def finish(self, owner: str, ok: bool) -> None:
        self._note(f"finish {ok}", owner)

    def drop(self, owner: str) -> None:
        self._note("drop", owner)

    def free(self, names: Mapping[str, str]) -> bool:
        return True

    def awaiting(self) -> "Supply":
        return self


def supplied(function: Any, **state: Any) -> Definition:
    arc = ArcDef(target="done", transforms=(function,), resources={"queue": "q"})
    return machine(StateDef(name="a", transforms=(function,), resources={"db": "main_db"}, arcs=(arc,), **state))


def test_resources_are_there_for_a_state_and_its_arcs_and_given_back() -> None:
    """By role, for as long as they are needed, in reverse order, and the run says how it ended."""
    supply, seen = Supply(), []

    def uses(record: Any, context: Context) -> None:
        seen.append(dict(context.resources))
        assert context.require("db") == "handle of main_db"

    assert Plan(supplied(uses), resources=supply).run({}).success
    assert seen == [{"db": "handle of main_db"}, {"db": "handle of main_db", "queue": "handle of q"}]
    assert supply.calls == [
        "acquire main_db in a", "acquire q in a", "release q True", "release main_db True", "finish True"
    ]  # fmt: skip


def test_every_attempt_acquires_and_releases_and_says_how_it_went() -> None:
    """A failed attempt is told as such, so that a transaction can be undone; a failed run as well."""
    supply = Supply()

    def fails(record: Any) -> Any:
        raise ValueError

    assert not Plan(supplied(fails, retry=Retry(attempts=2)), resources=supply).run({}).success
    assert supply.calls == ["acquire main_db in a", "release main_db False"] * 2 + ["finish False"]


@pytest.mark.parametrize("broken", ["acquire", "release", "finish"])
def test_what_resources_raise_is_an_error_of_the_record(broken: str) -> None:
    """One that cannot be had, given back or committed is never a success."""
    result = Plan(supplied(lambda record: None), resources=Supply(broken=broken)).run({})
    assert (result.success, result.error and result.error.type) == (False, "ConnectionError")


def test_owners_of_runs_differ() -> None:
    """No two records share a handle."""
    supply = Supply()
    plan = Plan(supplied(lambda record: None), resources=supply)
    plan.run({})
    plan.run({})
    assert len(supply.owners) == 2


def test_a_walk_that_is_thrown_away_drops_what_it_has() -> None:
    """A debugger that stops in the middle leaves nothing behind."""
    supply = Supply()
    walk = Plan(supplied(lambda record: None), resources=supply).steps({})
    assert isinstance(next(walk), Pause)
    assert next(walk).arc == "a -> done"
    walk.close()
    assert supply.calls == ["acquire main_db in a", "drop"]


def test_a_plan_that_names_resources_needs_some() -> None:
    """It is a fault of the plan, not of each record; `require` names the roles there are."""
    with pytest.raises(PlanError, match="pass resources="):
        Plan(supplied(adds))
    with pytest.raises(KeyError, match="it has: none"):
        Context(state="a").require("db")


def test_a_plan_goes_to_another_process_as_what_it_was_made_of() -> None:
    """Functions by reference, seams left behind."""
    plan = Plan(chain(3), events=print)
    other = pickle.loads(pickle.dumps(plan))
    assert (other.events, other.run({"n": 0}).data) == (None, {"n": 3})


def test_pauses_come_before_states_and_arcs() -> None:
    """With the token that stands there, so that a debugger can show it."""
    walk = Plan(machine(StateDef(name="a", arcs=(ArcDef(target="done", name="go"),)), data_mode=DataMode.DIRECT)).steps(
        {"n": 1}
    )
    met = [(pause.token.state, pause.arc) for pause in walk]
    assert met == [("a", ""), ("a", "a -go-> done"), ("done", "")]


def test_using_other_seams_keeps_the_plan_and_the_seams_not_given() -> None:
    """The rows are shared, nothing is compiled again, and what was given before stays."""
    events: list[Event] = []
    kept: list[Progress] = []
    plan = Plan(chain(2), events=events.append, clock=lambda: 7.0)
    other = plan.using(checkpoint=kept.append)
    assert other.rows is plan.rows
    assert other.run({"n": 0}).duration == 0.0
    assert (len(kept), events[0].kind.value, plan.checkpoint) == (2, "start", None)

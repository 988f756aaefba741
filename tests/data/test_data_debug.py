"""The debugger by hand: moves, breakpoints, watches, ways out, changes by hand; and traces."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from setpoint.data import DROP, Several
from setpoint.data.debug import Change, DebugError, Debugger, Moment, Trace
from setpoint.data.definition import Definition
from setpoint.data.fsm import SimpleFSM
from setpoint.machine import ExpressionError, Verdict

SHOP = """
name: shop
main_network: orders
networks:
  - name: orders
    states:
      received:
        transforms: [{set: {total: price * quantity}}]
        arcs:
          - {target: done, condition: total >= 100, target_network: pricing, data_mapping: {total: net}, result_mapping: {gross: total}}
          - small
      small: {final: true}
      done: {final: true}
  - name: pricing
    states:
      taxed: {transforms: [{set: {gross: net * 2}}], on_complete: end}
      end: {final: true}
"""
LOOP = """
name: loop
states:
  up:
    transforms: [{set: {n: n + 1}}]
    arcs: [{target: up, condition: n < 5, name: again}, {target: done}]
  done: {final: true}
"""


def shop(price: int = 50) -> Debugger:
    return SimpleFSM(SHOP).debug({"price": price, "quantity": 3})


def names(moments: tuple[Moment, ...]) -> list[str]:
    return [moment.state for moment in moments]


def test_steps_go_into_a_network_over_it_and_out() -> None:
    """Each to the next state, as it says; the moment says through which arcs the record was pushed."""
    into = shop()
    assert (into.moment.state, into.moment.reason, into.record) == ("received", "start", {"price": 50, "quantity": 3})
    assert into.step().state == "pricing:taxed"
    assert (into.moment.pushed, into.moment.path) == (("received -> done",), ("received",))
    assert into.step_out().state == "done"
    assert into.record == {"price": 50, "quantity": 3, "total": 300}
    over = shop()
    assert over.step_over().state == "done"
    assert over.step_out().result is over.result
    assert over.result is not None
    assert over.result.path == ("received", "pricing:taxed", "pricing:end", "done")


def test_finer_steps_stop_before_the_arc() -> None:
    """The state's functions are done then, and the arc is chosen."""
    debugger = shop()
    moment = debugger.step_arc()
    assert (moment.state, moment.arc, moment.record["total"]) == ("received", "received -> done", 150)
    assert debugger.diff() == [Change("total", debugger.diff()[0].before, 150)]
    assert debugger.step_arc().state == "pricing:taxed"


@pytest.mark.parametrize("mode", ["copy", "reference", "direct"])
def test_back_and_forth_shows_records_as_they_were(mode: str) -> None:
    """In every data mode, at any depth, and calls nothing; stepping on from there calls the functions again."""
    called: list[int] = []

    def adds(record: Any) -> None:
        called.append(len(record["list"]))
        record["list"].append({"n": len(record["list"])})
        record["list"][0]["n"] = 100 * len(record["list"])

    states: dict[str, Any] = {f"s{n}": {"transforms": ["adds"], "on_complete": f"s{n + 1}"} for n in range(3)}
    fsm = SimpleFSM(
        {"name": "m", "data_mode": mode, "states": {**states, "s3": {"final": True}}}, functions={"adds": adds}
    )
    mine = {"list": [{"n": 0}]}
    debugger = fsm.debug(mine)
    seen = [debugger.record]
    while debugger.step().result is None:
        seen.append(debugger.record)
    assert [len(record["list"]) for record in seen] == [1, 2, 3, 4]
    debugger.back(100)
    for number, record in enumerate(seen):
        assert (debugger.moment.number, debugger.record) == (number, record)
        debugger.forth()
    assert called == [1, 2, 3]
    debugger.back(3)
    assert debugger.record == seen[1]
    assert debugger.step().record == seen[2]
    assert called == [1, 2, 3, 2]
    assert names(debugger.moments) == ["s0", "s1", "s2"]
    assert debugger.run().data == seen[3]
    assert mine == {"list": [{"n": 0}]}


def test_moments_are_gone_back_to_over_networks_and_by_number() -> None:
    """Those in deeper networks do not count then, unless there are no others."""
    debugger = shop()
    debugger.step_over()
    assert debugger.back(over=True).state == "received"
    assert debugger.forth(over=True).state == "done"
    assert debugger.back().state == "pricing:end"
    assert debugger.back(over=True).state == "pricing:taxed"
    assert debugger.back(over=True).number == 0
    assert debugger.go(2).state == "pricing:end"
    assert debugger.forth(5, over=True).state == "done"


def test_where_there_is_no_way_it_says_so() -> None:
    """Before the first moment, after the last, on from the end."""
    debugger = shop(1)
    for move, text in ((debugger.back, "the first moment"), (debugger.forth, "the last moment")):
        with pytest.raises(DebugError, match=text):
            move()
    debugger.run()
    with pytest.raises(DebugError, match="the run has ended in 'small'"):
        debugger.step()
    with pytest.raises(DebugError, match="the run has ended: go back"):
        debugger.set("price", 2)
    with pytest.raises(DebugError, match="no arc leads out"):
        debugger.ways()
    with pytest.raises(DebugError, match="there is no moment 9; 0 to 2 are kept"):
        debugger.diff(9)
    assert debugger.run() is debugger.result


def test_only_the_last_moments_are_kept() -> None:
    """As many as were asked for; restart has the first record all the same."""
    debugger = SimpleFSM(LOOP).debug({"n": 0}, history=3)
    debugger.run()
    assert [moment.number for moment in debugger.moments] == [4, 5, 6]
    assert debugger.back(10).number == 4
    assert debugger.restart().record == {"n": 0}
    assert debugger.run().data == {"n": 5}


def test_a_breakpoint_stops_each_time_and_holds_nobody() -> None:
    """At a state, at an arc, with a condition, after some hits; going on always goes on."""
    debugger = SimpleFSM(LOOP).debug({"n": 0})
    at_state = debugger.add_breakpoint("up", when="n > 1", ignore=1)
    at_arc = debugger.add_breakpoint("up->up", when="n == 2")
    stops = []
    while debugger.continue_().result is None:
        stops.append((debugger.moment.reason, debugger.moment.arc, debugger.record["n"]))
    assert stops == [("breakpoint 2", "up -again-> up", 2), ("breakpoint 1", "", 3), ("breakpoint 1", "", 4)]
    assert (at_state.hits, at_arc.hits, str(at_state)) == (3, 1, "up if n > 1")
    debugger.restart()
    assert at_state.hits == 0
    debugger.breakpoints.take(1)
    debugger.breakpoints.take(2)
    assert debugger.add_breakpoint("again", when="n == 4").number == 3
    assert (debugger.continue_().arc, debugger.record) == ("up -again-> up", {"n": 4})
    debugger.breakpoints.take(3)
    assert debugger.continue_().result is not None


def test_breakpoints_stop_other_moves_but_not_run() -> None:
    """Inside a network that is stepped over, too; one without a place asks at every state."""
    debugger = shop()
    debugger.add_breakpoint("pricing:end")
    assert debugger.step_over().state == "pricing:end"
    debugger.restart()
    assert debugger.run().final_state == "done"
    anywhere = shop()
    anywhere.add_breakpoint(when="gross > 0")
    assert anywhere.continue_().state == "pricing:end"
    assert anywhere.breakpoints[0].fault == ""


def test_breakpoints_that_can_never_be_hit_are_refused() -> None:
    """With what was meant; a condition that cannot be answered says so, and is not true."""
    debugger = shop()
    with pytest.raises(KeyError, match="has no state 'recieved': did you mean 'received'"):
        debugger.add_breakpoint("recieved")
    with pytest.raises(KeyError, match="has no arc 'small->done'"):
        debugger.add_breakpoint("small->done")
    with pytest.raises(ExpressionError, match="not an expression"):
        debugger.add_breakpoint("small", when="n >")
    with pytest.raises(ValueError, match="a place"):
        debugger.add_breakpoint()
    made = debugger.add_breakpoint("done", when="nothing > 3")
    assert debugger.continue_().result is not None
    assert (made.hits, made.fault) == (0, "nothing > 3: there is no 'nothing' among price, quantity, total")
    with pytest.raises(KeyError, match="there is no breakpoint 7; there are 1"):
        debugger.breakpoints.take(7)


def test_watches_say_what_changed() -> None:
    """Expressions and dotted paths, also into lists; where there is no value yet the reason."""
    debugger = SimpleFSM(LOOP).debug({"n": 0, "lines": [{"sku": "a-1"}]})
    debugger.watch("n * 2")
    debugger.watch("lines.0.sku")
    debugger.watch("nothing.here")
    debugger.step()
    twice, sku, nothing = debugger.watches
    assert (twice.value, twice.before, twice.changed) == (2, 0, True)
    assert (sku.value, sku.changed) == ("a-1", False)
    assert "there is no 'nothing'" in nothing.fault
    debugger.back()
    assert debugger.watches[0].value == 0
    debugger.unwatch("n * 2")
    assert [watch.text for watch in debugger.watches] == ["lines.0.sku", "nothing.here"]
    with pytest.raises(KeyError, match="is not watched"):
        debugger.unwatch("n * 2")
    with pytest.raises(ExpressionError):
        debugger.watch("__import__('os')")


def test_ways_out_say_which_are_open_and_why() -> None:
    """What the condition read, what it said, what it raised, what it was not asked."""

    def vip(record: Any) -> Verdict:
        return Verdict(False, f"{record['name']} is no vip")

    states = {
        "a": {
            "arcs": [
                {"target": "b", "condition": "n > 3", "name": "big"},
                {"target": "b", "condition": "vip"},
                {"target": "b", "condition": "missing == 1"},
                "b",
            ],
            "on_error": "c",
        },
        "b": {"final": True},
        "c": {"final": True},
    }
    debugger = SimpleFSM({"name": "m", "states": states}, functions={"vip": vip}).debug({"n": 4, "name": "Ada"})
    ways = {way.name: way for way in debugger.ways()}
    big = ways["a -big-> b"]
    assert (big.open, big.because, big.taken, big.condition) == (True, "n = 4", True, "n > 3")
    assert [(way.open, way.because) for way in debugger.ways()[1:]] == [
        (False, "Ada is no vip"),
        (None, "ExpressionError: missing == 1: there is no 'missing' among n, name"),
        (True, "always"),
        (None, "when the state or an arc fails"),
    ]
    debugger.set("n", 1)
    assert [way.taken for way in debugger.ways()] == [False] * 5
    assert debugger.run().final_state == "c"


def test_the_record_is_changed_by_hand_and_the_run_goes_on_with_that() -> None:
    """Before a state, on an arc, and at a moment that is past; what had come later is forgotten."""
    debugger = shop()
    debugger.set("quantity", 1)
    debugger.set("customer.name", "Ada")
    assert debugger.moment.changed
    result = debugger.run()
    assert (result.final_state, result.data) == (
        "small", {"price": 50, "quantity": 1, "customer": {"name": "Ada"}, "total": 50}
    )  # fmt: skip
    debugger.back(2)
    debugger.set("quantity", 10)
    assert len(debugger.moments) == 1
    debugger.step_arc()
    debugger.set("total", 7)
    assert debugger.step().record == {"net": 7}
    debugger.back()
    assert (debugger.moment.arc, debugger.record["total"]) == ("received -> done", 7)
    assert debugger.step().record == {"net": 7}
    debugger.change({"net": 1000})
    assert debugger.run().data["total"] == 2000
    with pytest.raises(DebugError, match="the run has ended"):
        debugger.change({})


@pytest.mark.parametrize("mode", ["copy", "reference", "direct"])
def test_a_change_by_hand_is_seen_in_every_mode(mode: str) -> None:
    """By the functions, and by the error arc that the record takes when they fail."""

    def fails(record: Any) -> Any:
        if record["n"] == 7:
            raise ValueError(f"seven: {record['n']}")
        return record

    states = {
        "a": {"transforms": ["fails"], "on_complete": "b", "on_error": "c"},
        "b": {"final": True},
        "c": {"final": True},
    }
    debugger = SimpleFSM({"name": "m", "data_mode": mode, "states": states}, functions={"fails": fails}).debug({"n": 1})
    debugger.set("n", 7)
    result = debugger.run()
    assert (result.final_state, result.data, result.handled[0].message) == ("c", {"n": 7}, "seven: 7")
    assert [event.kind.value for event in debugger.happened] == ["error"]


def test_places_that_are_not_there_cannot_be_set() -> None:
    """With the reason."""
    debugger = SimpleFSM(LOOP).debug({"n": 0, "lines": [1]})
    debugger.set("lines.0", 5)
    for path in ("lines.1", "lines.x", "n.deep"):
        with pytest.raises(DebugError, match=f"{path} cannot be set"):
            debugger.set(path, 1)
    assert debugger.record == {"n": 0, "lines": [5]}


def test_all_parts_of_a_record_are_seen() -> None:
    """Those that wait for their turn, and the ends of those that are done."""

    def splits(record: Any) -> Any:
        return Several({"n": n} for n in range(3))

    def drops(record: Any) -> Any:
        return DROP if record["n"] == 1 else record

    states = {
        "a": {"transforms": ["splits"], "on_complete": "b"},
        "b": {"transforms": ["drops"], "on_complete": "c"},
        "c": {"final": True},
    }
    debugger = SimpleFSM({"name": "m", "states": states}, functions={"splits": splits, "drops": drops}).debug({})
    moment = debugger.step()
    assert (moment.state, moment.inside) == ("a", True)
    assert [token.record["n"] for token in moment.tokens] == [0, 1, 2]
    debugger.add_breakpoint("c", when="n == 2")
    moment = debugger.continue_()
    assert [token.record["n"] for token in moment.tokens] == [2]
    assert [end.final_state for end in moment.progress.ends] == ["c", "dropped"]
    assert debugger.run().data == ({"n": 0}, {"n": 1}, {"n": 2})


def test_time_at_the_prompt_is_not_time_of_the_run() -> None:
    """Neither for time-outs nor for durations."""
    now = [0.0]
    fsm = SimpleFSM(LOOP)
    fsm.plan.clock = lambda: now[0]
    debugger = fsm.debug({"n": 0}, timeout=10)
    while debugger.step().result is None:
        now[0] += 100
    assert debugger.result is not None
    assert (debugger.result.success, debugger.result.duration) == (True, 0.0)
    fsm.plan.clock = lambda: now.append(now[-1] + 100) or now[-1]  # type: ignore[func-returns-value]
    result = fsm.debug({"n": 0}, timeout=10).run()
    assert result.error is not None
    assert result.error.type == "TimedOut"


def test_a_machine_with_async_functions_is_debugged_in_its_own_loop() -> None:
    """In a running loop the methods refuse, and the twins are there."""

    async def waits(record: Any) -> Any:
        await asyncio.sleep(0)
        return {**record, "waited": True}

    async def is_ready(record: Any) -> bool:
        await asyncio.sleep(0)
        return "waited" in record

    states = {
        "a": {"transforms": ["waits"], "arcs": [{"target": "b", "condition": "is_ready"}]},
        "b": {"on_complete": "c"},
        "c": {"final": True},
    }
    definition = SimpleFSM({"name": "m", "states": states}, functions={"waits": waits, "is_ready": is_ready}).definition
    functions = {"waits": waits, "is_ready": is_ready}
    with SimpleFSM(definition, functions) as fsm, fsm.debug({}) as debugger:
        assert not debugger.ways()[0].open
        assert debugger.step().record == {"waited": True}
        assert debugger.step_out().result is not None

    async def here() -> None:
        debugger = SimpleFSM(definition, functions).debug({})
        with pytest.raises(RuntimeError, match="await the method that begins with a"):
            debugger.step()
        assert (await debugger.astep_arc()).record == {"waited": True}
        assert (await debugger.aways())[0].open
        assert (await debugger.astep()).state == "b"
        debugger.back()
        assert (await debugger.astep_over()).state == "b"
        assert (await debugger.acontinue()).state == "c"
        assert (await debugger.arun()).success
        debugger.close()

    asyncio.run(here())


class Supply:
    """Resources that note what is asked of them."""

    is_async = False

    def __init__(self) -> None:
        self.calls: list[str] = []

    def acquire(self, names: Mapping[str, str], owner: str, state: str = "") -> dict[str, str]:
        self.calls.append("acquire")
        return {role: f"handle of {name}" for role, name in names.items()}

    def release(self, names: Mapping[str, str], owner: str, ok: bool) -> None:
        self.calls.append("release")

    def finish(self, owner: str, ok: bool) -> None:
        self.calls.append("finish")

    def drop(self, owner: str) -> None:
        self.calls.append("drop")

    def unsettled(self, owner: str) -> bool:
        return False

    def free(self, names: Mapping[str, str]) -> bool:
        return True

    def awaiting(self) -> "Supply":
        return self


def test_what_a_run_holds_is_given_back() -> None:
    """When one goes back from an arc, restarts or closes; conditions see what is held there."""

    def has_it(record: Any, context: Any) -> bool:
        return bool(context.resources)

    supply = Supply()
    states = {"a": {"resources": ["db"], "arcs": [{"target": "b", "condition": "has_it"}]}, "b": {"final": True}}
    resources = [{"name": "db", "type": "cache"}]
    fsm = SimpleFSM(
        {"name": "m", "resources": resources, "states": states}, functions={"has_it": has_it}, resources=supply
    )
    debugger = fsm.debug({})
    assert not debugger.ways()[0].open
    debugger.step_arc()
    assert debugger.ways()[0].open
    debugger.back()
    assert supply.calls == ["acquire", "drop"]
    debugger.step_arc()
    debugger.close()
    debugger.close()
    assert supply.calls == ["acquire", "drop"] * 2
    assert debugger.run().success
    assert supply.calls[4:] == ["acquire", "release", "finish"]


def test_a_record_that_waits_is_sent_its_event() -> None:
    """The moment says what it waits for; an event that nobody waits for changes nothing; going back, it waits again."""
    states = {
        "review": {"arcs": [{"target": "done", "event": "approved", "condition": "approved.by == 'Ada'"}]},
        "done": {"final": True},
    }
    fsm = SimpleFSM({"name": "m", "states": states}, checkpoint=lambda progress: None)
    debugger = fsm.debug({"n": 1})
    with pytest.raises(DebugError, match="does not wait here"):
        debugger.send("approved")
    moment = debugger.step()
    assert moment.result is not None
    assert [str(wait) for wait in moment.result.waits] == ["review waits for approved"]
    assert debugger.step().state == "waiting"
    for event, data in (("declined", None), ("approved", {"by": "Eve"})):
        with pytest.raises(Exception, match=event):
            debugger.send(event, data)
    assert debugger.send("approved", {"by": "Ada"}).state == "done"
    assert debugger.run().data == {"n": 1, "approved": {"by": "Ada"}}
    debugger.back(2)
    assert debugger.moment.state == "waiting"
    assert debugger.send("approved", {"by": "Ada"}).state == "done"


def test_what_a_checkpoint_raises_leaves_the_run_where_it_stood() -> None:
    """It goes to whoever moved it; the next move tries again."""
    full = [OSError("disk full")]

    def keeps(progress: Any) -> None:
        if full:
            raise full.pop()

    debugger = SimpleFSM(LOOP, checkpoint=keeps).debug({"n": 0})
    with pytest.raises(OSError, match="disk full"):
        debugger.step()
    assert debugger.moment.number == 0
    assert debugger.step().record == {"n": 1}


def test_a_record_that_cannot_be_copied_is_refused_and_one_that_becomes_so_can_still_be_watched() -> None:
    """In DIRECT mode such records can be carried; there is no way back to them, and it says so."""

    def locks(record: Any) -> None:
        record["lock"] = threading.Lock()

    states = {"a": {"transforms": ["locks"], "on_complete": "b"}, "b": {"on_complete": "c"}, "c": {"final": True}}
    fsm = SimpleFSM({"name": "m", "data_mode": "direct", "states": states}, functions={"locks": locks})
    with pytest.raises(TypeError, match="the record cannot be copied, so there would be no way back"):
        fsm.debug({"lock": threading.Lock()})
    debugger = fsm.debug({})
    debugger.step()
    assert "cannot pickle" in debugger.moment.fault
    assert debugger.step().state == "c"
    debugger.back()
    with pytest.raises(DebugError, match="one cannot go on from here"):
        debugger.step()
    debugger.back()
    assert debugger.run().success


def test_a_big_split_is_debugged_in_reasonable_time() -> None:
    """Records that are not having their turn are copied once, not at every stop."""

    def splits(record: Any) -> Any:
        return Several({"n": n, "deep": {"list": list(range(10))}} for n in range(1000))

    states = {"a": {"transforms": ["splits"], "on_complete": "b"}, "b": {"final": True}}
    debugger = SimpleFSM({"name": "m", "states": states}, functions={"splits": splits}).debug({})
    began = time.perf_counter()
    assert len(debugger.run().parts) == 1000
    assert time.perf_counter() - began < 20
    one, other = debugger.moments[5], debugger.moments[6]
    assert one.tokens[-1] is other.tokens[-1]


def test_a_trace_has_every_event_with_the_record_before_and_after() -> None:
    """As data, and as lines of JSON; what changed the record shows what it was before."""
    fsm = SimpleFSM(SHOP)
    with fsm.trace() as trace:
        fsm.process({"price": 50, "quantity": 3})
    assert fsm.plan.events is None
    kinds = ["start", "enter", "exit", "arc", "enter", "exit", "arc", "enter", "exit", "enter", "exit", "end"]
    assert [entry.kind.value for entry in trace.entries] == kinds
    left = trace.entries[2]
    assert (left.before, left.after) == (
        {"price": 50, "quantity": 3}, {"price": 50, "quantity": 3, "total": 150}
    )  # fmt: skip
    lines = [json.loads(line) for line in trace.lines()]
    assert [line["kind"] for line in lines] == kinds
    assert lines[5]["before"] == {"net": 150}
    assert (lines[5]["after"], lines[5]["network"], lines[5]["path"]) == (
        {"net": 150, "gross": 300}, "pricing", ["received"]
    )  # fmt: skip
    assert lines[2] == trace.entries[2].data()
    assert [entry.at for entry in trace.entries] == sorted(entry.at for entry in trace.entries)


def test_a_trace_shows_records_that_are_changed_in_place_as_they_were() -> None:
    """In DIRECT mode, and whatever JSON cannot say is text."""

    def adds(record: Any) -> None:
        record["list"].append(len(record["list"]))
        record[("a", "key")] = {1, 2}

    states = {"a": {"transforms": ["adds"], "on_complete": "b"}, "b": {"final": True}}
    fsm = SimpleFSM({"name": "m", "data_mode": "direct", "states": states}, functions={"adds": adds})
    with fsm.trace() as trace:
        fsm.process({"list": []})
    assert (trace.entries[1].after, trace.entries[2].before) == ({"list": []}, {"list": []})
    assert trace.entries[2].after["list"] == [0]
    assert "('a', 'key')" in json.loads(list(trace.lines())[2])["after"]


def test_a_trace_is_bounded_and_has_errors_with_their_causes() -> None:
    """The last entries are kept, and how many are not."""

    def broken(record: Any) -> Any:
        raise ValueError("broken")

    definition: Definition = SimpleFSM(SHOP).definition
    with pytest.raises(ValueError, match="at least one"):
        Trace(0)
    fsm = SimpleFSM(
        {"name": "m", "states": {"a": {"transforms": ["broken"], "on_complete": "b"}, "b": {"final": True}}},
        functions={"broken": broken},
    )
    with fsm.trace(limit=3) as trace:
        fsm.process_batch([{"n": n} for n in range(10)])
    assert (len(trace.entries), trace.dropped) == (3, 37)
    error = trace.entries[1].data()["error"]
    assert (error["type"], error["message"], error["state"]) == ("ValueError", "broken", "a")
    assert definition.name == "shop"

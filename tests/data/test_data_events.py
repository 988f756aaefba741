"""Events: who hears what, at every door, and what a listener may do."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from setpoint.data import Event, Kind, Plan, Progress
from setpoint.data.events import Events
from setpoint.data.fsm import SimpleFSM

FAILED_ONCE: list[Any] = []


def flaky(record: Any) -> Any:
    """Fails at every other call."""
    if FAILED_ONCE:
        FAILED_ONCE.clear()
        return {**record, "stored": True}
    FAILED_ONCE.append(record)
    raise ConnectionError("busy")


def broken(record: Any) -> Any:
    raise ValueError("broken")


async def later(record: Any) -> Any:
    await asyncio.sleep(0)
    return record


FULL = """
name: full
{resources}
states:
  read:
    {uses}
    transforms: [flaky]
    retry: {{attempts: 2}}
    arcs: [{{target: check, name: go}}]
  check:
    transforms: [broken]
    arcs: [done]
    on_error: {{target: aside, transform: [{{set: {{aside: true}}}}]}}
  done: {{final: true}}
  aside: {{final: true}}
"""
WITH = FULL.format(resources="resources: [{name: box, type: cache}]", uses="resources: [box]")
WITHOUT = FULL.format(resources="", uses="")
FUNCTIONS = {"flaky": flaky, "broken": broken}
TOLD = [
    ("start", "", ""), ("enter", "read", ""), ("acquired", "read", ""), ("released", "read", ""), ("retry", "read", ""),
    ("acquired", "read", ""), ("exit", "read", ""), ("arc", "read", "read -go-> check"), ("released", "read", ""),
    ("checkpoint", "check", ""), ("enter", "check", ""), ("error", "check", ""), ("checkpoint", "check", ""),
    ("arc", "check", "check -error-> aside"), ("checkpoint", "aside", ""), ("enter", "aside", ""), ("exit", "aside", ""),
    ("end", "aside", ""),
]  # fmt: skip


def kept(progress: Progress) -> None:
    """A checkpoint that keeps nothing."""


def debugged(fsm: SimpleFSM) -> None:
    with fsm.debug({"n": 1}) as debugger:
        while debugger.result is None:
            debugger.step_arc()


DOORS: dict[str, Callable[[SimpleFSM], object]] = {
    "process": lambda fsm: fsm.process({"n": 1}),
    "batch": lambda fsm: fsm.process_batch([{"n": 1}]),
    "stream": lambda fsm: fsm.process_stream([{"n": 1}]),
    "aprocess": lambda fsm: asyncio.run(fsm.aprocess({"n": 1})),
    "abatch": lambda fsm: asyncio.run(fsm.aprocess_batch([{"n": 1}])),
    "astream": lambda fsm: asyncio.run(fsm.aprocess_stream([{"n": 1}])),
    "debug": debugged,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_kind_is_told_at_every_door(door: str) -> None:
    """Start, enter, exit, arc, error, retry, resources, checkpoints and end, in the order in which they happen: exit before the arc."""
    FAILED_ONCE.clear()
    events: list[Event] = []
    with SimpleFSM(WITH, FUNCTIONS, checkpoint=kept) as fsm:
        fsm.on("*", events.append)
        DOORS[door](fsm)
    assert [(event.kind.value, event.state, event.arc) for event in events] == TOLD
    assert {event.kind for event in events} == set(Kind) - {Kind.WAIT}


def test_a_machine_with_async_functions_tells_the_same() -> None:
    """Through its own loop, and in the debugger."""
    for door in ("process", "batch", "stream", "debug"):
        FAILED_ONCE.clear()
        events: list[Event] = []
        with SimpleFSM(
            WITH.replace("[flaky]", "[later, flaky]"), {**FUNCTIONS, "later": later}, checkpoint=kept
        ) as fsm:
            fsm.on("*", events.append)
            DOORS[door](fsm)
        assert [(event.kind.value, event.state, event.arc) for event in events] == TOLD, door


def test_runs_that_are_kept_are_heard(tmp_path: Path) -> None:
    """With the checkpoints that keep them; listeners may come at any time."""
    FAILED_ONCE.clear()
    events: list[Event] = []
    with SimpleFSM(WITH, FUNCTIONS, runs=tmp_path / "runs") as fsm:
        fsm.on("*", events.append)
        fsm.process({"n": 1}, run="one")
    assert [(event.kind.value, event.state, event.arc) for event in events] == TOLD


def test_events_of_other_processes_are_told_here() -> None:
    """Those of each record in order, record after record, with records as they were then."""
    events: list[Event] = []
    fsm = SimpleFSM(WITHOUT, FUNCTIONS)
    fsm.on("*", events.append)
    results = fsm.process_batch([{"n": n} for n in range(4)], processes=2)
    assert [result.final_state for result in results] == ["aside"] * 4
    told = [line for line in TOLD if line[0] not in ("acquired", "released", "checkpoint")]
    assert [(event.kind.value, event.state, event.arc) for event in events] == told * 4
    exits = [event.record for event in events if event.kind is Kind.EXIT and event.state == "read"]
    assert exits == [{"n": n, "stored": True} for n in range(4)]
    failed = next(event for event in events if event.kind is Kind.ERROR)
    assert failed.error is not None
    assert (failed.error.message, failed.error.exception) == ("broken", None)


def test_a_listener_hears_what_it_asked_for() -> None:
    """By kinds, state, arc and network; a state outside the main network with its network's name."""
    FAILED_ONCE.clear()
    fsm = SimpleFSM(WITHOUT, FUNCTIONS)
    heard: list[tuple[str, str]] = []

    def listens(name: str) -> Callable[[Event], None]:
        return lambda event: heard.append((name, f"{event.kind} {event.state}"))

    fsm.on("enter", listens("check"), state="check")
    fsm.on(["arc", Kind.ERROR], listens("arcs"))
    fsm.on("arc", listens("by ends"), arc="check->aside")
    fsm.on("arc", listens("by name"), arc="go")
    fsm.on("end", listens("ended"), state="aside")
    fsm.on("end", listens("never"), state="failed")
    fsm.on("exit", listens("main"), network="main", state="aside")
    fsm.process({"n": 1})
    assert heard == [
        ("arcs", "arc read"), ("by name", "arc read"), ("check", "enter check"), ("arcs", "error check"),
        ("arcs", "arc check"), ("by ends", "arc check"), ("main", "exit aside"), ("ended", "end aside"),
    ]  # fmt: skip


def test_on_is_a_decorator_and_gives_what_ends_it() -> None:
    """When nobody listens any more the machine is as fast as before anybody did."""
    fsm = SimpleFSM({"name": "m", "states": {"a": {"on_complete": "b"}, "b": {"final": True}}})
    heard: list[str] = []

    @fsm.on("enter", state="b")
    def entered(event: Event) -> None:
        heard.append(event.state)

    off = fsm.on("end", lambda event: heard.append("end"))
    fsm.process({})
    off()
    fsm.process({})
    assert heard == ["b", "end", "b"]
    assert callable(entered)

    quiet = SimpleFSM({"name": "m", "states": {"a": {"on_complete": "b"}, "b": {"final": True}}})
    off = quiet.on("end", lambda event: None)
    assert quiet.plan.events is not None
    off()
    off()
    assert quiet.plan.events is None
    assert quiet.plan._stretch is not None


def test_listeners_that_were_given_stay_when_others_come_and_go() -> None:
    """The one of ``events=`` hears everything, first."""
    heard: list[str] = []
    fsm = SimpleFSM(
        {"name": "m", "states": {"a": {"final": True}}}, events=lambda event: heard.append(f"given {event.kind}")
    )
    off = fsm.on("enter", lambda event: heard.append("other"))
    fsm.process({})
    off()
    fsm.process({})
    assert heard[:3] == ["given start", "given enter", "other"]
    assert heard.count("given start") == 2


def test_a_listener_that_fails_is_logged_once_a_kind_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the record nor what others hear."""
    fsm = SimpleFSM({"name": "m", "states": {"a": {"on_complete": "b"}, "b": {"final": True}}})
    heard: list[Kind] = []

    def fails(event: Event) -> None:
        raise RuntimeError("of the listener")

    fsm.on(["enter", "end"], fails)
    fsm.on("*", lambda event: heard.append(event.kind))
    with caplog.at_level(logging.ERROR):
        results = fsm.process_batch([{}, {}])
    assert all(result.success for result in results)
    assert len(heard) == 14
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "a listener failed at enter of state a", "a listener failed at end of state b"
    ]  # fmt: skip


def test_a_listener_is_an_ordinary_function(caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine function is refused at once; one that gives a coroutine is a listener that fails."""
    fsm = SimpleFSM({"name": "m", "states": {"a": {"final": True}}})

    async def waits(event: Event) -> None: ...

    with pytest.raises(TypeError, match="'waits' is a coroutine function, and listeners are not awaited"):
        fsm.on("end", waits)
    fsm.on("end", lambda event: waits(event))
    assert fsm.process({}).success
    assert "it gave a coroutine" in caplog.text


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"kinds": "entr"}, "there are no events 'entr': did you mean 'enter'?"),
        ({"kinds": "enter", "state": "chek"}, "'full' has no state 'chek': did you mean 'check'?"),
        ({"kinds": "arc", "arc": "read->aside"}, "'full' has no arc 'read->aside'"),
        ({"kinds": "arc", "network": "other"}, "'full' has no network 'other': there are: main"),
    ],
)
def test_what_can_never_be_heard_is_refused(asked: dict[str, str], error: str) -> None:
    """With what was probably meant."""
    with pytest.raises((KeyError, ValueError), match=error):
        SimpleFSM(WITHOUT, FUNCTIONS).on(call=lambda event: None, **asked)  # type: ignore[call-overload]


def test_an_event_says_where_and_when() -> None:
    """The token has the path and the networks above; the clock is the plan's."""
    inner = {"name": "inner", "states": {"x": {"on_complete": "y"}, "y": {"final": True}}}
    outer = {
        "name": "outer",
        "states": {"a": {"arcs": [{"target": "b", "target_network": "inner"}]}, "b": {"final": True}},
    }
    networks = [
        {"name": one["name"], "states": [{"name": name, **state} for name, state in one["states"].items()]}  # type: ignore[attr-defined]
        for one in (outer, inner)
    ]
    fsm = SimpleFSM({"name": "m", "main_network": "outer", "networks": networks})
    ticks = iter(range(1000))
    fsm.plan = Plan(fsm.definition, clock=lambda: float(next(ticks)))
    events: list[Event] = []
    fsm.on("*", events.append)
    fsm.process({})
    inside = next(event for event in events if event.kind is Kind.ENTER and event.state == "y")
    assert inside.token is not None
    assert inside.token.path == ("a", "inner:x")
    assert [(frame.network, frame.state) for frame in inside.token.frames] == [("outer", "a")]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert events[0].token is None


def test_a_bus_alone_is_a_listener() -> None:
    """It can be shared by plans that are made without a `SimpleFSM`."""
    heard: list[Kind] = []
    bus = Events()
    off = bus.add(lambda event: heard.append(event.kind))
    plan = Plan(SimpleFSM({"name": "m", "states": {"a": {"final": True}}}).definition, events=bus)
    plan.run({})
    off()
    plan.run({})
    assert heard == [Kind.START, Kind.ENTER, Kind.EXIT, Kind.END]

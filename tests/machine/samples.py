"""Machines and strategies that the tests of the model share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from setpoint.machine import ALWAYS, Arc, Guard, Machine, Phase, Setting, Signal, State, expression, guard, held
from setpoint.machine.seconds import RESUMES

Facts = dict[str, Any]

thorough = hypothesis_settings(deadline=None, max_examples=100)
brief = hypothesis_settings(deadline=None, max_examples=30)


@guard(wanted=True)
def wanted(s: Facts) -> bool:
    "the user wants it running"
    return bool(s["wanted"])


@guard
def alive(s: Facts) -> bool:
    "the process is running"
    return bool(s["alive"])


@guard
def ready(s: Facts) -> bool:
    "it answers"
    return bool(s["ready"])


NAMED = {"wanted": wanted, "alive": alive, "ready": ready}
BRIDGE = (Path(__file__).parent / "bridge.yaml").read_text()


def process() -> Machine:
    """The worker of the design: keeps one process running."""
    stopped = State(Phase.STOPPED, name="stopped")
    starting = State(Phase.STARTING, name="starting", act="start")
    running = State(Phase.HEALTHY, name="running")
    stopping = State(Phase.STOPPING, name="stopping", act="stop")
    arcs: list[Arc | tuple[Arc, ...]] = [
        stopped.to(starting, on="start", when=wanted),
        (starting | running).to(stopping, on="stop", when=~wanted),
        starting.to(running, on="start_done", when=alive),
        running.to(starting, on="crashed", when=~alive),
        stopping.to(stopped, on="stop_done", when=~alive),
    ]
    return Machine("process", [stopped, starting, running, stopping], arcs)


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).map(str.strip)
waits = (
    st.integers(0, 9)
    | st.floats(0, 1e6, allow_nan=False)
    | st.builds(Setting, st.sampled_from(["grace_s", "idle_s"]), st.integers(0, 9))
)
resumes = st.sampled_from(RESUMES)
expressions = st.sampled_from(
    ["alive", "level > 3", "level == 2 or level < 1", "not low", "level in [1, 2]", "(level) >= 1", "name == 'a and b'", "a, b", "True",
     "level # full", "low if level else wanted", "'it''s' == name", "always", "-level < 2 <= level", "len(name) > 3 and level"]
).map(expression)  # fmt: skip
leaves = st.sampled_from([ALWAYS, wanted, alive, ready]) | expressions


def _grown(parts: st.SearchStrategy[Guard]) -> st.SearchStrategy[Guard]:
    return (
        st.builds(lambda a, b: a & b, parts, parts)
        | st.builds(lambda a, b: a | b, parts, parts)
        | st.builds(lambda a: ~a, parts)
        | st.builds(held, parts, waits, resume=resumes)
    )


guards = st.recursive(leaves, _grown, max_leaves=5)
snapshots = st.fixed_dictionaries(
    {name: st.booleans() for name in ("wanted", "alive", "ready", "always", "low", "a", "b")}
    | {"level": st.integers(-1, 5), "name": st.sampled_from(["", "a and b", "its", "long name"])}
)


def _signals(state: State) -> list[Signal]:
    """The signals that a state may have which is not the initial one."""
    if state.phase is None:
        return [""]
    return ["", "restart", "removal"] if state.phase is Phase.STOPPED and not state.act else ["", "restart"]


@st.composite
def machines(draw: st.DrawFn, conditions: st.SearchStrategy[Guard] = guards) -> Machine:
    """Any valid machine, small."""
    phases = st.sampled_from([None]) if draw(st.booleans()) else st.sampled_from(Phase)
    states = [
        State(draw(phases), name=name, act=draw(st.just("") | names), final=False, reason=draw(texts), doc=draw(texts))
        for name in draw(st.lists(names, min_size=1, max_size=5, unique=True))
    ]
    states[1:] = [replace(state, signal=draw(st.sampled_from(_signals(state)))) for state in states[1:]]
    arcs: dict[tuple[str, ...], Arc] = {}
    for _ in range(draw(st.integers(0, 8)) if len(states) > 1 else 0):
        source, target = draw(st.permutations(states))[:2]
        when, after = draw(conditions), draw(st.none() | waits)
        resume = "deadline" if after is None else draw(resumes)
        priority, reason = draw(st.integers(-2, 2)), draw(texts)
        arc = source.to(target, on=draw(names), when=when, after=after, resume=resume, priority=priority, reason=reason)
        arcs[arc.event, source.name, target.name, str(when)] = arc
    initial = draw(st.sampled_from([state.name for state in states if not state.signal]))
    return Machine(draw(names), states, arcs.values(), initial=initial, version=draw(names), doc=draw(texts))

"""The flight recorder and replay: every decision can be made again, and each one that would differ is named."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from tests.control.samples import Observed, Process, Seen, Spec, process, reach

from setpoint.control import ChildSpec, Fact, Facts, Observation, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.control.record import Record
from setpoint.control.recorder import Recorder
from setpoint.control.replay import Subject, replay, subject_of
from setpoint.control.snapshot import Figures
from setpoint.control.tally import Calls
from setpoint.machine import Machine, Phase, Position, Setting, State, Verdict, decide, expression, guard, held
from setpoint.store.recording import Entry, Gap, read
from setpoint.testing import run, wall

# a small world: one tank, measured again and again


class TankSpec(BaseModel):
    desired_state: Literal["running", "stopped"] = "running"
    limit: int = 3
    settle_s: float = 2.0


class TankSeen(Observation, frozen=True):
    level: int = 0
    note: str = ""
    rate: float = 0.0
    access_code_password: int = 0


TankSnapshot = Snapshot[TankSpec, TankSeen]


@guard
def full(s: TankSnapshot) -> Verdict:
    "the level is at its limit"
    return Verdict(s.observed.level >= s.desired.limit, f"level {s.observed.level}")


@guard
def helper_healthy(s: TankSnapshot) -> bool:
    "the helper is healthy"
    return s.children["helper"].healthy


@guard
def helper_done(s: TankSnapshot) -> bool:
    "the helper has asked for its removal"
    return s.children["helper"].state == "removed" and "helper" not in s.children


@guard
def young(s: TankSnapshot) -> bool:
    "observed a moment ago, by a runtime that was not late"
    return s.figures.age < 0.8 and s.figures.lag < 0.3


@guard
def settled(s: TankSnapshot) -> bool:
    "it has been here for a second, and has moved an even number of times"
    return s.figures.seconds_in_state >= 1 and s.figures.transitions % 2 == 0


GUARDS = [
    full,
    helper_done,
    young,
    settled,
    ~full,
    wanted,
    helper_healthy & ~full,
    expression("observed.level > 5"),
    full | expression("error != ''"),
]
HELD = [held(full, 1.5), held(~full, Setting("settle_s", 2.0)), held(helper_healthy, 0.5) & wanted]
NAMES = ["a", "b", "c"]
arcs_drawn = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from([*GUARDS, *HELD]),
        st.sampled_from([None, 0.7, 2.0, Setting("settle_s", 2.0)]),
    ),
    max_size=6,
).map(lambda arcs: [arc for arc in arcs if arc[0] != arc[1]])


def machine_of(arcs: list[tuple[Any, ...]]) -> Machine:
    states = {
        name: State(phase, name=name, act=act, reason=lambda s: f"level {s.observed.level} {s.observed.note}")
        for name, phase, act in (("a", Phase.STOPPED, ""), ("b", Phase.STARTING, "open"), ("c", Phase.HEALTHY, ""))
    }
    return Machine(
        "tank",
        states.values(),
        [states[s].to(states[t], on=f"e{n}", when=when, after=after) for n, (s, t, when, after) in enumerate(arcs)],
    )


@dataclass
class Step:
    """What is different at one moment."""

    after: float
    level: int
    note: str
    rate: float
    wanted: bool
    error: str
    helper: Phase | Literal["removed"] | None


steps_drawn = st.lists(
    st.builds(
        Step,
        st.sampled_from([0.1, 0.5, 1.0, 3.0]),
        st.integers(0, 7),
        st.sampled_from(["", "x", "ünïcode"]),
        st.sampled_from([0.0, 1.5, math.inf, -0.0]),
        st.booleans(),
        st.sampled_from(["", "timeout"]),
        st.sampled_from([None, Phase.HEALTHY, Phase.DEGRADED, "removed"]),
    ),
    max_size=25,
)


class Tank(Worker[TankSpec, TankSpec, TankSeen]):
    a = State(Phase.STOPPED)


def tank(machine: Machine) -> Tank:
    worker = Tank()
    worker.machine = machine  # type: ignore[misc]  # each run has its own
    return worker


def snapshot_of(step: Step, state: str, spec: TankSpec, in_state: float = 0.0) -> TankSnapshot:
    helper = Fact("t/helper", "helper", "some", None, "because", age=step.after)
    gone = {"helper": helper._replace(state="removed")} if step.helper == "removed" else {}
    facts = {"helper": helper._replace(phase=step.helper)} if isinstance(step.helper, Phase) else {}
    seen = TankSeen(step.level, step.note, step.rate)
    children = Facts({name: name for name in facts}, facts.__getitem__, gone)
    figures = Figures(
        in_state, step.after, transitions=step.level, actions={"open": Calls(2, 1, 0.5)}, lag=step.after / 2
    )
    return Snapshot("t", spec, seen, state, step.wanted, step.error, children, Facts({}, Fact), figures=figures)


def record_run(directory: Path, machine: Machine, steps: list[Step]) -> list[tuple[Position, TankSnapshot, float]]:
    """Run the machine through the steps and record it; returns what was decided on."""
    recorder = Recorder(directory)
    record = Record("t", None, ChildSpec("t", "tank"), worker=tank(machine))
    position, now, spec = Position(machine.initial, 0.0), 0.0, TankSpec()
    taken = []
    for step in steps:
        now += step.after
        snapshot = snapshot_of(step, position.state, spec, now - position.entered_at)
        taken.append((position, snapshot, now))
        decision = decide(machine, position, snapshot, now)
        recorder.decided(record, snapshot, position, now, 1e9 + now, decision)
        position = Position(decision.state, now) if decision.arc else position._replace(held=decision.held)
    recorder.close()
    assert not recorder.trouble
    return taken


def entries(directory: Path) -> list[Entry]:
    items = list(read(directory)) if any(directory.iterdir()) else []
    assert not [item for item in items if isinstance(item, Gap)]
    return [item for item in items if isinstance(item, Entry)]


def subject(machine: Machine) -> dict[str, Subject]:
    return {"tank": Subject(machine, TankSpec, TankSeen)}


@settings(deadline=None, max_examples=60)
@given(arcs_drawn, steps_drawn)
def test_the_same_machine_decides_the_same_again(arcs: list[tuple[Any, ...]], steps: list[Step]) -> None:
    """Whatever was decided, by whatever machine: replayed with it, nothing differs, not even a reason."""
    with TemporaryDirectory() as folder:
        machine = machine_of(arcs)
        record_run(Path(folder), machine, steps)
        assert list(replay(entries(Path(folder)), subject(machine), reasons=True)) == []


@settings(deadline=None, max_examples=60)
@given(arcs_drawn, arcs_drawn, steps_drawn)
def test_exactly_the_decisions_that_would_differ_are_named(
    arcs: list[tuple[Any, ...]], others: list[tuple[Any, ...]], steps: list[Step]
) -> None:
    """A machine with other arcs: each recorded decision is named if and only if the other machine decides otherwise on the same."""
    with TemporaryDirectory() as folder:
        machine, other = machine_of(arcs), machine_of(others)
        taken = record_run(Path(folder), machine, steps)
        recorded = entries(Path(folder))
        differing = {
            now
            for position, snapshot, now in taken
            if _essence(decide(machine, position, snapshot, now)) != _essence(decide(other, position, snapshot, now))
        }
        found = {difference.entry.clocks.now for difference in replay(recorded, subject(other))}
        assert found == differing & {entry.clocks.now for entry in recorded}


def _essence(decision: Any) -> tuple[Any, ...]:
    return decision.state, decision.arc.event if decision.arc else "", decision.effects, decision.wake_at


# within the runtime


@contextmanager
def flight(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "flight")
    try:
        yield recorder
    finally:
        recorder.close()


def recorded_run(tmp_path: Path, seconds: float = 5.0, **types: Any) -> list[Entry]:
    """A parent with two children on virtual time, started and stopped, as recorded."""

    async def main(recorder: Recorder) -> None:
        registry = Registry()
        for name, factory in {"process": Process, **types}.items():
            registry.add(name, factory)
        s = Supervisor(registry, root="top", wall=wall, recorder=recorder)
        s.want([process("p", children=["one", "two"])])
        await reach(s, "top/p/two", "running")
        await asyncio.sleep(seconds)
        assert await s.stop() == []

    with flight(tmp_path) as recorder:
        run(main(recorder))
    return entries(tmp_path / "flight")


def test_what_the_runtime_decides_is_recorded_and_decided_again(tmp_path: Path) -> None:
    """Every move of a worker's machine is in the recording, in order, with what it was made on; replayed, none differs."""
    recorded = recorded_run(tmp_path)
    moves = [entry for entry in recorded if entry.path == "top/p/one" and entry.decision.event]
    assert [move.decision.event for move in moves] == ["start", "start_done", "stop", "stop_done"]
    assert [move.snapshot["wanted"] for move in moves] == [True, True, False, False]
    assert [move.snapshot["observed"]["running"] for move in moves] == [False, True, True, False]
    assert moves[0].clocks.at == pytest.approx(1_700_000_000 + moves[0].clocks.now, abs=0.001)
    assert list(replay(recorded, {"process": subject_of(Process)}, reasons=True)) == []


@guard
def alive(s: Seen) -> Verdict:
    "the process runs, and its version is known"
    return Verdict(s.observed.running and s.observed.version > 0, f"version {s.observed.version}")


class Stricter(Process):
    machine_name = "process"
    starting = State(Phase.STARTING, act="start")
    arcs = [
        Process.stopped.to(starting, on="start", when=wanted),
        (starting | Process.running).to(Process.stopping, on="stop", when=~wanted),
        starting.to(Process.running, on="start_done", when=alive),
        Process.running.to(starting, on="crashed", when=~alive),
        Process.stopping.to(Process.stopped, on="stop_done", when=~alive),
    ]


def test_a_changed_guard_is_named_with_its_answers(tmp_path: Path) -> None:
    """Where a guard answers otherwise, each decision it turns is found, with both answers and the fact behind today's."""
    recorded = recorded_run(tmp_path)
    today = {"process": subject_of(Stricter)}
    found = [d for d in replay(recorded, today, before={"process": subject_of(Process)}) if d.entry.path == "top/p/one"]
    assert [(d.entry.decision.event, d.entry.position.state) for d in found if d.entry.decision.event] == [
        ("start_done", "starting")
    ]
    first = next(d for d in found if d.entry.decision.event == "start_done")
    assert first.now is not None
    assert (first.now.state, first.now.effects) == ("starting", ["start"])
    assert first.answers[1:] == (("alive", True, False, "version 0"),)


def test_without_the_old_machine_the_arcs_in_question_are_named(tmp_path: Path) -> None:
    """Nobody knows any more what the old guards said one by one; the arc that was open then and is shut now is known."""
    found = list(replay(recorded_run(tmp_path), {"process": subject_of(Stricter)}))
    first = next(d for d in found if d.entry.decision.event == "start_done")
    assert [(a.guard, a.then, a.now) for a in first.answers] == [("start_done when alive", True, False)]


def test_what_today_cannot_read_is_a_difference_of_its_own(tmp_path: Path) -> None:
    """A machine that is gone, a state that is gone, a field without a value: each is said, and what is wrong."""

    class NewSpec(Spec):
        owner: str

    recorded = recorded_run(tmp_path)
    machine = Process.machine
    without = Machine("process", [s for s in machine.states if s.name != "stopping"])
    kinds = {
        "machine": list(replay(recorded, {})),
        "state": list(replay(recorded, {"process": Subject(without, Spec, Observed)})),
        "data": list(replay(recorded, {"process": Subject(machine, NewSpec, Observed)})),
    }
    assert {d.kind for d in kinds["machine"]} == {"machine"}
    assert len(kinds["machine"]) == len(kinds["data"]) == len(recorded)
    assert {d.entry.position.state for d in kinds["state"] if d.kind == "state"} == {"stopping"}
    assert "desired is no NewSpec any more" in kinds["data"][0].why
    assert "owner" in kinds["data"][0].why


def test_an_unchanged_decision_on_unchanged_facts_is_not_recorded_again(tmp_path: Path) -> None:
    """Time that passes is no news; a changed fact is, even where the decision stays the same."""
    machine = machine_of([("a", "b", full, None)])
    step = Step(0.1, 1, "", 0.0, True, "", None)
    louder = Step(1.0, 1, "louder", 0.0, True, "", None)
    record_run(tmp_path, machine, [step, Step(5.0, 1, "", 0.0, True, "", None), louder, louder])
    assert [entry.snapshot["observed"]["note"] for entry in entries(tmp_path)] == ["", "louder"]


def test_a_guard_that_raises_is_a_decision_too(tmp_path: Path) -> None:
    """That nothing could be decided, and why, is recorded; a machine that can decide there differs."""

    @guard(name="picky")
    def broken(s: Seen) -> bool:
        raise RuntimeError("no idea")

    class Broken(Process):
        machine_name = "process"
        arcs = [Process.stopped.to(Process.starting, on="start", when=broken)]

    async def main(recorder: Recorder) -> None:
        registry = Registry()
        registry.add("broken", Broken)
        s = Supervisor(registry, root="top", wall=wall, recorder=recorder)
        s.want([ChildSpec("p", "broken", Spec())])
        await asyncio.sleep(3)
        await s.stop(0.1)

    with flight(tmp_path) as recorder:
        run(main(recorder))
    recorded = entries(tmp_path / "flight")
    assert "no idea" in recorded[0].decision.error
    assert list(replay(recorded, {"process": subject_of(Broken)})) == []
    found = list(replay(recorded, {"process": subject_of(Process)}))
    assert found[0].now is not None
    assert found[0].now.event == "start"


def test_other_waits_show_in_when_it_looks_again(tmp_path: Path) -> None:
    """A shorter `held` moves nothing at the moments that were recorded, but it would have looked earlier."""
    step = Step(0.1, 5, "", 0.0, True, "", None)
    record_run(tmp_path, machine_of([("a", "b", held(full, 1.5), None)]), [step])
    (found,) = replay(entries(tmp_path), subject(machine_of([("a", "b", held(full, 1.0), None)])))
    assert found.kind == "timing"
    assert found.now is not None
    assert (found.entry.decision.wake_at, found.now.wake_at) == (pytest.approx(1.6), pytest.approx(1.1))


def test_facts_about_others_are_those_of_the_moment(tmp_path: Path) -> None:
    """What children are is recorded as it was, with what they observed and how old that was, for a parent that asks for it."""

    @guard
    def child_runs_version_0(s: Seen) -> bool:
        "the child runs"
        child = s.children["one"]
        return child.healthy and child.observed.version == 0 and child.age is not None and s.children.all_healthy

    class Parent(Process):
        sees_observations = True
        stopped = State(Phase.STOPPED)
        running = State(Phase.HEALTHY)
        arcs = [
            stopped.to(running, on="child_up", when=wanted & child_runs_version_0),
            running.to(stopped, on="child_gone", when=~wanted | ~child_runs_version_0),
        ]

    async def main(recorder: Recorder) -> None:
        registry = Registry()
        registry.add("parent", Parent)
        registry.add("process", Process)
        s = Supervisor(registry, root="top", wall=wall, recorder=recorder)
        s.want([ChildSpec("p", "parent", Spec(children=["one"]))])
        await reach(s, "top/p", "running")
        await s.stop()

    with flight(tmp_path) as recorder:
        run(main(recorder))
    subjects = {"parent": subject_of(Parent), "process": subject_of(Process)}
    recorded = entries(tmp_path / "flight")
    move = next(e for e in recorded if e.decision.event == "child_up")
    assert move.snapshot["children"]["one"]["state"] == "running"
    assert list(replay(recorded, subjects, reasons=True)) == []


@dataclass(frozen=True)
class Plan:
    desired_state: str = "running"
    steps: tuple[int, ...] = (1, 2)
    by_number: Any = None


@pytest.mark.parametrize(
    ("wanted_type", "desired"),
    [
        (Plan, Plan(by_number={"1": [True, None]})),
        (dict, {"desired_state": "running", "steps": [1, 2], "items": 3}),
        (Any, {"desired_state": "running", "steps": [1, 2], "items": 3}),
        (Any, Plan()),
        (TankSpec, TankSpec(limit=7)),
        (None, None),
    ],
)
def test_data_of_every_kind_comes_back_as_what_it_was(tmp_path: Path, wanted_type: Any, desired: Any) -> None:
    """Models, dataclasses and mappings become what the worker declares; without a declaration fields can be read either way."""

    @guard
    def two_steps(s: Any) -> bool:
        if desired is None:
            return s.desired is None
        wanted_steps = s.desired.get("steps") if isinstance(desired, dict) else getattr(s.desired, "steps", [1, 2])
        return list(wanted_steps) == [1, 2]

    machine = machine_of([("a", "b", two_steps, None)])
    recorder = Recorder(tmp_path)
    record = Record("t", None, ChildSpec("t", "tank"), worker=tank(machine))
    snapshot: Any = snapshot_of(Step(1, 1, "", 0, True, "", None), "a", desired)
    decision = decide(machine, Position("a"), snapshot, 1.0)
    assert decision.state == "b"
    recorder.decided(record, snapshot, Position("a"), 1.0, 1.0, decision)
    recorder.close()
    assert list(replay(entries(tmp_path), {"tank": Subject(machine, wanted_type, TankSeen)})) == []


@pytest.mark.parametrize(
    "look",
    [
        lambda s: s.figures.seconds_in_state,
        lambda s: s.figures.age,
        lambda s: s.figures.lag,
        lambda s: s.figures.transitions,
        lambda s: s.figures.actions["open"],
        lambda s: s.children["helper"],
        lambda s: "helper" in s.children,
        lambda s: s.children.gone,
        lambda s: s.children.counts,
        lambda s: (s.path, s.state, s.wanted, s.error, s.retry),
        lambda s: s.desired,
        lambda s: s.observed,
    ],
)
def test_every_part_of_a_snapshot_is_as_it_was(tmp_path: Path, look: Any) -> None:
    """A reason that quotes a part of the snapshot reads the same again, from one decision to the next."""
    state = State(Phase.STOPPED, name="a", reason=lambda s: repr(look(s)))
    machine = Machine("tank", [state])
    steps = [
        Step(1.25, 1, "x", 0.5, True, "", Phase.HEALTHY),
        Step(1.25, 2, "x", 0.5, True, "", Phase.HEALTHY),
        Step(0.5, 2, "y", 0.5, True, "", "removed"),
        Step(0.1, 3, "", math.inf, False, "timeout", Phase.DEGRADED),
        Step(3.0, 3, "", math.inf, False, "timeout", None),
    ]
    record_run(tmp_path, machine, steps)
    recorded = entries(tmp_path)
    assert len(recorded) == len(steps)
    assert list(replay(recorded, subject(machine), reasons=True)) == []


class Account(BaseModel):
    desired_state: str = "running"
    password: SecretStr = SecretStr("hunter2-in-a-model")
    api_key: str = "hunter2-by-name"
    url: str = "amqp://user:hunter2-in-a-url@host/"


def test_secrets_are_not_recorded(tmp_path: Path) -> None:
    """Neither in what is wanted, nor in what was observed, nor in an error or a reason."""
    import gzip

    machine = machine_of([])
    recorder = Recorder(tmp_path)
    record = Record("t", None, ChildSpec("t", "tank"), worker=tank(machine))
    note = "password=hunter2-in-a-note"
    for level in (1, 2):
        step = Step(1, level, note * level, 0, True, "amqp://user:hunter2-in-an-error@host failed", Phase.HEALTHY)
        snapshot: Any = snapshot_of(step, "a", Account())  # type: ignore[arg-type]
        snapshot = snapshot._replace(observed=TankSeen(level, note * level, 0.0, 4711 * level))
        decision = decide(machine, Position("a"), snapshot, 1.0)
        assert "hunter2" in decision.reason
        recorder.decided(record, snapshot, Position("a"), 1.0, 1.0, decision)
    recorder.close()
    (file,) = tmp_path.iterdir()
    text = gzip.decompress(file.read_bytes())
    assert b"[redacted]" in text
    assert b"access_code" in text
    assert b"4711" not in text
    assert b"hunter2" not in text
    for observed in (Any, TankSeen):  # a number that was left out is no reason to give up on the rest
        assert list(replay(entries(tmp_path), {"tank": Subject(machine, Any, observed)}, reasons=True)) == []


def test_a_disk_that_cannot_be_written_does_not_touch_the_runtime(tmp_path: Path) -> None:
    """The directory cannot be made: workers go on, the recorder says why, and counts what is missing."""
    (tmp_path / "flight").write_text("a file in the way")

    async def main(recorder: Recorder) -> None:
        registry = Registry()
        registry.add("process", Process)
        s = Supervisor(registry, root="top", wall=wall, recorder=recorder)
        s.want([process("p")])
        await reach(s, "top/p", "running")
        assert await s.stop() == []

    with flight(tmp_path) as recorder:
        run(main(recorder))
    assert "flight" in recorder.trouble
    assert recorder.lost >= 4
    assert recorder.written == 0


def test_the_same_error_in_two_states_is_two_decisions(tmp_path: Path) -> None:
    """What a decision was is never taken over from another state."""
    machine = machine_of([])
    recorder = Recorder(tmp_path)
    record = Record("t", None, ChildSpec("t", "tank"), worker=tank(machine))
    for state in ("a", "b"):
        snapshot = snapshot_of(Step(1, 1, "", 0, True, "", None), state, TankSpec())
        recorder.decided(record, snapshot, Position(state), 1.0, 1.0, "GuardError: no idea")
    recorder.close()
    assert [(e.decision.state, e.decision.error) for e in entries(tmp_path)] == [
        ("a", "GuardError: no idea"),
        ("b", "GuardError: no idea"),
    ]

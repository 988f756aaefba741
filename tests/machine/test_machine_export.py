"""Export and load: one form, no loss, strict reading, all faults at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.samples import BRIDGE, NAMED, Facts, alive, brief, machines, process, ready, snapshots, wanted

from setpoint.machine import (
    GuardError,
    Machine,
    MachineError,
    Phase,
    Position,
    Setting,
    State,
    content_hash,
    decide,
    expression,
    guard,
    held,
    load,
    to_dict,
    to_json,
    to_yaml,
)  # fmt: skip

SHORT = {"name": "m", "states": {"a": None, "b": None}}


def faults(data: dict[str, Any] | str, **arguments: Any) -> tuple[str, ...]:
    with pytest.raises(MachineError) as caught:
        load(data, **arguments)
    return caught.value.faults


def arc(**keys: Any) -> dict[str, Any]:
    return {**SHORT, "arcs": [{"event": "go", "from": "a", "to": "b", **keys}]}


@brief
@given(machines(), snapshots, st.floats(0, 20))
def test_a_machine_survives_the_round_trip(machine: Machine, snapshot: Facts, now: float) -> None:
    """Through data, JSON and YAML it stays the same machine: equal, with the same hash, and deciding alike."""
    for form in (to_dict(machine), to_json(machine), to_yaml(machine)):
        loaded = load(form, guards=NAMED)
        assert loaded == machine
        assert content_hash(loaded) == content_hash(machine)
        assert to_dict(loaded) == to_dict(machine)
    for state in machine.states:
        position = Position(state.name)
        assert decide(loaded, position, snapshot, now) == decide(machine, position, snapshot, now)


def test_the_form_is_plain_and_says_only_what_there_is_to_say() -> None:
    """The one canonical form, whole."""
    a = State(Phase.STARTING, name="a", act="start", doc="tries")
    b = State(Phase.HEALTHY, name="b", reason="fine")
    arcs = [
        a.to(b, on="up", when=alive & ~ready, after=Setting("grace_s", 5), priority=2),
        b.to(a, on="down", when=held(~alive, Setting("idle_s", 1.5)) | wanted, reason="lost"),
        b.to(a, on="reset"),
    ]
    data = to_dict(Machine("m", [a, b], arcs, version="2"))
    assert len(data.pop("hash")) == 16
    assert data == {
        "name": "m",
        "version": "2",
        "initial": "a",
        "states": [
            {"name": "a", "phase": "starting", "act": "start", "doc": "tries"},
            {"name": "b", "phase": "healthy", "reason": "fine"},
        ],
        "arcs": [
            {"event": "up", "source": "a", "target": "b", "when": "alive and (not ready)",
             "after": {"setting": "grace_s", "default": 5}, "priority": 2},
            {"event": "down", "source": "b", "target": "a", "when": "held(not alive, idle_s=1.5) or wanted", "reason": "lost"},
            {"event": "reset", "source": "b", "target": "a", "when": "always"},
        ],
        "guards": {"alive": "the process is running", "ready": "it answers", "wanted": "the user wants it running"},
        "wanted": ["wanted"],
    }  # fmt: skip


def test_the_short_form_is_read() -> None:
    """Groups of groups, lists, from and to; from a group there is no arc to the target itself."""
    bridge = load(BRIDGE)
    assert len(bridge.states) == 13
    assert [str(arc) for arc in bridge.arcs if arc.event == "degraded_other"] == [
        f"{source} -degraded_other-> degraded_other"
        for source in ("idle", "active", "degraded_connection", "degraded_redpanda", "degraded_dfc")
    ]
    assert bridge.by_name["stopping"].phase is Phase.STOPPING
    assert load(to_dict(bridge)) == bridge


def test_guards_are_read_by_the_rules() -> None:
    """Known names are guards, held(...) is time, the rest is an expression."""
    text = "alive and (not ready or observed.level > 3) and held(observed.on, 5) and expression('alive')"
    (loaded,) = load(arc(when=text), guards=NAMED).arcs
    expected = (
        alive & (~ready | expression("observed.level > 3")) & held(expression("observed.on"), 5) & expression("alive")
    )
    assert loaded.when == expected


def test_a_guard_that_is_not_supplied_raises_when_it_is_asked_and_says_which() -> None:
    """Without the code a machine can be checked, drawn and compared, but not run."""
    machine = load({**arc(when="alive"), "guards": {"alive": "it runs"}})
    assert to_dict(machine)["guards"] == {"alive": "it runs"}
    with pytest.raises(
        GuardError, match=r"guard 'alive' is named in the file but was not supplied: load\(..., guards="
    ):
        decide(machine, Position("a"), {}, 0)
    assert decide(
        load({**arc(when="alive"), "guards": ["alive"]}, guards=NAMED), Position("a"), {"alive": True}, 0
    ).moved


def test_functions_that_give_reasons_are_named_and_supplied_again() -> None:
    """As guards are."""

    def why(s: Facts) -> str:
        return f"level {s['level']}"

    machine = Machine("m", [State(name="a", reason=why)])
    assert to_dict(machine)["states"][0]["reason"] == {"function": "why"}
    assert load(to_dict(machine), reasons={"why": why}) == machine
    with pytest.raises(GuardError, match=r"reason 'why' is named in the file but was not supplied"):
        decide(load(to_dict(machine)), Position("a"), {}, 0)
    assert to_dict(load(to_dict(machine))) == to_dict(machine)


def test_all_faults_are_reported_at_once_with_hints() -> None:
    """Unknown keys, wrong types, names that are not there: one run shows them all."""
    data = {
        "name": "m", "initail": "a", "version": 1.5,
        "states": [{"name": "a", "phase": "helthy", "final": "yes"}, {"phase": "healthy"}, 5],
        "groups": {"LOOP": ["LOOP"]},
        "arcs": [
            {"event": "go", "from": "a", "to": "bb", "when": "alife", "piority": 1},
            {"event": "x", "from": ["LOOP"], "to": "a", "after": "5", "priority": 1.5},
            {"event": "y", "source": "a", "from": "a", "target": ["a"], "after": {"setting": "a b", "default": 1}},
            "z",
        ],
    }  # fmt: skip
    found = "\n".join(faults(data, guards=NAMED))
    for expected in (
        "unknown key 'initail'; did you mean 'initial'?",
        "version: expected text, got float 1.5; put it in quotes",
        "state 'a': phase 'helthy' is none of stopped, starting, healthy, degraded, stopping, failed; did you mean 'healthy'?",
        "state 'a': final: expected true or false, got str 'yes'",
        "state number 2 has no name",
        "state number 3: expected a mapping or a name, got int",
        "arc 'go': there is no state 'bb'",
        "arc 'go': when: there is no guard 'alife'; did you mean 'alive'? A field is expression('alife')",
        "arc 'go': unknown key 'piority'; did you mean 'priority'?",
        "group 'LOOP' contains itself",
        "arc 'x': after: expected seconds or {setting: name, default: seconds}, got '5'",
        "arc 'x': priority: expected a whole number, got float 1.5",
        "arc 'y': expected 'from' or 'source', and not both",
        "arc 'y': after: Setting('a b')",
        "arc number 4: expected a mapping, got str",
    ):
        assert expected in found


@pytest.mark.parametrize(
    ("when", "fault"),
    [
        ("alive and", "is not a guard"),
        ("held(alive)", "held takes a guard and seconds"),
        ("held(alive, -1)", "held takes its seconds as a number"),
        ("held(alive, True)", "held takes its seconds as a number"),
        ("held(alive, 1e999)", "finite"),
        ("__import__('os').system('true')", "only these functions can be called"),
        ("x.__class__ == 1", "private"),
        ("alive or " * 5_000 + "alive", "longer than"),
        ("(" * 500 + ")" * 500, "is not a guard"),
        ("not " * 4_000 + "alive", "too deeply nested"),
        (5, "expected text"),
        (False, "expected text"),
    ],
)
def test_a_guard_that_cannot_be_read_is_a_fault(when: Any, fault: str) -> None:
    """Nothing in the text is ever run."""
    assert any(fault in text for text in faults(arc(when=when), guards=NAMED))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "name: [", "5", "{name: m, states: {a: }}}", '{"name": "a", "name": "b"}', "name: a\nname: b", "&a [*a]",
        "!!python/name:os", "x: " + "[" * 2_000, '{"a":' * 2_000, "a" * 2_000_001, "\0", "? [a]\n: b",
    ],
)  # fmt: skip
def test_a_text_that_is_no_machine_is_refused(text: str) -> None:
    """Whatever is wrong with it, the answer is a MachineError."""
    assert faults(text)


def test_nested_groups_of_an_enemy_are_read_in_no_time() -> None:
    """Groups that double at each level are not expanded one by one."""
    groups = {"G0": ["a"], **{f"G{level}": [f"G{level - 1}"] * 9 for level in range(1, 60)}}
    assert len(load({**SHORT, "groups": groups, "arcs": [{"event": "x", "from": "G59", "to": "b"}]}).arcs) == 1
    deep = {"G0": ["a"], **{f"G{level}": [f"G{level - 1}"] for level in range(1, 5_000)}}
    assert (
        "nested too deeply"
        in faults({**SHORT, "groups": deep, "arcs": [{"event": "x", "from": "G4999", "to": "b"}]})[0]
    )


def test_a_hash_that_does_not_fit_the_content_is_a_fault() -> None:
    """A file that says what it is and is something else was changed by hand, or on the way."""
    data = to_dict(process())
    data["arcs"][0]["when"] = "not wanted"
    assert "remove the hash if you changed the file" in faults(data, guards=NAMED)[0]
    del data["hash"]
    assert load(data, guards=NAMED).arcs[0].when == ~wanted


def test_the_hash_stands_for_what_the_machine_does() -> None:
    """Not for texts, versions, the order of states or that of arcs from different states; but for the order in which arcs are tried."""
    a, b, c = State(name="a"), State(name="b", act="work"), State(name="c")
    arcs = [a.to(b, on="x", when=alive), a.to(c, on="y", when=ready), b.to(c, on="z", when=alive, after=5)]
    same = content_hash(Machine("m", [a, b, c], arcs))
    assert content_hash(Machine("m", [c, b, a], [arcs[2], *arcs[:2]], initial="a", version="2", doc="text")) == same
    assert (
        content_hash(Machine("m", [a, b, c], [*arcs[:2], b.to(c, on="z", when=alive, after=5.0, reason="text")]))
        == same
    )
    assert content_hash(Machine("m", [a, b, c], [arcs[1], arcs[0], arcs[2]])) != same
    assert content_hash(Machine("m", [a, b, c], [*arcs[:2], b.to(c, on="z", when=alive, after=6)])) != same
    assert content_hash(Machine("m", [a, b, c], arcs, initial="b")) != same
    assert content_hash(Machine("m", [a, State(name="b"), c], [])) != content_hash(Machine("m", [a, b, c], []))


def test_the_hash_is_the_same_in_every_process() -> None:
    """Stored positions carry it, so it may not depend on the seed of Python's own hashes."""
    script = "from tests.machine.samples import BRIDGE; from setpoint.machine import content_hash, load; print(content_hash(load(BRIDGE)))"
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "12345",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    printed = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == content_hash(load(BRIDGE))


def test_importing_the_model_is_light() -> None:
    """No YAML, no drawing, no schema library comes along."""
    script = "import sys, setpoint.machine; print([name for name in ('yaml', 'pydantic', 'asyncio', 'xml') if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_json_and_yaml_are_what_they_are_called() -> None:
    """Texts of other alphabets stay readable."""
    machine = Machine("m", [State(name="a", doc="läuft")], version="on")
    assert json.loads(to_json(machine))["states"][0]["doc"] == "läuft"
    assert "läuft" in to_json(machine)
    assert "läuft" in to_yaml(machine)
    assert load(to_yaml(machine)).version == "on"


def test_two_guards_of_one_name_cannot_be_told_apart_in_a_file() -> None:
    """The model refuses them before they get there."""
    other = guard(name="alive")(lambda s: True)
    a, b = State(name="a"), State(name="b")
    with pytest.raises(MachineError, match="two different guards"):
        Machine("m", [a, b], [a.to(b, on="x", when=alive & other)])

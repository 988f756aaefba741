"""What can be known to be wrong with a machine for records before the first record."""

import pytest

from setpoint.configfile import Problem
from setpoint.data.check import Finding, check
from setpoint.data.config import load, looks_like_machine, problems_of, top_keys


def found(text: str, **known: list[str]) -> list[Finding]:
    return check(load(text, trust=True), **known)


def codes(text: str, **known: list[str]) -> set[tuple[str, str, int]]:
    return {(finding.code, finding.subject, finding.place.line) for finding in found(text, **known)}


def test_a_sound_machine_has_no_findings() -> None:
    """Nothing is said about a machine that is in order, error arcs and rounds with a way out included."""
    text = (
        "name: m\nstates:\n  a: {arcs: [{target: b, condition: x > 1}, {target: c}], on_error: bad}\n"
        "  b: {arcs: [{target: a, condition: again}, {target: c}]}\n  c: {final: true}\n  bad: {final: true}\n"
    )
    assert found(text) == []


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        ("a: {on_complete: b}\n  b: {final: true}\n  lost: {on_complete: b}", ("unreachable", "lost", 5)),
        ("a: {arcs: [{target: b}, {target: c}]}\n  b: {final: true}\n  c: {final: true}", ("shadowed", "a -> c", 3)),
        ("a: {arcs: [{target: b, condition: x > 5}, {target: c, condition: x > 9}, b]}\n  b: {final: true}\n  c: {final: true}",
         ("shadowed", "a -> c", 3)),
        ("a: {on_complete: b, on_error: [b, c]}\n  b: {final: true}\n  c: {final: true}", ("shadowed", "a -error-> c", 3)),
        ("a: {arcs: [{target: b, condition: x > 2 and x < 1}, c]}\n  b: {final: true}\n  c: {final: true}", ("never-open", "a -> b", 3)),
        ("a: {arcs: [{target: b, condition: x}, c]}\n  b: {transforms: [f]}\n  c: {final: true}", ("trap", "b", 4)),
        ("a: {arcs: [{target: b, condition: x}, c]}\n  b: {on_complete: b}\n  c: {final: true}", ("livelock", "b", 4)),
        ("a: {arcs: [{target: b, condition: x}, c]}\n  b: {arcs: [{target: d, condition: x}]}\n  c: {final: true}\n  d: {on_complete: b}",
         ("no-way-out", "d", 6)),
        ("a: {on_complete: b}\n  b: {on_complete: a}", ("no-end", "network main", 1)),
    ],
)  # fmt: skip
def test_findings_of_one_network(states: str, wanted: tuple[str, str, int]) -> None:
    """Each kind of fault is found, for the state or arc it is about, at the line that stands at."""
    assert wanted in codes(f"name: m\nstates:\n  {states}\n")


def test_names_that_the_model_does_not_have_are_found_too() -> None:
    """States may be called as people like, in any script."""
    assert ("unreachable", "zwei drei", 5) in codes(
        'name: m\nstates:\n  "eins!": {on_complete: "eins?"}\n  "eins?": {final: true}\n  zwei drei: {final: true}\n'
    )


def test_networks_are_followed_through_their_pushes() -> None:
    """A network that nothing pushes into is unused; networks that push into each other without condition never end."""
    text = (
        "name: m\nnetworks:\n"
        "- {name: main, states: {a: {arcs: [{target: b, target_network: x}]}, b: {final: true}}}\n"
        "- {name: x, states: {a: {arcs: [{target: b, target_network: main}]}, b: {final: true}}}\n"
        "- {name: y, states: {a: {final: true}}}\n"
    )
    assert {("unused-network", "y"), ("push-cycle", "main")} <= {(code, subject) for code, subject, _ in codes(text)}
    with_a_way_out = text.replace("target_network: main", "target_network: main, condition: deeper}, {target: b")
    assert "push-cycle" not in {code for code, _, _ in codes(with_a_way_out)}


def test_names_of_functions_and_resources_are_looked_up_where_they_are_known() -> None:
    """With the names there are, unknown ones are errors with what was meant, within compositions too; without them nothing is assumed."""
    text = "name: m\nresources: {db: {type: queue}, log: {type: queue}}\n"
    text += "states: {a: {transforms: [trim], validators: [{all: [chekc]}], resources: [dbb], final: true}}\n"
    assert codes(text) == {("unknown-resource", "a", 3), ("unused-resource", "db", 2), ("unused-resource", "log", 2)}
    every = found(text, functions=["trim", "check", "all"], resources=[])
    assert [(one.code, one.severity, one.hint) for one in every[:2]] == [
        ("unknown-resource", "error", "did you mean 'db'?"),
        ("unknown-function", "error", "did you mean 'check'?"),
    ]


def test_python_of_the_file_is_pointed_out() -> None:
    """Whoever checks a file of someone else sees the code that trusting it would run."""
    assert ("trust", "import os", 4) in codes(
        "name: m\nstates:\n  a:\n    transforms: [{python: 'import os'}]\n    final: true\n"
    )


def said(problems: list[Problem]) -> str:
    return "\n".join(map(str, problems))


def test_a_file_is_checked_as_a_whole() -> None:
    """Wrong settings of resources, functions that are not built in, schemas, dead ends: all with their places, none twice."""
    problems = problems_of(
        "name: m\nresources: [{name: q, type: queue, config: {max_itms: 3}}]\nstates:\n"
        "  a: {transforms: [{name: validators.RangeValidato}], schema: {type: objct}, resources: [q], on_complete: b}\n"
        "  b: {final: true}\n  c: {final: true}\n"
    )
    assert len(set(problems)) == len(problems)
    assert [problem.line for problem in problems] == [2, 4, 4, 6]
    for part in ("max_items", "RangeValidator", "object", "unreachable"):
        assert part in said(problems)


def test_names_of_the_program_are_taken_on_trust() -> None:
    """Functions that only the program has are no fault of the file."""
    assert (
        problems_of(
            "name: m\nstates: {a: {transforms: [mine, 'shop.rules:f', {all: [x]}], final: true}}\n".replace(
                ", {all: [x]}", ""
            )
        )
        == []
    )


def test_no_code_runs_when_a_file_is_checked(tmp_path: object) -> None:
    """Python in the file is pointed out, not run."""
    text = "name: m\nstates:\n  a: {transforms: [{python: 'raise SystemExit'}], final: true}\n"
    assert ["trust" in problem.message for problem in problems_of(text)] == [True]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("name: m\nstates: {a: {final: true}}", True),
        ("name: m\nnetworks: []", True),
        ("name: m\nstates: {a: {}}\narcs: [{from: a, to: b}]", True),
        ("name: m\nstates: {stopped: stopped, running: healthy}\narcs: []", False),
        ("name: m\nstates: [{name: a, phase: healthy}]\narcs: []", False),
        ("name: m\nstates: [a, b]\narcs: [{event: go, from: a, to: b}]", False),
        ("agent: {location: {0: x}}", False),
        ("instances: {}\nstates: {}", False),
        ("[", False),
    ],
)
def test_machines_for_records_are_told_from_other_files(text: str, is_one: bool) -> None:
    """`setpoint check` takes each file for what it is."""
    assert looks_like_machine(top_keys(text)) is is_one

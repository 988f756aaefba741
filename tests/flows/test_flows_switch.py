"""`switch`, `try` and `catch`: processors that hold processors become states and arcs of the flow's machine."""

from typing import Any

import pytest
from flows_walk import Pipeline, compiled, problems

from setpoint.machine.draw import draw


def tag(name: str) -> dict[str, Any]:
    """A processor that says it was there."""
    return {"mapping": f'root = this\nroot.way = (this.way | "") + "{name}"'}


FAILS = {"mapping": 'root = throw("too hot")'}
SWITCH = {
    "switch": [
        {"check": "this.n == 1", "processors": [tag("a"), tag("b")]},
        {"check": "this.n == 2", "processors": [tag("c")], "fallthrough": True},
        {"check": "this.n == 3", "processors": [tag("d")]},
        {"check": "this.n == 4", "processors": []},
    ]
}


@pytest.mark.parametrize(("n", "way"), [(1, "abz"), (2, "cdz"), (3, "dz"), (4, "z"), (5, "z")])
def test_the_first_case_that_holds_has_its_way(n: int, way: str) -> None:
    """Then what follows the switch; `fallthrough` goes on into the next case, whatever its check."""
    assert Pipeline(SWITCH, tag("z")).out({"n": n}) == [{"n": n, "way": way}]


def test_a_case_without_a_check_is_for_the_rest() -> None:
    """Nothing behind it is asked; a check may be written as a truth value, as YAML reads it."""
    flow = Pipeline(
        {"switch": [{"check": False, "processors": [tag("x")]}, {"processors": [tag("rest")]}, {"check": "true"}]}
    )
    assert flow.out({}) == [{"way": "rest"}]
    assert [str(arc) for arc in flow.plan.machine.outgoing("switch_0")] == [
        "switch_0 -case_0-> switch_0_0_mapping_0",
        "switch_0 -case_1-> switch_0_1_mapping_0",
        "switch_0 -error-> failed",
    ]


@pytest.mark.parametrize("payload", [{"n": "x"}, b"no json", {"n": None}])
def test_a_check_that_cannot_be_answered_is_a_failure_there(payload: Any) -> None:
    """It is neither true nor false, so nobody guesses."""
    flow = Pipeline({"switch": [{"check": "this.n > 3", "processors": [tag("x")]}]})
    result = flow.result(payload)
    assert result.final_state == "failed"
    assert result.error is not None
    assert result.error.state == "switch_0"
    assert "neither true nor false but number" in str(
        Pipeline({"switch": [{"check": "this.n"}]}).result({"n": 1}).error
    )


def test_a_message_that_failed_goes_to_the_next_catch() -> None:
    """Nothing in between touches it; what did not fail passes the catch by; the error is known there."""
    flow = Pipeline(
        {"switch": [{"check": "this.n == 1", "processors": [FAILS]}]},
        tag("never"),
        {"catch": [{"mapping": "root = this\nroot.error = error()"}, tag("caught")]},
        tag("z"),
    )
    assert flow.out({"n": 1}) == [{"n": 1, "error": "line 1: too hot", "way": "caughtz"}]
    assert flow.out({"n": 2}) == [{"n": 2, "way": "neverz"}]
    caught = flow.result({"n": 1})
    assert [error.state for error in caught.handled] == ["switch_0_0_mapping_0"]
    assert caught.success


def test_a_try_leads_to_the_catch_behind_it() -> None:
    """The usual pair of Benthos; the message is then as it was before the step that failed."""
    flow = Pipeline({"try": [tag("a"), FAILS, tag("never")]}, {"catch": [tag("c")]}, tag("z"))
    assert flow.out({}) == [{"way": "acz"}]


def test_an_error_in_a_catch_goes_on_to_the_one_behind_it() -> None:
    """And where there is none the message fails, with the error that sent it there as the earlier one."""
    flow = Pipeline(FAILS, {"catch": [FAILS]}, {"catch": [tag("second")]})
    assert flow.out({}) == [{"way": "second"}]
    failed = Pipeline(FAILS, {"catch": [{"mapping": 'root = throw("again")'}]}).result({})
    assert failed.final_state == "failed"
    assert failed.error is not None
    assert (failed.error.state, failed.error.message) == ("catch_1_mapping_0", "line 1: again")


def test_catches_stand_in_any_list() -> None:
    """One inside a case is nearer than one behind the switch; an empty one forgives."""
    inner = {
        "switch": [{"check": "this.n == 1", "processors": [FAILS, {"catch": [tag("in")]}]}, {"processors": [FAILS]}]
    }
    flow = Pipeline(inner, {"catch": [tag("out")]}, tag("z"))
    assert flow.out({"n": 1}) == [{"n": 1, "way": "inz"}]
    assert flow.out({"n": 2}) == [{"n": 2, "way": "outz"}]
    assert Pipeline(FAILS, {"catch": []}).out({"a": 1}) == [{"a": 1}]


def test_the_machine_shows_all_of_it() -> None:
    """Labels name states, also inside; what has none is named by the way to it. Drawn, a case says its check."""
    plan = compiled(
        {
            "label": "kind",
            "switch": [{"check": "this.n > 1", "processors": [{"label": "big", **tag("x")}, tag("y")]}, {}],
        },
        {"label": "safe", "try": [tag("t")]},
        {"label": "mend", "catch": [{"log": {}}]},
    )
    assert [state.name for state in plan.machine.states] == [
        "input", "kind", "big", "kind_0_mapping_1", "safe_mapping_0", "mend", "mend_log_0", "output", "done", "failed", "dropped",
    ]  # fmt: skip
    assert [component.name for component in plan.config.processors] == [
        "big", "kind_0_mapping_1", "safe_mapping_0", "mend_log_0",
    ]  # fmt: skip
    assert {str(arc) for arc in plan.machine.arcs} >= {
        "kind -case_0-> big",
        "kind -case_1-> safe_mapping_0",
        "safe_mapping_0 -passed-> output",
        "safe_mapping_0 -error-> mend",
        "mend -caught-> mend_log_0",
        "mend_log_0 -error-> failed",
    }
    assert "switch: case 0 this.n &gt; 1; case 1 all else" in draw(plan.machine, "markdown")


@pytest.mark.parametrize(
    ("processor", "path", "text"),
    [
        ({"switch": {"check": "true"}}, "0.switch", "expected a list of cases"),
        ({"switch": [5]}, "0.switch.0", "valid dictionary"),
        ({"switch": [{"chek": "true"}]}, "0.switch.0.chek", "did you mean 'check'"),
        ({"switch": [{"check": "this.a ="}]}, "0.switch.0.check", "unexpected '='"),
        ({"switch": [{"check": "this.parse_csv()"}]}, "0.switch.0.check", "`.parse_csv()` is Bloblang"),
        ({"switch": [{"check": "errored()"}]}, "0.switch.0.check", "error() is not known in a check"),
        ({"switch": [{"processors": [{"maping": "x"}]}]}, "0.switch.0.processors.0.maping", "did you mean 'mapping'"),
        ({"switch": [{"processors": 5}]}, "0.switch.0.processors", "valid list"),
        ({"try": {"mapping": "root = 1"}}, "0.try", "expected a list of processors"),
        ({"try": [{"try": [{"log": {"levl": "INFO"}}]}]}, "0.try.0.try.0.log.levl", "did you mean 'level'"),
        (
            {"catch": [{"switch": [{"processors": [{"catch": []}]}]}]},
            "0.catch.0.switch.0.processors.0.catch",
            "cannot stand in a catch",
        ),
        ({"catch": [{"try": []}]}, "0.catch.0.try", "`engine: benthos` has a try in a catch"),
        ({"label": "done", "catch": []}, "0.label", "none of"),
        ({"mapping": "root = error()"}, "0.mapping", "error() is known in a `catch` only"),
        (
            {"try": [{"label": "a", "log": {}}, {"label": "a", "log": {}}]},
            "0.try.1.log",
            "the name 'a' is also that of",
        ),
        ({"while": {}}, "0.while", "`engine: benthos` runs it"),
    ],
)
def test_each_fault_is_named_at_its_place(processor: Any, path: str, text: str) -> None:
    """However deep it is."""
    found = problems(processor)
    assert list(found) == [path]
    assert text in found[path]


def test_lists_do_not_nest_without_end() -> None:
    """A hostile file is answered with a problem."""
    for around in (lambda inner: {"try": [inner]}, lambda inner: {"branch": {"processors": [{"try": [inner]}]}}):
        nested: Any = {"log": {}}
        for _ in range(100):
            nested = around(nested)
        assert any("nest deeper" in text for text in problems(nested).values())


def test_a_label_that_is_none_is_only_that_fault() -> None:
    """Whatever is in it, also where it would be part of other names."""
    assert list(problems({"label": "{0.x}", "try": [{"log": {}}]})) == ["0.label"]

"""Configurations of flows: everything that is wrong is said at once, with its place and what may have been meant."""

from typing import Any

import pytest

from setpoint.flows import FlowConfigError, FlowEngine, compile_flow

GOOD: dict[str, Any] = {
    "input": {"label": "press", "generate": {"mapping": "root = counter()", "interval": "250ms"}},
    "pipeline": {"processors": [{"tag_processor": {"defaults": "return msg;"}}, {"label": "thin", "downsampler": {}}]},
    "output": {"uns": {}},
}


def problems(config: Any) -> dict[str, str]:
    """The faults by the path that leads to them."""
    with pytest.raises(FlowConfigError) as caught:
        compile_flow(config)
    return {".".join(map(str, fault.path)): f"{fault.message} {fault.hint}" for fault in caught.value.problems}


def test_a_flow_becomes_a_machine_with_a_state_for_each_component() -> None:
    """Labels name states; what has none is named by its kind and place. Errors and drops have arcs of their own."""
    plan = compile_flow(GOOD)
    names = [state.name for state in plan.machine.states]
    assert names == ["input", "tag_processor_0", "thin", "output", "done", "failed", "dropped"]
    assert [f"{arc}" for arc in plan.machine.outgoing("tag_processor_0")] == [
        "tag_processor_0 -passed-> thin",
        "tag_processor_0 -error-> failed",
        "tag_processor_0 -dropped-> dropped",
    ]
    assert plan.config.input.fields.interval == 0.25  # type: ignore[attr-defined]


def test_all_faults_are_reported_at_once_with_their_paths() -> None:
    """Three faults in three places are three problems."""
    found = problems(
        {
            "input": {
                "modbus": {
                    "controler": "tcp://plc:502",
                    "timeout": "1 second",
                    "addresses": [{"name": "a", "type": "INT16"}],
                }
            },
            "pipeline": {"processors": [{"tag_procesor": {}}]},
            "outputs": {},
            "output": {"file": {}},
        }
    )
    assert "did you mean 'controller'" in found["input.modbus.controler"]
    assert "not a duration" in found["input.modbus.timeout"]
    assert "Field required" in found["input.modbus.addresses.0.address"]
    assert "did you mean 'tag_processor'" in found["pipeline.processors.0.tag_procesor"]
    assert "did you mean 'output'" in found["outputs"]
    assert "Field required" in found["output.file.path"]


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        ({"input": None}, "input", "expected one input"),
        ({"input": {}}, "input", "one of file, generate"),
        ({"input": {"generate": {"mapping": "root = 1"}, "stdin": {}}}, "input", "exactly one input"),
        ({"pipeline": []}, "pipeline", "expected a mapping"),
        ({"pipeline": {"threads": 4}}, "pipeline.threads", "not supported"),
        ({"pipeline": {"processors": {"nodered_js": {}}}}, "pipeline.processors", "expected a list"),
        ({"buffer": {"memory": {}}}, "buffer", "not supported"),
        ({"cache_resources": [{"label": "x", "memory": {}}]}, "cache_resources", "not supported"),
        ({"rate_limit_resources": [{"label": "x", "local": {}}]}, "rate_limit_resources", "not supported"),
        ({"output": {"label": "9", "drop": {}}}, "output.label", "must be a letter"),
        ({"output": {"label": "failed", "drop": {}}}, "output.label", "none of"),
        ({"output": {"uns": {"umh_topic": '${! json("a") }'}}}, "output.uns.umh_topic", "cannot be evaluated"),
        ({"output": {"uns": {"umh_topic": "umh.v1._raw.x"}}}, "output.uns.umh_topic", "no location"),
        ({"output": {"uns": 5}}, "output.uns", "valid dictionary"),
        ({"pipeline": {"processors": [{"nodered_js": {"code": "return msg"}}, {"label": "nodered_js_0", "downsampler": {}}]}},
         "pipeline.processors.1.downsampler", "also that of"),
        ({"pipeline": {"processors": [{"nodered_js": {"code": "return ("}}]}}, "pipeline.processors.0.nodered_js.code", "not JavaScript"),
        ({"pipeline": {"processors": [{"tag_processor": {"conditions": [{"if": "a b", "then": "return msg"}]}}]}},
         "pipeline.processors.0.tag_processor.conditions.0.if", "not a JavaScript condition"),
        ({"pipeline": {"processors": [{"downsampler": {"default": {"deadband": {"treshold": 1}}}}]}},
         "pipeline.processors.0.downsampler.default.deadband.treshold", "did you mean 'threshold'"),
        ({"pipeline": {"processors": [{"downsampler": {"overrides": [{"deadband": {"threshold": 1}}]}}]}},
         "pipeline.processors.0.downsampler.overrides.0", "either topic or pattern"),
    ],
)  # fmt: skip
def test_each_fault_is_named_at_its_place(change: dict[str, Any], path: str, text: str) -> None:
    """One changed section gives one problem, at the path of that section."""
    found = problems({**GOOD, **change})
    assert list(found) == [path]
    assert text in found[path]


@pytest.mark.parametrize("config", [None, [], "input", 3])
def test_what_is_no_mapping_is_no_flow(config: Any) -> None:
    """Also a wrong kind of thing is answered with a problem, not with a traceback."""
    assert "expected a mapping" in problems(config)[""]


def test_empty_extras_are_accepted() -> None:
    """Sections that ask for nothing do no harm: generated configurations carry them."""
    compile_flow({**GOOD, "buffer": {"none": {}}, "cache_resources": [], "rate_limit_resources": None, "pipeline": {}})


def test_a_flow_to_the_namespace_needs_a_broker() -> None:
    """An engine without a broker refuses such a flow when it is compiled, at the path of the output."""
    with pytest.raises(FlowConfigError, match="no broker"):
        FlowEngine().compile(GOOD)


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ("root = content()", "'content'"),
        ("root = this.value", "'this'"),
        ("let x = 1", "'let'"),
        ("root = random_int(min: 3, max: 1)", "min not above max"),
        ("root = random_int(seed: 3)", "no argument 'seed'"),
        ("root = 1 + 2", "'+'"),
        ("", "empty"),
        ('root = {"a": 1', "expected"),
        ("root = " + "[" * 100 + "]" * 100, "nest deeper"),
        ("root.a\n = 1", "expected '='"),
    ],
)
def test_a_mapping_that_cannot_be_evaluated_is_refused_by_name(mapping: str, text: str) -> None:
    """Nothing of Bloblang is silently skipped."""
    assert text in problems({**GOOD, "input": {"generate": {"mapping": mapping}}})["input.generate.mapping"]

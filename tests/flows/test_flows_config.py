"""Configurations of flows: everything that is wrong is said at once, with its place and what may have been meant."""

from typing import Any

import pytest

from setpoint.flows import FlowConfigError, FlowEngine, compile_flow
from setpoint.flows.config import Buffer

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
        ({"pipeline": {"threads": 4}}, "pipeline.threads", "messages keep their order"),
        ({"pipeline": {"threads": True}}, "pipeline.threads", "set 1 or -1"),
        ({"pipeline": {"processors": {"nodered_js": {}}}}, "pipeline.processors", "expected a list"),
        ({"buffer": {"memory": {"limt": 1}}}, "buffer.memory.limt", "did you mean 'limit'"),
        ({"buffer": {"memory": {"overflow": "drop_newest"}}}, "buffer.memory.overflow", "'drop_oldest'"),
        ({"buffer": {"memory": {}, "none": {}}}, "buffer", "expected one kind"),
        ({"buffer": {"none": {"limit": 1}}}, "buffer.none.limit", "unknown field"),
        ({"buffer": {"sqlite": {}}}, "buffer.sqlite", "`engine: benthos` runs it"),
        ({"dead_letter": {"fil": {}}}, "dead_letter.fil", "did you mean 'file'"),
        ({"dead_letter": []}, "dead_letter", "expected one output"),
        ({"cache_resources": {"memory": {}}}, "cache_resources", "expected a list"),
        ({"cache_resources": [{"memory": {}}]}, "cache_resources.0.label", "label of its own"),
        ({"cache_resources": [{"label": "x", "memory": {}}, {"label": "x", "memory": {}}]}, "cache_resources.1.label", "label of its own"),
        ({"cache_resources": [{"label": "x", "redis": {}}]}, "cache_resources.0.redis", "`engine: benthos` runs it"),
        ({"cache_resources": [{"label": "x", "memory": {"default_ttl": "5"}}]}, "cache_resources.0.memory.default_ttl", "not a duration"),
        ({"rate_limit_resources": [{"label": "x", "local": {"counts": 1}}]}, "rate_limit_resources.0.local.counts", "did you mean 'count'"),
        ({"input": {"nats": {}}}, "input.nats", "`engine: benthos` runs it"),
        ({"input": {"nasts": {}}}, "input.nasts", "did you mean 'nats'"),
        ({"output": {"redis_streams": {}}}, "output.redis_streams", "is one of Benthos"),
        ({"pipeline": {"processors": [{"jmespath": {}}]}}, "pipeline.processors.0.jmespath", "`engine: benthos` runs it"),
        ({"pipeline": {"processors": [{"swich": []}]}}, "pipeline.processors.0.swich", "did you mean 'switch'"),
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
    flow = {
        **GOOD,
        "buffer": {"none": {}},
        "cache_resources": [],
        "rate_limit_resources": None,
        "pipeline": {"threads": -1},
    }
    config = compile_flow(flow).config
    assert (config.buffer, config.dead_letter, config.processors) == (None, None, ())


def test_a_buffer_and_an_output_for_what_failed() -> None:
    """Both are there for who runs the flow; a buffer without settings has bounds."""
    buffer = {"memory": {"limit": 2048, "messages": 5, "overflow": "drop_oldest"}}
    config = compile_flow(
        {**GOOD, "buffer": buffer, "dead_letter": {"label": "bad", "file": {"path": "bad.jsonl"}}}
    ).config
    assert config.buffer == Buffer(2048, 5, "drop_oldest")
    assert config.dead_letter is not None
    assert (config.dead_letter.kind, config.dead_letter.name) == ("file", "bad")
    assert compile_flow({**GOOD, "buffer": {"memory": {}}}).config.buffer == Buffer(16 * 1024 * 1024, 10_000, "block")


def test_a_flow_to_the_namespace_needs_a_broker() -> None:
    """An engine without a broker refuses such a flow when it is compiled, at the path of the output."""
    with pytest.raises(FlowConfigError, match="no broker"):
        FlowEngine().compile(GOOD)


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ("root = content()", "no message yet whose payload"),
        ("root = this.value", "no message yet whose this"),
        ("root = random_int(min: 3, max: 1)", "min 3 is above max 1"),
        ("root = random_int(sed: 3)", "no argument 'sed'"),
        ("root = 1 + true", "cannot add types number and bool"),
        ("", "empty"),
        ('root = {"a": 1', "expected"),
        ("root = " + "[" * 100 + "]" * 100, "nest deeper"),
        ("root.a\n = 1", "expected '='"),
    ],
)
def test_a_mapping_that_cannot_be_evaluated_is_refused_by_name(mapping: str, text: str) -> None:
    """Nothing of Bloblang is silently skipped."""
    assert text in problems({**GOOD, "input": {"generate": {"mapping": mapping}}})["input.generate.mapping"]

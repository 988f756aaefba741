"""The ``streamProcessor`` section: what becomes of it, and every fault at its line."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from setpoint.agent import Agent
from setpoint.agent.checking import Checker
from setpoint.agent.config import Configuration, StreamProcessor, read_config
from setpoint.flows import FlowEngine
from setpoint.namespace import BrokerError
from setpoint.namespace.embedded import EmbeddedBroker

MODELS = """\
agent: {location: {0: acme, 1: cologne}}
payloadShapes:
  vibration: {fields: {timestamp_ms: {_type: number}, x: {_type: number}}}
dataModels:
  - name: motor
    version: {v1: {structure: {speed: {_payloadshape: timeseries-number}, state: {_payloadshape: timeseries-string}}}}
  - name: pump
    version:
      v1:
        structure:
          pressure: {_payloadshape: timeseries-number}
          serial: {_payloadshape: timeseries-string}
          shake: {_payloadshape: vibration}
          motor: {_refModel: {name: motor, version: v1}}
dataContracts: [{name: _pump_v1, model: {name: pump, version: v1}}]
"""
TEMPLATE = """\
templates:
  streamProcessor:
    pump:
      model: {name: pump, version: v1}
      sources:
        press: "{{ .location_path }}._raw.{{ .SENSOR }}"
        rpm: umh.v1.{{ .location_path }}._raw.rpm
      mapping:
        pressure: press * 6.895
        motor: {speed: rpm, state: '= "on" if rpm > 10 else "off"'}
        serial: "'{{ .SERIAL }}'"
"""
ITEM = """\
  - name: {name}
    desiredState: active
    streamProcessorServiceConfig:
      templateRef: {template}
      location: {{2: line, 3: {name}}}
      variables: {{SENSOR: psi, SERIAL: SN-7}}
"""
OWN = """\
streamProcessor:
  - name: own
    desiredState: active
    streamProcessorServiceConfig:
      location: {2: line}
      config:
        model: {name: pump, version: v1}
        sources:
          press: acme._raw.press
          rpm: acme._raw.rpm
        mapping:
          pressure: press * 2
          motor:
            speed: rpm
"""


def items(*names: str, template: str = "pump") -> str:
    return "streamProcessor:\n" + "".join(ITEM.format(name=name, template=template) for name in names)


def checked(text: str) -> Configuration:
    checker = Checker(source="config.yaml", env={}, engine=FlowEngine(EmbeddedBroker("unused")))
    return checker.check(text)


def sound(text: str) -> tuple[StreamProcessor, ...]:
    configuration = checked(text)
    assert configuration.problems == (), [str(problem) for problem in configuration.problems]
    return configuration.stream_processors


def test_a_template_becomes_one_flow_for_each_that_refers_to_it() -> None:
    """From exact topics, read as a group of its own, through the processor, into the namespace."""
    first, second = sound(MODELS + TEMPLATE + items("pump41", "pump42"))
    place = "acme.cologne.line.pump41"
    assert first == StreamProcessor(
        name="pump41",
        bridged_by="stream-processor-acme-cologne-pump41",
        location={0: "acme", 1: "cologne", 2: "line", 3: "pump41"},
        location_path=place,
        template="pump",
        running=first.running,
        flow={
            "input": {
                "uns": {
                    "umh_topics": [
                        r"umh\.v1\.acme\.cologne\.line\.pump41\._raw\.psi$",
                        r"umh\.v1\.acme\.cologne\.line\.pump41\._raw\.rpm$",
                    ],
                    "consumer_group": "stream-processor-acme-cologne-pump41",
                }
            },
            "pipeline": {
                "processors": [
                    {
                        "stream_processor": {
                            "output_topic": f"umh.v1.{place}",
                            "model": {"name": "pump", "version": "v1"},
                            "contract": "_pump_v1",
                            "sources": {"press": f"{place}._raw.psi", "rpm": f"umh.v1.{place}._raw.rpm"},
                            "mapping": {
                                "pressure": "press * 6.895",
                                "motor": {"speed": "rpm", "state": '= "on" if rpm > 10 else "off"'},
                                "serial": "'SN-7'",
                            },
                        }
                    }
                ]
            },
            "output": {"uns": {"bridged_by": "stream-processor-acme-cologne-pump41"}},
        },
    )
    assert first.running.engine == "embedded"
    assert second.location_path.endswith("pump42")


def test_the_contract_is_the_one_that_is_declared_for_the_model() -> None:
    """Whatever it is called."""
    text = MODELS.replace("name: _pump_v1, model", "name: pumps, model") + OWN
    processors = sound(text)[0].flow["pipeline"]["processors"]
    assert processors[0]["stream_processor"]["contract"] == "_pumps_v1"


def test_a_wrong_template_makes_only_that_item_wrong() -> None:
    """The others are there."""
    configuration = checked(MODELS + TEMPLATE + items("pump41") + ITEM.format(name="pump42", template="pmp"))
    assert [item.name for item in configuration.stream_processors] == ["pump41"]
    assert configuration.rejected == {"pump42"}
    (problem,) = configuration.errors
    assert (problem.item, problem.line) == ("pump42", 37)
    assert "there is no template 'pmp'; did you mean 'pump'?" in str(problem)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("press * 2", "pres * 2", 27, "mapping.pressure: 'pres' is no source; did you mean 'press'?"),
        ("press * 2", "press *", 27, "this is not JavaScript"),
        ("press * 2", "= press *", 27, "this is no expression"),
        ("speed: rpm", "sped: rpm", 29, "mapping.motor.sped: the model pump:v1 has no field 'motor.sped'; did you mean 'motor.speed'?"),
        ("speed: rpm", "speed: SN-7", 29, "mapping.motor.speed: 'SN' is no source"),
        ("pressure: press * 2", "shake: press * 2", 27, "takes 'vibration' at 'shake'; a stream processor publishes time series"),
        ("press: acme._raw.press", "press: acme.press", 24, "sources.press: topic 'umh.v1.acme.press' has no contract"),
        ("press: acme._raw.press", "press:", 24, "sources.press: is empty"),
        ("press: acme._raw.press", "press: acme._raw.press\n          a-b: acme._raw.x", 25, "'a-b' cannot be a variable"),
        ("mapping:", "mappings:", 26, "unknown key; did you mean 'mapping'?"),
        ("version: v1}\n        s", "version: 1}\n        s", 22, "'1' is not a version"),
        ("    desiredState: active", "    desiredState: active\n    engine: benthos", 19, "Benthos does not run stream processors"),
        ("name: own", "name: own.", 17, "is not a valid name"),
    ],
)  # fmt: skip
def test_a_fault_is_named_at_its_line(old: str, new: str, line: int, words: str) -> None:
    """With the key, and what may have been meant; the item is not used."""
    assert old in OWN
    configuration = checked(MODELS + OWN.replace(old, new, 1))
    assert any(error.line == line and words in str(error) for error in configuration.errors), [
        str(error) for error in configuration.errors
    ]
    assert configuration.stream_processors == ()


@pytest.mark.parametrize("key", ["sources", "mapping"])
def test_a_processor_without_sources_or_fields_is_refused(key: str) -> None:
    """It would do nothing."""
    config = {"model": {"name": "pump", "version": "v1"}, "sources": {"rpm": "a._raw.x"}, "mapping": {"pressure": 1}}
    text = OWN.partition("      config:")[0] + f"      config: {json.dumps({**config, key: {}})}\n"
    assert any(f"{key}: is empty" in str(error) for error in checked(MODELS + text).errors)


def test_a_variable_can_only_be_missing_where_the_item_gives_them() -> None:
    """As for bridges."""
    (error,) = checked(MODELS + TEMPLATE + items("p").replace("SENSOR: psi, ", "")).errors
    assert (error.line, error.item) == (33, "p")
    assert "the variable 'SENSOR' is missing; line 21 uses it" in str(error)


def test_what_feeds_itself_is_refused_with_its_line() -> None:
    """A source must not be a topic that the processor publishes to."""
    (error,) = checked(MODELS + OWN.replace("acme._raw.press", "acme.cologne.line._pump_v1.pressure")).errors
    assert "what it publishes comes back to it for ever: own → own" in str(error)
    assert error.line == 23


def test_a_loop_over_several_is_refused_and_a_chain_is_not() -> None:
    """Each message would make others for ever; the one that closes the loop is wrong, wherever it stands."""

    def chain(*topics: str) -> str:
        found = "streamProcessor:\n"
        for number, topic in enumerate(topics):
            config = {"model": {"name": "pump", "version": "v1"}, "sources": {"a": topic}, "mapping": {"pressure": "a"}}
            service = {"location": {"2": f"l{number}"}, "config": config}
            found += f"- {json.dumps({'name': f'p{number}', 'desiredState': 'active', 'streamProcessorServiceConfig': service})}\n"
        return MODELS + found

    made_by = [f"acme.cologne.l{number}._pump_v1.pressure" for number in range(3)]
    assert len(sound(chain("a._raw.x", made_by[0], made_by[1]))) == 3
    assert len(sound(chain(made_by[1], made_by[2], "a._raw.x"))) == 3
    configuration = checked(chain(made_by[2], made_by[0], made_by[1]))
    assert [item.name for item in configuration.stream_processors] == ["p0", "p1"]
    assert "p2 → p0 → p1 → p2" in str(configuration.errors[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN.replace("press * 2", "rpm * 2"), ["sources.press: no field of the mapping uses this source; remove it"]),
        (
            OWN.replace("name: pump, v", "name: pumpe, v"),
            ["no data model pumpe:v1: what is published under _pumpe_v1 is not checked; did you mean 'pump:v1'?"],
        ),
    ],
)  # fmt: skip
def test_what_is_allowed_and_probably_not_meant_is_a_warning(text: str, words: list[str]) -> None:
    """The item is used."""
    configuration = checked(MODELS + text)
    assert configuration.errors == ()
    assert [expected in str(problem) for problem, expected in zip(configuration.problems, words, strict=True)] == [True]
    assert len(configuration.stream_processors) == 1


def test_a_model_without_a_contract_is_a_warning() -> None:
    """Nobody would check what is published."""
    configuration = checked(MODELS.partition("dataContracts")[0] + OWN)
    (problem,) = configuration.problems
    assert "no data contract is about pump:v1: what is published under _pump_v1 is not checked" in str(problem)
    assert problem.severity == "warning"


def test_names_that_would_share_a_group_are_refused() -> None:
    """They would take messages from each other."""
    errors = checked(MODELS + TEMPLATE + items("a-b", "a_b")).errors
    assert "'a_b' and 'a-b' get the same id" in str(errors[0])


def test_a_bridge_and_a_stream_processor_may_have_one_name() -> None:
    """Each fault is found in its own flow."""
    flow = (
        "dataFlow:\n  - name: own\n    desiredState: active\n"
        "    dataFlowComponentConfig: {benthos: {input: {generate: {mapping: 'root = 1'}}, output: {drop: {}}}}\n"
    )
    configuration = checked(MODELS + flow + OWN)
    assert configuration.errors == ()
    mapping = ("pipeline", "processors", 0, "stream_processor", "mapping")
    assert configuration.locate("own", mapping, part="stream")[0] == 30
    assert configuration.locate("own", ("input",), part="flow")[0] == 19


def test_without_a_location_that_can_be_relied_on_none_is_used() -> None:
    """Its topics would be wrong."""
    configuration = read_config(MODELS.replace("{0: acme, 1: cologne}", "{0: a b}") + OWN)
    assert configuration.stream_processors == ()
    assert any("no stream processor is used" in str(error) for error in configuration.errors)


def test_the_whole_agent_derives_what_the_config_says(tmp_path: Path) -> None:
    """From a flow that makes readings to values under the contract; edited while it runs."""
    readings = """\
dataFlow:
  - name: readings
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {generate: {interval: 10ms, mapping: 'root.n = counter()'}}
        pipeline:
          processors:
            - tag_processor:
                defaults: |
                  msg.meta.location_path = "acme"; msg.meta.data_contract = "_raw"; msg.meta.tag_name = "press";
                  msg.payload = msg.payload.n; return msg;
        output: {uns: {}}
"""
    text = MODELS + readings + OWN.replace("          rpm: acme._raw.rpm\n", "").replace("rpm", "press")
    (tmp_path / "config.yaml").write_text(text)

    async def found(agent: Any, topic: str) -> Any:
        async with asyncio.timeout(10):
            while True:
                with suppress(BrokerError):  # it is not open at once
                    for info in await agent.broker.topics(topic):
                        return info
                await asyncio.sleep(0.02)

    async def main() -> None:
        agent = Agent(tmp_path / "config.yaml", data=tmp_path / "data", env={})
        await agent.start()
        try:
            info = await found(agent, "umh.v1.acme.cologne.line._pump_v1.pressure")
            assert json.loads(info.payload)["value"] % 2 == 0
            assert info.headers["bridged_by"] == "stream-processor-acme-cologne-own"
            (tmp_path / "config.yaml").write_text(text.replace("pressure: press * 2", "serial: '`no ${press}`'"))
            info = await found(agent, "umh.v1.acme.cologne.line._pump_v1.serial")
            assert json.loads(info.payload)["value"].startswith("no ")
        finally:
            assert await agent.stop() == []

    asyncio.run(main())


ROOT = Path(__file__).parents[2]


def test_the_example_and_the_page_are_right() -> None:
    """What people copy has no fault, and nothing in it is left unchecked."""
    page = (ROOT / "docs" / "stream-processors.md").read_text(encoding="utf-8")
    config, flow = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(sound(config)) == 1
    assert (
        FlowEngine(EmbeddedBroker("unused")).compile(yaml.safe_load(flow)).config.processors[0].kind
        == "stream_processor"
    )
    assert len(sound((ROOT / "examples" / "stream-processor" / "config.yaml").read_text(encoding="utf-8"))) == 2

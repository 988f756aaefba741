"""What becomes of the bridges of a file: templates and variables, location, read and write flow."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from setpoint.agent.config import Bridge, Configuration, read_config

AGENT: dict[str, Any] = {"location": {0: "acme", 1: "cologne"}}
CONNECTION = {"nmap": {"target": "{{ .IP }}", "port": "{{ .PORT }}"}}
VARIABLES = {"IP": "10.0.0.1", "PORT": "502"}


def config(read: Any = None, write: Any = None, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"connection": CONNECTION, **more}
    if read is not None:
        body["dataflowcomponent_read"] = {"benthos": read}
    if write is not None:
        body["dataflowcomponent_write"] = write
    return body


def reading(
    body: Any, variables: Any = None, *, agent: Any = AGENT, env: dict[str, str] | None = None, **service: Any
) -> Configuration:
    """A file with one bridge, as YAML writes it."""
    item = {
        "name": "press-1",
        "desiredState": "active",
        "protocolConverterServiceConfig": {
            "config": body,
            "variables": VARIABLES if variables is None else variables,
            **service,
        },
    }
    # Everything quoted and tagged: what is a number to go-yaml and what to PyYAML differs ("0E0").
    text = yaml.safe_dump({"agent": agent, "protocolConverter": [item]}, default_style='"')
    return read_config(text, env=env or {})


def bridge(*arguments: Any, **more: Any) -> Bridge:
    configuration = reading(*arguments, **more)
    assert configuration.errors == (), [str(problem) for problem in configuration.errors]
    return configuration.bridges[0]


def test_a_bridge_is_complete_after_reading() -> None:
    """Everything a worker needs is in it, with the defaults of what was not said."""
    result = bridge(config(read={"input": {"stdin": {}}}), location={"3": "press-1"})
    assert result == Bridge(
        name="press-1",
        target="10.0.0.1",
        port=502,
        bridged_by="protocol-converter-acme-cologne-press-1",
        location={0: "acme", 1: "cologne", 2: "unknown", 3: "press-1"},
        location_path="acme.cologne.unknown.press-1",
        read={
            "input": {"stdin": {}},
            "output": {"uns": {"bridged_by": "protocol-converter-acme-cologne-press-1"}},
            "pipeline": {},
        },
        idle_window=30.0,
    )


def test_the_level_of_the_agent_wins() -> None:
    """A bridge fills what the agent leaves open and cannot pretend to stand elsewhere."""
    assert bridge(config(), location={0: "other", "2": "area"}).location_path == "acme.cologne.area"
    assert bridge(config(), agent={"location": {0: "acme", 1: ""}}, location={1: "site"}).location_path == "acme.site"


def test_the_environment_replaces_the_whole_location_of_the_agent() -> None:
    """LOCATION_0 to LOCATION_6 count when LOCATION_0 is set, as in UMH Core."""
    assert bridge(config(), env={"LOCATION_0": "e", "LOCATION_2": "a"}).location_path == "e.unknown.a"
    assert bridge(config(), env={"LOCATION_1": "s"}).location_path == "acme.cologne"
    assert "LOCATION_0" in reading(config(), env={"LOCATION_0": "a b"}).errors[0].message


@pytest.mark.parametrize(("text", "seconds"), [("", 30.0), ("5", 5.0), (" 0.5 ", 0.5)])
def test_the_idle_window_comes_from_the_environment(text: str, seconds: float) -> None:
    """A number of seconds; anything else is an error, not a default."""
    assert bridge(config(), env={"BRIDGE_IDLE_WINDOW": text}).idle_window == seconds
    for wrong in ("soon", "0", "-1", "1e9", "nan"):
        assert "BRIDGE_IDLE_WINDOW" in reading(config(), env={"BRIDGE_IDLE_WINDOW": wrong}).errors[0].message


def test_the_id_of_a_bridge_follows_the_node_name() -> None:
    """Letters, digits and single dashes; the node is NODE_NAME, else the location, else `agent`."""
    assert bridge(config(), env={"NODE_NAME": "edge_7"}).bridged_by == "protocol-converter-edge-7-press-1"
    assert bridge(config(), agent={"metricsPort": 8080}).bridged_by == "protocol-converter-agent-press-1"


def test_flat_and_nested_variables_mean_the_same() -> None:
    """{user, global, internal} is the long form; its global part is `.global`."""
    nested = {"user": VARIABLES, "global": {"line": "L1"}, "internal": {}}
    assert bridge(config(), nested) == bridge(config(), VARIABLES)
    read = {"input": {"file": {"paths": ["{{ .global.line }}"]}}}
    assert bridge(config(read=read), nested).read["input"] == {"file": {"paths": ["L1"]}}  # type: ignore[index]


def test_built_in_variables_are_there() -> None:
    """Location and identity need not be written twice."""
    places = [
        "{{ .location_path }}",
        '{{ index .location "1" }}',
        "{{ .location.0 }}",
        "{{ .internal.id }}",
        "{{ .internal.bridged_by }}",
    ]
    result = bridge(config(read={"input": {"file": {"paths": places}}}))
    assert result.read is not None
    assert result.read["input"]["file"]["paths"] == [
        "acme.cologne", "cologne", "acme", "press-1", "protocol-converter-acme-cologne-press-1",
    ]  # fmt: skip


def test_a_variable_named_like_a_built_in_is_warned_of_and_has_no_effect() -> None:
    """Otherwise a bridge could stand elsewhere after all."""
    configuration = reading(
        config(read={"input": {"file": {"paths": ["{{ .location_path }}"]}}}), VARIABLES | {"location_path": "x"}
    )
    assert [problem.severity for problem in configuration.problems] == ["warning"]
    assert configuration.bridges[0].read["input"]["file"]["paths"] == ["acme.cologne"]  # type: ignore[index]


def test_lists_numbers_and_mappings_pass_through_a_single_action() -> None:
    """Address lists are variables in people's files."""
    addresses = [{"name": "t", "address": 0}, {"name": "p", "address": 2}]
    read = {
        "input": {
            "modbus": {"addresses": "{{ .ADDRESSES }}", "slaveIDs": ["{{ .ID }}"], "controller": "tcp://{{ .IP }}"}
        }
    }
    result = bridge(config(read=read), VARIABLES | {"ADDRESSES": addresses, "ID": 7})
    assert result.read is not None
    assert result.read["input"]["modbus"] == {"addresses": addresses, "slaveIDs": [7], "controller": "tcp://10.0.0.1"}


def test_a_template_is_shared_and_each_bridge_has_its_own_values() -> None:
    """Ten bridges of one template differ in their variables and nothing else."""
    items = [
        {
            "name": f"b{number}",
            "desiredState": "active",
            "protocolConverterServiceConfig": {
                "templateRef": "t",
                "variables": {"IP": f"10.0.0.{number}", "PORT": 500 + number},
            },
        }
        for number in range(10)
    ]
    templates = {"protocolConverter": {"t": config(read={"input": {"stdin": {}}})}}
    text = yaml.safe_dump({"agent": AGENT, "templates": templates, "protocolConverter": items})
    configuration = read_config(text)
    assert [(b.target, b.port, b.template) for b in configuration.bridges] == [
        (f"10.0.0.{n}", 500 + n, "t") for n in range(10)
    ]


@pytest.mark.parametrize("place", ["item", "service", "config"])
def test_debug_level_is_accepted_wherever_the_docs_or_the_code_put_it(place: str) -> None:
    """Code and documents of UMH Core disagree; all of them load."""
    service: dict[str, Any] = {"config": config(), "variables": VARIABLES}
    item: dict[str, Any] = {"name": "b", "desiredState": "active", "protocolConverterServiceConfig": service}
    {"item": item, "service": service, "config": service["config"]}[place]["debug_level"] = True
    configuration = read_config(yaml.safe_dump({"agent": AGENT, "protocolConverter": [item]}))
    assert configuration.bridges[0].debug_level


def test_the_output_of_a_read_flow_is_always_uns() -> None:
    """Another output is not used, and the file says so in a warning."""
    configuration = reading(config(read={"input": {"stdin": {}}, "output": {"kafka": {"topic": "x"}}}))
    assert configuration.bridges[0].read["output"] == {"uns": {"bridged_by": configuration.bridges[0].bridged_by}}  # type: ignore[index]
    assert [problem.severity for problem in configuration.problems] == ["warning"]
    assert reading(config(read={"input": {"stdin": {}}, "output": {"uns": {}}})).problems == ()


@pytest.mark.parametrize(
    ("processors", "kinds"),
    [
        ([{"tag_processor": {}}], ["tag_processor", "downsampler"]),
        ([{"label": "x", "tag_processor": {}}], ["tag_processor", "downsampler"]),
        ([{"nodered_js": {}}], ["nodered_js"]),
        ([{"tag_processor": {}}, {"nodered_js": {}}], ["tag_processor", "nodered_js"]),
        ([{"tag_processor": {}}, {"downsampler": {"x": 1}}], ["tag_processor", "downsampler"]),
        ([], []),
    ],
)
def test_a_single_tag_processor_is_followed_by_a_downsampler(processors: list[Any], kinds: list[str]) -> None:
    """Time series are downsampled unless the flow says how itself."""
    result = bridge(config(read={"input": {"stdin": {}}, "pipeline": {"processors": processors}}))
    assert result.read is not None
    found = result.read["pipeline"].get("processors", [])
    assert [kind for processor in found for kind in processor if kind != "label"] == kinds


def test_an_empty_read_flow_is_no_flow() -> None:
    """The bridge is there and waits; a flow without an input but with something else is a mistake."""
    assert bridge(config(read={})).read is None
    assert bridge(config(read={"input": {}})).read is None
    assert "is missing" in reading(config(read={"pipeline": {"processors": [{"tag_processor": {}}]}})).errors[0].message


WRITE = {
    "source": {"topics": "- umh.v1.acme.*\n\n  umh.v1.acme.cologne.*._raw\\..*\n"},
    "processing": {"code": "return msg; // {{ .IP }}"},
    "destination": {"protocol": "mqtt", "code": "urls:\n  - tcp://{{ .IP }}:1883\nport: {{ .PORT }}\ntopic: \"a: b\"\n"},
    "extra": {"code": "cache_resources:\n  - label: c\n"},
}  # fmt: skip


def test_a_write_flow_becomes_a_benthos_flow() -> None:
    """Source, processing, destination and extra are its input, pipeline, output and resources."""
    result = bridge(config(write=WRITE), VARIABLES | {"PORT": 502})
    assert result.write == {
        "input": {
            "uns": {
                "umh_topics": ["umh.v1.acme.*", "umh.v1.acme.cologne.*._raw\\..*"],
                "consumer_group": "protocol-converter-acme-cologne-press-1",
            }
        },
        "pipeline": {"processors": [{"nodered_js": {"code": "return msg; // 10.0.0.1"}}]},
        "output": {"mqtt": {"urls": ["tcp://10.0.0.1:1883"], "port": 502, "topic": "a: b"}},
        "cache_resources": [{"label": "c"}],
    }


def test_a_variable_cannot_change_the_yaml_of_a_destination() -> None:
    """Its text is read before it is rendered, so a line break in a variable stays in its value."""
    write = WRITE | {"destination": {"protocol": "mqtt", "code": "topic: {{ .TOPIC }}\n"}}
    result = bridge(config(write=write), VARIABLES | {"TOPIC": "a\nurls: [evil]"})
    assert result.write is not None
    assert result.write["output"] == {"mqtt": {"topic": "a\nurls: [evil]"}}


def test_a_ready_made_write_flow_is_taken_as_it_is() -> None:
    """The form before the preview of 0.44."""
    benthos = {"input": {"uns": {}}, "output": {"drop": {}}}
    assert bridge(config(write={"benthos": benthos})).write == benthos
    assert bridge(config(write={"source": {"topics": ""}, "destination": {"protocol": "", "code": ""}})).write is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": {"topics": "a,b"}}, "comma"),
        ({"source": {"topics": ""}}, "source.topics: is missing"),
        ({"destination": {"code": "a: 1"}}, "destination.protocol: is missing"),
        ({"destination": {}}, "destination: is missing"),
        ({"destination": {"protocol": "mqtt", "code": "a: [1"}}, "is not closed"),
        ({"extra": {"code": "caches: []"}}, "did you mean 'cache_resources'?"),
        ({"benthos": {"output": {"drop": {}}}}, "given twice"),
        ({"sorce": {}}, "did you mean 'source'?"),
    ],
)
def test_a_write_flow_with_a_mistake_is_refused(change: dict[str, Any], message: str) -> None:
    """A write flow that would read no topic, or write nowhere, does not start."""
    errors = reading(config(write=WRITE | change)).errors
    assert any(message in str(error) for error in errors), [str(error) for error in errors]


def test_the_historian_is_there_for_templates() -> None:
    """`.historian.timescale.*` has the documented defaults, and is missing where there is no historian."""
    write = WRITE | {
        "destination": {
            "protocol": "sql",
            "code": 'dsn: "{{ .historian.timescale.host }}:{{ .historian.timescale.port }}"',
        }
    }
    text = yaml.safe_dump(
        {
            "agent": AGENT,
            "historian": {"timescale": {"host": "db", "password": "p"}},
            "protocolConverter": [
                {
                    "name": "b",
                    "desiredState": "active",
                    "protocolConverterServiceConfig": {"config": config(write=write), "variables": VARIABLES},
                }
            ],
        }
    )
    result = read_config(text).bridges[0].write
    assert result is not None
    assert result["output"] == {"sql": {"dsn": "db:5432"}}
    assert "'historian'" in str(reading(config(write=write)).errors[0])


def test_places_in_a_flow_can_be_located() -> None:
    """The line of any path of a flow is known, and for what is not in the file that of the nearest thing above it."""
    text = """\
agent: {location: {0: acme}}
protocolConverter:
  - name: b
    desiredState: active
    protocolConverterServiceConfig:
      config:
        connection: {nmap: {target: h, port: 1}}
        dataflowcomponent_read:
          benthos:
            input:
              modbus:
                addresses:
                  - {name: t, type: X}
            pipeline:
              processors:
                - tag_processor: {}
        dataflowcomponent_write:
          source: {topics: umh}
          destination:
            protocol: mqtt
            code: |
              urls: []
              topic: x
dataFlow:
  - name: b
    desiredState: active
    dataFlowComponentConfig: {benthos: {input: {stdin: {}}, output: {drop: {}}}}
"""
    configuration = read_config(text)
    assert configuration.problems == ()
    assert configuration.locate("b", ("input", "modbus", "addresses", 0, "type")) == (13, 31)
    assert configuration.locate("b", ("input", "modbus", "addresses", 0, "length")) == (13, 21)
    assert configuration.locate("b", ("pipeline", "processors", 1, "downsampler")) == (16, 19)
    assert configuration.locate("b", ("output", "mqtt", "topic"), part="write") == (23, 1)
    assert configuration.locate("b", ("output", "drop"), part="flow") == (27, 70)
    with pytest.raises(LookupError, match="no bridge or flow 'c'"):
        configuration.locate("c")


def test_bridges_that_want_the_same_are_equal_wherever_they_stand() -> None:
    """A comment added above must restart nothing."""
    text = "agent: {location: {0: acme}}\ndataFlow:\n- {name: f, desiredState: active, "
    text += "dataFlowComponentConfig: {benthos: {input: {stdin: {}}}}}\n"
    assert read_config(text).flows == read_config("# a comment\n" + text).flows


_VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=30).filter(
    lambda text: "{{" not in text
)


@given(_VALUES)
def test_no_variable_changes_the_structure(value: str) -> None:
    """Whatever is in a variable, colons, quotes, line breaks, ends up inside the one value that uses it."""
    read = {
        "input": {"file": {"paths": ["a{{ .X }}b", "{{ .X }}"]}},
        "pipeline": {"processors": [{"nodered_js": {"code": "x = '{{ .X }}'"}}]},
    }
    result = bridge(config(read=read), VARIABLES | {"X": value})
    assert result.read is not None
    assert result.read["input"] == {"file": {"paths": [f"a{value}b", value]}}
    assert result.read["pipeline"] == {"processors": [{"nodered_js": {"code": f"x = '{value}'"}}]}

"""One mistake at a time in a file that is otherwise right: what is said, and exactly where."""

import pytest

from setpoint.agent.config import Configuration, read_config

GOOD = """\
agent:
  metricsPort: 8080
  location:
    0: acme
    1: cologne
templates:
  protocolConverter:
    modbus:
      connection:
        nmap:
          target: "{{ .IP }}"
          port: "{{ .PORT }}"
      dataflowcomponent_read:
        benthos:
          input:
            modbus:
              controller: "tcp://{{ .IP }}:{{ .PORT }}"
          pipeline:
            processors:
              - tag_processor:
                  defaults: |
                    // first line
                    msg.meta.location_path = "{{ .location_path }}";
protocolConverter:
  - name: press-1
    desiredState: active
    protocolConverterServiceConfig:
      templateRef: modbus
      location:
        2: press-1
      variables:
        IP: "10.0.0.1"
        PORT: "502"
  - name: press-2
    desiredState: stopped
    debug_level: true
    protocolConverterServiceConfig:
      readDFCDesiredState: active
      config:
        connection:
          nmap:
            target: 10.0.0.2
            port: 502
        dataflowcomponent_read:
          benthos:
            input:
              modbus:
                controller: tcp://10.0.0.2:502
dataFlow:
  - name: tester
    desiredState: active
    dataFlowComponentConfig:
      debug_level: false
      benthos:
        input:
          generate: {}
        output:
          drop: {}
internal:
  redpanda:
    desiredState: active
    redpandaServiceConfig:
      topic:
        defaultTopicRetentionMs: 1000
"""

BRIDGE = "protocolConverter[0].protocolConverterServiceConfig"
INLINE = "protocolConverter[1].protocolConverterServiceConfig.config"
BODY = "templates.protocolConverter.modbus"

# what is replaced, by what, line, column, key, item, words of the message
MISTAKES = [
    ("metricsPort: 8080", "metricsPort: many", 2, 16, "agent.metricsPort", None, "from 1 to 65535, found 'many'"),
    ("metricsPort: 8080", "metricsPort: 0", 2, 16, "agent.metricsPort", None, "found '0'"),
    ("metricsPort: 8080", "metricPort: 8080", 2, 3, "agent.metricPort", None, "did you mean 'metricsPort'?"),
    ("templates:\n", "template:\n", 6, 1, "template", None, "did you mean 'templates'?"),
    ("dataFlow:\n", "dataflow:\n", 49, 1, "dataflow", None, "did you mean 'dataFlow'?"),
    ("desiredState: active\n    protocolC", "desiredState: activ\n    protocolC", 26, 19, "protocolConverter[0].desiredState",
     "press-1", "expected active or stopped, found 'activ'; did you mean 'active'?"),
    ("    desiredState: active\n    protocolC", "    protocolC", 25, 5, "protocolConverter[0].desiredState", "press-1", "is missing"),
    ("name: press-1", "name: press 1", 25, 5, "protocolConverter[0].name", "press 1", "'press 1' is not a valid name"),
    ("name: press-1", "name: -press", 25, 5, "protocolConverter[0].name", "-press", "is not a valid name"),
    ("name: press-1", "name: ../etc/x", 25, 5, "protocolConverter[0].name", "../etc/x", "is not a valid name"),
    ("name: press-1", "name:", 25, 5, "protocolConverter[0].name", None, "is empty"),
    ("name: press-2", "name: press-1", 34, 5, "protocolConverter[1].name", "press-1", "used twice"),
    ("name: press-2", "name: press_1", 34, 5, "protocolConverter[1].name", "press_1", "get the same id"),
    ("templateRef: modbus", "templateRef: modbuss", 28, 7, f"{BRIDGE}.templateRef", "press-1", "did you mean 'modbus'?"),
    ("      templateRef: modbus\n", "", 28, 7, BRIDGE, "press-1", "neither config nor templateRef"),
    ("      templateRef: modbus\n", "      templateRef: modbus\n      config: {}\n", 28, 7, f"{BRIDGE}.templateRef", "press-1",
     "both given"),
    ("      templateRef: modbus\n", "      template: {}\n", 28, 7, f"{BRIDGE}.template", "press-1", "it is called 'config' now"),
    ("      location:\n        2: press-1\n", "      location:\n        two: press-1\n", 30, 9, f"{BRIDGE}.location.two", "press-1",
     "is not a level number"),
    ("2: press-1", "2: press/1", 30, 9, f"{BRIDGE}.location.2", "press-1", "'press/1', is not valid"),
    ('IP: "10.0.0.1"', 'IPP: "10.0.0.1"', 31, 7, f"{BRIDGE}.variables", "press-1", "variable 'IP' is missing; line 11 uses it"),
    ('IP: "10.0.0.1"', 'global: "10.0.0.1"\n        IP: x', 32, 9, f"{BRIDGE}.variables.global", "press-1", "is reserved"),
    ('PORT: "502"', 'PORT: "5O2"', 12, 17, f"{BODY}.connection.nmap.port", "press-1", "a port from 1 to 65535, found '5O2'"),
    ('IP: "10.0.0.1"', 'IP: "tcp://10.0.0.1"', 11, 11, f"{BODY}.connection.nmap.target", "press-1", "is not a host"),
    ('IP: "10.0.0.1"', 'IP: "{{ .PORT }}"', 11, 19, f"{BODY}.connection.nmap.target", "press-1", "'{{' is left over"),
    ("{{ .location_path }}", "{{ .location_pth }}", 31, 7, f"{BRIDGE}.variables", "press-1", "line 23 uses it"),
    ("{{ .location_path }}", "{{ .location.9 }}", 23, 1,
     f"{BODY}.dataflowcomponent_read.benthos.pipeline.processors[0].tag_processor.defaults", "press-1", "no variable 'location.9'"),
    ("{{ .location_path }}", "{{ .location_path", 23, 1,
     f"{BODY}.dataflowcomponent_read.benthos.pipeline.processors[0].tag_processor.defaults", None, "'{{' without '}}'"),
    ('target: "{{ .IP }}"', 'target: {{ .IP }}', 11, 19, f"{BODY}.connection.nmap.target", None, "a template that is not in quotes"),
    ("        benthos:\n          input:\n", "        benthos:\n          inputs:\n", 15, 11,
     f"{BODY}.dataflowcomponent_read.benthos.inputs", None, "did you mean 'input'?"),
    ("            port: 502\n", "            port: 70000\n", 43, 19, f"{INLINE}.connection.nmap.port", "press-2", "found '70000'"),
    ("            port: 502\n", "", 42, 13, f"{INLINE}.connection.nmap.port", "press-2", "is missing"),
    ("            target: 10.0.0.2\n", "            ip: 10.0.0.2\n", 42, 13, f"{INLINE}.connection.nmap.ip", "press-2", "unknown key"),
    ("target: 10.0.0.2", 'target: "{{ .IP }}"', 42, 21, f"{INLINE}.connection.nmap.target", "press-2", "there is no variable 'IP'"),
    ("debug_level: true", "debug_level: maybe", 36, 18, "protocolConverter[1].debug_level", "press-2", "expected true or false"),
    ("readDFCDesiredState: active", "readDFCDesiredState: on", 38, 28,
     "protocolConverter[1].protocolConverterServiceConfig.readDFCDesiredState", "press-2", "expected active or stopped"),
    ("name: tester", "nam: tester", 50, 5, "dataFlow[0].nam", None, "unknown key; did you mean 'name'?"),
    ("      benthos:\n        input:\n          gen", "      bentos:\n        input:\n          gen", 54, 7,
     "dataFlow[0].dataFlowComponentConfig.bentos", "tester", "did you mean 'benthos'?"),
    ("        output:\n          drop", "        outpt:\n          drop", 57, 9,
     "dataFlow[0].dataFlowComponentConfig.benthos.outpt", "tester", "did you mean 'output'?"),
    ("    redpandaServiceConfig:\n      topic:\n        defaultTopicRetentionMs: 1000", "    defaultTopicRetentionMs: 1000", 62, 5,
     "internal.redpanda.defaultTopicRetentionMs", None, "layout of older versions"),
    ("defaultTopicRetentionMs: 1000", "defaultTopicRetentionMs: 7d", 64, 34,
     "internal.redpanda.redpandaServiceConfig.topic.defaultTopicRetentionMs", None, "a whole number, 1 or more, found '7d'"),
    ("  redpanda:\n", "  redpandas:\n", 60, 3, "internal.redpandas", None, "did you mean 'redpanda'?"),
]  # fmt: skip


def changed(old: str, new: str) -> Configuration:
    assert GOOD.count(old) >= 1, old
    return read_config(GOOD.replace(old, new, 1))


def test_the_file_without_a_mistake_has_no_problem() -> None:
    """Every mistake below is the only one in its file."""
    configuration = read_config(GOOD)
    assert configuration.problems == ()
    assert [bridge.name for bridge in configuration.bridges] == ["press-1", "press-2"]
    assert [flow.name for flow in configuration.flows] == ["tester"]


@pytest.mark.parametrize(("old", "new", "line", "column", "key", "item", "words"), MISTAKES)
def test_a_mistake_is_reported_at_its_place(
    old: str, new: str, line: int, column: int, key: str, item: str | None, words: str
) -> None:
    """Line, column, path of keys and item are those of the mistake; the printed form has them all."""
    errors = changed(old, new).errors
    described = [(error.line, error.column, error.key, error.item) for error in errors]
    assert (line, column, key, item) in described, [str(error) for error in errors]
    error = errors[described.index((line, column, key, item))]
    assert str(error).startswith(f"config.yaml:{line}:{column}: {key}: ")
    assert words in str(error)


@pytest.mark.parametrize(("old", "new", "item"), [(row[0], row[1], row[5]) for row in MISTAKES if row[5]])
def test_a_mistake_in_one_item_leaves_its_siblings(old: str, new: str, item: str) -> None:
    """The item is rejected by name, and every item that has no error is in the configuration."""
    configuration = changed(old, new)
    accused = {problem.item for problem in configuration.errors}
    kept = {bridge.name for bridge in configuration.bridges} | {flow.name for flow in configuration.flows}
    assert item in configuration.rejected
    assert not accused & kept
    assert "tester" in kept | configuration.rejected
    assert configuration.usable


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    """One reading is enough to see everything, also the second mistake of an item that has one already."""
    text = GOOD
    for old, new in (
        ("metricsPort: 8080", "metricsPort: x"),
        ("desiredState: active\n    protocolC", "desiredState: activ\n    protocolC"),
        ('IP: "10.0.0.1"', 'IPP: "10.0.0.1"'),
        ("port: 502\n", "port: x\n"),
        ("name: tester", "name: tester-"),
    ):
        text = text.replace(old, new, 1)
    errors = read_config(text).errors
    assert [error.line for error in errors] == [2, 26, 31, 43, 50]


def test_a_template_with_an_error_is_reported_once_and_named_by_its_bridges() -> None:
    """A hundred bridges of one bad template do not say the same a hundred times; each says which template it waits for."""
    text = GOOD.replace('port: "{{ .PORT }}"', 'prt: "{{ .PORT }}"', 1)
    errors = read_config(text).errors
    assert [(error.item, error.line) for error in errors if error.item is None] == [(None, 11), (None, 12)]
    assert [(error.item, error.line) for error in errors if error.item] == [("press-1", 28)]
    assert "the template 'modbus' has errors" in errors[-1].message


def test_two_items_of_one_name_are_both_rejected() -> None:
    """Nobody knows which of the two was meant, so neither takes effect."""
    configuration = changed("name: press-2", "name: press-1")
    assert configuration.bridges == ()
    assert configuration.rejected == {"press-1"}


def test_no_bridge_is_used_while_the_location_of_the_agent_is_wrong() -> None:
    """Its values would go to wrong topics; the flows, which name their topics themselves, are kept."""
    configuration = changed("1: cologne", "1: köln ost")
    assert configuration.bridges == ()
    assert configuration.rejected == {"press-1", "press-2"}
    assert [flow.name for flow in configuration.flows] == ["tester"]
    assert {error.key for error in configuration.errors} == {"agent.location.1", "protocolConverter"}


def test_a_missing_agent_section_is_an_error_unless_the_environment_gives_the_location() -> None:
    """Without a location no topic can be built."""
    text = GOOD[GOOD.index("templates:") :]
    assert "agent" in {error.key for error in read_config(text).errors}
    assert len(read_config(text, env={"LOCATION_0": "acme"}).bridges) == 2


def test_secrets_are_not_shown_in_messages() -> None:
    """A password of the wrong kind is reported without its value."""
    text = GOOD + "historian:\n  timescale:\n    host: h\n    password: p\n    sslmode: hunter2\n    port: 1\n"
    errors = read_config(text.replace("sslmode: hunter2", "password_port: hunter2")).errors
    assert errors
    assert not any("hunter2" in str(error) for error in errors)


def test_an_item_that_aliases_something_wrong_is_rejected_by_name() -> None:
    """The error stands where the anchor is, but the item that uses it is not built on it."""
    text = """\
agent: {location: {0: acme}}
dataFlow:
  - name: first
    desiredState: active
    dataFlowComponentConfig: &shared {benthos: {input: {stdin: {}, stdin: {}}, output: {drop: {}}}}
  - name: second
    desiredState: active
    dataFlowComponentConfig: *shared
"""
    configuration = read_config(text)
    assert configuration.flows == ()
    assert [(error.item, error.line) for error in configuration.errors] == [("first", 5), ("second", 6)]

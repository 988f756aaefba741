"""Everything else a file may say: the broker, the agent's settings, and sections that are accepted without being acted on yet."""

import pytest

from setpoint.agent.config import Broker, Configuration, read_config

AGENT = "agent:\n  location: {0: acme}\n"


def sound(text: str) -> Configuration:
    configuration = read_config(AGENT + text)
    assert configuration.errors == (), [str(error) for error in configuration.errors]
    return configuration


def test_the_broker_has_the_defaults_of_the_product_it_replaces() -> None:
    """Seven days of retention, no limit in bytes, active."""
    assert sound("").broker == Broker("active", 604_800_000, 0)


def test_the_broker_is_read_from_internal_redpanda() -> None:
    """Desired state and retention count; what only Redpanda has is named in a warning."""
    text = """\
internal:
  redpanda:
    name: redpanda
    desiredState: stopped
    redpandaServiceConfig:
      baseDir: /elsewhere
      topic:
        defaultTopicRetentionMs: 1000
        defaultTopicRetentionBytes: "2000"
        defaultTopicCleanupPolicy: compact
      resources: {maxCores: 4, memoryPerCoreInBytes: 2147483648}
  topicbrowser: {desiredState: active}
"""
    configuration = sound(text)
    assert configuration.broker == Broker("stopped", 1000, 2000)
    assert [problem.key.rpartition(".")[2] for problem in configuration.problems] == [
        "baseDir", "defaultTopicCleanupPolicy", "maxCores",
    ]  # fmt: skip


def test_the_agent_has_a_metrics_port() -> None:
    """8080 unless the file says otherwise, also in quotes."""
    assert sound("").agent.metrics_port == 8080
    assert read_config(AGENT + "  metricsPort: '9102'\n").agent.metrics_port == 9102


def test_documented_keys_of_the_agent_load() -> None:
    """A file of UMH Core loads; what asks for something that is not done yet is a warning, what asks for nothing is silent."""
    silent = "  simulator: false\n  releaseChannel: stable\n  fsmv2StorePrefix: x_\n"
    silent += "  graphql: {enabled: false, port: 8090, corsOrigins: ['*']}\n"
    assert sound(silent).problems == ()
    loud = """\
  simulator: true
  releaseChannel: nightly
  communicator: {apiUrl: "https://x", authToken: abc, allowInsecureTLS: no}
  graphql: {enabled: true}
"""
    assert [problem.key for problem in sound(loud).problems] == [
        "agent.simulator", "agent.releaseChannel", "agent.communicator", "agent.graphql",
    ]  # fmt: skip


LATER = {
    "internal.services": """\
internal:
  services:
    - name: s
      desiredState: running
      s6ServiceConfig: {command: [a, b], env: {A: b}, configFiles: {f: x}}
""",
    "internal.benthos": """\
internal:
  benthos:
    - name: b
      desiredState: active
      benthosServiceConfig: {input: {}, metrics_port: 0}
""",
    "internal.nmap": """\
internal:
  nmap:
    - name: n
      desiredState: open
      nmapServiceConfig: {target: h, port: 80}
""",
    "internal.connection": """\
internal:
  connection:
    - name: c
      desiredState: up
      connectionServiceConfig: {nmap: {target: h, port: 80}}
""",
    "internal.benthosMonitor": "internal:\n  benthosMonitor:\n    - {name: m, desiredState: active, metricsPort: 8082}\n",
}


@pytest.mark.parametrize("key", LATER)
def test_a_section_that_is_not_acted_on_yet_loads_with_a_warning(key: str) -> None:
    """Users have such files; they load, and nobody is left to believe that the section works."""
    problems = sound(LATER[key]).problems
    assert [(problem.key, problem.severity) for problem in problems] == [(key, "warning")]
    assert "does not act on it yet" in problems[0].message


MISTAKES = [
    ("internal.services", "desiredState: running", "desiredState: active", 6, "expected running or stopped"),
    ("internal.connection", "port: 80", "port: http", 7, "a port from 1 to 65535"),
    ("internal.connection", "desiredState: up", "desiredState: active", 6, "expected up or stopped"),
]


@pytest.mark.parametrize(("key", "old", "new", "line", "words"), MISTAKES)
def test_their_shape_is_checked_all_the_same(key: str, old: str, new: str, line: int, words: str) -> None:
    """A mistake there is found now, and not when the section begins to work."""
    assert old in LATER[key]
    errors = read_config(AGENT + LATER[key].replace(old, new, 1)).errors
    assert any(error.line == line and words in str(error) for error in errors), [str(error) for error in errors]


def test_stopped_is_understood_for_connections() -> None:
    """Connections are `up` or `stopped`, everything else `active` or `stopped`."""
    assert sound(LATER["internal.connection"].replace("desiredState: up", "desiredState: stopped")).problems


def test_a_stand_alone_flow_is_not_rendered() -> None:
    """Only bridges have templates; a flow is taken as it is written."""
    text = """\
dataFlow:
  - name: f
    desiredState: stopped
    dataFlowComponentConfig:
      debug_level: true
      benthos:
        input: {generate: {mapping: 'root = "{{ .X }}"'}}
        output: {drop: {}}
        buffer: {}
"""
    flow = sound(text).flows[0]
    assert flow.flow == {"input": {"generate": {"mapping": 'root = "{{ .X }}"'}}, "output": {"drop": {}}}
    assert (flow.desired_state, flow.debug_level, flow.line) == ("stopped", True, 4)

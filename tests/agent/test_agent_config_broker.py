"""``internal.redpanda``: the log inside the agent, a cluster that runs elsewhere, or a Redpanda that the agent runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from setpoint.agent.config import Configuration, read_config
from setpoint.agent.environment import Windows
from setpoint.agent.tree import tree_of
from setpoint.workers.broker import BrokerSpec, Managed

ENV = {"KAFKA_PASSWORD": "0815", "HOST": "kafka-1"}
UMH = """\
    redpandaServiceConfig:
      baseDir: /data
      topic:
        defaultTopicRetentionMs: 604800000
        defaultTopicRetentionBytes: 0
        defaultTopicCompressionAlgorithm: snappy
        defaultTopicCleanupPolicy: compact
        defaultTopicSegmentMs: 3600000
      resources: {maxCores: 1, memoryPerCoreInBytes: 2147483648}
"""


def read(section: str, env: dict[str, str] | None = None) -> Configuration:
    text = f"agent: {{location: {{0: acme}}}}\ninternal:\n  redpanda:\n{section}"
    return read_config(text, env=ENV if env is None else env)


def spec(configuration: Configuration) -> BrokerSpec:
    """What the broker's worker is given."""
    assert configuration.errors == (), [str(error) for error in configuration.errors]
    found = tree_of(configuration, Windows())[0].spec
    assert isinstance(found, BrokerSpec)
    return found


def test_the_log_inside_the_agent_is_the_default() -> None:
    """Also for a file of UMH Core, whose keys ask for nothing else."""
    assert spec(read("    desiredState: active\n")).place is None
    assert spec(read(UMH)).settings == {}


def test_a_cluster_elsewhere_has_the_fields_of_the_kafka_connector() -> None:
    """Brokers, TLS, SASL and the admin API; variables of the environment stand for what need not be in the file."""
    external = spec(
        read(
            """\
    external:
      brokers: ["${HOST}:9092", "${OTHER:-kafka-2}:9092"]
      admin: {url: "https://kafka-1:9644", user: admin, password: "${KAFKA_PASSWORD}"}
      tls: {enabled: true, root_cas_file: /etc/ca.pem}
      sasl: {mechanism: SCRAM-SHA-256, user: setpoint, password: "${KAFKA_PASSWORD}"}
"""
        )
    ).external
    assert external is not None
    access = external.access()
    assert access.servers == ("kafka-1:9092", "kafka-2:9092")
    assert (access.tls, access.ca_file) == (True, "/etc/ca.pem")
    assert (access.mechanism, access.user, access.password) == ("SCRAM-SHA-256", "setpoint", "0815")
    assert external.topic == "umh.messages"
    assert external.admin is not None
    assert (external.admin.url, external.admin.password) == ("https://kafka-1:9644", "0815")


@pytest.mark.parametrize("key", ["brokers", "addresses", "seed_brokers"])
def test_the_brokers_go_by_the_names_that_the_connectors_know(key: str) -> None:
    """One of them, as a text or a list."""
    external = spec(read(f"    external: {{{key}: 'a:1,b:2', admin: http://a:9644}}\n")).external
    assert external is not None
    assert external.addresses == ("a:1", "b:2")
    assert external.admin is not None
    assert external.admin.url == "http://a:9644"


def test_of_another_cluster_only_the_settings_that_the_file_names_are_kept() -> None:
    """Not UMH Core's defaults: it is somebody else's. Without an admin API nothing can be kept, which is said."""
    topic = (
        "    redpandaServiceConfig: {topic: {defaultTopicRetentionMs: 1000, defaultTopicCompressionAlgorithm: zstd}}\n"
    )
    asked = read(f"    external: {{brokers: ['a:1'], admin: 'http://a:9644'}}\n{topic}")
    assert spec(asked).settings == {"log_retention_ms": 1000, "log_compression_type": "zstd"}
    assert asked.problems == ()
    plain = read(f"    external: {{brokers: ['a:1']}}\n{topic}")
    assert spec(plain).settings == {}
    assert [problem.message for problem in plain.problems] == ["has no effect on a broker without an 'admin:'"]


def test_a_redpanda_of_the_agents_own_takes_everything_that_umh_core_says() -> None:
    """Ports of its own, what it may take of the host, and all five settings."""
    configuration = read(
        f"    managed: {{binary: /opt/rp, kafka_port: 19092}}\n{UMH.replace('maxCores: 1', 'maxCores: 2')}"
    )
    found = spec(configuration)
    assert found.managed == Managed(binary="/opt/rp", kafka_port=19092, cores=2, memory_per_core=2147483648)
    assert found.settings == {
        "log_retention_ms": 604_800_000,
        "retention_bytes": None,
        "log_compression_type": "snappy",
        "log_cleanup_policy": "compact",
        "log_segment_ms": 3_600_000,
    }
    assert configuration.problems == ()
    assert spec(read("    managed: {}\n")).managed == Managed()


@pytest.mark.parametrize(
    ("section", "line", "text"),
    [
        ("    externl: {}\n", 4, "did you mean 'external'?"),
        ("    external: {broker: ['a:1']}\n", 4, "did you mean 'brokers'?"),
        ("    external: {brokers: ['a:1'], tls: {enabld: true}}\n", 4, "did you mean 'enabled'?"),
        ("    external:\n      brokers: ['a:1']\n      sasl:\n        mechanism: PLAN\n", 7, "there are PLAIN"),
        ("    external: {brokers: []}\n", 4, "at least 1"),
        ("    external: {}\n", 4, "brokers: Field required"),
        ("    external: {brokers: [kafka]}\n", 4, "expected host:port"),
        ("    external: {brokers: ['a:1'], admin: 'a:9644'}\n", 4, "expected http://host:9644"),
        ("    external: {brokers: ['a:1'], admin: 'http://u:p@a:9644'}\n", 4, "a user does not stand in a url"),
        ("    external: {brokers: ['${NOWHERE}:1']}\n", 4, "the variable NOWHERE is not set"),
        ("    external: {brokers: ['a:1'], topic: 'a/b'}\n", 4, "topic"),
        ("    external: kafka:9092\n", 4, "expected a mapping"),
        ("    managed:\n", 4, "write 'managed: {}'"),
        ("    managed: {kafka_port: 99999}\n", 4, "less than or equal to 65535"),
        ("    managed: {kafka_port: 9644}\n", 4, "the four ports must differ"),
        ("    managed: {kafkaPort: 9093}\n", 4, "did you mean 'kafka_port'?"),
        ("    managed: {}\n    external: {brokers: ['a:1']}\n", 4, "elsewhere or here, not both"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_may_be_meant(section: str, line: int, text: str) -> None:
    """In the line where it stands; and what is meant for another log is not written to the built-in one meanwhile."""
    configuration = read(section)
    said = [error for error in configuration.errors if text in str(error)]
    assert [error.line for error in said] == [line], [str(error) for error in configuration.errors]
    assert {error.key.split(".")[1] for error in configuration.errors} == {"redpanda"}
    assert (configuration.broker.external, configuration.broker.managed) == (None, None)
    assert configuration.broker.desired_state == "stopped"


def test_a_secret_is_in_no_message() -> None:
    """Whatever is wrong with it or beside it."""
    for sasl in (
        "{mechanism: PLAIN, password: [hunter2]}",
        "{mechanism: PLAIN, passwrd: hunter2}",
        "{password: {a: hunter2}}",
    ):
        configuration = read(f"    external: {{brokers: ['a:1'], sasl: {sasl}}}\n")
        assert configuration.errors
        assert "hunter2" not in "".join(str(problem) for problem in configuration.problems)


def test_the_examples_of_the_page_on_the_broker_are_right() -> None:
    """Each config of docs/broker.md loads without a remark."""
    page = (Path(__file__).parents[2] / "docs" / "broker.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert read_config(block, env=ENV).problems == ()

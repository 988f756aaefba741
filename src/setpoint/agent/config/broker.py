"""``internal.redpanda``: which log the namespace is on, and what its topics are like.

UMH Core's keys, and two sections of our own: `external`, a Kafka or Redpanda that runs elsewhere, with the fields of the `kafka` connector,
and `managed`, a Redpanda that the agent runs. Without either it is the log inside the agent.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from setpoint.agent.config.bridges import desired
from setpoint.agent.config.model import RETENTION_MS, Broker
from setpoint.configfile.fields import Fields
from setpoint.configfile.node import Mapping, Node, Sequence, at_path
from setpoint.flows.component import Fields as Model
from setpoint.flows.config import FlowProblem, checked_fields
from setpoint.services.redpanda.settings import TopicDefaults
from setpoint.workers.broker import External, Managed, ManagedFields

_COMPRESSION: Final = ("none", "gzip", "snappy", "lz4", "zstd", "producer")
_CLEANUP: Final = ("delete", "compact", "compact,delete", "delete,compact")
_ELSEWHERE: Final = {
    "baseDir": "/data",
    "defaultTopicCompressionAlgorithm": "snappy",
    "defaultTopicSegmentMs": "3600000",
    "maxCores": "1",
    "memoryPerCoreInBytes": "2147483648",
}
"""What only some logs have, with the defaults that UMH Core writes into every file; another value asks for something that is not done."""
_SETTINGS: Final = {
    "defaultTopicRetentionMs": "log_retention_ms",
    "defaultTopicRetentionBytes": "retention_bytes",
    "defaultTopicCompressionAlgorithm": "log_compression_type",
    "defaultTopicCleanupPolicy": "log_cleanup_policy",
    "defaultTopicSegmentMs": "log_segment_ms",
}
"""Keys of the file, and those of the cluster's configuration that they become."""
_FLAT: Final = ("baseDir", "topic", "resources", "defaultTopicRetentionMs", "defaultTopicRetentionBytes")
_M = TypeVar("_M", bound=Model)


def read_broker(redpanda: Fields) -> Broker:
    """The section. What has no effect on the log that is asked for is named in a warning."""
    redpanda.text("name")
    state = desired(redpanda, default="active")
    for key in _FLAT:
        if redpanda.has(key):
            redpanda.get(key)
            hint = "indent it below 'redpandaServiceConfig:'"
            redpanda.place.at(key).error(redpanda.mark_of(key), "this is the layout of older versions", hint)
    errors = redpanda.place.report.errors
    external = _section(redpanda, "external", External)
    managed = _section(redpanda, "managed", ManagedFields)
    if external is not None and managed is not None:
        message = "a broker runs elsewhere or here, not both"
        redpanda.place.at("managed").error(redpanda.mark_of("managed"), message, "keep one of external and managed")
    flawed = any(node is not None and node.flawed for node in (redpanda.get("external"), redpanda.get("managed")))
    # what is meant for another log must not be written to the built-in one
    if flawed or redpanda.place.report.errors > errors:
        state, external, managed = "stopped", None, None
    with redpanda.fields("redpandaServiceConfig") as service:
        _without_effect(service, "baseDir", on="the data directory of the agent is the place for all it keeps")
        with service.fields("topic") as topic:
            defaults = _topic(topic)
            settings = _settings(topic, defaults, external, managed)
        with service.fields("resources") as resources:
            cores = resources.integer("maxCores", default=1, low=1)
            memory = resources.integer("memoryPerCoreInBytes", default=2 * 1024**3, low=1)
            if managed is None:
                _without_effect(resources, "maxCores", "memoryPerCoreInBytes", on=_log(external))
    return Broker(
        state,
        defaults.retention_ms,
        defaults.retention_bytes,
        external=external,
        managed=None if managed is None else Managed(**managed.model_dump(), cores=cores, memory_per_core=memory),
        settings=settings,
        line=redpanda.mark[0] if redpanda.present else 0,
    )


def _topic(topic: Fields) -> TopicDefaults:
    return TopicDefaults(
        retention_ms=topic.integer("defaultTopicRetentionMs", default=RETENTION_MS, low=1),
        retention_bytes=topic.integer("defaultTopicRetentionBytes"),
        compression=topic.choice("defaultTopicCompressionAlgorithm", _COMPRESSION, default="snappy"),
        cleanup_policy=topic.choice("defaultTopicCleanupPolicy", _CLEANUP, default="delete"),
        segment_ms=topic.integer("defaultTopicSegmentMs", default=3_600_000, low=1),
    )


def _settings(
    topic: Fields, defaults: TopicDefaults, external: External | None, managed: ManagedFields | None
) -> dict[str, Any]:
    """The keys of the cluster's configuration to keep: all on a Redpanda of our own, on another's those that the file names."""
    if managed is not None:
        return defaults.settings()
    if external is not None and external.admin is not None:
        kept = defaults.settings()
        return {name: kept[name] for key, name in _SETTINGS.items() if topic.has(key)}
    _without_effect(topic, "defaultTopicCompressionAlgorithm", "defaultTopicSegmentMs", on=_log(external))
    if external is not None and topic.has("defaultTopicRetentionBytes"):
        _warn(topic, "defaultTopicRetentionBytes", f"has no effect on {_log(external)}")
    if "compact" in defaults.cleanup_policy:
        log = "this version" if external is None else _log(external)
        _warn(
            topic,
            "defaultTopicCleanupPolicy",
            f"{log} keeps all messages until they are as old as the retention; it does not compact",
        )
    return {}


def _log(external: External | None) -> str:
    return "the built-in broker" if external is None else "a broker without an 'admin:'"


def _without_effect(fields: Fields, *keys: str, on: str) -> None:
    for key in keys:
        if fields.text(key, default=_ELSEWHERE[key]) != _ELSEWHERE[key]:
            _warn(
                fields, key, f"has no effect on {on}" if on.startswith(("a ", "the built")) else f"has no effect: {on}"
            )


def _warn(fields: Fields, key: str, message: str) -> None:
    fields.place.at(key).warning(fields.mark_of(key), message)


def _section(redpanda: Fields, key: str, model: type[_M]) -> _M | None:
    """A section of our own, checked; None where it is not there or is not right, which is said then."""
    node, place = redpanda.get(key), redpanda.place.at(key)
    if node is None:
        if redpanda.node is not None and key in redpanda.node.items:
            place.error(redpanda.mark_of(key), "is empty", f"write '{key}: {{}}' to have it with its defaults")
        return None
    errors = place.report.errors
    if not isinstance(node, Mapping):
        place.error(node.mark, "expected a mapping", "indent its keys below it")
        return None
    if node.flawed:
        return None
    values = _values(node)
    problems: list[FlowProblem] = []
    found = checked_fields(model, values, (), problems)
    if place.report.errors == errors:
        for problem in problems:
            where = place
            for step in problem.path:
                where = where.at(step)
            where.error(at_path(node, problem.path), problem.message, problem.hint)
    return found if place.report.errors == errors else None


def _values(node: Node) -> Any:
    """The node as plain data, with texts for numbers, because a password may look like one."""
    if isinstance(node, Mapping):
        return {key: _values(child) for key, child in node.items.items()}
    if isinstance(node, Sequence):
        return [_values(child) for child in node.items]
    return node.text if isinstance(node.value, int | float) and not isinstance(node.value, bool) else node.value

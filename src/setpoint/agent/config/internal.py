"""The ``internal`` section: the broker, which is acted on, and services of UMH Core's own, which are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from setpoint.agent.config.bridge_config import FLOW_SECTIONS
from setpoint.agent.config.bridges import desired, name_of
from setpoint.agent.config.model import RETENTION_MS, Broker
from setpoint.agent.config.settings import NOT_YET
from setpoint.configfile.fields import Fields

_COMPRESSION: Final = ("none", "gzip", "snappy", "lz4", "zstd", "producer")
_CLEANUP: Final = ("delete", "compact", "compact,delete", "delete,compact")
_REDPANDA_ONLY: Final = {
    "baseDir": "/data",
    "defaultTopicCompressionAlgorithm": "snappy",
    "defaultTopicSegmentMs": "3600000",
    "maxCores": "1",
    "memoryPerCoreInBytes": "2147483648",
}
"""What only Redpanda has, with the defaults that UMH Core writes into every file; another value asks for something we do not do."""
_FLAT: Final = ("baseDir", "topic", "resources", "defaultTopicRetentionMs", "defaultTopicRetentionBytes")


def read_internal(internal: Fields) -> Broker:
    """The whole section. What is not acted on is checked for its shape and named in a warning."""
    for key, read in _LISTS.items():
        entries = internal.sequence(key)
        for node, place in entries:
            with Fields(node, place) as item:
                read(item)
        if entries:
            internal.place.at(key).warning(internal.mark_of(key), NOT_YET)
    with internal.fields("topicbrowser") as browser:
        browser.text("name")
        if desired(browser, default="active") == "stopped":
            browser.place.at("desiredState").warning(browser.mark_of("desiredState"), NOT_YET)
        browser.get("serviceConfig")
    with internal.fields("redpanda") as redpanda:
        return _broker(redpanda)


def _broker(redpanda: Fields) -> Broker:
    redpanda.text("name")
    state = desired(redpanda, default="active")
    flat = [key for key in _FLAT if redpanda.has(key)]
    for key in flat:
        redpanda.get(key)
        hint = "indent it below 'redpandaServiceConfig:'"
        redpanda.place.at(key).error(redpanda.mark_of(key), "this is the layout of older versions", hint)
    with redpanda.fields("redpandaServiceConfig") as service:
        _without_effect(service, "baseDir")
        with service.fields("topic") as topic:
            retention_ms = topic.integer("defaultTopicRetentionMs", default=RETENTION_MS, low=1)
            retention_bytes = topic.integer("defaultTopicRetentionBytes")
            topic.choice("defaultTopicCompressionAlgorithm", _COMPRESSION, default="snappy")
            cleanup = topic.choice("defaultTopicCleanupPolicy", _CLEANUP, default="delete")
            topic.integer("defaultTopicSegmentMs", low=1)
            _without_effect(topic, "defaultTopicCompressionAlgorithm", "defaultTopicSegmentMs")
            if "compact" in cleanup:
                message = "this version keeps all messages until they are as old as the retention; it does not compact"
                topic.place.at("defaultTopicCleanupPolicy").warning(topic.mark_of("defaultTopicCleanupPolicy"), message)
        with service.fields("resources") as resources:
            resources.integer("maxCores", low=1)
            resources.integer("memoryPerCoreInBytes", low=1)
            _without_effect(resources, "maxCores", "memoryPerCoreInBytes")
    return Broker(state, retention_ms, retention_bytes, line=redpanda.mark[0] if redpanda.present else 0)


def _without_effect(fields: Fields, *keys: str) -> None:
    for key in keys:
        if fields.text(key, default=_REDPANDA_ONLY[key]) != _REDPANDA_ONLY[key]:
            fields.place.at(key).warning(fields.mark_of(key), "has no effect on the built-in broker")


def _service(item: Fields) -> None:
    name_of(item)
    item.choice("desiredState", ("running", "stopped"), default="running")
    with item.fields("s6ServiceConfig") as service:
        service.texts("command")
        service.entries("env")
        service.entries("configFiles")
        service.integer("memoryLimit")
        service.integer("logFilesize")


def _benthos(item: Fields) -> None:
    name_of(item)
    desired(item, default="active")
    with item.fields("benthosServiceConfig") as service:
        for section in FLOW_SECTIONS:
            service.get(section)
        service.integer("metrics_port", high=65535)
        service.boolean("debug_level")


def _nmap(item: Fields) -> None:
    name_of(item)
    item.choice("desiredState", ("open", "stopped"), default="open")
    with item.fields("nmapServiceConfig") as service:
        _endpoint(service)


def _connection(item: Fields) -> None:
    name_of(item)
    item.choice("desiredState", ("up", "stopped"), default="up")
    with item.fields("connectionServiceConfig") as service, service.fields("nmap") as nmap:
        _endpoint(nmap)


def _endpoint(fields: Fields) -> None:
    fields.text("target", required="a host name or address")
    fields.integer("port", low=1, high=65535, required="a port from 1 to 65535")


def _monitor(item: Fields) -> None:
    name_of(item)
    desired(item, default="active")
    item.integer("metricsPort", high=65535)


_LISTS: Final[dict[str, Callable[[Fields], None]]] = {
    "services": _service,
    "benthos": _benthos,
    "nmap": _nmap,
    "connection": _connection,
    "benthosMonitor": _monitor,
    "redpandaMonitor": _monitor,
}

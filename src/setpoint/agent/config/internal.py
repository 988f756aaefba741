"""The ``internal`` section: the broker and the topic browser, which are acted on, and services of UMH Core's own, which are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from setpoint.agent.config.bridge_config import FLOW_SECTIONS
from setpoint.agent.config.bridges import desired, name_of
from setpoint.agent.config.broker import read_broker
from setpoint.agent.config.model import Broker
from setpoint.agent.config.settings import NOT_YET
from setpoint.configfile.fields import Fields
from setpoint.namespace.browser import LIMITS
from setpoint.workers.topic_browser import MAX_HISTORY, MAX_TOPICS, TopicBrowserSpec


def read_internal(internal: Fields) -> tuple[Broker, TopicBrowserSpec]:
    """The whole section. What is not acted on is checked for its shape and named in a warning."""
    for key, read in _LISTS.items():
        entries = internal.sequence(key)
        for node, place in entries:
            with Fields(node, place) as item:
                read(item)
        if entries:
            internal.place.at(key).warning(internal.mark_of(key), NOT_YET)
    with internal.fields("topicbrowser") as section:
        browser = _topic_browser(section)
    with internal.fields("redpanda") as redpanda:
        broker = read_broker(redpanda)
        errors = redpanda.place.report.errors
    unknown = redpanda.place.report.errors > errors  # it may be one of those that say which log it is
    return replace(broker, desired_state="stopped") if unknown else broker, browser


def _topic_browser(section: Fields) -> TopicBrowserSpec:
    """UMH Core's keys, of which `serviceConfig` is about its own process, and two limits of ours."""
    section.text("name")
    section.get("serviceConfig")
    return TopicBrowserSpec(
        desired_state=desired(section, default="active"),
        max_topics=section.integer("maxTopics", default=LIMITS.topics, low=1, high=MAX_TOPICS),
        history=section.integer("history", default=LIMITS.history, low=1, high=MAX_HISTORY),
    )


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

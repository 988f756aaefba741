"""The agent's own settings: ``agent``, and the environment variables that go before them."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from typing import Final, get_args
from urllib.parse import urlsplit

from setpoint.agent.config.model import IDLE_WINDOW, METRICS_PORT, Agent
from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Mark
from setpoint.namespace.location import LocationError, merge
from setpoint.workers.flow import Engine, Running

_LEVELS_BY_ENVIRONMENT: Final = 7
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_LONGEST_WINDOW: Final = 86_400
NOT_YET: Final = "accepted, but this version does not act on it yet"


_SWITCHES: Final = {
    "simulator": False,
    "enableFSMv2": False,
    "useFSMv2ProtocolConverter": False,
    "useFSMv2MemoryCleanup": False,
}
_LIMITS: Final = {
    "cpuLimitPercent": "cpu_limit_percent",
    "ramLimitPercent": "ram_limit_percent",
    "diskLimitPercent": "disk_limit_percent",
    "throttledLimitPercent": "throttled_limit_percent",
}


def read_agent(agent: Fields, env: MappingOf[str, str]) -> Agent:
    """The ``agent`` section. When LOCATION_0 is set, LOCATION_0 to LOCATION_6 replace its location."""
    port = agent.integer("metricsPort", default=METRICS_PORT, low=1, high=65535)
    location = _location(agent)
    if env.get("LOCATION_0"):
        location = _location_from(env, agent.place)
    for key, default in _SWITCHES.items():
        if agent.boolean(key, default=default) != default:
            agent.place.at(key).warning(agent.mark_of(key), NOT_YET)
    agent.text("fsmv2StorePrefix")
    if agent.choice("releaseChannel", ("nightly", "stable", "enterprise"), default="stable") != "stable":
        agent.place.at("releaseChannel").warning(agent.mark_of("releaseChannel"), NOT_YET)
    _graphql(agent)
    return Agent(
        location,
        port,
        console=_communicator(agent, env),
        gate=agent.boolean("enableResourceLimitBlocking"),
        limits=_limits(agent),
    )


def _limits(agent: Fields) -> dict[str, float]:
    """From which percentages on the host has too little left, and for how long that must last. UMH Core has no such section."""
    found: dict[str, float] = {}
    with agent.fields("resourceLimits") as section:
        for key, name in _LIMITS.items():
            limit = section.number(key, above=True)
            if limit is not None and limit > 100.0:
                section.place.at(key).error(
                    section.mark_of(key), f"expected a percentage, at most 100, found {limit:g}"
                )
            elif limit is not None:
                found[name] = limit
        hold = section.number("holdSeconds")
    return found if hold is None else {**found, "hold_s": hold}


def _communicator(agent: Fields, env: MappingOf[str, str]) -> str:
    """The host name of the console that is configured; "" when none is."""
    with agent.fields("communicator") as section:
        address, token = section.text("apiUrl"), section.text("authToken")
        section.boolean("allowInsecureTLS")
        section.boolean("useFSMv2Transport")
        if address and token:
            agent.place.at("communicator").warning(agent.mark_of("communicator"), NOT_YET)
    address, token = env.get("API_URL") or address, env.get("AUTH_TOKEN") or token
    return _host_name(address) if address and token else ""


def _host_name(address: str) -> str:
    """What may be shown of an address: it may have a user and a password in it."""
    try:
        return urlsplit(address).hostname or "without a host name"
    except ValueError:
        return "with an address that is none"


def _graphql(agent: Fields) -> None:
    with agent.fields("graphql") as section:
        enabled = section.boolean("enabled")
        section.integer("port", default=8090, low=1, high=65535)
        section.boolean("debug")
        section.boolean("authRequired")
        section.texts("corsOrigins")
        if enabled:
            agent.place.at("graphql").warning(agent.mark_of("graphql"), NOT_YET)


def _location(agent: Fields) -> dict[int, str]:
    levels: dict[int, str] = {}
    with agent.fields("location") as location:
        for level, _, place in location.all():
            value = location.text(level)
            try:
                merge({}, {level: value})
                levels[int(level)] = value
            except LocationError as error:
                place.error(location.mark_of(level), str(error).replace("bridge location", "location"))
    return levels


def _location_from(env: MappingOf[str, str], place: Place) -> dict[int, str]:
    levels: dict[int, str] = {}
    for level in range(_LEVELS_BY_ENVIRONMENT):
        if value := env.get(f"LOCATION_{level}"):
            try:
                merge({level: value}, {})
                levels[level] = value
            except LocationError as error:
                place.at("location").error(Mark(1, 1), f"environment variable LOCATION_{level}: {error}")
    return levels


def idle_window(env: MappingOf[str, str], place: Place) -> float:
    """Seconds from BRIDGE_IDLE_WINDOW."""
    text = env.get("BRIDGE_IDLE_WINDOW", "").strip()
    if not text:
        return IDLE_WINDOW
    if _SECONDS.fullmatch(text) and 0 < float(text) <= _LONGEST_WINDOW:
        return float(text)
    message = (
        f"environment variable BRIDGE_IDLE_WINDOW: expected seconds, at most {_LONGEST_WINDOW}, found {text[:40]!r}"
    )
    place.error(Mark(1, 1), message)
    return IDLE_WINDOW


def running(item: Fields) -> Running:
    """How the flows of an item are run: `engine`, and the gates of their start in seconds."""
    plain = Running()
    engine = item.choice("engine", get_args(Engine), default=plain.engine)
    with item.fields("gates") as gates:
        return Running(
            engine=engine,
            config_loading_s=_seconds(gates, "config_loading", plain.config_loading_s),
            healthcheck_debounce_s=_seconds(gates, "healthchecks", plain.healthcheck_debounce_s),
            remain_running_s=_seconds(gates, "remain_running", plain.remain_running_s),
        )


def _seconds(gates: Fields, key: str, default: float) -> float:
    number = gates.number(key, default=default)
    return default if number is None else number

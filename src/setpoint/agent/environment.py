"""What the environment may set: windows and limits of the built-in machines, by the names the state-machine contract gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from setpoint.services.benthos.program import Programs
from setpoint.workers.broker import IDLE_WINDOW as BROKER_IDLE_WINDOW

_LIMITS: Final = {
    "CONTAINER_CPU_LIMIT": "cpu_limit_percent",
    "CONTAINER_RAM_LIMIT": "ram_limit_percent",
    "CONTAINER_DISK_LIMIT": "disk_limit_percent",
}
_WORDS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class BadEnvironment(ValueError):
    """An environment variable has a value that cannot be used."""


@dataclass(frozen=True)
class Windows:
    """Windows in seconds, and what goes before the config: limits of the container monitor by their names in its spec, and whether new
    bridges are held back while the host is at one. The idle window of flows is read with the config."""

    broker_idle_s: float = BROKER_IDLE_WINDOW.default
    container: Mapping[str, float] = field(default_factory=dict)
    gate: bool | None = None


def programs_of(env: Mapping[str, str]) -> Programs:
    """The Benthos that SETPOINT_BENTHOS names by its path, else the first that PATH has."""
    return Programs(env.get("SETPOINT_BENTHOS", "").strip(), env=env)


def windows_of(env: Mapping[str, str]) -> Windows:
    """Read REDPANDA_IDLE_WINDOW (seconds), CONTAINER_CPU_LIMIT, CONTAINER_RAM_LIMIT, CONTAINER_DISK_LIMIT (percent) and
    ENABLE_RESOURCE_LIMIT_BLOCKING (true or false).

    Raises `BadEnvironment` that names the variable.
    """
    idle = _number(env, "REDPANDA_IDLE_WINDOW", most=86_400)
    limits = {key: _number(env, name, most=100) for name, key in _LIMITS.items()}
    return Windows(
        broker_idle_s=BROKER_IDLE_WINDOW.default if idle is None else idle,
        container={key: limit for key, limit in limits.items() if limit is not None},
        gate=_switch(env, "ENABLE_RESOURCE_LIMIT_BLOCKING"),
    )


def _switch(env: Mapping[str, str], name: str) -> bool | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    if text.lower() not in _WORDS:
        raise BadEnvironment(f"{name}={text!r}: expected true or false")
    return _WORDS[text.lower()]


def _number(env: Mapping[str, str], name: str, *, most: float) -> float | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= most:
        raise BadEnvironment(f"{name}={text!r}: expected a number above 0 and at most {most:g}")
    return value

"""What the environment may set: windows and limits of the built-in machines, by the names the state-machine contract gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from setpoint.workers.broker import IDLE_WINDOW as BROKER_IDLE_WINDOW
from setpoint.workers.container_monitor import ContainerMonitorSpec


class BadEnvironment(ValueError):
    """An environment variable has a value that cannot be used."""


@dataclass(frozen=True)
class Windows:
    """Windows in seconds, and the limits of the container monitor. The idle window of flows is read with the config."""

    broker_idle_s: float = BROKER_IDLE_WINDOW.default
    container: ContainerMonitorSpec = field(default_factory=ContainerMonitorSpec)


def windows_of(env: Mapping[str, str]) -> Windows:
    """Read REDPANDA_IDLE_WINDOW (seconds) and CONTAINER_CPU_LIMIT, CONTAINER_RAM_LIMIT, CONTAINER_DISK_LIMIT (percent).

    Raises `BadEnvironment` that names the variable.
    """
    plain = ContainerMonitorSpec()
    return Windows(
        broker_idle_s=_number(env, "REDPANDA_IDLE_WINDOW", BROKER_IDLE_WINDOW.default, most=86_400),
        container=ContainerMonitorSpec(
            cpu_limit_percent=_number(env, "CONTAINER_CPU_LIMIT", plain.cpu_limit_percent, most=100),
            ram_limit_percent=_number(env, "CONTAINER_RAM_LIMIT", plain.ram_limit_percent, most=100),
            disk_limit_percent=_number(env, "CONTAINER_DISK_LIMIT", plain.disk_limit_percent, most=100),
        ),
    )


def _number(env: Mapping[str, str], name: str, default: float, *, most: float) -> float:
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= most:
        raise BadEnvironment(f"{name}={text!r}: expected a number above 0 and at most {most:g}")
    return value

"""What is seen of the broker: from a look at the log to the facts that its machine decides on."""

from __future__ import annotations

from collections.abc import Mapping

from setpoint.control import Observation
from setpoint.namespace import BrokerStats
from setpoint.workers.broker.log import Look

LOW_DISK_PERCENT = 5.0
MOST_UNDECLARED = 20


class BrokerObserved(Observation, frozen=True):
    """What the broker says about itself; rates are bytes and messages per second, over the time since the observation before.

    `fault` names the health checks that fail, each with its reason. `running`: Redpanda's process, where the agent runs one. `metered`: the
    rates of bytes are those of the whole cluster, from its metrics; else of what went through this agent. `undeclared`: messages that went
    through unchecked since the agent started, because their data contract is declared nowhere; by contract, those with most of them.
    """

    open: bool = False
    fault: str = ""
    running: bool = False
    current: bool = True  # the log that is open is the one that is wanted
    log: str = ""
    metered: bool = False
    bytes_in_per_s: float = 0.0
    bytes_out_per_s: float = 0.0
    messages_in_per_s: float = 0.0
    topics: int = 0
    size_bytes: int = 0
    last_offset: int = -1
    undeclared: Mapping[str, int] = {}


def observed(look: Look, before: BrokerStats, seconds: float) -> BrokerObserved:
    """The facts. `before` is what the same log said so many seconds ago."""
    stats, metered = look.stats, look.readings is not None and look.readings.metrics is not None
    own_in = max(0, stats.bytes_in - before.bytes_in) / seconds
    own_out = max(0, stats.bytes_out - before.bytes_out) / seconds
    rates = look.readings.rates if look.readings is not None else None
    return BrokerObserved(
        open=look.open,
        fault=fault(look),
        running=look.running,
        current=look.current,
        log=look.name,
        metered=metered,
        bytes_in_per_s=rates.bytes_in_per_s if rates and metered else round(own_in, 1),
        bytes_out_per_s=rates.bytes_out_per_s if rates and metered else round(own_out, 1),
        messages_in_per_s=round(max(0, stats.messages_in - before.messages_in) / seconds, 1),
        topics=stats.topics,
        size_bytes=stats.size_bytes,
        last_offset=stats.last_offset,
        undeclared=dict(sorted(look.undeclared.items(), key=lambda each: -each[1])[:MOST_UNDECLARED]),
    )


def fault(look: Look) -> str:
    """Every health check that fails, those that explain the others first; "" when all pass."""
    if not look.open:
        return look.fault
    if not look.current:
        return f"still on {look.name}{f': {look.fault}' if look.fault else ''}"
    around, schemas = "", f"schemas: {look.schemas}" if look.schemas else ""
    if look.readings is not None:
        from setpoint.services.redpanda.health import failing

        around = failing(look.readings)
        if look.readings.registry_fault:
            schemas = ""  # that says why
    return "; ".join(filter(None, (look.fault, _stats_fault(look), around, schemas)))


def _stats_fault(look: Look) -> str:
    """What the broker itself says is wrong, and its disk where nobody else looks at that."""
    stats = look.stats
    if stats.error:
        return stats.error
    if look.readings is None and stats.disk_total_bytes:
        free, total = stats.disk_free_bytes, stats.disk_total_bytes
        if 100 * free / total < LOW_DISK_PERCENT:
            return f"disk-space-low: {free / 1e9:.1f} GB of {total / 1e9:.0f} GB free"
    return "" if stats.ready else "not-ready"

"""What Benthos counts, out of its metrics in the Prometheus text format; only what a flow's state needs is read.

The counters of one kind are summed over all components: a flow with a `broker` or a `switch` has several inputs or outputs, each with a
line of its own (``input_received{label="press",path="root.input.broker.inputs.0"} 31``); a component that holds others counts nothing of
theirs. Latencies are summaries in nanoseconds; of several components the slowest counts. Names as of Bento 1.20 and of UMH's contract.
Source of the format: Prometheus, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

NEEDED: Final = ("input_received", "output_sent")
"""Without these nobody can say whether messages go through the flow."""
_QUANTILE: Final = re.compile(r'quantile="([\d.]+)"')
_SIDES: Final = ("input", "processor", "output")
_MILLION: Final = 1e6


class Counters(msgspec.Struct, frozen=True):
    """Totals since the process started, over all components. Field names are the metrics' own."""

    input_received: int = 0
    input_connection_up: int = 0
    input_connection_failed: int = 0
    input_connection_lost: int = 0
    processor_received: int = 0
    processor_batch_received: int = 0
    processor_sent: int = 0
    processor_batch_sent: int = 0
    processor_error: int = 0
    output_sent: int = 0
    output_batch_sent: int = 0
    output_error: int = 0
    output_connection_up: int = 0
    output_connection_failed: int = 0
    output_connection_lost: int = 0


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds; None where nothing was measured yet. Quantiles are of the slowest component."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    mean: float | None = None


class Metrics(msgspec.Struct, frozen=True):
    """One reading. `unconnected` names the components, as ``input press`` or by path, that came up no oftener than they were lost."""

    counters: Counters = Counters()
    input_latency: Latency = Latency()
    processor_latency: Latency = Latency()
    output_latency: Latency = Latency()
    unconnected: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Of the names in `NEEDED`."""


class NotPrometheus(ValueError):
    """The text is not in the Prometheus text format, or has none of Benthos' metrics; the message quotes its beginning."""


_COUNTERS: Final = frozenset(Counters.__struct_fields__)
_LATENCIES: Final = frozenset(f"{side}_latency_ns{part}" for side in _SIDES for part in ("", "_sum", "_count"))
_READ: Final = _COUNTERS | _LATENCIES


def read(text: str) -> Metrics:
    """The metrics in this text. Lines that cannot be read are skipped: a missing counter is said, never guessed.

    Raises `NotPrometheus`.
    """
    totals: dict[str, float] = {}
    latencies: dict[str, float] = {}
    connections: dict[str, float] = {}
    announced = False
    for line in text.split("\n"):
        name = line[: line.find("{")]
        if name not in _READ:
            announced = announced or line.startswith("# TYPE ")
            continue
        labels, value = _sample(line)
        if value is None:
            continue
        if name in _COUNTERS:
            totals[name] = totals.get(name, 0) + value
            if name.endswith(("_connection_up", "_connection_lost")):
                where = f"{name.partition('_')[0]}{{{labels}"
                connections[where] = connections.get(where, 0) + (value if name.endswith("_up") else -value)
        else:
            _latency(latencies, name, labels, value)
    if not totals and not announced:
        begins = " ".join(text[:200].split())[:80]
        raise NotPrometheus(f"metrics are not in the Prometheus format: they begin with {begins!r}")
    return Metrics(
        counters=Counters(**{name: int(total) for name, total in totals.items()}),
        **{f"{side}_latency": _summary(latencies, f"{side}_latency_ns") for side in _SIDES},
        unconnected=tuple(sorted(_component(where) for where, balance in connections.items() if balance <= 0)),
        missing=tuple(name for name in NEEDED if name not in totals),
    )


def _sample(line: str) -> tuple[str, float | None]:
    """The labels between the braces, as they stand there, and the value; None where there is none that counts. A time stamp may follow."""
    labels, closed, rest = line.partition("{")[2].rpartition("}")
    words = rest.split()
    if not closed or not words:
        return labels, None
    try:
        value = float(words[0])
    except ValueError:
        return labels, None
    return labels, value if math.isfinite(value) else None


def _latency(latencies: dict[str, float], name: str, labels: str, value: float) -> None:
    quantile = _QUANTILE.search(labels)
    if quantile:
        key = f"{name}:{quantile[1]}"
        latencies[key] = max(latencies.get(key, 0.0), value)
    elif name.endswith(("_sum", "_count")):
        latencies[name] = latencies.get(name, 0.0) + value


def _summary(latencies: dict[str, float], name: str) -> Latency:
    p50, p90, p99 = (
        latencies[key] / _MILLION if (key := f"{name}:{quantile}") in latencies else None
        for quantile in ("0.5", "0.9", "0.99")
    )
    count = latencies.get(f"{name}_count", 0.0)
    return Latency(p50, p90, p99, latencies.get(f"{name}_sum", 0.0) / count / _MILLION if count else None)


def _component(where: str) -> str:
    """``input press`` for one with a label, else ``input root.input``."""
    side, _, labels = where.partition("{")
    named = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
    return f"{side} {named.get('label') or named.get('path') or ''}".strip()

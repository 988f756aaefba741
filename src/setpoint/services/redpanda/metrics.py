"""The public metrics of Redpanda (``/public_metrics``, Prometheus text format 0.0.4), as far as they matter here.

Names and labels are those of Redpanda's public metrics reference. A live system exports only what is in use: a cluster without topics has
no traffic to count. So a name that is missing is no fault of the text; it is listed, and whoever needs it can say that it is not known.
Lines that are no samples are passed over; a text without a single sample is not metrics at all.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

FREE: Final = "redpanda_storage_disk_free_bytes"
TOTAL: Final = "redpanda_storage_disk_total_bytes"
ALERT: Final = "redpanda_storage_disk_free_space_alert"
TOPICS: Final = "redpanda_cluster_topics"
UNAVAILABLE: Final = "redpanda_cluster_unavailable_partitions"
UNDER_REPLICATED: Final = "redpanda_kafka_under_replicated_replicas"
REQUEST_BYTES: Final = "redpanda_kafka_request_bytes_total"
PARTITIONS: Final = "redpanda_kafka_partitions"
BUSY: Final = "redpanda_cpu_busy_seconds_total"
EXPECTED: Final = (FREE, TOTAL, ALERT, TOPICS, UNAVAILABLE, BUSY)
"""Names that every Redpanda exports."""
_KNOWN: Final = frozenset((*EXPECTED, UNDER_REPLICATED, REQUEST_BYTES, PARTITIONS))
_SAMPLE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*\Z")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_SHOWN: Final = 60


class NotMetrics(ValueError):
    """The text is not in the Prometheus format; ask the admin API's address for /public_metrics."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """One reading. None where it was not exported; byte counts of requests are totals over all topics since Redpanda started.

    `alert` is 0 for enough, 1 for low and 2 for degraded disk space. `busy_seconds` are those of each shard. `missing` are expected names
    that were not there.
    """

    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    alert: int | None = None
    topics: int | None = None
    unavailable_partitions: int | None = None
    under_replicated: int = 0
    produced_bytes: float = 0.0
    consumed_bytes: float = 0.0
    busy_seconds: dict[str, float] = {}
    partitions: dict[str, int] = {}
    missing: tuple[str, ...] = ()


class _Found:
    """What was read so far: the sum by name, and by one label of a name."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.requests: dict[str, float] = {}
        self.busy: dict[str, float] = {}
        self.partitions: dict[str, int] = {}

    def take(self, name: str, labels: dict[str, str], value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
        if name == REQUEST_BYTES:
            request = labels.get("redpanda_request", "")
            self.requests[request] = self.requests.get(request, 0.0) + value
        elif name == BUSY:
            self.busy[labels.get("shard", "")] = value
        elif name == PARTITIONS:
            self.partitions[labels.get("redpanda_topic", "")] = int(value)

    def whole(self, name: str) -> int | None:
        return int(self.sums[name]) if name in self.sums else None


def parse(text: str) -> Metrics:
    """The metrics in a text. Raises `NotMetrics` for one that has no sample at all."""
    found, samples = _Found(), False
    for line in text.splitlines():
        if line.startswith("#") or not (match := _SAMPLE.match(line)):
            continue
        value = _number(match[3])
        samples = samples or value is not None
        if match[1] in _KNOWN and value is not None:
            found.take(match[1], dict(_LABEL.findall(match[2] or "")), value)
    if not samples:
        begins = text.strip()[:_SHOWN]
        raise NotMetrics(f"the answer is not in the Prometheus format: {begins!r}" if begins else "the answer is empty")
    return Metrics(
        disk_free_bytes=found.whole(FREE),
        disk_total_bytes=found.whole(TOTAL),
        alert=found.whole(ALERT),
        topics=found.whole(TOPICS),
        unavailable_partitions=found.whole(UNAVAILABLE),
        under_replicated=found.whole(UNDER_REPLICATED) or 0,
        produced_bytes=found.requests.get("produce", 0.0),
        consumed_bytes=found.requests.get("consume", 0.0),
        busy_seconds=found.busy,
        partitions=found.partitions,
        missing=tuple(name for name in EXPECTED if name not in found.sums),
    )


def _number(text: str) -> float | None:
    """A finite number; what is none says nothing."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None

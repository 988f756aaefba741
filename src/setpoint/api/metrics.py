"""Metrics: figures of one agent in the Prometheus text format (version 0.0.4), every name led by ``setpoint_``.

Figures are read in the event loop, where they belong, and written out in a thread, because a thousand workers are many lines. Each answer
is made from scratch: a worker that is gone leaves no series behind. States are a set of series of which only the present one exists
(``setpoint_worker_state{path,type,state} 1``), so there is one series a worker and none for the states it is not in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from setpoint.api.errors import in_time
from setpoint.control.tally import Counted, Lag
from setpoint.control.views import phase_text, tally_of
from setpoint.namespace import BrokerStats

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from setpoint.agent import Agent

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class WorkerFigures(msgspec.Struct, frozen=True):
    """What is counted of one worker. `age` is that of its last good observation, in seconds; None before the first."""

    path: str
    type: str
    state: str
    phase: str
    transitions: int
    starts: int
    tally: Counted
    stalled: bool
    age: float | None


class Figures(msgspec.Struct, frozen=True):
    """All figures at one moment."""

    workers: list[WorkerFigures]
    lag: Lag
    broker: BrokerStats
    config_ok: bool
    ready: bool
    version: str

    def collect(self) -> Iterator[Metric]:
        """The figures as Prometheus metrics; called by its registry."""
        yield from _worker_metrics(self.workers)
        yield from _tally_metrics(self.workers)
        yield _lag_metric(self.lag)
        yield from _broker_metrics(self.broker)
        yield from _agent_metrics(self)


async def text(agent: Agent) -> bytes:
    """The figures of the agent as text. Raises `Refusal` (503) when the broker does not answer."""
    figures = await read(agent)
    return await asyncio.to_thread(_written, figures)


async def read(agent: Agent) -> Figures:
    """The figures as they are now."""
    from setpoint import __version__

    stats = await in_time(agent.broker.stats(), "its figures")
    now = asyncio.get_running_loop().time()
    workers = [
        WorkerFigures(
            record.path.encode(errors="replace").decode(),  # a name that is no valid Unicode must not cost all figures
            record.type,
            record.state,
            phase_text(record),
            record.transitions,
            record.starts,
            tally_of(record, now),
            bool(record.stalled),
            now - record.sampled_at if record.has_observed else None,
        )
        for record in agent.supervisor.records.values()
    ]
    return Figures(workers, agent.supervisor.core.lag, stats, agent.config_status().ok, agent.ready()[0], __version__)


def _written(figures: Figures) -> bytes:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    from prometheus_client.registry import Collector

    class Now(Collector):
        def collect(self) -> Iterator[Metric]:
            return figures.collect()

    registry = CollectorRegistry()
    registry.register(Now())
    ProcessCollector(namespace="setpoint", registry=registry)
    return generate_latest(registry)


def _worker_metrics(workers: list[WorkerFigures]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    who = ["path", "type"]
    state = GaugeMetricFamily("setpoint_worker_state", "1 for the state that the worker is in.", labels=[*who, "state"])
    phase = GaugeMetricFamily("setpoint_worker_phase", "1 for the phase of that state.", labels=[*who, "phase"])
    stalled = GaugeMetricFamily(
        "setpoint_worker_stalled", "1 while the runtime cannot bring it to its target.", labels=who
    )
    moves = CounterMetricFamily("setpoint_worker_transitions", "Transitions over the life of the store.", labels=who)
    starts = CounterMetricFamily(
        "setpoint_worker_starts", "Times it came to life, over the life of the store.", labels=who
    )
    age = GaugeMetricFamily("setpoint_worker_observation_age_seconds", "Age of the last good observation.", labels=who)
    for worker in workers:
        name = [worker.path, worker.type]
        state.add_metric([*name, worker.state], 1)
        phase.add_metric([*name, worker.phase or "none"], 1)
        stalled.add_metric(name, worker.stalled)
        moves.add_metric(name, worker.transitions)
        starts.add_metric(name, worker.starts)
        if worker.age is not None:
            age.add_metric(name, worker.age)
    yield from (state, phase, stalled, moves, starts, age)


def _tally_metrics(workers: list[WorkerFigures]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    who = ["path", "type"]

    def counter(name: str, meaning: str, *labels: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"setpoint_worker_{name}", meaning, labels=[*who, *labels])

    inside = counter("state_seconds", "Seconds spent in a state since the agent started.", "state")
    looks = counter("observations", "Observations that ended, well or not.")
    failed_looks = counter("observations_failed", "Observations that failed.")
    abandoned = counter("observations_abandoned", "Observations given up on because no answer came.")
    acts = counter("actions", "Actions that ended, well or not.", "action")
    failed_acts = counter("actions_failed", "Actions that failed.", "action")
    acting = counter("action_seconds", "Seconds that actions took.", "action")
    own = counter("counter", "What the worker itself counts.", "name")
    gauges = GaugeMetricFamily("setpoint_worker_gauge", "What the worker itself measures.", labels=[*who, "name"])
    for worker in workers:
        name, tally = [worker.path, worker.type], worker.tally
        for state, seconds in tally.seconds_in.items():
            inside.add_metric([*name, state], seconds)
        looks.add_metric(name, tally.observations.count)
        failed_looks.add_metric(name, tally.observations.failed)
        abandoned.add_metric(name, tally.abandoned)
        for action, calls in tally.actions.items():
            acts.add_metric([*name, action], calls.count)
            failed_acts.add_metric([*name, action], calls.failed)
            acting.add_metric([*name, action], calls.seconds)
        for figure, value in tally.counters.items():
            own.add_metric([*name, figure], value)
        for figure, value in tally.gauges.items():
            gauges.add_metric([*name, figure], value)
    yield from (own, gauges, inside, looks, failed_looks, abandoned, acts, failed_acts, acting)


def _lag_metric(lag: Lag) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    buckets, so_far = [], 0
    for bound, count in zip((*map(str, lag.BUCKETS), "+Inf"), lag.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    meaning = "How late the runtime looked at timers that were due, in seconds."
    return HistogramMetricFamily("setpoint_tick_lag_seconds", meaning, buckets=buckets, sum_value=lag.total)


def _broker_metrics(broker: BrokerStats) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    prefix = "setpoint_broker"
    yield GaugeMetricFamily(f"{prefix}_ready", "1 while the broker takes messages.", value=broker.ready)
    for direction in ("in", "out"):
        for unit in ("bytes", "messages"):
            name = f"{unit}_{direction}"
            yield CounterMetricFamily(
                f"{prefix}_{name}",
                f"{unit.capitalize()} {direction} since the broker was opened.",
                value=getattr(broker, name),
            )
    yield GaugeMetricFamily(f"{prefix}_topics", "Topics there are.", value=broker.topics)
    yield GaugeMetricFamily(f"{prefix}_size_bytes", "What the log occupies on disk.", value=broker.size_bytes)
    yield GaugeMetricFamily(f"{prefix}_disk_free_bytes", "Free space where the log lies.", value=broker.disk_free_bytes)
    lag = GaugeMetricFamily(f"{prefix}_group_lag", "Messages that a group has not dealt with.", labels=["group"])
    skipped = CounterMetricFamily(f"{prefix}_group_skipped", "Messages a group lost to retention.", labels=["group"])
    for group in broker.groups:
        lag.add_metric([group.group], group.lag)
        skipped.add_metric([group.group], group.skipped)
    yield from (lag, skipped)


def _agent_metrics(figures: Figures) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily

    yield GaugeMetricFamily("setpoint_config_ok", "1 while the config file is without error.", value=figures.config_ok)
    yield GaugeMetricFamily(
        "setpoint_ready", "1 once everything that is wanted has been observed.", value=figures.ready
    )
    yield InfoMetricFamily("setpoint_build", "The version that runs.", value={"version": figures.version})

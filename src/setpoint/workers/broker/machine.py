"""The broker machine: is the log that everything is written to there, healthy, and in use.

The states and events are those of the Redpanda machine, whatever the log is: the one inside this process, a Kafka or Redpanda that runs
elsewhere, or a Redpanda that the agent runs. Idle and active tell whether bytes went in or out; degraded names the health checks that
fail. A log that is open stays in use while it is degraded: what can be written is written.
"""

from __future__ import annotations

import asyncio

from setpoint.control import Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard, held
from setpoint.namespace import BrokerStats
from setpoint.workers.broker.log import NamespaceLog
from setpoint.workers.broker.seen import BrokerObserved, observed
from setpoint.workers.broker.spec import IDLE_WINDOW, START_TIMEOUT, BrokerSpec

Seen = Snapshot[BrokerSpec, BrokerObserved]


@guard
def is_open(s: Seen) -> Verdict:
    "the broker is open"
    return Verdict(s.observed.open, s.observed.fault)


@guard
def there(s: Seen) -> bool:
    "something of it is left: it is open, or its process runs"
    return s.observed.open or s.observed.running


@guard
def healthy(s: Seen) -> Verdict:
    "every health check passes"
    fine = s.observed.open and s.observed.current and not s.observed.fault
    return Verdict(fine, s.observed.fault or ("all pass" if fine else "not open"))


@guard
def traffic(s: Seen) -> Verdict:
    "bytes go in or out"
    text = f"in {s.observed.bytes_in_per_s:.0f} B/s, out {s.observed.bytes_out_per_s:.0f} B/s"
    return Verdict(s.observed.bytes_in_per_s > 0 or s.observed.bytes_out_per_s > 0, text)


def _missing(s: Seen) -> str:
    return s.observed.fault or f"opening {s.observed.log or 'the log'}"


def _stopping(s: Seen) -> str:
    return "stopping: its process drains its clients" if s.observed.running and not s.observed.open else "stopping"


class Broker(Worker[BrokerSpec, BrokerSpec, BrokerObserved]):
    "Keeps the broker open and says whether it is healthy and in use."

    machine_name = "redpanda"

    stopped = State(Phase.STOPPED, reason="stopped")
    starting = State(Phase.STARTING, act="open", reason=lambda s: f"starting: {_missing(s)}")
    idle = State(Phase.HEALTHY, reason=lambda s: f"idle: no bytes in {s.desired.idle_window_s:g} s")
    active = State(Phase.HEALTHY)
    degraded = State(Phase.DEGRADED, act="open", reason=lambda s: f"degraded: {s.observed.fault or 'not open'}")
    stopping = State(Phase.STOPPING, act="shut", reason=_stopping)

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        stopped.to(stopping, on="stop", when=~wanted & there),
        (starting | idle | active | degraded).to(stopping, on="stop", when=~wanted),
        starting.to(idle, on="start_done", when=healthy),
        starting.to(
            stopped,
            on="start_failed",
            when=~is_open,
            after=START_TIMEOUT,
            reason=lambda s: f"start failed: {_missing(s)}",
        ),
        starting.to(degraded, on="degraded", when=is_open & ~healthy, after=START_TIMEOUT),
        (idle | active).to(degraded, on="degraded", when=~healthy),
        idle.to(active, on="data_received", when=traffic),
        active.to(idle, on="no_data_timeout", when=held(~traffic, IDLE_WINDOW)),
        degraded.to(idle, on="recovered", when=healthy),
        stopping.to(stopped, on="stop_done", when=~there),
    ]

    def __init__(self, broker: NamespaceLog) -> None:
        self._log = broker
        self._before: tuple[float, str, BrokerStats] | None = None

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """A log inside this process, and the connection to one elsewhere, are closed with it."""
        return state if snapshot.observed.open else self.initial_state()

    async def collect_observed_state(self, desired: BrokerSpec) -> BrokerObserved:
        """Look at the log; without one open there are no figures."""
        look = await self._log.look(desired)
        now = asyncio.get_running_loop().time()
        at, name, before = self._before or (0.0, "", look.stats)
        if name != look.name:  # another log, or one that was opened anew: its figures begin anew
            at, before = now - 1.0, look.stats
        self._before = (now, look.name, look.stats) if look.open else None
        return observed(look, before, max(now - at, 0.001))

    async def open(self, desired: BrokerSpec) -> None:
        """Have the log open that is wanted, and its process running where it has one. Idempotent."""
        self._log.changed = self.context.observe
        await self._log.open(desired)

    async def shut(self, desired: BrokerSpec) -> None:
        """Write what is waiting, close the log, and have its process drained and ended. Idempotent."""
        await self._log.close()

"""The topic browser machine: is what the namespace says known here, topic by topic, and does it follow what is written.

The states and events are those of UMH Core's topic browser, which is a Benthos that reads from a Redpanda. Here *benthos* stands for the
reader, a task inside the agent, and *redpanda* for the broker, whichever it is. Starting goes gate by gate: the reader is there
(`starting_benthos`), the broker has given it a subscription (`starting_redpanda`), the last value of every topic is known (`idle`). Idle
and active tell whether messages come, by what the reader took in. A browser whose broker is degraded goes on with what it can read.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, Setting, State, Verdict, guard, held
from setpoint.namespace.browser import HELD_BYTES, LIMITS, Browser, Limits, Status

BROKER: Final = "broker"
"""The name under which it reads the broker's fact."""
IDLE_WINDOW = Setting("idle_window_s", 30.0)
MAX_TOPICS: Final = 1_000_000
MAX_HISTORY: Final = 1000
BEHIND_S: Final = 10.0
"""Seconds for which the reader may not come to the end of the log, and for which it may be without one after the broker is back."""


class TopicBrowserSpec(BaseModel):
    """`max_topics` are known at most, each with its last `history` values; `idle_window_s` without a message is idle."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    desired_state: Literal["active", "stopped"] = "active"
    idle_window_s: float = Field(default=IDLE_WINDOW.default, ge=0)
    max_topics: int = Field(default=LIMITS.topics, ge=1, le=MAX_TOPICS)
    history: int = Field(default=LIMITS.history, ge=1, le=MAX_HISTORY)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_topics, self.history)


class TopicBrowserObserved(Observation, frozen=True):
    """What the reader says of itself. `dropped` topics had to go because there were more than the limit, or too much in them.

    `current`: it works within the limits that are wanted; `behind`: it has not come to the end of the log for too long.
    """

    running: bool = False
    connected: bool = False
    following: bool = False
    current: bool = True
    behind: bool = False
    fault: str = ""
    messages_per_s: float = 0.0
    topics: int = 0
    dropped: int = 0
    held_bytes: int = 0


Seen = Snapshot[TopicBrowserSpec, TopicBrowserObserved]


@guard
def reader_runs(s: Seen) -> bool:
    "the reader runs, within the limits that are wanted"
    return s.observed.running and s.observed.current


@guard
def there(s: Seen) -> bool:
    "something of the reader is left"
    return s.observed.running or s.observed.topics > 0


@guard
def connected(s: Seen) -> Verdict:
    "the broker has given it a subscription"
    return Verdict(s.observed.connected, s.observed.fault)


@guard
def follows(s: Seen) -> Verdict:
    "it knows every topic and follows the log"
    why = _reader_trouble(s)
    return Verdict(not why, why)


@guard
def broker_healthy(s: Seen) -> Verdict:
    "the broker is healthy"
    return Verdict(s.peers[BROKER].healthy, _broker_text(s))


@guard
def messages_come(s: Seen) -> Verdict:
    "messages come"
    return Verdict(s.observed.messages_per_s > 0, f"{s.observed.messages_per_s:.0f} a second")


def _reader_trouble(s: Seen) -> str:
    seen = s.observed
    if not seen.running:
        return "the reader does not run"
    if not seen.current:
        return "it begins anew with other limits"
    if not seen.following:
        return seen.fault or "it is reading the last values"
    return f"it has not come to the end of the log for {BEHIND_S:g} s: what it shows is late" if seen.behind else ""


def _broker_text(s: Seen) -> str:
    fact = s.peers[BROKER]
    return fact.stalled or fact.reason or fact.state


def _let_go(s: Seen) -> str:
    """That topics had to go, and for which limit."""
    if not s.observed.dropped:
        return ""
    many = s.observed.topics >= s.desired.max_topics
    limit = f"there are more than {s.desired.max_topics}" if many else f"they hold more than {HELD_BYTES >> 20} MiB"
    return f"topics idle longest were let go: {limit}"


def _idle(s: Seen) -> str:
    return "; ".join(filter(None, (f"idle: no message in {s.desired.idle_window_s:g} s", _let_go(s))))


def _degraded_redpanda(s: Seen) -> str:
    if s.peers[BROKER].healthy:
        return f"recovering: {_reader_trouble(s) or 'the broker is healthy'}"
    return f"broker degraded: {_broker_text(s)}"


class TopicBrowser(Worker[TopicBrowserSpec, TopicBrowserSpec, TopicBrowserObserved]):
    "Follows the namespace and knows the last values of every topic."

    stopped = State(Phase.STOPPED, reason="stopped")
    starting = State(Phase.STARTING, act="begin", reason="starting: the reader is being set up")
    starting_benthos = State(
        Phase.STARTING, reason=lambda s: f"starting: waiting for the broker: {s.observed.fault or _broker_text(s)}"
    )
    starting_redpanda = State(
        Phase.STARTING,
        reason=lambda s: f"starting: reading the last values{s.observed.fault and f': {s.observed.fault}'}",
    )
    idle = State(Phase.HEALTHY, reason=_idle)
    active = State(Phase.HEALTHY, reason=_let_go)
    degraded_benthos = State(
        Phase.DEGRADED, act="begin", reason=lambda s: f"reader degraded: {_reader_trouble(s) or 'recovering'}"
    )
    degraded_redpanda = State(Phase.DEGRADED, reason=_degraded_redpanda)
    stopping = State(Phase.STOPPING, act="end", reason="stopping")

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        stopped.to(stopping, on="stop", when=~wanted & there),
        (starting | starting_benthos | starting_redpanda | idle | active | degraded_benthos | degraded_redpanda).to(
            stopping, on="stop", when=~wanted
        ),
        starting.to(starting_benthos, on="benthos_started", when=reader_runs),
        starting_benthos.to(starting, on="startup_failed", when=~reader_runs),
        starting_benthos.to(starting_redpanda, on="redpanda_started", when=connected),
        starting_redpanda.to(starting, on="startup_failed", when=~reader_runs | ~connected),
        starting_redpanda.to(idle, on="start_done", when=follows),
        (idle | active).to(degraded_redpanda, on="redpanda_degraded", when=~broker_healthy),
        (idle | active).to(degraded_benthos, on="benthos_degraded", when=~follows),
        idle.to(active, on="data_received", when=messages_come),
        active.to(idle, on="no_data_timeout", when=held(~messages_come, IDLE_WINDOW)),
        (degraded_benthos | degraded_redpanda).to(idle, on="recovered", when=follows & broker_healthy),
        degraded_redpanda.to(degraded_benthos, on="benthos_degraded", when=held(broker_healthy & ~follows, BEHIND_S)),
        degraded_benthos.to(degraded_redpanda, on="redpanda_degraded", when=~broker_healthy),
        stopping.to(stopped, on="stop_done", when=~there),
    ]

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._before: tuple[float, int] | None = None
        self._dropped = 0

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """What was known is gone with the agent."""
        return state if snapshot.observed.running else self.initial_state()

    async def collect_observed_state(self, desired: TopicBrowserSpec) -> TopicBrowserObserved:
        """Ask the reader."""
        status = self._browser.status()
        if status.dropped > self._dropped:
            self.context.count("topics_dropped", status.dropped - self._dropped)
        self._dropped = status.dropped
        return TopicBrowserObserved(
            running=status.running,
            connected=status.connected,
            following=status.following,
            current=not status.running or status.limits == desired.limits,
            behind=status.behind_s > BEHIND_S,
            fault=status.fault,
            messages_per_s=self._rate(status),
            topics=status.topics,
            dropped=status.dropped,
            held_bytes=status.held_bytes,
        )

    def _rate(self, status: Status) -> float:
        """Messages a second since the last observation."""
        now = asyncio.get_running_loop().time()
        at, before = self._before or (now, status.messages)
        self._before = (now, status.messages)
        return round((status.messages - before) / max(now - at, 0.001), 1)

    async def begin(self, desired: TopicBrowserSpec) -> None:
        """Have the reader follow the log. Idempotent."""
        self._browser.changed = self.context.observe
        await self._browser.begin(desired.limits)

    async def end(self, desired: TopicBrowserSpec) -> None:
        """Stop the reader and let go of what is known. Idempotent."""
        await self._browser.end()

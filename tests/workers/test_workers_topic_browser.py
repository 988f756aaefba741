"""The topic browser's worker: gate by gate to idle, active while messages come, degraded by the reader or by the broker, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.namespace import Message
from setpoint.namespace.browser import Browser, Limits, Status
from setpoint.services.processes import ProcessBackend, ProcessError
from setpoint.testing import run, wall
from setpoint.workers import broker
from setpoint.workers.broker import NamespaceLog
from setpoint.workers.topic_browser import BROKER, TopicBrowser, TopicBrowserObserved, TopicBrowserSpec

PATH, LOG = "agent/topic_browser", "agent/broker"
WELL = Status(True, True, True)


class LogSpec(BaseModel):
    desired_state: Literal["active", "stopped"] = "active"


class LogObserved(Observation, frozen=True):
    fault: str = ""


@guard
def faulty(s: Any) -> bool:
    return bool(s.observed.fault)


class Log(Worker[LogSpec, LogSpec, LogObserved]):
    "A broker that is healthy or not."

    stopped = State(Phase.STOPPED)
    idle = State(Phase.HEALTHY)
    degraded = State(Phase.DEGRADED, reason=lambda s: f"degraded: {s.observed.fault}")
    arcs = [
        stopped.to(idle, on="start", when=wanted),
        (idle | degraded).to(stopped, on="stop", when=~wanted),
        idle.to(degraded, on="degraded", when=faulty),
        degraded.to(idle, on="recovered", when=~faulty),
    ]

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def collect_observed_state(self, desired: LogSpec) -> LogObserved:
        return LogObserved(self.plant.log_fault)


class Reader(Browser):
    """A reader that stands as it is told."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.limits: Limits | None = None
        self.begun: list[Limits] = []

    async def begin(self, limits: Limits) -> None:
        if limits != self.limits:
            self.begun.append(limits)
        self.limits = limits

    async def end(self) -> None:
        self.limits = None

    def status(self) -> Status:
        return msgspec.structs.replace(self.plant.reader, limits=self.limits) if self.limits else Status()


class Plant:
    """How the reader and the broker stand."""

    def __init__(self) -> None:
        self.log_fault = ""
        self.reader = WELL
        self.browser = Reader(self)

    def set(self, **values: Any) -> None:
        self.reader = msgspec.structs.replace(self.reader, **values)


Story = Callable[[Supervisor, Plant], Coroutine[Any, Any, None]]


def want(s: Supervisor, **spec: Any) -> None:
    s.want(
        [
            ChildSpec("broker", "log", LogSpec()),
            ChildSpec("topic_browser", "topic_browser", TopicBrowserSpec(**spec), reads={BROKER: LOG}, needs=(LOG,)),
        ]
    )


def scene(story: Story, **reader: Any) -> None:
    async def main() -> None:
        plant = Plant()
        plant.set(**reader)
        registry = Registry(plant=plant, browser=plant.browser)
        registry.add("log", Log)
        registry.add("topic_browser", TopicBrowser)
        s = Supervisor(registry, wall=wall)
        want(s)
        await asyncio.sleep(5)
        await story(s, plant)
        assert await s.stop() == []

    run(main())


def says(s: Supervisor) -> tuple[str, str]:
    return s.worker(PATH).state, s.worker(PATH).reason


def events(s: Supervisor) -> list[str]:
    return [move.event for move in s.journal.history(PATH)][2:]


def test_it_runs_by_default_and_starts_gate_by_gate() -> None:
    """By the states and events of the contract, in their order."""

    async def story(s: Supervisor, plant: Plant) -> None:
        assert says(s) == ("idle", "idle: no message in 30 s")
        assert events(s) == ["start", "benthos_started", "redpanda_started", "start_done"]

    scene(story)


def test_a_start_that_waits_says_for_what() -> None:
    """First for the broker, then for the last values; a subscription that is lost meanwhile begins the start anew."""

    async def story(s: Supervisor, plant: Plant) -> None:
        assert says(s) == ("starting_benthos", "starting: waiting for the broker: the log is not open")
        plant.set(connected=True, fault="")
        await asyncio.sleep(2)
        assert says(s) == ("starting_redpanda", "starting: reading the last values")
        plant.set(fault="complete up to offset 7 of 9")
        await asyncio.sleep(2)
        assert says(s)[1] == "starting: reading the last values: complete up to offset 7 of 9"
        plant.set(connected=False, fault="the broker is closed")
        await asyncio.sleep(3)
        assert says(s) == ("starting_benthos", "starting: waiting for the broker: the broker is closed")
        assert "startup_failed" in events(s)
        plant.set(connected=True, following=True, fault="")
        await asyncio.sleep(2)
        assert says(s)[0] == "idle"

    scene(story, connected=False, following=False, fault="the log is not open")


def test_messages_make_it_active_and_their_absence_idle() -> None:
    """Active at once, idle after the window."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.set(messages=100)
        await asyncio.sleep(2)
        assert says(s) == ("active", "")
        await asyncio.sleep(20)
        assert says(s)[0] == "active"
        await asyncio.sleep(15)
        assert says(s)[0] == "idle"
        assert events(s)[-2:] == ["data_received", "no_data_timeout"]

    scene(story)


def test_a_reader_that_lost_the_log_is_degraded_and_recovers() -> None:
    """With the reason that the reader gives."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.set(connected=False, following=False, fault="a newer subscription has taken over the group")
        await asyncio.sleep(2)
        assert says(s) == ("degraded_benthos", "reader degraded: a newer subscription has taken over the group")
        plant.reader = WELL
        await asyncio.sleep(2)
        assert says(s)[0] == "idle"
        assert events(s)[-2:] == ["benthos_degraded", "recovered"]

    scene(story)


def test_a_reader_that_falls_behind_is_degraded() -> None:
    """What it shows is late then, and it says so."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.set(behind_s=5.0)
        await asyncio.sleep(2)
        assert says(s)[0] == "idle"
        plant.set(behind_s=12.0)
        await asyncio.sleep(2)
        assert says(s)[0] == "degraded_benthos"
        assert "has not come to the end of the log for 10 s" in says(s)[1]

    scene(story)


def test_a_broker_that_is_degraded_is_named_and_the_reader_goes_on() -> None:
    """The browser is degraded by it, not stopped, and recovers with it."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.log_fault = "disk-space-low: 1 GB of 100 GB free"
        await asyncio.sleep(2)
        assert says(s) == ("degraded_redpanda", "broker degraded: degraded: disk-space-low: 1 GB of 100 GB free")
        assert plant.browser.limits is not None
        plant.log_fault = ""
        await asyncio.sleep(2)
        assert says(s)[0] == "idle"
        assert events(s)[-2:] == ["redpanda_degraded", "recovered"]

    scene(story)


def test_a_reader_that_stays_away_after_the_broker_is_back_is_degraded_itself() -> None:
    """For a moment it may be recovering; after ten seconds the broker is not to blame any more."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.log_fault = "gone"
        plant.set(connected=False, following=False, fault="the broker is closed")
        await asyncio.sleep(2)
        assert says(s)[0] == "degraded_redpanda"
        plant.log_fault = ""
        await asyncio.sleep(3)
        assert says(s) == ("degraded_redpanda", "recovering: the broker is closed")
        await asyncio.sleep(12)
        assert says(s) == ("degraded_benthos", "reader degraded: the broker is closed")

    scene(story)


def test_stopped_lets_go_of_everything_and_active_begins_anew() -> None:
    """As the config asks for it."""

    async def story(s: Supervisor, plant: Plant) -> None:
        want(s, desired_state="stopped")
        await asyncio.sleep(2)
        assert says(s) == ("stopped", "stopped")
        assert plant.browser.limits is None
        want(s)
        await asyncio.sleep(5)
        assert says(s)[0] == "idle"

    scene(story)


def test_other_limits_take_effect_and_show_meanwhile() -> None:
    """The reader begins anew with them."""

    async def story(s: Supervisor, plant: Plant) -> None:
        want(s, max_topics=7, history=2)
        await asyncio.sleep(5)
        assert plant.browser.begun[-1] == Limits(7, 2)
        assert says(s)[0] == "idle"
        assert [move.reason for move in s.journal.history(PATH)][-2] == (
            "reader degraded: it begins anew with other limits"
        )

    scene(story)


def test_topics_that_had_to_go_are_said_and_counted() -> None:
    """Which limit it was, in the reason; how many, in the counter."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.set(dropped=5, topics=100_000)
        await asyncio.sleep(2)
        assert says(s)[1].endswith("topics idle longest were let go: there are more than 100000")
        plant.set(dropped=8, topics=10)
        await asyncio.sleep(2)
        assert says(s)[1].endswith("topics idle longest were let go: they hold more than 128 MiB")
        assert s.worker(PATH).tally.counters == {"topics_dropped": 8}

    scene(story)


def test_with_the_real_broker_it_follows_is_cut_off_and_comes_back(tmp_path: Path) -> None:
    """Broker, reader and both workers are real: closing the log degrades it, opening it again brings it back."""

    async def no_processes() -> ProcessBackend:
        raise ProcessError("nothing here needs a process")

    async def main() -> None:
        log = NamespaceLog(tmp_path, processes=no_processes)
        browser = Browser(log)
        registry = Registry(broker=log, browser=browser)
        registry.add("broker", broker.Broker)
        registry.add("topic_browser", TopicBrowser)
        s = Supervisor(registry)

        def wish(state: Literal["active", "stopped"]) -> None:
            spec = TopicBrowserSpec(idle_window_s=0.5)
            s.want(
                [
                    ChildSpec("broker", "broker", broker.BrokerSpec(desired_state=state)),
                    ChildSpec("topic_browser", "topic_browser", spec, reads={BROKER: LOG}, needs=(LOG,)),
                ]
            )

        async def reach(state: str) -> None:
            assert await s.until(lambda s: s.core.fact(PATH).state == state, 15), s.worker(PATH)

        wish("active")
        await reach("idle")
        await log.publish([Message("umh.v1.acme._raw.x", b"1")])
        await reach("active")
        await reach("idle")
        wish("stopped")
        await reach("degraded_redpanda")
        wish("active")
        await reach("idle")
        assert browser.index.names() == ["umh.v1.acme._raw.x"]
        seen = s.records[PATH].observed
        assert isinstance(seen, TopicBrowserObserved)
        assert seen.topics == 1
        assert await s.stop(5.0) == []
        assert not browser.status().running

    asyncio.run(asyncio.wait_for(main(), 60))

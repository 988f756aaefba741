"""The laws: a good worker keeps them all, and for each law there is a worker that breaks it and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field
from tests.testing.pump import Pump, PumpSeen, PumpSpec, Seen, pressure

from setpoint.control import ChildSpec, Snapshot, Worker, monitor, wanted
from setpoint.machine import Phase, Setting, State, Verdict, guard, held
from setpoint.testing import LAWS, check_worker, scripted

CALLS = [0]


def test_a_good_worker_keeps_every_law() -> None:
    """And the report says what was checked."""
    report = check_worker(Pump)
    assert report.kept == tuple(LAWS)
    assert report.skipped == {}
    assert "✓ after any fault is over it comes to where it was" in str(report)


def test_a_script_is_a_world_that_obeys() -> None:
    """A worker whose hands would reach for the real world is run without it."""
    assert check_worker(
        scripted(Pump, PumpSeen()).on("start", turning=True, bar=4.0).on("stop", PumpSeen())
    ).kept == tuple(LAWS)


def test_monitors_are_workers_too() -> None:
    """One function, and every law."""

    @monitor(interval=5)
    async def room_on_disk(spec: object) -> Verdict:
        "there is room on the disk"
        return Verdict(True, "12 GB free")

    assert check_worker(room_on_disk).kept == tuple(LAWS)


def test_what_cannot_be_checked_is_said() -> None:
    """A class whose constructor needs something, a spec without defaults, an instance, live=False."""

    class Needy(Pump):
        def __init__(self, engine: object) -> None:
            super().__init__()

    report = check_worker(Needy, examples=10)
    assert set(report.kept) == {name for name, law in LAWS.items() if not law.needs}
    assert "made with engine" in report.skipped["recovering"]
    assert "– told to run again it comes to where it was: not checked: it is made with engine" in str(report)
    assert "an instance can be run only once" in check_worker(Pump(), examples=10).skipped["stopping"]
    assert check_worker(Pump, live=False, examples=10).skipped["stopping"] == "live=False"
    assert check_worker(Pump, live=False, skip=["deriving"], examples=10).skipped["deriving"] == "the test skips it"
    with pytest.raises(ValueError, match="there is no law 'driving'"):
        check_worker(Pump, skip=["driving"])


def test_a_worker_that_needs_a_spec_is_not_run_without_one() -> None:
    """The report names what is missing in it."""
    report = check_worker(Addressed, examples=10)
    assert "it needs spec=…: address: Field required" in report.skipped["stopping"]
    assert check_worker(Addressed, spec=AddressedSpec(address="plc"), examples=10).kept == tuple(LAWS)


class AddressedSpec(PumpSpec):
    address: str


class Addressed(Pump):
    "One whose spec needs more than defaults."

    spec_type = AddressedSpec


@guard
def cold(s: Seen) -> bool:
    "it is cold"
    return s.observed.bar < s.observed.celsius  # type: ignore[attr-defined,no-any-return]


@guard
def sometimes(s: Seen) -> bool:
    "whenever it likes"
    CALLS[0] += 1
    return CALLS[0] % 2 == 0


class Base(Worker[PumpSpec, PumpSpec, PumpSeen]):
    """What the bad workers share; they differ in their machines."""

    on = False

    async def collect_observed_state(self, desired: PumpSpec) -> PumpSeen:
        return PumpSeen(turning=self.on, bar=4.0)

    async def start(self, desired: PumpSpec) -> None:
        self.on = True

    async def stop(self, desired: PumpSpec) -> None:
        self.on = False


class Trapped(Base):
    "Goes where no way leads out."

    off = State(Phase.STOPPED)
    on_ = State(Phase.HEALTHY)
    arcs = [off.to(on_, on="start", when=wanted)]


class Stumbles(Pump):
    "Asks for a field that is not there, on the way back to running."

    arcs = [*Pump.arcs, Pump.weak.to(Pump.running, on="warm", when=cold)]


class Moody(Pump):
    "Decides by something that is not in the snapshot."

    arcs = [*Pump.arcs, Pump.running.to(Pump.weak, on="mood", when=sometimes)]


class Speechless(Base):
    "Gives no reason where one is asked for."

    off = State(Phase.STOPPED)
    broken = State(Phase.FAILED, reason=lambda s: "")
    arcs = [off.to(broken, on="start", when=wanted), broken.to(off, on="stop", when=~wanted)]


class PatientSpec(BaseModel):
    desired_state: Literal["running", "stopped"] = "running"
    least_bar: float = 2.0
    grace_s: float = Field(default=5.0, ge=0)


class Patient(Pump):
    "May be asked to wait for ever, which nothing can."

    spec_type = desired_type = PatientSpec
    arcs = [*Pump.arcs, Pump.weak.to(Pump.starting, on="too_long", when=held(~pressure, Setting("grace_s", 5)))]


class Rewrites(Pump):
    "Changes the spec it is given."

    def derive_desired_state(self, spec: PumpSpec) -> PumpSpec:
        spec.least_bar += 1.0
        return spec


class Counts(Pump):
    "Derives something else each time."

    def derive_desired_state(self, spec: PumpSpec) -> PumpSpec:
        CALLS[0] += 1
        return spec.model_copy(update={"least_bar": float(CALLS[0])})


class Twins(Pump):
    "Wants two children of one name."

    def children(self, desired: PumpSpec, state: str) -> list[ChildSpec]:
        return [ChildSpec("twin", "pump", enabled=False)] * (2 if desired.least_bar > 100 else 0)


class Refuses(Pump):
    "Cannot name its children for some that may be wanted."

    def children(self, desired: PumpSpec, state: str) -> list[ChildSpec]:
        if desired.least_bar > 100:
            raise OverflowError("too much")
        return []


class Endless(Pump):
    "Does not stop."

    async def stop(self, desired: PumpSpec) -> None:
        return None


class OneStart(Pump):
    "Can be started once in its life."

    used = False

    async def start(self, desired: PumpSpec) -> None:
        if not self.used:
            self.on = self.used = True


class Toggles(Pump):
    "Whose start is a switch."

    async def start(self, desired: PumpSpec) -> None:
        self.on = not self.on


class Objects(Pump):
    "Refuses to be started when it runs."

    async def start(self, desired: PumpSpec) -> None:
        if self.on:
            raise RuntimeError("already running")
        self.on = True


@guard
def ready(s: Snapshot[Any, PumpSeen]) -> bool:
    "it was asked to be ready"
    return bool(s.desired.ready)


class Assumes(Worker[Any, Any, PumpSeen]):
    "Takes for granted that there is a spec."

    off = State(Phase.STOPPED)
    on = State(Phase.HEALTHY)

    arcs = [off.to(on, on="start", when=ready), on.to(off, on="stop", when=~ready)]

    async def collect_observed_state(self, desired: Any) -> PumpSeen:
        return PumpSeen()


class Deaf(Pump):
    "Does not heed its cancellation for a while."

    async def collect_observed_state(self, desired: PumpSpec) -> PumpSeen:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
        return await super().collect_observed_state(desired)


class Breaks(Pump):
    "Does not survive an error: it remembers that it once failed to look."

    failed = False

    async def collect_observed_state(self, desired: PumpSpec) -> PumpSeen:
        if asyncio.get_running_loop().time() - self.last > 20:
            self.failed = True
        self.last = asyncio.get_running_loop().time()
        seen = await super().collect_observed_state(desired)
        return msgspec.structs.replace(seen, bar=0.0) if self.failed else seen

    def __init__(self) -> None:
        super().__init__()
        self.last = 0.0


BAD: list[tuple[Any, str, str]] = [
    (Trapped, "machine", "a trap: nothing ever leaves it"),
    (Stumbles, "deciding", "guard cold of arc weak -warm-> running"),
    (Moody, "deciding", "asked again"),
    (Speechless, "deciding", "no reason is given in broken"),
    (Patient, "waiting", "desired.grace_s is inf"),
    (Rewrites, "deriving", "changed the spec"),
    (Counts, "deriving", "of the same spec"),
    (Twins, "children", "two children of one name"),
    (Refuses, "children", "raises OverflowError: too much"),
    (Assumes, "speaking", "its own code raises"),
    (Endless, "stopping", "did not reach the phase stopped"),
    (OneStart, "starting", "did not reach the phase healthy"),
    (Toggles, "repeating", "after twice, to starting"),
    (Objects, "repeating", "called again raises RuntimeError: already running"),
    (Deaf, "cancelling", "collect_observed_state goes on"),
    (lambda: Breaks(), "recovering", "looking hangs, while it runs"),
]


@pytest.mark.parametrize(("worker", "law", "says"), BAD, ids=lambda value: getattr(value, "__name__", str(value))[:20])
def test_each_law_finds_who_breaks_it(worker: Callable[[], Any], law: str, says: str) -> None:
    """With the law's name, what is wrong, and the smallest example or the story of the run."""
    others = set(LAWS) - {law}
    with pytest.raises(AssertionError) as raised:
        check_worker(worker, skip=others)
    assert f"\n{law}: {LAWS[law].says}" in str(raised.value)
    assert says in str(raised.value)


def test_all_broken_laws_are_reported_at_once() -> None:
    """Not only the first."""

    class Hopeless(Rewrites, Twins):
        "Two faults."

    with pytest.raises(AssertionError) as raised:
        check_worker(Hopeless, live=False)
    assert "deriving: " in str(raised.value)
    assert "children: " in str(raised.value)
    assert "2 times" in str(raised.value)


def test_the_smallest_example_is_shown() -> None:
    """Shrunk by hypothesis: nothing in it that does not matter."""

    @guard
    def calm(s: Snapshot[PumpSpec, PumpSeen]) -> Verdict:
        "no burst"
        if s.observed.bar > 1000:
            raise ArithmeticError("a burst")
        return Verdict(True)

    class Bursts(Pump):
        arcs = [*Pump.arcs, Pump.running.to(Pump.weak, on="burst", when=~calm, priority=1)]

    with pytest.raises(
        AssertionError, match=r"for a snapshot with desired PumpSpec\(.*observed PumpSeen\(turning=False, bar="
    ):
        check_worker(Bursts, live=False)

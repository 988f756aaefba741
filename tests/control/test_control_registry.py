"""The registry: worker types by name, and what their workers are made with."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from tests.control.samples import Process, Spec, World, reach, state, supervisor

from setpoint.control import ChildSpec, Registry, Supervisor, UnknownWorkerType, monitor
from setpoint.control.registry import MissingDependency
from setpoint.machine import Phase, State
from setpoint.testing import run, wall


def test_a_constructor_is_given_what_it_asks_for_by_name() -> None:
    """Two registries in one process share nothing."""
    mine, yours = World(), World()
    made = []
    for outside in (mine, yours):
        registry = Registry(world=outside, unused=object())
        registry.add("process", Process)
        made.append(registry.create("process"))
    assert [worker.world for worker in made] == [mine, yours]  # type: ignore[attr-defined]


def test_two_supervisors_in_one_process_share_nothing() -> None:
    """The same paths, types and names; each its own world."""

    async def main() -> None:
        worlds = [World(), World()]
        supervisors = []
        for outside in worlds:
            registry = Registry(world=outside)
            registry.add("process", Process)
            supervisors.append(Supervisor(registry, wall=wall))
            supervisors[-1].want([ChildSpec("p", "process", Spec())])
        for each in supervisors:
            await reach(each, "agent/p", "running")
        supervisors[0].want([ChildSpec("p", "process", Spec(desired_state="stopped"))])
        await reach(supervisors[0], "agent/p", "stopped")
        assert (worlds[0].running, worlds[1].running, state(supervisors[1], "agent/p")) == (False, True, "running")
        for each in supervisors:
            await each.stop()

    run(main())


class Picky(Process):
    "Cannot be made without an engine."

    def __init__(self, engine: object) -> None:
        super().__init__()


def test_a_dependency_that_is_not_there_is_named_and_concerns_that_type_alone() -> None:
    """The worker says what is missing; its siblings run."""

    async def main() -> None:
        s = supervisor(picky=Picky)
        s.want([ChildSpec("a", "picky", Spec()), ChildSpec("b", "process", Spec())])
        await reach(s, "top/b", "running")
        assert "asks for 'engine', which the registry was not given" in s.worker("top/a").stalled.reason
        await s.stop()

    run(main())
    registry = Registry()
    registry.add("picky", Picky)
    with pytest.raises(MissingDependency):
        registry.create("picky")


def test_types_are_registered_by_decorator_under_their_names_in_snake_case() -> None:
    """Classes and monitors."""
    registry = Registry()

    @registry.register
    class HelloWorld(Process):
        "x"

    @registry.register
    @monitor()
    async def disk_has_room(spec: Any) -> bool:
        "x"
        return True

    assert list(registry) == ["hello_world", "disk_has_room"]
    assert isinstance(registry.create("hello_world"), HelloWorld)
    with pytest.raises(ValueError, match="registered already"):
        registry.add("hello_world", Process)
    with pytest.raises(UnknownWorkerType, match="did you mean 'hello_world'"):
        registry.create("hello_wrld")


def test_types_of_installed_packages_are_imported_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be imported fails where a worker of it is wanted, and nowhere else."""
    points = [
        EntryPoint("sample", "tests.control.samples:Process", "setpoint.workers"),
        EntryPoint("broken", "no_such_module:Thing", "setpoint.workers"),
    ]
    monkeypatch.setattr("setpoint.control.registry.entry_points", lambda group: [p for p in points if p.group == group])
    registry = Registry()
    registry.load_entry_points()
    assert sorted(registry) == ["broken", "sample"]
    assert type(registry.create("sample")).__name__ == "Process"
    with pytest.raises(ModuleNotFoundError):
        registry.create("broken")


def test_a_machine_with_a_fault_is_said_when_the_first_worker_of_its_type_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Once a type, and it runs all the same."""

    class Trapped(Process):
        "Cannot be stopped."

        stopped, running = State(Phase.STOPPED), State(Phase.HEALTHY)
        arcs = [stopped.to(running, on="start")]

    registry = Registry()
    registry.add("trapped", Trapped)
    assert registry.create("trapped") is not registry.create("trapped")
    assert capsys.readouterr().out.count("the machine of a worker type has a fault") >= 1

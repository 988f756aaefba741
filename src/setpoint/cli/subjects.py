"""Subjects: the machines that a command decides with, found by what the user names.

Without more, those of the catalogue and of installed packages (entry points ``setpoint.workers``). ``--machine`` names others in their
place: a Python file with worker classes, a ``module:Class``, or a machine file as ``setpoint machines NAME --format json`` writes it. A
machine file takes the Python guards and reasons that it names from the present machine of the same name.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setpoint.cli.trouble import USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.control import Worker
    from setpoint.control.replay import Subject
    from setpoint.machine import Machine

    Subjects = dict[str, Subject]


def present() -> Subjects:
    """What decides today, by machine name and by worker type. An installed package that cannot be imported is left out, and said."""
    from setpoint.control import Monitor
    from setpoint.control.replay import subject_of
    from setpoint.workers.catalogue import WORKERS

    classes: dict[str, type[Worker[Any, Any, Any]]] = {**dict(_installed()), **WORKERS, "monitor": Monitor}
    by_type = {name: subject_of(worker) for name, worker in classes.items()}
    return {**by_type, **{subject.machine.name: subject for subject in by_type.values()}}


def _installed() -> Iterator[tuple[str, type[Worker[Any, Any, Any]]]]:
    from setpoint.cli.output import clean
    from setpoint.workers.catalogue import WORKERS, known_types

    types = known_types()
    for name in [name for name in types if name not in WORKERS]:
        try:
            found: Any = types.factory(name)
        except Exception as error:
            print(clean(f"setpoint: worker type {name!r} is left out: {error}"), file=sys.stderr)
            continue
        if _is_worker(found):
            yield name, found


def named(what: str, known: Mapping[str, Subject]) -> Subjects:
    """What ``--machine`` names, by machine name. Raises `Trouble`."""
    file = Path(what)
    if file.suffix == ".py" or (":" in what and not file.is_file()):
        from setpoint.control.replay import subject_of

        return {worker.machine.name: subject_of(worker) for worker in worker_classes(what)}
    machine = _machine_file(file, known)
    today = known.get(machine.name)
    return {machine.name: today._replace(machine=machine) if today else _of(machine)}


def _of(machine: Machine) -> Subject:
    from setpoint.control.replay import Subject

    return Subject(machine)


def worker_classes(what: str) -> list[type[Worker[Any, Any, Any]]]:
    """The worker classes of a Python file, or the one that ``module:Class`` names."""
    try:
        if ":" not in what:
            module = _imported(Path(what))
            classes = [found for found in vars(module).values() if _is_worker(found)]
            own = [found for found in classes if found.__module__ == module.__name__]
            classes = own or classes
        else:
            from importlib import import_module

            sys.path.insert(0, str(Path.cwd()))
            name, _, attribute = what.partition(":")
            classes = [found for found in (getattr(import_module(name), attribute),) if _is_worker(found)]
    except Exception as error:  # whatever the user's module raises
        raise Trouble(f"{what} cannot be imported: {type(error).__name__}: {error}", code=USAGE) from None
    if not classes:
        raise Trouble(
            f"there is no worker class with states in {what}", "name a file or class that has one", code=USAGE
        )
    return classes


def _imported(file: Path) -> Any:
    from importlib.util import module_from_spec, spec_from_file_location

    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    spec = spec_from_file_location(f"_setpoint_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # types are looked up there by their annotations
    sys.path.insert(0, str(file.parent.absolute()))
    spec.loader.exec_module(module)
    return module


def _is_worker(found: Any) -> bool:
    from setpoint.control import Worker

    return isinstance(found, type) and issubclass(found, Worker) and hasattr(found, "machine")


def _machine_file(file: Path, known: Mapping[str, Subject]) -> Machine:
    from setpoint.machine import MachineError, load

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{file} cannot be read: {error}", "--machine takes a file or module:Class", code=USAGE) from None
    try:
        machine = load(text)
        today = known.get(machine.name)
        guards = _guards(today.machine) if today else {}
        if missing := sorted(_guards(machine).keys() - guards.keys()):
            raise Trouble(
                f"{file} names Python guards that nothing here has: {', '.join(missing)}",
                "name the Python file or module:Class that has them instead",
                code=USAGE,
            )
        loaded = load(text, guards=guards)
        return _with_reasons(loaded, today.machine) if today else loaded
    except MachineError as error:
        raise Trouble(f"{file}: {error}", f"'setpoint check {file}' lists its faults one by one", code=USAGE) from None


def _guards(machine: Machine) -> dict[str, Any]:
    """The Python guards that a machine asks, by name."""
    from setpoint.machine import ALWAYS
    from setpoint.machine.guards import Named

    nodes = (node for arc in machine.arcs for node in arc.when.walk())
    return {node.name: node for node in nodes if isinstance(node, Named) and node != ALWAYS}


def _with_reasons(machine: Machine, today: Machine) -> Machine:
    """The machine with reasons that are functions taken from the same states and arcs of today's; "" where there is none."""
    from setpoint.machine import Machine

    of_states = {state.name: state.reason for state in today.states}
    of_arcs = {(arc.event, arc.source.name, arc.target.name): arc.reason for arc in today.arcs}
    states = {
        state.name: dataclasses.replace(state, reason=of_states.get(state.name, ""))
        if callable(state.reason)
        else state
        for state in machine.states
    }
    arcs = [
        dataclasses.replace(
            arc,
            source=states[arc.source.name],
            target=states[arc.target.name],
            reason=of_arcs.get((arc.event, arc.source.name, arc.target.name), "")
            if callable(arc.reason)
            else arc.reason,
        )
        for arc in machine.arcs
    ]
    return Machine(
        machine.name, states.values(), arcs, initial=machine.initial, version=machine.version, doc=machine.doc
    )

"""Systems: a file that names several machines, how they see one another, and what must hold of them together. Explored by `explore`.

    machines:                      machines, by names: written out as in a file of their own, or the name of one that is known
      press: {states: ..., arcs: ...}
    instances:                     what there is of them
      press-1: press               a machine's name, from above or known
      press-2: {machine: press, sees: {other: press-1}, wanted: "peer('line').healthy"}
    never:                         what may not come true, by names for people
      both press: "peer('press-1').healthy and peer('press-2').healthy"
    targets:                       what must stay reachable while all are wanted
      one presses: "peer('press-1').healthy or peer('press-2').healthy"

`sees` and `wanted` are those of `Instance`. Reading is strict: every fault is reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from setpoint.machine.explore import LIMIT, Exploration, explore
from setpoint.machine.guard_text import read_guard
from setpoint.machine.guards import Guard
from setpoint.machine.joint import Instance
from setpoint.machine.load import load, parsed
from setpoint.machine.model import Machine, MachineError

KEYS: Final = ("name", "machines", "instances", "never", "targets")
INSTANCE_KEYS: Final = ("machine", "sees", "wanted")


@dataclass(frozen=True)
class System:
    """Several instances of machines and what must hold of them."""

    name: str
    instances: Mapping[str, Instance]
    never: Mapping[str, Guard]
    targets: Mapping[str, Guard]

    def explore(self, *, limit: int = LIMIT) -> Exploration:
        """Explore it. Raises `ValueError` where a guard asks about an instance or a state that there is not."""
        return explore(self.instances, never=self.never, targets=self.targets, limit=limit)


def _unknown(name: str) -> Machine:
    raise LookupError(f"there is no machine {name!r}")


def load_system(data: Mapping[str, Any] | str, *, known: Callable[[str], Machine] = _unknown) -> System:
    """The system that the data, or the JSON or YAML text, describes.

    `known` finds a machine that the file names and does not have, and raises `LookupError` for one that there is not. Raises `MachineError`
    with every fault.
    """
    content = parsed(data) if isinstance(data, str) else data
    if not isinstance(content, Mapping):
        raise MachineError("", ["a system is a mapping with machines and instances"])
    return _Reader(content, known).system()


class _Reader:
    """Reads one file. Faults are collected, so that one run shows them all."""

    def __init__(self, data: Mapping[str, Any], known: Callable[[str], Machine]) -> None:
        self.data = data
        self.known = known
        self.faults: list[str] = []
        self._keys(data, KEYS, "the system")
        self.machines: dict[str, Machine] = {}

    def system(self) -> System:
        name = self.data.get("name", "system")
        for key, entry in self._mapping("machines").items():
            machine = self._machine(key, entry)
            if machine is not None:
                self.machines[key] = machine
        instances = {key: self._instance(key, entry) for key, entry in self._mapping("instances").items()}
        if not instances and not self.faults:
            self.faults.append("instances: there are none")
        never, targets = self._guards("never"), self._guards("targets")
        if self.faults:
            raise MachineError(str(name), self.faults)
        return System(str(name), {key: made for key, made in instances.items() if made}, never, targets)

    def _machine(self, name: str, entry: Any) -> Machine | None:
        try:
            if isinstance(entry, str):
                return self.known(entry)
            if isinstance(entry, Mapping):
                return load({"name": name, **entry})
            self.faults.append(f"machine {name!r}: expected a mapping with states and arcs, or the name of a machine")
        except MachineError as error:
            self.faults += [f"machine {name!r}: {fault}" for fault in error.faults]
        except LookupError as error:
            self.faults.append(f"machine {name!r}: {error.args[0]}")
        return None

    def _instance(self, name: str, entry: Any) -> Instance | None:
        place = f"instance {name!r}"
        entry = {"machine": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, Mapping) or not isinstance(entry.get("machine"), str):
            self.faults.append(f"{place}: expected the name of a machine, or a mapping with machine, sees and wanted")
            return None
        self._keys(entry, INSTANCE_KEYS, place)
        sees = entry.get("sees") or {}
        if not isinstance(sees, Mapping) or not all(isinstance(text, str) for pair in sees.items() for text in pair):
            self.faults.append(f"{place}: sees: expected a mapping of names to names of instances")
            sees = {}
        wanted = self._guard(f"{place}: wanted", entry["wanted"]) if entry.get("wanted") is not None else None
        machine = self._named(place, entry["machine"])
        return None if machine is None else Instance(machine, dict(sees), wanted)

    def _named(self, place: str, name: str) -> Machine | None:
        if name in self.machines:
            return self.machines[name]
        if name in self._mapping("machines"):
            return None  # it has faults of its own
        try:
            return self.known(name)
        except LookupError as error:
            near = get_close_matches(name, self._mapping("machines"), n=1)
            self.faults.append(f"{place}: {error.args[0]}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return None

    def _guards(self, key: str) -> dict[str, Guard]:
        guards = {name: self._guard(f"{key} {name!r}", text) for name, text in self._mapping(key).items()}
        return {name: guard for name, guard in guards.items() if guard is not None}

    def _guard(self, place: str, text: Any) -> Guard | None:
        if not isinstance(text, str):
            self.faults.append(f"{place}: expected a guard as text, got {text!r}")
            return None
        try:
            return read_guard(text, {})
        except ValueError as error:
            self.faults.append(f"{place}: {error}")
        return None

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self.data.get(key) or {}
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            return value
        fault = f"{key}: expected a mapping of names"
        if fault not in self.faults:
            self.faults.append(fault)
        return {}

    def _keys(self, data: Mapping[str, Any], allowed: tuple[str, ...], place: str) -> None:
        for key in data:
            if key not in allowed:
                near = get_close_matches(str(key), allowed, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                self.faults.append(f"{place}: unknown key {key!r}{hint}")

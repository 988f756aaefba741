"""Versions: what becomes of a stored state when the machine has changed since.

What is stored of an instance names the machine's name, version and content hash besides the state. Three cases:

- the same version: the state is taken as it is, as long as the machine has it. A changed hash is said, with how much it breaks;
- another version: declared migrations are walked one after the other, 1→2→3, until the present version is reached;
- anything else is refused, by name, with what was looked for.

Nothing is guessed. A migration must say what becomes of each state that it meets, also of one that keeps its name, and each version has
one way on, so that the way taken never depends on the order of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from setpoint.machine.diff import diff, level
from setpoint.machine.export import content_hash
from setpoint.machine.model import Machine


@dataclass(frozen=True, slots=True)
class Migration:
    """What becomes of states from one version to another: a mapping, or a pure function that gives None for what it cannot place."""

    from_version: str
    to_version: str
    states: Mapping[str, str] | Callable[[str], str | None]

    def apply(self, state: str) -> str | None:
        """The state in the other version; None where nothing is declared."""
        return self.states(state) if callable(self.states) else self.states.get(state)

    def __str__(self) -> str:
        return f"{self.from_version}→{self.to_version}"


class Resumed(NamedTuple):
    """Where a stored instance goes on. `text` says what has changed since; it is empty when nothing has."""

    state: str
    text: str = ""


class Refused(NamedTuple):
    """Why a stored instance cannot go on: what was stored, what was looked for, what there is."""

    text: str


def migrate(
    machine: Machine,
    migrations: Iterable[Migration],
    *,
    name: str,
    version: str,
    hash: str,
    state: str,
    definition: Machine | None = None,
) -> Resumed | Refused:
    """Where an instance goes on that was stored in `state` of the machine of this name, version and content hash. Pure.

    `definition` is the machine as it was when the state was stored, where it was kept: then the text tells what has changed.
    """
    stored = f"stored state {state!r} of {name} version {version}"
    if name != machine.name:
        return Refused(f"{stored}: the machine here is {machine.name}")
    if version == machine.version:
        if state in machine.by_name:
            return Resumed(state, _what_changed(machine, hash, definition))
        return Refused(f"{stored}: it is gone from version {version}; its states are {_states(machine)}")
    return _walk(machine, list(migrations), stored, version, state)


def _walk(machine: Machine, migrations: list[Migration], stored: str, version: str, state: str) -> Resumed | Refused:
    way, passed = [version], [state]
    while way[-1] != machine.version:
        steps = [step for step in migrations if step.from_version == way[-1]]
        if len(steps) != 1:
            return Refused(f"{stored}: {_no_one_way(machine, migrations, steps)}")
        answer, trouble = _applied(steps[0], passed[-1])
        if trouble:
            return Refused(f"{stored}: {trouble}")
        way.append(steps[0].to_version)
        passed.append(answer)
        if way[-1] in way[:-1]:
            return Refused(f"{stored}: the declared migrations go round in a circle: {'→'.join(way)}")
    if passed[-1] not in machine.by_name:
        text = f"migration {'→'.join(way)} leads to state {passed[-1]!r}, which version {machine.version} does not have"
        return Refused(f"{stored}: {text}; its states are {_states(machine)}")
    return Resumed(passed[-1], f"{stored}: migrated {'→'.join(way)} to {passed[-1]!r}")


def _no_one_way(machine: Machine, migrations: list[Migration], steps: list[Migration]) -> str:
    if steps:
        return (
            f"{len(steps)} migrations leave version {steps[0].from_version}: {', '.join(map(str, steps))}; declare one"
        )
    declared = ", ".join(map(str, migrations)) or "none"
    return f"no migration to version {machine.version} is declared; declared: {declared}"


def _applied(step: Migration, state: str) -> tuple[str, str]:
    """The state after one step, and what is wrong with the step: one of them is empty."""
    try:
        answer: object = step.apply(state)
    except Exception as error:  # a user's function
        return "", f"migration {step} raised {type(error).__name__} for state {state!r}: {error}"
    if answer is None:
        return "", f"migration {step} does not say what becomes of state {state!r}"
    if not isinstance(answer, str) or not answer:
        return "", f"migration {step} gave {answer!r} for state {state!r}; expected the name of a state"
    return answer, ""


def _what_changed(machine: Machine, hash: str, definition: Machine | None) -> str:
    now = content_hash(machine)
    if hash == now:
        return ""
    subject = f"{machine.name} version {machine.version} has changed since the state was stored"
    if definition is None:
        return f"{subject}: its hash was {hash}, is {now}"
    changes = diff(definition, machine)
    return f"{subject} ({level(changes)}: {'; '.join(change.message for change in changes)})"


def migration_faults(machine: Machine, migrations: Iterable[Migration]) -> Iterator[str]:
    """What is wrong with the migrations of a machine, before any state is stored: for where they are declared."""
    steps: dict[str, Migration] = {}
    for step in migrations:
        if step.from_version in steps:
            yield f"two migrations leave version {step.from_version}: {steps[step.from_version]} and {step}"
        steps[step.from_version] = step
    for step in steps.values():
        way = [step.from_version]
        while way[-1] != machine.version and way[-1] in steps and way[-1] not in way[:-1]:
            way.append(steps[way[-1]].to_version)
        if way[-1] != machine.version:
            yield f"migration {step} does not lead to version {machine.version} of {machine.name}: {'→'.join(way)}"
        if step.to_version == machine.version and isinstance(step.states, Mapping):
            gone = [target for target in step.states.values() if target not in machine.by_name]
            yield from (f"migration {step} leads to {name!r}, which is no state of {machine.name}" for name in gone)


def _states(machine: Machine) -> str:
    return ", ".join(machine.by_name)

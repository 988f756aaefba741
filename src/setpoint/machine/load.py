"""Loading: a machine from data, JSON or YAML; strict, and with every fault at once.

Reads what `to_dict` writes, and shorter forms that people write:

    states: {stopped: stopped, running: healthy}     name: phase, instead of a list
    groups: {RUNNING: [idle, active]}                several states, or groups of them, under one name
    arcs:   - {event: stop, from: [RUNNING, starting], to: stopping, when: not wanted}

``from`` and ``to`` are `source` and `target`. From a list or a group there is one arc for each state but the target itself.

Guards in Python cannot be in a file. They are named there, under ``guards`` or by the caller, and the caller supplies them. A machine whose
file names guards that are not supplied still loads, so that it can be checked, drawn and compared; asking such a guard raises.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn, TypeVar

from setpoint.machine.export import content_hash
from setpoint.machine.guard_text import read_guard
from setpoint.machine.guards import ALWAYS, RESERVED, Guard, Named
from setpoint.machine.model import SIGNALS, Arc, Machine, MachineError, Phase, Reason, State
from setpoint.machine.seconds import RESUMES, Seconds, Setting

MACHINE_KEYS: Final = ("name", "version", "hash", "doc", "initial", "states", "groups", "arcs", "guards", "wanted")
STATE_KEYS: Final = ("name", "phase", "act", "final", "signal", "reason", "doc")
ARC_KEYS: Final = ("event", "source", "from", "target", "to", "when", "after", "resume", "priority", "reason")
MAX_TEXT: Final = 2_000_000

Why = Callable[[Any], str]
Word = TypeVar("Word", bound=str)


def load(
    data: Mapping[str, Any] | str,
    *,
    guards: Mapping[str, Guard] | None = None,
    reasons: Mapping[str, Why] | None = None,
) -> Machine:
    """The machine that the data, or the JSON or YAML text, describes.

    `guards` and `reasons` are the Python functions that it names. Raises `MachineError` with every fault: unknown keys, wrong types, names
    that are not there (with the nearest that is), guards that cannot be read, and what `Machine` itself refuses.
    """
    content = parsed(data) if isinstance(data, str) else data
    if not isinstance(content, Mapping):
        raise MachineError("", [f"a machine is a mapping with name, states and arcs, not {_kind(content)}"])
    try:
        return _Loader(content, guards or {}, reasons or {}).machine()
    except RecursionError:
        raise MachineError("", ["groups or lists are nested too deeply"]) from None


class _Loader:
    """Reads one file. Faults are collected; what is readable is read all the same, so that one run shows them all."""

    def __init__(self, data: Mapping[str, Any], guards: Mapping[str, Guard], reasons: Mapping[str, Why]) -> None:
        self.data = data
        self.reasons = reasons
        self.faults: list[str] = []
        self._keys(data, MACHINE_KEYS, "the machine")
        self.guards: dict[str, Guard] = {**self._unsupplied(), **guards}
        self.states: dict[str, State] = {}
        self.groups: dict[str, Any] = {}
        self.members: dict[str, list[State]] = {}

    def machine(self) -> Machine:
        name = self._text(self.data, "name", "the machine", required=True)
        states = [state for entry in self._state_entries() if (state := self._state(*entry)) is not None]
        self.states = {state.name: state for state in states}
        self.groups = self._mapping(self.data, "groups", "the machine")
        arcs = [arc for number, entry in enumerate(self._list("arcs"), 1) for arc in self._arcs(entry, number)]
        initial = self._text(self.data, "initial", "the machine")
        if initial and initial not in self.states:
            self.faults.append(f"initial: there is no state {initial!r}{_near(initial, self.states)}")
            initial = ""
        doc = self._text(self.data, "doc", "the machine")
        try:
            machine = Machine(name, states, arcs, initial=initial, version=self._version(), doc=doc)
        except MachineError as error:
            raise MachineError(name, [*self.faults, *error.faults]) from None
        self._same_hash(machine)
        if self.faults:
            raise MachineError(name, self.faults)
        return machine

    def _same_hash(self, machine: Machine) -> None:
        stated = self._text(self.data, "hash", "the machine")
        if stated and not self.faults and stated != content_hash(machine):
            self.faults.append(
                f"hash: the file says {stated}, but its content is {content_hash(machine)}; remove the hash if you changed the file"
            )

    def _version(self) -> str:
        version = self.data.get("version", "1")
        if isinstance(version, int) and not isinstance(version, bool):
            return str(version)
        return self._text(self.data, "version", "the machine") or "1"

    def _unsupplied(self) -> dict[str, Guard]:
        """The guards that the file names, as leaves that say that they were not supplied."""
        section = self.data.get("guards") or {}
        if isinstance(section, list):
            section = dict.fromkeys(section, "") if all(isinstance(name, str) for name in section) else section
        wanted = self.data.get("wanted") or []
        bad = [name for name in section if not str(name).isidentifier() or name in RESERVED]
        if bad:
            self.faults.append(f"guards: {bad[0]!r} cannot be the name of a guard")
        if not isinstance(section, Mapping) or not all(
            isinstance(text, str) for pair in section.items() for text in pair
        ):
            self.faults.append("guards: expected names, each with a line that says what it means")
            return {}
        if not isinstance(wanted, list) or not all(name in section for name in wanted if isinstance(name, str)):
            self.faults.append(f"wanted: expected a list of names of guards, got {wanted!r}")
            return {}
        return {
            name: Named(name, _unsupplied(name), doc or name.replace("_", " "), name in wanted)
            for name, doc in section.items()
        }

    def _state_entries(self) -> Iterator[tuple[str, Any]]:
        """Each state's place in the file and its keys, whichever form it is written in."""
        states = self.data.get("states")
        if isinstance(states, Mapping):
            for name, entry in states.items():
                keys = dict(entry) if isinstance(entry, Mapping) else {"phase": entry}
                yield f"state {name!r}", {"name": name, **keys}
        elif isinstance(states, list):
            for number, entry in enumerate(states, 1):
                name = entry.get("name") if isinstance(entry, Mapping) else entry
                place = f"state {name!r}" if isinstance(name, str) else f"state number {number}"
                yield place, {"name": entry} if isinstance(entry, str) else entry
        else:
            self.faults.append(f"states: expected a list or a mapping of names to phases, got {_kind(states)}")

    def _state(self, place: str, entry: Any) -> State | None:
        if not isinstance(entry, Mapping):
            self.faults.append(f"{place}: expected a mapping or a name, got {_kind(entry)}")
            return None
        self._keys(entry, STATE_KEYS, place)
        return State(
            self._phase(entry.get("phase"), place),
            name=self._text(entry, "name", place, required=True),
            act=self._text(entry, "act", place),
            final=self._typed(entry, "final", bool, "true or false", place) or False,
            signal=self._one_of(entry, "signal", SIGNALS, place) or "",
            reason=self._reason(entry, place),
            doc=self._text(entry, "doc", place),
        )

    def _phase(self, value: Any, place: str) -> Phase | None:
        if value is None:
            return None
        if value not in list(Phase):
            self.faults.append(f"{place}: phase {value!r} is none of {', '.join(Phase)}{_near(value, Phase)}")
            return None
        return Phase(value)

    def _one_of(self, entry: Mapping[str, Any], key: str, words: tuple[Word, ...], place: str) -> Word | None:
        """The word under a key, where it is one of these; None where there is none, and where it is another, which is a fault."""
        value = entry.get(key)
        found = next((word for word in words if word == value), None)
        if found is None and value is not None:
            self.faults.append(
                f"{place}: {key} {value!r} is none of {', '.join(filter(None, words))}{_near(value, words)}"
            )
        return found

    def _arcs(self, entry: Any, number: int) -> Iterator[Arc]:
        if not isinstance(entry, Mapping):
            self.faults.append(f"arc number {number}: expected a mapping, got {_kind(entry)}")
            return
        place = f"arc {entry['event']!r}" if isinstance(entry.get("event"), str) else f"arc number {number}"
        self._keys(entry, ARC_KEYS, place)
        event = self._text(entry, "event", place, required=True)
        sources = self._members(self._either(entry, "source", "from", place), place, ())
        targets = self._members(self._either(entry, "target", "to", place), place, ())
        when, after = self._when(entry, place), self._after(entry.get("after"), place)
        resume = self._one_of(entry, "resume", RESUMES, place) or "deadline"
        priority = self._typed(entry, "priority", int, "a whole number", place) or 0
        reason = self._reason(entry, place)
        if len(targets) > 1:
            self.faults.append(f"{place}: an arc has one target, not {len(targets)}")
        for source in sources if targets else ():
            if source != targets[0] or len(sources) == 1:
                yield Arc(
                    event, source, targets[0], when=when, after=after, resume=resume, priority=priority, reason=reason
                )

    def _either(self, entry: Mapping[str, Any], key: str, short: str, place: str) -> Any:
        if (key in entry) == (short in entry):
            self.faults.append(f"{place}: expected {short!r} or {key!r}, and not both")
        return entry.get(key, entry.get(short, []))

    def _members(self, item: Any, place: str, within: tuple[str, ...]) -> list[State]:
        """The states that a name, a group's name or a list of them stands for, each once."""
        if isinstance(item, list):
            return list(dict.fromkeys(state for part in item for state in self._members(part, place, within)))
        if isinstance(item, str) and item in self.states:
            return [self.states[item]]
        if isinstance(item, str) and item in self.groups and item not in within:
            if item not in self.members:
                self.members[item] = self._members(self.groups[item], f"group {item!r}", (*within, item))
            return self.members[item]
        if isinstance(item, str) and item in within:
            self.faults.append(f"group {item!r} contains itself")
        else:
            names = {**self.states, **self.groups}
            self.faults.append(f"{place}: there is no state {item!r}{_near(item, names)}")
        return []

    def _when(self, entry: Mapping[str, Any], place: str) -> Guard:
        when = entry.get("when", True)
        if when is True:
            return ALWAYS
        try:
            return read_guard(self._text(entry, "when", place) or "always", self.guards)
        except ValueError as error:
            self.faults.append(f"{place}: when: {error}")
            return ALWAYS

    def _after(self, value: Any, place: str) -> Seconds | None:
        if value is None or _is_number(value):
            return value  # type: ignore[no-any-return]
        try:
            if isinstance(value, Mapping) and set(value) == {"setting", "default"} and _is_number(value["default"]):
                return Setting(str(value["setting"]), value["default"])
            self.faults.append(
                f"{place}: after: expected seconds or {{setting: name, default: seconds}}, got {value!r}"
            )
        except ValueError as error:
            self.faults.append(f"{place}: after: {error}")
        return None

    def _reason(self, entry: Mapping[str, Any], place: str) -> Reason:
        reason = entry.get("reason", "")
        if not isinstance(reason, Mapping):
            return self._text(entry, "reason", place)
        self._keys(reason, ("function",), f"{place}: reason")
        name = self._text(reason, "function", f"{place}: reason", required=True)
        return self.reasons.get(name) or _unsupplied_reason(name)

    def _list(self, key: str) -> list[Any]:
        return self._typed(self.data, key, list, "a list", "the machine") or []

    def _mapping(self, data: Mapping[str, Any], key: str, place: str) -> dict[str, Any]:
        return self._typed(data, key, dict, "a mapping", place) or {}

    def _text(self, data: Mapping[str, Any], key: str, place: str, *, required: bool = False) -> str:
        if required and key not in data:
            self.faults.append(f"{place} has no {key}")
        return self._typed(data, key, str, "text", place) or ""

    def _typed(self, data: Mapping[str, Any], key: str, kind: type, wanted: str, place: str) -> Any:
        """The value of a key that is not there, or null, or of the right kind; anything else is a fault."""
        value = data.get(key)
        if value is None or (isinstance(value, kind) and isinstance(value, bool) == (kind is bool)):
            return value
        hint = "; put it in quotes" if kind is str else ""
        self.faults.append(f"{place}: {key}: expected {wanted}, got {_kind(value)} {value!r}{hint}")
        return None

    def _keys(self, data: Mapping[str, Any], allowed: Iterable[str], place: str) -> None:
        for key in data:
            if key not in allowed:
                self.faults.append(f"{place}: unknown key {key!r}{_near(key, allowed)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _near(name: Any, names: Iterable[str]) -> str:
    """A hint: the nearest name, if one is near."""
    near = get_close_matches(str(name), [str(known) for known in names], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _unsupplied(name: str) -> Callable[[Any], object]:
    def missing(snapshot: Any) -> NoReturn:
        raise LookupError(
            f"guard {name!r} is named in the file but was not supplied: load(..., guards={{{name!r}: ...}})"
        )

    return missing


def _unsupplied_reason(name: str) -> Why:
    def missing(snapshot: Any) -> NoReturn:
        raise LookupError(
            f"reason {name!r} is named in the file but was not supplied: load(..., reasons={{{name!r}: ...}})"
        )

    missing.__name__ = name
    return missing


def parsed(text: str) -> Any:
    """JSON where the text is JSON, else YAML. A key that is there twice is a fault: the first of the two would be lost without a word."""
    import yaml

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            _no_key_twice([self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE])
            return super().construct_mapping(node, deep)

    if len(text) > MAX_TEXT:
        raise MachineError("", [f"the text is longer than {MAX_TEXT:,} characters"])
    try:
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text, object_pairs_hook=_object)
            except json.JSONDecodeError:
                pass  # YAML may begin with a brace too
        return yaml.load(text, Strict)
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise MachineError("", [f"the text is neither JSON nor YAML: {error}"]) from None


_MERGE: Final = "tag:yaml.org,2002:merge"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _no_key_twice([key for key, _ in pairs])
    return dict(pairs)


def _no_key_twice(keys: list[Any]) -> None:
    for key, count in Counter(map(str, keys)).items():
        if count > 1:
            raise ValueError(f"key {key!r} is there {count} times")

"""``setpoint check --against STORE``: which stored workers go on in their states with the machines of today, and which do not.

Asked is what an agent asks when it starts: for each worker, by what its store has of it, `setpoint.machine.migrate`. Nothing is written,
and the store may be that of an agent that runs. What only a fresh observation settles (`Worker.resume_state`) is not asked.

    goes on        the same version, and the state is there; where the definition has changed meanwhile, how much that breaks
    migrated       declared migrations lead to a state of the present version
    begins anew    it had not come to life yet, so there is no state to go on in
    refused        it would be started in its initial state, with the reason
    unknown        there is no such worker type here

A worker of a refused or unknown kind is broken by the change.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args, get_type_hints

from setpoint.cli.connect import running_agent
from setpoint.cli.output import clean, console
from setpoint.cli.trouble import USAGE, Trouble
from setpoint.places import DATA, STORE

if TYPE_CHECKING:
    from rich.table import Table

    from setpoint.machine import Change, Machine, Migration
    from setpoint.store import Documents, SqliteStore

Verdict = Literal["refused", "unknown", "begins anew", "migrated", "goes on"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
BROKEN: Final = ("refused", "unknown")
STYLES: Final = {"refused": "bold red", "unknown": "bold red", "begins anew": "dim", "migrated": "yellow"}

RUNNING: Final = "running"
SHOWN_CHANGES: Final = 12


class Today(NamedTuple):
    """What a stored worker is to go on with."""

    machine: Machine
    migrations: Sequence[Migration] = ()


Find = Callable[[str, str], "Today | str | None"]
"""From a worker type and the name of its stored machine: what it is to go on with, or why there is nothing; None: it is not asked about."""


class Kind(NamedTuple):
    """What decides how a stored worker goes on. All workers of a kind share their fate."""

    type: str
    machine: str = ""
    version: str = ""
    hash: str = ""
    state: str = ""


class Fate(NamedTuple):
    """How workers of a kind go on: in the state `to`, `version` being that of the machine here. `changes` are those of its definition
    since, None where the stored one was not kept."""

    verdict: Verdict
    why: str = ""
    to: str = ""
    version: str = ""
    changes: Sequence[Change] | None = ()


class Answer(NamedTuple):
    """What was found: the fate of each kind, and which kind each worker is of."""

    store: Path
    alive_at: float | None
    fates: Mapping[Kind, Fate]
    workers: Mapping[str, Kind]

    @property
    def counts(self) -> Mapping[str, int]:
        """Workers by verdict."""
        found = Counter(self.fates[kind].verdict for kind in self.workers.values())
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def broken(self) -> int:
        """Workers that would lose their state."""
        return sum(self.counts[verdict] for verdict in BROKEN)


def ask(store: Path, find: Find) -> Answer:
    """How all workers in a store go on. Raises `Trouble` when it cannot be read."""
    import sqlite3

    from setpoint.store import SqliteStore, StoreError

    try:
        opened = SqliteStore(store, read_only=True)
    except (StoreError, sqlite3.Error, OSError) as error:
        raise Trouble(str(error), "name a store, or an agent's data directory", code=USAGE) from None
    try:
        documents = opened.load()
        if trouble := opened.trouble():
            raise Trouble(
                f"{store} cannot be read: {trouble}", "try again; if it is damaged, start the agent", code=USAGE
            )
        return _answer(store, opened, documents, find)
    finally:
        opened.close()


def _answer(store: Path, opened: SqliteStore, documents: Mapping[str, Documents], find: Find) -> Answer:
    from setpoint.control.standing import definition_of

    fates: dict[Kind, Fate] = {}
    workers: dict[str, Kind] = {}
    definitions: dict[str, Machine | None] = {}
    for path, stored in sorted(documents.items()):
        kind, fate = _read(stored)
        if fate is None:
            if kind not in fates:
                today = find(kind.type, kind.machine)
                if today is None:
                    continue
                if kind.hash not in definitions:
                    definitions[kind.hash] = definition_of(opened.machine(kind.hash))
                fates[kind] = _fate(kind, today, definitions[kind.hash])
        else:
            fates[kind] = fate
        workers[path] = kind
    return Answer(store, opened.alive_at, fates, workers)


def _read(stored: Documents) -> tuple[Kind, Fate | None]:
    """The kind of a worker; and its fate where that does not depend on any machine."""
    import msgspec

    from setpoint.control.standing import Identity, Standing

    try:
        identity = msgspec.convert(stored["identity"].value, Identity)
        was = msgspec.convert(stored["state"].value, Standing) if "state" in stored else Standing()
    except (KeyError, msgspec.ValidationError) as error:
        why = f"what is stored of it cannot be read: {error}"
        return Kind("", state=why), Fate("refused", why)
    kind = Kind(identity.type, was.machine, was.version, was.hash, was.state)
    if was.finished:
        return kind._replace(state="finished"), Fate("goes on", "it has finished and is not started again")
    return kind, None


def _fate(kind: Kind, today: Today | str, definition: Machine | None) -> Fate:
    from setpoint.machine import Refused, content_hash, diff, migrate

    if isinstance(today, str):
        return Fate("unknown", today)
    machine = today.machine
    if not kind.state:
        return Fate("begins anew", "it had not come to life")
    found = migrate(
        machine,
        today.migrations,
        name=kind.machine,
        version=kind.version,
        hash=kind.hash,
        state=kind.state,
        definition=definition,
    )
    changes: Sequence[Change] | None = ()
    if kind.hash != content_hash(machine):
        changes = None if definition is None else diff(definition, machine)
    text = found.text.removeprefix(f"stored state {kind.state!r} of {kind.machine} version {kind.version}: ")
    if isinstance(found, Refused):
        return Fate("refused", text, version=machine.version, changes=changes)
    verdict: Verdict = "goes on" if kind.version == machine.version else "migrated"
    return Fate(verdict, text, found.state, machine.version, changes)


# what there is today


class Present:
    """The worker types of this installation: built in, or offered by installed packages."""

    def __init__(self) -> None:
        from setpoint.workers.catalogue import known_types

        self._registry = known_types()

    def __call__(self, worker_type: str, machine: str) -> Today | str:
        try:
            worker = worker_class(self._registry.factory(worker_type))
        except LookupError as error:
            return str(error)
        except Exception as error:  # whatever the import of somebody's package raises
            return f"worker type {worker_type!r} cannot be imported: {type(error).__name__}: {error}"
        if worker is None:
            return f"worker type {worker_type!r} is a function that does not declare which worker class it returns"
        return Today(worker.machine, worker.migrations)

    def of_machine(self, machine: Machine) -> Today:
        """The machine with the migrations of the worker type that has one of its name; with none where there is no such type."""
        for worker_type in self._registry:
            today = self(worker_type, machine.name)
            if isinstance(today, str):
                print(clean(f"setpoint: left out: {today}"), file=sys.stderr)
            elif today.machine.name == machine.name:
                return Today(machine, today.migrations)
        return Today(machine)


def worker_class(factory: Any) -> Any:
    """The worker class that a factory makes: itself, or what it declares to return; None where it does not say."""
    made = factory if isinstance(factory, type) else get_type_hints(factory).get("return")
    return made if isinstance(made, type) and hasattr(made, "machine") and hasattr(made, "migrations") else None


def only_machine(machine: Machine) -> Find:
    """Ask about the workers that have a machine of this name, and no others."""
    today = Present().of_machine(machine)
    return lambda worker_type, name: today if name == machine.name else None


def only_classes(classes: Sequence[Any]) -> Find:
    """Ask about the workers that have a machine of one of these classes, or whose type has the name of one."""
    from setpoint.control.worker import snake_case

    known = {snake_case(each.__name__): Today(each.machine, each.migrations) for each in classes}
    by_machine = {today.machine.name: today for today in known.values()}
    return lambda worker_type, name: by_machine.get(name) or known.get(worker_type)


# where the store is


def store_at(given: str, env: Mapping[str, str]) -> Path:
    """The store that is meant: a file, a data directory, a config with its data beside it, or that of the running agent.

    Raises `Trouble` when no agent is running.
    """
    noted = running_agent(env)
    if given == RUNNING:
        if noted is None:
            raise Trouble("no agent of yours is running", "name the store: --against DIRECTORY", code=USAGE)
        return noted.directory / STORE
    place = Path(given)
    if place.suffix in (".yaml", ".yml"):
        keeps_it = noted is not None and Path(noted.config) == place.absolute()
        return (noted.directory if noted and keeps_it else place.parent / DATA) / STORE
    if place.is_dir():
        return place / STORE if (place / STORE).is_file() else place / DATA / STORE
    return place


# how it is told


def in_json(answer: Answer) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "store": str(answer.store),
        "alive_at": answer.alive_at,
        "counts": answer.counts,
        "workers": [_row(path, kind, answer.fates[kind]) for path, kind in answer.workers.items()],
        "definitions": [
            {
                "machine": kind.machine,
                "version": kind.version,
                "hash": kind.hash,
                "to_version": fate.version,
                "level": _level(fate),
                "changes": [str(change) for change in fate.changes or ()],
            }
            for kind, fate in _changed(answer)
        ],
    }


def _row(path: str, kind: Kind, fate: Fate) -> dict[str, Any]:
    return {
        "path": path,
        **kind._asdict(),
        "verdict": fate.verdict,
        "to_version": fate.version,
        "to": fate.to,
        "level": _level(fate),
        "why": fate.why,
    }


def _level(fate: Fate) -> str:
    """How much the definition has changed; "unknown" where nobody knows."""
    from setpoint.machine import level

    return "unknown" if fate.changes is None else level(fate.changes)


def _changed(answer: Answer) -> Iterator[tuple[Kind, Fate]]:
    """Each definition that has changed, once."""
    seen: set[tuple[str, str, str]] = set()
    for kind, fate in answer.fates.items():
        if fate.changes and (key := (kind.machine, kind.hash, fate.version)) not in seen:
            seen.add(key)
            yield kind, fate


def show(answer: Answer) -> None:
    """Print it: a row a kind by verdict, then what has changed in the machines, then the counts."""
    from rich.text import Text

    out = console()
    if answer.workers:
        out.print(_table(answer))
    for kind, fate in _changed(answer):
        changes = [str(change) for change in fate.changes or ()]
        if len(changes) > SHOWN_CHANGES:
            changes[SHOWN_CHANGES:] = [f"and {len(changes) - SHOWN_CHANGES} more; see --json"]
        out.print(Text(clean(_versions(kind, fate)), style="bold"))
        for change in changes:
            out.print(Text(f"  {clean(change)}"))
    counts = ", ".join(f"{count:,} {_worded(verdict, count)}" for verdict, count in answer.counts.items() if count)
    total = len(answer.workers)
    text = f"{answer.store}: {total:,} stored worker{'s' * (total != 1)}{f': {counts}' if counts else ''}"
    out.print(Text(clean(text), style="dim"))


def _worded(verdict: str, count: int) -> str:
    words = {"goes on": "go on", "begins anew": "begin anew"}
    return words.get(verdict, verdict) if count != 1 else verdict


def _versions(kind: Kind, fate: Fate) -> str:
    return f"{kind.machine} {kind.version}" + (f" → {fate.version}" if fate.version != kind.version else "")


def _table(answer: Answer) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("verdict", "workers", "stored", "goes on in", "definition"):
        table.add_column(column, overflow="fold")
    table.add_column("why", overflow="fold", min_width=20)
    paths: dict[Kind, list[str]] = {}
    for path, kind in answer.workers.items():
        paths.setdefault(kind, []).append(path)
    for verdict in VERDICTS:
        for kind in (kind for kind in paths if answer.fates[kind].verdict == verdict):
            fate, (first, *others) = answer.fates[kind], paths[kind]
            table.add_row(
                Text(verdict, style=STYLES.get(verdict, "green")),
                clean(f"{first} and {len(others):,} more" if others else first),
                clean(f"{kind.state} in {kind.machine} {kind.version}" if kind.machine else kind.type),
                clean(fate.to),
                _definition_text(fate),
                clean("" if verdict == "goes on" and fate.changes != () else fate.why),
            )
    return table


def _definition_text(fate: Fate) -> str:
    words = {"none": "same", "unknown": "changed"}
    return words.get(_level(fate), f"{_level(fate)} change") if fate.version else ""

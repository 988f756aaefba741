"""A machine for records, as the command line names it: a file, trusted or not, with values for its variables."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.told import fault_at, fault_of, say_faults
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.data.fsm import SimpleFSM
    from setpoint.data.runs import Runs


def machine_of(file: Path, *, trust: bool, settings: Sequence[str], runs: Runs | None = None) -> SimpleFSM:
    """The machine in a file; `settings` are ``NAME=VALUE``, above the variables of the process.

    Raises `typer.Exit` where the file has faults, which are then printed as ``setpoint check`` prints them, and `Trouble`.
    """
    from setpoint.data.config import ConfigError, load
    from setpoint.data.errors import PlanError
    from setpoint.data.fsm import SimpleFSM
    from setpoint.data.resources import faults

    if trust:
        sys.path.insert(0, str(file.parent.absolute()))
    given = _Settings(settings)
    try:
        definition = load(file, trust=trust, env=given)
        if wrong := faults(definition.resources):
            say_faults(file, [fault_at(place, text, file) for place, text in wrong])
            raise typer.Exit(FAILED)
        fsm = SimpleFSM(definition, trust=trust, runs=runs)
    except ConfigError as error:
        say_faults(file, [fault_of(problem) for problem in error.problems])
        raise typer.Exit(FAILED) from None
    except PlanError as error:
        places = zip(error.faults, error.places, strict=True)
        say_faults(file, [fault_at(place, text, file) for text, place in places])
        raise typer.Exit(FAILED) from None
    if unused := given.unused():
        fsm.close()
        raise Trouble(f"--set {unused}: {file} has no ${{{unused}}}", "correct the name, or leave it out", code=USAGE)
    return fsm


class _Settings(Mapping[str, str]):
    """The variables of the process with those of ``--set`` above them. It notes which of these were asked for."""

    def __init__(self, settings: Sequence[str]) -> None:
        pairs = [setting.partition("=") for setting in settings]
        for name, equals, _ in pairs:
            if not equals or not name:
                raise Trouble(f"--set {name}: expected NAME=VALUE", "e.g. --set LIMIT=100", code=USAGE)
        self._set = {name: value for name, _, value in pairs}
        self._asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self._asked.add(name)
        return self._set[name] if name in self._set else os.environ[name]

    def __iter__(self) -> Any:
        return iter({**os.environ, **self._set})

    def __len__(self) -> int:
        return len({**os.environ, **self._set})

    def unused(self) -> str:
        """A setting that nothing asked for; empty where there is none."""
        return next((name for name in self._set if name not in self._asked), "")


def runs_at(file: Path | None, *, about: Mapping[str, str] | None = None, must: bool) -> Runs | None:
    """The runs that are kept in a file, by default in this folder; None, and a remark, where that cannot be used and need not (`must`).

    Raises `Trouble`.
    """
    from setpoint.data.runs import Runs
    from setpoint.places import DATA, RUNS
    from setpoint.store import StoreError

    where = file or Path(DATA, RUNS)
    try:
        return Runs(where, about=about or {})
    except StoreError as error:
        if must or file is not None:
            raise Trouble(str(error), "name another file by --runs") from None
        print(f"setpoint: this run is not kept: {error}", file=sys.stderr)
        return None


RunsOption = Annotated[
    Path | None,
    typer.Option(
        "--runs", metavar="PATH", envvar="SETPOINT_RUNS", help="Where runs are kept (.setpoint/runs.sqlite).",
        show_default=False, show_envvar=False,
    ),
]  # fmt: skip


def decoded(text: str) -> Any:
    """A record, read as a line of JSON Lines is. Raises `Trouble`."""
    import msgspec

    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Trouble(f"--data is not JSON: {error}", """e.g. --data '{"amount": 3}'""", code=USAGE) from None


@contextmanager
def named(what: str) -> Iterator[None]:
    """Has what a source or a sink raises end the command, whatever it is: databases and services have errors of their own."""
    try:
        yield
    except (Trouble, BrokenPipeError):
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        _, _, end = what.partition(" ")
        remedy = "name a file (.jsonl, .json, .csv, .tsv, .txt), a folder to read, or a URL"
        if "://" in end:
            remedy = "" if "#" in end or "table" not in reason else f"{end.partition('?')[0]}#TABLE"
        raise Trouble(f"{what}: {reason.removeprefix(f'{end}: ')}", remedy) from None

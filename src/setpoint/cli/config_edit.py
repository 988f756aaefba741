"""What all commands have in common that change a config file: which file, and how a change is checked, shown, written and followed.

The file is ``--file``; else the ``config.yaml`` of the current directory; else that of the agent that this user started last. Which one
it was is always said. Nothing is written that the agent would refuse, and nothing over a change that somebody else made meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from setpoint.cli.connect import JsonOption, UrlOption, running_agent
from setpoint.cli.output import clean, print_json
from setpoint.cli.trouble import USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.agent.config import Problem
    from setpoint.agent.editing_file import Edit

CONFIG = "config.yaml"

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        metavar="CONFIG",
        help="The config to work on. Default: config.yaml in this directory, else that of your running agent.",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what would change, and write nothing.")]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Follow the running agent until it is done; exit code 1 if it does not get there."),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="How long to --wait.")]


class How(NamedTuple):
    """What was asked besides the change itself."""

    file: Path | None
    dry_run: bool
    json: bool
    wait: bool
    timeout: float
    url: str | None


class Aim(NamedTuple):
    """What a change is to bring about in a running agent: that this worker is active, stopped or gone; without one, that it is in force."""

    path: str = ""
    wanted: str = "active"


IN_FORCE = Aim()


def config_file(given: Path | None) -> Path:
    """The file to work on. Raises `Trouble` where none is named and none is found."""
    if given is not None:
        return given
    if Path(CONFIG).is_file():
        return Path(CONFIG)
    agent = running_agent(os.environ)
    if agent is not None:
        return Path(agent.config)
    raise Trouble(
        f"there is no {CONFIG} here, and no agent of yours is running",
        "name the file with --file, or write one with 'setpoint init'",
        code=USAGE,
    )


@contextmanager
def as_trouble() -> Iterator[None]:
    """What cannot be done with a file, told as trouble."""
    from setpoint.agent.editing_file import NotWritten
    from setpoint.configfile.editing import NotEditable

    try:
        yield
    except (NotEditable, NotWritten) as error:
        raise Trouble(str(error), error.hint) from None


def opened(given: Path | None) -> Edit:
    """The file as it is. Raises `Trouble`."""
    from setpoint.agent.editing_file import Edit

    with as_trouble():
        return Edit(config_file(given))


def carry_out(how: How, change: Callable[[str], str], *, done: str, aim: Aim = IN_FORCE) -> None:
    """Change the file: check, show or write, follow. Raises `Trouble`; then the file is as it was, unless the message says otherwise."""
    edit = opened(how.file)
    with as_trouble():
        new = change(edit.text)
    finish(how, edit, new, done=done, aim=aim)


def finish(how: How, edit: Edit, new: str, *, done: str, aim: Aim = IN_FORCE) -> None:
    """Put the new text in the place of the one that was read, as `carry_out` does."""
    from setpoint.agent.editing_shown import difference

    problems = checked_or_trouble(edit, new)
    changes = difference(edit.text, new, names=(str(edit.file), f"{edit.file} (new)"))
    if how.dry_run or new == edit.text:
        _tell(how, edit, changes, problems, backup="", done="nothing to change" if new == edit.text else "")
        return
    follower = _follower(how, edit) if how.wait else None
    with as_trouble():
        kept = edit.write(new)
    _tell(how, edit, changes, problems, backup=kept.name if kept else "", done=done)
    if follower is not None:
        follower(edit.digest, aim)


def checked_or_trouble(edit: Edit, new: str) -> tuple[Problem, ...]:
    """The remarks on a text that would do. Raises `Trouble` after all problems of one that would not."""
    from setpoint.agent.editing_check import checked

    found = checked(new, edit.file, os.environ)
    if not found.errors:
        return found.problems
    say(found.errors)
    count = f"{len(found.errors)} error{'s' * (len(found.errors) != 1)}"
    if checked(edit.text, edit.file, os.environ).errors:
        raise Trouble(
            f"{edit.file} would have {count}, and has errors as it is; nothing was written", "correct these first"
        )
    raise Trouble(f"{edit.file} would have {count}; nothing was written", "correct what was asked for")


def say(problems: Sequence[Problem]) -> None:
    """Print problems, on stderr."""
    for problem in problems:
        print(f"{problem.severity}: {clean(problem)}", file=sys.stderr)


def _tell(how: How, edit: Edit, changes: list[str], problems: tuple[Problem, ...], *, backup: str, done: str) -> None:
    if how.json:
        print_json(
            {
                "file": str(edit.file),
                "written": bool(backup),
                "digest": edit.digest,
                "backup": backup,
                "changes": changes,
                "problems": [as_data(problem) for problem in problems],
            }
        )
        return
    if how.dry_run:
        print_lines(changes or ["nothing to change"])
    else:
        print(clean(f"{edit.file}: {done}"))
    say([problem for problem in problems if problem.message.endswith("is not set here")])


def as_data(problem: Problem) -> dict[str, Any]:
    """A problem as JSON."""
    names = ("severity", "line", "column", "key", "item", "message", "hint")
    return {name: getattr(problem, name) for name in names}


def print_lines(lines: Sequence[str]) -> None:
    """Lines of a config or a difference. What they say is printed as it is, but for what would steer a terminal."""
    for line in lines:
        print("".join(c if c.isprintable() or c == "\t" else clean(c) for c in line))


def _follower(how: How, edit: Edit) -> Callable[[str, Aim], None]:
    """What follows the agent once the file is written. Raises `Trouble` before, where none keeps this file."""
    from setpoint.cli.config_wait import Follower

    follower = Follower(how.url, edit.file, how.timeout)
    return lambda digest, aim: follower.follow(digest, aim.path, aim.wanted, quiet=how.json)


__all__ = ["Aim", "DryRunOption", "FileOption", "How", "JsonOption", "TimeoutOption", "UrlOption", "WaitOption"]

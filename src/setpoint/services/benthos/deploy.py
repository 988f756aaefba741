"""Puts a flow's file in its place: judged first by the program that will run it, then swapped in one step.

What runs keeps its file until the new one is known to be good, whole and on the disk. A file that is there already and says the same is
left alone: there is nothing to judge, to write, or to restart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from setpoint.configfile import Problem
from setpoint.services.benthos.config import SOURCE, Document
from setpoint.services.benthos.lint import lint
from setpoint.services.benthos.program import Program
from setpoint.services.blocking import in_thread
from setpoint.services.swap import candidate, swap


class Deployed(msgspec.Struct, frozen=True):
    """What became of the file. `refused`: it is as it was before, because of `problems`; `judged`: which the program found in it."""

    outcome: Literal["written", "unchanged", "refused"]
    problems: tuple[Problem, ...] = ()
    judged: bool = False

    @property
    def reason(self) -> str:
        """What is wrong, for people; "" when nothing is."""
        return "; ".join(map(str, self.problems))


async def deploy(wanted: Document, path: Path, program: Program, *, env: Mapping[str, str] | None = None) -> Deployed:
    """Have the document at this path. Raises nothing: a fault of the config or of the disk is the reason why it was refused.

    Only its owner may read the file: configs contain passwords.
    """
    try:
        if await in_thread(lambda: _is_there(wanted, path)):
            return Deployed("unchanged")
        new = await in_thread(lambda: candidate(path, wanted.text.encode(), suffix=".part.yaml"))
    except OSError as error:
        return _refused(path, error)
    try:
        problems = await lint(program, new, env=env)
        if problems:
            return Deployed("refused", tuple(problems), judged=True)
        await in_thread(lambda: swap(new, path))
    except OSError as error:
        return _refused(path, error)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    return Deployed("written")


def _is_there(wanted: Document, path: Path) -> bool:
    try:
        return path.read_bytes() == wanted.text.encode()
    except FileNotFoundError:
        return False


def _refused(path: Path, error: OSError) -> Deployed:
    message = f"the file {path} cannot be written: {error.strerror or error}"
    hint = "the data directory must be writable and have space left"
    return Deployed("refused", (Problem(message, 0, 0, hint=hint, source=SOURCE),))

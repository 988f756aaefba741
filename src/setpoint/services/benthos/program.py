"""Finds the program that runs Benthos flows, and says which one it is.

Benthos has several heirs that read the same configs: `benthos` (also UMH's build of it), `bento`, `redpanda-connect`, and `rpk connect`.
They differ in how they are told to run a file. One that is found is asked for its version: what does not answer as Benthos does is not
taken for it. Whatever is wrong is a reason for people, never an exception.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from setpoint.services.benthos.outside import ask

Kind = Literal["benthos", "bento", "redpanda-connect", "rpk connect"]

NAMES: Final[tuple[tuple[str, Kind], ...]] = (
    ("benthos", "benthos"),
    ("bento", "bento"),
    ("redpanda-connect", "redpanda-connect"),
    ("rpk", "rpk connect"),
)
"""What is looked for, in this order: an edge box that has UMH's Benthos has its components, too."""
_VERSION: Final = re.compile(r"^\s*Version:\s*(\S+)", re.MULTILINE)
"""The first line of ``--version``; the second is the date of the build (Bento 1.20, Benthos 4.76)."""
LOOK_AGAIN_S: Final = 30.0
"""Between two searches for a program where there was none."""
MISSING: Final = (
    "no Benthos is installed: install bento, benthos or redpanda-connect where PATH finds it, "
    "or set SETPOINT_BENTHOS to its path"
)


class Program(msgspec.Struct, frozen=True):
    """A program that runs flows: the words its commands begin with, what it is, and its version as it says it."""

    words: tuple[str, ...]
    kind: Kind
    version: str

    def run(self, config: Path) -> tuple[str, ...]:
        """The command that runs this file. Redpanda's programs want the word ``run``; Bento and UMH's Benthos know only ``-c``."""
        if self.kind in ("benthos", "bento"):
            return (*self.words, "-c", str(config))
        return (*self.words, "run", str(config))

    def lint(self, config: Path) -> tuple[str, ...]:
        """The command that says what is wrong with this file."""
        return (*self.words, "lint", str(config))


class Found(msgspec.Struct, frozen=True):
    """The program, or None and the reason why there is none, with what to do about it."""

    program: Program | None = None
    reason: str = ""


class Programs:
    """The program of an agent: looked for when it is first needed, and again from time to time while there is none.

    `configured` is its path, or a name to look for; `env` the environment in which it runs, None: that of this process.
    """

    missing: Final = MISSING

    def __init__(self, configured: str = "", *, env: Mapping[str, str] | None = None) -> None:
        self.env = os.environ if env is None else env
        self._configured = configured
        self._found = Found()
        self._looked = float("-inf")

    @property
    def installed(self) -> bool:
        """Whether there is something that might be one; cheap, and without asking it."""
        names = [self._configured] if self._configured else [name for name, _ in NAMES]
        return any(shutil.which(name, path=self.env.get("PATH")) for name in names)

    async def find(self) -> Found:
        """The program, or why there is none."""
        now = time.monotonic()
        if self._found.program is None and now - self._looked >= LOOK_AGAIN_S:
            self._looked = now
            self._found = await find_program(self._configured, env=self.env)
        return self._found


async def find_program(configured: str = "", *, env: Mapping[str, str] | None = None) -> Found:
    """The program at the configured path (or of that name), else the first of `NAMES` in PATH that answers as Benthos does.

    `env` is the environment in which it runs, PATH included; None: that of this process. Some 50 ms for each program that is asked.
    """
    search = (os.environ if env is None else env).get("PATH")
    if configured:
        return await _configured(configured, search, env)
    reasons = []
    for name, kind in NAMES:
        if path := shutil.which(name, path=search):
            found = await _asked(path, kind, env)
            if found.program:
                return found
            reasons.append(found.reason)
    return Found(reason="; ".join(reasons) or MISSING)


async def _configured(text: str, search: str | None, env: Mapping[str, str] | None) -> Found:
    path = shutil.which(text, path=search)
    return Found(reason=_why_not(text)) if path is None else await _asked(path, _kind(path), env)


def _why_not(text: str) -> str:
    """Why this cannot be run, and what to do."""
    if os.sep not in text:
        return f"the configured program {text!r} is not in PATH; give its whole path"
    if not os.path.exists(text):
        return f"the configured program {text} does not exist; correct the path"
    if os.path.isdir(text):
        return f"the configured program {text} is a directory; name the program in it"
    return f"the configured program {text} may not be executed; chmod +x it, or correct the path"


def _kind(path: str) -> Kind:
    """By its file's name, which may say more than the bare name: ``bento-1.20.0``."""
    name = Path(path).name.removesuffix(".exe")
    return next((kind for known, kind in NAMES if name == known or name.startswith(f"{known}-")), "benthos")


async def _asked(path: str, kind: Kind, env: Mapping[str, str] | None) -> Found:
    words = (path, "connect") if kind == "rpk connect" else (path,)
    answer = await ask((*words, "--version"), env=env)
    if answer.problem:
        return Found(reason=answer.problem)
    said = _VERSION.search(answer.stdout)
    if answer.code != 0 or said is None:
        text = " ".join((answer.stdout + answer.stderr).split())[:80]
        says = f"says {text!r}" if text else "says nothing"
        return Found(reason=f"{' '.join(words)} is no Benthos: --version ends with {answer.code} and {says}")
    return Found(Program(words, kind, said[1]))

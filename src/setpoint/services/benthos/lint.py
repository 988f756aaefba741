"""What the real program says is wrong with a file, in its own words, with the place in the flow's config.

Benthos writes ``FILE(LINE,COLUMN) MESSAGE`` for each fault, and a message may have several lines. Lines are those of the file that was
made of the config, so the keys that stand there are looked up in it: people know their config, not our file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Final

from setpoint.configfile import Mapping, Mark, Node, Problem, Scalar, Sequence, compose
from setpoint.services.benthos.config import SOURCE
from setpoint.services.benthos.outside import Answer, ask
from setpoint.services.benthos.program import Program

_PLACE: Final = r"\((\d+),\d+\) "
_SAID: Final = 2_000
"""Characters of what the program says that are passed on."""


async def lint(program: Program, file: Path, *, env: Table[str, str] | None = None) -> list[Problem]:
    """Every fault that the program finds in the file; none when it finds none. Some 50 ms; never raises for what is wrong.

    `env` is the environment in which the flow will run: variables that it names and that are not there are faults. A program that cannot
    be asked, or gives no answer, is a fault, too: what nobody has judged does not replace what runs.
    """
    answer = await ask(program.lint(file), env=env)
    if answer.problem:
        return [Problem(answer.problem, 0, 0, source=SOURCE)]
    if answer.code == 0:
        return []
    return _problems(answer, file)


def _problems(answer: Answer, file: Path) -> list[Problem]:
    said = answer.stderr.strip() or answer.stdout.strip()
    parts = re.split(rf"^{re.escape(str(file))}{_PLACE}", said, flags=re.MULTILINE)
    if len(parts) == 1:
        message = said.replace(str(file), "the config")[:_SAID] or "it says nothing"
        return [Problem(f"lint ended with {answer.code}: {message}", 0, 0, source=SOURCE)]
    tree, _ = compose(file.read_text(encoding="utf-8", errors="replace"))
    return [_problem(tree, int(line), message) for line, message in zip(parts[1::2], parts[2::2], strict=True)]


def _problem(tree: Node | None, line: int, message: str) -> Problem:
    key, inside = place(tree, line)
    text = " ".join(message.split())[:_SAID]
    return Problem(f"line {inside}: {text}" if inside else text, 0, 0, key=key, source=SOURCE)


def place(tree: Node | None, line: int) -> tuple[str, int]:
    """The keys that lead to what stands at this line, as in ``pipeline.processors[0].mapping``, "" when nothing does; and the line within
    that value where it is a text of several lines, else 0.

    Columns are of no use: Benthos says 1 for most of them. Our files have no two keys in a line.
    """
    path, mark, here = "", Mark(0, 0), tree
    while True:
        before = [part for part in _parts(here) if part[1].line <= line]
        if not before:
            break
        name, mark, here = before[-1]
        path = f"{path}.{name}" if path and not name.startswith("[") else f"{path}{name}"
    literal = isinstance(here, Scalar) and here.literal
    return path, line - mark.line if literal and line > mark.line else 0


def _parts(node: Node | None) -> list[tuple[str, Mark, Node]]:
    if isinstance(node, Mapping):
        return [(key, node.keys[key], child) for key, child in node.items.items()]
    if isinstance(node, Sequence):
        return [(f"[{number}]", child.mark, child) for number, child in enumerate(node.items)]
    return []

"""Lines: how much of a text belongs to an entry, and how entries come and go without a change to any other line.

An entry in blocks is its lines, the comments behind it that are indented deeper than it, and the comment directly above it that stands in
its own column, but for the first of a list or mapping: what stands above that one is about all of them. Blank lines stand between entries;
one that goes takes those before it along, the first one those behind it.

A file whose last line does not end keeps it so, whichever line is the last one then.
"""

from __future__ import annotations

import re
from typing import Final

_BREAK: Final = re.compile(r"\r\n|\n|\r")


def line_break(text: str) -> str:
    """What lines of this text end with: its first line break."""
    found = _BREAK.search(text)
    return found.group() if found else "\n"


def line_start(text: str, position: int) -> int:
    """Where the line with this position begins."""
    return max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1


def line_end(text: str, position: int) -> int:
    """Where the line after the one with this position begins; the end of the text where there is none."""
    found = _BREAK.search(text, position)
    return found.end() if found else len(text)


def column(text: str, position: int) -> int:
    """How far into its line a position is, from 0."""
    start = line_start(text, position)
    return position - start - (start == 0 and text.startswith("\ufeff"))


def begins_line(text: str, position: int) -> bool:
    """Whether only blanks stand before it."""
    return not text[line_start(text, position) : position].strip(" \ufeff")


def after(text: str, end: int, indent: int) -> int:
    """Where what belongs to an entry of this column ends, in whole lines, when its last character is before `end`."""
    position = found = line_end(text, max(end - 1, 0)) if text[max(end - 1, 0) : end] not in ("\n", "\r") else end
    while position < len(text):
        following = line_end(text, position)
        line = text[position:following]
        content = line.lstrip(" ")
        if content.startswith("#"):
            if len(line) - len(content) <= indent:
                break
            found = following
        elif content.strip():
            break
        position = following
    return found


def above(text: str, start: int) -> int:
    """Where what belongs to an entry begins, in whole lines: its comment directly above, in its own column."""
    indent, begin = column(text, start), line_start(text, start)
    while begin > 0:
        previous = line_start(text, begin - (2 if text[begin - 2 : begin] == "\r\n" else 1))
        line = text[previous:begin].removeprefix("\ufeff")
        if not line.lstrip(" ").startswith("#") or len(line) - len(line.lstrip(" ")) != indent:
            break
        begin = previous
    return begin


def blanks_before(text: str, position: int, *, most: int = 10_000) -> int:
    """Where the empty lines directly before a line begin, so many at most."""
    while position > 0 and most > 0:
        previous = line_start(text, position - (2 if text[position - 2 : position] == "\r\n" else 1))
        if text[previous:position].strip("\ufeff \t\r\n"):
            break
        position, most = previous, most - 1
    return position


def blanks_behind(text: str, position: int) -> int:
    """Where the empty lines that begin at a position end."""
    while position < len(text) and not text[position : line_end(text, position)].strip():
        position = line_end(text, position)
    return position


def cut(text: str, start: int, end: int, *, ended: bool = False) -> str:
    """The text without these whole lines; `ended`: its last line may end, though it did not."""
    rest = text[:start] + text[end:]
    if not ended and end == len(text) and not text.endswith(("\n", "\r")):
        return rest.removesuffix(line_break(text)) if rest[:start].endswith(("\n", "\r")) else rest
    return rest


def put(text: str, position: int, lines: list[str]) -> str:
    """The text with these lines before the line that begins at a position, or at its end."""
    ending = line_break(text)
    block = ending.join(lines)
    if position < len(text) or not text or text.endswith(("\n", "\r")):
        return text[:position] + block + ending + text[position:]
    return text + ending + block

"""Bloblang text as tokens, each with its line."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from setpoint.flows.bloblang.values import MappingError, tidy

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r]+|\#[^\n]*)
      |(?P<line>\n)
      |(?P<text>\"{3}.*?\"{3}|"(?:[^"\\\n]|\\.)*")
      |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      |(?P<name>[A-Za-z_]\w*)
      |(?P<mark>=>|->|==|!=|<=|>=|&&|\|\||[-+*/%|<>!=.,:()\[\]{}$@])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_SEGMENT: Final = re.compile(r"\w+", re.ASCII)
_ESCAPE: Final = re.compile(r'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([abfnrtv\\"]))')
_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


class BloblangError(ValueError):
    """The text is not Bloblang, or not the part of it that Setpoint translates: says what and in which line."""


class Token(NamedTuple):
    """A piece of the text: its kind (text, number, name, mark, line, end), itself, its line and where it ends."""

    kind: str
    text: str
    line: int
    end: int


def tokens(text: str, start: int = 0, *, line: int = 1) -> list[Token]:
    """All tokens from `start` to the end, or up to the first thing that is none: that is a token ``unknown``."""
    found: list[Token] = []
    at = start
    while at < len(text):
        after_dot = bool(found) and found[-1].text == "." and found[-1].end == at
        segment = _SEGMENT.match(text, at) if after_dot else None
        match = segment or _TOKEN.match(text, at)
        if match is None:
            found.append(Token("unknown", text[at : at + 12].split("\n", maxsplit=1)[0], line, at))
            return found
        kind = "name" if segment else str(match.lastgroup)
        at = match.end()
        if kind != "space":
            found.append(Token(kind, match.group(), line, at))
        line += match.group().count("\n")
    return [*found, Token("end", "the end", line, at)]


def literal(token: Token) -> Any:
    """The value of a text or a number. Raises `BloblangError`."""
    if token.kind == "number":
        try:
            return int(token.text) if token.text.isdecimal() else tidy(float(token.text))
        except (MappingError, ValueError) as error:
            raise BloblangError(f"line {token.line}: {token.text[:40]} is no number: {error}") from None
    if token.text.startswith('"""'):
        return token.text[3:-3]
    if (left := _ESCAPE.sub("", token.text[1:-1])).count("\\"):
        at = left.index("\\")
        raise BloblangError(f"line {token.line}: {left[at : at + 2]!r} is no escape in a text")
    try:
        value = _ESCAPE.sub(_unescaped, token.text[1:-1])
        value.encode()
    except (ValueError, OverflowError):
        raise BloblangError(f"line {token.line}: {token.text} names a character that there is not") from None
    return value


def _unescaped(match: re.Match[str]) -> str:
    two, four, eight, octal, letter = match.groups()
    if letter:
        return _ESCAPES[letter]
    return chr(int(octal, 8)) if octal else chr(int(two or four or eight, 16))

"""The pieces of a template: plain text, and actions cut into tokens. Trim markers and comments are dealt with here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from setpoint.templates.scalars import resolve


class TemplateError(Exception):
    """A template cannot be read or rendered. `offset` is the character of the text at which it went wrong."""

    def __init__(self, message: str, *, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.offset, self._hint = message, offset, hint

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self._hint


class MissingVariable(TemplateError):
    """A template uses a variable that is not there. `name` is the variable as written, without the dot: ``IP``, ``location.4``;
    `known` is what there is in its place, `within` the variable it was looked for in."""

    def __init__(self, name: str, *, offset: int, known: Mapping[str, object], within: str = "") -> None:
        super().__init__(f"no variable {name!r}", offset=offset)
        self.name, self.known, self.within = name, known, within

    @property
    def hint(self) -> str:
        """The variables there are."""
        place = f"in {self.within} " if self.within else ""
        shown = ", ".join(name[:40] for name in islice(self.known, 20))
        return f"{place}there are: {shown or 'none'}{', …' if len(self.known) > 20 else ''}"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an action. Kinds: field, variable, word, value, and the signs themselves."""

    kind: str
    text: str
    offset: int
    value: object = None
    spaced: bool = True
    """White space, or nothing at all, stands before it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Plain text (`tokens` is None) or an action."""

    offset: int
    text: str = ""
    tokens: tuple[Token, ...] | None = None


_TOKEN: Final = re.compile(
    r"""
      (?P<field>\.[^\W\d]\w*)
    | (?P<value>"(?:[^"\\\n]|\\.)*" | `[^`]*` | '(?:[^'\\\n]|\\.)+'
        | [+-]?(?:0[xXbBoO]\w+|(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?))
    | (?P<variable>\$\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>:=|[=|(),.])
    """,
    re.VERBOSE,
)
_ESCAPES: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
}
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_COMMENT: Final = re.compile(r"\s*/\*.*?\*/\s*(-?)\}\}", re.DOTALL)
_INDEX: Final = re.compile(r"\.\d+")
_SPACE: Final = " \t\r\n"


def pieces(text: str) -> Iterator[Piece]:
    """Text and actions in their order. Raises `TemplateError`."""
    position, trim = 0, False
    while True:
        start = text.find("{{", position)
        plain = text[position : start if start >= 0 else len(text)]
        opened = start + 2
        left_trim = (
            start >= 0 and text[opened : opened + 1] == "-" and text[opened + 1 : opened + 2].strip(_SPACE) == ""
        )
        plain = plain.lstrip(_SPACE) if trim else plain
        plain = plain.rstrip(_SPACE) if left_trim else plain
        if plain:
            yield Piece(position, plain)
        if start < 0:
            return
        opened += left_trim
        if comment := _COMMENT.match(text, opened):
            position, trim = comment.end(), bool(comment.group(1))
            continue
        tokens, position, trim = _action(text, opened, start)
        yield Piece(start, tokens=tokens)


def _action(text: str, position: int, start: int) -> tuple[tuple[Token, ...], int, bool]:
    """The tokens of an action, where it ends, and whether it trims what follows."""
    tokens: list[Token] = []
    while True:
        spaced = not tokens
        while position < len(text) and text[position] in _SPACE:
            position, spaced = position + 1, True
        if text.startswith("}}", position):
            return tuple(tokens), position + 2, False
        if spaced and text.startswith("-}}", position):
            return tuple(tokens), position + 3, True
        if position >= len(text):
            raise TemplateError("'{{' without '}}'", offset=start, hint="close the action with '}}'")
        token = _token(text, position, tokens[-1] if tokens else None, spaced)
        tokens.append(token)
        position += len(token.text)


def _token(text: str, position: int, previous: Token | None, spaced: bool) -> Token:
    chained = not spaced and previous is not None and previous.kind in ("field", "variable", ")")
    if chained and (index := _INDEX.match(text, position)):
        return Token(
            "field", index.group(), position, index.group()[1:], spaced=False
        )  # .location.0, as the docs write it
    match = _TOKEN.match(text, position)
    if match is None:
        raise _no_token(text, position)
    kind, piece = str(match.lastgroup), match.group()
    if kind == "value":
        return Token(kind, piece, position, _literal(piece, position), spaced)
    if kind == "sign":
        kind = piece
    return Token(kind, piece, position, piece[1:] if kind == "field" else None, spaced)


def _no_token(text: str, position: int) -> TemplateError:
    character = text[position]
    if character == "-":
        return TemplateError(
            "'-' is not part of a name", offset=position, hint='write index . "my-name" for a name with a dash'
        )
    if character in "\"'`":
        return TemplateError(
            "a text that is not closed, or '{{' without '}}'",
            offset=position,
            hint=f"close it with {character} or '}}}}'",
        )
    return TemplateError(f"{character!r} cannot stand in an action", offset=position, hint="remove it")


def _literal(piece: str, offset: int) -> object:
    if piece[0] == "`":
        return piece[1:-1]
    if piece[0] in "\"'":
        try:
            text = _ESCAPE.sub(_unescape, piece[1:-1])
        except (KeyError, ValueError, OverflowError):
            raise TemplateError(
                f"an unknown escape in {piece[:40]}", offset=offset, hint="write a backslash twice"
            ) from None
        return ord(text) if piece[0] == "'" and len(text) == 1 else text
    number = resolve(piece)
    if isinstance(number, str):
        raise TemplateError(f"{piece[:40]!r} is not a number", offset=offset, hint="put it in quotes if it is text")
    return number


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "xuU":
        return chr(int(code[1:], 16))
    return chr(int(code, 8)) if code.isdigit() else _ESCAPES[code]

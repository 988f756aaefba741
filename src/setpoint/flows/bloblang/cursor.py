"""A place in the tokens of a text: what comes next, taking it, and the faults that are found there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from setpoint.flows.bloblang.lexer import BloblangError, Token, literal, tokens


class Cursor:
    """Stands before the first token of a text from `start` on."""

    def __init__(self, text: str, start: int) -> None:
        self._tokens = tokens(text, start)
        self._at = 0

    def _lines(self) -> None:
        while self._peek().kind == "line":
            self._at += 1

    def _name(self) -> str:
        token = self._take()
        if token.kind == "text":
            return str(literal(token))
        if token.kind == "name":
            return token.text
        raise self._fault(f"expected a name, found {token.text!r}", token)

    def _expect(self, text: str) -> None:
        if self._peek().text != text or self._peek().kind == "text":
            raise self._fault(f"expected {text!r}, found {self._shown()}")
        self._at += 1

    def _peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _fault(self, message: str, token: Token | None = None) -> BloblangError:
        return BloblangError(f"line {(token or self._peek()).line}: {message}")

    def _shown(self) -> str:
        token = self._peek()
        return (
            "the end of the line" if token.kind == "line" else token.text if token.kind == "end" else repr(token.text)
        )

    def _unexpected(self) -> BloblangError:
        return self._fault(f"unexpected {self._shown()}")

    def _elsewhere(self, what: str, token: Token) -> BloblangError:
        return BloblangError(
            f"{what} is Bloblang that Setpoint does not translate (line {token.line}); `engine: benthos` runs it"
        )

    def _unknown(
        self, token: Token, shown: str, what: str, known: Mapping[str, object], elsewhere: Collection[str]
    ) -> BloblangError:
        if token.text in elsewhere:
            return self._elsewhere(shown, token)
        near = difflib.get_close_matches(token.text, [*known, *elsewhere], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
        return self._fault(f"unknown {what} {shown} ({hint})", token)

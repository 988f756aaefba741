"""How a config is shown: as it is written, with a mark in the place of every secret.

What is a secret is for `setpoint.secrets` to say, here as everywhere: by the key, by its place in a text. A reference to one
(``${NAME}``, ``${file:…}``, ``{{ .NAME }}``) is none and is shown. The same secret has the same mark in both texts of a difference; one
that is new says so, so that a change of a password can be seen and the password cannot.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Final

from setpoint.configfile.editing import NotEditable, Span, spans
from setpoint.secrets import REDACTED, hides, names_a_secret, without_secrets

MARK: Final = "••••"
CHANGED: Final = f"{MARK} (changed)"
_REFERENCE: Final = re.compile(r"\$\{[A-Za-z_]\w*\}|\$\{file:[^}]*\}|\{\{[^{}\"'`]*\}\}")
_COMMENT: Final = re.compile(r"#[^\r\n]*")


def shown(text: str) -> str:
    """The text without its secrets. It is valid YAML where the text is."""
    return _Shown(frozenset()).text(text)


def difference(old: str, new: str, *, names: tuple[str, str]) -> list[str]:
    """The lines of a unified difference of two texts, both without their secrets."""
    before = _Shown(frozenset())
    shown_old = before.text(old)
    shown_new = _Shown(frozenset(before.found), known=True).text(new)
    lines = difflib.unified_diff(shown_old.splitlines(), shown_new.splitlines(), *names, lineterm="", n=3)
    return list(lines) or _of_line_ends(old, new, names)


def _of_line_ends(old: str, new: str, names: tuple[str, str]) -> list[str]:
    return [] if old == new else [f"--- {names[0]}", f"+++ {names[1]}", "(the same lines; only how they end differs)"]


class _Shown:
    def __init__(self, before: frozenset[str], *, known: bool = False) -> None:
        self.before = before
        self.known = known
        self.found: set[str] = set()

    def text(self, text: str) -> str:
        try:
            root = spans(text)
        except NotEditable:
            return without_secrets(text).replace(REDACTED, MARK)
        parts: list[str] = []
        position = 0
        for span, secret in _scalars(root, secret=False):
            parts += [_COMMENT.sub(_of_comment, text[position : span.start]), self._value(text, span, secret=secret)]
            position = span.end
        return "".join([*parts, _COMMENT.sub(_of_comment, text[position:])])

    def _value(self, text: str, span: Span, *, secret: bool) -> str:
        written = text[span.start : span.end]
        if secret and span.text and not _REFERENCE.fullmatch(span.text):
            self.found.add(span.text)
            return MARK if not self.known or span.text in self.before else CHANGED
        safe = without_secrets(written)
        if safe == written:
            return written
        self.found.add(written)
        return safe.replace(REDACTED, MARK if not self.known or written in self.before else CHANGED)


def _of_comment(found: re.Match[str]) -> str:
    return without_secrets(found[0]).replace(REDACTED, MARK)


def _scalars(node: Span, *, secret: bool) -> Iterator[tuple[Span, bool]]:
    """Every single value in the order of the text, and whether a key above it says that it is a secret."""
    if node.kind == "scalar":
        yield node, secret
    named = node.entry("name") or node.entry("key") if node.kind == "mapping" else None
    for entry in node.entries:
        pair = entry.key == "value" and named is not None and names_a_secret(named.value.text)
        yield from _scalars(entry.value, secret=secret or pair or hides(entry.key, entry.value.text or "x"))

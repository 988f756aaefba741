"""Which names an expression in JavaScript uses, found without running it.

A mapping is evaluated when a source that it uses arrives, so what it uses must be known before, on whatever branch it stands. The text is
cut into tokens and each name is looked at where it stands: behind a dot it is a property, before a colon in an object a key; everything
else is a use. Names between the parentheses before an arrow are the expression's own. It is no parser: the engine says whether the text is
JavaScript at all, and where a text declares names in statements (inside a function, say) `Names.exact` is False, because some of the names
are then its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final, NamedTuple

KEYWORDS: Final = frozenset({
    "arguments", "async", "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default",
    "delete", "do", "else", "enum", "export", "extends", "false", "finally", "for", "function", "if", "implements",
    "import", "in", "instanceof", "interface", "let", "new", "null", "of", "package", "private", "protected",
    "public", "return", "static", "super", "switch", "this", "throw", "true", "try", "typeof", "var", "void", "while",
    "with", "yield",
})  # fmt: skip
"""Words that are no names, or none that a source should have."""
_DECLARING: Final = frozenset({"function", "let", "const", "var", "class", "catch"})
_ENDS_A_VALUE: Final = frozenset({")", "]", "}"})
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n\r\u2028\u2029]*|/\*.*?\*/)
      |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      |(?P<number>0[xX][\da-fA-F_]+n?|\.?\d(?:[eE][+-]|[\w.])*)
      |(?P<name>(?:[^\W\d]|\$)[\w$]*)
      |(?P<mark>=>|\.\.\.|\?\.(?!\d)|\$\{|.)""",
    re.VERBOSE | re.DOTALL,
)
_REGEX: Final = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
_TEMPLATE: Final = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)?", re.DOTALL)


class Names(NamedTuple):
    """Names an expression reads, in the order of their first use, and those among them that are its own (parameters of its functions)."""

    used: tuple[str, ...]
    own: frozenset[str]
    exact: bool


class _Token(NamedTuple):
    kind: str
    text: str
    inside: str
    """The innermost bracket that is open where it stands."""


@lru_cache(4096)  # processors of one template have most of their expressions in common
def names_in(code: str) -> Names:
    """The names of an expression."""
    tokens = list(_tokens(code))
    used: dict[str, None] = {}
    for at, token in enumerate(tokens):
        if token.kind == "name" and token.text not in KEYWORDS and not _named_only(tokens, at):
            used[token.text] = None
    exact = not any(token.kind == "name" and token.text in _DECLARING for token in tokens)
    return Names(tuple(used), frozenset(_parameters(tokens)), exact)


@cache
def known_to_javascript() -> frozenset[str]:
    """The names that every expression finds without having declared them."""
    import quickjs

    found = quickjs.Context().eval("Object.getOwnPropertyNames(globalThis).join(' ')")
    return frozenset((*found.split(), "console"))


def _named_only(tokens: list[_Token], at: int) -> bool:
    """Whether the name there is a property or the key of an object, and so no use."""
    before = tokens[at - 1].text if at else ""
    after = tokens[at + 1].text if at + 1 < len(tokens) else ""
    if before in (".", "?."):
        return True
    return after == ":" and before in ("{", ",") and tokens[at].inside == "{"


def _parameters(tokens: list[_Token]) -> Iterator[str]:
    """The parameters of arrow functions."""
    for at, token in enumerate(tokens):
        if token.text != "=>" or token.kind != "mark" or not at:
            continue
        back, depth = at - 1, 0
        while back >= 0:
            part = tokens[back]
            depth += (part.text == ")") - (part.text == "(") if part.kind == "mark" else 0
            if part.kind == "name" and part.text not in KEYWORDS:
                yield part.text
            if depth <= 0:
                break
            back -= 1


def _tokens(code: str) -> Iterator[_Token]:
    """The tokens, without space and comments. What stands in the holes of a template literal is cut up like everything else."""
    at, opened = 0, [""]
    last = _Token("mark", "", "")
    while at < len(code):
        if code[at] == "/" and not _is_value(last) and (regex := _REGEX.match(code, at)):
            kind, found = "text", regex.group()
        elif match := _TOKEN.match(code, at):
            kind, found = str(match.lastgroup), match.group()
        else:  # cannot be: the last alternative takes any character
            return
        at += len(found)
        if kind == "space":
            continue
        if kind == "mark":
            at, found = _turn(code, at, found, opened)
        last = _Token(kind, found, opened[-1])
        yield last


def _turn(code: str, at: int, mark: str, opened: list[str]) -> tuple[int, str]:
    """Keeps the list of open brackets, and passes over the text of template literals; gives where to go on, and behind what mark."""
    if mark in ("(", "[", "{"):
        opened.append(mark)
    elif mark == "`" or (mark == "}" and opened[-1] == "${"):
        if mark == "}":
            opened.pop()
        text = _TEMPLATE.match(code, at)
        assert text is not None  # it takes nothing as well
        if text.group().endswith("${"):
            opened.append("${")
            return text.end(), "${"
        return text.end(), "`"
    elif mark in _ENDS_A_VALUE and len(opened) > 1:
        opened.pop()
    return at, mark


def _is_value(token: _Token) -> bool:
    """Whether a value ends there, so that a slash behind it divides and begins no regular expression."""
    if token.kind == "name":
        return token.text not in KEYWORDS or token.text in ("this", "true", "false", "null")
    return token.kind in ("text", "number") or token.text in _ENDS_A_VALUE or token.text == "`"

"""YAML's own complaints in plain words, with a remedy.

The parser says things like "mapping values are not allowed in this context". What people need is the usual cause and what to do. The
texts on the left are those of libyaml (``scanner.c``, ``parser.c``), which PyYAML passes on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import yaml

from setpoint.configfile.node import Mark


class Fault(NamedTuple):
    """Something wrong with the YAML itself: where, what, and what to do."""

    mark: Mark
    message: str
    hint: str = ""
    path: tuple[str | int, ...] = ()


UNQUOTED: Final = ("a template that is not in quotes", 'write it as key: "{{ .NAME }}"')
_QUOTE: Final = "put the whole value in quotes"
_INDENT: Final = "give all keys of one section and all '-' of one list the same number of spaces"
_EXPLAINED: Final = (
    ("a tab character", "a tab is used for indentation", "replace the tab by spaces; YAML allows no tabs there"),
    ("mapping values are not allowed", "a ':' stands where no key can be", f"check the indentation; if the value contains ': ', {_QUOTE}"),
    ("did not find expected key", "this line fits no section above it", f"check its indentation: {_INDENT}"),
    ("did not find expected '-'", "a list entry was expected here", f"check the indentation: {_INDENT}"),
    ("could not find expected ':'", "a key without a ':'", "write 'key: value', with a space after the colon"),
    ("block sequence entries are not allowed", "a list entry ('- ') cannot start here", "start the list on its own line, below its key"),
    ("mapping keys are not allowed", "a key cannot start here", f"check the indentation of this line: {_INDENT}"),
    ("unknown escape character", "an unknown escape after a backslash", "use single quotes, or write the backslash twice"),
    ("expected ',' or ']'", "a list that starts with '[' is not closed", "close it with ']', and separate its entries by commas"),
    ("expected ',' or '}'", "a mapping that starts with '{' is not closed", f"close it with '}}'; if it is no mapping, {_QUOTE}"),
    ("undefined tag handle", "a value starts with '!'", f"{_QUOTE} if it is text"),
    ("alphabetic or numeric character", "a value starts with '*' or '&'", f"{_QUOTE} if it is text"),
    ("expected <document start>", "text after the end of the document", f"check the indentation: {_INDENT}"),
    ("expected the node content", "a value is missing or starts with a reserved character", f"{_QUOTE} if it is text"),
)  # fmt: skip
_SEEN_LATE: Final = ("could not find expected ':'", "expected ',' or ']'", "expected ',' or '}'")
"""The parser notices these behind the mistake; what it was at then is where people have to look."""


def explain(error: yaml.YAMLError, text: str) -> Fault:
    """The fault behind an error of the parser. Of a quote that is never closed it shows the opening, not the end of the file."""
    problem = getattr(error, "problem", None) or str(error)
    mark = _mark(getattr(error, "problem_mark", None))
    context = getattr(error, "context", None) or ""
    if "quoted scalar" in context and "unexpected" in problem:
        opening = _mark(getattr(error, "context_mark", None))
        return Fault(
            opening, "a quote is opened here and never closed", "add the closing quote at the end of the value"
        )
    line = _line(text, mark[0])
    if "cannot start any token" in problem:
        return _bad_start(mark, line)
    if "{{" in line and "\t" not in line:
        return Fault(mark, *UNQUOTED)
    for known, message, hint in _EXPLAINED:
        if known in problem and isinstance(error, yaml.MarkedYAMLError):
            return Fault(_mark(error.context_mark) if known in _SEEN_LATE else mark, message, hint)
    return Fault(mark, f"not valid YAML: {context + ', ' if context else ''}{problem}", "correct this line")


def _bad_start(mark: Mark, line: str) -> Fault:
    character = line[mark[1] - 1 : mark[1]]
    if character == "\t":
        return Fault(mark, "a tab is used for indentation", "replace the tab by spaces; YAML allows no tabs there")
    return Fault(mark, f"a value cannot start with {character!r}", _QUOTE)


def _mark(mark: yaml.Mark | None) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1] if number <= len(lines) else ""

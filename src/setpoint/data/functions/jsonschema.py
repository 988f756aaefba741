"""A subset of JSON Schema, draft 2020-12 (https://json-schema.org/draft/2020-12/json-schema-validation), compiled to functions.

Read are the keywords in `keywords.KEYWORDS`, with local references (``#/$defs/…``) and the formats in `formats.FORMATS`, which are checked.
Texts for people (`title`, `description`, `default`, …) are let through. Every other keyword is refused when the schema is compiled, because
a keyword that does nothing would let wrong records pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from setpoint.data.functions.fields import kind_of
from setpoint.data.functions.keywords import ANNOTATIONS, KEYWORDS, NONE, Check, Fault, Wrong
from setpoint.data.functions.kinds import nearest


def compile_schema(schema: object) -> Callable[[Any], list[Fault]]:
    """The check that a JSON Schema stands for. Raises `ValueError` that names the keyword and its place."""
    check = _Compiler(schema).compile(schema, "#")

    def checked(value: Any) -> list[Fault]:
        try:
            return list(check(value))
        except RecursionError:
            return [Fault((), "is nested too deeply to be checked")]

    return checked


class _Compiler:
    """Compiles one document: the schema and what it refers to. References are compiled once, so they may be recursive."""

    def __init__(self, document: object) -> None:
        self._document = document
        self._referred: dict[str, list[Check]] = {}

    def compile(self, schema: object, at: str) -> Check:
        """The check of a schema at a place of the document."""
        if isinstance(schema, bool):
            return (lambda value: NONE) if schema else (lambda value: [Fault((), "is not allowed")])
        if not isinstance(schema, Mapping):
            raise ValueError(f"{at}: a schema is a mapping, true or false, not {kind_of(schema)}")
        checks = [check for key in schema for check in self._keyword(schema, key, at)]
        if len(checks) == 1:
            return checks[0]
        return lambda value: [fault for check in checks for fault in check(value)]

    def _keyword(self, schema: Mapping[str, Any], key: str, at: str) -> Iterable[Check]:
        if key in ANNOTATIONS:
            return
        if key not in KEYWORDS:
            raise ValueError(f"{at}: there is no keyword {key!r} here{nearest(str(key), KEYWORDS)}")
        try:
            yield KEYWORDS[key](self, schema, at)
        except Wrong as error:
            raise ValueError(f"{at}/{key}: {error}") from None

    def reference(self, target: str) -> Check:
        """The check of what a local reference points to."""
        if target not in self._referred:
            self._referred[target] = []
            self._referred[target].append(self.compile(self._at(target), target))
        found = self._referred[target]  # still empty where the reference is inside what it refers to
        return lambda value: found[0](value)  # noqa: PLW0108

    def _at(self, target: str) -> object:
        if target != "#" and not target.startswith("#/"):
            raise Wrong(f"only references within the schema can be followed (#/…), not {target!r}")
        at = self._document
        for step in target.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(at, Mapping) or name not in at:
                raise Wrong(f"there is nothing at {target!r}")
            at = at[name]
        return at

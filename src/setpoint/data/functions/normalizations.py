"""Normalizations of text, by name: letters, spaces, and the ways of writing several words as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from setpoint.data.functions.fields import shown
from setpoint.data.functions.kinds import nearest

_WORD: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[^\W_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def normalization(wanted: object) -> Callable[[str], str]:
    """The normalization of that name, or several one after the other. Raises `ValueError` for a name that is none."""
    steps = [_named(name) for name in (wanted if isinstance(wanted, list | tuple) else [wanted])]

    def normalized(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return normalized


def _named(name: Any) -> Callable[[str], str]:
    if isinstance(name, str) and name in NORMALIZATIONS:
        return NORMALIZATIONS[name]
    hint = nearest(str(name), NORMALIZATIONS)
    raise ValueError(f"there is no normalization {shown(name)}{hint}; there are {', '.join(NORMALIZATIONS)}")


def words(text: str) -> list[str]:
    """The words of a text, however it writes them: ``orderID``, ``order-id``, ``Order id``."""
    return [word for part in _WORD.findall(text) for word in _HUMP.split(part)]


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:].lower()


def _camel(text: str) -> str:
    first, *others = words(text) or [""]
    return first.lower() + "".join(map(_capital, others))


NORMALIZATIONS: Final[Mapping[str, Callable[[str], str]]] = {
    "lowercase": str.lower,
    "uppercase": str.upper,
    "trim": str.strip,
    "snake_case": lambda text: "_".join(words(text)).lower(),
    "camel_case": _camel,
    "pascal_case": lambda text: "".join(map(_capital, words(text))),
    "remove_special": lambda text: re.sub(r"[^\w\s]|_", "", text),
    "normalize_spaces": lambda text: " ".join(text.split()),
}
"""Each normalization by name. Those into one word take letters and digits of any script, and nothing else."""

"""What a template can call, how values print, and the budget of a template.

The functions behave as Go documents them, except that numbers compare by value whatever their type, and that what Go would print as an
error inside the text (``%!d(string=x)``, ``<no value>``) is an error here. Source: pkg.go.dev/text/template, pkg.go.dev/fmt.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any, Final

MAX_STEPS: Final = 100_000
MAX_CHARACTERS: Final = 1_000_000
_WIDEST: Final = 1000
_FREE: Final = 1000
"""Characters that are measured or compared for free; each further thousand costs a step."""


class FunctionError(Exception):
    """A function cannot be applied to its arguments; the message says why."""


class Budget:
    """What one item's templates may cost: `steps` evaluated and `characters` written. Raises `FunctionError` when it is used up."""

    def __init__(self, steps: int = MAX_STEPS, characters: int = MAX_CHARACTERS) -> None:
        self.steps = steps
        self.characters = characters

    def part(self) -> Budget:
        """A budget for one item, not larger than what is left of this one; `settle` takes off what was spent of it."""
        return Budget(max(0, min(MAX_STEPS, self.steps)), max(0, min(MAX_CHARACTERS, self.characters)))

    def settle(self, part: Budget) -> None:
        """Take off what `part`, given by `part()` just before, has spent."""
        granted = self.part()
        self.steps -= granted.steps - part.steps
        self.characters -= granted.characters - part.characters

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise FunctionError("the template does more work than is allowed; shorten its loops")

    def write(self, characters: int) -> None:
        self.characters -= characters
        if self.characters < 0:
            raise FunctionError("the template writes more text than is allowed; shorten its loops")


def truth(value: object) -> bool:
    """Whether a value counts as true: not false, 0, nil or empty."""
    return bool(value)


def shown(value: object, budget: Budget) -> str:
    """A value as Go prints it with ``%v``."""
    budget.step()
    text = _shown(value, budget)
    budget.write(len(text))
    return text


def _shown(value: object, budget: Budget) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{shown(value[key], budget)}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(shown(item, budget) for item in value) + "]"
    raise FunctionError("the value is empty (null); give it a value or leave it out with {{ if }}")


def _float(value: float) -> str:
    """The shortest form that reads back, with an exponent below -4 and from 6 on as in Go's ``%g``."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted() if value else 0
    if -4 <= exponent < 6:
        return format(number, "f")
    mantissa = format(number.scaleb(-exponent), "f")
    return f"{mantissa}e{exponent:+03d}"


def kind(value: object) -> str:
    """What a value is, in words."""
    words = {
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a mapping",
    }
    return words.get(type(value), "nothing")


def _number(value: object, name: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FunctionError(f"{name} needs a number, not {kind(value)}")
    return value


def _length(budget: Budget, value: object) -> int:
    if isinstance(value, str):
        budget.step(len(value) // _FREE)
        return len(value.encode())
    if isinstance(value, list | dict):
        return len(value)
    raise FunctionError(f"len needs a text, a list or a mapping, not {kind(value)}")


def _index(_budget: Budget, value: object, *keys: object) -> object:
    for key in keys:
        value = entry(value, key)
    return value


def entry(value: object, key: object) -> object:
    """One entry of a mapping or list; its absence is an error."""
    if isinstance(value, dict):
        name = str(key)
        if name in value:
            return value[name]
        there = ", ".join(str(known)[:40] for known in islice(value, 20)) or "none"
        raise FunctionError(f"index finds no key {name[:40]!r}; the keys are: {there}")
    if isinstance(value, list):
        if type(key) is int and 0 <= key < len(value):
            return value[key]
        raise FunctionError(f"index finds no entry {str(key)[:40]} in a list of {len(value)}")
    raise FunctionError(f"index needs a list or a mapping, not {kind(value)}")


def _equal(budget: Budget, left: object, right: object) -> bool:
    if left is None or right is None:
        return left is right
    if kind(left) != kind(right) or isinstance(left, list | dict):
        raise FunctionError(f"cannot compare {kind(left)} with {kind(right)}")
    if isinstance(left, str):
        budget.step(len(left) // _FREE)
    return left == right


def _less(budget: Budget, left: object, right: object) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        budget.step(len(left) // _FREE)
        return left < right
    if kind(left) == kind(right) == "a number":
        return _number(left, "lt") < _number(right, "lt")
    raise FunctionError(f"cannot order {kind(left)} and {kind(right)}")


def _any_equal(budget: Budget, first: object, *others: object) -> bool:
    return any([_equal(budget, first, other) for other in others])


def _print(budget: Budget, *values: object) -> str:
    """Values one after another, with a space between two that are no texts."""
    parts: list[str] = []
    for position, value in enumerate(values):
        if position and not isinstance(value, str) and not isinstance(values[position - 1], str):
            parts.append(" ")
        parts.append(shown(value, budget))
    return "".join(parts)


_VERB: Final = re.compile(r"%([-+ 0]*)(\d*)(\.\d*)?(.)?", re.DOTALL)


def _printf(budget: Budget, layout: object, *values: object) -> str:
    """Go's printf with the verbs v s q d x X o b c t f F e E g G and %; flags, width and precision as in Go."""
    if not isinstance(layout, str):
        raise FunctionError(f"printf needs a format text first, not {kind(layout)}")
    remaining = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not remaining:
            raise FunctionError(f"printf has no value for {match.group()!r}")
        if any(len(digits) > 4 or int(digits or 0) > _WIDEST for digits in (width, (precision or ".")[1:])):
            raise FunctionError(f"printf pads to {_WIDEST} characters at most")
        budget.step()
        text = _formatted(remaining.pop(0), flags, width, precision or "", verb or "", budget)
        budget.write(len(text))
        return text

    budget.write(len(layout))
    text = _VERB.sub(one, layout)
    if remaining:
        raise FunctionError(f"printf has {len(remaining)} values more than its format uses")
    return text


def _formatted(value: object, flags: str, width: str, precision: str, verb: str, budget: Budget) -> str:
    if verb in "dxXobc" and type(value) is int:
        return _whole(value, flags, width, precision, verb)
    if verb in "fFeEgG" and kind(value) == "a number":
        if verb in "gG" and not precision:
            return _padded(_float(float(_number(value, "printf"))), flags, width)
        return str(f"%{flags}{width}{precision}{verb}" % value)
    text = _worded(value, verb, budget) if verb == "s" or not precision else None
    if text is None:
        raise FunctionError(f"printf cannot write {kind(value)} as '%{verb}'; '%v' writes every value")
    return _padded(text[: int(precision[1:] or 0)] if precision and verb == "s" else text, flags, width)


def _whole(value: int, flags: str, width: str, precision: str, verb: str) -> str:
    if verb == "c":
        return _padded(chr(value) if 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd", flags, width)
    if verb == "b":
        digits = format(value, "+b" if "+" in flags else "b")
        return digits.zfill(int(width or 0)) if "0" in flags and "-" not in flags else _padded(digits, flags, width)
    return str(f"%{flags}{width}{precision}{verb}" % value)


def _worded(value: object, verb: str, budget: Budget) -> str | None:
    if verb == "v":
        return _shown(value, budget)
    if verb == "s" and isinstance(value, str):
        return value
    if verb == "q" and isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if verb == "t" and isinstance(value, bool):
        return "true" if value else "false"
    if verb in ("x", "X") and isinstance(value, str):
        return value.encode().hex() if verb == "x" else value.encode().hex().upper()
    return None


def _padded(text: str, flags: str, width: str) -> str:
    return text.ljust(int(width or 0)) if "-" in flags else text.rjust(int(width or 0))


Function = Callable[..., Any]

FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    # name: fewest arguments, most arguments, function
    "and": (1, 1000, lambda _budget, *values: values[-1]),
    "or": (1, 1000, lambda _budget, *values: values[-1]),
    "not": (1, 1, lambda _budget, value: not truth(value)),
    "eq": (2, 1000, _any_equal),
    "ne": (2, 2, lambda budget, left, right: not _equal(budget, left, right)),
    "lt": (2, 2, _less),
    "le": (2, 2, lambda budget, left, right: not _less(budget, right, left)),
    "gt": (2, 2, lambda budget, left, right: _less(budget, right, left)),
    "ge": (2, 2, lambda budget, left, right: not _less(budget, left, right)),
    "index": (1, 1000, _index),
    "len": (1, 1, _length),
    "print": (0, 1000, _print),
    "printf": (1, 1000, _printf),
}
"""``and`` and ``or`` stop at the first value that decides; the evaluator sees to that."""

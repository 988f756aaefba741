"""What a plain YAML value means: text, number, truth value or nothing.

The rules are those of go-yaml 3, which the config files were written for: YAML 1.2 with the number forms of Go. So ``on``, ``yes``,
``12:30`` and ``2024-01-01`` are text, ``0o17`` and ``017`` are 15.
"""

from __future__ import annotations

import re
from typing import Final

Value = str | int | float | bool | None

_WORDS: Final[dict[str, Value]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}  # fmt: skip
_INTEGER: Final = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_INTEGER: Final = 40
"""Characters; a longer one is no 64-bit number in any base but binary, and becomes a float as in go-yaml."""
_LONGEST_NUMBER: Final = 400


def resolve(text: str) -> Value:
    """The meaning of an unquoted, untagged value."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER or text[0] not in "+-.0123456789":
        return text
    if len(text) <= _LONGEST_INTEGER and _INTEGER.fullmatch(text):
        number = _integer(text)
        if number is not None and -(2**63) <= number < 2**64:
            return number
    return float(text) if _FLOAT.fullmatch(text) else text


def _integer(text: str) -> int | None:
    digits = text.replace("_", "")
    sign, body = (digits[0], digits[1:]) if digits[0] in "+-" else ("", digits)
    if re.fullmatch("0[0-7]+", body):
        body = "0o" + body[1:]
    try:
        return int(sign + body, 0)
    except ValueError:
        return None

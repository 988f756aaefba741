"""The two conditions that files name by a word: what validation left in the field `valid`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from setpoint.machine import Guard, guard


@guard(name="success")
def SUCCESS(record: Any) -> object:
    "the record's field 'valid' does not say otherwise"
    return not isinstance(record, Mapping) or bool(record.get("valid", True))


FAILURE: Final[Guard] = ~SUCCESS
OUTCOMES: Final[Mapping[str, Guard]] = {"success": SUCCESS, "failure": FAILURE}
"""The conditions by the words that files use."""

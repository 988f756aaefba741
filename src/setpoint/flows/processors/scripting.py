"""What the two JavaScript processors have in common: the fields that limit a script, and reading code from a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from setpoint.flows.component import Duration, Fields
from setpoint.flows.javascript import Stage, syntax_error


def _code(value: object) -> object:
    """YAML reads ``if: true`` as a truth value; it was meant as code."""
    return str(value).lower() if isinstance(value, bool) else value


def _body(code: str) -> str:
    fault = syntax_error([Stage("code", code)])
    if fault:
        raise ValueError(f"this is not JavaScript: {fault[1]}")
    return code


def _condition(code: str) -> str:
    fault = syntax_error([Stage("if", "", code)])
    if fault:
        raise ValueError(f"this is not a JavaScript condition: {fault[1]}")
    return code


Body = Annotated[str, BeforeValidator(_code), AfterValidator(_body)]
"""The body of a JavaScript function of `msg`, checked for its syntax."""

Condition = Annotated[str, BeforeValidator(_code), AfterValidator(_condition), Field(min_length=1)]
"""A JavaScript expression over `msg`, checked for its syntax."""


class ScriptFields(Fields):
    """Limits of a script: CPU time for each message, and the bytes it may keep between messages."""

    timeout: Duration = Field(default=0.05, gt=0, le=0.5)
    memoryLimit: int = Field(default=16 * 1024 * 1024, ge=1024 * 1024)

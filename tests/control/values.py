"""Values of every kind that a worker may be given, also of kinds that cannot be compared. Shared by tests that run in two processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel


class Array:
    """As an array does, it refuses to say whether it equals another."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def endless() -> dict[str, Any]:
    """A value that contains itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


class Model(BaseModel):
    name: str = "m"


class Plan:
    """A plain object, equal by what it is made of."""

    def __init__(self, steps: int = 1) -> None:
        self.steps = steps


class Opaque:
    """An object of which nothing can be seen but where it lies."""

    __slots__ = ()


VALUES: dict[str, Callable[[], Any]] = {
    "mapping": lambda: {"b": 1, "a": {"c": [1, 2]}},
    "set": lambda: {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"},
    "model": Model,
    "object": Plan,
    "opaque": Opaque,
    "array": Array,
    "endless": endless,
}

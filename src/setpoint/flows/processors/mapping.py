"""`mapping`, `mutation` and `bloblang`: what a message is, said in Bloblang (`setpoint.flows.bloblang`).

A `mapping` (`bloblang` is its older name) makes a new document; where it assigns nothing to root the payload stays. A `mutation` changes
the document there is. Both may set meta, and drop the message with ``root = deleted()``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import ValidationInfo, model_validator

from setpoint.data import Context as RunContext
from setpoint.flows.bloblang import Mapping, World
from setpoint.flows.component import Context, Fields, Msg, Processor
from setpoint.flows.scope import scope_of


class MappingFields(Fields):
    """A mapping; in a configuration its text stands in the place of the fields."""

    mapping: Any
    mutates: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: object, info: ValidationInfo) -> dict[str, Mapping]:
        return {"mapping": parsed(value, info, mutates=cls.mutates)}


class MutationFields(MappingFields):
    """A mutation."""

    mutates: ClassVar[bool] = True


def parsed(value: object, info: ValidationInfo, *, mutates: bool = False) -> Mapping:
    """The mapping that stands in a field. Raises `ValueError`."""
    if not isinstance(value, str):
        raise ValueError("expected the text of a mapping, such as: root.value = this.temperature")
    mapping = Mapping(value, mutates=mutates)
    knows_errors(mapping.reads, info)
    return mapping


def knows_errors(reads: frozenset[str], info: ValidationInfo) -> None:
    """Raises `ValueError` where `error()` is read outside of a `catch`: what failed goes nowhere else, so it would never be there."""
    if "error" in reads and not scope_of(info).caught:
        raise ValueError(
            "error() is known in a `catch` only: a message that failed goes nowhere else; `engine: benthos` has it everywhere"
        )


def mapping(fields: MappingFields, context: Context) -> Processor:
    """The processor: the mapping itself, and where it reads `error()` with what led to the `catch`."""
    mapped: Callable[..., Msg | None] = fields.mapping.bind(World(context.clock, context.random))
    if "error" not in fields.mapping.reads:
        return mapped

    def caught(msg: Msg, context: RunContext) -> Msg | None:
        return mapped(msg, context.error.message if context.error else "")

    return caught  # type: ignore[return-value]  # the data machine gives the context to who asks for it

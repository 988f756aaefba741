"""Models as JSON Schema (draft 2020-12), in the form that the schema registry of a namespace has them.

One subject for each contract and payload shape, ``_pump_v1-timeseries-number``. Its schema is not that of the payload alone: it speaks of
an object with `virtual_path`, which must be one of the paths with this shape, and `fields`, the payload. Names and form are those of UMH
Core, so that its `uns` output finds them; a leaf with fields of its own is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from setpoint.namespace.models import DataContract, Models, PayloadShape, ShapeFields

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def subjects(models: Models, contract: DataContract) -> dict[str, dict[str, Any]]:
    """The schemas of a contract by their subjects; none for a contract without a model. Only for models without a fault."""
    if contract.model is None:
        return {}
    by_shape: dict[str, tuple[PayloadShape, list[str]]] = {}
    for path, shape in models.leaves(contract.model).items():
        by_shape.setdefault(shape.name, (shape, []))[1].append(path)
    return {
        f"{contract.address}-{name}": _subject(shape, sorted(paths))
        for name, (shape, paths) in sorted(by_shape.items())
    }


def contract_schema(models: Models, contract: DataContract) -> dict[str, Any]:
    """One schema of all that a contract lets through: any of its subjects' schemas."""
    alternatives = [{"title": subject, **schema} for subject, schema in subjects(models, contract).items()]
    return {"$schema": DIALECT, "title": contract.address, "anyOf": alternatives}


def _subject(shape: PayloadShape, paths: list[str]) -> dict[str, Any]:
    return _object({"virtual_path": {"type": "string", "enum": paths}, "fields": payload_schema(shape.fields)})


def payload_schema(fields: ShapeFields) -> dict[str, Any]:
    """The schema of a payload: exactly these fields, all of them."""
    return _object(
        {name: {"type": kind} if isinstance(kind, str) else payload_schema(kind) for name, kind in fields.items()}
    )


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }

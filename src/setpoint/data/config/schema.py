"""JSON Schema (draft 2020-12) of the files, for editors: completion, hints, and marks where something is wrong.

It is looser than the reader in what a schema says badly: two names for one thing are both allowed, names are not looked up, and code is not
read. What the reader takes, the schema takes. Keys that the reader refuses with a remedy are not in it.
"""

from __future__ import annotations

from typing import Any, Final

from setpoint.data.config import words
from setpoint.data.config.outcome import OUTCOMES
from setpoint.data.config.references import TYPES

Schema = dict[str, Any]

_ANY: Final[Schema] = {}
_TEXT: Final[Schema] = {"type": ["string", "number", "boolean"]}
_NAME: Final[Schema] = {"type": ["string", "number"], "maxLength": words.LONGEST_NAME}
_FREE: Final[Schema] = {"type": ["object", "null"]}
_VARIABLE: Final[Schema] = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> Schema:
    """The schema of a machine file, in its full and its short form."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A machine for records",
        "$ref": "#/$defs/machine",
        "$defs": {
            "machine": _machine(),
            "network": _network(),
            "state": _state(),
            "arc": _arc(),
            "loose_arc": _arc({"from": _one_or_many(_NAME), "source": _one_or_many(_NAME)}),
            "arcs": {"oneOf": [_NAME, _ref("arc"), {"type": "array", "items": {"oneOf": [_NAME, _ref("arc")]}}]},
            "function": _function(),
            "retry": _retry(),
            "resource": _resource(),
            "resources": {
                "oneOf": [{"type": "array", "items": _NAME}, {"type": "object", "additionalProperties": _NAME}]
            },
            "template": _template(),
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    """A mapping with these keys, and those that any mapping may have."""
    everywhere: Schema = {"template": _template_use(), "$include": _one_or_many({"type": "string"}), "$import": _ANY}
    schema: Schema = {"type": "object", "properties": {**properties, **everywhere}, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def _template_use() -> Schema:
    return {
        "oneOf": [
            {"type": "string"},
            {"type": "object", "properties": {"name": _TEXT, "params": _FREE}, "required": ["name"]},
        ]
    }


def _template() -> Schema:
    return {"type": "object", "properties": {"params": _FREE, "body": {"type": "object"}}, "required": ["body"]}


def _one_or_many(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "array", "items": schema}]}


def _or_variable(schema: Schema) -> Schema:
    return {"anyOf": [schema, _VARIABLE]}


def _words(*words: str, what: str = "") -> Schema:
    schema = _or_variable({"enum": [str(word) for word in words]})
    return {**schema, "description": what} if what else schema


def _whole(low: int = 1, what: str = "") -> Schema:
    return {**_or_variable({"type": ["integer", "string"], "minimum": low}), **({"description": what} if what else {})}


def _seconds(what: str) -> Schema:
    return {**_or_variable({"type": ["number", "string"], "minimum": 0}), "description": f"{what}, in seconds"}


def _truth(what: str) -> Schema:
    return {"type": ["boolean", "string"], "description": what}


def _by_name(name: str) -> Schema:
    return {
        "anyOf": [
            {"type": "array", "items": _ref(name)},
            {"type": "object", "additionalProperties": {"anyOf": [_ref(name), {"type": "null"}]}},
        ]
    }


def _machine() -> Schema:
    mode = _words(*words.MODES, what="What a state works on: a copy, a copy of what it changes, or the record itself")
    modes = {
        "type": "object",
        "properties": {"default": mode, "state_overrides": {"type": "object", "additionalProperties": mode}},
    }
    return _object({
        "name": _NAME,
        "version": _TEXT,
        "description": _TEXT,
        "doc": _TEXT,
        "extends": _one_or_many({"type": "string"}),
        "data_mode": {"anyOf": [mode, {**modes, "additionalProperties": False}]},
        "execution_strategy": _words(*words.STRATEGIES, what="Which of several open arcs a record takes"),
        "transactions": _words(*words.TRANSACTIONS, what="What is written together or not at all"),
        "none": _words("keep", "drop", what="What None from a transform means"),
        "max_transitions": _whole(what="Arcs that one record may take"),
        "max_depth": _whole(what="Networks inside each other"),
        "max_parts": _whole(what="Records that may come of one"),
        "timeout": _seconds("How long one run may take"),
        "timeout_seconds": _seconds("How long one run may take"),
        "metadata": _FREE,
        "functions": {"type": "object", "additionalProperties": _ref("function")},
        "resources": _by_name("resource"),
        "templates": {"type": "object", "additionalProperties": _ref("template")},
        "networks": _by_name("network"),
        "main_network": _NAME,
        "states": _by_name("state"),
        "arcs": {"type": "array", "items": _ref("loose_arc")},
        "initial_state": _NAME,
    })  # fmt: skip


def _network() -> Schema:
    return _object({
        "name": _NAME,
        "description": _TEXT,
        "doc": _TEXT,
        "states": _by_name("state"),
        "arcs": {"type": "array", "items": _ref("loose_arc")},
        "initial_state": _NAME,
        "resources": _ref("resources"),
        "metadata": _FREE,
        "use": {"type": "string", "description": "Another file's machine: other.yaml#network"},
        "version": _TEXT,
    })  # fmt: skip


def _state() -> Schema:
    functions = _one_or_many(_ref("function"))
    start, final = _truth("Records enter here"), _truth("Records end here")
    return _object({
        "name": _NAME,
        "description": _TEXT,
        "doc": _TEXT,
        "start": start, "is_start": start, "initial": start,
        "final": final, "is_end": final, "end": final,
        "schema": {"type": "object"}, "data_schema": {"type": "object"},
        "pre_validators": functions,
        "transforms": functions, "transform": functions,
        "validators": functions, "validator": functions,
        "functions": {
            "type": "object", "properties": {"validate": functions, "transform": functions}, "additionalProperties": False,
        },
        "arcs": {"type": "array", "items": {"anyOf": [_NAME, _ref("arc")]}},
        "on_complete": _ref("arcs"), "on_error": _ref("arcs"), "on_timeout": _ref("arcs"), "on_dropped": _ref("arcs"),
        "resources": _ref("resources"),
        "data_mode": _words(*words.MODES),
        "retry": _ref("retry"),
        "timeout": _seconds("How long one attempt may take"), "timeout_seconds": _seconds("How long one attempt may take"),
        "emit_output": _truth("Whether a stream writes records that end here"),
        "run_on_failure": _truth("Whether its functions run for records that have failed"),
        "metadata": _FREE,
    })  # fmt: skip


def _arc(more: Schema | None = None) -> Schema:
    functions, fields = _one_or_many(_ref("function")), {"type": "object", "additionalProperties": _TEXT}
    return _object({
        **(more or {}),
        "target": _NAME, "to": _NAME,
        "name": _TEXT,
        "kind": _words(*words.KINDS, what="When it is taken: on the way, after an error, a time-out, or a drop"),
        "event": {"type": "string", "description": "Taken when this event is sent to the run"},
        "after": _seconds("Taken when the record has been in the state for so long"),
        "condition": _ref("function"), "pre_test": _ANY, "when": _ref("function"),
        "transform": functions, "transforms": functions,
        "priority": {"type": ["integer", "string"], "description": "Higher is tried first"},
        "target_network": {"type": "string", "description": "The network, or network:state, that the record goes through"},
        "return_state": _NAME,
        "data_mapping": fields, "result_mapping": fields,
        "data_isolation": _words(*words.ISOLATIONS),
        "retry": _ref("retry"),
        "resources": _ref("resources"),
        "metadata": _FREE,
    })  # fmt: skip


def _function() -> Schema:
    many = {"type": "array", "items": _ref("function"), "minItems": 1}
    keys = {
        "type": {"enum": [*TYPES, *OUTCOMES]}, "name": _TEXT, "module": _TEXT, "code": _TEXT, "language": _TEXT, "params": _FREE,
        "set": {"type": "object", "description": "Fields, each with the expression of its value"},
        "expression": _TEXT, "javascript": _TEXT, "python": _TEXT,
        "all": many, "any": many, "chain": many, "not": _ref("function"),
    }  # fmt: skip
    return {"anyOf": [_TEXT, _object(keys)]}


def _retry() -> Schema:
    attempts = _whole(what="How often it is tried, the first time included")
    names = {"type": "array", "items": {"type": "string"}}
    keys = {
        "attempts": attempts, "max_attempts": attempts, "backoff": _words(*words.BACKOFFS), "delay": _seconds("The first wait"),
        "factor": {"type": ["number", "string"]}, "max_delay": _seconds("The longest wait"),
        "jitter": {"type": ["number", "string"]}, "on": {"anyOf": [{"type": "string"}, names]},
    }  # fmt: skip
    return {"anyOf": [attempts, _object(keys)]}


def _resource() -> Schema:
    return _object({
        "name": _NAME,
        "type": {"type": "string", "description": "What it is, such as database, http, cache, queue or filesystem"},
        "config": {"type": "object", "description": "The settings of its type"},
        "pool_size": _whole(), "connection_pool_size": _whole(),
        "timeout": _seconds("How long a record waits for it"), "timeout_seconds": _seconds("How long a record waits for it"),
        "retry": _ref("retry"), "retry_attempts": _whole(), "retry_delay_seconds": _seconds("The wait between attempts"),
        "health_check_interval": _seconds("How often it is checked"),
    })  # fmt: skip

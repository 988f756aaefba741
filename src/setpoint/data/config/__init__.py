"""Machines for records in files: YAML and JSON to `Definition`, and back. See `reading` for what happens to a file on its way."""

from setpoint.data.config.checking import looks_like_machine, problems_of, top_keys
from setpoint.data.config.export import to_config, to_json, to_yaml
from setpoint.data.config.outcome import FAILURE, SUCCESS
from setpoint.data.config.reading import ConfigError, Loaded, load, read
from setpoint.data.config.schema import json_schema

__all__ = [
    "FAILURE",
    "SUCCESS",
    "ConfigError",
    "Loaded",
    "json_schema",
    "load",
    "looks_like_machine",
    "problems_of",
    "read",
    "to_config",
    "to_json",
    "to_yaml",
    "top_keys",
]

"""`log`: writes a line to the log of the agent for each message, and lets it pass.

Fields as documented for Benthos: `level`, `message` and `fields`, texts that may hold ``${! … }``. A line that cannot be filled in says
why, and the message passes as well. Line breaks in what is written are shown as ``\\n``: one message is one line.
"""

from __future__ import annotations

import logging
from typing import Annotated, Final, Literal

from pydantic import PlainValidator, ValidationInfo

from setpoint.data import Context as RunContext
from setpoint.flows.bloblang import World
from setpoint.flows.component import Context, MessageError, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.interpolation import Interpolated
from setpoint.flows.processors.mapping import knows_errors

log = logging.getLogger("setpoint.flows")

_LEVELS: Final = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40}


def _text(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")
    knows_errors(Interpolated(value).reads, info)
    return value


Text = Annotated[str, PlainValidator(_text)]


class Log:
    """Writes lines."""

    class Fields(ComponentFields):
        level: Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR"] = "INFO"
        message: Text = ""
        fields: dict[str, Text] = {}

    def __init__(self, fields: Fields, context: Context) -> None:
        world = World(context.clock, context.random)
        self._level, self._flow = _LEVELS[fields.level], context.flow
        self._message = Interpolated(fields.message, world)
        self._fields = {name: Interpolated(text, world) for name, text in fields.fields.items()}

    def __call__(self, msg: Msg, context: RunContext | None = None) -> Msg:
        """The message, as it is."""
        if log.isEnabledFor(self._level):
            error = context.error.message if context and context.error else ""
            parts = [_filled(self._message, msg, error)]
            parts += [f"{name}={_filled(text, msg, error)}" for name, text in self._fields.items()]
            log.log(self._level, "flow %s: %s", self._flow, " ".join(filter(None, parts)))
        return msg


def _filled(text: Interpolated, msg: Msg, error: str) -> str:
    try:
        filled = text(msg, error)
    except MessageError as fault:
        filled = f"{text.text} ({fault})"
    return filled.replace("\r", "\\r").replace("\n", "\\n")

"""`nodered_js`: a JavaScript function in the style of Node-RED decides what becomes of each message.

The body of the function gets `msg` with `msg.payload` and `msg.meta` and returns the message, a list of messages, or null to drop it.
Fields as documented for benthos-umh (`code`), and the limits `timeout` and `memoryLimit`.
"""

from __future__ import annotations

from typing import Any

from setpoint.data import Several
from setpoint.flows.component import Context, Msg, structured
from setpoint.flows.javascript import Script, Stage
from setpoint.flows.processors.scripting import Body, ScriptFields


class NodeRedJs:
    """Runs one function body a message."""

    class Fields(ScriptFields):
        code: Body

    def __init__(self, fields: Fields, context: Context) -> None:
        self._script = Script([Stage("code", fields.code)], timeout=fields.timeout, memory=fields.memoryLimit)

    def __call__(self, msg: Msg) -> Any:
        """The messages the script returned. Raises `ScriptError`."""
        outputs = self._script(structured(msg.payload), msg.meta)
        return Several(Msg(payload, meta) for payload, meta in outputs) if len(outputs) != 1 else Msg(*outputs[0])

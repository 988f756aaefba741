"""`noop`: does nothing. For a case of a `switch` that lets its messages pass as they are, which Benthos wants to have said."""

from __future__ import annotations

from setpoint.flows.component import Context, Fields, Msg


class Noop:
    """Lets every message pass."""

    def __init__(self, fields: Fields, context: Context) -> None:
        pass

    def __call__(self, msg: Msg) -> Msg:
        """The message, as it is."""
        return msg

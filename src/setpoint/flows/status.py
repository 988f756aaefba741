"""What is known of a running flow, read from memory: counters since its start, its two connections, its last error.

Counters are totals since the flow was last started; a reader that wants rates or error windows takes differences between two readings.
Times are seconds of the event loop's clock (`loop.time()`), so that they compare with everything else the control runtime stamps.
"""

from __future__ import annotations

import msgspec


class FlowStatus(msgspec.Struct, frozen=True):
    """One reading of a flow. `running` and `finished` are never both true; a flow that is neither has failed or was stopped."""

    running: bool = False
    """Its task is alive: reading, waiting, processing or retrying."""
    finished: bool = False
    """Its input ended (a file was read to its end, `count` messages were generated) and all of it was delivered."""
    started_at: float = 0.0
    ended_at: float | None = None

    input_connected: bool = False
    output_connected: bool = False
    input_received: int = 0
    """Messages read from the input."""
    input_errors: int = 0
    """Readings that failed while the connection held, e.g. one register that the device refuses."""
    input_connection_up: int = 0
    """How often the input connected."""
    input_connection_failed: int = 0
    """How often an attempt to connect failed."""
    input_connection_lost: int = 0
    """How often a connection that was up broke."""
    processor_errors: int = 0
    """Messages that a processor could not handle; each ended in the state `failed`."""
    dropped: int = 0
    """Messages that a processor dropped on purpose."""
    output_sent: int = 0
    """Messages that the output took."""
    output_bytes: int = 0
    """Bytes of payload that the output took."""
    output_errors: int = 0
    """Writes that failed and are tried again, and messages set aside."""
    output_set_aside: int = 0
    """Messages that the output can never take (no valid topic or payload): counted, never written."""

    dead_letters: int = 0
    """Messages that failed and that the flow's ``dead_letter`` output took."""
    overflowed: int = 0
    """Messages that were left out because the flow's buffer was full."""

    last_error: str = ""
    """Where and what: ``input modbus: no answer within 1 s from plc:502``. Stays until the next start."""
    last_error_at: float | None = None
    last_received_at: float | None = None
    last_sent_at: float | None = None

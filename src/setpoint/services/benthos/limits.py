"""Times and sizes of a Benthos flow: what UMH Core waits for, looks back on and bounds, and where we differ, why.

Times are seconds. The gates (`CONFIG_LOADING_S`, `REMAIN_RUNNING_S`) and the windows are defaults: a flow may
have its own. The source of each is the contract of UMH Core's machine `benthos_flow`, where nothing else is said.
"""

from __future__ import annotations

from typing import Final

CONFIG_LOADING_S: Final = 5.0
"""The process must be up for so long before its config counts as loaded."""
REMAIN_RUNNING_S: Final = 10.0
"""The process must be up for so long, with clean logs and metrics, before the flow is called up."""
LOG_WINDOW_S: Final = 600.0
"""An error in the log counts for so long, and no longer than the process has been up."""
RATE_WINDOW_S: Final = 60.0
"""Rates are means over so long (600 ticks there)."""
ERROR_WINDOW_S: Final = 10.0
"""Errors in the metrics count for so long. There they count for ever, so that one bad message degrades a flow until it is restarted;
here the window is that of the embedded engine."""

POLL_TIMEOUT_S: Final = 1.0
"""For one look at all endpoints of a flow (there 1 s for each)."""
PROGRAM_TIMEOUT_S: Final = 20.0
"""For ``--version`` and ``lint``, ours: 50 ms on an idle machine; a cold disk and a hundred of them at once take longer."""

BODY_BYTES: Final = 8_000_000
"""An answer that is longer is refused, ours. The metrics of ten components are some 8 kB."""
LINE_CHARACTERS: Final = 4_096
"""A line of the log is cut there before anybody looks at it, ours: level and message come first."""
ERRORS_KEPT: Final = 100
"""Errors of one log that are remembered at a time, ours; when there are more, the oldest go."""

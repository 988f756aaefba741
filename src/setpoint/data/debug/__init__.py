"""Debugging: a run moved by hand (`Debugger`), or written down whole (`Trace`)."""

from setpoint.data.debug.breakpoints import Breakpoint
from setpoint.data.debug.changes import Change, changes
from setpoint.data.debug.course import DebugError
from setpoint.data.debug.debugger import Debugger
from setpoint.data.debug.moments import Moment
from setpoint.data.debug.trace import Entry, Trace
from setpoint.data.debug.watches import Watched
from setpoint.data.debug.ways import WayOut

__all__ = [
    "Breakpoint",
    "Change",
    "DebugError",
    "Debugger",
    "Entry",
    "Moment",
    "Trace",
    "Watched",
    "WayOut",
    "changes",
]

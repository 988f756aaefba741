"""The simulator: the control runtime on virtual time, with faults from a seed, and laws that are checked at every step."""

from setpoint.testing.simulation.calls import NotSimulated, pause
from setpoint.testing.simulation.explore import Outcome, explore, shrink, simulate
from setpoint.testing.simulation.faults import Fault
from setpoint.testing.simulation.kinds import GROUPS, KINDS
from setpoint.testing.simulation.laws import Move, Violation
from setpoint.testing.simulation.scene import MakeScene, Scene, Trouble
from setpoint.testing.simulation.simulation import Simulation

__all__ = [
    "GROUPS",
    "KINDS",
    "Fault",
    "MakeScene",
    "Move",
    "NotSimulated",
    "Outcome",
    "Scene",
    "Simulation",
    "Trouble",
    "Violation",
    "explore",
    "pause",
    "shrink",
    "simulate",
]

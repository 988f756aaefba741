"""The machine model: states, arcs and guards as pure data, and the pure kernel that decides. Knows nothing of any runtime."""

from setpoint.machine.check import Finding, check
from setpoint.machine.clocks import elapsed, resume
from setpoint.machine.decide import Decision, GuardError, Position, decide
from setpoint.machine.diff import Change, diff, level
from setpoint.machine.draw import draw
from setpoint.machine.explain import Explanation, explain
from setpoint.machine.explore import Exploration, explore
from setpoint.machine.export import content_hash, to_dict, to_json, to_yaml
from setpoint.machine.expression import Expression, ExpressionError
from setpoint.machine.guards import ALWAYS, Guard, Verdict, expression, guard, held
from setpoint.machine.joint import Instance
from setpoint.machine.load import load
from setpoint.machine.model import Arc, Group, Machine, MachineError, Phase, Signal, State
from setpoint.machine.peers import peer
from setpoint.machine.seconds import Resume, Setting
from setpoint.machine.system import System, load_system
from setpoint.machine.versions import Migration, Refused, Resumed, migrate, migration_faults

__all__ = [
    "ALWAYS",
    "Arc",
    "Change",
    "Decision",
    "Explanation",
    "Exploration",
    "Expression",
    "ExpressionError",
    "Finding",
    "Group",
    "Guard",
    "GuardError",
    "Instance",
    "Machine",
    "MachineError",
    "Migration",
    "Phase",
    "Position",
    "Refused",
    "Resume",
    "Resumed",
    "Setting",
    "Signal",
    "State",
    "System",
    "Verdict",
    "check",
    "content_hash",
    "decide",
    "diff",
    "draw",
    "elapsed",
    "explain",
    "explore",
    "expression",
    "guard",
    "held",
    "level",
    "load",
    "load_system",
    "migrate",
    "migration_faults",
    "peer",
    "resume",
    "to_dict",
    "to_json",
    "to_yaml",
]

"""The data runtime: carries records through a machine, from its initial state to a final one."""

from setpoint.data.plan import ON_DROPPED, ON_ERROR, NoOpenArc, NotAwaited, Plan, PlanError, TooManySteps
from setpoint.data.result import DROPPED, FAILED, SPLIT, Result, Several, StepError

__all__ = [
    "DROPPED",
    "FAILED",
    "ON_DROPPED",
    "ON_ERROR",
    "SPLIT",
    "NoOpenArc",
    "NotAwaited",
    "Plan",
    "PlanError",
    "Result",
    "Several",
    "StepError",
    "TooManySteps",
]

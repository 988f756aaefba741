"""Rehearsal: a whole configuration on virtual time, over models of devices, flows and broker in place of the real ones."""

from setpoint.agent.rehearsal.planning import Blocked, Planned, Planning, plan_of
from setpoint.agent.rehearsal.plant import Plant
from setpoint.agent.rehearsal.scene import TROUBLES, rehearsal_of
from setpoint.agent.rehearsal.summary import Lived, summarised

__all__ = ["TROUBLES", "Blocked", "Lived", "Planned", "Planning", "Plant", "plan_of", "rehearsal_of", "summarised"]

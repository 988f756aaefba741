"""The agent: from ``config.yaml`` to the tree of workers, and the program's composition root."""

from setpoint.agent.agent import Agent
from setpoint.agent.loading import ConfigStatus, ProblemView
from setpoint.agent.lock import DataInUse

__all__ = ["Agent", "ConfigStatus", "DataInUse", "ProblemView"]

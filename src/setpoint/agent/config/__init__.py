"""Reading ``config.yaml``: the file that says what bridges, flows and broker are wanted. `read_config` is pure and never raises."""

from setpoint.agent.config.model import Agent, Bridge, Broker, Configuration, Flow, Item, StreamProcessor
from setpoint.agent.config.reader import read_config
from setpoint.configfile.problem import Problem

__all__ = [
    "Agent",
    "Bridge",
    "Broker",
    "Configuration",
    "Flow",
    "Item",
    "Problem",
    "StreamProcessor",
    "read_config",
]

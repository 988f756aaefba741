"""The flow: one data flow, kept running."""

from setpoint.workers.flow.machine import Flow, engine_for
from setpoint.workers.flow.seen import DEBOUNCE, IDLE_WINDOW, REJECTED, Engine, FlowObserved, FlowSpec, Running

__all__ = ["DEBOUNCE", "IDLE_WINDOW", "REJECTED", "Engine", "Flow", "FlowObserved", "FlowSpec", "Running", "engine_for"]

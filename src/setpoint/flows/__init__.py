"""Flows: inputs, processors and outputs, and how a flow's configuration becomes a data machine that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from setpoint.flows.status import FlowStatus

if TYPE_CHECKING:
    from setpoint.flows.config import FlowConfigError, FlowProblem
    from setpoint.flows.engine import FlowEngine
    from setpoint.flows.plan import FlowPlan, compile_flow

__all__ = ["FlowConfigError", "FlowEngine", "FlowPlan", "FlowProblem", "FlowStatus", "compile_flow"]

_HOMES = {
    "FlowConfigError": "setpoint.flows.config",
    "FlowEngine": "setpoint.flows.engine",
    "FlowPlan": "setpoint.flows.plan",
    "FlowProblem": "setpoint.flows.config",
    "compile_flow": "setpoint.flows.plan",
}


def __getattr__(name: str) -> Any:
    """Loads the heavier parts (pydantic, the namespace) when they are first asked for."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

"""What is wanted of a flow, and what is seen of it, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation
from setpoint.machine import Setting

IDLE_WINDOW = Setting("idle_window_s", 30.0)
DEBOUNCE = Setting("healthcheck_debounce_s", 5.0)
REJECTED = "config rejected: "
"""How the fault of a flow begins whose config its engine will not have: trying again does not help."""
Engine = Literal["auto", "embedded", "benthos"]


class Running(BaseModel):
    """How a flow is run: by which engine, and how long each gate of its start lasts, in seconds. `debug` has Benthos log everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    engine: Engine = "auto"
    debug: bool = False
    config_loading_s: float = Field(default=5.0, ge=0)
    healthcheck_debounce_s: float = Field(default=DEBOUNCE.default, ge=0)
    remain_running_s: float = Field(default=10.0, ge=0)


class FlowSpec(Running):
    """The flow in the Benthos shape, and the windows of its machine in seconds."""

    config: Mapping[str, Any]
    bridged_by: str = ""
    desired_state: Literal["active", "stopped"] = "active"
    idle_window_s: float = Field(default=IDLE_WINDOW.default, ge=0)
    error_window_s: float = Field(default=10.0, ge=0)


class FlowObserved(Observation, frozen=True):
    """What the engine says; `engine` is which one it is, or "split" where it takes both.

    A flow that goes on as before is seen as before, so that it costs nothing: `uptime_s` stops counting once every gate is past, and
    rates, messages per second over the last few looks, are `steady`.
    """

    engine: str = "embedded"
    up: bool = False
    partly: bool = False  # of a flow that is cut, some part is up
    current: bool = False  # it runs the config that is wanted
    finished: bool = False
    uptime_s: float = 0.0
    input_connected: bool = False
    output_connected: bool = False
    moving: bool = False  # messages came in since the last look, or a moment ago
    in_per_s: float = 0.0
    out_per_s: float = 0.0
    ended_after: int = 0  # messages, of a flow whose input has ended
    errors: str = ""  # what failed within the error window
    fault: str = ""  # why it is not up, or not connected


def steady(rate: float, shown: float) -> float:
    """The rate to show: the one shown before as long as it is right within a tenth."""
    return shown if rate and abs(rate - shown) <= 0.1 * shown else rate

"""Intent: whether a desired state says stop, and the same desired state told to stop.

A desired state may have a field `desired_state`; the value "stopped" means what it says. A worker that reads the field itself, instead of
`snapshot.wanted`, still stops when its parent or the agent says so: it then sees the field as "stopped".
"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
from pydantic import BaseModel

STOPPED = "stopped"


def wants_stop(desired: Any) -> bool:
    """Whether the desired state itself says stop."""
    return getattr(desired, "desired_state", None) == STOPPED


def stopped_version(desired: Any) -> Any:
    """The same desired state with `desired_state` set to "stopped", where it has that field."""
    if wants_stop(desired) or not hasattr(desired, "desired_state"):
        return desired
    if isinstance(desired, BaseModel):
        return desired.model_copy(update={"desired_state": STOPPED})
    if isinstance(desired, msgspec.Struct):
        return msgspec.structs.replace(desired, desired_state=STOPPED)
    if dataclasses.is_dataclass(desired) and not isinstance(desired, type):
        return dataclasses.replace(desired, desired_state=STOPPED)
    return desired

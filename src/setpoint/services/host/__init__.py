"""The container or host this process runs in: what it has, what of it is in use, and whether there is room for more."""

from setpoint.services.host.figures import HostFigures, HostLimits, near_limit, over_limit
from setpoint.services.host.gate import Gate
from setpoint.services.host.reader import HostReader

__all__ = ["Gate", "HostFigures", "HostLimits", "HostReader", "near_limit", "over_limit"]

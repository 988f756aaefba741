"""What the program says about itself to those who run it: logs."""

from setpoint.telemetry.logs import configure

__all__ = ["configure"]

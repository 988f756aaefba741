"""The public test kit: virtual time for workers and supervisors."""

from setpoint.testing.virtual import EPOCH, VirtualLoop, run, wall

__all__ = ["EPOCH", "VirtualLoop", "run", "wall"]

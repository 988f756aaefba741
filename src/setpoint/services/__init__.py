"""Clients of things outside: cheap and synchronous where they can be. They are not workers; workers call them."""

from setpoint.services.contact import Contacts
from setpoint.services.host import Gate, HostFigures, HostLimits, HostReader
from setpoint.services.probe import Probe, probe_tcp
from setpoint.services.resolver import Resolver

__all__ = ["Contacts", "Gate", "HostFigures", "HostLimits", "HostReader", "Probe", "Resolver", "probe_tcp"]

"""State machines that keep services and data flows in the state you asked for, and always say why."""

__version__ = "0.1.0"

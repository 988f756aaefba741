"""Contacts: which devices have lately answered somebody in this process.

A flow that reads a device once a second proves better than any probe that the device can be reached. Whoever gets an answer says so here;
whoever wants to know looks here before it knocks. It spares devices that take only a few connections, and the cost of opening one.
"""

from __future__ import annotations


class Contacts:
    """When each address last answered, in seconds of the event loop's clock. For the loop's thread."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, int], float] = {}

    def heard(self, host: str, port: int, now: float) -> None:
        """The device at this address answered just now."""
        self._heard[host, port] = now

    def age(self, host: str, port: int, now: float) -> float:
        """Seconds since the device at this address last answered anybody; infinite when it never has."""
        return now - self._heard.get((host, port), float("-inf"))

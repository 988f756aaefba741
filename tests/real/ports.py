"""Ports for tests that start real programs."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A loopback port that is free now, with two free ones above it (the plant takes three in a row)."""
    for _ in range(50):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port < 65000 and all(_is_free(port + offset) for offset in (1, 2)):
                return port
    raise RuntimeError("no three free ports in a row on loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

"""The processes of an agent, which flows and the broker share: opened when the first of them needs one, and ended once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from setpoint.services.processes import ProcessBackend, open_backend


class Processes:
    """The backend of one directory."""

    def __init__(self, kind: Literal["auto", "s6", "builtin"], directory: Path) -> None:
        self._kind: Literal["auto", "s6", "builtin"] = kind
        self._directory = directory
        self._backend: ProcessBackend | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> ProcessBackend:
        """The one backend. Raises `ProcessError`."""
        async with self._turn:
            if self._backend is None:
                self._backend = await open_backend(self._kind, self._directory)
            return self._backend

    async def close(self) -> None:
        """Stop all processes and end. Idempotent, also where somebody else has closed the backend."""
        async with self._turn:
            backend, self._backend = self._backend, None
            if backend is not None:
                await backend.close()

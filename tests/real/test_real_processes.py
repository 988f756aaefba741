"""Processes under the real s6, and what takes longer with either backend."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from tests.conformance.process_conformance import ProcessConformance, ProcessEndurance, Processes, living, within

from setpoint.services.processes import ProcessBackend, ProcessSpec, open_backend, s6
from setpoint.services.processes.look import Looker

pytestmark = pytest.mark.real

needs_s6 = pytest.mark.skipif(
    shutil.which("s6-svscan") is None, reason="s6 is not installed: scripts/real-parts installs it"
)


@needs_s6
class TestS6(ProcessConformance):
    kind = "s6"


@needs_s6
class TestS6Endurance(ProcessEndurance):
    kind = "s6"


class TestBuiltinEndurance(ProcessEndurance):
    kind = "builtin"


@needs_s6
class TestS6Alone(Processes):
    """What only s6 has."""

    kind = "s6"

    def test_a_supervisor_that_is_killed_does_not_double_its_process(self, tmp_path: Path) -> None:
        """The one that follows ends what the first left behind before it starts the program again."""

        async def scenario(backend: ProcessBackend) -> None:
            await backend.create("a", ProcessSpec(("sleep", "1000")))
            await backend.start("a")
            before = await backend.wait("a", lambda status: status.ready, timeout_s=5)
            assert before.pid
            os.kill(psutil.Process(before.pid).ppid(), signal.SIGKILL)
            after = await backend.wait("a", lambda now: now.ready and now.pid != before.pid, timeout_s=10)
            expected = {"a": [after.pid]}
            await within(5, lambda: living(tmp_path) == expected)
            assert await backend.history("a") == []

        self.run(tmp_path, scenario)

    def test_a_directory_changes_its_backend(self, tmp_path: Path) -> None:
        """The tree of the other kind is ended first; the processes are there, down, and run under the new one."""

        async def test() -> None:
            for kind in ("s6", "builtin", "s6"):
                backend = await open_backend(kind, tmp_path)  # type: ignore[arg-type]
                await backend.create("a", ProcessSpec(("sleep", "1000")))
                await backend.start("a")
                status = await backend.wait("a", lambda status: status.ready, timeout_s=5)
                expected = {"a": [status.pid]}
                await within(5, lambda: living(tmp_path) == expected)  # noqa: B023 - awaited here
                await backend.close(leave_running=True)
            backend = await open_backend("builtin", tmp_path)
            assert living(tmp_path) == {}
            assert backend.names() == ["a"]
            assert len(await backend.history("a")) == 3
            await backend.start("a")
            await backend.wait("a", lambda status: status.ready, timeout_s=5)
            await backend.close()

        asyncio.run(test())
        assert living(tmp_path) == {}

    def test_an_unknown_status_format_is_asked_for(self, tmp_path: Path) -> None:
        """Where the file has a length that is not known, `s6-svstat` is run; where it does not know it either, that is the fault."""

        async def scenario(backend: ProcessBackend) -> None:
            await backend.create("a", ProcessSpec(("sleep", "1000")))
            await backend.start("a")
            known = await backend.wait("a", lambda status: status.ready, timeout_s=5)
            looker = Looker(tmp_path / "scan", s6.calibrate())
            asked = looker.asked(str(tmp_path / "scan/a"))
            assert asked is not None
            assert (asked.pid, asked.want_up, asked.ready) == (known.pid, True, True)
            assert abs(asked.changed_ns / 1e9 - (known.since or 0)) < 1e-3
            status = tmp_path / "scan/a/supervise/status"
            status.with_name("status.test").write_bytes(b"x" * 10)
            status.with_name("status.test").rename(status)
            assert backend.status("a").fault == "its status file has 10 bytes, which no known supervisor writes"

        self.run(tmp_path, scenario)

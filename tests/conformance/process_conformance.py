"""What any process backend must do: the conformance suite of `setpoint.services.processes.ProcessBackend`.

To run it, subclass `ProcessConformance` (seconds) and `ProcessEndurance` (what takes longer or needs root) in a test file, with `kind`.
Every test works on real processes in a directory of its own, and at the end of each nothing may be left of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import pytest

from setpoint.services.processes import (
    ExitRecord,
    LogLine,
    ProcessBackend,
    ProcessError,
    ProcessSpec,
    ProcessStatus,
    ReadyCheck,
    open_backend,
)

SLEEP = ProcessSpec(("sleep", "1000"))
AGENT = Path(__file__).with_name("process_agent.py")
Answer = TypeVar("Answer")
Scenario = Callable[[ProcessBackend], Awaitable[None]]


def script(text: str, **settings: object) -> ProcessSpec:
    """A process that runs a shell script."""
    return ProcessSpec(("sh", "-c", text), **settings)  # type: ignore[arg-type]


def living(directory: Path) -> dict[str, list[int]]:
    """The processes of a backend's directory by name, as the system has them, leaders of a session only."""
    found: dict[str, list[int]] = {}
    mark = f"SETPOINT_PROCESS={directory.resolve()}/scan/"
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(entry.name)
            for variable in (entry / "environ").read_text(errors="replace").split("\0"):
                if variable.startswith(mark) and os.getsid(pid) == pid:
                    found.setdefault(variable.removeprefix(mark), []).append(pid)
    return found


def there(pid: int) -> bool:
    """Whether a process runs, and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def within(seconds: float, true: Callable[[], object]) -> None:
    """Wait until something outside is as it should be; fails when it never is."""

    async def asked() -> object:
        return true()

    await eventually(asked, seconds)


async def eventually(call: Callable[[], Awaitable[Answer]], seconds: float = 10) -> Answer:
    """The first answer that is true; fails when there never is one."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := await call():
            return answer
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.01)


def up(status: ProcessStatus) -> bool:
    return status.up


def ready(status: ProcessStatus) -> bool:
    return status.ready


def down(status: ProcessStatus) -> bool:
    return status.state == "down"


def everything(directory: Path) -> list[Path]:
    """What is there, but for what the tree does on its own."""
    return sorted(path for path in directory.rglob("*") if "@guard" not in path.parts and path.name != "supervisor.log")


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


class Processes:
    """What both suites need."""

    kind: ClassVar[Literal["s6", "builtin"]]

    def run(self, directory: Path, scenario: Scenario) -> None:
        """A scenario with an open backend; afterwards nothing may be left."""

        async def within_time() -> None:
            async with self.opened(directory) as backend:
                await asyncio.wait_for(scenario(backend), 120)

        asyncio.run(within_time())
        assert living(directory) == {}
        assert not self.tree_lives(directory)

    @asynccontextmanager
    async def opened(self, directory: Path, *, grace_s: float = 60.0) -> AsyncIterator[ProcessBackend]:
        backend = await open_backend(self.kind, directory, orphan_grace_s=grace_s)
        try:
            yield backend
        finally:
            await backend.close()

    def tree_lives(self, directory: Path) -> bool:
        """Whether anybody listens on the fifo of the tree."""
        try:
            os.close(os.open(directory / "scan/.s6-svscan/control", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def head(self, directory: Path) -> int:
        """The pid of the head of the tree: the one that holds the lock of the scan folder."""
        program = "s6-svscan" if self.kind == "s6" else "keeper"
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                cwd = (entry / "cwd").resolve()
                if program in command and cwd in (directory.resolve(), directory.resolve() / "scan"):
                    return int(entry.name)
        raise AssertionError("the tree has no head")

    async def started(self, backend: ProcessBackend, name: str, spec: ProcessSpec) -> ProcessStatus:
        """Created, started, and running."""
        await backend.create(name, spec)
        await backend.start(name)
        return await backend.wait(name, up, timeout_s=10)

    async def lines(self, backend: ProcessBackend, name: str, count: int) -> list[str]:
        """Its log, once it has so many lines."""

        async def asked() -> list[str]:
            lines = texts(await backend.logs(name))
            return lines if len(lines) >= count else []

        return await eventually(asked)

    async def deaths(self, backend: ProcessBackend, count: int) -> list[ExitRecord]:
        """The history of ``a``, once it has so many ends."""

        async def asked() -> list[ExitRecord]:
            history = await backend.history("a")
            return history if len(history) >= count else []

        return await eventually(asked)

    async def ends_with(self, backend: ProcessBackend, last: str, seconds: float = 10) -> None:
        """Wait for the last line of the log of ``a``."""

        async def asked() -> bool:
            return texts(await backend.logs("a", lines=1)) == [last]

        await eventually(asked, seconds)

    async def agent(self, directory: Path, step: int = 0, **environment: str) -> asyncio.subprocess.Process:
        """An agent of its own, which leaves a process ``a`` running (step 0), or dies at a step."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            str(AGENT),
            str(directory),
            self.kind,
            str(step),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
        )


class ProcessConformance(Processes):
    """One test a promise."""

    def test_a_process_starts_and_stops(self, tmp_path: Path) -> None:
        """It is down when it was created, up with its pid when it was started, and down again, killed by its stop signal."""

        async def scenario(backend: ProcessBackend) -> None:
            assert backend.status("a").state == "missing"
            assert not backend.exists("a")
            assert await backend.create("a", SLEEP)
            status = backend.status("a")
            assert (status.state, status.want, status.pid, status.exit_code, status.exit_signal) == (
                "down", "down", None, None, None,
            )  # fmt: skip
            await self.started(backend, "a", SLEEP)
            status = await backend.wait("a", ready, timeout_s=5)
            assert status.pid
            await within(5, lambda: living(tmp_path) == {"a": [status.pid]})
            assert (status.want, status.ready, status.fault) == ("up", True, "")
            assert abs((status.since or 0) - time.time()) < 5
            assert 0 <= (status.uptime_s or -1) < 5
            await backend.start("a")  # again: nothing happens
            assert backend.status("a").pid == status.pid
            await backend.stop("a")
            stopped = await backend.wait("a", down, timeout_s=5)
            assert (stopped.want, stopped.exit_signal, stopped.exit_code) == ("down", signal.SIGTERM, None)
            assert not there(status.pid)
            assert backend.names() == ["a"]
            assert list(backend.statuses()) == ["a"]

        self.run(tmp_path, scenario)

    def test_creating_again_changes_nothing_unless_the_spec_did(self, tmp_path: Path) -> None:
        """The same spec leaves the process alone; another replaces and restarts it, and its log and its exits are kept."""

        async def scenario(backend: ProcessBackend) -> None:
            first = script("echo one; exec sleep 1000", environment={"A": "1"}, files={"x": "y"})
            before = await self.started(backend, "a", first)
            await self.lines(backend, "a", 1)
            assert not await backend.create("a", first)
            assert backend.status("a").pid == before.pid
            second = script("echo two; exec sleep 1000", environment={"A": "1"}, files={"x": "y"})
            assert await backend.create("a", second)
            assert backend.spec("a") == second
            after = await backend.wait("a", up, timeout_s=5)
            assert after.pid != before.pid
            assert not there(before.pid or 0)
            assert await self.lines(backend, "a", 2) == ["one", "two"]
            assert [record.signal for record in await backend.history("a")] == [signal.SIGTERM]

        self.run(tmp_path, scenario)

    def test_a_replaced_process_that_was_down_stays_down(self, tmp_path: Path) -> None:
        """Another spec does not start what nobody wanted to run."""

        async def scenario(backend: ProcessBackend) -> None:
            await backend.create("a", SLEEP)
            await backend.create("a", script("exec sleep 1"))
            await asyncio.sleep(0.1)
            assert down(backend.status("a"))

        self.run(tmp_path, scenario)

    def test_what_a_process_sees(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its own folder with its files, its variables whatever is in them, and nothing else of the agent's environment."""
        monkeypatch.setenv("SETPOINT_TEST_SECRET", "secret")
        odd = "a 'b' \"c\" $HOME `x` \\ ü\nz"

        async def scenario(backend: ProcessBackend) -> None:
            text = 'cat "odd name.yaml"; printf "%s|\\n" "$ODD"; echo "${SETPOINT_TEST_SECRET:-none}"; pwd; exec sleep 1000'
            await self.started(
                backend, "a", script(text, environment={"ODD": odd}, files={"odd name.yaml": "content ß\n"})
            )
            assert await self.lines(backend, "a", 5) == [
                "content ß",
                *f"{odd}|".split("\n"),
                "none",
                f"{tmp_path}/scan/a/files",
            ]

        self.run(tmp_path, scenario)

    def test_a_crash_loop_is_paced_and_told(self, tmp_path: Path) -> None:
        """What ends at once is started again, not more than once a second; each end is in its history; it can be stopped."""

        async def scenario(backend: ProcessBackend) -> None:
            await backend.create("a", script("exit 3"))
            await backend.start("a")
            history = await self.deaths(backend, 2)
            assert [record.code for record in history] == [3] * len(history)
            assert history[1].at - history[0].at > 0.9
            status = await backend.wait("a", down, timeout_s=5)
            assert (status.want, status.exit_code) == ("up", 3)
            assert str(status) == "down, exited with code 3, to be started again"
            await backend.stop("a")
            await backend.wait("a", lambda status: status.want == "down" and down(status), timeout_s=5)

        self.run(tmp_path, scenario)

    @pytest.mark.parametrize(
        ("restart", "text", "again"),
        [
            ("always", "exit 0", True),
            ("on-failure", "exit 0", False),
            ("on-failure", "exit 1", True),
            ("never", "exit 1", False),
            ("never", "kill -9 $$", False),
        ],
    )
    def test_who_is_started_again(self, tmp_path: Path, restart: str, text: str, again: bool) -> None:
        """Each restart policy does what its name says, and what is not started again is no longer wanted up."""

        async def scenario(backend: ProcessBackend) -> None:
            await backend.create("a", script(text, restart=restart))
            await backend.start("a")
            await self.deaths(backend, 1)
            await backend.wait("a", lambda status: (status.want == "up") is again and not status.pid, timeout_s=5)
            if again:
                await self.deaths(backend, 2)
            else:
                await asyncio.sleep(0.1)
                assert len(await backend.history("a")) == 1
                await backend.start("a")  # what has ended for good can be started again
                await self.deaths(backend, 2)

        self.run(tmp_path, scenario)

    def test_death_by_a_signal_is_told(self, tmp_path: Path) -> None:
        """The number of the signal is in the status and in the history."""

        async def scenario(backend: ProcessBackend) -> None:
            await backend.create("a", script("kill -SEGV $$", restart="never"))
            await backend.start("a")
            status = await backend.wait(
                "a", lambda status: down(status) and status.exit_signal is not None, timeout_s=5
            )
            assert (status.exit_code, status.exit_signal) == (None, signal.SIGSEGV)
            (record,) = await backend.history("a")
            assert (record.code, record.signal) == (None, signal.SIGSEGV)
            assert str(record) == "killed by SIGSEGV"

        self.run(tmp_path, scenario)

    def test_who_ignores_the_stop_signal_is_killed(self, tmp_path: Path) -> None:
        """After its time to stop, and not before."""

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(
                backend, "a", script("trap '' TERM; echo armed; while :; do sleep 0.05; done", stop_timeout_s=0.4)
            )
            await self.lines(backend, "a", 1)
            began = time.monotonic()
            await backend.stop("a")
            status = await backend.wait("a", down, timeout_s=5)
            assert status.exit_signal == signal.SIGKILL
            assert 0.35 < time.monotonic() - began < 2

        self.run(tmp_path, scenario)

    def test_a_stop_signal_of_its_own(self, tmp_path: Path) -> None:
        """A process that asks for SIGINT gets SIGINT, and may end in its own way."""

        async def scenario(backend: ProcessBackend) -> None:
            text = "trap 'exit 7' INT; echo armed; while :; do sleep 0.02; done"
            await self.started(backend, "a", script(text, stop_signal="INT"))
            await self.lines(backend, "a", 1)
            await backend.stop("a")
            assert (await backend.wait("a", down, timeout_s=5)).exit_code == 7

        self.run(tmp_path, scenario)

    def test_its_whole_group_ends_with_it(self, tmp_path: Path) -> None:
        """Helpers that a process started are gone once it is down."""

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(backend, "a", script("sleep 1000 & echo $!; trap '' HUP; wait"))
            helper = int((await self.lines(backend, "a", 1))[0])
            assert there(helper)
            await backend.stop("a")
            await backend.wait("a", down, timeout_s=5)
            await within(5, lambda: not there(helper))

        self.run(tmp_path, scenario)

    def test_what_left_its_group_ends_when_it_is_removed(self, tmp_path: Path) -> None:
        """A helper in a session of its own outlives a stop, but not the removal."""

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(backend, "a", script("setsid sh -c 'echo $$; exec sleep 1000' & wait"))
            helper = int((await self.lines(backend, "a", 1))[0])
            await backend.remove("a")
            await within(5, lambda: not there(helper))

        self.run(tmp_path, scenario)

    def test_a_restart_gives_another_process(self, tmp_path: Path) -> None:
        """Also of one that has to be killed, and it goes on being wanted up."""

        async def scenario(backend: ProcessBackend) -> None:
            stubborn = script("trap '' TERM; echo armed; while :; do sleep 0.05; done", stop_timeout_s=0.2)
            for name, spec in (("a", SLEEP), ("b", stubborn)):
                before = await self.started(backend, name, spec)
                if name == "b":
                    await self.lines(backend, "b", 1)
                await backend.restart(name)
                old = before.pid
                after = await backend.wait(name, lambda status, old=old: up(status) and status.pid != old, timeout_s=5)  # type: ignore[misc]
                assert after.want == "up"
                assert not there(before.pid or 0)

        self.run(tmp_path, scenario)

    @pytest.mark.parametrize(
        "spec",
        [
            script("sleep 0.3; echo >&3; exec sleep 1000", ready="notify"),
            script(
                "sleep 0.3; : > yes; exec sleep 1000",
                ready=ReadyCheck(("sh", "-c", 'test -e "$WHICH"'), interval_s=0.05),
                environment={"WHICH": "yes"},
            ),
            script("sleep 0.3; : > yes; exec sleep 1000", ready=ReadyCheck(("sh", "-c", "test -e yes || sleep 9"), 0.05, 0.1)),
        ],
        ids=["notify", "check", "check that hangs"],
    )  # fmt: skip
    def test_it_is_ready_when_it_says_so(self, tmp_path: Path, spec: ProcessSpec) -> None:
        """By a newline on descriptor 3, or by a command that succeeds; until then it is up and not ready."""

        async def scenario(backend: ProcessBackend) -> None:
            status = await self.started(backend, "a", spec)
            assert not status.ready
            assert status.ready_since is None
            status = await backend.wait("a", ready, timeout_s=5)
            assert (status.uptime_s or 0) >= 0.25
            assert (status.ready_since or 0) - (status.since or 0) >= 0.25

        self.run(tmp_path, scenario)

    def test_an_end_is_pushed(self, tmp_path: Path) -> None:
        """Who listens is called when the process ends, and finds it ended; who does no longer listen is not called."""

        async def scenario(backend: ProcessBackend) -> None:
            status = await self.started(backend, "a", SLEEP)
            seen: list[ProcessStatus] = []
            called = asyncio.Event()

            def look() -> None:
                seen.append(backend.status("a"))
                if seen[-1].exit_signal:
                    called.set()

            stop = backend.listen("a", look)
            os.kill(status.pid or 0, signal.SIGKILL)
            await asyncio.wait_for(called.wait(), 1)
            assert seen[-1].exit_signal == signal.SIGKILL
            stop()
            count = len(seen)
            await backend.restart("a")
            await backend.wait("a", up, timeout_s=5)
            assert len(seen) == count

        self.run(tmp_path, scenario)

    def test_the_last_lines_of_a_log(self, tmp_path: Path) -> None:
        """Output and errors in one log, each line with its time, across rotated files, also when fewer are there."""

        async def scenario(backend: ProcessBackend) -> None:
            began = time.time()
            text = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; done; echo error >&2; printf half; exec sleep 1000"
            await self.started(backend, "a", script(text, log_bytes=4096, log_files=20))
            await self.ends_with(backend, "error")
            lines = await backend.logs("a", lines=3)
            assert texts(lines) == ["line 399", "line 400", "error"]
            assert all(began - 1 < (line.at or 0) < time.time() + 1 for line in lines)
            assert texts(await backend.logs("a", lines=1000)) == [*(f"line {i}" for i in range(1, 401)), "error"]
            assert list((tmp_path / "logs/a").glob("@*"))
            assert await backend.logs("b") == []

        self.run(tmp_path, scenario)

    def test_a_log_is_followed_across_rotation(self, tmp_path: Path) -> None:
        """A reader that looks now and then gets every line once and in order."""

        async def scenario(backend: ProcessBackend) -> None:
            await backend.create("a", script(
                "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000", log_bytes=8192, log_files=100
            ))  # fmt: skip
            cursor = backend.cursor("a", from_start=True)
            await backend.start("a")
            lines: list[str] = []
            deadline = time.monotonic() + 60
            while len(lines) < 5000 and time.monotonic() < deadline:
                lines += texts(cursor.read(random.choice([100, 10_000, 1_000_000])))
                await asyncio.sleep(random.choice([0, 0.005, 0.05]))
            cursor.close()
            wrong = [(i, line) for i, line in enumerate(lines, 1) if line != f"line {i}"]
            assert (len(lines), wrong[:3]) == (5000, []), (len(lines), wrong[:3], cursor.missed)
            assert cursor.missed == 0

        self.run(tmp_path, scenario)

    def test_following_gives_what_comes(self, tmp_path: Path) -> None:
        """From the moment on at which it begins."""

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(backend, "a", script("echo old; while read line; do echo got $line; done < pipe"))
            await self.lines(backend, "a", 1)
            await backend.create("b", script("echo first; sleep 0.3; echo second; exec sleep 1000"))
            got: list[str] = []

            async def follow() -> None:
                async for line in backend.follow("b", interval_s=0.02):
                    got.append(line.text)
                    if len(got) == 2:
                        return

            task = asyncio.create_task(follow())
            await asyncio.sleep(0.05)
            await backend.start("b")
            await asyncio.wait_for(task, 5)
            assert got == ["first", "second"]

        self.run(tmp_path, scenario)

    def test_a_long_line_is_broken_and_nothing_of_it_lost(self, tmp_path: Path) -> None:
        """A line of 300 kB comes as lines of at most 64 kB."""

        async def scenario(backend: ProcessBackend) -> None:
            text = "head -c 300000 /dev/zero | tr '\\0' x; echo; echo after; exec sleep 1000"
            await self.started(backend, "a", script(text))
            await self.ends_with(backend, "after")
            lines = texts(await backend.logs("a"))
            assert "".join(lines[:-1]) == "x" * 300_000
            assert max(map(len, lines)) <= 65_536

        self.run(tmp_path, scenario)

    def test_a_log_is_bounded(self, tmp_path: Path) -> None:
        """However much is written, only so many files of so many bytes stay."""

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(
                backend,
                "a",
                script("yes hello | head -c 3000000; echo end; exec sleep 1000", log_bytes=100_000, log_files=3),
            )
            await self.ends_with(backend, "end")
            files = list((tmp_path / "logs/a").glob("@*"))
            assert len(files) == 3
            assert sum(file.stat().st_size for file in (tmp_path / "logs/a").iterdir()) <= 4 * (100_000 + 65_536)

        self.run(tmp_path, scenario)

    @pytest.mark.parametrize("name", ["n" * 200, "ü" * 100, "press 1 – Köln", 'it\'s $HOME `x` "q"', "-n", "@x"[1:]])
    def test_names_that_are_odd(self, tmp_path: Path, name: str) -> None:
        """Long, unicode, with spaces and signs: each works like any other."""

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(backend, name, script("echo hello; exec sleep 1000"))
            assert await self.lines(backend, name, 1) == ["hello"]
            assert backend.names() == [name]
            await backend.remove(name)
            assert backend.names() == []
            assert not (tmp_path / "logs" / name).exists()

        self.run(tmp_path, scenario)

    def test_names_that_are_refused(self, tmp_path: Path) -> None:
        """What could be another folder's name, or none, is refused by every method, and nothing is touched."""

        async def scenario(backend: ProcessBackend) -> None:
            before = everything(tmp_path)
            for name in (
                "",
                " ",
                ".",
                "..",
                "a..b",
                "../x",
                "a/b",
                ".hidden",
                "@guard",
                "a\nb",
                "a\0b",
                "n" * 201,
                "ü" * 101,
                "\ud800",
            ):
                for call in (
                    backend.create(name, SLEEP),
                    backend.start(name),
                    backend.remove(name),
                    backend.logs(name),
                ):
                    with pytest.raises(ProcessError, match="cannot be the name"):
                        await call
                assert backend.status(name).state == "missing"
            assert everything(tmp_path) == before

        self.run(tmp_path, scenario)

    def test_a_program_that_cannot_be_run(self, tmp_path: Path) -> None:
        """Missing or not executable: it is down with that as its reason, and its log names the program."""
        plain = tmp_path / "plain.txt"
        plain.write_text("no program")

        async def scenario(backend: ProcessBackend) -> None:
            for name, program, code, words in (
                ("a", "/nonexistent/program", 127, "not found"),
                ("b", str(plain), 126, "cannot be executed"),
                ("c", str(tmp_path), 126, "cannot be executed"),
            ):
                await backend.create(name, ProcessSpec((program,)))
                await backend.start(name)
                status = await backend.wait(
                    name, lambda status: down(status) and status.exit_code is not None, timeout_s=5
                )
                assert status.exit_code == code
                assert words in str(status)
                assert program in (await self.lines(backend, name, 1))[0]

        self.run(tmp_path / "processes", scenario)

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        """Starting it says so; removing it is no fault."""

        async def scenario(backend: ProcessBackend) -> None:
            for call in (backend.start("a"), backend.stop("a"), backend.restart("a")):
                with pytest.raises(ProcessError, match="there is no process 'a'; create it first"):
                    await call
            await backend.remove("a")
            assert await backend.history("a") == []
            assert backend.spec("a") is None

        self.run(tmp_path, scenario)

    def test_a_removed_process_leaves_nothing(self, tmp_path: Path) -> None:
        """Neither running, nor a folder, nor a log; and the name can be used again."""

        async def scenario(backend: ProcessBackend) -> None:
            for _ in range(2):
                status = await self.started(backend, "a", script("echo hello; exec sleep 1000"))
                await backend.remove("a")
                assert not there(status.pid or 0)
                assert backend.status("a").state == "missing"
            assert not list((tmp_path / "logs").iterdir())
            assert not list((tmp_path / "build").iterdir())

        self.run(tmp_path, scenario)

    @pytest.mark.parametrize("damage", ["spec", "program", "supervise", "all", "file"])
    def test_a_folder_damaged_by_hand(self, tmp_path: Path, damage: str) -> None:
        """Creating it again heals it, whatever was done to it, and there is one process then, not two."""
        folder = tmp_path / "scan/a"

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(backend, "a", SLEEP)
            before = await backend.wait("a", ready, timeout_s=5)
            if damage == "spec":
                (folder / "data/spec.json").write_text("{")
            elif damage == "program":
                shutil.rmtree(folder / "files")
            elif damage == "supervise":
                shutil.rmtree(folder / "supervise")
            else:
                while folder.exists():  # its supervisor may be writing there
                    shutil.rmtree(folder, ignore_errors=True)
                if damage == "file":
                    folder.write_text("not a folder")
            if damage in ("supervise", "file"):
                assert backend.status("a").state == "unknown"
                assert "damaged" in backend.status("a").fault
            await backend.create("a", SLEEP)
            await backend.start("a")
            after = await backend.wait("a", up, timeout_s=5)
            await within(5, lambda: living(tmp_path) == {"a": [after.pid]})
            assert not there(before.pid or 0) or before.pid == after.pid

        self.run(tmp_path, scenario)

    def test_a_clock_that_was_set_changes_no_uptime(self, tmp_path: Path) -> None:
        """The stamps of a status that lie in the future, or far back, do not make a process younger or older."""
        path = tmp_path / "scan/a/supervise/status"

        async def scenario(backend: ProcessBackend) -> None:
            await self.started(backend, "a", SLEEP)
            content = path.read_bytes()
            for shift in (86_400, -10 * 86_400):
                changed = int.from_bytes(content[:8], "big") + shift
                path.with_name("status.test").write_bytes(changed.to_bytes(8, "big") + content[8:])
                path.with_name("status.test").rename(path)
                status = backend.status("a")
                assert status.up
                assert abs((status.since or 0) - time.time() - shift) < 10
                assert 0 <= (status.uptime_s or -1) < 10

        self.run(tmp_path, scenario)

    def test_an_agent_that_is_killed_is_followed_by_one_that_adopts(self, tmp_path: Path) -> None:
        """The process goes on, is the same one, and obeys the new agent."""

        async def test() -> None:
            agent = await self.agent(tmp_path)
            assert agent.stdout is not None
            assert await asyncio.wait_for(agent.stdout.readline(), 20) == b"ready\n"
            await within(5, lambda: living(tmp_path))
            before = living(tmp_path)
            agent.kill()
            await agent.wait()
            async with self.opened(tmp_path) as backend:
                status = backend.status("a")
                assert {"a": [status.pid]} == before == living(tmp_path)
                assert not await backend.create("a", SLEEP)
                os.kill(status.pid or 0, signal.SIGKILL)  # news comes to the new agent
                await backend.wait("a", lambda status: status.exit_signal == signal.SIGKILL, timeout_s=2)
                await backend.stop("a")
                await backend.wait("a", down, timeout_s=5)

        asyncio.run(test())
        assert living(tmp_path) == {}

    def test_without_an_agent_everything_ends_after_a_while(self, tmp_path: Path) -> None:
        """When the grace period has passed and no agent came, processes and tree are gone."""

        async def test() -> None:
            agent = await self.agent(tmp_path, GRACE_S="0.5")
            assert agent.stdout is not None
            assert await asyncio.wait_for(agent.stdout.readline(), 20) == b"ready\n"
            await asyncio.sleep(1.2)
            assert living(tmp_path)["a"]  # an agent is there: nothing ends
            agent.kill()
            await agent.wait()
            await within(10, lambda: not living(tmp_path) and not self.tree_lives(tmp_path))

        asyncio.run(test())

    def test_a_directory_that_was_deleted_ends_its_tree(self, tmp_path: Path) -> None:
        """Also when nobody can reach it any more: after the grace period nothing of it runs."""
        directory = tmp_path / "gone"

        async def test() -> None:
            agent = await self.agent(directory, GRACE_S="0.5")
            assert agent.stdout is not None
            assert await asyncio.wait_for(agent.stdout.readline(), 20) == b"ready\n"
            head = self.head(directory)
            agent.kill()
            await agent.wait()
            while directory.exists():
                shutil.rmtree(directory, ignore_errors=True)
            await within(10, lambda: not there(head) and not living(directory))

        asyncio.run(test())

    def test_an_agent_may_let_go(self, tmp_path: Path) -> None:
        """What it leaves running is adopted by the next; and a directory whose tree has ended begins with everything down."""

        async def test() -> None:
            first = await open_backend(self.kind, tmp_path)
            before = await self.started(first, "a", SLEEP)
            assert await first.close(leave_running=True) == []
            with pytest.raises(ProcessError, match="closed"):
                await first.start("a")
            async with self.opened(tmp_path) as second:
                assert second.status("a").pid == before.pid
            async with self.opened(tmp_path) as third:
                status = await third.wait("a", lambda status: not status.fault, timeout_s=5)
                assert (status.state, status.want) == ("down", "down")
                assert third.spec("a") == SLEEP
                assert [record.signal for record in await third.history("a")] == [signal.SIGTERM]

        asyncio.run(test())
        assert living(tmp_path) == {}

    def test_a_directory_has_one_agent(self, tmp_path: Path) -> None:
        """A second one is refused, and told by whom it is used."""

        async def scenario(backend: ProcessBackend) -> None:
            with pytest.raises(ProcessError, match=f"in use by another agent .pid {os.getpid()}."):
                await open_backend(self.kind, tmp_path)

        self.run(tmp_path, scenario)

    def test_a_tree_whose_head_is_killed_is_begun_anew(self, tmp_path: Path) -> None:
        """What was wanted up is up again, once, and what was down stays down."""

        async def scenario(backend: ProcessBackend) -> None:
            before = await self.started(backend, "a", SLEEP)
            await backend.create("b", SLEEP)
            os.kill(self.head(tmp_path), signal.SIGKILL)
            after = await backend.wait("a", lambda status: up(status) and status.pid != before.pid, timeout_s=15)
            await within(5, lambda: living(tmp_path) == {"a": [after.pid]})
            await backend.stop("a")
            await backend.wait("a", down, timeout_s=5)
            await backend.wait("b", down, timeout_s=5)

        self.run(tmp_path, scenario)

    def test_who_escaped_is_ended_and_named_at_the_end(self, tmp_path: Path) -> None:
        """A helper in a session of its own does not hold up the end."""

        async def test() -> None:
            backend = await open_backend(self.kind, tmp_path)
            await self.started(backend, "a", script("setsid sh -c 'echo $$; exec sleep 1000' & wait"))
            helper = int((await self.lines(backend, "a", 1))[0])
            assert await asyncio.wait_for(backend.close(), 10) == ["a"]
            assert not there(helper)

        asyncio.run(test())
        assert not self.tree_lives(tmp_path)

    def test_orders_that_cross_each_other(self, tmp_path: Path) -> None:
        """Many calls at once for a few names end in one process each, in the state asked for last."""

        async def scenario(backend: ProcessBackend) -> None:
            names = ["a", "b", "c"]

            async def orders(name: str, seed: int) -> None:
                dice = random.Random(seed)
                for _ in range(6):
                    with suppress(ProcessError):  # somebody else has just removed it
                        verb = dice.choice(["create", "start", "stop", "restart", "remove"])
                        if verb == "create":
                            await backend.create(name, dice.choice([SLEEP, script("exec sleep 2000")]))
                        else:
                            await getattr(backend, verb)(name)

            await asyncio.gather(*(orders(name, seed) for name in names for seed in range(3)))
            for name in names:
                await self.started(backend, name, SLEEP)
            expected = {name: [backend.status(name).pid] for name in names}
            await within(5, lambda: living(tmp_path) == expected)

        self.run(tmp_path, scenario)

    def test_a_spec_that_cannot_work_is_refused(self) -> None:
        """All its faults at once."""
        with pytest.raises(ProcessError) as refused:
            ProcessSpec(
                (), environment={"A=B": "x"}, files={"../x": ""}, stop_signal="NONE", stop_timeout_s=0, log_bytes=1
            )
        with pytest.raises(ProcessError, match="one text"):
            ProcessSpec("sleep 1000")  # type: ignore[arg-type]
        with pytest.raises(ProcessError, match="UTF-8"):
            ProcessSpec(("echo", "\ud800"))
        for words in ("names no program", "'A=B'", "'../x'", "'NONE'", "stop_timeout_s", "log_bytes"):
            assert words in str(refused.value)


class ProcessEndurance(Processes):
    """What takes longer, or needs root."""

    def test_a_flood_of_100_mb(self, tmp_path: Path) -> None:
        """Takes a bounded place on the disk, and others are not held up meanwhile."""

        async def scenario(backend: ProcessBackend) -> None:
            line = "x" * 99
            await self.started(
                backend, "a", script(f"yes {line} | head -c 100000000; echo end; exec sleep 1000", log_files=3)
            )
            other = await self.started(backend, "b", SLEEP)
            assert other.up
            await self.ends_with(backend, "end", 60)
            assert sum(file.stat().st_size for file in (tmp_path / "logs/a").iterdir()) < 4 * 1_100_000

        self.run(tmp_path, scenario)

    def test_a_hundred_at_once(self, tmp_path: Path) -> None:
        """All are created, started, seen and ended together, within the time that is promised."""
        names = [f"service-{i}" for i in range(100)]

        async def scenario(backend: ProcessBackend) -> None:
            began = time.monotonic()
            await asyncio.gather(*(self.started(backend, name, SLEEP) for name in names))
            assert time.monotonic() - began < 30
            await asyncio.gather(*(backend.wait(name, ready, timeout_s=10) for name in names))
            statuses = backend.statuses()
            assert sorted(statuses) == sorted(names)
            assert all(status.ready for status in statuses.values())
            expected = {name: [status.pid] for name, status in statuses.items()}
            assert living(tmp_path) == expected
            await asyncio.gather(*(backend.stop(name) for name in names[:50]))
            await asyncio.gather(*(backend.wait(name, down, timeout_s=10) for name in names[:50]))
            await asyncio.gather(*(backend.remove(name) for name in names[25:75]))
            assert len(backend.names()) == 50

        self.run(tmp_path, scenario)

    def test_an_agent_killed_at_each_step(self, tmp_path: Path) -> None:
        """Wherever it dies, there is never more than one process of a name, and the next agent gets what it asks for."""

        async def point(step: int) -> None:
            directory = tmp_path / str(step)
            agent = await self.agent(directory, step)
            output, _ = await agent.communicate()
            assert agent.returncode == -signal.SIGKILL or output
            assert all(len(pids) == 1 for pids in living(directory).values()), step
            async with self.opened(directory) as backend:
                for name in ("a", "b"):
                    status = await self.started(backend, name, SLEEP)
                    expected = [status.pid]
                    await within(5, lambda: living(directory).get(name) == expected)  # noqa: B023 - awaited here
                await backend.remove("a")
                assert living(directory).keys() == {"b"}, step
            assert living(directory) == {}, step
            shutil.rmtree(directory)

        async def lane(first: int, count: int) -> None:
            for step in range(first, count, 4 * 7):
                await point(step)

        async def test() -> None:
            whole = await self.agent(tmp_path / "whole", 1_000_000)
            count = int((await whole.communicate())[0])
            assert count > 50
            first = random.randrange(1, 8)
            await asyncio.gather(*(lane(first + 7 * i, count) for i in range(4)))

        asyncio.run(test())

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
    def test_a_full_disk(self, tmp_path: Path) -> None:
        """A process goes on and is not held up by its log; what cannot be created says so; with room again, the log goes on."""
        small = tmp_path / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=False).returncode:
            pytest.skip("a small file system cannot be mounted here")

        async def scenario(backend: ProcessBackend) -> None:
            text = 'i=0; while :; do i=$((i+1)); echo "line $i $(head -c 2000 /dev/zero | tr "\\0" x)"; echo $i > $COUNT; sleep 0.01; done'
            count = tmp_path / "count"
            status = await self.started(
                backend, "a", script(text, environment={"COUNT": str(count)}, log_bytes=500_000)
            )
            filler = small / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            await within(5, count.exists)
            before = int(count.read_text() or 0)
            await within(30, lambda: int(count.read_text() or 0) > before + 200)  # more than any pipe holds
            assert backend.status("a").pid == status.pid
            with pytest.raises(ProcessError, match="No space left"):
                await backend.create("b", script("exec sleep 1000", files={"big": "x" * 1_000_000}))
            assert not backend.exists("b")
            os.kill(status.pid or 0, signal.SIGKILL)
            ended = await backend.wait("a", lambda now: now.pid != status.pid, timeout_s=10)
            assert ended.state != "up" or ended.pid != status.pid
            filler.unlink()
            last = int(count.read_text() or 0)
            await backend.wait("a", up, timeout_s=10)

            async def goes_on() -> bool:
                lines = [line.split() for line in texts(await backend.logs("a", lines=1))]
                return any(words[0] == "line" and int(words[1]) >= last for words in lines)

            await eventually(goes_on, 15)

        try:
            self.run(small / "processes", scenario)
        finally:
            subprocess.run(["umount", "-l", str(small)], check=False)

"""Flows as processes of the real Benthos: started, stopped, looked at, each under the name of its worker.

One flow is a file (`deploy`), a port (`Ports`), a process (`ProcessBackend`) and what is remembered of its log and its counters. The
digest of its config is in the process's environment and in the path under which it answers, so that what runs can be told from what is
wanted, also by an agent that was started after it. Only another digest, another port or another program restarts it. A file ``wanted``
tells a flow whose input has ended from one that was stopped: both processes exit with 0.

Nothing is opened before the first flow needs it: an agent whose flows all run embedded starts no supervisor and asks no program.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from setpoint.services.benthos.config import Document, Level, document
from setpoint.services.benthos.deploy import deploy
from setpoint.services.benthos.endpoints import Endpoints, Scan
from setpoint.services.benthos.facts import FlowFacts, facts_of
from setpoint.services.benthos.logs import LogErrors
from setpoint.services.benthos.program import Program, Programs
from setpoint.services.benthos.traffic import Traffic
from setpoint.services.blocking import in_thread
from setpoint.services.ports import Ports
from setpoint.services.processes import LogCursor, ProcessBackend, ProcessSpec
from setpoint.services.processes.spec import INHERITED
from setpoint.services.swap import candidate, swap

DIGEST: Final = "SETPOINT_FLOW"
"""The variable that says which config a process runs."""
STOP_S: Final = 5.0
"""Benthos delivers what it has read when it is told to stop; after that it is killed."""
PORTS: Final = "ports.json"
WANTED: Final = "wanted"
TOKEN: Final = "token"
LINK: Final = "/#"
"""Stands between the name of a flow and that of a link in the names of ports."""
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::[^}]*)?\}")

OpenBackend = Callable[[], Awaitable[ProcessBackend]]


class Refused(RuntimeError):
    """The flow cannot be started as it is; what ran before goes on. The message says why, in the words of the program where it judged."""


class Rejected(Refused):
    """The program says that this config cannot work: trying again does not help, another config does."""


class Look(msgspec.Struct, frozen=True):
    """One look at a flow. `current`: it runs the config that is wanted; `finished`: its input came to an end and it with it."""

    facts: FlowFacts = FlowFacts()
    current: bool = False
    finished: bool = False
    state: str = "not started"
    """How its process is, for people."""


class Link(NamedTuple):
    """A way over loopback to or from the process of a flow: where the side that takes listens, and what the side that gives must show."""

    port: int = 0
    token: str = ""


class _One:
    """What is remembered of one flow while this agent runs."""

    def __init__(self, wanted: Document) -> None:
        self.wanted = wanted
        self.endpoints = Endpoints(wanted.port, wanted.digest)
        self.traffic = Traffic()
        self.log = LogErrors()
        self.cursor: LogCursor | None = None
        self.port_lost = False

    def close(self) -> None:
        self.endpoints.close()
        if self.cursor is not None:
            self.cursor.close()
            self.cursor = None


class BenthosFlows:
    """Flows in one directory. For the event loop's thread.

    `open_backend` gives the processes, once, when the first flow needs them.
    """

    def __init__(self, directory: Path, programs: Programs, *, open_backend: OpenBackend) -> None:
        self._directory, self.programs = directory, programs
        self._open_backend, self._env = open_backend, programs.env
        self._backend: ProcessBackend | None = None
        self._opening = asyncio.Lock()
        self._ports: Ports | None = None
        self._flows: dict[str, _One] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._tokens: dict[str, str] = {}

    async def start(self, name: str, config: Mapping[str, Any], *, level: Level = "INFO") -> None:
        """Have this flow running with this config. Idempotent. The new config is judged before what runs is touched.

        Raises `Refused`, `BenthosConfigError` for a config that cannot be written, `ProcessError` and `NoPort`.
        """
        async with self._turns.setdefault(name, asyncio.Lock()):
            program = await self._program()
            backend = await self._processes()
            one = await self._one(name, config, level, running=backend.status(_process(name)).up)
            path = self._directory / _process(name) / "benthos.yaml"
            environment = self._environment(one.wanted)
            deployed = await deploy(one.wanted, path, program, env={**self._inherited(), **environment})
            if deployed.outcome == "refused":
                raise (Rejected if deployed.judged else Refused)(deployed.reason)
            spec = ProcessSpec(program.run(path), environment=environment, restart="on-failure", stop_timeout_s=STOP_S)
            await backend.create(_process(name), spec)
            await in_thread(path.with_name(WANTED).touch)
            await backend.start(_process(name))

    async def stop(self, name: str) -> None:
        """Want it down. Idempotent; returns without waiting."""
        async with self._turns.setdefault(name, asyncio.Lock()):
            if self._begun():
                backend = await self._processes()
                wanted = self._directory / _process(name) / WANTED
                await in_thread(lambda: wanted.unlink(missing_ok=True))
                if backend.exists(_process(name)):
                    await backend.stop(_process(name))

    async def remove(self, name: str) -> None:
        """Stop it and forget it: its file, its ports, its token, its log. Idempotent."""
        async with self._turns.setdefault(name, asyncio.Lock()):
            one = self._flows.pop(name, None)
            if one is not None:
                one.close()
            if held := await self._ports_of(name):
                await (await self._processes()).remove(_process(name))
                self._tokens.pop(name, None)
                await in_thread(lambda: shutil.rmtree(self._directory / _process(name), ignore_errors=True))
                ports = await self._given()
                for port in held:
                    await in_thread(partial(ports.release, port))
        self._turns.pop(name, None)

    async def _ports_of(self, name: str) -> list[str]:
        """The names of its ports; there are none where it never was, since a port comes before all else."""
        if not self._begun():
            return []
        return [known for known in (await self._given()).names() if known.partition(LINK)[0] == name]

    async def link(self, name: str, which: str, *, held: bool) -> Link:
        """A way to or from the process of this flow, the same also after ``kill -9``, until the flow is removed.

        `held`: the side that takes listens, and it is no wonder that the port is taken; else one that somebody took is given up for
        another. Raises `NoPort`, and `OSError` when the token cannot be kept.
        """
        ports = await self._given()
        claim = await in_thread(lambda: ports.claim(f"{name}{LINK}{which}", running=held))
        return Link(claim.port, await in_thread(lambda: self._token(name, make=True)))

    async def known_link(self, name: str, which: str) -> Link:
        """The same, where it was asked for before; else one to nowhere."""
        if not self._begun():
            return Link()
        port = (await self._given()).port(f"{name}{LINK}{which}")
        return Link(port, await in_thread(lambda: self._token(name, make=False))) if port is not None else Link()

    def _token(self, name: str, *, make: bool) -> str:
        """What is shown to prove to be the other side: kept in a file for its owner only."""
        if name not in self._tokens:
            file = self._directory / _process(name) / TOKEN
            if not file.exists():
                if not make:
                    return ""
                swap(candidate(file, secrets.token_urlsafe(32).encode()), file)
            self._tokens[name] = file.read_text(encoding="ascii")
        return self._tokens[name]

    async def keep_only(self, names: Collection[str]) -> None:
        """Remove all others: what an agent left behind that was killed before the config changed."""
        if self._begun():
            known = {port.partition(LINK)[0] for port in (await self._given()).names()}
            for name in known.difference(names):
                await self.remove(name)

    async def look(self, name: str, config: Mapping[str, Any], *, level: Level = "INFO") -> Look:
        """How the flow is, compared with this config. Raises `ProcessError`, `BenthosConfigError`."""
        if not self._begun():
            return Look()
        ports = await self._given()
        port = ports.port(name)
        if port is None:
            return Look()
        backend = await self._processes()
        one = self._remembered(name, document(config, port=port, level=level))
        status = backend.status(_process(name))
        scan = await one.endpoints.scan() if status.up else Scan()
        await self._read_log(name, one, backend)
        loop, wall = asyncio.get_running_loop().time(), time.time()
        uptime = status.uptime_s or 0.0
        facts = facts_of(
            scan, one.traffic, one.log, pid=status.pid if status.up else None, uptime_s=uptime, now=loop, log_now=wall
        )
        one.port_lost = bool(facts.port_lost)
        spec = backend.spec(_process(name))
        current = spec is not None and spec.environment.get(DIGEST) == one.wanted.digest
        ended = status.state == "down" and status.exit_code == 0
        finished = ended and (self._directory / _process(name) / WANTED).exists()
        return Look(facts, current, finished, str(status))

    def listen(self, name: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call this when the process of a flow may have changed; returns what ends it. Nothing is heard before it was first started."""
        return self._backend.listen(_process(name), call) if self._backend is not None else _nothing

    async def close(self) -> None:
        """Let go of everything; what runs is stopped."""
        for one in self._flows.values():
            one.close()
        self._flows.clear()
        if self._backend is not None:
            backend, self._backend = self._backend, None
            await backend.close()

    # what flows share

    def _begun(self) -> bool:
        """Whether there ever was a flow in this directory."""
        return self._backend is not None or self._directory.exists()

    async def _program(self) -> Program:
        found = await self.programs.find()
        if found.program is None:
            raise Refused(found.reason)
        return found.program

    async def _processes(self) -> ProcessBackend:
        async with self._opening:
            if self._backend is None:
                self._backend = await self._open_backend()
            return self._backend

    async def _given(self) -> Ports:
        if self._ports is None:
            self._ports = await in_thread(lambda: Ports(self._directory / PORTS))
        return self._ports

    async def _one(self, name: str, config: Mapping[str, Any], level: Level, *, running: bool) -> _One:
        """The flow with its port, which is another one where its own was lost."""
        ports, known = await self._given(), self._flows.get(name)
        lost = known is not None and known.port_lost
        claim = await in_thread(lambda: ports.move(name) if lost else ports.claim(name, running=running))
        return self._remembered(name, document(config, port=claim.port, level=level))

    def _remembered(self, name: str, wanted: Document) -> _One:
        """What is known of the flow; nothing yet where it is another document than before."""
        one = self._flows.get(name)
        if one is None or one.wanted != wanted:
            if one is not None:
                one.close()
            one = self._flows[name] = _One(wanted)
        return one

    async def _read_log(self, name: str, one: _One, backend: ProcessBackend) -> None:
        if one.cursor is None:
            one.cursor = backend.cursor(_process(name), from_start=True)
        cursor = one.cursor
        for line in await in_thread(cursor.read):
            one.log.add(line.text, at=line.at or time.time())

    def _environment(self, wanted: Document) -> dict[str, str]:
        """The digest, and of the agent's environment what the config asks for by name."""
        asked = {name: self._env[name] for name in _VARIABLE.findall(wanted.text) if name in self._env}
        return {**asked, DIGEST: wanted.digest}

    def _inherited(self) -> dict[str, str]:
        return {name: self._env[name] for name in INHERITED if name in self._env}


def _process(name: str) -> str:
    """The name of a flow as one of a process: ``agent/flows/a`` is ``agent%2Fflows%2Fa``."""
    return quote(name, safe="-_ ").replace(".", "%2E")


def _nothing() -> None:
    return None

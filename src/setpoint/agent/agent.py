"""The agent: a config file, kept in force.

It puts the parts together (broker, flow engine, supervisor, store), applies the file to the supervisor, and applies it again whenever
the file changes. Everything that can go wrong with the file ends up in `config_status`; nothing that is wrong with it stops what runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import structlog

from setpoint.agent.checking import Checker
from setpoint.agent.config import Agent as AgentSettings
from setpoint.agent.config import Configuration
from setpoint.agent.environment import Windows, programs_of, windows_of
from setpoint.agent.heartbeat import Heartbeat
from setpoint.agent.loading import ConfigStatus, Loader
from setpoint.agent.lock import DataLock
from setpoint.agent.processes import Processes
from setpoint.agent.tree import ROOT, flow_paths, registry_for, tree_of
from setpoint.agent.vitals import Vitals
from setpoint.agent.watching import changes_of
from setpoint.control import Supervisor
from setpoint.control.recorder import Recorder
from setpoint.flows import FlowEngine
from setpoint.namespace.browser import Browser
from setpoint.namespace.contracts import ContractBook
from setpoint.places import BENTHOS, FLIGHT, LAST_GOOD, LETTERS, PROCESSES, STORE
from setpoint.services import Contacts
from setpoint.services.benthos.flows import BenthosFlows
from setpoint.services.blocking import in_thread
from setpoint.store import SqliteStore, StoreError, Transition
from setpoint.workers.broker import NamespaceLog
from setpoint.workers.keeping import keeping

STOP_S: Final = 8.0
"""Seconds within which an agent has stopped, whatever its parts do. Container engines give a program 10 s."""

log = structlog.get_logger(__name__)


class Agent:
    """One agent over one config file and one data directory.

    Raises `DataInUse` when another agent has the directory, `BadEnvironment` when a variable of the environment cannot be used, `OSError`
    when the directory cannot be used.
    """

    def __init__(
        self, config: Path, *, data: Path, env: Mapping[str, str], processes: Literal["auto", "s6", "builtin"] = "auto"
    ) -> None:
        self.file = config
        self.data = data
        self.letters = data / LETTERS
        self._windows: Windows = windows_of(env)
        self._lock = DataLock(data, config=config)
        self._processes = Processes(processes, data / PROCESSES)
        self.broker = NamespaceLog(data, processes=self._processes.open)
        self.browser = Browser(self.broker)
        contacts = Contacts()
        self.contracts = ContractBook()
        self.broker.undeclared = lambda: self.contracts.undeclared
        self._engine = FlowEngine(
            self.broker, contacts=contacts, contracts=self.contracts, letters=self.letters, base=config.resolve().parent
        )
        programs = programs_of(env)
        self._benthos = BenthosFlows(data / BENTHOS, programs, open_backend=self._processes.open)
        checker = Checker(source=config.name, env=env, engine=self._engine, programs=programs)
        self._loader = Loader(config, last_good=data / LAST_GOOD, check=checker.check, wall=time.time)
        self._following: list[asyncio.Task[None]] = []
        self._looking = asyncio.Lock()
        self.store = SqliteStore(data / STORE)
        self.recorder = Recorder(data / FLIGHT)
        kept = keeping(self.store.trouble, lambda: self.recorder.trouble)
        troubles = {"store": self.store.trouble, "recorder": lambda: self.recorder.trouble}
        self._vitals = Vitals(troubles)
        self.supervisor = Supervisor(
            registry_for(
                engine=self._engine,
                benthos=self._benthos,
                log=self.broker,
                browser=self.browser,
                contacts=contacts,
                data=data,
                kept=kept,
                vitals=self._vitals.read,
            ),
            root=ROOT,
            recorder=self.recorder,
            store=self.store,
        )
        self.supervisor.listen(_log_transition)
        self._heartbeat = Heartbeat(self.supervisor, troubles)
        self._loader.load()

    @property
    def settings(self) -> AgentSettings:
        """The agent's own settings from the configuration in force."""
        return self._loader.in_force.agent if self._loader.in_force else AgentSettings()

    def config_status(self) -> ConfigStatus:
        """What became of the config file."""
        return self._loader.status

    async def start(self) -> None:
        """Bring up what the file asks for, and follow the file from now on. Returns at once."""
        self._apply()
        self._following = [asyncio.create_task(each) for each in (self._follow_file(), self._heartbeat.keep())]
        self._vitals.begin(self._following, self.supervisor.core.lag)

    async def reload(self) -> bool:
        """Read the file now; True when what it says is in force. What came of it is in the log. A bad file changes nothing."""
        before = self._loader.status
        await self._look()
        status = self._loader.status
        if status is before and status.ok:
            log.info("config read again; nothing in it is new")
        elif status is before:
            self._log_refused()
        return status.ok

    async def stop(self, budget: float = STOP_S) -> list[str]:
        """Stop everything within the budget, in seconds. Always returns: what had not stopped by then, workers by their paths.

        Two thirds of it are for the workers, the rest for what they ran on: flows, then the broker, and beside them store and recording.
        """
        self._vitals.end()
        for task in self._following:
            task.cancel()
        left = await self.supervisor.stop(budget * 2 / 3)
        left += await self._let_go(budget / 3)
        self._lock.close()
        return left

    def unseen(self) -> list[str]:
        """The paths of workers that have not been observed since they came to life."""
        return [worker.path for worker in self.supervisor.workers() if worker.state in ("to_be_created", "creating")]

    def ready(self) -> tuple[bool, str]:
        """Whether the agent does what the file says, and if not, what is missing."""
        status = self._loader.status
        if not status.ok:
            return False, f"config: {status.problems[0].text if status.problems else 'nothing is in force'}"
        missing = self.unseen()
        if missing:
            return False, f"not observed yet: {', '.join(missing[:5])}" + (
                f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            )
        return True, ""

    async def _let_go(self, seconds: float) -> list[str]:
        """Close what the workers ran on. Returns what could not be closed within so many seconds, and why."""
        streams = asyncio.create_task(self._close_streams(seconds))
        closing = {
            "processes": asyncio.create_task(self._close_processes(streams, seconds)),
            "flows and broker": streams,
            "store": asyncio.create_task(self._close_store(seconds)),
            "recording": asyncio.create_task(in_thread(self.recorder.close)),
        }
        await asyncio.wait(closing.values(), timeout=seconds)
        left = []
        for name, task in closing.items():
            if not task.done():
                task.cancel()
                left.append(f"{name}: not closed within {seconds:.1f} s")
            elif error := task.exception():
                left.append(f"{name}: {str(error) or type(error).__name__}")
        return left

    async def _close_processes(self, streams: asyncio.Task[None], seconds: float) -> None:
        """End them once flows and broker are closed: the broker may run on one of them."""
        await asyncio.wait({streams}, timeout=seconds / 2)
        await self._benthos.close()
        await self._processes.close()

    async def _close_streams(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds / 2):
                await self._engine.close(timeout=seconds / 2)
        except TimeoutError:
            raise TimeoutError(f"flows were cut off after {seconds / 2:.1f} s") from None
        finally:
            await self.browser.end()
            await self.broker.close()

    async def _close_store(self, seconds: float) -> None:
        stored = await in_thread(lambda: self.store.flush(0.8 * seconds))
        await in_thread(self.store.close)
        if not stored:
            raise StoreError(f"the last news is lost: {self.store.trouble() or 'the disk is too slow'}")

    def _apply(self) -> None:
        configuration, status = self._loader.in_force, self._loader.status
        for problem in status.problems:
            (log.error if problem.severity == "error" else log.warning)("config", problem=problem.text)
        if configuration is None:
            return
        self.broker.set_retention(
            retention_ms=configuration.broker.retention_ms, retention_bytes=configuration.broker.retention_bytes
        )
        if configuration.models != self.contracts.current.models:
            self.contracts.put(configuration.contracts)
        self.broker.set_schemas(self.contracts.current.schemas, owner=configuration.node_name)
        self.supervisor.want(tree_of(configuration, self._windows))
        self._tidying = asyncio.ensure_future(self._tidy(configuration))
        log.info(
            "config in force", what=status.applied, bridges=len(configuration.bridges), flows=len(configuration.flows)
        )

    async def _tidy(self, configuration: Configuration) -> None:
        """Remove processes that no flow of the configuration has: what an agent left that was killed before the file changed."""
        try:
            await self._benthos.keep_only(flow_paths(configuration))
        except Exception as error:  # what is left over takes room and a port, and harms nothing
            log.warning("processes of earlier flows could not be removed", why=str(error) or type(error).__name__)

    async def _follow_file(self) -> None:
        async for _ in changes_of(self.file):
            await self._look()

    async def _look(self) -> None:
        """Look at the file and do what it says. Raises nothing: a defect in reading one text must not end the reading of the next."""
        async with self._looking:  # one after the other: an order to read may come while a change is being read
            try:
                await self._look_at_file()
            except Exception as error:
                self._loader.refuse(f"the file could not be read: {type(error).__name__}: {error}")
                log.exception("config not applied; what runs is left as it is")

    async def _look_at_file(self) -> None:
        before = self._loader.status
        if await in_thread(self._loader.load):  # a large file shall not hold up the flows
            self._apply()
        elif self._loader.status is not before and not self._loader.status.ok:
            self._log_refused()

    def _log_refused(self) -> None:
        for problem in self._loader.status.problems:
            log.error("config not applied; what runs is left as it is", problem=problem.text)


def _log_transition(record: object, transition: Transition | None) -> None:
    if transition is not None:
        event = f"{transition.path}: {transition.source} → {transition.target}"
        log.info(event, on=transition.event, reason=transition.reason)

"""The agent: a config file, kept in force.

It puts the parts together (broker, flow engine, supervisor, store), applies the file to the supervisor, and applies it again whenever
the file changes. Everything that can go wrong with the file ends up in `config_status`; nothing that is wrong with it stops what runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from setpoint.agent.checking import Checker
from setpoint.agent.config import Agent as AgentSettings
from setpoint.agent.environment import Windows, windows_of
from setpoint.agent.heartbeat import Heartbeat
from setpoint.agent.loading import ConfigStatus, Loader
from setpoint.agent.lock import DataLock
from setpoint.agent.tree import ROOT, registry_for, tree_of
from setpoint.agent.watching import changes_of
from setpoint.control import Supervisor
from setpoint.control.recorder import Recorder
from setpoint.flows import FlowEngine
from setpoint.namespace import EmbeddedBroker
from setpoint.places import BROKER, FLIGHT, LAST_GOOD, STORE
from setpoint.services import Contacts
from setpoint.services.blocking import in_thread
from setpoint.store import SqliteStore, Transition
from setpoint.workers.keeping import keeping

log = structlog.get_logger(__name__)


class Agent:
    """One agent over one config file and one data directory.

    Raises `DataInUse` when another agent has the directory, `BadEnvironment` when a variable of the environment cannot be used.
    """

    def __init__(self, config: Path, *, data: Path, env: Mapping[str, str]) -> None:
        self.file = config
        self.data = data
        self._windows: Windows = windows_of(env)
        self._lock = DataLock(data)
        self.broker = EmbeddedBroker(data / BROKER)
        contacts = Contacts()
        self._engine = FlowEngine(self.broker, contacts=contacts)
        checker = Checker(source=config.name, env=env, engine=self._engine)
        self._loader = Loader(config, last_good=data / LAST_GOOD, check=checker.check, wall=time.time)
        self._following: list[asyncio.Task[None]] = []
        self.store = SqliteStore(data / STORE)
        self.recorder = Recorder(data / FLIGHT)
        kept = keeping(self.store.trouble, lambda: self.recorder.trouble)
        self.supervisor = Supervisor(
            registry_for(engine=self._engine, broker_service=self.broker, contacts=contacts, data=data, kept=kept),
            root=ROOT,
            recorder=self.recorder,
            store=self.store,
        )
        self.supervisor.listen(_log_transition)
        self._heartbeat = Heartbeat(
            self.supervisor, {"store": self.store.trouble, "recorder": lambda: self.recorder.trouble}
        )
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

    async def stop(self, budget: float | None = None) -> list[str]:
        """Stop everything within the budget. Returns the paths of workers that had not stopped by then. Always returns."""
        for task in self._following:
            task.cancel()
        left = await self.supervisor.stop(budget)
        for name, closing in (("flows", self._engine.close()), ("broker", self.broker.close())):
            try:
                async with asyncio.timeout(5.0):
                    await closing
            except Exception as error:
                log.warning(f"{name} could not be closed", why=str(error) or type(error).__name__)
        await in_thread(self.recorder.close)
        await in_thread(self.store.close)
        self._lock.close()
        return left

    def ready(self) -> tuple[bool, str]:
        """Whether the agent does what the file says, and if not, what is missing."""
        status = self._loader.status
        if not status.ok:
            return False, f"config: {status.problems[0].text if status.problems else 'nothing is in force'}"
        missing = [worker.path for worker in self.supervisor.workers() if worker.state in ("to_be_created", "creating")]
        if missing:
            return False, f"not observed yet: {', '.join(missing[:5])}" + (
                f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            )
        return True, ""

    def _apply(self) -> None:
        configuration, status = self._loader.in_force, self._loader.status
        for problem in status.problems:
            (log.error if problem.severity == "error" else log.warning)("config", problem=problem.text)
        if configuration is None:
            return
        self.broker.set_retention(
            retention_ms=configuration.broker.retention_ms, retention_bytes=configuration.broker.retention_bytes
        )
        self.supervisor.want(tree_of(configuration, self._windows))
        log.info(
            "config in force", what=status.applied, bridges=len(configuration.bridges), flows=len(configuration.flows)
        )

    async def _follow_file(self) -> None:
        async for _ in changes_of(self.file):
            try:
                await self._look_at_file()
            except Exception as error:  # a defect in reading one text must not end the reading of the next
                self._loader.refuse(f"the file could not be read: {type(error).__name__}: {error}")
                log.exception("config not applied; what runs is left as it is")

    async def _look_at_file(self) -> None:
        before = self._loader.status
        if await in_thread(self._loader.load):  # a large file shall not hold up the flows
            self._apply()
        elif self._loader.status is not before and not self._loader.status.ok:
            for problem in self._loader.status.problems:
                log.error("config not applied; what runs is left as it is", problem=problem.text)


def _log_transition(record: object, transition: Transition | None) -> None:
    if transition is not None:
        event = f"{transition.path}: {transition.source} → {transition.target}"
        log.info(event, on=transition.event, reason=transition.reason)

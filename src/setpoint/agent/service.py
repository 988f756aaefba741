"""The agent as a service: what its service manager is told of it, and when.

- It is **ready** once the tree is up: the config is in force, and every worker has come to life and has been observed once, however it is.
  One that does not answer holds this up for `READY_WITHIN_S` at most: a press that is switched off, or a worker that hangs, is a state of
  that worker and no reason to restart all others. With nothing in force, because the first config is wrong, it is ready to be told better.
- Its **status** is one line: how many workers there are in which phases, which are not as they are wanted, what is the matter with the
  config. It is told when it changes.
- It is **alive** while the runtime's loop turns, by the runtime's own count of timers looked at. A loop that is blocked cannot say that it
  is, and a runtime that no longer looks at timers that are due is not vouched for, although everything else may still answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

import structlog

from setpoint.agent.agent import Agent
from setpoint.agent.heartbeat import is_as_wanted
from setpoint.control.views import phase_text
from setpoint.secrets import without_secrets
from setpoint.services.notify import Notifier

READY_WITHIN_S: Final = 10.0
LOOK_S: Final = 1.0
"""Seconds between two looks at how the agent is; less where the manager wants signs of life more often, or it is not ready yet."""
FIRST_LOOKS_S: Final = 0.05
NAMED: Final = 3
"""Workers that the status names."""

log = structlog.get_logger(__name__)


class Service:
    """Tells `notifier` how `agent` is. Make it when the agent has been started."""

    def __init__(self, agent: Agent, notifier: Notifier) -> None:
        self._agent, self._notifier = agent, notifier
        self._began = asyncio.get_running_loop().time()
        self._ready = self._stopping = False
        self._told = ""
        self._looks = -1

    async def keep(self) -> None:
        """Tell it all there is to tell, until cancelled."""
        watchdog = self._notifier.watchdog_s
        pause = min(LOOK_S, watchdog / 4) if watchdog else LOOK_S
        while self._notifier:
            try:
                self._look()
            except Exception:  # a defect in what is said about them must not end the workers
                log.exception("the service manager could not be told how the agent is")
            await asyncio.sleep(pause if self._ready else FIRST_LOOKS_S)

    async def reload(self) -> bool:
        """Have the agent read its config again (see `Agent.reload`), and the service manager know."""
        if not self._ready:  # a READY now would say that the tree is up
            return await self._agent.reload()
        self._notifier.reloading()
        ok = await self._agent.reload()
        self._notifier.ready()
        return ok

    def stopping(self) -> None:
        """It has begun to stop."""
        self._stopping = True
        self._notifier.stopping()
        self._notifier.status("stopping")

    def _look(self) -> None:
        if not self._ready and self._is_up() and not self._stopping:
            self._ready = True
            self._notifier.ready()
        status = self._status()
        if status != self._told and self._notifier.status(status):
            self._told = status
        if self._notifier.watchdog_s and self._turns():
            self._notifier.alive()

    def _is_up(self) -> bool:
        if self._agent.config_status().applied == "nothing":
            return True
        patience = asyncio.get_running_loop().time() - self._began < READY_WITHIN_S
        return not patience or (bool(self._agent.supervisor.records) and not self._agent.unseen())

    def _turns(self) -> bool:
        """Whether the runtime has looked at timers since the last time this was asked, or had none to look at."""
        core = self._agent.supervisor.core
        before, self._looks = self._looks, sum(core.lag.counts)
        due = core.agenda.next_due
        return self._looks != before or due is None or due > asyncio.get_running_loop().time()

    def _status(self) -> str:
        records = self._agent.supervisor.records
        doing = "stopping" if self._stopping else "" if self._ready else "starting"
        phases = Counter(phase_text(record) or "not alive" for record in records.values()).most_common()
        workers = (
            f"{len(records)} workers" + (": " if phases else "") + ", ".join(f"{n} {phase}" for phase, n in phases)
        )
        parts = [doing, workers, "" if doing else self._astray(), self._config()]
        return "; ".join(filter(None, parts))

    def _astray(self) -> str:
        """The workers that are not as they are wanted, by name as far as there is room."""
        astray = sorted(path for path, record in self._agent.supervisor.records.items() if not is_as_wanted(record))
        named = [path.partition("/")[2] for path in astray[:NAMED]]
        more = [f"and {len(astray) - NAMED} more"] if len(astray) > NAMED else []
        return f"not as wanted: {', '.join([*named, *more])}" if astray else ""

    def _config(self) -> str:
        status = self._agent.config_status()
        if status.ok:
            return ""
        why = status.problems[0].text if status.problems else "not read"
        return f"config: {without_secrets(why)} (in force: {status.applied})"

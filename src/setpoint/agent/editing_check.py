"""Whether a text would do as a config, asked of the very checker of the agent before anything is written.

Variables of the environment that are not set here are no error: the agent is another process, with its own. The text is then checked once
more with a stand-in for each, and what is missing is said in a warning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from setpoint.agent.checking import Checker
from setpoint.agent.config import Configuration, Problem
from setpoint.agent.config.references import unset_in
from setpoint.agent.environment import programs_of
from setpoint.flows import FlowEngine
from setpoint.namespace import EmbeddedBroker

_STAND_IN: Final = "1"
"""A host, a port, a duration and a password."""


class Checked(NamedTuple):
    """What a text says as a config, and every problem of it. `configuration` is what could be read, stand-ins and all."""

    configuration: Configuration
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]


def checked(text: str, file: Path, env: Mapping[str, str]) -> Checked:
    """Check a text as the agent would, which runs with its own environment."""
    found = _check(text, file, env)
    missing = {unset_in(problem): problem for problem in found.errors if unset_in(problem)}
    if not missing:
        return Checked(found, found.problems)
    said = [
        replace(
            problem, message=f"{name} is not set here", hint="the agent needs it in its environment", severity="warning"
        )
        for name, problem in missing.items()
    ]
    found = _check(text, file, {**env, **dict.fromkeys(missing, _STAND_IN)})
    problems = sorted((*found.problems, *said), key=lambda problem: (problem.line, problem.column))
    return Checked(found, tuple(problems))


def _check(text: str, file: Path, env: Mapping[str, str]) -> Configuration:
    unopened = EmbeddedBroker(os.devnull)  # flows that write to the broker are compiled against it, never opened
    return Checker(
        source=str(file), env=env, engine=FlowEngine(unopened, base=file.resolve().parent), programs=programs_of(env)
    ).check(text)

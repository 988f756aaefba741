"""The scene: what a simulation is about. The workers that are wanted, models of the world they look at, and what can befall it.

A scene is made afresh for each run, by a function that gets the run's own random numbers, so that a run depends on nothing but its seed.
The worker types of its registry must not do real I/O: their eyes and hands are models. The world outlives the agent: after a simulated
kill, `registry` is asked again and its workers find the world as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from setpoint.control import ChildSpec, Registry
from setpoint.control.intent import stopped_version

Heal = Callable[[], None]


@dataclass(frozen=True)
class Trouble:
    """Something that can befall the world, such as a device that goes down.

    `begin(target, level)` starts it, with a level from 0 to 1 that says how bad it is, and returns what ends it. `affects` names the paths
    of the workers that see it; their families are taken to be touched by it too.
    """

    targets: Sequence[str]
    begin: Callable[[str, float], Heal]
    affects: Callable[[str], Iterable[str]] = lambda target: [target]


def told_to_stop(spec: ChildSpec, level: float) -> ChildSpec:
    """The edit that works on any spec with a `desired_state`: the user stops the worker."""
    return replace(spec, spec=stopped_version(spec.spec))


@dataclass(frozen=True)
class Scene:
    """One run's workers and world.

    `edit` makes an edited spec of one at the top (with a level from 0 to 1); `waits` is the longest time, in seconds, for which a worker
    keeps away from its target by its own rules although all is well again, such as a flaky window. `stops_in` is how long, in seconds,
    each level of the tree may take to stop once told to.
    """

    registry: Callable[[], Registry]
    want: Sequence[ChildSpec]
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    edit: Callable[[ChildSpec, float], ChildSpec] = told_to_stop
    waits: float = 0.0
    stops_in: float = 2.0
    root: str = "agent"


MakeScene = Callable[[random.Random], Scene]
"""Sets up a scene for one run."""

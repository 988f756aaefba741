"""What an evaluation stands on: the message, the document in the making, and the world.

A piece of Bloblang becomes a function of a `Run` and of `this`. One `Run` serves one mapping for all its messages; `this` is handed down
because brackets, `match` and the functions given to methods put another value in its place.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from setpoint.flows.bloblang.values import NOTHING, Unreadable
from setpoint.flows.component import Msg

_decoder: Final = msgspec.json.Decoder()


class World(NamedTuple):
    """What the functions draw on: wall time in seconds since 1970, and a number in [0, 1)."""

    clock: Callable[[], float] = time.time
    random: Callable[[], float] = random.random


class Run:
    """One message in the making, and what lasts from one to the next: counters and generators, by the place of their call.

    `read` is the meta as it came, which `meta()` reads; `meta` is what is written and `@` reads; a mutation has one for both. `root` is
    what was assigned so far, `replaced` whether a whole document was.
    """

    __slots__ = (
        "error",
        "kept",
        "meta",
        "mutates",
        "named",
        "payload",
        "read",
        "replaced",
        "root",
        "variables",
        "world",
    )

    def __init__(self, world: World, *, mutates: bool = False) -> None:
        self.world, self.mutates = world, mutates
        self.kept: dict[int, Any] = {}
        self.named: dict[str, Any] = {}
        self.begin(Msg(None, {}), "", writes=False)

    def begin(self, msg: Msg, error: str, *, writes: bool) -> None:
        """Takes up a message; `error` is why it failed before, `writes` whether its meta may change."""
        self.payload, self.error = msg.payload, error
        self.root: Any = NOTHING
        self.replaced = False
        self.read = self.meta = msg.meta
        if writes:
            self.meta = dict(msg.meta)
            self.read = self.meta if self.mutates else msg.meta
        self.variables: dict[str, Any] = {}

    def seen(self, this: Any) -> Any:
        """What `this` is after an assignment: in a mutation the document itself, as long as no other took its place."""
        return self.root if self.mutates and not self.replaced and self.root is not NOTHING else this

    def this(self) -> Any:
        """The payload as data, `Unreadable` where it is none."""
        payload = self.payload
        if type(payload) is not bytes and type(payload) is not str:
            return payload
        try:
            return _decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError) as error:
            return Unreadable(str(error))


Value = Callable[[Run, Any], Any]
"""A piece of Bloblang, ready to be evaluated: of the run and of `this`."""


class Node(NamedTuple):
    """A piece of Bloblang: how it is evaluated, how it is called in errors, and its value where that is always the same."""

    value: Value
    what: str
    constant: bool = False


def fixed(node: Node) -> Any:
    """The value of a node that is constant. Raises `MappingError`."""
    return node.value(Run(World()), None)


class Lambda(NamedTuple):
    """``name -> expression``, as it is given to a method."""

    name: str
    body: Node


def applied(given: Node | Lambda) -> Callable[[Run, Any, Any], Any]:
    """What a method does with an item: the item is `this`, or has the name that was given."""
    if isinstance(given, Node):
        value = given.value
        return lambda run, this, item: value(run, item)
    name, value = given.name, given.body.value

    def call(run: Run, this: Any, item: Any) -> Any:
        outer = run.named
        run.named = {**outer, name: item}
        try:
            return value(run, this)
        finally:
            run.named = outer

    return call

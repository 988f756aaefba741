"""Bloblang, the mapping language of Benthos, as far as flows usually need it: translated once into functions of a message.

::

    root = this                                  the new document; in a `mapping` it begins empty, in a `mutation` as what there is
    root.line.name = this.press.name | "none"    the first that is neither null nor an error
    root.at = timestamp_unix_milli()
    root.secret = deleted()                      `root = deleted()` drops the message
    meta umh_topic = "umh.v1.acme._raw." + @tag  meta are texts

What is translated gives what Benthos gives; the differential tests in ``tests/real`` compare the two. What is not translated is refused
by its name when the configuration is read, never skipped: a flow with `engine: auto` then runs on Benthos. `this` never changes: a mapping
that fails leaves its message as it was.

The parts: `lexer` and `parser` read the text, `build` makes functions of it, `functions` and `methods` are the words of the language,
`values` says how values behave, `run` is what an evaluation stands on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from setpoint.flows.bloblang.lexer import BloblangError
from setpoint.flows.bloblang.parser import Parser
from setpoint.flows.bloblang.run import Run, World
from setpoint.flows.bloblang.values import DELETED, NOTHING, MappingError, Unreadable, readable
from setpoint.flows.component import Msg

__all__ = ["BloblangError", "Expression", "Mapping", "MappingError", "World"]

WORLD: Final = World()


class Mapping:
    """A mapping, parsed once. Raises `BloblangError` (a `ValueError`) for what is none, or is not translated, with the line.

    `mutates`: the document begins as what the message says, and `this` and `meta()` are the document and the meta as they are by then.
    """

    def __init__(self, text: str, *, mutates: bool = False) -> None:
        parser = Parser(text)
        self.text, self._mutates = text, mutates
        self._statements = tuple(parser.mapping())
        self.reads = frozenset(parser.reads)

    def bind(self, world: World = WORLD) -> Callable[..., Msg | None]:
        """A function of one message, and of why it failed before: gives a new message, or None where it is dropped.

        Its counters are its own. It raises `MappingError`, and leaves the message it is given alone.
        """
        run, statements = Run(world, mutates=self._mutates), self._statements
        if self._mutates:
            return lambda msg, error="": _mutated(run, statements, msg, error)
        reads_this = "this" in self.reads

        def mapped(msg: Msg, error: str = "") -> Msg | None:
            run.begin(msg, error, writes=True)
            this = run.this() if reads_this else None
            for statement in statements:
                statement(run, this)
            return _message(run, msg)

        return mapped

    def bind_onto(self, world: World = WORLD) -> Callable[[Msg, Msg], Msg | None]:
        """A function of two messages: what is assigned goes onto the second, what is read (but `root` and `@`) is of the first."""
        run, statements = Run(world), self._statements

        def mapped(read: Msg, onto: Msg) -> Msg | None:
            run.begin(onto, "", writes=True)
            run.root = run.this()
            if type(run.root) is Unreadable:
                run.root = NOTHING
            before = run.root
            run.payload, run.read = read.payload, read.meta
            this = run.this()
            for statement in statements:
                statement(run, this)
            return Msg(onto.payload, run.meta) if run.root is before else _message(run, onto)

        return mapped


def _mutated(run: Run, statements: tuple[Any, ...], msg: Msg, error: str) -> Msg | None:
    run.begin(msg, error, writes=True)
    this = run.this()
    run.root = before = NOTHING if type(this) is Unreadable else this
    for statement in statements:
        statement(run, this)
        this = run.seen(this)
    return Msg(msg.payload, run.meta) if run.root is before else _message(run, msg)


def _message(run: Run, msg: Msg) -> Msg | None:
    root = run.root
    if root is DELETED:
        return None
    if root is NOTHING:
        return Msg(msg.payload, run.meta)
    return Msg(root.encode() if type(root) is str else root, run.meta)


class Expression:
    """One expression, parsed once: a condition, or what stands in a text. Raises `BloblangError`.

    `start` and `closing` are for one inside another text: where it begins, and what ends it (`end` says where that was).
    """

    def __init__(self, text: str, *, start: int = 0, closing: str = "") -> None:
        parser = Parser(text, start)
        self._value = parser.expression().value
        self.end = parser.rest(closing)
        self.reads = frozenset(parser.reads)

    def bind(self, world: World = WORLD) -> Callable[..., Any]:
        """A function of one message, and of why it failed before: gives the value. Raises `MappingError`."""
        run, value, reads_this = Run(world), self._value, "this" in self.reads

        def evaluated(msg: Msg, error: str = "") -> Any:
            run.begin(msg, error, writes=False)
            return readable(value(run, run.this() if reads_this else None))

        return evaluated

"""Reading guards from text: the inverse of ``str(guard)``.

    guard  =  guard and guard  |  guard or guard  |  not guard  |  ( guard )
           |  held(guard, seconds)  |  held(guard, name=seconds)      the second form is a `Setting` with its default
           |  held(guard, seconds, resume='remaining')               what a time counts in which nobody looks
           |  peer('name').is_in('state', ...)                        what another instance is
           |  peer('name').healthy  |  peer('name').stopped
           |  expression('text')                                      an expression, whatever it looks like
           |  name                                                    a guard known by this name, or ``always``
           |  anything else                                           an expression, e.g. observed.level > 3

The text is parsed as Python and never run.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from difflib import get_close_matches
from functools import reduce
from operator import and_, or_
from typing import Final

from setpoint.machine.expression import ExpressionError
from setpoint.machine.guards import ALWAYS, Guard, expression, held
from setpoint.machine.peers import peer
from setpoint.machine.seconds import RESUMES, Resume, Setting

MAX_LENGTH: Final = 20_000


def read_guard(text: str, known: Mapping[str, Guard]) -> Guard:
    """The guard that the text stands for, its names looked up in `known`. Raises `ValueError` with what is wrong with the text."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the text of a guard is longer than {MAX_LENGTH:,} characters")
    source = f"({text.strip()})"
    try:
        return _Reader(source, known).read(ast.parse(source, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested"
        raise ValueError(f"{text!r} is not a guard: {reason}") from None
    except ExpressionError as error:
        raise ValueError(str(error)) from None


class _Reader:
    def __init__(self, source: str, known: Mapping[str, Guard]) -> None:
        self.source = source
        self.known = known

    def read(self, node: ast.expr) -> Guard:
        match node:
            case ast.BoolOp(op=operator, values=parts):
                return reduce(and_ if isinstance(operator, ast.And) else or_, [self.read(part) for part in parts])
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return ~self.read(part)
            case ast.Call(func=ast.Name(id="held")):
                return self._held(node)
            case ast.Call(func=ast.Name(id="expression"), args=[ast.Constant(value=str(text))], keywords=[]):
                return expression(text)
            case (
                ast.Attribute(value=ast.Call(func=ast.Name(id="peer")))
                | ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="peer"))))
            ):
                return _peer(node)
            case ast.Name(id=name):
                return self._name(name)
        return expression(ast.get_source_segment(self.source, node) or "")

    def _name(self, name: str) -> Guard:
        if name == "always":
            return ALWAYS
        if name in self.known:
            return self.known[name]
        near = get_close_matches(name, self.known, n=1, cutoff=0.75)
        if near:
            raise ValueError(f"there is no guard {name!r}; did you mean {near[0]!r}? A field is expression('{name}')")
        return expression(name)

    def _held(self, node: ast.Call) -> Guard:
        keywords, policy = node.keywords, "restart"
        match keywords:
            case [*others, ast.keyword(arg="resume", value=ast.Constant(value=str(text)))]:  # a number is a setting
                keywords, policy = others, text
        match node.args, keywords:
            case [part, seconds], []:
                return held(self.read(part), _number(seconds), resume=_policy(policy))
            case [part], [ast.keyword(arg=str(name), value=default)]:
                return held(self.read(part), Setting(name, _number(default)), resume=_policy(policy))
        raise ValueError("held takes a guard and seconds: held(alive, 5) or held(alive, grace_s=5)")


def _peer(node: ast.expr) -> Guard:
    match node:
        case ast.Attribute(ast.Call(_, [ast.Constant(str(name))], []), "healthy"):
            return peer(name).healthy
        case ast.Attribute(ast.Call(_, [ast.Constant(str(name))], []), "stopped"):
            return peer(name).stopped
        case ast.Call(ast.Attribute(ast.Call(_, [ast.Constant(str(name))], []), "is_in"), states, []):
            names = [state.value for state in states if isinstance(state, ast.Constant)]
            if len(names) == len(states) and all(isinstance(state, str) for state in names):
                return peer(name).is_in(*map(str, names))
    raise ValueError(f"{ast.unparse(node)!r}: expected peer('name').healthy, .stopped or .is_in('state', ...)")


def _policy(text: str) -> Resume:
    for known in RESUMES:
        if text == known:
            return known
    raise ValueError(f"resume={text!r} is none of {', '.join(RESUMES)}")


def _number(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int(value) | float(value)) if not isinstance(value, bool):
            return value
    raise ValueError(f"held takes its seconds as a number, not {ast.unparse(node)!r}")

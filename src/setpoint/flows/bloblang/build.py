"""From the grammar to functions: each piece of Bloblang as a closure over its parts, put together once and called for every message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from setpoint.flows.bloblang.run import Node, Run, Value
from setpoint.flows.bloblang.values import (
    DELETED,
    NOTHING,
    OPERATORS,
    Absent,
    MappingError,
    equal,
    expected,
    inner,
    placed,
    readable,
    text_of,
    type_of,
    written,
)

Statement = Callable[[Run, Any], None]


# values


def constant(value: Any, text: str) -> Node:
    """A literal."""
    return Node(lambda run, this: value, text, constant=True)


def of_this() -> Node:
    """`this`, whatever it is here."""
    return Node(lambda run, this: this, "this")


def of_root() -> Node:
    """`root`: the document in the making, as it is by now."""
    return Node(lambda run, this: run.root, "root")


def of_named(name: str) -> Node:
    """What a method hands to its function under that name."""
    return Node(lambda run, this: run.named[name], name)


def field(node: Node, name: str) -> Node:
    """What the value has under that name."""
    value = node.value

    def get(run: Run, this: Any) -> Any:
        found = value(run, this)
        return found.get(name) if type(found) is dict else inner(found, name)

    return Node(get, f"{node.what}.{name}")


def variable(name: str) -> Node:
    """What `let` called so."""

    def get(run: Run, this: Any) -> Any:
        if name not in run.variables:
            raise MappingError(f"there is no variable ${name}")
        return run.variables[name]

    return Node(get, f"${name}")


def meta_value(name: str | None) -> Node:
    """The meta of that name as it is by now, null where there is none; all of it as an object."""
    if name is None:
        return Node(lambda run, this: dict(run.meta), "@")
    return Node(lambda run, this: run.meta.get(name), f"@{name}")


def array(nodes: Sequence[Node]) -> Node:
    """An array; items that are absent are left out."""
    values = [node.value for node in nodes]

    def make(run: Run, this: Any) -> list[Any]:
        return [made for value in values if not isinstance(made := readable(value(run, this)), Absent)]

    return Node(make, "an array", constant=all(node.constant for node in nodes))


def object_(pairs: Sequence[tuple[Node, Node]]) -> Node:
    """An object; fields that are absent are left out."""
    values = [(key.value, value.value) for key, value in pairs]

    def make(run: Run, this: Any) -> dict[str, Any]:
        made = ((_key(key(run, this)), readable(value(run, this))) for key, value in values)
        return {name: value for name, value in made if not isinstance(value, Absent)}

    return Node(make, "an object", constant=all(key.constant and value.constant for key, value in pairs))


def _key(value: Any) -> str:
    if not isinstance(value, str | bytes):
        raise MappingError(f"the key of an object is a text, not {type_of(value)}")
    return text_of(value)


def bracketed(node: Node, body: Node) -> Node:
    """``value.(expression)``: the expression, with the value as `this`."""
    value, inside = node.value, body.value
    return Node(lambda run, this: inside(run, readable(value(run, this))), f"{node.what}.(…)")


# operations


def operation(sign: str, left: Node, right: Node) -> Node:
    """Two values and what stands between them."""
    what = f"{left.what} {sign} {right.what}"
    fixed = left.constant and right.constant
    if sign == "|":
        return Node(_coalesced(left.value, right.value), what, fixed)
    if sign in ("&&", "||"):
        return Node(_short(left, right, decides=sign == "||"), what, fixed)
    compute, one, other = OPERATORS[sign], left.value, right.value

    def computed(run: Run, this: Any) -> Any:
        first, second = readable(one(run, this)), readable(other(run, this))
        try:
            return compute(first, second)
        except MappingError as error:
            raise MappingError(f"{error}, in {what[:80]}") from None

    return Node(computed, what, fixed)


def _coalesced(left: Value, right: Value) -> Value:
    def chosen(run: Run, this: Any) -> Any:
        try:
            value = readable(left(run, this))
        except MappingError:
            return right(run, this)
        return right(run, this) if value is None or isinstance(value, Absent) else value

    return chosen


def _short(left: Node, right: Node, *, decides: bool) -> Value:
    """`&&` and `||`: the left value that decides keeps the right one from being asked."""
    one, other = _truth(left), _truth(right)
    return lambda run, this: decides if one(run, this) is decides else other(run, this)


def _truth(node: Node) -> Callable[[Run, Any], bool]:
    value, what = node.value, node.what

    def asked(run: Run, this: Any) -> bool:
        found = readable(value(run, this))
        if type(found) is bool:
            return found
        raise MappingError(f"{expected('bool', found)}, from {what[:80]}")

    return asked


def negation(node: Node) -> Node:
    """``!value``."""
    asked = _truth(node)
    return Node(lambda run, this: not asked(run, this), f"!{node.what}", node.constant)


def minus(node: Node) -> Node:
    """``-value``."""
    return operation("-", constant(0, "0"), node)._replace(what=f"-{node.what}")


def if_(branches: Sequence[tuple[Node | None, Node]]) -> Node:
    """The value of the first branch whose condition is true, `NOTHING` where there is none. Null is not true."""
    asked = [(None if condition is None else _condition(condition), body.value) for condition, body in branches]

    def chosen(run: Run, this: Any) -> Any:
        for condition, body in asked:
            if condition is None or condition(run, this):
                return body(run, this)
        return NOTHING

    return Node(chosen, "if")


def _condition(node: Node) -> Callable[[Run, Any], bool]:
    value, what = node.value, node.what

    def asked(run: Run, this: Any) -> bool:
        found = readable(value(run, this))
        if found is None or type(found) is bool:
            return found is True
        raise MappingError(f"a condition must be true or false, not {type_of(found)}: {what[:80]}")

    return asked


def match(subject: Node | None, cases: Sequence[tuple[Node | None, Node]]) -> Node:
    """The value of the first case that is true of the subject, or is a literal equal to it; `NOTHING` where there is none."""
    value = None if subject is None else subject.value
    asked = [(None if test is None else _case(test, literal=subject is not None), body.value) for test, body in cases]

    def chosen(run: Run, this: Any) -> Any:
        found = this if value is None else readable(value(run, this))
        for test, body in asked:
            if test is None or test(run, found):
                return body(run, found)
        return NOTHING

    return Node(chosen, "match")


def _case(node: Node, *, literal: bool) -> Callable[[Run, Any], bool]:
    value = node.value
    if literal and node.constant:
        return lambda run, this: equal(this, value(run, this))
    return lambda run, this: value(run, this) is True


# assignments


def _located(act: Statement, line: int) -> Statement:
    """The assignment, with its line in what it raises."""

    def located(run: Run, this: Any) -> None:
        try:
            act(run, this)
        except MappingError as error:
            if error.line:
                raise
            told = MappingError(f"line {line}: {error}")
            told.line = line
            raise told from None

    return located


def root(path: tuple[str, ...], node: Node, *, line: int) -> Statement:
    """``root.a.b = value``; without a path the whole document."""
    value = node.value

    def assign(run: Run, this: Any) -> None:
        made = readable(value(run, this))
        if made is not NOTHING:
            run.root = placed(run.root, path, made) if path else made
            run.replaced = run.replaced or not path

    return _located(assign, line)


def meta(name: str | None, node: Node, *, line: int) -> Statement:
    """``meta name = value``; without a name all of it. What is no text is written as JSON."""
    value = node.value

    def assign(run: Run, this: Any) -> None:
        made = readable(value(run, this))
        if made is NOTHING:
            return
        if name is not None:
            _set_meta(run.meta, name, made)
            return
        parts = {} if made is DELETED else made
        if type(parts) is not dict:
            raise expected("object", parts)
        run.meta.clear()
        for key, part in parts.items():
            _set_meta(run.meta, key, part)

    return _located(assign, line)


def _set_meta(meta: dict[str, str], name: str, value: Any) -> None:
    if value is DELETED:
        meta.pop(name, None)
    else:
        meta[name] = written(value)


def let(name: str, node: Node, *, line: int) -> Statement:
    """``let name = value``."""
    value = node.value

    def assign(run: Run, this: Any) -> None:
        run.variables[name] = readable(value(run, this))

    return _located(assign, line)


def when(branches: Sequence[tuple[Node | None, Sequence[Statement]]], *, line: int) -> Statement:
    """``if … { assignments } else { … }``."""
    asked = [(None if condition is None else _condition(condition), tuple(body)) for condition, body in branches]

    def assign(run: Run, this: Any) -> None:
        for condition, body in asked:
            if condition is None or condition(run, this):
                for statement in body:
                    statement(run, this)
                    this = run.seen(this)
                return

    return _located(assign, line)

"""Expressions: a safe subset of Python, parsed and checked once, compiled once, evaluated in a fraction of a microsecond.

Allowed: literals, names and attributes, indexing by a literal or a value, comparisons (also chained, `in`, `is None`), `and`/`or`/`not`,
``x if c else y``, arithmetic on numbers, joining of strings, and calls of the functions in `FUNCTIONS`. Everything else is refused when
the text is read, by name: no assignment, loops, lambdas, comprehensions, private names, method calls, formatting or powers.

A name is looked up in the *scope* the expression is called with: a mapping's key, else a public attribute. Attributes do the same, so
``record.order.total`` reads dictionaries and objects alike. A name that is not there raises `ExpressionError`; it is never silently false.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, Final

MAX_LENGTH: Final = 4_000
MAX_NODES: Final = 400
MAX_TEXT: Final = 100_000
MAX_DIGITS: Final = 400  # beyond what a float has

_ALLOWED: Final = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Compare, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.IfExp, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.FloorDiv, ast.Mod, ast.Call, ast.Constant, ast.Name, ast.Load, ast.Attribute, ast.Subscript, ast.Tuple, ast.List,
)  # fmt: skip


class ExpressionError(ValueError):
    """The expression is not in the safe subset, or what it asks for is not there."""


INSIDES: Final = ("gi_", "cr_", "ag_", "f_", "tb_", "co_")
"""How the names of what generators, coroutines, frames, tracebacks and code objects are made of begin: nothing of a record's."""


def _get(owner: Any, name: str) -> Any:
    if type(owner) is dict or isinstance(owner, Mapping):
        if name in owner:
            return owner[name]
        raise ExpressionError(f"there is no {name!r} {_among(owner)}")
    if not name.startswith(INSIDES):
        value = getattr(owner, name, _MISSING)
        if value is not _MISSING and not callable(value):
            return value
    raise ExpressionError(f"there is no {name!r} in {type(owner).__name__}")


def _among(owner: Mapping[Any, Any]) -> str:
    """The names there are instead, where they are few."""
    if not 0 < len(owner) <= 8:
        return f"among its {len(owner)} names" if owner else "here: this is empty"
    return f"among {', '.join(sorted(str(key)[:20] for key in owner))}"


_MISSING: Final = object()


def _item(owner: Any, key: Any) -> Any:
    if not isinstance(owner, Mapping | list | tuple | str):
        raise ExpressionError(f"cannot index into {type(owner).__name__}")
    try:
        if isinstance(owner, Mapping) and key not in owner:
            raise KeyError(key)  # a defaultdict would make the item up
        return owner[key]
    except (KeyError, IndexError, TypeError) as error:
        raise ExpressionError(f"there is no item {key!r} in {type(owner).__name__}") from error


def _number(value: Any, operator: str) -> Any:
    if isinstance(value, int | float):
        return value
    raise ExpressionError(f"{operator} needs numbers, got {type(value).__name__}")


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        if len(left) + len(right) > MAX_TEXT:
            raise ExpressionError(f"text longer than {MAX_TEXT:,} characters")
        return left + right
    return _number(left, "+") + _number(right, "+")


def _mul(left: Any, right: Any) -> Any:
    return _number(left, "*") * _number(right, "*")


def _mod(left: Any, right: Any) -> Any:
    return _number(left, "%") % _number(right, "%")


def _text(value: Any, function: str) -> str:
    if isinstance(value, str):
        return value
    raise ExpressionError(f"{function}() needs text, got {type(value).__name__}")


def _round(number: Any, digits: Any = None) -> Any:
    if digits is None:
        return round(_number(number, "round()"))
    if not isinstance(digits, int) or abs(digits) > MAX_DIGITS:
        raise ExpressionError(f"round() takes a number of digits between -{MAX_DIGITS} and {MAX_DIGITS}")
    return round(_number(number, "round()"), digits)  # unbounded, round(1, -10**9) would compute 10**10**9


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": abs, "bool": bool, "float": float, "int": int, "len": len, "max": max, "min": min, "round": _round, "str": str,
    "lower": lambda text: _text(text, "lower").lower(),
    "upper": lambda text: _text(text, "upper").upper(),
    "strip": lambda text: _text(text, "strip").strip(),
    "startswith": lambda text, start: _text(text, "startswith").startswith(_text(start, "startswith")),
    "endswith": lambda text, end: _text(text, "endswith").endswith(_text(end, "endswith")),
}  # fmt: skip
"""The functions an expression may call."""

_OPERATORS: Final[Mapping[type[ast.operator], str]] = {ast.Add: "_add", ast.Mult: "_mul", ast.Mod: "_mod"}
_HELPERS: Final = {"_get": _get, "_item": _item, "_add": _add, "_mul": _mul, "_mod": _mod}


class Expression:
    """One compiled expression. Call it with a scope; `names` are the dotted names it reads.

    Raises `ExpressionError` when made of a text outside the subset, and when called where something it reads is missing or of the
    wrong kind. Two expressions are equal when their texts are.
    """

    __slots__ = ("_function", "names", "text", "tree")

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.tree = _checked(self.text)
        self.names = frozenset(_dotted_names(self.tree))
        self._function = _function(self.text)

    def __call__(self, scope: Any) -> Any:
        try:
            return self._function(scope)
        except ExpressionError as error:
            raise ExpressionError(f"{self.text}: {error}") from None
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ExpressionError(f"{self.text}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def _function(text: str) -> Callable[[Any], Any]:
    """The checked text as a function of the scope."""
    arguments = ast.arguments(posonlyargs=[], args=[ast.arg("_scope")], kwonlyargs=[], kw_defaults=[], defaults=[])
    scope = {"__builtins__": {}, **_HELPERS, **{f"_call_{name}": function for name, function in FUNCTIONS.items()}}
    try:
        body = _Compile().visit(ast.parse(text, mode="eval").body)
        module = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, body)))
        function: Callable[[Any], Any] = eval(compile(module, f"<{text}>", "eval"), scope)
    except (RecursionError, MemoryError):
        raise ExpressionError(f"{text!r} is too deeply nested") from None
    return function


def _checked(text: str) -> ast.expr:
    if not text:
        raise ExpressionError("the expression is empty")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH:,} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested or not text"
        raise ExpressionError(f"{text!r} is not an expression: {reason}") from None
    for count, node in enumerate(ast.walk(tree)):
        if count > MAX_NODES:
            raise ExpressionError(f"the expression has more than {MAX_NODES} parts")
        _check_node(node, text)
    return tree.body


def _check_node(node: ast.AST, text: str) -> None:
    if not isinstance(node, _ALLOWED):
        raise ExpressionError(f"{text!r}: {type(node).__name__} is not allowed in an expression")
    if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
        raise ExpressionError(f"{text!r}: names that start with _ are private: {node.attr}")
    if isinstance(node, ast.Name) and node.id.startswith("_"):
        raise ExpressionError(f"{text!r}: names that start with _ are private: {node.id}")
    if isinstance(node, ast.Constant) and isinstance(node.value, complex | bytes | type(...)):
        raise ExpressionError(f"{text!r}: literals are numbers, text, True, False and None")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise ExpressionError(f"{text!r}: only these functions can be called: {', '.join(FUNCTIONS)}")
        if node.keywords:
            raise ExpressionError(f"{text!r}: {node.func.id}() takes no keyword arguments")
    if isinstance(node, ast.Compare) and not _compares_well(node):
        raise ExpressionError(f"{text!r}: `is` compares a value with None, True or False; use == for anything else")


def _compares_well(node: ast.Compare) -> bool:
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, ast.Is | ast.IsNot) and (isinstance(left, ast.Constant) or not _is_singleton(right)):
            return False
        left = right
    return True


def _is_singleton(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _dotted_names(tree: ast.AST) -> list[str]:
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        dotted = _dotted(node)
        if dotted is not None:
            found.append(dotted)
            return
        children = list(ast.iter_child_nodes(node))
        for child in children[1:] if isinstance(node, ast.Call) else children:
            visit(child)

    visit(tree)
    return found


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


class _Compile(ast.NodeTransformer):
    """Rewrites the checked tree so that each access goes through the helpers above."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return _call("_get", ast.Name("_scope", ast.Load()), ast.Constant(node.id))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return _call("_get", self.visit(node.value), ast.Constant(node.attr))

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        return _call("_item", self.visit(node.value), self.visit(node.slice))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        helper = _OPERATORS.get(type(node.op))
        return _call(helper, left, right) if helper else ast.BinOp(left, node.op, right)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name)  # by _check_node
        return _call(f"_call_{node.func.id}", *[self.visit(argument) for argument in node.args])


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])

"""Bloblang text as nodes: a recursive descent over its tokens.

    mapping     assignments, one a line; or one expression, which is that of root
    assignment  root.a.b = …   a.b = …   meta name = …   meta = …   let name = …   if … { assignments } else { … }
    expression  && ||  weakest, then  == != < <= > >= , then  + - , then  * / % |  strongest; all from left to right
    term        a literal, an object, an array, (…), if, match, a function, this, root, a name, $variable, @meta;
                each with .name, .method() and .(…) behind it

What is Bloblang and not translated is refused by its name, so that the reader knows what the flow needs Benthos for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from setpoint.flows.bloblang import build
from setpoint.flows.bloblang.cursor import Cursor
from setpoint.flows.bloblang.functions import FUNCTIONS
from setpoint.flows.bloblang.lexer import BloblangError, Token, literal
from setpoint.flows.bloblang.methods import METHODS
from setpoint.flows.bloblang.names import ELSEWHERE_FUNCTIONS, ELSEWHERE_METHODS
from setpoint.flows.bloblang.run import Lambda, Node, fixed
from setpoint.flows.bloblang.values import MappingError

MAX_DEPTH: Final = 32
_LEVELS: Final = (("&&", "||"), ("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%", "|"))
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_ELSEWHERE: Final = ("map", "import", "from")


class Parser(Cursor):
    """Reads one text from `start` on. `reads` is then what of the message it reads: this, payload, meta, error."""

    def __init__(self, text: str, start: int = 0) -> None:
        super().__init__(text, start)
        self._depth = 0
        self._names: list[str] = []
        self.reads: set[str] = set()

    def mapping(self) -> list[build.Statement]:
        """All assignments. Raises `BloblangError`."""
        found = self._statements(())
        if self._peek().kind != "end":
            raise self._unexpected()
        if not found:
            raise BloblangError('the mapping is empty; write for example: root = {"value": this.value}')
        return found

    def expression(self) -> Node:
        """One expression, with nothing behind it but what closes it (`rest`). Raises `BloblangError`."""
        self._lines()
        node = self._expression()
        self._lines()
        return node

    def rest(self, closing: str = "") -> int:
        """Takes what closes an expression, and says where that ends in the text. Raises `BloblangError`."""
        token = self._peek()
        if token.text != (closing or "the end") or (not closing and token.kind != "end"):
            raise self._unexpected()
        return token.end

    # assignments

    def _statements(self, closing: tuple[str, ...]) -> list[build.Statement]:
        found: list[build.Statement] = []
        alone = False
        while True:
            self._lines()
            token = self._peek()
            if token.kind == "end" or token.text in closing:
                return found
            if alone:
                raise self._fault(f"expected '=' after what stands alone, or nothing; found {self._shown()}")
            statement, alone = self._statement()
            if alone and (found or closing):
                raise self._fault(
                    f"{token.text!r} is no assignment; write root.name = …, meta name = … or let name = …", token
                )
            found.append(statement)
            if self._peek().kind not in ("line", "end") and self._peek().text not in closing:
                raise self._unexpected()

    def _statement(self) -> tuple[build.Statement, bool]:
        """The next assignment, and whether it is an expression that stands alone."""
        token, following = self._peek(), self._peek(1)
        if token.text in _ELSEWHERE and token.kind == "name" and following.kind in ("name", "text"):
            raise self._elsewhere(f"`{token.text}`", token)
        if token.text == "let" and following.kind in ("name", "text"):
            self._take()
            return build.let(self._name(), self._assigned(), line=token.line), False
        if token.text == "meta" and (following.kind in ("name", "text") or following.text == "="):
            self._take()
            name = None if following.text == "=" else self._name()
            return build.meta(name, self._assigned(), line=token.line), False
        if token.text == "if" and (branches := self._if_statement()) is not None:
            return build.when(branches, line=token.line), False
        path = self._target()
        if path is None:
            return build.root((), self._expression(), line=token.line), True
        return build.root(path, self._assigned(), line=token.line), False

    def _assigned(self) -> Node:
        self._expect("=")
        self._lines()
        return self._expression()

    def _target(self) -> tuple[str, ...] | None:
        """The path before ``=``; None, and nothing taken, where there is none."""
        start = self._at
        names = []
        if self._peek().kind == "name":
            names.append(self._take().text)
            while self._peek().text == "." and self._peek(1).kind in ("name", "text"):
                self._take()
                names.append(self._name())
        if not names or self._peek().text != "=":
            self._at = start
            return None
        if names[0] == "this":
            raise self._fault("this cannot be assigned to; assign to root")
        return tuple(names[1:] if names[0] == "root" else names)

    def _if_statement(self) -> list[tuple[Node | None, list[build.Statement]]] | None:
        """The branches of an ``if`` around assignments; None, and nothing taken, where it is one around values."""
        start = self._at
        branches: list[tuple[Node | None, list[build.Statement]]] = []
        for condition in self._branches():
            body = self._at
            self._lines()
            if not branches and not self._assigns():
                self._at = start
                return None
            self._at = body
            branches.append((condition, self._statements(("}",))))
            self._expect("}")
        return branches

    def _assigns(self) -> bool:
        start = self._at
        token, following = self._peek(), self._peek(1)
        if token.text in ("let", "meta", "if"):
            return token.text == "if" or following.kind in ("name", "text") or following.text == "="
        found = self._target() is not None
        self._at = start
        return found

    def _branches(self) -> Iterator[Node | None]:
        """Each condition of ``if … else if … else`` (None: else), with its ``{`` taken; the caller takes the rest and the ``}``."""
        self._expect("if")
        while True:
            condition = self._expression()
            self._expect("{")
            yield condition
            if self._peek().text != "else":
                return
            self._take()
            if self._peek().text != "if":
                self._expect("{")
                yield None
                return
            self._take()

    # expressions

    def _expression(self, level: int = 0) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        if level == 0:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self._fault(f"expressions nest deeper than {MAX_DEPTH} levels")
        node = self._expression(level + 1)
        while self._peek().kind == "mark" and self._peek().text in _LEVELS[level]:
            operator = self._take().text
            self._lines()
            node = self._tried(build.operation(operator, node, self._expression(level + 1)))
        if level == 0:
            self._depth -= 1
        return node

    def _unary(self) -> Node:
        if self._peek().kind == "mark" and self._peek().text in ("!", "-"):
            sign = self._take().text
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self._fault(f"expressions nest deeper than {MAX_DEPTH} levels")
            node = self._unary() if self._peek().text == "-" else self._postfixed(self._term())
            self._depth -= 1
            return self._tried(build.negation(node) if sign == "!" else build.minus(node))
        return self._postfixed(self._term())

    def _tried(self, node: Node) -> Node:
        """The node; where it is constant it is evaluated now, because it would fail for every message."""
        if node.constant:
            try:
                fixed(node)
            except MappingError as error:
                raise self._fault(str(error)) from None
        return node

    def _term(self) -> Node:
        token = self._take()
        if token.kind in ("text", "number"):
            return build.constant(literal(token), token.text)
        if token.kind == "mark" and token.text in _MARKS:
            return _MARKS[token.text](self)
        if token.kind != "name":
            self._at -= 1
            raise self._unexpected()
        if token.text in _WORDS:
            return build.constant(_WORDS[token.text], token.text)
        if self._peek().text == "(":
            return self._function(token)
        if token.text in ("if", "match"):
            return self._if(token) if token.text == "if" else self._match()
        return self._named(token.text)

    def _named(self, name: str) -> Node:
        if name == "root":
            return build.of_root()
        if name in self._names:
            return build.of_named(name)
        self.reads.add("this")
        return build.of_this() if name == "this" else build.field(build.of_this(), name)

    def _postfixed(self, node: Node) -> Node:
        while self._peek().text == "." and self._peek().kind == "mark":
            self._take()
            self._lines()
            token = self._peek()
            if token.text == "(":
                node = build.bracketed(node, self._inside())
            elif token.kind == "name" and self._peek(1).text == "(":
                node = self._method(node, self._take())
            else:
                node = build.field(node, self._name())
        return node

    def _inside(self) -> Node:
        self._expect("(")
        self._lines()
        node = self._expression()
        self._lines()
        self._expect(")")
        return node

    def _parenthesised(self) -> Node:
        self._at -= 1
        return self._inside()

    def _array(self) -> Node:
        return build.array([self._expression() for _ in self._items("]")])

    def _object(self) -> Node:
        pairs = []
        for _ in self._items("}"):
            key = self._expression()
            self._lines()
            self._expect(":")
            self._lines()
            pairs.append((key, self._expression()))
        return build.object_(pairs)

    def _variable(self) -> Node:
        return build.variable(self._name())

    def _meta(self) -> Node:
        self.reads.add("meta")
        return build.meta_value(self._name() if self._peek().kind in ("name", "text") else None)

    def _if(self, token: Token) -> Node:
        self._at -= 1
        branches: list[tuple[Node | None, Node]] = []
        for condition in self._branches():
            self._lines()
            branches.append((condition, self._expression()))
            self._lines()
            self._expect("}")
        return build.if_(branches)

    def _match(self) -> Node:
        subject = None if self._peek().text == "{" else self._expression()
        self._expect("{")
        cases: list[tuple[Node | None, Node]] = []
        self._lines()
        while self._peek().text != "}":
            other = self._peek().text == "_" and self._peek(1).text == "=>"
            test = None if other else self._expression()
            if other:
                self._take()
            self._expect("=>")
            self._lines()
            cases.append((test, self._expression()))
            if self._peek().text not in (",", "}") and self._peek().kind != "line":
                raise self._unexpected()
            if self._peek().text == ",":
                self._take()
            self._lines()
        self._expect("}")
        return build.match(subject, cases)

    # calls

    def _function(self, token: Token) -> Node:
        function = FUNCTIONS.get(token.text)
        if function is None:
            raise self._unknown(token, f"`{token.text}()`", "function", FUNCTIONS, ELSEWHERE_FUNCTIONS)
        place = self._at
        given = self._arguments(token, function.names, function.required)
        if function.reads:
            self.reads.add(function.reads)
        nodes = {name: node for name, node in given.items() if isinstance(node, Node)}
        if len(nodes) < len(given):
            raise self._fault(f"{token.text}() takes no function", token)
        try:
            return Node(function.make(nodes, place), f"{token.text}()")
        except MappingError as error:
            raise self._fault(str(error), token) from None

    def _method(self, target: Node, token: Token) -> Node:
        method = METHODS.get(token.text)
        if method is None:
            raise self._unknown(token, f"`.{token.text}()`", "method", METHODS, ELSEWHERE_METHODS)
        given = self._arguments(token, method.names, method.required, rest=method.rest)
        if any(isinstance(one, Lambda) for one in given.values()) and token.text not in ("catch", "filter", "map_each"):
            raise self._fault(f".{token.text}() takes no function", token)
        return Node(method.make(target.value, given), f"{target.what}.{token.text}()")

    def _arguments(
        self, call: Token, names: tuple[str, ...], required: int, *, rest: bool = False
    ) -> dict[str, Node | Lambda]:
        self._expect("(")
        given: dict[str, Node | Lambda] = {}
        for n, _ in enumerate(self._items(")")):
            name = str(n) if rest else names[n] if n < len(names) else ""
            if self._peek().kind == "name" and self._peek(1).text == ":":
                name = self._take().text
                self._take()
                self._lines()
                if name not in names:
                    raise self._fault(
                        f"{call.text} has no argument {name!r}; known: {', '.join(names) or 'none'}", call
                    )
            if not name:
                raise self._fault(f"{call.text} takes {len(names) or 'no'} arguments", call)
            given[name] = self._argument()
        missing = [name for name in names[:required] if name not in given]
        if missing:
            raise self._fault(f"{call.text} needs the argument {missing[0]!r}", call)
        return given

    def _argument(self) -> Node | Lambda:
        if self._peek().kind != "name" or self._peek(1).text != "->":
            return self._expression()
        name = self._take().text
        self._take()
        self._lines()
        self._names.append(name)
        body = self._expression()
        self._names.pop()
        return Lambda(name, body)

    def _items(self, end: str) -> Iterator[None]:
        """Once for each item up to `end`, with the commas and line breaks between taken."""
        self._lines()
        while self._peek().text != end:
            yield
            self._lines()
            if self._peek().text != end:
                self._expect(",")
            self._lines()
        self._take()


_MARKS: Final[dict[str, Callable[[Parser], Node]]] = {
    "(": Parser._parenthesised,
    "[": Parser._array,
    "{": Parser._object,
    "$": Parser._variable,
    "@": Parser._meta,
}

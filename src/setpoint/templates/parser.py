"""From pieces to a tree: text, output, if, with, range. Everything of the language that is not understood is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.templates.functions import FUNCTIONS
from setpoint.templates.lexer import Piece, TemplateError, Token, pieces

MAX_NESTING: Final = 30
_REFUSED: Final = (
    "block",
    "break",
    "call",
    "continue",
    "define",
    "html",
    "js",
    "println",
    "slice",
    "template",
    "urlquery",
)


@dataclass(frozen=True, slots=True)
class Operand:
    """A value and the fields taken from it. Kinds: dot, variable, value, function, pipeline."""

    kind: str
    offset: int
    value: object = None
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by ``|``; its result is kept in the variables of `targets` if there are any."""

    commands: tuple[tuple[Operand, ...], ...]
    offset: int
    targets: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Output:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Block:
    """``if``, ``with`` or ``range``: `body` runs when (or for each) `pipeline` has something, `otherwise` when it has nothing."""

    kind: str
    pipeline: Pipeline
    body: tuple[TreeNode, ...]
    otherwise: tuple[TreeNode, ...]
    offset: int


TreeNode = Text | Output | Block


def parse_tree(text: str) -> tuple[TreeNode, ...]:
    """The tree of a template. Raises `TemplateError`."""
    return _Tree(list(pieces(text))).whole()


class _Tree:
    def __init__(self, parts: list[Piece]) -> None:
        self.parts = parts
        self.next = 0
        self.depth = 0

    def whole(self) -> tuple[TreeNode, ...]:
        nodes, closing = self.nodes()
        if closing:
            word = closing[0].text
            hint = "remove it, or open an if, with or range before it"
            raise TemplateError(f"{{{{ {word} }}}} closes nothing", offset=closing[0].offset, hint=hint)
        return nodes

    def nodes(self) -> tuple[tuple[TreeNode, ...], tuple[Token, ...]]:
        """Nodes up to an ``else`` or ``end``, and the tokens of that; no tokens at the end of the text."""
        found: list[TreeNode] = []
        while self.next < len(self.parts):
            part = self.parts[self.next]
            self.next += 1
            if part.tokens is None:
                found.append(Text(part.text))
                continue
            if not part.tokens:
                raise TemplateError("an empty action", offset=part.offset, hint="write {{ .NAME }}")
            word = part.tokens[0].text if part.tokens[0].kind == "word" else ""
            if word in ("else", "end"):
                return tuple(found), part.tokens
            if word in ("if", "with", "range"):
                found.append(self.block(word, part.tokens, part.offset))
            else:
                found.append(Output(_Expression(part.tokens, part.offset).whole()))
        return tuple(found), ()

    def block(self, kind: str, tokens: Sequence[Token], offset: int) -> Block:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise TemplateError(f"nested deeper than {MAX_NESTING} levels", offset=offset, hint="use fewer blocks")
        pipeline = _Expression(tokens[1:], offset).whole(most_targets=2 if kind == "range" else 1)
        body, closing = self.nodes()
        otherwise: tuple[TreeNode, ...] = ()
        if closing and closing[0].text == "else":
            otherwise, closing = self._else(kind, closing)
        if not closing:
            raise TemplateError(f"{{{{ {kind} }}}} without {{{{ end }}}}", offset=offset, hint="add {{ end }}")
        if len(closing) > 1:
            hint = "write {{ end }}" if closing[0].text == "end" else "a block has one {{ else }}, before its {{ end }}"
            raise TemplateError(f"{{{{ {closing[0].text} … }}}} cannot stand here", offset=closing[0].offset, hint=hint)
        self.depth -= 1
        return Block(kind, pipeline, body, otherwise, offset)

    def _else(self, kind: str, closing: tuple[Token, ...]) -> tuple[tuple[TreeNode, ...], tuple[Token, ...]]:
        if len(closing) == 1:
            otherwise, closing = self.nodes()
            if closing and closing[0].text == "else":
                hint = "a block has one {{ else }}, and {{ else if … }} comes before it"
                raise TemplateError("a second {{ else }}", offset=closing[0].offset, hint=hint)
            return otherwise, closing
        if closing[1].text != kind or kind == "range":
            hint = "write {{ else }} or {{ else if … }}"
            raise TemplateError(
                f"{{{{ else {closing[1].text} }}}} cannot stand here", offset=closing[0].offset, hint=hint
            )
        # "else if" is an "if" inside the "else"; both end at the same "end".
        return (self.block(kind, closing[1:], closing[0].offset),), (Token("word", "end", closing[0].offset),)


class _Expression:
    """One pipeline from its tokens."""

    def __init__(self, tokens: Sequence[Token], offset: int) -> None:
        self.tokens = tokens
        self.offset = offset
        self.next = 0
        self.depth = 0

    def whole(self, *, most_targets: int = 1) -> Pipeline:
        targets, declares = self._targets(most_targets)
        pipeline = self.pipeline()
        if token := self.peek():
            raise TemplateError(f"{token.text!r} cannot stand here", offset=token.offset, hint="remove it")
        return Pipeline(pipeline.commands, self.offset, targets, declares)

    def peek(self) -> Token | None:
        return self.tokens[self.next] if self.next < len(self.tokens) else None

    def _targets(self, most: int) -> tuple[tuple[str, ...], bool]:
        kinds = [token.kind for token in self.tokens[:4]]
        count = 2 if kinds[:3] == ["variable", ",", "variable"] else 1 if kinds[:1] == ["variable"] else 0
        sign = 2 * count - 1
        if not count or len(kinds) <= sign or kinds[sign] not in (":=", "="):
            return (), False
        if count > most:
            raise TemplateError("two variables only fit 'range'", offset=self.offset, hint="use one variable")
        self.next = sign + 1
        names = tuple(token.text for token in self.tokens[:sign] if token.kind == "variable")
        return names, kinds[sign] == ":="

    def pipeline(self) -> Pipeline:
        commands = [self.command()]
        while (token := self.peek()) and token.kind == "|":
            self.next += 1
            commands.append(self.command())
        return Pipeline(tuple(commands), self.offset)

    def command(self) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while (token := self.peek()) and token.kind not in ("|", ")"):
            operands.append(self.operand(token))
        if not operands:
            raise TemplateError("a value is missing", offset=self.offset, hint="write {{ .NAME }}")
        for operand in operands[1:] if operands[0].kind != "function" else ():
            hint = f"the functions are: {', '.join(FUNCTIONS)}"
            raise TemplateError("a value cannot be called like a function", offset=operand.offset, hint=hint)
        return tuple(operands)

    def operand(self, token: Token) -> Operand:
        self.next += 1
        if token.kind == "(":
            return self._parenthesised(token)
        if token.kind == "field":
            return Operand("dot", token.offset, chain=(str(token.value), *self.chain()))
        if token.kind == ".":
            return Operand("dot", token.offset)
        if token.kind == "variable":
            return Operand("variable", token.offset, token.text, self.chain())
        if token.kind == "value":
            return Operand("value", token.offset, token.value)
        if token.kind == "word":
            return _word(token)
        raise TemplateError(f"{token.text!r} cannot stand here", offset=token.offset, hint="write {{ .NAME }}")

    def _parenthesised(self, token: Token) -> Operand:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise TemplateError(f"more than {MAX_NESTING} parentheses", offset=token.offset, hint="use variables")
        inner = self.pipeline()
        closing = self.peek()
        if closing is None or closing.kind != ")":
            raise TemplateError("'(' without ')'", offset=token.offset, hint="close it")
        self.next += 1
        self.depth -= 1
        return Operand("pipeline", token.offset, inner, self.chain())

    def chain(self) -> tuple[str, ...]:
        names: list[str] = []
        while (token := self.peek()) and token.kind == "field" and not token.spaced:
            names.append(str(token.value))
            self.next += 1
        return tuple(names)


def _word(token: Token) -> Operand:
    constants = {"true": True, "false": False, "nil": None}
    if token.text in constants:
        return Operand("value", token.offset, constants[token.text])
    if token.text in FUNCTIONS:
        return Operand("function", token.offset, token.text)
    if token.text in _REFUSED:
        raise TemplateError(
            f"{token.text!r} is not supported", offset=token.offset, hint=f"supported: {', '.join(FUNCTIONS)}"
        )
    hint = f"write .{token.text} for the variable; the functions are: {', '.join(FUNCTIONS)}"
    raise TemplateError(f"no function {token.text!r}", offset=token.offset, hint=hint)

"""``${NAME}`` and ``${file:PATH}``: values that the file refers to and does not contain.

    ${NAME}             the variable of the agent's environment; an error where it is not set
    ${NAME:default}     the default where it is not set
    ${NAME:-default}    the same, also where it is set to nothing
    ${NAME:?message}    an error with this message where it is not set, or to nothing
    ${file:PATH}        what is in the file, such as a mounted secret, without the line break at its end; PATH may contain references
    $${NAME}            the text ``${NAME}``

They are replaced once, in the tree of the whole file, before anything else is read; here and nowhere else. What takes their place is text,
never a list or a template. In JavaScript ``${…}`` is the language's own and is left alone, and so is whatever names no variable, such as
``${! meta("topic") }``.

What was secret stays so. A value is one if it comes from a file, if the name of the variable or of the key where it stands says so, or if
it stands where `setpoint.secrets` expects one (``://user:${PW}@host``). `secrets` collects them; whoever runs the configuration hides
them wherever they turn up.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from setpoint.configfile.fields import Place
from setpoint.configfile.node import Mapping, Node, Scalar, Sequence
from setpoint.configfile.problem import Problem
from setpoint.data.config.substitution import NotSubstituted
from setpoint.secrets import hides, secrets_among, without_secrets

MAX_BYTES: Final = 65_536
"""The most that is read of a file."""
_REFERENCE: Final = re.compile(r"(\$+)\{([A-Za-z_][A-Za-z0-9_]{0,200}(?::(?:\$\{[^{}]{0,500}\}|[^}]){0,1000})?)\}")
_SCRIPTS: Final = frozenset({"code", "defaults", "if", "then", "advancedProcessing", "javascript"})
"""Keys of JavaScript."""
_MAPPING: Final = "mapping"
"""Expressions too where it is a mapping of fields, as in a stream processor."""
_PROBE: Final = "aB3" * 7
"""A word that is taken for a secret where one is expected."""
_OPERATOR: Final = re.compile(r"([A-Za-z_]\w*)(?:(:[-?]|:)(.*))?", re.DOTALL)
_NOT_SET: Final = re.compile(r"(?:the variable )?([A-Za-z_]\w*) is not set(?:: .*)?", re.DOTALL)


def unset_in(problem: Problem) -> str:
    """The variable whose absence is the problem, "" where that is another: a process with its own environment may have it."""
    found = _NOT_SET.fullmatch(problem.message)
    return found[1] if found else ""


def hidden(problem: Problem, secrets: frozenset[str]) -> Problem:
    """The problem without these texts: a message shows what was found, and that may have been secret."""
    if not secrets:
        return problem
    return replace(
        problem, message=without_secrets(problem.message, secrets), hint=without_secrets(problem.hint, secrets)
    )


class References:
    """Replaces references by what they refer to in the environment `env`, and remembers which of the values are secret."""

    def __init__(self, env: MappingOf[str, str] = MappingProxyType({})) -> None:
        self._env = env
        self.read = 0
        """How many references were replaced."""
        self._secrets: set[str] = set()
        self._done: dict[tuple[int, bool], Node] = {}
        self._kept: list[Node] = []

    @property
    def secrets(self) -> frozenset[str]:
        """The texts to hide, in all the ways in which they may be written (see `setpoint.secrets.secrets_among`)."""
        return secrets_among({"secret": sorted(self._secrets)})

    def replaced(self, node: Node, place: Place, *, secret: bool = False) -> Node:
        """The tree with every reference replaced; what has none is shared with the old one. Unresolved ones are reported.

        A mapping with a name in a list right below the root is an item, and its problems are the item's."""
        known = self._done.get((id(node), secret))
        if known is None:
            known = self._done[id(node), secret] = self._replaced(node, place, secret)
            self._kept.append(node)  # its id must stay its own
        return known

    def _replaced(self, node: Node, place: Place, secret: bool) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node, place, secret)
        if isinstance(node, Sequence):
            items = [
                self.replaced(child, _item(child, place.at(index)), secret=secret)
                for index, child in enumerate(node.items)
            ]
            if all(new is old for new, old in zip(items, node.items, strict=True)):
                return node
            return Sequence(node.mark, items, node.dynamic, any(item.flawed for item in items), node.size)
        children = {
            key: child
            if _is_script(key, child)
            else self.replaced(child, place.at(key), secret=secret or hides(key, "x"))
            for key, child in node.items.items()
        }
        if all(children[key] is child for key, child in node.items.items()):
            return node
        flawed = node.flawed or any(child.flawed for child in children.values())
        return Mapping(node.mark, children, node.keys, node.dynamic, flawed, node.size)

    def _scalar(self, scalar: Scalar, place: Place, secret: bool) -> Node:
        if "${" not in scalar.text or not isinstance(scalar.value, str):
            return scalar
        try:
            text = self._text(scalar.text, secret)
            if scalar.dynamic and "{{" in text.replace("{{", "", scalar.text.count("{{")):
                raise NotSubstituted(
                    "a value with '{{' cannot stand in a template", "give it as a variable of the bridge"
                )
        except NotSubstituted as error:
            place.error(scalar.mark, str(error), error.hint)
            return Scalar(scalar.mark, None, scalar.text, flawed=True)
        return Scalar(scalar.mark, text, text, scalar.dynamic, scalar.literal) if text != scalar.text else scalar

    def _text(self, text: str, secret: bool) -> str:
        """The text with what its references stand for. Raises `NotSubstituted`."""

        def change(found: re.Match[str]) -> str:
            dollars, inside = found.groups()
            kept = "$" * (len(dollars) // 2)
            if len(dollars) % 2 == 0:
                return f"{kept}{{{inside}}}"
            expected = text[: found.start()] + _PROBE + text[found.end() :]
            self.read += 1
            return kept + self._value(inside, secret or _PROBE not in without_secrets(expected))

        return _REFERENCE.sub(change, text)

    def _value(self, inside: str, secret: bool) -> str:
        matched = _OPERATOR.fullmatch(inside)
        assert matched is not None  # the references that are found begin with a name
        name, operator, rest = matched.groups(default="")
        secret = secret or hides(name, "x")
        if name == "file" and operator:
            value, secret = _read(self._text(inside.partition(":")[2], False)), True
        else:
            given = self._env.get(name)
            missing = given is None or (given == "" and operator in (":-", ":?"))
            value = self._default(name, operator, rest, secret) if given is None or missing else given
        if secret:
            self._secrets.add(value)
        return value

    def _default(self, name: str, operator: str, rest: str, secret: bool) -> str:
        """What stands for a variable that is not set. Raises `NotSubstituted`."""
        if operator in (":", ":-"):
            return self._text(rest, secret)
        if operator:
            raise NotSubstituted(f"{name} is not set: {rest}", f"set {name}")
        hint = f"set it, or give it a default: ${{{name}:-default}}; where the text is meant, $${{{name}}}"
        raise NotSubstituted(f"the variable {name} is not set", hint)


def _item(node: Node, place: Place) -> Place:
    """The place of an entry of a list: a mapping with a name right below the root is an item."""
    if place.item is None and "." not in place.key and isinstance(node, Mapping):
        name = node.items.get("name")
        if isinstance(name, Scalar) and name.value is not None:
            return place._replace(item=name.text)
    return place


def _is_script(key: str, child: Node) -> bool:
    return key in _SCRIPTS if isinstance(child, Scalar) else key == _MAPPING and isinstance(child, Mapping)


def _read(path: str) -> str:
    """What is in the file. Raises `NotSubstituted`."""
    hint = "name a readable text file by its whole path, such as ${file:/run/secrets/plc}"
    if not PurePosixPath(path).is_absolute() or "\0" in path:
        raise NotSubstituted(f"the path {path[:100]!r} does not begin with '/'", hint)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotSubstituted(f"the file {path[:200]!r} is no regular file", hint)
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except PermissionError:
        raise NotSubstituted(f"the file {path[:200]!r} may not be read by this user", hint) from None
    except OSError as error:
        raise NotSubstituted(f"the file {path[:200]!r} cannot be read: {error.strerror}", hint) from None
    except UnicodeDecodeError:
        raise NotSubstituted(f"the file {path[:200]!r} is not UTF-8 text", hint) from None
    if len(content) > MAX_BYTES:
        raise NotSubstituted(f"the file {path[:200]!r} is larger than {MAX_BYTES:,} bytes", hint)
    if not text:
        raise NotSubstituted(f"the file {path[:200]!r} is empty", "write the value into it")
    return text

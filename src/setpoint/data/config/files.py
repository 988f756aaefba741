"""Files that make one document: ``$include``, ``$import`` and ``extends``, all contained in one folder.

    $include: common.yaml                     the keys of the other file that the mapping here does not have
    $import: {file: parts.yaml, path: a.b}    in place of the mapping: the other file, or the part of it at the path
    extends: base.yaml                        at the top of a file: the file laid over the other one (see `layers`)

Paths are relative to the file that names them and may not leave the folder of the first file, or the wider one the caller allows
(`root`), not even through a symbolic link. A file that needs itself is an error that names the whole circle. ``${VARIABLE}`` may stand in
the path.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from setpoint.configfile import Fields, Mapping, Mark, Node, Place, Report, Scalar, Sequence, compose
from setpoint.configfile.compose import MAX_VALUES, UNPRINTABLE
from setpoint.configfile.node import written_out
from setpoint.data.config.layers import laid_over, with_defaults
from setpoint.data.config.substitution import Change

MAX_BYTES: Final = 20_000_000
_SURROGATES: Final = re.compile(r"(\\\\)|\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
ODD: Final = re.compile(f"{UNPRINTABLE.pattern}|[\x85\u2028\u2029]")


class Home(NamedTuple):
    """Where a document stands: the folder that its paths start from, and the files that are being read because of each other."""

    folder: Path | None
    files: tuple[Path, ...] = ()
    shown: str = ""


class Files:
    """Reads documents below `root`, each once. What is wrong goes to the report."""

    def __init__(self, report: Report, root: Path | None, environment: Change) -> None:
        self.report = report
        self.root = root.resolve() if root else None
        self.environment = environment
        self.documents: dict[Path, Node | None] = {}
        self.sizes: dict[int, int] = {}
        self.kept: list[Node] = []  # so that the ids in `sizes` stay theirs
        self.active = False
        """Whether templates or variables may stand in what was read; most files have none, and need not be walked for them."""

    def first(self, path: Path, shown: str) -> Node | None:
        """The document of the file itself, its directives followed."""
        return self.document(path.resolve(), Home(path.resolve().parent, (path.resolve(),), shown), Place(self.report))

    def text(self, text: str, shown: str, home: Home, place: Place) -> Node | None:
        """The document of a text, its directives followed."""
        node = parsed(text, shown, place)
        if node is None or not any(sign in text for sign in ("$", "template", "extends", "\\")):
            return node
        return self.expanded(node, home, place)

    def expanded(self, node: Node, home: Home, place: Place) -> Node | None:
        """A document with its directives followed and its bases under it."""
        self.active = True
        node = self._expand(node, home, place)
        if isinstance(node, Mapping) and "extends" in node.items:
            node = self._extended(node, home, place)
        self.kept.append(node)
        return None if too_large(node, self.sizes, place) else node

    def document(self, path: Path, home: Home, place: Place, mark: Mark = Mark(1, 1)) -> Node | None:  # noqa: B008
        """The document in a file, from memory where it was read before."""
        if path not in self.documents:
            text = _read(path, home.shown, place, mark)
            self.documents[path] = None if text is None else self.text(text, home.shown, home, place)
        return self.documents[path]

    def other(self, named: Node, home: Home, place: Place) -> Node | None:
        """The document of the file that a document names."""
        found = self.locate(named, home, place)
        return None if found is None else self.document(found.files[-1], found, Place(self.report), named.mark)

    def locate(self, named: Node, home: Home, place: Place) -> Home | None:
        """Where the file stands that a document names; None, and a problem, where that may not be or is a circle."""
        named = self.environment(named, place) if isinstance(named, Scalar) else named
        if not isinstance(named, Scalar) or not isinstance(named.value, str) or not named.text or "\0" in named.text:
            if not named.flawed:
                place.error(named.mark, "expected the path of a file", "write a path relative to this file")
            return None
        if home.folder is None or self.root is None:
            hint = "load a file, or say where paths start with root="
            place.error(named.mark, "a text that is no file cannot name other files", hint)
            return None
        try:
            path = (home.folder / named.text).resolve()
        except (OSError, RuntimeError) as error:
            place.error(named.mark, f"{named.text[:80]!r} cannot be followed: {error}", "correct the path")
            return None
        if not path.is_relative_to(self.root):
            message = f"{named.text[:80]!r} is outside of the folder of this configuration"
            place.error(named.mark, message, "move the file into it, or allow a wider folder with root=")
            return None
        if path in home.files:
            circle = [*home.files[home.files.index(path) :], path]
            names = " → ".join(str(file.relative_to(self.root)) for file in circle)
            place.error(named.mark, f"the files need each other in a circle: {names}", "remove one of the references")
            return None
        shown = os.path.normpath(os.path.join(os.path.dirname(home.shown), named.text))
        return Home(path.parent, (*home.files, path), shown)

    def _expand(self, node: Node, home: Home, place: Place) -> Node:
        if isinstance(node, Sequence):
            items = [self._expand(child, home, place.at(index)) for index, child in enumerate(node.items)]
            same = all(new is old for new, old in zip(items, node.items, strict=True))
            return node if same else Sequence(node.mark, items, flawed=node.flawed)
        return self._mapping(node, home, place) if isinstance(node, Mapping) else node

    def _mapping(self, node: Mapping, home: Home, place: Place) -> Node:
        if "$import" in node.items:
            return self._imported(node, home, place)
        children = {key: self._expand(child, home, place.at(key)) for key, child in node.items.items()}
        changed = any(children[key] is not child for key, child in node.items.items())
        named = children.pop("$include", None)
        if named is None:
            return Mapping(node.mark, children, node.keys, flawed=node.flawed) if changed else node
        whole = Mapping(node.mark, children, node.keys, flawed=node.flawed)
        step = place.at("$include")
        for file in named.items if isinstance(named, Sequence) else [named]:
            part = self.other(file, home, step)
            if isinstance(part, Mapping):
                whole = with_defaults(whole, part)
            elif part is not None:
                step.error(file.mark, "the included file is no mapping", "use $import for a list or a single value")
        return whole

    def _imported(self, node: Mapping, home: Home, place: Place) -> Node:
        step, named = place.at("$import"), node.items["$import"]
        for key in node.items:
            if key != "$import":
                hint = "use $include to add keys to those of another file"
                place.at(key).error(
                    node.keys[key], "$import stands for the whole mapping; no other key may be in it", hint
                )
        path: Node | None = None
        if isinstance(named, Mapping):
            with Fields(named, step) as fields:
                file, path = fields.get("file", required="the path of a file"), fields.get("path")
        else:
            file = named
        found = self.other(file, home, step) if file is not None else None
        if found is not None and isinstance(path, Scalar):
            found = _part(found, path, step.at("path"))
        return found if found is not None else Scalar(node.mark, None, "", flawed=True)

    def _extended(self, node: Mapping, home: Home, place: Place) -> Node:
        named = node.items["extends"]
        whole: Mapping | None = None
        for file in named.items if isinstance(named, Sequence) else [named]:
            base = self.other(file, home, place.at("extends"))
            if base is not None and not isinstance(base, Mapping):
                place.at("extends").error(file.mark, "the base is no mapping", "name a file with the keys of a machine")
            elif isinstance(base, Mapping):
                whole = base if whole is None else laid_over(whole, base)
        rest = Mapping(node.mark, {key: child for key, child in node.items.items() if key != "extends"}, node.keys)
        rest.flawed = node.flawed
        return rest if whole is None else laid_over(whole, rest)


def too_large(node: Node, sizes: dict[int, int], place: Place) -> bool:
    """Whether the tree has more values than are allowed, which is then reported."""
    if written_out(node, sizes) <= MAX_VALUES:
        return False
    message = f"more than {MAX_VALUES:,} values, with all that is used in several places written out"
    place.error(
        node.mark, message, "use fewer includes of includes and templates of templates, or split the configuration"
    )
    return True


def parsed(text: str, shown: str, place: Place) -> Node | None:
    """The tree of a YAML or JSON text; its faults go to the report."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        text = _as_yaml(text)
    node, faults = compose(text, shown)
    for fault in faults:
        at = place
        for step in fault.path:
            at = at.at(step)
        at.error(fault.mark, fault.message, fault.hint)
    if node is None and not faults:
        place.error(Mark(1, 1, shown), "the file is empty", "expected a machine: name, and states or networks")
    return node


def _as_yaml(text: str) -> str:
    """JSON so that it means the same as YAML: two escapes that are one character there, and characters that only JSON takes as they are."""
    text = _SURROGATES.sub(_one_character, text)
    if ODD.search(text):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return text
        text = escaped_json(text)
    return text


def escaped_json(text: str) -> str:
    """JSON without characters that YAML refuses or takes for line breaks."""
    return ODD.sub(lambda character: f"\\u{ord(character[0]):04x}", text)


def _one_character(matched: re.Match[str]) -> str:
    if matched[1]:
        return matched[1]
    return f"\\U{ord(json.loads(chr(34) + matched[0] + chr(34))):08x}"


def _read(path: Path, shown: str, place: Place, mark: Mark) -> str | None:
    try:
        if not path.is_file():
            place.error(
                mark, f"there is no file {shown}" if not path.exists() else f"{shown} is no file", "correct the path"
            )
        elif path.stat().st_size > MAX_BYTES:
            place.error(mark, f"{shown} has more than {MAX_BYTES:,} bytes", "split it, or move large texts out of it")
        else:
            return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place.error(mark, f"{shown} is not UTF-8 text (byte {error.start})", "save it as UTF-8")
    except (OSError, ValueError) as error:
        place.error(mark, f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}", "make it readable")
    return None


def _part(node: Node, path: Scalar, place: Place) -> Node | None:
    at = node
    for step in path.text.split("."):
        if isinstance(at, Mapping) and step in at.items:
            at = at.items[step]
        elif isinstance(at, Sequence) and step.isdecimal() and int(step) < len(at.items):
            at = at.items[int(step)]
        else:
            near = place.nearest(step, at.items) if isinstance(at, Mapping) else ""
            hint = f"did you mean {near!r}?" if near else "name keys, and numbers of list entries, with dots between"
            place.error(path.mark, f"the file has nothing at {path.text[:80]!r}: no {step[:60]!r}", hint)
            return None
    return at

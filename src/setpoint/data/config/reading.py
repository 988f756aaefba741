"""Reading: from a file, a text or Python data to a `Definition`, with everything that is wrong with it.

One document passes, in this order: its YAML or JSON is parsed; `$include`, `$import` and `extends` are followed; overlays of the caller are
laid over it; templates are replaced; ``${VARIABLES}`` are put in; the machine is read. Each step reports what it finds and goes on, so that
all faults come out at once. There is a definition only where there is no fault.

A network may be another file's machine:

    networks:
      - {name: pricing, use: "pricing.yaml#totals", version: "2"}

`use` names a file, and a network of it after the ``#`` (without one, its main network). `version` is the version the other machine must
have, or the beginning of it: "2" takes 2, 2.1 and 2.1.7. Networks that the used one pushes into come along, named ``pricing.other``, and so
do its resources; the states keep the data mode they have there, limits and strategy are those of the machine that uses it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from setpoint.configfile import Fields, Mapping, Mark, Node, Place, Problem, Report, Scalar, found, from_python
from setpoint.data import definition as d
from setpoint.data.config.files import Files, Home
from setpoint.data.config.layers import laid_over
from setpoint.data.config.machine import MachineReader
from setpoint.data.config.references import References
from setpoint.data.config.substitution import Walk, substitution
from setpoint.data.config.templating import Templates

Source = str | Path | MappingOf[str, Any]
FALLBACK: Final = "FSM_"
"""A variable that is not set may be given under its name with this before it, as other tools have it."""


class Loaded(NamedTuple):
    """What a source says: the machine, or None and the errors that are in the way. `problems` are in the order of the files."""

    definition: d.Definition | None
    problems: tuple[Problem, ...]


class ConfigError(ValueError):
    """A configuration cannot be used. `problems` has every fault, each with its place and what to do."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            f"{count} error{'s' * (count != 1)} in the configuration:\n" + "\n".join(f"  {one}" for one in problems)
        )


def load(
    source: Source,
    *,
    trust: bool = False,
    env: MappingOf[str, str] | None = None,
    root: str | Path | None = None,
    functions: Collection[str] = (),
    overlays: Sequence[Source] = (),
) -> d.Definition:
    """The machine that a file, a text or a mapping describes; arguments as for `read`. Raises `ConfigError` with every fault."""
    loaded = read(source, trust=trust, env=env, root=root, functions=functions, overlays=overlays)
    if loaded.definition is None:
        raise ConfigError(loaded.problems)
    return loaded.definition


def read(
    source: Source,
    *,
    trust: bool = False,
    env: MappingOf[str, str] | None = None,
    root: str | Path | None = None,
    functions: Collection[str] = (),
    overlays: Sequence[Source] = (),
) -> Loaded:
    """The machine that a source describes, and what is wrong with it. Never raises for what the source says, nor for a missing file.

    A `Path` is a file; so is a text without a line break or brace. With `trust` the source may hold Python code; nothing of it runs here.
    `env` (by default that of the process) gives ``${VARIABLES}``. `root` is the folder that other files must be in (by default that of the
    file). `functions` are names of the caller's functions, so that a bare word in a condition can mean one. `overlays` are laid over the
    source, the last on top.
    """
    shown = _shown(source)
    report = Report(shown)
    try:
        definition = _Assembly(report, trust, os.environ if env is None else env, functions).read(
            source, root, overlays
        )
    except RecursionError:
        Place(report).error(Mark(0, 0), "templates, includes or lists are nested too deeply", "write them flatter")
        definition = None
    problems = sorted(report.problems.values(), key=lambda one: (one.source != shown, one.source, one.line, one.column))
    if report.left_out:
        problems.append(
            Problem(
                f"{report.left_out} more problems are not shown", 0, 0, hint="correct those above first", source=shown
            )
        )
    return Loaded(None if problems else definition, tuple(problems))


def _shown(source: Source) -> str:
    return str(source) if _is_file(source) else "<text>" if isinstance(source, str) else "<config>"


def _is_file(source: Source) -> bool:
    return isinstance(source, Path) or (isinstance(source, str) and not any(sign in source for sign in "\n{"))


class _Assembly:
    """Puts one machine together, with the machines it uses."""

    def __init__(self, report: Report, trust: bool, env: MappingOf[str, str], functions: Collection[str]) -> None:
        self.report = report
        self.trust = trust
        self.functions = functions
        self.environment = substitution(lambda name: env.get(name, env.get(FALLBACK + name)))
        self.resources: dict[str, d.ResourceDef] = {}

    def read(self, source: Source, root: str | Path | None, overlays: Sequence[Source]) -> d.Definition | None:
        folder = Path(source).resolve().parent if isinstance(source, str | Path) and _is_file(source) else None
        self.files = Files(self.report, Path(root) if root is not None else folder, self.environment)
        home = Home(folder or (Path(root).resolve() if root is not None else None))
        node, home = self._document(source, home)
        for overlay in overlays:
            upper, _ = self._document(overlay, home)
            if isinstance(node, Mapping) and isinstance(upper, Mapping):
                node = laid_over(node, upper)
            elif upper is not None and node is not None:
                Place(self.report).error(upper.mark, "an overlay is a mapping", "give keys of the machine")
        return None if node is None else self._machine(node, home)

    def _document(self, source: Source, home: Home) -> tuple[Node | None, Home]:
        place, shown = Place(self.report), _shown(source)
        if isinstance(source, str | Path) and _is_file(source):
            path = Path(source).resolve()
            if self.files.root is None:
                self.files.root = path.parent
            here = Home(path.parent, (path,), shown)
            return self.files.document(path, here, place), here
        if isinstance(source, str):
            here = home._replace(shown=shown)
            return self.files.text(source, shown, here, place), here
        try:
            return self.files.expanded(from_python(source), home, place), home
        except ValueError as error:
            place.error(Mark(0, 0), str(error), "give plain data")
            return None, home

    def _machine(self, node: Node, home: Home) -> d.Definition | None:
        place = Place(self.report)
        if not isinstance(node, Mapping):
            if not node.flawed:
                place.error(
                    node.mark, f"a machine is a mapping with name and states, found {found(node)}", "indent its keys"
                )
            return None
        root = node
        if self.files.active:
            walked = Walk(self.environment).node(Templates(self.report).applied(node), place)
            assert isinstance(walked, Mapping)  # a mapping stays one
            root = walked
        users: list[tuple[Fields, d.Definition]] = []

        def use(fields: Fields, name: str) -> list[d.NetworkDef]:
            other = self._used(fields, home)
            if other is None or not name:
                return []
            users.append((fields, other[0]))
            return list(_renamed(other[0], other[1], name))

        references = References(self.trust, self.functions)
        definition = MachineReader(root, place, references, use).definition()
        for fields, other in users:
            definition = _joined(definition, other, fields)
        return definition

    def _used(self, fields: Fields, home: Home) -> tuple[d.Definition, str] | None:
        """The machine that a network uses, and which network of it; checked against the version asked for."""
        node, version = fields.get("use"), fields.text("version")
        place = fields.place.at("use")
        file, _, network = node.text.partition("#") if isinstance(node, Scalar) else ("", "", "")
        mark = node.mark if node is not None else fields.mark
        found_at = self.files.locate(Scalar(mark, file, file), home, place)
        if found_at is None:
            return None
        before = self.report.errors
        other_node = self.files.document(found_at.files[-1], found_at, place, mark)
        other = None if other_node is None else self._machine(other_node, found_at)
        if other is None or self.report.errors != before:
            return None
        names = [one.name for one in other.networks]
        if network and network not in names:
            near = place.nearest(network, names)
            hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(names)}"
            place.error(mark, f"{file} has no network {network[:60]!r}", hint)
            return None
        if version and other.version != version and not other.version.startswith(version + "."):
            at = fields.place.at("version")
            at.error(
                fields.mark_of("version"),
                f"{file} has the version {other.version!r}, not {version!r}",
                "use it, or ask for it",
            )
            return None
        return other, network or other.main_network


def _renamed(other: d.Definition, network: str, name: str) -> Iterator[d.NetworkDef]:
    """The network under its new name, and those it pushes into, under the names that go with it."""
    wanted, names = [network], {network: name}
    for one in wanted:
        for push in (arc.push for state in other.network(one).states for arc in state.arcs):
            if push is not None and push.network not in names:
                names[push.network] = f"{name}.{push.network}"
                wanted.append(push.network)
    for one in wanted:
        states = tuple(_renamed_state(state, names, other.data_mode) for state in other.network(one).states)
        yield replace(other.network(one), name=names[one], states=states)


def _renamed_state(state: d.StateDef, names: dict[str, str], mode: d.DataMode) -> d.StateDef:
    arcs = tuple(
        arc if arc.push is None else replace(arc, push=replace(arc.push, network=names[arc.push.network]))
        for arc in state.arcs
    )
    return replace(state, arcs=arcs, data_mode=state.data_mode or mode)


def _joined(definition: d.Definition, other: d.Definition, fields: Fields) -> d.Definition:
    """The machine with the resources of one it uses."""
    own = {resource.name: resource for resource in definition.resources}
    for resource in other.resources:
        mine = own.setdefault(resource.name, resource)
        if _bare(mine) != _bare(resource):
            message = f"both machines have a resource {resource.name!r}, and they differ"
            fields.place.at("use").error(fields.mark_of("use"), message, "rename one of them, or make them the same")
    if definition.none != other.none:
        message = f"None from a transform means {other.none!r} there and {definition.none!r} here"
        fields.place.at("use").error(fields.mark_of("use"), message, "give both the same 'none'")
    return replace(definition, resources=tuple(own.values()))


def _bare(resource: d.ResourceDef) -> d.ResourceDef:
    retry = resource.retry and replace(resource.retry, place=d.NOWHERE)
    return replace(resource, place=d.NOWHERE, retry=retry)

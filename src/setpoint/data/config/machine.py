"""The machine itself: from the top of a document to a `Definition`.

Full form: `networks`, each with states. Short form: `states` (and `arcs`) at the top, which make one network called "main". Both take the
same other keys. What is wrong goes to the report; there is a definition only where nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from setpoint.configfile import Fields, Mapping, Mark, Node, Place, Scalar, Sequence, found
from setpoint.data import definition as d
from setpoint.data.config import words
from setpoint.data.config.networks import NetworkReader, no_state
from setpoint.data.config.references import Link, References, place_of

MAIN: Final = "main"
Use = Callable[[Fields, str], list[d.NetworkDef]]
"""Gives the networks of another file's machine, for the fields of a network that says `use` and its name."""


class MachineReader:
    """Reads one document, its directives and templates replaced."""

    def __init__(self, root: Mapping, place: Place, references: References, use: Use) -> None:
        self.fields = Fields(root, place)
        self.references = references
        self.use = use
        self.modes: dict[str, d.DataMode] = {}
        self.names: set[str] = set()
        """All networks that the document has, those too that could not be read."""

    def definition(self) -> d.Definition:
        """The machine as far as it can be read."""
        with self.fields as fields:
            self.references.section(fields)
            default = self._modes(fields)
            short = fields.has("states") and not fields.has("networks")
            networks = self._only_network(fields) if short else self._networks(fields)
            self._check_links(networks)
            strategy = words.one_of(fields, "execution_strategy", words.STRATEGIES)
            none = words.one_of(fields, "none", ("keep", "drop"))
            definition = d.Definition(
                name=words.name_of(fields, "machine"),
                networks=tuple(networks),
                main=self._main(fields, networks),
                version=fields.text("version", default="1"),
                doc=words.doc(fields),
                data_mode=default or d.DataMode.COPY,
                strategy=d.Strategy(strategy) if strategy else d.Strategy.DEPTH_FIRST,
                none="drop" if none == "drop" else "keep",
                max_transitions=fields.integer("max_transitions", default=1000, low=1),
                max_depth=fields.integer("max_depth", default=100, low=1, high=1000),
                max_parts=fields.integer("max_parts", default=10_000, low=1),
                timeout=words.seconds(fields),
                transactions=words.one_of(fields, "transactions", words.TRANSACTIONS) or "none",  # type: ignore[arg-type]
                resources=tuple(self._resources(fields)),
                metadata=fields.data("metadata"),
                place=place_of(fields.mark, fields.place),
            )
            fields.refuse(words.REFUSED_IN_MACHINE)
        return definition

    def _only_network(self, fields: Fields) -> list[d.NetworkDef]:
        fields.get("networks")
        network = NetworkReader(fields, self.references, MAIN, self.modes).network(metadata=False)
        self._check_modes([network])
        return [network]

    def _networks(self, fields: Fields) -> list[d.NetworkDef]:
        if fields.has("states"):
            hint = "put them into a network, or remove networks"
            fields.place.at("states").error(fields.mark_of("states"), "states stand beside networks", hint)
            for key in ("states", "arcs", "initial_state"):
                fields.get(key)
        node = fields.get("networks", required="networks with states, or just states")
        networks: list[d.NetworkDef] = []
        for given, child, place, mark in self._network_entries(node, fields.place.at("networks")):
            with words.part(child, place, "a network: name and states") as inner:
                networks += self._network(inner, given, [network.name for network in networks], mark)
                inner.refuse(words.REFUSED_IN_NETWORK)
        if (
            node is not None
            and not networks
            and not node.flawed
            and not (isinstance(node, Sequence | Mapping) and node.items)
        ):
            fields.place.at("networks").error(node.mark, "no network is there", "add one with name and states")
        self._check_modes(networks)
        return networks

    def _network_entries(self, node: Node | None, place: Place) -> list[tuple[str, Node, Place, Mark]]:
        if isinstance(node, Sequence):
            return [("", child, place.at(number), child.mark) for number, child in enumerate(node.items)]
        if isinstance(node, Mapping):
            return [(name, child, place.at(name), node.keys[name]) for name, child in node.items.items()]
        if node is not None and not node.flawed:
            place.error(
                node.mark, f"expected networks, found {found(node)}", "write a list of networks, or a mapping by name"
            )
        return []

    def _network(self, fields: Fields, given: str, earlier: list[str], mark: Mark) -> list[d.NetworkDef]:
        if given:
            words.same_name(fields, given)
        usable = not given or words.check_name(given, fields.place, mark)
        name = (given if usable else "") if given else words.name_of(fields, "network")
        if name in earlier:
            fields.place.error(mark, f"the network {name[:60]!r} is there twice", "rename one of them")
            name = ""
        self.names.add(name)
        if fields.get("use") is not None:
            return self.use(fields, name)
        network = NetworkReader(fields, self.references, name, self.modes).network()
        return [network] if name else []

    def _main(self, fields: Fields, networks: list[d.NetworkDef]) -> str:
        main, names = fields.text("main_network"), [network.name for network in networks]
        if main and main not in names and main not in self.names:
            near = fields.place.nearest(main, names)
            hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(names) or 'none'}"
            message = f"there is no network {main[:60]!r}"
            fields.place.at("main_network").error(fields.mark_of("main_network"), message, hint)
            return ""
        return main or (names[0] if names else "")

    def _modes(self, fields: Fields) -> d.DataMode | None:
        """The data mode of all states; those of single states are kept for them."""
        if not isinstance(fields.get("data_mode"), Mapping):
            return words.mode(fields)
        with fields.fields("data_mode") as inner:
            default = words.mode(inner, "default")
            with inner.fields("state_overrides") as overrides:
                for name, _, _ in overrides.all():
                    if (mode := words.mode(overrides, name)) is not None:
                        self.modes[name] = mode
            inner.refuse(words.REFUSED_IN_MODE)
        return default

    def _check_modes(self, networks: list[d.NetworkDef]) -> None:
        names = {state.name for network in networks for state in network.states}
        names |= {f"{network.name}:{state.name}" for network in networks for state in network.states}
        for name in self.modes:
            if name not in names:
                place = self.fields.place.at("data_mode").at("state_overrides").at(name)
                near = place.nearest(name, names)
                hint = f"did you mean {near!r}?" if near else "name a state, or network:state"
                place.error(self.fields.mark_of("data_mode"), f"there is no state {name[:60]!r}", hint)

    def _check_links(self, networks: list[d.NetworkDef]) -> None:
        states = {network.name: [state.name for state in network.states] for network in networks}
        for link in self.references.links:
            if link.kind == "network" and link.name.partition(":")[0] not in self.names - states.keys():
                _check_push(link, states)
            elif link.kind == "state" and link.network in states and link.name not in states[link.network]:
                no_state(link.name, states[link.network], link.network, link.place, link.mark)

    def _resources(self, fields: Fields) -> list[d.ResourceDef]:
        node = fields.get("resources")
        if node is None or node.flawed:
            return []
        place = fields.place.at("resources")
        if isinstance(node, Mapping):
            entries = [(name, child, place.at(name)) for name, child in node.items.items()]
        elif isinstance(node, Sequence):
            entries = [("", child, place.at(number)) for number, child in enumerate(node.items)]
        else:
            place.error(
                node.mark, f"expected resources, found {found(node)}", "write a list of resources, or a mapping by name"
            )
            return []
        resources: dict[str, d.ResourceDef] = {}
        for name, child, at in entries:
            with words.part(child, at, "a resource: name, type and config") as inner:
                resource = _resource(inner, name)
                if resource.name in resources:
                    inner.place.error(
                        inner.mark, f"the resource {resource.name[:60]!r} is there twice", "rename one of them"
                    )
                resources[resource.name] = resource
        return list(resources.values())


def _check_push(link: Link, states: dict[str, list[str]]) -> None:
    network, _, state = link.name.partition(":")
    if network not in states:
        near = link.place.nearest(network, states)
        hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(states)}"
        link.place.error(link.mark, f"there is no network {network[:60]!r}", hint)
    elif state and state not in states[network]:
        no_state(state, states[network], network, link.place, link.mark)


def _resource(fields: Fields, name: str) -> d.ResourceDef:
    """One resource. Its flat settings are those every resource has; what its type needs stands in `config`."""
    interval = fields.number("health_check_interval", above=True)
    if name:
        words.same_name(fields, name)
    resource = d.ResourceDef(
        name=name or words.name_of(fields, "resource"),
        type=fields.text("type", required="the kind of resource, such as database or http"),
        config=fields.data("config"),
        pool_size=fields.integer(fields.either("pool_size", "connection_pool_size"), default=10, low=1, high=10_000),
        timeout=words.seconds(fields) or 30.0,
        retry=_resource_retry(fields),
        health_check_interval=interval,
        place=place_of(fields.mark, fields.place),
    )
    for key, node in (fields.node.items if fields.node else {}).items():
        if key in _OF_CONFIG and isinstance(node, Scalar):
            fields.refuse({key: f"put it under config: {{{key}: …}}"})
    return resource


_OF_CONFIG: Final = frozenset((
    "url", "path", "base_path", "root", "base_url", "host", "port", "database", "user", "username", "password", "headers", "ttl",
    "max_size", "dsn", "connection_string",
))  # fmt: skip


def _resource_retry(fields: Fields) -> d.Retry | None:
    attempts = fields.integer("retry_attempts", default=0, low=1, high=1000)
    delay = fields.number("retry_delay_seconds", default=1.0)
    retry = words.retry(fields)
    if retry is not None and attempts:
        fields.place.at("retry_attempts").error(
            fields.mark_of("retry_attempts"), "says the same as 'retry'", "keep one of them"
        )
    if retry is not None or not attempts:
        return retry
    return d.Retry(attempts=attempts, delay=1.0 if delay is None else delay, place=place_of(fields.mark, fields.place))

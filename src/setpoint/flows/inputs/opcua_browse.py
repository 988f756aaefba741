"""From node ids to tags: which variables are meant, and what is said of each.

A node that is a variable is itself meant. One that is an object (a folder, a device) means all variables below it: hierarchical
references are followed level by level, each node once, so that a server whose references form a ring comes to an end. Below a variable
only its components are followed; its properties (units, ranges) are not readings.

A tag's path are the browse names from the node that was asked for down to the variable, joined by dots; its group are those without the
last, and its name is the last; of a variable that was asked for itself, path, group and name are its browse name. Two tags of one group
with one name are told apart by the node id behind the name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIdNames, ObjectIds

from setpoint.flows.component import Meta
from setpoint.flows.modbus_address import safe_name
from setpoint.flows.opcua_session import Session

MAX_DEPTH: Final = 32
MAX_TAGS: Final = 100_000
_ABOUT: Final = (AttributeIds.DataType, AttributeIds.AccessLevel, AttributeIds.Description)


class Tag(NamedTuple):
    """One variable, and the meta its messages carry."""

    node: ua.NodeId
    meta: Meta


class Found(NamedTuple):
    """What the server has of the nodes that were asked for."""

    tags: list[Tag]
    missing: list[ua.NodeId]
    """Nodes it does not have."""


class _Place(NamedTuple):
    """A node on the way, and the browse names that lead to it, its own among them."""

    node: ua.NodeId
    path: tuple[str, ...]
    is_variable: bool


async def find(session: Session, texts: Sequence[str], failed: Callable[[str], None]) -> Found:
    """The tags that these node ids mean. What cannot be browsed goes to `failed`. Raises `ConnectError`.

    Raises `ValueError` where there are more than `MAX_TAGS`.
    """
    places, missing = await _asked_for(session, await session.node_ids(texts))
    seen = {place.node for place in places}
    variables: list[_Place] = [place for place in places if place.is_variable]
    level = places
    for _ in range(MAX_DEPTH):
        below = {place.node: place for place in await _below(session, level, failed) if place.node not in seen}
        seen.update(below)
        level = list(below.values())
        variables += [place for place in level if place.is_variable]
        if len(variables) > MAX_TAGS:
            raise ValueError(f"the nodes hold more than {MAX_TAGS} variables; name the folders that are wanted")
        if not level:
            break
    else:
        failed(f"folders nest deeper than {MAX_DEPTH} levels; what lies below is left out")
    return Found(await _tags(session, variables), missing)


async def _asked_for(session: Session, nodes: Sequence[ua.NodeId]) -> tuple[list[_Place], list[ua.NodeId]]:
    nodes = list(dict.fromkeys(nodes))
    classes = await session.read([(node, AttributeIds.NodeClass) for node in nodes])
    names = await session.read([(node, AttributeIds.BrowseName) for node in nodes])
    places, missing = [], []
    for node, kind, name in zip(nodes, classes, names, strict=True):
        if not _good(kind) or kind.Value is None:
            missing.append(node)
            continue
        places.append(_Place(node, (_name(name, node),), kind.Value.Value == ua.NodeClass.Variable))
    return places, missing


async def _below(session: Session, level: Sequence[_Place], failed: Callable[[str], None]) -> list[_Place]:
    """The variables and objects that the nodes of this level refer to."""
    found: list[_Place] = []
    answers = await session.browse([_wanted(place) for place in level])
    for place, (status, references) in zip(level, answers, strict=True):
        if not status.is_good():
            failed(f"{place.node.to_string()} cannot be browsed: {status.name}")
        for reference in references:
            node = reference.NodeId
            if getattr(node, "ServerIndex", 0) or getattr(node, "NamespaceUri", None):
                continue  # lies on another server
            name = str(reference.BrowseName.Name or node.to_string())
            node = ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)
            found.append(_Place(node, (*place.path, name), reference.NodeClass == ua.NodeClass.Variable))
    return found


def _wanted(place: _Place) -> ua.BrowseDescription:
    kind = ObjectIds.HasComponent if place.is_variable else ObjectIds.HierarchicalReferences
    return ua.BrowseDescription(
        NodeId=place.node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.Int32(kind)),
        IncludeSubtypes=True,
        NodeClassMask=ua.NodeClass.Variable | ua.NodeClass.Object,
        ResultMask=ua.BrowseResultMask.All,
    )


async def _tags(session: Session, variables: Sequence[_Place]) -> list[Tag]:
    about = await session.read([(place.node, attribute) for place in variables for attribute in _ABOUT])
    rows = [about[at : at + len(_ABOUT)] for at in range(0, len(about), len(_ABOUT))]
    kinds = await _type_names(session, [row[0] for row in rows])
    taken: set[tuple[str, str]] = set()
    tags = []
    for place, (_, access, text), kind in zip(variables, rows, kinds, strict=True):
        *above, name = [safe_name(part) for part in place.path]
        group = ".".join(above) or name
        if (group, name) in taken:
            name = f"{name}_{safe_name(place.node.to_string())}"
        taken.add((group, name))
        tags.append(Tag(place.node, _meta(place, group, name, kind, _value(access), _value(text))))
    return tags


def _meta(place: _Place, group: str, name: str, kind: str, access: Any, description: Any) -> Meta:
    node = place.node.to_string()
    allowed = [flag.name for flag in ua.AccessLevel if int(access or 0) >> flag.value & 1]
    return {
        "opcua_node_id": node,
        "opcua_tag_name": name,
        "opcua_tag_group": group,
        "opcua_tag_path": ".".join(place.path),
        "opcua_attr_nodeid": node,
        "opcua_attr_nodeclass": "Variable",
        "opcua_attr_browsename": place.path[-1],
        "opcua_attr_description": str(getattr(description, "Text", None) or ""),
        "opcua_attr_accesslevel": ",".join(allowed),
        "opcua_attr_datatype": kind,
    }


async def _type_names(session: Session, types: Sequence[ua.DataValue]) -> list[str]:
    """The names of data types: those of the standard are known, those of the server are asked for, each once."""
    nodes = [_value(value) for value in types]
    own = list(dict.fromkeys(node for node in nodes if node is not None and _standard(node) is None))
    asked = await session.read([(node, AttributeIds.BrowseName) for node in own])
    names = {node: _name(value, node) for node, value in zip(own, asked, strict=True)}
    return ["" if node is None else _standard(node) or names[node] for node in nodes]


def _standard(node: ua.NodeId) -> str | None:
    return ObjectIdNames.get(int(str(node.Identifier))) if node.NamespaceIndex == 0 and node.Identifier else None


def _name(value: ua.DataValue, node: ua.NodeId) -> str:
    named = _value(value)
    return str(named.Name) if named is not None and named.Name else node.to_string()


def _good(value: ua.DataValue) -> bool:
    return value.StatusCode is None or value.StatusCode.is_good()


def _value(value: ua.DataValue) -> Any:
    return value.Value.Value if _good(value) and value.Value is not None else None

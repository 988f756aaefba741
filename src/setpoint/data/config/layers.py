"""Layers: one mapping laid over another.

Mappings are merged key by key. A value over anything else replaces it, and so does a list, except that two lists whose entries all are
mappings with a `name` (states, networks, resources, named arcs) are merged entry by entry: entries of the same name are merged where they
stand in the lower list, new ones follow. A key whose upper value is null is removed from what lies below.
"""

from __future__ import annotations

from setpoint.configfile import Mapping, Node, Scalar, Sequence


def laid_over(lower: Mapping, upper: Mapping) -> Mapping:
    """`upper` over `lower`; neither is changed."""
    merged = Mapping(upper.mark, dict(lower.items), dict(lower.keys), flawed=lower.flawed or upper.flawed)
    for key, node in upper.items.items():
        below = lower.items.get(key)
        merged.keys[key] = upper.keys[key]
        if below is None:
            merged.items[key] = node
        elif isinstance(node, Scalar) and node.value is None and node.native is None and not node.flawed:
            del merged.items[key], merged.keys[key]
        else:
            merged.items[key] = _over(below, node)
    return merged


def with_defaults(mapping: Mapping, defaults: Mapping) -> Mapping:
    """The mapping with those keys of `defaults` that it does not have."""
    new = {key: node for key, node in defaults.items.items() if key not in mapping.items}
    keys = {**{key: defaults.keys[key] for key in new}, **mapping.keys}
    return Mapping(mapping.mark, {**new, **mapping.items}, keys, flawed=mapping.flawed or defaults.flawed)


def _over(lower: Node, upper: Node) -> Node:
    if isinstance(lower, Mapping) and isinstance(upper, Mapping):
        return laid_over(lower, upper)
    if isinstance(lower, Sequence) and isinstance(upper, Sequence):
        below, above = _by_name(lower), _by_name(upper)
        if below and above:
            names = dict.fromkeys((*below, *above))
            merged = [_one_over(below.get(name), above.get(name)) for name in names]
            return Sequence(
                upper.mark, [node for node in merged if node is not None], flawed=lower.flawed or upper.flawed
            )
    return upper


def _one_over(lower: Mapping | None, upper: Mapping | None) -> Mapping | None:
    return laid_over(lower, upper) if lower and upper else lower or upper


def _by_name(sequence: Sequence) -> dict[str, Mapping]:
    """The entries by name; empty unless all of them are mappings with different names."""
    named: dict[str, Mapping] = {}
    for node in sequence.items:
        name = node.items.get("name") if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping) or not isinstance(name, Scalar) or name.text in named:
            return {}
        named[name.text] = node
    return named

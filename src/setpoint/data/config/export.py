"""The canonical form: a `Definition` as plain data that `load` reads back to an equal one.

Full form, a list of networks with lists of states, every key by its one name, and nothing that says what is the default anyway. What is
written as a function's name or expression is written in the shortest form that reads back the same; texts with ``${`` are escaped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from setpoint.configfile import Mark, Place, Problem, Report, Scalar, from_python, plain
from setpoint.data import definition as d
from setpoint.data.config.files import ODD, escaped_json
from setpoint.data.config.outcome import OUTCOMES
from setpoint.data.config.reading import ConfigError
from setpoint.data.config.references import Kind, References
from setpoint.data.config.substitution import Walk, escaped
from setpoint.machine.guards import Expr, Guard

Data = dict[str, Any]


def to_config(definition: d.Definition) -> Data:
    """The definition as data that YAML and JSON can carry. Raises `ConfigError` for a function that no file can name."""
    default = d.Definition(name="", networks=())
    data = _set_apart(
        definition,
        default,
        (
            "name",
            "version",
            "doc",
            "main",
            "strategy",
            "data_mode",
            "none",
            "transactions",
            "max_transitions",
            "max_depth",
            "max_parts",
        ),
        {"doc": "description", "main": "main_network", "strategy": "execution_strategy"},
    )
    data = {
        "name": definition.name,
        "version": definition.version,
        **data,
        **_some(definition, default, "timeout", "metadata"),
    }
    data["resources"] = [_resource(resource) for resource in definition.resources]
    data["networks"] = [_network(network) for network in definition.networks]
    tree = Walk(escaped).node(from_python(_without_empty(data, "resources")), Place(Report("")))
    _refuse_objects(data, "")
    result: Data = plain(tree)
    return result


def to_yaml(definition: d.Definition) -> str:
    """The canonical form as YAML. Raises `ConfigError` as `to_config` does."""
    import yaml

    return yaml.dump(to_config(definition), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120)


def to_json(definition: d.Definition) -> str:
    """The canonical form as JSON. Raises `ConfigError` as `to_config` does."""
    try:
        return escaped_json(json.dumps(to_config(definition), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise _refused(
            "JSON has no number that is infinite or not one", "write YAML, or leave the number out"
        ) from None


def _dumper() -> Any:
    """A dumper that quotes what our reader or another would take for something other than text."""
    import yaml

    from setpoint.templates.scalars import resolve

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
            node: yaml.MappingNode = super().represent_mapping(tag, mapping, flow_style)
            for key, _ in node.value:
                key.style = '"' if key.style == "|" else key.style  # a block is no key
            return node

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        odd = ODD.search(value) or "\r" in value or value.strip() != value or resolve(value) != value
        style = "|" if "\n" in value and not ODD.search(value) and "\r" not in value else '"' if odd else ""
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def _network(network: d.NetworkDef) -> Data:
    data = {"name": network.name, "description": network.doc, "metadata": dict(network.metadata)}
    return {**_without_empty(data, "description", "metadata"), "states": [_state(state) for state in network.states]}


def _state(state: d.StateDef) -> Data:
    default = d.StateDef(name="")
    data: Data = {"name": state.name}
    data |= _set_apart(state, default, ("start", "final", "doc"), {"doc": "description"})
    data |= _set_apart(state, default, ("data_mode", "timeout", "emit_output", "run_on_failure"), {})
    data |= {"schema": state.schema} if state.schema is not None else {}
    data |= {"resources": _roles(state.resources), "retry": _retry(state.retry)}
    data["pre_validators"] = [_reference(one, "test") for one in state.pre_validators]
    data["transforms"] = [_reference(one, "transform") for one in state.transforms]
    data["validators"] = [_reference(one, "test") for one in state.validators]
    data["arcs"] = [_arc(arc) for arc in state.arcs]
    data |= {"metadata": dict(state.metadata)}
    return _without_empty(data, "resources", "retry", "pre_validators", "transforms", "validators", "arcs", "metadata")


def _arc(arc: d.ArcDef) -> Data:
    data: Data = {"target": arc.target}
    data |= _set_apart(arc, d.ArcDef(target=""), ("name", "kind", "event", "after", "priority"), {})
    data["condition"] = None if arc.condition is None else _reference(arc.condition, "condition")
    data["transforms"] = [_reference(one, "transform") for one in arc.transforms]
    if arc.push is not None:
        push = arc.push
        data["target_network"] = f"{push.network}:{push.state}" if push.state else push.network
        data |= _some(push, d.Push(network=""), "return_state", "data_mapping", "result_mapping")
        data["data_isolation"] = "" if push.isolation == "copy" else push.isolation
    data |= {"resources": _roles(arc.resources), "retry": _retry(arc.retry), "metadata": dict(arc.metadata)}
    return _without_empty(data, "condition", "transforms", "data_isolation", "resources", "retry", "metadata")


def _resource(resource: d.ResourceDef) -> Data:
    data = {"name": resource.name, "type": resource.type, "config": dict(resource.config)}
    data |= _some(resource, d.ResourceDef(name="", type=""), "pool_size", "timeout", "health_check_interval")
    return _without_empty({**data, "retry": _retry(resource.retry)}, "config", "retry")


def _retry(retry: d.Retry | None) -> Data | None:
    if retry is None:
        return None
    names = [one if isinstance(one, str) else one.__name__ for one in retry.on]
    some = _some(retry, d.Retry(attempts=0), "attempts", "backoff", "delay", "factor", "max_delay", "jitter")
    return _without_empty({**some, "on": names}, "on")


def _roles(resources: Mapping[str, str]) -> Any:
    same = all(role == name for role, name in resources.items())
    return list(resources) if same else dict(resources)


def _reference(reference: d.FunctionRef, kind: Kind) -> Any:
    """A reference in the shortest form that reads back as the same."""
    for word, outcome in OUTCOMES.items():
        if reference is outcome or reference == outcome:
            return word if kind == "condition" else {"type": word}
    if isinstance(reference, Expr):
        reference = d.Code(str(reference.expression.text))
    if isinstance(reference, d.Code):
        short: Any = reference.text
        whole: Data = {reference.language: reference.text}
    elif isinstance(reference, d.Named):
        short, whole = reference.name, _named(reference, kind)
    else:
        return _importable(reference)
    return short if _reads_as(short, reference, kind) else whole


def _named(reference: d.Named, kind: Kind) -> Data:
    params = reference.params
    if reference.name == "set":
        return {"set": dict(params)}
    if reference.name in ("all", "any", "not", "chain") and list(params) == ["of"]:
        of = params["of"]
        inner: Kind = "transform" if reference.name == "chain" else "test" if kind != "condition" else kind
        parts = [_reference(one, inner) for one in of] if isinstance(of, list | tuple) else _reference(of, inner)
        return {reference.name: parts}
    return {"name": reference.name, **({"params": dict(params)} if params else {})}


def _reads_as(short: str, reference: d.Code | d.Named, kind: Kind) -> bool:
    report = Report("")
    read = References().one(Scalar(Mark(0, 0), short, short), Place(report), kind)
    return not report.errors and read is not None and type(read) is type(reference) and bare(read) == bare(reference)


def _importable(function: Any) -> Any:
    """The name of a Python function that a file can have; it must be found there."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if isinstance(function, Guard) or not module or not name or "<" in name:
        raise _refused(f"{function!r} is a Python object that no file can name", "register it, and refer to it by name")
    return {"name": f"{module}:{name}"}


def bare(value: Any) -> Any:
    """The value without any place: two parts of definitions are the same when these are equal."""
    if isinstance(value, msgspec.Struct):
        kept = {name: bare(getattr(value, name)) for name in value.__struct_fields__ if name != "place"}
        return replace(value, **kept, **({"place": d.NOWHERE} if "place" in value.__struct_fields__ else {}))
    if isinstance(value, Mapping):
        return {key: bare(child) for key, child in value.items()}
    return tuple(bare(child) for child in value) if isinstance(value, list | tuple) else value


def _set_apart(part: Any, default: Any, names: Iterable[str], words: Mapping[str, str]) -> Data:
    """Those fields that are not the default, under the words of files."""
    return {words.get(name, name): value for name, value in _some(part, default, *names).items()}


def _some(part: Any, default: Any, *names: str) -> Data:
    plainly: Callable[[Any], Any] = lambda value: str(value) if isinstance(value, str) else value  # noqa: E731
    return {name: plainly(getattr(part, name)) for name in names if getattr(part, name) != getattr(default, name)}


def _without_empty(data: Data, *optional: str) -> Data:
    return {key: value for key, value in data.items() if key not in optional or value not in (None, "", [], {})}


def _refuse_objects(value: Any, where: str) -> None:
    """Raises `ConfigError` for a value that is neither text, number, truth value, list nor mapping."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            _refuse_objects(child, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            _refuse_objects(child, f"{where}[{number}]")
    elif value is not None and not isinstance(value, str | int | float):
        raise _refused(
            f"{where}: a {type(value).__name__} cannot be written into a file", "use text, numbers, lists and mappings"
        )


def _refused(message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(message, 0, 0, hint=hint, source="<definition>")])

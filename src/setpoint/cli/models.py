"""``setpoint models``: the payload shapes, data models and data contracts of a config, checked and shown. Nothing is started or asked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.output import clean, console, print_json
from setpoint.cli.trouble import FAILED, Trouble

if TYPE_CHECKING:
    from rich.tree import Tree

    from setpoint.agent.config import Configuration, Problem
    from setpoint.namespace.models import ModelRef, Models, ShapeFields, Structure

SECTIONS = ("payloadShapes", "dataModels", "dataContracts", "dataContractsV2")

app = typer.Typer(
    help="Data models and contracts of a config: check them, show them, write them as JSON Schema.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A config.yaml.", show_default=False)]


@app.command()
def check(file: FileArgument, json: JsonOption = False) -> None:
    """List everything that is wrong with the shapes, models and contracts; exit code 1 when there is an error."""
    found = _read(file).config
    problems = [problem for problem in found.problems if not found.usable or _of_models(problem)]
    errors = sum(problem.severity == "error" for problem in problems)
    if json:
        keys = ("source", "line", "column", "key", "message", "hint", "severity")
        print_json([{key: getattr(problem, key) for key in keys} for problem in problems])
    else:
        _print(problems)
        models, remarks = found.models, len(problems) - errors
        versions = sum(len(model.versions) for model in models.models.values())
        counted = ", ".join(
            (
                _count(len(models.own_shapes), "payload shape"),
                f"{_count(len(models.models), 'data model')} in {_count(versions, 'version')}",
                _count(len(models.contracts), "contract"),
                _count(errors, "error"),
                _count(remarks, "other remark"),
            )
        )
        typer.echo(clean(f"{file}: {counted}"))
    raise typer.Exit(FAILED if errors else 0)


@app.command()
def show(
    file: FileArgument,
    name: Annotated[
        str,
        typer.Argument(metavar="[NAME[:vN]]", help="A model, by default in its newest version.", show_default=False),
    ] = "",
    json: JsonOption = False,
) -> None:
    """List the models; with NAME draw one, references followed, and say which contracts and stream processors use it."""
    found = _read(file)
    models = found.config.models
    refs = [_ref_of(models, name)] if name else _all(models)
    if json:
        facts = [_facts(found, ref) for ref in refs]
        print_json(facts[0] if name else facts)
    elif name:
        _draw(found, refs[0])
    elif refs:
        _list(found, refs)
    else:
        typer.echo(f"{file} has no data models", err=True)
    wrong = sum(problem.severity == "error" and _of_models(problem) for problem in found.config.problems)
    if wrong:
        typer.echo(f"there are {_count(wrong, 'error')} in the models: setpoint models check {file}", err=True)


@app.command("json-schema")
def json_schema(
    file: FileArgument,
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help="Such as _pump_v1.", show_default=False)],
) -> None:
    """Write what a contract lets through as JSON Schema: of objects with `virtual_path`, the path, and `fields`, the payload."""
    from setpoint.namespace.models_schema import contract_schema

    found = _read(file).config
    by_address = {address: each for each in reversed(found.models.contracts) for address in each.addresses}
    wanted = by_address.get(contract) or by_address.get(f"_{contract}")
    if wanted is None:
        raise Trouble(f"{file} has no contract {contract!r}", _near(contract, list(by_address)))
    if found.contracts.broken(wanted):
        raise Trouble(f"the contract {contract} has errors", f"see setpoint models check {file}")
    if wanted.model is None:
        raise Trouble(f"the contract {contract} has no model: everything fits it", "name one with a model")
    print_json(contract_schema(found.models, wanted))


class Read(NamedTuple):
    """A config, and what uses each of its models: contracts and stream processors by their names, other models."""

    config: Configuration
    contracts: dict[ModelRef, list[str]]
    processors: dict[ModelRef, list[str]]
    part_of: dict[ModelRef, list[str]]


def _read(file: Path) -> Read:
    """Raises `Trouble` for a file that cannot be read; what is wrong in it is in the configuration's problems."""
    from setpoint.agent.config import read_config
    from setpoint.configfile import compose, plain

    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Trouble(f"{file} is not UTF-8 text: byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror}", "name a config.yaml") from None
    root, _ = compose(text)
    config = read_config(text, source=str(file), env=os.environ)
    models = config.models
    contracts = ((each.model, each.address) for each in models.contracts if each.model is not None)
    parts = ((ref, str(whole)) for whole in _all(models) for ref in _references(models.structure(whole) or {}))
    return Read(config, _by_model(contracts), _by_model(_processors(plain(root) if root else None)), _by_model(parts))


def _by_model(pairs: Iterable[tuple[ModelRef, str]]) -> dict[ModelRef, list[str]]:
    found: dict[ModelRef, dict[str, None]] = {}
    for ref, name in pairs:
        found.setdefault(ref, {})[name] = None
    return {ref: list(names) for ref, names in found.items()}


def _processors(data: Any) -> Iterator[tuple[ModelRef, str]]:
    """Model and name of each stream processor, whose config is its own or that of a template; those with errors are left out."""
    from setpoint.namespace.models import ModelRef

    templates = _below(data, "templates", "streamProcessor")
    items = data.get("streamProcessor") if isinstance(data, dict) else None
    for item in items if isinstance(items, list) else ():
        service = _below(item, "streamProcessorServiceConfig")
        model = _below(service, "config", "model") or _below(templates, str(service.get("templateRef")), "model")
        if model:
            yield ModelRef(str(model.get("name")), str(model.get("version"))), str(item.get("name"))


def _below(data: Any, *keys: str) -> dict[str, Any]:
    """The mapping at the end of these keys; empty where there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _of_models(problem: Problem) -> bool:
    return problem.key.split(".")[0].split("[")[0] in SECTIONS


def _print(problems: list[Problem]) -> None:
    from rich.text import Text

    styles = {"error": "red", "warning": "yellow"}
    for problem in problems:
        console().print(Text.assemble((f"{problem.severity}: ", styles[problem.severity]), clean(problem)))


def _all(models: Models) -> list[ModelRef]:
    from setpoint.namespace.models import ModelRef

    return [ModelRef(name, version) for name, model in models.models.items() for version in model.versions]


def _ref_of(models: Models, text: str) -> ModelRef:
    """The version of a model that was asked for. Raises `Trouble`."""
    from setpoint.namespace.models import ModelRef

    name, _, version = text.partition(":")
    model = models.models.get(name)
    if model is None:
        raise Trouble(f"there is no data model {name!r}", _near(name, list(models.models)))
    if not model.versions:
        raise Trouble(f"the data model {name!r} has no version", "add 'version:' with v1")
    newest = max(model.versions, key=lambda each: (len(each), each))
    if version and version not in model.versions:
        raise Trouble(f"the data model {name!r} has no version {version!r}", f"it has {', '.join(model.versions)}")
    return ModelRef(name, version or newest)


def _near(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(known[:20]) or 'none'}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _facts(found: Read, ref: ModelRef) -> dict[str, Any]:
    """What there is to say of a version of a model."""
    models, sound = found.config.models, found.config.contracts.usable(ref)
    return {
        "name": ref.name,
        "version": ref.version,
        "description": models.models[ref.name].description,
        "sound": sound,
        "paths": {path: {"shape": shape.name, "fields": shape.fields} for path, shape in models.leaves(ref).items()}
        if sound
        else {},
        "contracts": found.contracts.get(ref, []),
        "stream_processors": found.processors.get(ref, []),
        "part_of": found.part_of.get(ref, []),
    }


def _references(structure: Structure) -> Iterator[ModelRef]:
    from setpoint.namespace.models import ModelRef, Relational, ShapeRef

    for node in structure.values():
        if isinstance(node, ModelRef):
            yield node
        elif not isinstance(node, ShapeRef | Relational):
            yield from _references(node)


def _list(found: Read, refs: list[ModelRef]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("model", "paths", "contracts", "stream processors"):
        table.add_column(column, overflow="fold", justify="right" if column == "paths" else "left")
    for ref in refs:
        facts = _facts(found, ref)
        paths = str(len(facts["paths"])) if facts["sound"] else "errors"
        table.add_row(
            clean(ref), paths, clean(" ".join(facts["contracts"])), clean(" ".join(facts["stream_processors"]))
        )
    console().print(table)


def _draw(found: Read, ref: ModelRef) -> None:
    from rich.text import Text
    from rich.tree import Tree

    facts = _facts(found, ref)
    out = console()
    top = Text.assemble((clean(ref), "bold"), f"  {clean(facts['description'])}" if facts["description"] else "")
    tree = Tree(top, guide_style="dim")
    _grow(tree, found.config.models, found.config.models.structure(ref) or {}, (ref,))
    out.print(tree)
    for words, names in (
        ("contracts", facts["contracts"]),
        ("stream processors", facts["stream_processors"]),
        ("part of", facts["part_of"]),
    ):
        out.print(Text(f"{words}: {clean(', '.join(names)) or 'none'}", style="" if names else "dim"))


def _grow(tree: Tree, models: Models, structure: Structure, above: tuple[ModelRef, ...]) -> None:
    """Draw what stands below a name; a model that is part of itself is drawn once."""
    from rich.text import Text

    from setpoint.namespace.models import ModelRef, Relational, ShapeRef

    for name, node in structure.items():
        if isinstance(node, ShapeRef):
            own = models.own_shapes.get(node.shape)
            fields = f" {{{clean(_fields(own.fields))}}}" if own else ""
            tree.add(Text.assemble(clean(name), "  ", (clean(node.shape) + fields, "cyan")))
        elif isinstance(node, Relational):
            tree.add(Text.assemble(clean(name), "  ", (f"{{{clean(_fields(node.fields))}}}", "cyan")))
        elif isinstance(node, ModelRef):
            branch = tree.add(Text.assemble(clean(name), "  → ", (clean(node), "bold")))
            if node not in above and len(above) <= 10:
                _grow(branch, models, models.structure(node) or {}, (*above, node))
        else:
            _grow(tree.add(Text(clean(name))), models, node, above)


def _fields(fields: ShapeFields) -> str:
    return ", ".join(
        f"{name}: {kind}" if isinstance(kind, str) else f"{name}: {{{_fields(kind)}}}" for name, kind in fields.items()
    )

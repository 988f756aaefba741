"""References as they stand in files, within compositions: plain data that becomes a `FunctionRef`.

::

    total_is_right                              a function by name; as a check, also an expression
    {name: range_check, params: {age: {min: 0}}}
    {expression: price > 3}     {javascript: return record.price > 3}     {python: ...}
    {set: {total: price * qty}}
    {all: [...]}   {any: [...]}   {not: ...}   {chain: [...]}

A text that is the name of a function is that function. Any other text is an expression where a check is wanted; but one that is nearly the
name of a registered function is refused, since it is more likely a slip than the name of a field.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Final

from setpoint.data.definition import NOWHERE, Code, FunctionRef, Named, Place, Role, Unresolved
from setpoint.data.functions.fields import kind_of, shown
from setpoint.data.functions.kinds import nearest
from setpoint.machine import Guard

COMPOSITIONS: Final = ("all", "any", "not", "chain")
LANGUAGES: Final = ("expression", "javascript", "python")
_NAME: Final = re.compile(r"[A-Za-z_][\w.]*")
_IMPORT: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_import(name: str) -> bool:
    """Whether a name is written ``module:function``."""
    return _IMPORT.fullmatch(name) is not None


def read_reference(
    given: object, role: Role, *, known: Callable[[str], bool], registered: Iterable[str] = (), place: Place = NOWHERE
) -> FunctionRef:
    """The reference that plain data stands for. Raises `Unresolved`."""
    if isinstance(given, Guard | Named | Code):
        return given
    if isinstance(given, str):
        return _of_text(given.strip(), role, known=known, registered=registered, place=place)
    if isinstance(given, list | tuple):
        return Named("chain" if role is Role.TRANSFORM else "all", {"of": list(given)}, place)
    if isinstance(given, Mapping):
        return _of_mapping(given, place)
    if callable(given):
        return given
    raise Unresolved(f"{shown(given)} is {kind_of(given)}, not a reference to a function")


def _of_text(
    text: str, role: Role, *, known: Callable[[str], bool], registered: Iterable[str], place: Place
) -> FunctionRef:
    if known(text) or is_import(text) or role is Role.TRANSFORM:
        return Named(text, {}, place)
    if _NAME.fullmatch(text) and (hint := nearest(text, registered)):
        raise Unresolved(
            f"there is no function {text!r}{hint}; for the field of that name write {{expression: {text}}}"
        )
    return Code(text, "expression", place)


def _of_mapping(given: Mapping[str, Any], place: Place) -> FunctionRef:
    heads = [key for key in given if key in ("name", "set", *LANGUAGES, *COMPOSITIONS)]
    if len(heads) != 1:
        forms = ", ".join(["name", *LANGUAGES, "set", *COMPOSITIONS])
        raise Unresolved(f"{shown(dict(given))}: a reference has exactly one of {forms}")
    [head] = heads
    for key in given:
        if key != head and not (key == "params" and head == "name"):
            raise Unresolved(f"there is no {key!r} beside {head!r}")
    value = given[head]
    if head == "set":
        return Named("set", value if isinstance(value, Mapping) else {}, place)
    if head in COMPOSITIONS:
        return Named(head, {"of": value}, place)
    if not isinstance(value, str):
        raise Unresolved(f"{head} is text, not {shown(value)}")
    params = given.get("params", {})
    if not isinstance(params, Mapping):
        raise Unresolved(f"params of {value!r}: expected a mapping, got {shown(params)}")
    return Named(value, params, place) if head == "name" else _code(value, head, place)


def _code(text: str, language: str, place: Place) -> Code:
    if language == "javascript":
        return Code(text, "javascript", place)
    return Code(text, "python", place) if language == "python" else Code(text, "expression", place)


def imported(name: str, packages: Iterable[str], *, trust: bool) -> object:
    """What ``module:function`` stands for, if it may be used.

    The module must be one of `packages` or within one, and what is found there must come from one of them too, so that an import in an
    allowed module allows nothing more; a trusted file may use any module. Raises `Unresolved`.
    """
    module_name, path = name.split(":")
    allowed = tuple(packages)
    if not trust and not _within(module_name, allowed):
        have = f"allowed are {', '.join(allowed)}" if allowed else "none is allowed"
        raise Unresolved(
            f"{name}: the module {module_name!r} is not allowed ({have}): "
            f"allow it with Functions(..., modules=[{module_name.split('.')[0]!r}]), or register the function"
        )
    if any(step.startswith("_") for step in path.split(".")):
        raise Unresolved(f"{name}: names that start with _ are private")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        raise Unresolved(f"{name}: the module {module_name!r} cannot be imported: {error}") from error
    for step in path.split("."):
        found = _attribute(found, step, name)
    if not trust and not _within(_home(found), allowed):
        raise Unresolved(
            f"{name}: it comes from {_home(found)!r}, which is not allowed: allow that, or register the function"
        )
    return found


def _attribute(owner: object, step: str, name: str) -> object:
    try:
        return getattr(owner, step)
    except AttributeError:
        public = [one for one in dir(owner) if not one.startswith("_")]
        where = owner.__name__ if isinstance(owner, ModuleType) else name.split(":", maxsplit=1)[0]
        raise Unresolved(f"{name}: there is no {step!r} in {where}{nearest(step, public)}") from None


def _home(found: object) -> str:
    """The module in which something was defined; for an object, in which its class was."""
    own = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", None)
    return own if isinstance(own, str) else type(found).__module__


def _within(module: str, packages: Iterable[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in packages)

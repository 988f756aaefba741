"""How a function wants to be called, decided once from its signature and never by trying.

A function takes the record, or the record and the `Context`. The context is its second positional parameter where that is required, or
any parameter called ``context`` or ``ctx`` or annotated `Context`. All other parameters are settings, given by name when the machine is
loaded: one that is not there, or is missing, is a fault then.

In place of a function there may be a class, made with the settings, and an object with a method for what it is used for: `transform`,
`validate`, or `test`, whose answer may be a pair of the answer and its reason.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from setpoint.data.definition import Function, Role, Unresolved
from setpoint.data.functions.kinds import nearest
from setpoint.machine import Verdict

METHODS: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.TRANSFORM: ("transform",),
    Role.GATE: ("validate", "test"),
    Role.VALIDATOR: ("validate", "test"),
    Role.CONDITION: ("test", "validate"),
}
"""The methods by which an object is used in each role, the preferred one first."""
EVERY_METHOD: Final = ("transform", "validate", "test")

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_CONTEXT_NAMES: Final = ("context", "ctx")


def is_async(function: object) -> bool:
    """Whether calling the function gives something to await."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def takes_context(function: Callable[..., Any]) -> bool:
    """Whether the function is called with the record and the context rather than with the record alone."""
    return _context_parameter(_parameters(function), {}) is not None


def check_callable(given: object, name: str) -> None:
    """Raises `TypeError` for what can be no function of a record, whatever its settings."""
    if inspect.isclass(given) or any(hasattr(given, method) for method in EVERY_METHOD):
        return
    if not callable(given):
        raise TypeError(f"{name}: {given!r} is no function, and has none of the methods {', '.join(EVERY_METHOD)}")
    if inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
        raise TypeError(f"{name} is a generator function; return the record, or Several(...) for several")
    if not any(one.kind in (*_POSITIONAL, one.VAR_POSITIONAL) for one in _parameters(given)):
        raise TypeError(f"{name} takes no positional parameter, so it cannot be given the record")


def callable_of(given: object, *, role: Role, name: str, params: Mapping[str, Any]) -> Function:
    """What is called with the record (and the context) in this role. Raises `Unresolved`."""
    try:
        check_callable(given, name)
    except TypeError as error:
        raise Unresolved(str(error)) from None
    if inspect.isclass(given):
        return _method(_made(given, name, params), role, name)
    return with_params(_method(given, role, name), name, params)


def with_params(function: Callable[..., Any], name: str, params: Mapping[str, Any]) -> Function:
    """The function with its settings, as a function of the record, or of the record and the context. Raises `Unresolved`."""
    parameters = _parameters(function)
    context = _context_parameter(parameters, params)
    _check_settings(parameters, context, name=name, params=params)
    in_place = context is None or (
        context is parameters[1] and context.kind in _POSITIONAL and _is_plainly_context(context)
    )
    if in_place and not params:
        return function
    if in_place and not is_async(function):
        return partial(function, **params)
    return _called_by_name(function, context.name if context else "", params)


def _called_by_name(function: Callable[..., Any], context_name: str, params: Mapping[str, Any]) -> Function:
    """A function of the record, and of the context where that has a name, that says by its own signature what it is."""
    if is_async(function) and context_name:

        async def awaited_with_context(record: Any, context: Any) -> Any:
            return await function(record, **{context_name: context}, **params)

        return awaited_with_context
    if is_async(function):

        async def awaited(record: Any) -> Any:
            return await function(record, **params)

        return awaited

    def with_context(record: Any, context: Any) -> Any:
        return function(record, **{context_name: context}, **params)

    return with_context


def _method(given: object, role: Role, name: str) -> Callable[..., Any]:
    for method in METHODS[role]:
        found = getattr(given, method, None)
        if callable(found) and not inspect.isroutine(given):
            return _answer_of(found) if method == "test" else found
    if not callable(given):
        wanted = " or ".join(METHODS[role])
        raise Unresolved(f"{name} is no function and has no method {wanted}, so it cannot be a {role}")
    return given if inspect.isroutine(given) or isinstance(given, partial) else given.__call__


def _answer_of(test: Callable[..., Any]) -> Callable[..., Any]:
    """The test with a pair of answer and reason made a verdict: a pair by itself would always be true."""

    def told(answer: Any) -> Any:
        return Verdict(bool(answer[0]), str(answer[1])) if type(answer) is tuple and len(answer) == 2 else answer

    with_context = takes_context(test)
    if is_async(test):

        async def wait(pending: Awaitable[Any]) -> Any:
            return told(await pending)

        if with_context:
            return _async_pair(test, wait)

        async def awaited(record: Any) -> Any:
            return await wait(test(record))

        return awaited
    return (
        (lambda record, context: told(test(record, context))) if with_context else (lambda record: told(test(record)))
    )


def _async_pair(test: Callable[..., Any], wait: Callable[[Awaitable[Any]], Awaitable[Any]]) -> Callable[..., Any]:
    async def awaited(record: Any, context: Any) -> Any:
        return await wait(test(record, context))

    return awaited


def check_params(maker: Callable[..., Any], name: str, params: Mapping[str, Any]) -> None:
    """Whether a class or factory can be called with these settings and nothing else. Raises `Unresolved` that says why not."""
    parameters = _parameters(maker)
    _check_names(parameters, name, params)
    missing = [one.name for one in parameters if _is_required(one) and one.name not in params]
    if missing:
        raise Unresolved(f"{name} needs the params {', '.join(missing)}")


def _made(given: type, name: str, params: Mapping[str, Any]) -> object:
    check_params(given, name, params)
    try:
        return given(**params)
    except Exception as error:
        raise Unresolved(f"{name} refuses its params: {error}") from error


def _check_settings(
    parameters: list[inspect.Parameter], context: inspect.Parameter | None, *, name: str, params: Mapping[str, Any]
) -> None:
    settings = [one for one in parameters[1:] if one is not context]
    if parameters and parameters[0].name in params and parameters[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise Unresolved(f"{name}: {parameters[0].name!r} is the record itself, so it cannot be a param")
    _check_names(settings, name, params)
    missing = [one.name for one in settings if _is_required(one) and one.name not in params]
    if missing:
        raise Unresolved(f"{name} needs the params {', '.join(missing)}, beside the record and the context")


def _check_names(settings: list[inspect.Parameter], name: str, params: Mapping[str, Any]) -> None:
    if any(one.kind is one.VAR_KEYWORD for one in settings):
        return
    known = [one.name for one in settings if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    for param in params:
        if param not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise Unresolved(f"{name} has no param {param!r}{nearest(str(param), known)}; {takes}")


def _is_required(one: inspect.Parameter) -> bool:
    return one.default is one.empty and one.kind in (*_POSITIONAL, one.KEYWORD_ONLY)


def _context_parameter(parameters: list[inspect.Parameter], params: Mapping[str, Any]) -> inspect.Parameter | None:
    for number, one in enumerate(parameters[1:]):
        if one.name in params:
            continue
        if one.name in _CONTEXT_NAMES or _is_context(one.annotation):
            return one
        if number == 0 and one.kind in _POSITIONAL and one.default is one.empty:
            return one
    return None


def _is_plainly_context(one: inspect.Parameter) -> bool:
    return one.default is one.empty or one.name in _CONTEXT_NAMES


def _is_context(annotation: object) -> bool:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.removesuffix(" | None").rsplit(".", 1)[-1] == "Context"


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters as far as they can be known: some functions in C do not say, and are called with the record."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("record", inspect.Parameter.POSITIONAL_ONLY)]

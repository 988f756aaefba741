"""The functions of one machine: those that the caller registers, those that are built in, and what code and imports stand for.

A registry belongs to the machine that it is given to; nothing here is global. `Functions.resolve` turns a reference of a definition into
what is called with the record, once, when the machine is loaded; so everything that is wrong with a reference is found then.

A name means, in this order: a registered function, a composition (``all``, ``any``, ``not``, ``chain``), a wrapper of other functions
(`guards`, `concurrent`), a function built in (`library`), or ``module:function`` of a package that the caller allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from typing import Any, Final, TypeVar, overload

from setpoint.data.definition import Code, Function, FunctionRef, Named, Resolve, Role, Unresolved
from setpoint.data.functions import compose
from setpoint.data.functions.calling import callable_of, check_callable, check_params
from setpoint.data.functions.concurrent import CONCURRENT
from setpoint.data.functions.expressions import by_expression, refusal
from setpoint.data.functions.fields import shown
from setpoint.data.functions.guards import GUARDS
from setpoint.data.functions.javascript import MEMORY, TIMEOUT, by_javascript
from setpoint.data.functions.library import BUILT_IN, built_in, unknown
from setpoint.data.functions.python import by_python
from setpoint.data.functions.references import COMPOSITIONS, imported, is_import, read_reference
from setpoint.machine import ExpressionError, Guard

F = TypeVar("F")

_LONG_NAMES: Final = {
    "validators.CompositeValidator": ("all", "validators"),
    "CompositeValidator": ("all", "validators"),
    "transformers.ChainTransformer": ("chain", "transformers"),
    "ChainTransformer": ("chain", "transformers"),
    "transformers.chain": ("chain", "transformers"),
}
"""Other names of compositions, with the param under which they have their parts."""
_WRAPPERS: Final[Mapping[str, Callable[..., Function]]] = {**GUARDS, **CONCURRENT}
HOLDERS: Final = frozenset((*COMPOSITIONS, *_WRAPPERS))
"""Functions that have others as their params, under ``of``."""


class Functions:
    """Functions by name. A registered one may be a function, a class made with its params, or an object with a method for its role.

    `functions` are registered for every role. `modules` are the packages out of which files may name functions as ``module:function``.
    `trust` lets files contain Python, and name functions of any module. `script_timeout` (CPU seconds a record) and `script_memory`
    (bytes kept between records) are the limits of JavaScript. Raises `TypeError` for what can be no function of a record.
    """

    def __init__(
        self,
        functions: Mapping[str, object] | None = None,
        *,
        modules: Iterable[str] = (),
        trust: bool = False,
        script_timeout: float = TIMEOUT,
        script_memory: int = MEMORY,
    ) -> None:
        self._named: dict[str, tuple[object, frozenset[Role]]] = {}
        self.modules = (modules,) if isinstance(modules, str) else tuple(modules)
        self.trust = trust
        self._script_timeout = script_timeout
        self._script_memory = script_memory
        self._wrapped: dict[int, tuple[Named, Role, Function]] = {}
        for name, function in (functions or {}).items():
            self._add(function, name, frozenset(Role))

    @overload
    def register(self, function: F, /, *, name: str = "", roles: Iterable[Role] = Role) -> F: ...
    @overload
    def register(self, /, *, name: str = "", roles: Iterable[Role] = Role) -> Callable[[F], F]: ...
    def register(
        self, function: F | None = None, /, *, name: str = "", roles: Iterable[Role] = Role
    ) -> F | Callable[[F], F]:
        """Register a function under its own name or another. A decorator, with or without arguments.

        Files can use it in these `roles` only. Raises `TypeError` for what can be no function of a record, and for a name taken.
        """
        if function is None:
            return lambda later: self._add(later, name, frozenset(roles))
        return self._add(function, name, frozenset(roles))

    def trusted(self) -> Functions:
        """The same functions, for a file that is trusted."""
        made = copy(self)
        made.trust, made._wrapped = True, {}
        return made

    def __getstate__(self) -> dict[str, Any]:
        """All but what was made of it: another process makes its own."""
        return {**self.__dict__, "_wrapped": {}}

    def __iter__(self) -> Iterator[str]:
        """The names registered."""
        return iter(self._named)

    def __contains__(self, name: object) -> bool:
        """Whether the name stands for a function; ``module:function`` is not looked up."""
        return any(name in known for known in (self._named, BUILT_IN, COMPOSITIONS, _LONG_NAMES, _WRAPPERS))

    def resolve(self, ref: FunctionRef, role: Role, /) -> Function:
        """What is called for a reference in this role. Raises `Unresolved` that says what is wrong and what to do."""
        match ref:
            case Named():
                return self._of_name(ref, role)
            case Code():
                return self._of_code(ref, role)
            case Guard():
                test = ref.compile(timed=False)
                return test if role is Role.CONDITION else refusal(str(ref), test)
        return callable_of(ref, role=role, name=getattr(ref, "__name__", type(ref).__name__), params={})

    def _add(self, function: F, name: str, roles: frozenset[Role]) -> F:
        label = name or getattr(function, "__name__", "")
        if not isinstance(label, str) or not label.strip() or label == "<lambda>":
            raise TypeError(f"{function!r} has no name of its own: register it with name='...'")
        if label in self._named and self._named[label][0] is not function:
            raise TypeError(f"there is already another function {label!r}: register this one with name='...'")
        check_callable(function, label)
        self._named[label] = (function, roles)
        return function

    def _of_name(self, ref: Named, role: Role) -> Function:
        name = ref.name
        if not isinstance(ref.params, Mapping):
            raise Unresolved(f"params of {name!r}: expected a mapping, got {shown(ref.params)}")
        if name in self._named:
            given, roles = self._named[name]
            if role not in roles:
                raise Unresolved(f"{name} is registered as {' or '.join(sorted(roles))}, so it cannot be a {role}")
            return callable_of(given, role=role, name=name, params=ref.params)
        if name in COMPOSITIONS or name in _LONG_NAMES:
            return self._composed(ref, role)
        if name in _WRAPPERS:
            return self._wrapper(ref, role)
        if name in BUILT_IN:
            return built_in(name, role, ref.params)
        if is_import(name):
            given = imported(name, self.modules, trust=self.trust)
            return callable_of(given, role=role, name=name, params=ref.params)
        raise unknown(name, {**self._named, **_WRAPPERS})

    def _wrapper(self, ref: Named, role: Role) -> Function:
        """A function around another one. Whoever names the same entry of a file gets the same one, with what it has counted."""
        if (made := self._wrapped.get(id(ref))) is not None and made[1] is role:
            return made[2]
        if ref.name in CONCURRENT and role is not Role.TRANSFORM:
            raise Unresolved(f"{ref.name} changes records, so it cannot be a {role}")
        if "clock" in ref.params:
            raise Unresolved(f"{ref.name} has no param 'clock'")
        make, of = _WRAPPERS[ref.name], ref.params.get("of")
        params = {"label": of if isinstance(of, str) else ref.name, **ref.params}
        check_params(make, ref.name, params)
        if ref.name == "together":
            params["of"] = [self._part(one, ref, role) for one in _parts(of, ref.name)]
        else:
            params["of"] = self._part(of, ref, role)
        try:
            function = make(**params)
        except (ValueError, TypeError) as error:
            raise Unresolved(f"{ref.name}: {error}") from error
        self._wrapped[id(ref)] = (ref, role, function)  # the reference too, so that its id stays its own
        return function

    def _composed(self, ref: Named, role: Role) -> Function:
        kind, key = _LONG_NAMES.get(ref.name, (ref.name, "of"))
        if (kind == "chain") != (role is Role.TRANSFORM):
            instead = "transforms are composed by chain" if role is Role.TRANSFORM else "checks by all, any and not"
            raise Unresolved(f"{ref.name} cannot be a {role}: {instead}")
        known = {key, "stop_on_first_error"} if kind == "all" and key != "of" else {key}
        if key not in ref.params or not known.issuperset(ref.params):
            raise Unresolved(
                f"{ref.name} takes {' and '.join(sorted(known))}, got {', '.join(map(str, ref.params)) or 'nothing'}"
            )
        parts = [self._part(one, ref, role) for one in _parts(ref.params[key], ref.name)]
        if kind == "chain":
            return compose.chain(parts)
        if kind == "any":
            return compose.any_of(parts, role)
        if kind == "not":
            return compose.none_of(
                compose.all_of(parts, role) if len(parts) > 1 else parts[0], role, shown(ref.params[key])
            )
        return compose.all_of(parts, role, every=key != "of" and not ref.params.get("stop_on_first_error", False))

    def _part(self, given: object, whole: Named, role: Role) -> Function:
        ref = read_reference(given, role, known=self.__contains__, registered=self._named, place=whole.place)
        return self.resolve(ref, role)

    def _of_code(self, ref: Code, role: Role) -> Function:
        if ref.language == "python":
            if not self.trust:
                where = f"{ref.place}: " if ref.place.line else ""
                raise Unresolved(
                    f"{where}Python in a file runs only where the file is trusted (trust=True, --trust): "
                    "write an expression, or register the function and name it"
                )
            made = by_python(ref, role, {name: given for name, (given, _) in self._named.items()})
            return callable_of(made, role=role, name="the Python", params={})
        if ref.language == "javascript":
            return by_javascript(ref.text, role, timeout=self._script_timeout, memory=self._script_memory)
        try:
            return by_expression(ref.text, role)
        except ExpressionError as error:
            hint = "; to set fields write {set: {field: expression}}" if role is Role.TRANSFORM else ""
            raise Unresolved(f"{error}{hint}") from None


def resolver(functions: Functions | Mapping[str, object] | None = None, *, trust: bool = False) -> Resolve:
    """What a plan asks for its functions: those registered, built in, imported or written out.

    `trust` trusts the file that is being loaded, whatever the `Functions` say of others.
    """
    if not isinstance(functions, Functions):
        return Functions(functions, trust=trust).resolve
    return (functions.trusted() if trust else functions).resolve


def _parts(given: object, name: str) -> list[object]:
    parts = list(given) if isinstance(given, list | tuple) else [given]
    if not parts:
        raise Unresolved(f"{name} has no parts, so it would say yes to everything: name at least one function")
    return parts

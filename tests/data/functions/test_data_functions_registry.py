"""The registry: names for functions, roles, and what may be imported."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from setpoint.data.definition import Code, Named, Role, Unresolved
from setpoint.data.functions import Functions, resolver
from setpoint.machine import Verdict, expression


def test_functions_register_by_decorator_and_by_name() -> None:
    """A decorator gives the function back as it is; the name is its own or another."""
    functions = Functions()

    @functions.register
    def double(record: int) -> int:
        return record * 2

    @functions.register(name="triple")
    def other(record: int, factor: int = 3) -> int:
        return record * factor

    assert double(2) == 4
    assert list(functions) == ["double", "triple"]
    assert "triple" in functions
    assert "other" not in functions
    assert functions.resolve(Named("triple", {"factor": 4}), Role.TRANSFORM)(2) == 8


def test_registries_know_nothing_of_each_other() -> None:
    """What one machine registers is not there for another."""
    Functions({"mine": abs})
    with pytest.raises(Unresolved, match="there is no function 'mine'"):
        Functions().resolve(Named("mine"), Role.TRANSFORM)


def test_a_name_is_given_once() -> None:
    """Two functions under one name are refused; the same one again is nothing new. A lambda needs a name."""
    functions = Functions({"f": abs})
    functions.register(abs, name="f")
    with pytest.raises(TypeError, match="already another function 'f'"):
        functions.register(len, name="f")
    with pytest.raises(TypeError, match="no name of its own"):
        functions.register(lambda record: record)


def test_a_role_may_be_asked_for() -> None:
    """A function registered for one role is refused in another."""
    functions = Functions()
    functions.register(bool, name="yes", roles=[Role.CONDITION])
    functions.register(lambda record: True, name="open", roles=[Role.CONDITION])
    assert functions.resolve(Named("open"), Role.CONDITION)({}) is True
    with pytest.raises(Unresolved, match="open is registered as condition, so it cannot be a transform"):
        functions.resolve(Named("open"), Role.TRANSFORM)


def test_a_registered_function_comes_before_one_built_in() -> None:
    """The caller's own names win."""
    assert Functions({"set": lambda record: "mine"}).resolve(Named("set"), Role.TRANSFORM)({}) == "mine"


def test_callables_and_guards_resolve_as_they_are() -> None:
    """A definition in Python may hold functions themselves, objects with a method, and guards of the model."""

    class Upper:
        def transform(self, record: str) -> str:
            return record.upper()

    resolve = resolver()
    assert resolve(len, Role.TRANSFORM)("abc") == 3
    assert resolve(Upper(), Role.TRANSFORM)("abc") == "ABC"
    assert resolve(Upper, Role.TRANSFORM)("abc") == "ABC"
    assert resolve(expression("a > 1"), Role.CONDITION)({"a": 2}) is True
    both = expression("a > 0") & expression("b > 0")
    assert resolve(both, Role.GATE)({"a": 0, "b": 1}) == Verdict(False, f"not so: {both}")
    assert resolve(both, Role.GATE)({"a": 1, "b": 1}) is True


def test_trust_is_for_one_file() -> None:
    """Trusting one file that uses a registry does not trust the next."""
    functions, code = Functions({"f": abs}), Code("f(record)", "python")
    assert resolver(functions, trust=True)(code, Role.TRANSFORM)(-1) == 1
    assert resolver({"f": abs}, trust=True)(code, Role.TRANSFORM)(-1) == 1
    with pytest.raises(Unresolved, match="runs only where the file is trusted"):
        resolver(functions)(code, Role.TRANSFORM)


@pytest.fixture
def package() -> Iterator[None]:
    """A package ``plant`` with a function, a class, an import of `os` and something private."""
    plant, inner = types.ModuleType("plant"), types.ModuleType("plant.rules")
    source = """
import os
from os import system
def double(record, factor=2): return record * factor
def _hidden(record): return record
class Limit:
    def __init__(self, most): self.most = most
    def validate(self, record): return record <= self.most
    @staticmethod
    def half(record): return record / 2
"""
    exec(source, inner.__dict__)
    plant.rules = inner  # type: ignore[attr-defined]
    sys.modules.update({"plant": plant, "plant.rules": inner})
    yield
    del sys.modules["plant"], sys.modules["plant.rules"]


def imported(name: str, role: Role = Role.TRANSFORM, modules: Any = ("plant",), **params: Any) -> Any:
    return Functions(modules=modules).resolve(Named(name, params), role)


@pytest.mark.usefixtures("package")
def test_functions_of_allowed_packages_can_be_named() -> None:
    """``module:function``, a class with its params, and what a class has; within the package allowed."""
    assert imported("plant.rules:double", factor=3)(2) == 6
    assert imported("plant.rules:Limit", Role.GATE, most=3)(4) is False
    assert imported("plant.rules:Limit.half", modules="plant.rules")(3) == 1.5


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "modules", "says"),
    [
        ("plant.rules:double", (), "the module 'plant.rules' is not allowed .none is allowed."),
        ("plant.rules:double", ("plan",), "is not allowed .allowed are plan."),
        ("plant:double", ("plant.rules",), "'plant' is not allowed"),
        ("os:system", ("plant",), "'os' is not allowed"),
        ("plant.rules:system", ("plant",), "comes from 'posix', which is not allowed"),
        ("plant.rules:os.system", ("plant",), "comes from 'posix', which is not allowed"),
        ("plant.rules:os", ("plant",), "comes from 'os', which is not allowed"),
        ("plant.rules:_hidden", ("plant",), "names that start with _ are private"),
        ("plant.rules:double.__globals__", ("plant",), "names that start with _ are private"),
        ("plant.rules:dubble", ("plant",), "there is no 'dubble' in plant.rules .did you mean 'double'"),
        ("plant.nothing:double", ("plant",), "'plant.nothing' cannot be imported"),
    ],
)
def test_nothing_else_can_be_named(name: str, modules: tuple[str, ...], says: str) -> None:
    """Other modules, what an allowed module has imported, and private names are refused, each saying what to do or what is near."""
    with pytest.raises(Unresolved, match=says):
        imported(name, modules=modules)


@pytest.mark.usefixtures("package")
def test_a_trusted_file_may_name_any_module() -> None:
    """With trust there is no list."""
    assert Functions(trust=True).resolve(Named("plant.rules:double"), Role.TRANSFORM)(2) == 4

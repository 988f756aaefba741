"""Contracts in force: what fits goes through, what does not is refused with the reason, and what nobody declared is counted."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.data.functions.jsonschema import compile_schema
from setpoint.namespace import Topic
from setpoint.namespace.contracts import MOST_UNDECLARED, OTHERS, ContractBook, ContractError, Contracts, faults
from setpoint.namespace.models import (
    TYPES,
    DataContract,
    DataModel,
    ModelRef,
    Models,
    PayloadShape,
    Relational,
    ShapeFields,
    ShapeRef,
)
from setpoint.namespace.models_schema import contract_schema, payload_schema

PUMP = ModelRef("pump", "v1")
SERIES = {"timestamp_ms": 1_700_000_000_000, "value": 1.5}


def shop() -> Models:
    shapes = {"inspection": PayloadShape("inspection", {"who": "string", "at": {"x": "number", "n": "integer"}})}
    pump = {
        "pressure": {"inlet": ShapeRef("timeseries-number"), "outlet": ShapeRef("timeseries-number")},
        "running": ShapeRef("timeseries-boolean"),
        "inspection": ShapeRef("inspection"),
        "order": Relational({"id": "string"}),
    }
    contracts = (DataContract("_pump_v1", PUMP), DataContract("_tank", PUMP), DataContract("_free", None))
    return Models(shapes, {"pump": DataModel("pump", {"v1": pump})}, contracts)


def check(topic: str, payload: Any, contracts: Contracts | None = None) -> bool:
    body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return (contracts or Contracts(shop())).check(Topic.parse(f"umh.v1.acme.{topic}"), body)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("_pump_v1.pressure.inlet", SERIES),
        ("_pump_v1.pressure.outlet", {**SERIES, "value": 7}),
        ("_pump_v1.pressure.outlet", {**SERIES, "value": 10**30}),
        ("_pump_v1.running", {**SERIES, "value": True}),
        ("_pump_v1.inspection", {"who": "a", "at": {"x": 1, "n": 2}}),
        ("_pump_v1.inspection", {"who": "a", "at": {"x": 1.5, "n": 2.0}}),
        ("_pump_v1.order", {"id": "7"}),
        ("_tank.running", {**SERIES, "value": False}),
        ("_tank_v1.running", {**SERIES, "value": False}),
        ("_free.anything", {"at": "all"}),
        ("_raw.anything", SERIES),
        ("_historian.any.thing", {"x": 1}),
    ],
)
def test_what_fits_goes_through(topic: str, payload: Any) -> None:
    """Declared contracts by any of their names, those without a model, and the built-in ones."""
    assert check(topic, payload)


@pytest.mark.parametrize(
    ("topic", "payload", "text"),
    [
        (
            "pressure.inlt",
            SERIES,
            "contract _pump_v1: the model pump:v1 has no path 'pressure.inlt'; did you mean 'pressure.inlet'?",
        ),
        ("pressure", SERIES, "has no path 'pressure'; did you mean 'pressure.inlet'?"),
        ("zzz", SERIES, "has no path 'zzz'; expected one of pressure.inlet, pressure.outlet, running"),
        ("running", SERIES, "_pump_v1: running (timeseries-boolean): value: expected true or false, found 1.5"),
        ("pressure.inlet", {**SERIES, "value": "high"}, "value: expected a number, found 'high'"),
        ("pressure.inlet", {**SERIES, "value": True}, "value: expected a number, found True"),
        ("pressure.inlet", {**SERIES, "unit": "bar"}, "unit is not a field of it"),
        (
            "pressure.inlet",
            {"timestmp_ms": 1, "value": 1},
            "timestamp_ms is missing; timestmp_ms is not a field of it, did you mean 'timestamp_ms'?",
        ),
        (
            "inspection",
            {"who": 1, "at": {"x": None, "n": 1.5}},
            "who: expected a text, found 1; at.x: expected a number, found null; at.n: expected a whole number, found 1.5",
        ),
        ("inspection", {"who": "a", "at": {"x": 1, "n": 1.5}}, "at.n: expected a whole number, found 1.5"),
        ("inspection", {"who": "a", "at": 3}, "at: expected an object, found 3"),
        ("inspection", [1], "the payload: expected an object, found a list"),
        ("order", {}, "id is missing"),
        ("order", b"{", "it is not valid JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_all_reasons(topic: str, payload: Any, text: str) -> None:
    """Which contract, which path, what was expected, what was found, and what is nearest."""
    with pytest.raises(ContractError) as caught:
        check(f"_pump_v1.{topic}", payload)
    assert text in str(caught.value)


@pytest.mark.parametrize("topic", ["_pump_v3.running", "_pump.running", "_tank_v2.running"])
def test_another_version_of_a_declared_contract_is_refused(topic: str) -> None:
    """It claims a contract that is checked, and would pass for it."""
    with pytest.raises(ContractError, match=r"there is no contract _\w+; declared: _(pump|tank)_v1"):
        check(topic, SERIES)


def test_a_contract_whose_model_has_errors_lets_nothing_through() -> None:
    """It is not taken for one that nobody declared."""
    flawed = Models({}, {"pump": DataModel("pump", {"v1": {"x": ShapeRef("none")}})}, (DataContract("_pump_v1", PUMP),))
    unread = Models({}, {}, (DataContract("_pump_v1", None, sound=False),))
    for models in (flawed, unread):
        with pytest.raises(ContractError, match="cannot be checked: its model has errors"):
            check("_pump_v1.x", SERIES, Contracts(models))
        assert Contracts(models).schemas() == {}


def test_a_contract_that_nobody_declared_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its messages go through unchecked, which can be seen; with a name that is nearly a declared one that is said as well."""
    book = ContractBook(Contracts(shop()))
    with caplog.at_level(logging.WARNING, "setpoint.namespace"):
        for topic in ("_pmp_v1.x", "_order.new", "_order.new", "_pump_v1.order", "_raw.x"):
            book.check(Topic.parse(f"umh.v1.acme.{topic}"), b'{"id":"1"}')
    assert book.undeclared == {"_pmp_v1": 1, "_order": 2}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "_pmp_v1 is declared nowhere" in said[0]
    assert "did you mean _pump_v1?" in said[0]


def test_the_contracts_in_force_are_replaced_at_once() -> None:
    """The next message is checked by the new ones; what they declare is no longer counted as undeclared."""
    book = ContractBook()
    topic = Topic.parse("umh.v1.acme._pump_v1.running")
    book.check(topic, b"{}")
    book.check(Topic.parse("umh.v1.acme._other.x"), b"{}")
    book.put(Contracts(shop()))
    with pytest.raises(ContractError):
        book.check(topic, b"{}")
    assert book.undeclared == {"_other": 1}


def test_names_from_outside_cannot_take_the_memory() -> None:
    """Of undeclared contracts a bounded number is counted by name, the rest together."""
    book = ContractBook(Contracts(shop()))
    for n in range(MOST_UNDECLARED + 50):
        book.check(Topic.build(location_path="a", contract=f"_x{n}x", name="x"), b"{}")
    assert len(book.undeclared) == MOST_UNDECLARED + 1
    assert book.undeclared[OTHERS] == 50


def test_fields_may_have_any_name() -> None:
    """Also what Python takes for a word of its own, and an empty text."""
    fields: ShapeFields = {
        "class": "number",
        "x-axis": "string",
        "": "boolean",
        "a b": {"f0": "integer", "f1": "integer"},
    }
    models = Models(
        {"odd": PayloadShape("odd", fields)},
        {"pump": DataModel("pump", {"v1": {"x": ShapeRef("odd")}})},
        (DataContract("_pump_v1", PUMP),),
    )
    fine = {"class": 1, "x-axis": "a", "": True, "a b": {"f0": 1, "f1": 2}}
    assert check("_pump_v1.x", fine, Contracts(models))
    with pytest.raises(ContractError, match=r"a b\.f1 is missing"):
        check("_pump_v1.x", {**fine, "a b": {"f0": 1}}, Contracts(models))


NAMES = st.sampled_from(["a", "b", "value", "timestamp_ms"])
FIELDS = st.recursive(
    st.dictionaries(NAMES, st.sampled_from(TYPES), min_size=1, max_size=3),
    lambda below: st.dictionaries(NAMES, st.one_of(st.sampled_from(TYPES), below), min_size=1, max_size=3),
    max_leaves=5,
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(10**15, 10**25),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, 5.0, 1e300]),
    st.text(max_size=3),
)
ANYTHING = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=2) | st.dictionaries(NAMES, below, max_size=3), max_leaves=6
)


def fitting(kind: str | ShapeFields) -> st.SearchStrategy[Any]:
    """Mostly what fits, with something else now and then in any place."""
    if not isinstance(kind, str):
        exact = st.fixed_dictionaries({name: fitting(below) for name, below in kind.items()})
        return st.one_of(exact, exact, exact, st.tuples(exact, NAMES, ANYTHING).map(_with), ANYTHING)
    right = {
        "number": st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
        "integer": st.one_of(st.integers(), st.integers(-9, 9).map(float)),
        "string": st.text(max_size=3),
        "boolean": st.booleans(),
    }[kind]
    return st.one_of(right, right, right, right, SCALARS)


def _with(parts: tuple[dict[str, Any], str, Any]) -> dict[str, Any]:
    payload, name, value = parts
    return {**payload, name: value}


@settings(max_examples=400)
@given(FIELDS.flatmap(lambda fields: st.tuples(st.just(fields), fitting(fields))))
def test_the_check_the_json_schema_and_the_words_agree(drawn: tuple[ShapeFields, Any]) -> None:
    """For any shape and payload: what the JSON Schema accepts is what is let through, and what is refused has a reason."""
    fields, payload = drawn
    body = msgspec.json.encode(payload)
    data = msgspec.json.decode(body)
    valid = not compile_schema(payload_schema(fields))(data)
    assert valid == (not list(faults(fields, data)))
    models = Models(
        {"s": PayloadShape("s", fields)},
        {"pump": DataModel("pump", {"v1": {"x": ShapeRef("s")}})},
        (DataContract("_pump_v1", PUMP),),
    )
    try:
        assert check("_pump_v1.x", body, Contracts(models)) == valid
    except ContractError:
        assert not valid


@given(
    st.sampled_from(["pressure.inlet", "running", "inspection", "order", "pressure", "nothing.here"]),
    st.one_of(fitting({"timestamp_ms": "number", "value": "number"}), fitting({"id": "string"}), ANYTHING),
)
def test_the_schema_of_a_contract_says_what_goes_where(path: str, payload: Any) -> None:
    """For any path and payload of a contract, its one JSON Schema and the check agree."""
    contracts = Contracts(shop())
    body = msgspec.json.encode(payload)
    schema = compile_schema(contract_schema(contracts.models, contracts.models.contracts[0]))
    valid = not schema({"virtual_path": path, "fields": msgspec.json.decode(body)})
    try:
        assert check(f"_pump_v1.{path}", body, contracts) == valid
    except ContractError:
        assert not valid

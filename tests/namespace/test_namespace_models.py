"""Models: what refers to what, to which paths it comes, and everything that is wrong with it, each with its place."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.namespace.models import (
    DataContract,
    DataModel,
    ModelRef,
    Models,
    PayloadShape,
    Relational,
    ShapeRef,
    Structure,
)
from setpoint.namespace.models_check import MOST_PATHS, MOST_REFERENCES, Examined, examine
from setpoint.namespace.models_schema import subjects

NUMBER = ShapeRef("timeseries-number")
MOTOR = ModelRef("motor", "v1")
PUMP = ModelRef("pump", "v1")


def models(*contracts: DataContract, **structures: Structure) -> Models:
    """Models by name, each in version v1."""
    made = {name: DataModel(name, {"v1": structure}, at=("dataModels", name)) for name, structure in structures.items()}
    return Models({}, made, contracts)


def texts(examined: Examined) -> list[str]:
    return [f"{'.'.join(str(step) for step in fault.at)}: {fault.message}; {fault.hint}" for fault in examined.faults]


def chain(length: int) -> Models:
    """m0 refers to m1, and so on, so many references after each other."""
    made: dict[str, Structure] = {f"m{n}": {"next": ModelRef(f"m{n + 1}", "v1")} for n in range(length)}
    return models(**made, **{f"m{length}": {"end": NUMBER}})


def test_references_are_followed_to_the_leaves() -> None:
    """All paths of a model, its own and those of the models in it, each with the shape of its payload."""
    found = models(
        motor={"speed": NUMBER, "order": Relational({"id": "string"})},
        pump={"axis": {"x": NUMBER}, "motor": MOTOR},
    )
    assert examine(found) == Examined((), frozenset({MOTOR, PUMP}))
    leaves = found.leaves(PUMP)
    assert list(leaves) == ["axis.x", "motor.speed", "motor.order"]
    assert leaves["motor.speed"].name == "timeseries-number"
    assert leaves["motor.order"] == PayloadShape("_relational-motor.order", {"id": "string"})


@pytest.mark.parametrize("kind", ["number", "string", "boolean"])
def test_three_shapes_are_there_without_being_written(kind: str) -> None:
    """Time series of numbers, texts and truth values; a shape of the file goes before the one of the same name."""
    shape = Models().shapes[f"timeseries-{kind}"]
    assert shape.fields == {"timestamp_ms": "number", "value": kind}
    own = PayloadShape(f"timeseries-{kind}", {"value": "integer"})
    assert Models({own.name: own}).shapes[own.name] is own


@pytest.mark.parametrize(
    ("contract", "addresses"),
    [
        (DataContract("_pump_v1", PUMP), ("_pump_v1",)),
        (DataContract("_pump", PUMP), ("_pump", "_pump_v1")),
        (DataContract("pump-contract", PUMP), ("_pump-contract", "_pump-contract_v1")),
        (DataContract("_my_valve", PUMP), ("_my_valve", "_my_valve_v1")),
        (DataContract("_free", None), ("_free",)),
    ],
)
def test_the_texts_that_topics_carry_for_a_contract(contract: DataContract, addresses: tuple[str, ...]) -> None:
    """Its name with an underscore; where that has no version at its end, also with the version of its model."""
    assert contract.addresses == addresses


def test_a_model_knows_the_contract_it_holds_under() -> None:
    """That of its data contract; without one what the convention makes of name and version."""
    found = models(DataContract("pumps", PUMP), pump={"x": NUMBER}, motor={"x": NUMBER})
    assert found.address_of(PUMP) == "_pumps_v1"
    assert found.address_of(MOTOR) == "_motor_v1"


def test_all_faults_come_at_once_with_their_places() -> None:
    """Missing shapes, models and versions, each with the nearest name or with what there is."""
    found = models(
        DataContract("_pmp_v1", ModelRef("pmp", "v1"), at=("dataContracts", 0)),
        DataContract("_pump_v2", ModelRef("pump", "v2"), at=("dataContracts", 1)),
        pump={"a": ShapeRef("timeseries-nmber"), "b": {"c": ModelRef("mtor", "v1"), "d": ModelRef("motor", "v7")}},
        motor={"x": NUMBER},
    )
    examined = examine(found)
    at = "dataModels.pump.version.v1.structure"
    assert texts(examined) == [
        f"{at}.a._payloadshape: there is no payload shape 'timeseries-nmber'; did you mean 'timeseries-number'?",
        f"{at}.b.c._refModel.name: there is no data model 'mtor'; did you mean 'motor'?",
        f"{at}.b.d._refModel.version: the data model 'motor' has no version 'v7'; it has: v1",
        "dataContracts.0.model.name: there is no data model 'pmp'; did you mean 'pump'?",
        "dataContracts.1.model.version: the data model 'pump' has no version 'v2'; it has: v1",
    ]
    assert examined.sound == {MOTOR}


def test_a_circle_is_named_with_its_whole_way() -> None:
    """From model to model with the path in each; who only leads into it is not to blame, and cannot be used either."""
    found = models(
        line={"pump": PUMP},
        pump={"drive": {"main": MOTOR}},
        motor={"part": ModelRef("rotor", "v1")},
        rotor={"of": PUMP},
        own={"self": ModelRef("own", "v1")},
        good={"x": NUMBER},
    )
    examined = examine(found)
    assert texts(examined) == [
        "dataModels.rotor.version.v1.structure.of._refModel: refers in a circle: pump:v1 (drive.main) → motor:v1 (part) "
        "→ rotor:v1 (of) → pump:v1; take one of these references out",
        "dataModels.own.version.v1.structure.self._refModel: refers in a circle: own:v1 (self) → own:v1; "
        "take one of these references out",
    ]
    assert examined.sound == {ModelRef("good", "v1")}


def test_versions_of_one_model_are_models_of_their_own() -> None:
    """v2 may be made of v1."""
    model = DataModel("pump", {"v1": {"x": NUMBER}, "v2": {"old": PUMP, "new": NUMBER}})
    found = Models({}, {"pump": model})
    assert examine(found).faults == ()
    assert list(found.leaves(ModelRef("pump", "v2"))) == ["old.x", "new"]


def test_references_may_follow_each_other_so_far_and_no_further() -> None:
    """Ten, as documented; the eleventh is named with the whole way."""
    assert examine(chain(MOST_REFERENCES)).faults == ()
    assert chain(MOST_REFERENCES).leaves(ModelRef("m0", "v1")) != {}
    fault = examine(chain(MOST_REFERENCES + 1)).faults
    assert len(fault) == 1
    assert "11 references follow each other, at most 10 are allowed: m0:v1 (next) → m1:v1 (next)" in fault[0].message
    assert fault[0].message.endswith("→ m11:v1")


def test_models_that_would_come_to_too_many_paths_are_refused_quickly() -> None:
    """Eight models of ten references each to the next stand for a hundred million paths; nobody writes them out."""
    made: dict[str, Structure] = {f"m{n}": {f"r{i}": ModelRef(f"m{n + 1}", "v1") for i in range(10)} for n in range(8)}
    found = models(**made, m8={"x": NUMBER})
    begun = time.perf_counter()
    faults = examine(found).faults
    assert time.perf_counter() - begun < 1.0
    assert f"has 100000000 paths with all references written out; at most {MOST_PATHS}" in faults[-1].message


def test_a_chain_as_long_as_a_file_is_no_trouble() -> None:
    """No recursion error, and every model that has too many below it is named."""
    assert len(examine(chain(5000)).faults) == 5000 - MOST_REFERENCES


def test_contracts_that_topics_cannot_tell_apart() -> None:
    """The same name, or another name with the version behind it; built-in contracts have no model."""
    found = models(
        DataContract("_pump", PUMP),
        DataContract("pump_v1", PUMP),
        DataContract("_pump", None),
        DataContract("_raw", PUMP),
        DataContract("_historian", None),
        pump={"x": NUMBER},
    )
    assert [fault.message for fault in examine(found).faults] == [
        "'pump_v1' and '_pump' are one in topics: _pump_v1",
        "'_pump' is used twice: _pump",
        "'_raw' is built in and has no model",
    ]


@pytest.mark.parametrize(
    "fields", [{"timestamp_ms": "string", "value": "number"}, {"timestamp_ms": "number", "value": {}}]
)
def test_a_shape_of_which_nothing_could_be_published(fields: dict[str, str]) -> None:
    """Exactly timestamp_ms and value are a time series; one that is none is found before the first message is."""
    shape = PayloadShape("odd", fields, at=("payloadShapes", "odd"))
    assert "is a time series" in examine(Models({"odd": shape})).faults[0].message


def test_what_was_not_read_whole_is_not_used() -> None:
    """An entry with an error is there, so that nobody calls it missing, but nothing is checked by it."""
    flawed = DataModel("motor", {"v1": {}}, sound=False)
    shape = PayloadShape("s", {}, sound=False)
    pump, tank = DataModel("pump", {"v1": {"m": MOTOR}}), DataModel("tank", {"v1": {"s": ShapeRef("s")}})
    examined = examine(Models({"s": shape}, {"motor": flawed, "pump": pump, "tank": tank}))
    assert examined == Examined((), frozenset())


def test_a_subject_of_the_registry_for_each_shape() -> None:
    """Named after contract, version and shape; the schema names all paths with this shape, and nothing more may be in it."""
    pumps = DataContract("_pump", PUMP)
    found = models(
        pumps, motor={"speed": NUMBER}, pump={"b": NUMBER, "motor": MOTOR, "o": Relational({"n": {"i": "integer"}})}
    )
    made = subjects(found, pumps)
    assert list(made) == ["_pump_v1-_relational-o", "_pump_v1-timeseries-number"]
    assert made["_pump_v1-timeseries-number"] == {
        "type": "object",
        "properties": {
            "virtual_path": {"type": "string", "enum": ["b", "motor.speed"]},
            "fields": {
                "type": "object",
                "properties": {"timestamp_ms": {"type": "number"}, "value": {"type": "number"}},
                "required": ["timestamp_ms", "value"],
                "additionalProperties": False,
            },
        },
        "required": ["virtual_path", "fields"],
        "additionalProperties": False,
    }
    below = made["_pump_v1-_relational-o"]["properties"]["fields"]["properties"]["n"]
    assert below["properties"] == {"i": {"type": "integer"}}


def _reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    seen: set[str] = set()
    rest = list(graph[start])
    while rest:
        name = rest.pop()
        if name not in seen:
            seen.add(name)
            rest.extend(graph[name])
    return seen


@given(st.lists(st.lists(st.integers(0, 6), max_size=3), min_size=7, max_size=7))
def test_sound_is_what_leads_into_no_circle(edges: list[list[int]]) -> None:
    """For any references: a circle is reported when there is one, and usable is what does not reach one."""
    graph = {f"m{n}": [f"m{target}" for target in targets] for n, targets in enumerate(edges)}
    structures: dict[str, Structure] = {
        name: {"x": NUMBER, **{f"r{i}": ModelRef(target, "v1") for i, target in enumerate(targets)}}
        for name, targets in graph.items()
    }
    examined = examine(models(**structures))
    circular = {name for name in graph if name in _reachable(graph, name)}
    good = {name for name in graph if not ({name} | _reachable(graph, name)) & circular}
    assert bool(examined.faults) == bool(circular)
    assert {ref.name for ref in examined.sound} == good
    assert all("refers in a circle" in fault.message for fault in examined.faults)

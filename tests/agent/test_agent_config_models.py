"""``payloadShapes``, ``dataModels`` and ``dataContracts`` in a file: what they come to, and each mistake with its line."""

from __future__ import annotations

import pytest

from setpoint.agent.config import Configuration, read_config
from setpoint.namespace import Topic
from setpoint.namespace.contracts import ContractError
from setpoint.namespace.models import DataContract, ModelRef, Relational, ShapeRef

TEXT = """\
agent: {location: {0: acme}}
payloadShapes:
  inspection:
    description: what was found
    fields: {who: {_type: string}, at: {x: {_type: number}, n: {_type: integer}}}
dataModels:
  - name: motor
    version: {v1: {structure: {speed: {_payloadshape: timeseries-number}}}}
  - name: pump
    description: a pump
    version:
      v1:
        structure:
          motor: {_refModel: {name: motor, version: v1}}
          axis: {x: {_payloadshape: timeseries-number}}
          inspection: {_payloadshape: inspection}
          order: {_relational: {description: d, fields: {id: {_type: string}}}}
      v2: {structure: {old: {_refModel: {name: pump, version: v1}}}}
dataContracts:
  - name: _pump_v1
    model: {name: pump, version: v1}
  - {name: pump-two, model: {name: pump, version: v2}}
"""


def sound(text: str) -> Configuration:
    configuration = read_config(text)
    assert configuration.problems == (), [str(error) for error in configuration.problems]
    return configuration


def problems(text: str) -> list[str]:
    return [str(problem).removeprefix("config.yaml:") for problem in read_config(text).problems]


def check(configuration: Configuration, topic: str, payload: bytes = b'{"id": "1"}') -> bool:
    return configuration.contracts.check(Topic.parse(f"umh.v1.acme.{topic}"), payload)


def test_a_file_comes_to_models_and_contracts() -> None:
    """Everything that is written is there, and checks messages."""
    configuration = sound(TEXT)
    models = configuration.models
    assert models.shapes["inspection"].fields == {"who": "string", "at": {"x": "number", "n": "integer"}}
    assert models.shapes["inspection"].description == "what was found"
    assert models.structure(ModelRef("pump", "v1")) == {
        "motor": ModelRef("motor", "v1"),
        "axis": {"x": ShapeRef("timeseries-number")},
        "inspection": ShapeRef("inspection"),
        "order": Relational({"id": "string"}),
    }
    assert models.contracts == (
        DataContract("_pump_v1", ModelRef("pump", "v1")),
        DataContract("pump-two", ModelRef("pump", "v2")),
    )
    assert check(configuration, "_pump_v1.order")
    assert check(configuration, "_pump-two.old.order")
    assert check(configuration, "_pump-two_v2.old.order")
    with pytest.raises(ContractError):
        check(configuration, "_pump_v1.motor.speed")


def test_model_and_contract_in_one_entry() -> None:
    """Each version of an entry of dataContractsV2 is a model, under the contract that name and version make."""
    text = TEXT[: TEXT.index("dataContracts:")] + (
        "dataContractsV2:\n"
        "  - name: tank\n"
        "    version: {v1: {structure: {order: {_relational: {fields: {id: {_type: string}}}}}},\n"
        "              v2: {structure: {pump: {_refModel: {name: pump, version: v1}}}}}\n"
    )
    configuration = sound(text)
    assert [contract.addresses for contract in configuration.models.contracts] == [("_tank_v1",), ("_tank_v2",)]
    assert check(configuration, "_tank_v1.order")
    assert check(configuration, "_tank_v2.pump.order")


def test_contracts_without_a_model() -> None:
    """The built-in ones may be listed; any other is said to check nothing."""
    found = read_config(
        "agent: {location: {0: a}}\ndataContracts:\n  - name: _raw\n  - name: _historian\n  - name: _free\n"
    )
    assert [str(problem) for problem in found.problems] == [
        "config.yaml:5:5: dataContracts[2]: '_free' has no model: nothing is checked under it; "
        "add 'model:' with name and version"
    ]
    assert found.errors == ()


def test_bridges_of_a_contract_are_accepted_and_said_not_to_be_made() -> None:
    """Files of UMH Core have them, and nobody is left to believe that they work."""
    text = TEXT + "    default_bridges: [{type: x}]\n"
    found = problems(text.replace("  - {name: pump-two, model: {name: pump, version: v2}}\n", ""))
    assert found == ["22:5: dataContracts[0].default_bridges: accepted, but this version does not act on it yet"]


MISTAKES = [
    (
        "_type: string}, at",
        "_type: strng}, at",
        "5:27: payloadShapes.inspection.fields.who._type: expected number, integer, string or boolean, found 'strng'; did you",
    ),
    ("fields: {who", "felds: {who", "5:5: payloadShapes.inspection.felds: unknown key; did you mean 'fields'?"),
    (
        "n: {_type: integer}",
        "n: null",
        "payloadShapes.inspection.fields.at.n: is empty; expected _type or fields below it",
    ),
    ("at: {x: {_type: number}, n: {_type: integer}}", "at: {}", "payloadShapes.inspection.fields.at: is empty"),
    (
        "  inspection:\n    desc",
        "  in spection:\n    desc",
        "3:3: payloadShapes.in spection: 'in spection' is not a valid name",
    ),
    ("      v1:\n", "      1:\n", "12:7: dataModels[1].version.1: '1' is not a version; expected v1, v2 …"),
    ("      v1:\n", "      v0:\n", "12:7: dataModels[1].version.v0: 'v0' is not a version"),
    (
        "axis: {x: {_payloadshape: timeseries-number}}",
        "axis: {}",
        "15:17: dataModels[1].version.v1.structure.axis: is empty; expected _payloadshape, _refModel, _relational or fields below it",
    ),
    ("axis: {x: {_payloadshape: timeseries-number}}", "axis:", "axis: is empty"),
    (
        "axis: {x: {_payloadshape: timeseries-number}}",
        "axis: number",
        "axis: expected _payloadshape, _refModel, _relational or fields below it, found 'number'",
    ),
    (
        "{x: {_payloadshape",
        "{x: {_payloadShape",
        "15:22: dataModels[1].version.v1.structure.axis.x._payloadShape: unknown key; did you mean '_payloadshape'?",
    ),
    (
        "{x: {_payloadshape: timeseries-number}",
        "{x: {_payloadshape: timeseries-number, y: {_payloadshape: inspection}}",
        "axis.x.y: unknown key",
    ),
    (
        "{_payloadshape: inspection}",
        "{_payloadshape: inspction}",
        "16:24: dataModels[1].version.v1.structure.inspection._payloadshape: there is no payload shape 'inspction'; did you",
    ),
    (
        "{_payloadshape: inspection}",
        "{_payloadshape: inspection, _refModel: {name: motor, version: v1}}",
        "inspection: has _payloadshape and _refModel at once; keep one of them",
    ),
    ("axis: {x", "axis: {x.y", "axis.x.y: 'x.y' is not a valid name"),
    (
        "{name: motor, version: v1}}",
        "{name: mtor, version: v1}}",
        "14:31: dataModels[1].version.v1.structure.motor._refModel.name: there is no data model 'mtor'; did you mean 'motor'?",
    ),
    (
        "{name: motor, version: v1}}",
        "{name: motor, version: v2}}",
        "14:44: dataModels[1].version.v1.structure.motor._refModel.version: the data model 'motor' has no version 'v2'; it has: v1",
    ),
    (
        "{name: motor, version: v1}}",
        "{name: motor}}",
        "motor._refModel.version: is missing; expected a version such as v1",
    ),
    ("{name: motor, version: v1}}", "{name: motor, version: 1}}", "motor._refModel.version: '1' is not a version"),
    (
        "{name: motor, version: v1}}",
        "{name: pump, version: v2}}",
        "refers in a circle: pump:v1 (motor) → pump:v2 (old) → pump:v1",
    ),
    (
        "- name: pump\n",
        "- name: motor\n",
        "9:5: dataModels[1].name: the name 'motor' is used twice; rename one of them; the first is dataModels[0]",
    ),
    ("- name: pump\n", "- name: my.pump\n", "9:5: dataModels[1].name: 'my.pump' is not a valid name"),
    (
        "    version: {v1: {structure: {speed: {_payloadshape: timeseries-number}}}}\n",
        "",
        "7:5: dataModels[0].version: is missing; expected the versions of the model: v1 and so on",
    ),
    (
        "{structure: {speed: {_payloadshape: timeseries-number}}}",
        "{structure: {}}",
        "dataModels[0].version.v1.structure: is empty; expected the fields of the model",
    ),
    ("name: _pump_v1", "name: _pump.v1", "20:5: dataContracts[0].name: '_pump.v1' is not a valid name"),
    ("name: _pump_v1", "name: pump-two", "22:6: dataContracts[1].name: 'pump-two' is used twice: _pump-two"),
    ("model: {name: pump, version: v1}", "model: {name: pump}", "21:12: dataContracts[0].model.version: is missing"),
    (
        "{name: pump-two, model: {name: pump, version: v2}",
        "{name: pump-two, model: {name: pmp, version: v2}",
        "22:30: dataContracts[1].model.name: there is no data model 'pmp'; did you mean 'pump'?",
    ),
    (
        "name: pump-two, model",
        "name: pump-two, modle",
        "22:22: dataContracts[1].modle: unknown key; did you mean 'model'?",
    ),
    ("dataModels:", "dataModels: 5\nx:", "dataModels: expected a list, found '5'"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_a_mistake_is_found_where_it_stands(old: str, new: str, said: str) -> None:
    """With line, column and key, and with what to do about it."""
    assert old in TEXT
    found = problems(TEXT.replace(old, new, 1))
    assert any(said in problem for problem in found), found


def test_all_mistakes_come_at_once() -> None:
    """Those in the text of an entry and those between entries, in the order of the file."""
    text = TEXT.replace("x: {_payloadshape: timeseries-number}", "x: {_payloadshape: none}, y: null", 1)
    text = text.replace("name: motor, version: v1", "name: mtor, version: v1").replace(
        "name: pump, version: v2", "name: pump, version: v9"
    )
    assert [problem.split(":")[0] for problem in problems(text)] == ["14", "15", "15", "22"]


def test_a_contract_of_a_flawed_model_refuses_everything() -> None:
    """At a first start on such a file the good items run; nothing is published under what cannot be checked."""
    configuration = read_config(TEXT.replace("_type: string}, at", "_type: strng}, at"))
    with pytest.raises(ContractError, match="cannot be checked"):
        check(configuration, "_pump_v1.order")


def test_a_file_without_any_checks_nothing() -> None:
    """No section, no contract."""
    configuration = sound("agent: {location: {0: acme}}\n")
    assert configuration.models.contracts == ()
    assert not check(configuration, "_pump_v1.order")


def test_a_contract_with_a_mistyped_key_is_not_one_without_a_model() -> None:
    """What could not be read whole refuses every message."""
    configuration = read_config(TEXT.replace("name: pump-two, model", "name: pump-two, modle"))
    with pytest.raises(ContractError, match="cannot be checked"):
        check(configuration, "_pump-two.x")

"""What Sparkplug B payloads mean, and what is known of edge nodes. The input against a real broker is in tests/real."""

from typing import Any

import pytest
from flows_sparkplug import EdgeNode, metric
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

pytest.importorskip("google.protobuf", reason="protobuf is not installed: pip install 'setpoint[sparkplug]'")

from setpoint.flows.inputs.sparkplug_b import SparkplugB
from setpoint.flows.sparkplug_nodes import Nodes, Outcome, topic
from setpoint.flows.sparkplug_payload import TYPES, decode, message, value_of

FOREIGN = bytes.fromhex(
    "0880d095ffbc31120f0a04494e543810001801200150fb0112110a05494e54313610011801200250d4fd0312130a05494e5433321002180120035090"
    "ddfbff0f12180a05494e543634100318012004588080808080e0ffffff0112100a0555494e543810041801200550c80112120a0655494e5431361005"
    "1801200650e0d40312140a0655494e54333210061801200750ffffffff0f12190a0655494e54363410071801200858ffffffffffffffffff0112120a"
    "05464c4f4154100818012009650000c03f12170a06444f55424c4510091801200a6900000000000002c012110a07424f4f4c45414e100a1801200b70"
    "0112150a06535452494e47100b1801200c7a054dc3bc6c6c12170a084441544554494d45100c1801200d5880bcb29fc133120f0a0454455854100d18"
    "01200e7a0174120f0a0455554944100e1801200f7a017512120a054259544553100f1801201182010200ff12100a0446494c45101018012012820101"
    "6612170a0a494e54385f4152524159101118012016820102ff02121a0a0b494e5431365f4152524159101218012017820104d4fe0200121e0a0b494e"
    "5433325f415252415910131801201882010890eefeff01000000121e0a0b494e5436345f41525241591014180120198201080000000000ffffff1217"
    "0a0b55494e54385f415252415910151801201a820101ff12190a0c55494e5431365f415252415910161801201b820102ffff121b0a0c55494e543332"
    "5f415252415910171801201c820104ffffffff121f0a0c55494e5436345f415252415910181801201d820108ffffffffffffffff121e0a0b464c4f41"
    "545f415252415910191801201e8201080000c03f00002040121f0a0c444f55424c455f4152524159101a1801201f8201089a9999999999b93f121e0a"
    "0d424f4f4c45414e5f4152524159101b1801202082010609000000a080121d0a0c535452494e475f4152524159101c18012021820106610062206300"
    "12210a0e4441544554494d455f4152524159101d18012022820108009eec139c0100001800"
)
"""A birth certificate that another implementation (pysparkplug 0.6.1) made: a metric of each type that it has, by its name for the type."""


def test_payloads_of_another_implementation_are_understood() -> None:
    """Every type, negative numbers and arrays among them."""
    moment = "2026-01-31T12:00:00.000Z"
    assert {each.name: value_of(each, each.datatype) for each in decode(FOREIGN).metrics} == {
        "INT8": -5, "INT16": -300, "INT32": -70000, "INT64": -(2**40), "UINT8": 200, "UINT16": 60000, "UINT32": 2**32 - 1,
        "UINT64": 2**64 - 1, "FLOAT": 1.5, "DOUBLE": -2.25, "BOOLEAN": True, "STRING": "Müll", "DATETIME": moment, "TEXT": "t", "UUID": "u",
        "BYTES": "AP8=", "FILE": "Zg==", "INT8_ARRAY": [-1, 2], "INT16_ARRAY": [-300, 2], "INT32_ARRAY": [-70000, 1],
        "INT64_ARRAY": [-(2**40)], "UINT8_ARRAY": [255], "UINT16_ARRAY": [65535], "UINT32_ARRAY": [2**32 - 1],
        "UINT64_ARRAY": [2**64 - 1], "FLOAT_ARRAY": [1.5, 2.5], "DOUBLE_ARRAY": [0.1],
        "BOOLEAN_ARRAY": [True, False, True, False, False, False, False, False, True], "STRING_ARRAY": ["a", "b c"],
        "DATETIME_ARRAY": [moment],
    }  # fmt: skip


def one(kind: str, **value: Any) -> Any:
    """The value of a metric of that type."""
    return value_of(message("Metric")(**value), TYPES.index(kind))


@given(st.sampled_from([8, 16, 32]), st.data())
def test_numbers_with_a_sign_are_themselves_however_far_the_sign_was_extended(bits: int, data: st.DataObject) -> None:
    """Some clients fill all 32 bits, some only those of the type."""
    number = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    assert one(f"Int{bits}", int_value=number % 2**32) == number
    assert one(f"Int{bits}", int_value=number % 2**bits) == number


def test_data_sets_templates_and_nothing() -> None:
    """Tables are columns with rows, templates are objects, and null is null."""
    table = message("DataSet")(num_of_columns=2, columns=["n", "t"], types=[3, 12])
    for n, t in ((2**32 - 1, "a"), (5, None)):
        row = table.rows.add()
        row.elements.add(int_value=n)
        row.elements.add(**({"string_value": t} if t else {}))
    assert one("DataSet", dataset_value=table) == {"columns": ["n", "t"], "rows": [[-1, "a"], [5, None]]}
    template = message("Template")()
    metric(template, "speed", 1.5, "Double")
    metric(template, "mode", None, "String")
    assert one("Template", template_value=template) == {"speed": 1.5, "mode": None}
    assert one("Double", is_null=True) is None


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("UInt8", {"int_value": 256}, "does not fit into 8 bits"),
        ("Double", {"double_value": float("nan")}, "not a number"),
        ("Int32", {"string_value": "5"}, "its value a string_value"),
        ("Boolean", {}, "has no value"),
        ("PropertySet", {"bytes_value": b""}, "no value of a metric"),
        ("Int16Array", {"bytes_value": b"abc"}, "Int16Array of 3 bytes"),
        ("BooleanArray", {"bytes_value": b"\xff\xff\xff\xff\x00"}, "shorter than it says"),
        ("DateTime", {"long_value": 2**64 - 1}, "no calendar"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_none(kind: str, value: dict[str, Any], text: str) -> None:
    """It is told what is wrong; nothing is guessed."""
    with pytest.raises(ValueError, match=text):
        one(kind, **value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_told_not_to_be(raw: bytes) -> None:
    """An enemy's bytes end in a ValueError at most."""
    try:
        payload = decode(raw)
        for each in payload.metrics:
            value_of(each, each.datatype)
    except ValueError:
        pass


def test_topics() -> None:
    """Those of nodes and devices, and nothing else."""
    assert topic("spBv1.0/g/DDATA/n/d") == ("g", "DDATA", "n", "d")
    assert topic("spBv1.0/g/NBIRTH/n") == ("g", "NBIRTH", "n", "")
    for other in (
        "spBv1.0/STATE/host",
        "spBv1.0/g/NCMD/n",
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/DDATA/n",
        "spAv1.0/g/NDATA/n",
        "a",
    ):
        assert topic(other) is None


# edge nodes


class Host:
    """What a host knows; takes what an edge node publishes."""

    def __init__(self) -> None:
        self.nodes = Nodes()

    def take(self, published: tuple[str, bytes], *, again: bool = False) -> Outcome:
        place = topic(published[0])
        assert place is not None
        return self.nodes.take(place, decode(published[1]), again=again)

    def values(self, published: tuple[str, bytes]) -> dict[str, Any]:
        outcome = self.take(published)
        assert (outcome.problems, outcome.rebirth) == ([], False)
        return {reading.name: value_of(reading.metric, reading.datatype) for reading in outcome.readings}


SPEED = {"name": "speed", "value": 1.5, "kind": "Double", "alias": 7}
COUNT = {"name": "count", "value": -3, "kind": "Int32", "alias": 8}


def test_numbers_stand_for_the_names_and_types_of_the_birth() -> None:
    """Of the node and of its devices; names alone do as well."""
    host, edge = Host(), EdgeNode()
    assert host.values(edge.birth(SPEED)) == {"bdSeq": 1, "speed": 1.5}
    assert host.values(edge.device_birth("press", COUNT)) == {"count": -3}
    assert host.values(edge.data({"alias": 7, "value": 2.5})) == {"speed": 2.5}
    assert host.values(edge.data({"name": "speed", "value": 3.5})) == {"speed": 3.5}
    assert host.values(edge.data({"alias": 8, "value": 2**32 - 4}, device="press")) == {"count": -4}


def test_the_sequence_goes_round() -> None:
    """255 is followed by 0."""
    host, edge = Host(), EdgeNode()
    host.values(edge.birth(SPEED))
    for n in range(600):
        assert host.values(edge.data({"alias": 7, "value": float(n)})) == {"speed": float(n)}


def test_after_a_gap_nothing_is_believed_until_the_next_birth() -> None:
    """A value under a wrong name would be worse than none; what brings its name and type is read all the same."""
    host, edge = Host(), EdgeNode()
    host.take(edge.birth(SPEED))
    outcome = host.take(edge.data({"alias": 7, "value": 2.5}, step=3))
    assert (outcome.readings, outcome.rebirth) == ([], True)
    assert outcome.problems == [
        "plant/edge: sequence number 3 where 1 was due; messages were missed",
        "plant/edge: 1 metrics of NDATA are in no birth certificate that is known",
    ]
    outcome = host.take(edge.data({"name": "speed", "value": 4.5, "kind": "Double"}))
    assert ([reading.name for reading in outcome.readings], outcome.problems, outcome.rebirth) == (["speed"], [], True)
    host.values(edge.birth({**SPEED, "name": "pressure"}))
    assert host.values(edge.data({"alias": 7, "value": 2.5})) == {"pressure": 2.5}


def test_what_the_broker_sends_twice_is_no_gap() -> None:
    """Messages that are marked as possibly sent before may go back in the sequence; others may not."""
    host, edge = Host(), EdgeNode()
    host.take(edge.birth(SPEED))
    sent = [edge.data({"alias": 7, "value": float(n)}) for n in range(3)]
    assert not any(host.take(each).rebirth for each in sent)
    assert not any(host.take(each, again=True).rebirth for each in sent)
    assert host.values(edge.data({"alias": 7, "value": 9.5})) == {"speed": 9.5}
    assert host.take(sent[0]).rebirth


def test_data_before_any_birth_ask_for_one() -> None:
    """The host came later than the node."""
    host, edge = Host(), EdgeNode()
    edge.birth(SPEED)
    outcome = host.take(edge.data({"alias": 7, "value": 1.0}))
    assert (outcome.readings, outcome.rebirth, len(outcome.problems)) == ([], True, 1)


def test_a_death_counts_for_its_own_session() -> None:
    """One of a former session comes late when a node has reconnected faster than the broker noticed."""
    host, edge = Host(), EdgeNode()
    host.take(edge.birth(SPEED))
    host.take(edge.birth(SPEED))
    assert not host.take(edge.death(session=1)).died
    assert host.values(edge.data({"alias": 7, "value": 2.5})) == {"speed": 2.5}
    assert host.take(edge.death()).died
    assert host.take(edge.data({"alias": 7, "value": 2.5})).rebirth


def test_a_device_dies_alone() -> None:
    """Its numbers stand for nothing any more, those of the node and the other devices do."""
    host, edge = Host(), EdgeNode()
    host.take(edge.birth(SPEED))
    host.take(edge.device_birth("press", COUNT))
    assert host.take(edge.device_death("press")).died
    outcome = host.take(edge.data({"alias": 8, "value": 1}, device="press"))
    assert (outcome.readings, outcome.rebirth) == ([], True)
    assert host.values(edge.data({"alias": 7, "value": 2.5})) == {"speed": 2.5}


def test_a_number_of_one_device_is_none_of_another() -> None:
    """Numbers belong to the device in whose birth they are."""
    host, edge = Host(), EdgeNode()
    host.take(edge.birth())
    host.take(edge.device_birth("press", COUNT))
    outcome = host.take(edge.data({"alias": 8, "value": 1}, device="oven"))
    assert (outcome.readings, outcome.rebirth) == ([], True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"role": "primary"}, "needs identity.edge_node_id"),
        ({"role": "main"}, "secondary_active"),
        ({"identity": {"edge_node_id": "a/b"}}, "pattern"),
        ({"subscription": {"groups": ["a/#"]}}, "no group id"),
        ({"mqtt": {"urls": ["tcp://b:1883"], "clean_session": False}}, "needs a client_id"),
        ({"mqtt": {"urls": ["tcp://b:1883"], "credentials": "x"}}, "username and password"),
        ({"mqtt": {"urls": ["tcp://b:1883"], "will": {"enabled": True, "topic": "a"}}}, "STATE"),
    ],
)
def test_what_cannot_work_is_refused_when_configured(change: dict[str, Any], text: str) -> None:
    """With what to do."""
    with pytest.raises(ValidationError, match=text):
        SparkplugB.Fields.model_validate({"mqtt": {"urls": ["tcp://b:1883"]}, **change})


def test_the_connection_may_be_written_as_benthos_umh_does() -> None:
    """`credentials` and `keep_alive` mean user, password and keepalive."""
    given = {"urls": ["tcp://b:1883"], "credentials": {"username": "eva", "password": "x"}, "keep_alive": "60s"}
    made = SparkplugB.Fields.model_validate({"mqtt": given}).mqtt
    assert (made.user, made.password, made.keepalive) == ("eva", "x", 60)

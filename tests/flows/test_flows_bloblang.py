"""Bloblang: what is translated gives what Benthos gives, what is not is refused by its name, and nothing breaks on any text or message."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.configfile import compose, plain
from setpoint.flows.bloblang import BloblangError, Expression, Mapping, MappingError, World
from setpoint.flows.component import MessageError, Msg, serialized
from setpoint.flows.interpolation import Interpolated

CORPUS = Path(__file__).parent.parent / "corpus" / "bloblang.yaml"
WORLD = World(lambda: 1_700_000_000.25, lambda: 0.5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner, max_size=3),
    max_leaves=8,
)


def corpus() -> list[dict[str, Any]]:
    root, faults = compose(CORPUS.read_text(encoding="utf-8"))
    assert root is not None
    assert not faults
    cases: list[dict[str, Any]] = plain(root)
    return cases


def mapped(text: str, payload: Any = None, *, mutates: bool = False, **meta: str) -> Msg:
    """The message that a mapping makes of this one."""
    out = Mapping(text, mutates=mutates).bind(WORLD)(Msg(payload, meta))
    assert out is not None
    return out


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    """What Setpoint makes of a case, in the words of the corpus."""
    msg = Msg(case["payload"].encode() if "payload" in case else b"", dict(case.get("meta", {})))
    try:
        out = Mapping(case["mapping"], mutates=case.get("kind") == "mutation").bind()(msg)
    except BloblangError:
        return {"refused": True}
    except MappingError:
        return {"fails": True}
    if out is None:
        return {"dropped": True}
    gives = serialized(out.payload).decode("utf-8", errors="replace")
    return {"gives": gives, **({"meta_after": out.meta} if out.meta != msg.meta else {})}


def same(one: str, other: str) -> bool:
    """Whether two payloads are the same JSON, or the same text."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return one == (json.loads(other) if other.startswith('"') else other)


def test_what_is_translated_gives_what_benthos_gives() -> None:
    """For every mapping of the corpus; the real program gave its answers."""
    cases = corpus()
    assert len(cases) > 300
    for case in cases:
        ours = outcome(case)
        expected = {key: case[key] for key in ("gives", "meta_after", "dropped", "fails", "refused") if key in case}
        if "gives" in expected and "gives" in ours and same(ours["gives"], expected["gives"]):
            expected["gives"] = ours["gives"]
        assert ours == expected, case


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("root = 42", 42),
        ('root = "a\\"b" # a comment', b'a"b'),
        ('root = {"a": [1, -2.5e3, true, null], \n "b": {}}', {"a": [1, -2500, True, None], "b": {}}),
        ("root.a.b = 1\nroot.a.c = false", {"a": {"b": 1, "c": False}}),
        ('root = {"x": 1}\n\nroot."y z" = 2', {"x": 1, "y z": 2}),
        ("root = timestamp_unix_milli()", 1_700_000_000_250),
        ("root = timestamp_unix_micro()", 1_700_000_000_250_000),
        ("root = timestamp_unix_nano()", 1_700_000_000_250_000_000),
        ("root = timestamp_unix()", 1_700_000_000),
        ("root = now()", b"2023-11-14T22:13:20.250000Z"),
        ("root = random_int(min: 10, max: 19)", 15),
        ("root = uuid_v4().length()", 36),
    ],
)
def test_what_a_mapping_says_is_what_the_message_carries(text: str, payload: Any) -> None:
    """Literals, and functions that draw on the world."""
    assert mapped(text).payload == payload


def test_meta_is_set_as_text() -> None:
    """Meta are texts; others are written as JSON."""
    out = mapped('root = 1\nmeta umh_topic = "a"\nmeta n = counter()\nmeta list = [1, true]')
    assert (out.payload, out.meta) == (1, {"umh_topic": "a", "n": "1", "list": "[1,true]"})


def test_each_counter_counts_by_itself() -> None:
    """Two counters in one mapping do not share their count, and a mapping does not share them with itself elsewhere."""
    mapping = Mapping("root.a = counter()\nroot.b = counter()")
    for make in (mapping.bind(WORLD), mapping.bind(WORLD)):
        assert [make(Msg(None, {})).payload for _ in range(3)] == [{"a": n, "b": n} for n in (1, 2, 3)]  # type: ignore[union-attr]


@given(low=st.integers(-1000, 1000), span=st.integers(0, 1000), random=st.floats(0, 1, exclude_max=True))
def test_random_integers_stay_within_their_bounds(low: int, span: int, random: float) -> None:
    """Both bounds are included and never passed."""
    draw = Mapping(f"root = random_int(min: {low}, max: {low + span})").bind(World(lambda: 0.0, lambda: random))
    out = draw(Msg(None, {}))
    assert out is not None
    assert low <= out.payload <= low + span


def test_a_seed_repeats_what_it_drew() -> None:
    """The numbers are those of the seed, whatever the world says."""
    text = "root = random_int(seed: 7, min: 0, max: 1000000)"
    draws = [[draw(Msg(None, {})).payload for _ in range(4)] for draw in (Mapping(text).bind(), Mapping(text).bind())]  # type: ignore[union-attr]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("root.a = 1\nroot = this.parse_csv()", "`.parse_csv()` is Bloblang that Setpoint does not translate (line 2); `engine: b"),
        ('root = env("HOME")', "`env()` is Bloblang that Setpoint does not translate (line 1)"),
        ('import "other.blobl"', "`import` is Bloblang that Setpoint does not translate (line 1)"),
        ("map x {\n  root = this\n}", "`map` is Bloblang that Setpoint does not translate (line 1)"),
        ("root = this.a.uppercas()", "line 1: unknown method `.uppercas()` (did you mean 'uppercase'?)"),
        ("root = timestmp_unix()", "unknown function `timestmp_unix()` (did you mean 'timestamp_unix'?)"),
        ("root = this.a.contains()", "contains needs the argument 'value'"),
        ("root = this.a.contains(1, 2)", "contains takes 1 arguments"),
        ("root = this.a.string(x -> x)", "string takes no arguments"),
        ("root = this.a.contains(x -> x)", ".contains() takes no function"),
        ("root = random_int(sed: 3)", "random_int has no argument 'sed'; known: seed, min, max"),
        ("root = 'a'", "unexpected \"'a'\""),
        ("root = 1 2", "line 1: unexpected '2'"),
        ("root = (1", "expected ')', found the end"),
        ('root = "\\q"', "'\\\\q' is no escape in a text"),
        ('root = "\\ud800"', "names a character that there is not"),
        ("this.a = 1", "this cannot be assigned to; assign to root"),
        ("root.a = 1\nthis.b", "'this' is no assignment"),
        ("root = 1 / 0", "attempted to divide by zero"),
        ("root = " + "(" * 50 + "1" + ")" * 50, "nest deeper than 32 levels"),
        ("root = " + "-" * 5000 + "1", "nest deeper than 32 levels"),
        ("root = " + "!" * 5000 + "true", "unexpected '!'"),
        ("  \n # nothing", "the mapping is empty"),
    ],
)  # fmt: skip
def test_what_is_not_translated_or_wrong_is_refused_with_its_line(text: str, said: str) -> None:
    """A word that Benthos knows is told apart from a mistake; nothing is skipped."""
    with pytest.raises(BloblangError) as caught:
        Mapping(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("root.a = 1\nroot.x = this.q + 1", "line 2: cannot add types null and number, in this.q + 1"),
        ('root = this.s.number()', "line 1: 'text' is no number"),
        ("root = this.s && true", "expected bool value, got string, from this.s"),
        ("root = if this.n { 1 }", "a condition must be true or false, not number: this.n"),
        ("root.s = this\nroot.s.s.x = 1", "cannot set x: what it is part of is no object but string"),
        ("root = this.l.index(9)", "index 9 is out of bounds of an array of 2"),
        ("root = $none", "there is no variable $none"),
        ("root = this.n * 100000000000000000000 * 10000000000000000.5", "line 1: the result is no finite number"),
        ('root = throw("stop " + this.s)', "line 1: stop text"),
        ("root = random_int(min: this.n, max: 1)", "min 2 is above max 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_message_is_said_with_its_line(text: str, said: str) -> None:
    """And the message is as it was."""
    msg = Msg({"s": "text", "n": 2, "l": [1, 2], "big": 1e308}, {"m": "1"})
    before = copy.deepcopy(msg)
    with pytest.raises(MappingError) as caught:
        Mapping(text.replace("100000000000000000000", "this.big")).bind()(msg)
    assert said in str(caught.value)
    assert msg == before


TEXTS = [case["mapping"] for case in corpus() if not case.get("refused")]


@given(text=st.sampled_from(TEXTS), payload=VALUES, mutates=st.booleans())
def test_a_message_is_never_changed_in_place(text: str, payload: Any, *, mutates: bool) -> None:
    """Whatever the mapping, whatever the message: the one that came in is as it was, for whoever shows or retries it."""
    msg = Msg(copy.deepcopy(payload), {"old": "o"})
    try:
        out = Mapping(text, mutates=mutates).bind(WORLD)(msg)
    except MappingError:
        out = None
    assert msg == Msg(payload, {"old": "o"})
    assert out is None or all(isinstance(value, str) for value in out.meta.values())


@given(VALUES)
def test_root_is_this(payload: Any) -> None:
    """`root = this` gives the payload, as data and as raw JSON."""
    raw = json.dumps(payload).encode()
    assert (
        json.loads(serialized(mapped("root = this", raw).payload) if not isinstance(payload, str) else raw) == payload
    )
    assert serialized(mapped("root.x = this", raw).payload) == serialized({"x": json.loads(raw)})


@given(
    st.text(alphabet="root this.=ab(){}[]\"'|&!<>@$-+*/%:,\n#01 if else match _ =>->meta let deleted", max_size=60)
    | st.text(max_size=30)
)
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    """Nothing but `BloblangError` comes of a text, and nothing but `MappingError` of what it then does."""
    try:
        run = Mapping(text).bind(WORLD)
    except BloblangError:
        return
    try:
        out = run(Msg(b'{"a": {"b": 1}}', {}))
    except MappingError:
        return
    assert out is None or isinstance(out, Msg)


def test_a_result_can_be_put_onto_another_message() -> None:
    """`this` and meta() are of the answer; root and @ of the message it goes into."""
    put = Mapping('root.city = this.name\nroot.was = root.n\nmeta from = meta("by") + @own').bind_onto(WORLD)
    onto = Msg({"n": 1}, {"own": "!"})
    assert put(Msg(b'{"name": "Ulm"}', {"by": "x"}), onto) == Msg(
        {"n": 1, "city": "Ulm", "was": 1}, {"own": "!", "from": "x!"}
    )
    assert onto == Msg({"n": 1}, {"own": "!"})
    assert Mapping("meta a = 1").bind_onto()(Msg(b"x", {}), Msg(b"raw ", {})) == Msg(b"raw ", {"a": "1"})


def test_the_error_is_known_to_who_is_given_one() -> None:
    """Null without one."""
    run = Mapping("root.e = error()\nroot.f = errored()").bind()
    assert run(Msg(b"", {}), error="too hot").payload == {"e": "too hot", "f": True}  # type: ignore[union-attr]
    assert run(Msg(b"", {})).payload == {"e": None, "f": False}  # type: ignore[union-attr]


def test_an_expression_ends_where_it_is_told_to() -> None:
    """Braces and texts inside do not end it."""
    text = 'a ${! {"x": "}"}.x + meta("m") } b'
    expression = Expression(text, start=5, closing="}")
    assert text[expression.end :] == " b"
    assert expression.bind()(Msg(None, {"m": "!"})) == "}!"
    assert expression.reads == {"meta"}
    with pytest.raises(BloblangError, match="unexpected 'b'"):
        Expression("this.a b")


def test_texts_are_filled_in_by_any_expression() -> None:
    """And what stands for an expression itself stays."""
    text = Interpolated('${! this.line.uppercase() }/${! content().length() }/${{! json("a") }}/${! counter() }')
    assert [text(Msg(b'{"line":"a"}', {})) for _ in range(2)] == ['A/12/${! json("a") }/1', 'A/12/${! json("a") }/2']
    assert text.reads == {"this", "payload"}
    assert Interpolated("${! 1.5 }").reads == frozenset()
    assert not Interpolated("${! 1 }").fixed
    for said, fault in (
        ("x ${! this.parse_csv() }", "`.parse_csv()` is Bloblang"),
        ("${! this.a ", "cannot be evaluated: line 1: unexpected the end"),
        ("${!}", "unexpected '}'"),
    ):
        with pytest.raises(ValueError, match=fault.replace("(", r"\(").replace(")", r"\)")):
            Interpolated(said)
    with pytest.raises(MessageError, match="no text, number or truth value, but object"):
        Interpolated("${! this }")(Msg({}, {}))

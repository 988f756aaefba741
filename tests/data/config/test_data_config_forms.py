"""The forms people write machines in, and what they mean."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.data.config import FAILURE, SUCCESS, ConfigError, json_schema, load, read, to_config, to_json, to_yaml
from setpoint.data.config.export import bare
from setpoint.data.config.inline import as_expression
from setpoint.data.definition import (
    ArcDef,
    Code,
    DataMode,
    Definition,
    Named,
    NetworkDef,
    Push,
    Retry,
    StateDef,
    Strategy,
)
from setpoint.data.functions.jsonschema import compile_schema
from setpoint.machine import Guard, expression


def only(definition: Definition) -> dict[str, StateDef]:
    [network] = definition.networks
    return {state.name: state for state in network.states}


def ref(written: Any, key: str = "transforms", **how: Any) -> Any:
    """What a reference is read as, without its place."""
    state = only(load({"name": "m", "states": {"a": {key: [written], "final": True}}}, env={}, **how))["a"]
    return bare(getattr(state, key)[0])


def condition(written: Any, **how: Any) -> Any:
    states = {"a": {"arcs": [{"target": "b", "condition": written}]}, "b": {"final": True}}
    return bare(
        only(load({"name": "m", "states": states, **how.pop("more", {})}, env={}, **how))["a"].arcs[0].condition
    )


SHORT = """\
name: m
states:
  a:
    transforms: [trim]
    on_complete: {target: b, condition: amount > 3}
    on_error: {target: c, transform: note}
    on_timeout: c
  b: {final: true}
  c: {final: true, emit_output: false}
arcs:
  - {from: a, to: c, priority: -1}
"""
FULL = """\
name: m
main_network: main
networks:
  - name: main
    states:
      - {name: b, is_end: true}
      - name: a
        is_start: true
        transforms: [{type: registered, name: trim}]
        arcs:
          - {target: b, condition: {type: inline, code: "data['amount'] > 3"}}
          - {target: c, kind: error, transform: {type: registered, name: note}}
          - {target: c, kind: timeout}
          - {target: c, priority: -1}
      - {name: c, is_end: true, emit_output: false}
"""


def test_the_short_form_means_what_the_full_form_says() -> None:
    """States by name with on_complete, on_error and on_timeout are the states and arcs of the full form."""
    short, full = load(SHORT), load(FULL)
    assert {name: bare(state) for name, state in only(short).items()} == {
        name: bare(state) for name, state in only(full).items()
    }
    assert short.networks[0].start == full.networks[0].start == "a"
    assert [arc.kind for arc in only(short)["a"].arcs] == ["way", "error", "timeout", "way"]


def test_every_part_knows_where_it_was_written() -> None:
    """States, arcs and functions have the line and column they stand at."""
    states = only(load(FULL))
    assert (states["a"].place.line, states["a"].place.column) == (7, 9)
    assert (states["a"].arcs[0].place.line, states["a"].arcs[0].place.column) == (11, 13)
    transform = states["a"].transforms[0]
    assert isinstance(transform, Named)
    assert (transform.place.line, transform.place.column) == (9, 22)


def test_the_first_state_is_the_start_unless_another_is_named() -> None:
    """`initial_state` and `start: true` say where records enter."""
    states = "states: {a: {final: true}, b: {on_complete: a}}"
    assert load(f"name: m\n{states}").networks[0].start == "a"
    assert load(f"name: m\ninitial_state: b\n{states}").networks[0].start == "b"
    assert load("name: m\nstates: [{name: a, final: true}, {name: b, start: true, arcs: [a]}]").networks[0].start == "b"


def test_what_stands_at_the_top_is_kept_in_the_short_form_too() -> None:
    """Version, description, limits, strategy and modes are read in either form."""
    definition = load(
        "name: m\nversion: 1.10\ndescription: d\nmax_transitions: 7\nmax_depth: 3\nmax_parts: 9\ntimeout_seconds: '2.5'\n"
        "execution_strategy: breadth_first\ndata_mode: {default: direct, state_overrides: {a: copy}}\nnone: drop\n"
        "transactions: batch\nmetadata: {owner: x}\nstates: {a: {final: yes}}\n"
    )
    assert (definition.version, definition.doc, definition.max_transitions, definition.timeout) == ("1.10", "d", 7, 2.5)
    assert (definition.max_depth, definition.max_parts, definition.none, definition.transactions) == (
        3,
        9,
        "drop",
        "batch",
    )
    assert (definition.strategy, definition.data_mode) == (Strategy.BREADTH_FIRST, DataMode.DIRECT)
    assert only(definition)["a"].data_mode is DataMode.COPY
    assert definition.metadata == {"owner": "x"}


def test_a_push_arc_with_all_it_may_say() -> None:
    """Network, state, return state, both mappings and isolation come through."""
    definition = load(
        "name: m\nnetworks:\n"
        "- {name: main, states: {a: {arcs: [{target: b, target_network: 'sub:y', return_state: c, data_mapping: {p: q},"
        " result_mapping: {q.r: p}, data_isolation: serialize}]}, b: {final: true}, c: {final: true}}}\n"
        "- {name: sub, states: {x: {on_complete: y}, y: {final: true}}}\n"
    )
    assert bare(definition.networks[0].states[0].arcs[0].push) == Push(
        network="sub",
        state="y",
        return_state="c",
        data_mapping={"p": "q"},
        result_mapping={"q.r": "p"},
        isolation="serialize",
    )


def test_a_network_s_resources_are_those_of_its_states() -> None:
    """Each state has them, beside its own, which win."""
    definition = load(
        "name: m\nresources:\n  db: {type: queue, connection_pool_size: 3, retry_attempts: 2, retry_delay_seconds: 0}\n"
        "  log: {type: queue}\n"
        "networks:\n- name: n\n  resources: {out: log}\n"
        "  states: {a: {final: true, resources: [db]}, b: {resources: {out: db}, on_complete: a}}\n"
    )
    assert [dict(state.resources) for state in definition.networks[0].states] == [
        {"out": "log", "db": "db"},
        {"out": "db"},
    ]
    assert (definition.resources[0].pool_size, bare(definition.resources[0].retry)) == (3, Retry(attempts=2))


def test_retries_with_all_they_may_say() -> None:
    """A number is a number of attempts; the word `on` is a key and no truth value."""
    retry = (
        "{attempts: 4, backoff: exponential, delay: 0.5, factor: 3, max_delay: 9, jitter: 0.1, on: [KeyError, OSError]}"
    )
    states = only(load(f"name: m\nstates: {{a: {{retry: {retry}, on_complete: b}}, b: {{retry: 2, final: true}}}}"))
    assert bare(states["a"].retry) == Retry(
        attempts=4, backoff="exponential", delay=0.5, factor=3, max_delay=9, jitter=0.1, on=("KeyError", "OSError")
    )
    assert bare(states["b"].retry) == Retry(attempts=2)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("trim", Named("trim")),
        ("shop.rules:check", Named("shop.rules:check")),
        ("validators.RangeValidator", Named("validators.RangeValidator")),
        ({"name": "f", "params": {"a": 1}}, Named("f", {"a": 1})),
        ({"type": "registered", "name": "f"}, Named("f")),
        ({"type": "builtin", "name": "transformers.FieldMapper", "params": {}}, Named("transformers.FieldMapper")),
        ({"type": "custom", "module": "shop.rules", "name": "check"}, Named("shop.rules:check")),
        ({"set": {"a": "b * 2", "c": 3}}, Named("set", {"a": "b * 2", "c": 3})),
        ({"javascript": "return record"}, Code("return record", "javascript")),
        ({"type": "inline", "code": "x", "language": "javascript"}, Code("x", "javascript")),
        ({"chain": ["f", {"set": {"a": "1"}}]}, Named("chain", {"of": (Named("f"), Named("set", {"a": "1"}))})),
    ],
)
def test_references_in_their_forms(written: Any, meant: Any) -> None:
    """Each way to refer to a function is read as what it means."""
    assert ref(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("amount > 3", Code("amount > 3")),
        ("valid", Code("valid")),
        (True, Code("True")),
        ("data['amount'] > 3 and state.data['x'] == 'y'", Code("amount > 3 and x == 'y'")),
        ("lambda data, ctx: data['a'] or data['unit price']", Code("a or record['unit price']")),
        ("'x' in data", Code("'x' in record")),
        ("data.get('valid', True)", Code("valid if 'valid' in record else True")),
        ("lambda d: not d.get('unit price')", Code("not (record['unit price'] if 'unit price' in record else None)")),
        ({"expression": "data['x'] > 1"}, Code("data['x'] > 1")),
        ({"test": "x > 1"}, None),
        ({"all": ["x > 1", {"not": "y"}]}, Named("all", {"of": (Code("x > 1"), Named("not", {"of": Code("y")}))})),
    ],
)
def test_conditions_in_their_forms(written: Any, meant: Any) -> None:
    """A text is an expression; inline code of other tools is one where it can be; `{test: …}` is for pre_test alone."""
    if meant is None:
        with pytest.raises(ConfigError, match="test"):
            condition(written)
    else:
        assert condition(written) == meant


def test_the_words_success_and_failure() -> None:
    """They ask whether validation left `valid` as it should be; no field means success."""
    asked = {"success": SUCCESS, "failure": FAILURE}
    for word, guard in asked.items():
        assert condition(word) is guard or condition(word) == guard
        test = guard.compile(timed=False)
        assert [bool(test(record)) for record in ({}, {"valid": True}, {"valid": False})] == (
            [True, True, False] if word == "success" else [False, False, True]
        )


def test_a_bare_word_in_a_condition_is_a_function_if_one_is_called_so() -> None:
    """Functions of the file and of the caller come before fields of the record."""
    assert condition("is_adult") == Code("is_adult")
    assert condition("is_adult", functions=["is_adult"]) == Named("is_adult")
    assert condition("is_adult", more={"functions": {"is_adult": "shop.rules:adult"}}) == Named("shop.rules:adult")


def test_functions_of_the_file_may_be_given_more_params() -> None:
    """A name of the section `functions` stands for what it says there; params are laid over its own."""
    text = (
        "name: m\nfunctions: {r: {name: round_to, params: {digits: 1, up: true}}}\n"
        "states: {a: {transform: {name: r, params: {digits: 2}}, final: true}}"
    )
    assert bare(only(load(text))["a"].transforms) == (Named("round_to", {"digits": 2, "up": True}),)


def test_python_needs_trust() -> None:
    """Code that is no expression is Python; it loads where the caller trusts the source, and is named where not."""
    written = {"code": "data['x'] = 1\nreturn data\n"}
    assert ref(written, trust=True) == Code("data['x'] = 1\nreturn data\n", "python")
    with pytest.raises(ConfigError, match="not trusted") as caught:
        ref(written)
    assert caught.value.problems[0].key == "states.a.transforms[0].code"


def test_a_slip_in_an_expression_is_no_python() -> None:
    """Trusted or not: what does not parse, and an assignment where a comparison stands, is an error; a call with keywords is Python."""
    for slip, remedy in (("x >", "correct it"), ("x && y", "write 'and'"), ("x = 1", "write '=='")):
        [problem] = read({"name": "m", "states": {"a": {"validators": [slip], "final": True}}}, trust=True).problems
        assert "is not an expression" in problem.message
        assert problem.hint.startswith(remedy)
    assert ref("ok(record, least=3)", "validators", trust=True) == Code("ok(record, least=3)", "python")
    assert ref({"code": "data['x'] = 1"}, trust=True) == Code("data['x'] = 1", "python")


def test_python_objects_in_a_mapping_are_used_as_they_are() -> None:
    """A callable or a guard in Python data is the function itself; anything else there is an error."""
    guard: Guard = expression("x > 3")
    states = {"a": {"transforms": [len], "arcs": [{"target": "b", "condition": guard}]}, "b": {"final": True}}
    state = only(load({"name": "m", "states": states}))["a"]
    assert state.transforms == (len,)
    assert state.arcs[0].condition is guard
    problem = read({"name": "m", "states": {"a": {"transforms": [object()], "final": True}}}).problems[0]
    assert (problem.key, problem.message) == ("states.a.transforms[0]", "expected a function, found a Python object")


@pytest.mark.parametrize(
    "text", ["lambda data: ctx", "len(", "lambda data: lambda x: data", "data", "state.data", "data.x > 1"]
)
def test_inline_code_is_never_read_as_something_else(text: str) -> None:
    """What cannot be an expression stays as it is, or uses the record by its name."""
    assert as_expression(text) in (text, "ctx", "lambda x: record", "record")


NAMES = st.sampled_from(["a", "b c", "é", "done", "x1"])
PARAMS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=9)
        | st.sampled_from(["${A}", "$${A", "012"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    ),
    max_size=2,
)
TESTS = st.sampled_from(
    [
        Code("x > 3"),
        Code("valid"),
        Code("data['x']"),
        Code("return 1", "javascript"),
        Code("x = 1\n", "python"),
        SUCCESS,
        FAILURE,
        expression("y < 2"),
    ]
)
FUNCTIONS = (
    TESTS
    | st.builds(Named, st.sampled_from(["f", "validators.X", "m.n:g"]), PARAMS)
    | st.just(Named("set", {"a": "b + 1", "c": None}))
)
COMPOSED = FUNCTIONS | st.builds(
    lambda parts: Named("all", {"of": tuple(parts)}), st.lists(TESTS, min_size=1, max_size=2)
)
RETRIES = st.none() | st.builds(
    Retry,
    attempts=st.integers(1, 9),
    backoff=st.sampled_from(["fixed", "linear"]),
    delay=st.floats(0, 9),
    on=st.sampled_from([(), ("KeyError",)]),
)


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """Any machine that a file can say."""
    networks = []
    names = draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
    for name in names:
        states = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
        start = draw(st.sampled_from(states))
        networks.append(
            NetworkDef(name=name, states=tuple(draw(_states(state, states, start, names)) for state in states))
        )
    timeout = draw(st.none() | st.floats(0.1, 100))
    main = draw(st.sampled_from(names))
    return Definition(
        name="m",
        networks=tuple(networks),
        main=main,
        timeout=timeout,
        metadata=draw(PARAMS),
        data_mode=draw(st.sampled_from(DataMode)),
    )


@st.composite
def _states(draw: st.DrawFn, name: str, names: list[str], start: str, networks: list[str]) -> StateDef:
    pushes = st.none() | st.builds(
        Push,
        network=st.sampled_from(networks),
        return_state=st.sampled_from(["", *names]),
        data_mapping=st.just({"a": "b"}),
    )
    arcs = st.builds(
        ArcDef,
        target=st.sampled_from(names),
        kind=st.sampled_from(["way", "error", "timeout", "dropped"]),
        condition=st.none() | COMPOSED,
        transforms=st.lists(FUNCTIONS, max_size=2).map(tuple),
        priority=st.integers(-3, 3),
        push=pushes,
        retry=RETRIES,
        resources=st.sampled_from([{}, {"db": "db"}, {"out": "db"}]),
        metadata=PARAMS,
    )
    return StateDef(
        name=name,
        start=name == start,
        final=draw(st.booleans()),
        pre_validators=tuple(draw(st.lists(COMPOSED, max_size=2))),
        transforms=tuple(draw(st.lists(FUNCTIONS, max_size=2))),
        arcs=tuple(draw(st.lists(arcs, max_size=2))),
        schema=draw(st.none() | st.just({"type": "object", "required": ["${x}"]})),
        data_mode=draw(st.none() | st.sampled_from(DataMode)),
        retry=draw(RETRIES),
        doc=draw(st.sampled_from(["", "what it is: ${really}"])),
        emit_output=draw(st.booleans()),
        metadata=draw(PARAMS),
    )


@settings(max_examples=60, deadline=None)
@given(definitions())
def test_the_canonical_form_reads_back_as_the_same_machine(definition: Definition) -> None:
    """As data, as YAML and as JSON, whatever is in it; and the editor's schema takes it."""
    wanted = _as_expressions(bare(definition))
    for written in (to_config(definition), to_yaml(definition), to_json(definition)):
        loaded = read(written, env={}, trust=True)
        assert loaded.definition is not None, "\n".join(map(str, loaded.problems))
        assert _as_expressions(bare(loaded.definition)) == wanted
    assert SCHEMA(to_config(definition)) == []


def _as_expressions(value: Any) -> Any:
    """With guards that are expressions written as code, which is how they read back; roles of equal names are one thing."""
    if isinstance(value, Guard):
        return value if value in (SUCCESS, FAILURE) else _as_expressions(Code(str(value)))
    if isinstance(value, dict):
        return {key: _as_expressions(child) for key, child in value.items()}
    if isinstance(value, tuple):
        return tuple(_as_expressions(child) for child in value)
    if hasattr(value, "__struct_fields__"):
        return type(value).__name__, [_as_expressions(getattr(value, name)) for name in value.__struct_fields__]
    return value


SCHEMA = compile_schema(json_schema())


@pytest.mark.parametrize("text", [SHORT, FULL])
def test_the_schema_takes_what_the_reader_takes(text: str) -> None:
    """Editors mark nothing in a good file, in either form."""
    import yaml

    assert SCHEMA(yaml.safe_load(text)) == []


def test_the_schema_marks_what_is_mistyped() -> None:
    """A key that nobody knows is marked."""
    assert SCHEMA({"name": "m", "states": {"a": {"finall": True}}})


END = {"final": True}
LEVELS: dict[str, tuple[str, Any]] = {
    "machine": ("", lambda more: {"states": {"a": END}, **more}),
    "network": ("networks[0]", lambda more: {"networks": [{"name": "n", "states": {"a": END}, **more}]}),
    "state": ("states.a", lambda more: {"states": {"a": {"final": True, **more}}}),
    "arc": ("states.a.arcs[0]", lambda more: {"states": {"a": {"arcs": [{"target": "b", **more}]}, "b": END}}),
    "loose_arc": ("arcs[0]", lambda more: {"states": {"a": {}, "b": END}, "arcs": [{"from": "a", "to": "b", **more}]}),
    "resource": (
        "resources[0]",
        lambda more: {"states": {"a": END}, "resources": [{"name": "r", "type": "queue", **more}]},
    ),
}


@pytest.mark.parametrize("level", LEVELS)
def test_the_schema_has_the_keys_that_the_reader_has(level: str) -> None:
    """No key is in the one and not in the other; what belongs to files and templates may be anywhere."""
    path, make = LEVELS[level]
    everywhere = {"template", "$include", "$import", "extends", "templates"}
    schema = (
        json_schema()["$defs"][level]["properties"].keys() - everywhere - ({"version"} if level == "network" else set())
    )
    [unknown] = [
        one
        for one in read({"name": "m", **make({"qqqqqqqq": 1})}).problems
        if one.key == f"{path}.qqqqqqqq".lstrip(".")
    ]
    assert set(unknown.hint.removeprefix("known here: ").split(", ")) == schema


def test_an_infinite_number_is_for_yaml_alone() -> None:
    """JSON has no word for it, and that is said."""
    definition = load("name: m\nmetadata: {x: .inf}\nstates: {a: {final: true}}")
    assert load(to_yaml(definition)).metadata == {"x": float("inf")}
    with pytest.raises(ConfigError, match="write YAML"):
        to_json(definition)


def test_a_function_that_no_file_can_name_is_refused() -> None:
    """A lambda cannot be written into a file, and that is said."""
    with pytest.raises(ConfigError, match="register it"):
        to_config(load({"name": "m", "states": {"a": {"transforms": [lambda record: record], "final": True}}}))

"""The YAML below a config: what it means, where it stands, and what is refused."""

import time

import pytest

from setpoint.agent.config import Problem, read_config

FLOW = "dataFlow:\n- name: f\n  desiredState: active\n  dataFlowComponentConfig:\n    benthos:\n      input:\n        generate:\n"
AGENT = "agent:\n  location:\n    0: acme\n"


def only(text: str) -> Problem:
    problems = read_config(text).problems
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def values(yaml: str) -> object:
    """What lines of YAML below a flow's input mean."""
    text = AGENT + FLOW + "".join(f"          {line}\n" for line in yaml.splitlines())
    configuration = read_config(text)
    assert configuration.problems == ()
    return configuration.flows[0].flow["input"]["generate"]


SYNTAX = [
    ("agent:\n\tlocation:\n", 2, 1, "a tab is used for indentation", "spaces"),
    ("agent:\n  location: 'acme\n  x: 1\n", 2, 13, "a quote is opened here and never closed", "closing quote"),
    ('agent:\n  location: "acme\n', 2, 13, "a quote is opened here and never closed", "closing quote"),
    ("agent:\n  location:\n     0: a\n    1: b\n", 4, 5, "fits no section above it", "indentation"),
    ("agent:\n  metricsPort: 1: 2\n", 2, 17, "':' stands where no key can be", "quotes"),
    ("agent:\n  a: [1, 2\nb: 3\n", 2, 6, "starts with '[' is not closed", "close it with ']'"),
    ("agent:\n  a: {b: 2\nc: 3\n", 2, 6, "starts with '{' is not closed", "close it with '}'"),
    ("agent:\n  a: @x\n", 2, 6, "cannot start with '@'", "quotes"),
    ('agent:\n  a: "C:\\q"\n', 2, 9, "unknown escape", "single quotes"),
    ("agent:\n  a: - b\n", 2, 6, "cannot start here", "its own line"),
    ("- a\nb: 1\n", 2, 1, "a list entry was expected here", "indentation"),
    ("agent:\n  a: 1\n  bc\n", 3, 3, "a key without a ':'", "key: value"),
    ("agent:\n  x: {{ .A }}:{{ .B }}\n", 2, 6, "a template that is not in quotes", "{{ .NAME }}"),
    ("a: \x07", 1, 4, "does not allow: U+0007", "remove it"),
    ("a: 1\nb: \ud800", 2, 4, "does not allow: U+D800", "remove it"),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), SYNTAX)
def test_a_syntax_error_says_where_what_and_what_to_do(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    """The parser's own words are replaced by plain ones; the file as a whole is unusable, so nothing is taken from it."""
    configuration = read_config(text)
    problem = configuration.problems[0]
    assert (problem.line, problem.column) == (line, column), str(problem)
    assert message in problem.message
    assert hint in problem.hint
    assert configuration.errors


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~", "null", "{}", "\ufeff"])
def test_an_empty_file_is_an_error_and_never_an_empty_wish(text: str) -> None:
    """Nothing, comments, null and an empty mapping ask for nothing, and must not stop what runs."""
    configuration = read_config(text)
    assert not configuration.usable
    assert "empty" in configuration.problems[0].message


@pytest.mark.parametrize(("text", "what"), [("- a\n", "a list"), ("hello", "a single value")])
def test_a_file_that_is_no_mapping_is_unusable(text: str, what: str) -> None:
    """A list or a text at the top is no configuration."""
    configuration = read_config(text)
    assert not configuration.usable
    assert what in configuration.problems[0].message


def test_a_second_document_is_refused_where_it_starts() -> None:
    """Half of a file must not be taken for the whole."""
    problem = only(AGENT + "---\nagent: {}\n")
    assert (problem.line, "second document" in problem.message) == (4, True)


def test_a_key_given_twice_is_an_error_at_the_second() -> None:
    """Of two equal keys nobody knows which was meant; the message names the line of the first."""
    problem = only(AGENT + "  metricsPort: 1\n  metricsPort: 2\n")
    assert (problem.line, problem.column, problem.key) == (5, 3, "agent.metricsPort")
    assert "first in line 4" in problem.message


def test_an_item_with_a_key_twice_is_rejected_by_name_and_its_sibling_kept() -> None:
    """A fault of the YAML inside one item concerns that item alone."""
    flow = "- name: {}\n  desiredState: active\n{}  dataFlowComponentConfig: {{benthos: {{input: {{stdin: {{}}}}}}}}\n"
    text = AGENT + "dataFlow:\n" + flow.format("bad", "  desiredState: stopped\n") + flow.format("good", "")
    configuration = read_config(text)
    assert [flow.name for flow in configuration.flows] == ["good"]
    assert configuration.rejected == {"bad"}
    assert [(problem.item, problem.line) for problem in configuration.problems] == [("bad", 7)]


def test_anchors_aliases_and_merge_keys_mean_what_they_mean_in_yaml() -> None:
    """An alias is the anchor's value; a merge key adds what is not there, from the first mapping that has it."""
    yaml = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nmade:\n  <<: [*base, *other]\n  a: 9\nagain: *base"
    result = values(yaml)
    assert result["made"] == {"a": 9, "b": 2, "c": 4}  # type: ignore[index]
    assert result["again"] == {"a": 1, "b": 2}  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agent: *nowhere\n", "*nowhere has no anchor"),
        ("agent: &a\n  location: *a\n", "*a contains itself"),
        ("agent:\n  <<: 5\n", "'<<' needs a mapping"),
        ("agent:\n  [a, b]: 5\n", "a key must be a single value"),
        ("agent: !!int acme\n", "does not fit"),
        ("agent: !!set {a}\n", "does not fit"),
    ],
)
def test_what_yaml_allows_but_makes_no_sense_is_named(text: str, message: str) -> None:
    """Faults below the syntax are errors with their line too."""
    assert message in str(read_config(text).errors[0])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5020", 5020), ("-7", -7), ("0x1F", 31), ("0o17", 15), ("017", 15), ("0b101", 5), ("1_000", 1000), ("1.5", 1.5), ("1e3", 1000.0),
        ("on", "on"), ("yes", "yes"), ("true", True), ("False", False), ("~", None), ("", None), ("null", None), ('"5"', "5"),
        ("'true'", "true"),
        ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"), ("!!str 5", "5"), (".inf", float("inf")),
        ("99999999999999999999999", 1e23), ("0x", "0x"), ("089", 89.0), ("5s", "5s"), ("+", "+"),
    ],
)  # fmt: skip
def test_plain_values_mean_what_they_mean_to_go_yaml(written: str, meant: object) -> None:
    """The files were written for go-yaml 3: no sexagesimal numbers, no dates, and only true and false are truth values."""
    result = values(f"v: {written}")
    assert isinstance(result, dict)
    assert (result["v"], type(result["v"])) == (meant, type(meant))


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    """Windows editors put one at the front."""
    assert read_config("\ufeff" + AGENT).problems == ()


HOSTILE = {
    "alias bomb": "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "merge bomb": "a: &a {"
    + ",".join(f"k{n}: 1" for n in range(1000))
    + "}\n"
    + "".join(f"b{n}: {{<<: *a}}\n" for n in range(1000)),
    "deep brackets": "a: " + "[" * 100_000,
    "deep dashes": "- " * 100_000,
    "blanks before words": 'a: "' + " " * 1_000_000 + "x " * 1_000_000 + '"',
    "blank lines before words": 'a: "' + "\n" * 1_000_000 + "x\n\n" * 500_000 + '"',
    "too large": "a: " + "x" * 10_000_001,
    "too many": "- a\n" * 600_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_quickly(kind: str) -> None:
    """Size, depth and growth through aliases are bounded, each with a message of its own; seconds, not minutes."""
    begun = time.process_time()
    configuration = read_config(HOSTILE[kind])
    assert time.process_time() - begun < 5
    assert not configuration.usable
    assert any(word in configuration.problems[-1].message for word in ("values", "deeper", "characters", "in a row")), (
        configuration.problems[-1]
    )


def test_a_file_full_of_problems_says_how_many_are_left_out() -> None:
    """A thousand problems are shown; the rest is counted, so that nothing is silently dropped."""
    text = AGENT + "".join(f"key{n}: 1\n" for n in range(1500))
    problems = read_config(text).problems
    assert len(problems) == 1001
    assert "500 more problems" in problems[-1].message


def test_the_digest_is_the_content_and_nothing_else() -> None:
    """Equal texts have equal digests, and the environment does not change one."""
    assert read_config(AGENT).digest == read_config(AGENT, env={"LOCATION_0": "x"}, source="other").digest
    assert read_config(AGENT).digest != read_config(AGENT + "\n").digest

"""The template language of config values: what it gives, what it refuses, and that it always ends."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.templates import Budget, MissingVariable, TemplateError, parse

VARIABLES: dict[str, Any] = {
    "IP": "10.0.0.5",
    "PORT": 502,
    "on": True,
    "off": False,
    "rate": 1.5,
    "tags": ["a", "b"],
    "none": [],
    "null": None,
    "map": {"x": 1, "y": {"z": 2.5}},
    "location": {"0": "acme", "1": "cologne"},
    "rows": [{"name": "t", "at": 0}, {"name": "p", "at": 2}],
}


def rendered(text: str, **more: Any) -> Any:
    return parse(text).render(VARIABLES | more, Budget())


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("", ""),
        ("}} {", "}} {"),
        ("tcp://{{ .IP }}:{{.PORT}}", "tcp://10.0.0.5:502"),
        ("{{ .map.y.z }}!", "2.5!"),
        ("{{ .location.0 }}.{{ .location.1 }}", "acme.cologne"),
        ('{{ index .location "1" }} ', "cologne "),
        ("{{ index .location 1 }} ", "cologne "),
        ("{{ index .tags 1 }} ", "b "),
        ("{{ index .rows 0 }} ", "map[at:0 name:t] "),
        ("{{ (index .rows 1).name }} ", "p "),
        ("{{ $.IP }} ", "10.0.0.5 "),
        ("{{ .on }} {{ .rate }} {{ .tags }} {{ .map }}", "true 1.5 [a b] map[x:1 y:map[z:2.5]]"),
        ("{{ range .tags }}[{{ . }}]{{ end }}", "[a][b]"),
        ("{{ range $e := .tags }}{{ $e }}{{ $.PORT }},{{ end }}", "a502,b502,"),
        ("{{ range $i, $e := .tags }}{{ $i }}{{ $e }}{{ end }}", "0a1b"),
        ("{{ range .none }}x{{ else }}none{{ end }}", "none"),
        ("{{ range $k, $v := .location }}{{ $k }}={{ $v }};{{ end }}", "0=acme;1=cologne;"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range .rows }}{{ .name }}@{{ .at }} {{ end }}", "t@0 p@2 "),
        ("{{ range .null }}x{{ else }}y{{ end }}", "y"),
        ("{{ if .on }}a{{ else }}b{{ end }}", "a"),
        ("{{ if .off }}a{{ end }}", ""),
        ("{{ if .none }}a{{ else }}b{{ end }}", "b"),
        ("{{ if eq .PORT 1 }}a{{ else if eq .PORT 502 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if .off }}a{{ else if .none }}b{{ else if .null }}c{{ else }}d{{ end }}", "d"),
        ("{{ with .map }}{{ .x }}{{ end }}", "1"),
        ("{{ with .none }}x{{ else }}y{{ end }}", "y"),
        ("{{ with $m := .map }}{{ $m.x }}{{ end }}", "1"),
        ("a  {{- .PORT -}}  b", "a502b"),
        ("a{{/* note }} */}}b", "ab"),
        ("a {{- /* note */ -}} b", "ab"),
        ("{{ $p := .PORT }}{{ $p }} {{ $p = 3 }}{{ $p }}", "502 3"),
        ("{{ $p := 1 }}{{ if .on }}{{ $p = 2 }}{{ end }}{{ $p }}", "2"),
        ("{{ $p := 1 }}{{ if .on }}{{ $p := 2 }}{{ end }}{{ $p }}", "1"),
        ('{{ printf "%s:%05d" .IP .PORT }} ', "10.0.0.5:00502 "),
        (
            '{{ printf "%-4d|%4s|%6.2f|%x|%t|%q|%v|%%" 7 "a" 1.5 255 true "q\\"" .tags }} ',
            '7   |   a|  1.50|ff|true|"q\\""|[a b]|% ',
        ),
        ('{{ .IP | printf "%s!" | len }} ', "9 "),
        ("{{ len .tags }}{{ len .map }}{{ len .IP }}", "228"),
        (
            "{{ and .on .PORT }} {{ and .on .off .missing }} {{ or .off .IP }} {{ or .on .missing }} {{ not .none }}",
            "502 false 10.0.0.5 true true",
        ),
        (
            '{{ eq .PORT 1 2 502 }} {{ ne .IP "x" }} {{ lt 1 1.5 }} {{ le 2 2 }} {{ gt "b" "a" }} {{ ge 1 2 }}',
            "true true true true true false",
        ),
        ('{{ print 1 2 }} {{ print 1 "a" 2 }} {{ print }}', "1 2 1a2 "),
        ('{{ printf "%.3d" 7 }} ', "007 "),
        ("{{ `raw \\n` }}{{ \"tab\\t\\u00e9\" }}{{ 'a' }}", "raw \\ntab\té97"),
        (
            "{{ 0x1F }} {{ 1e3 }} {{ 1e6 }} {{ -4 }} {{ .5 }} {{ 0.00001 }} {{ true }}",
            "31 1000 1e+06 -4 0.5 1e-05 true",
        ),
        ("{{ if and (gt .PORT 500) (lt .PORT 600) }}in{{ end }}", "in"),
    ],
)
def test_the_language_does_what_go_does(text: str, result: str) -> None:
    """Look-ups, blocks, variables, pipes, builtins, trim markers and comments, as Go's text/template gives them."""
    assert rendered(text) == result


@pytest.mark.parametrize("name", ["IP", "PORT", "on", "rate", "tags", "none", "map"])
def test_a_single_action_gives_the_value_itself(name: str) -> None:
    """So a template can stand for a number, a list or a mapping, and not only for text."""
    assert rendered(f"{{{{ .{name} }}}}") == VARIABLES[name]
    assert type(rendered(f"{{{{ .{name} }}}}")) is type(VARIABLES[name])


@pytest.mark.parametrize(
    ("text", "name", "known"),
    [
        ("{{ .HOST }}", "HOST", "IP, PORT"),
        ("{{ .map.q }}", "map.q", "in map there are: x, y"),
        ("{{ .location.7 }}", "location.7", "in location there are: 0, 1"),
        ("{{ if .HOST }}x{{ end }}", "HOST", "IP"),
        ("{{ range .rows }}{{ .nam }}{{ end }}", "nam", "name, at"),
    ],
)
def test_a_missing_variable_is_an_error_that_names_what_there_is(text: str, name: str, known: str) -> None:
    """Nothing is ever rendered as `<no value>`."""
    with pytest.raises(MissingVariable) as caught:
        rendered(text)
    assert caught.value.name == name
    assert known in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ .IP", "without '}}'"),
        ("a\n{{ .IP }", "cannot stand in an action"),
        ("{{ end }}", "closes nothing"),
        ("{{ else }}", "closes nothing"),
        ("{{ if .on }}", "without {{ end }}"),
        ("{{ if .on }}a{{ else }}", "without {{ end }}"),
        ("{{}}", "empty action"),
        ("{{ | }}", "a value is missing"),
        ("{{ if }}x{{ end }}", "a value is missing"),
        ("{{ if .on }}{{ else }}{{ else }}{{ end }}", "a second {{ else }}"),
        ("{{ if .on }}{{ else range .tags }}{{ end }}", "cannot stand here"),
        ("{{ range .tags }}{{ else if .on }}{{ end }}", "cannot stand here"),
        ("{{ if .on }}{{ end now }}", "cannot stand here"),
        ("{{ foo .IP }}", "no function 'foo'"),
        ('{{ define "x" }}', "'define' is not supported"),
        ('{{ template "x" }}', "'template' is not supported"),
        ("{{ break }}", "'break' is not supported"),
        ("{{ .my-name }}", "'-' is not part"),
        ("{{ .IP .PORT }}", "cannot be called"),
        ("{{ .IP | .PORT }}", "cannot be called"),
        ('{{ "abc }}', "not closed"),
        ('{{ "\\q" }}', "unknown escape"),
        ("{{ '' }}", "not closed"),
        ("{{ (.IP }}", "'(' without ')'"),
        ("{{ .IP) }}", "cannot stand here"),
        ("{{ $x }}", "not declared"),
        ("{{ $x = 1 }}", "not declared"),
        ("{{ $a, $b := .IP }}", "only fit 'range'"),
        ("{{ .IP.x }}", "IP is a text and has no 'x'"),
        ("{{ len 5 }}", "len needs a text"),
        ("{{ len }}", "len needs 1 values, not 0"),
        ("{{ index .tags 2 }}", "no entry 2 in a list of 2"),
        ('{{ index .map "q" }}', "no key 'q'; the keys are: x, y"),
        ('{{ eq .PORT "502" }}', "cannot compare a number with a text"),
        ("{{ lt .on .off }}", "cannot order"),
        ("{{ eq .tags .tags }}", "cannot compare a list"),
        ('{{ printf "%d" .IP }}', "cannot write a text as '%d'"),
        ('{{ printf "%s" }}', "no value for '%s'"),
        ('{{ printf "x" 1 }}', "values more"),
        ('{{ printf "%9999d" 1 }}', "pads to 1000"),
        ('{{ printf "%' + "1" * 5000 + 'd" 1 }}', "pads to 1000"),
        ('{{ printf "%.5v" 1 }}', "cannot write"),
        ("{{ range .IP }}{{ end }}", "range needs a list"),
        ("x{{ .null }}", "null"),
        ("{{ 09x }}", "no function 'x'"),
        ("{{ # }}", "'#' cannot stand"),
        ("{{" + "(" * 50 + "1" + ")" * 50 + "}}", "more than 30 parentheses"),
        ("{{ if .on }}" * 40 + "{{ end }}" * 40, "nested deeper than 30"),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, message: str) -> None:
    """Every error of syntax and use is refused with a message of its own, never passed on as text."""
    with pytest.raises(TemplateError) as caught:
        rendered(text)
    assert message in caught.value.message
    assert 0 <= caught.value.offset <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ range 1000000000000 }}x{{ end }}",
        "{{ range 90000 }}{{ len $.long }}{{ end }}",
        "{{ range 90000 }}{{ eq $.long $.long }}{{ end }}",
        "{{ range 90000 }}{{ range $.many }}{{ end }}{{ end }}",
        "{{ range 5000 }}{{ range 5000 }}{{ end }}{{ end }}",
        "{{ range 90000 }}{{ printf `%1000d` . }}{{ end }}",
        "{{ $x := `aaaaaaaaaa` }}{{ range 1000 }}{{ $x = print $x $x }}{{ end }}",
        "{{ $x := `aaaaaaaaaa` }}{{ range 1000 }}{{ $x = printf `%s%s` $x $x }}{{ end }}",
        "{{ range 90000 }}{{ $.tags }}{{ $.map }}{{ $.map }}{{ end }}",
        "{{ range 50000 }}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{ end }}",
    ],
)
def test_a_hostile_template_ends(text: str) -> None:
    """Steps and characters are paid from a budget, also inside loops and functions."""
    begun = time.process_time()
    with pytest.raises(TemplateError, match="than is allowed"):
        rendered(text, long="x" * 5_000_000, many={str(key): key for key in range(20_000)})
    assert time.process_time() - begun < 2


_SIGNS = """{{ }} .IP . $x := = if range with end else | len printf "%d" " ` ( ) - .tags 1 /* */ text , index and eq .map.y '"""


def outcome(text: str) -> Any:
    """The value of a template, or the error it gives."""
    try:
        return rendered(text)
    except TemplateError as error:
        return error


@given(st.one_of(st.text(), st.lists(st.sampled_from([*_SIGNS.split(), " ", "\n"]), max_size=30).map("".join)))
def test_any_text_gives_a_value_or_a_template_error(text: str) -> None:
    """Nothing else ever comes out, whatever is thrown at it."""
    result = outcome(text)
    if isinstance(result, TemplateError):
        assert 0 <= result.offset <= len(text)
        assert result.message
    else:
        assert "{{" in text or result == text


@given(st.text(), st.integers(), st.booleans())
def test_a_variable_comes_out_as_it_is(text: str, number: int, truth: bool) -> None:
    """No value is interpreted again: what looks like an action in a variable is text."""
    assert rendered("<{{ .t }}>", t=text) == f"<{text}>"
    assert rendered("{{ .n }} {{ .b }}", n=number, b=truth) == f"{number} {str(truth).lower()}"


@given(st.lists(st.integers(min_value=0, max_value=99), max_size=20))
def test_range_visits_every_entry_in_order(numbers: list[int]) -> None:
    """As a loop in Python would."""
    text = "{{ range $i, $n := .numbers }}{{ $i }}:{{ $n }},{{ end }}"
    assert rendered(text, numbers=numbers) == "".join(f"{index}:{number}," for index, number in enumerate(numbers))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_with_a_fraction_reads_back(number: float) -> None:
    """It is written in the shortest form that means the same."""
    assert float(rendered("{{ .n }} ", n=number)) == number

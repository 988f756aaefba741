"""Several files, variables and templates: what one machine is put together from, and how that goes wrong."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.configfile import Mark, Scalar
from setpoint.data.config import Loaded, load, read, to_config
from setpoint.data.config.export import bare
from setpoint.data.config.substitution import escaped, resolved
from setpoint.data.definition import DataMode, Definition, Named, Strategy
from setpoint.data.fsm import SimpleFSM

END = "states: {a: {final: true}}\n"


def put(folder: Path, **files: str) -> Path:
    """Write files, ``__`` in a name being a slash; gives the first."""
    paths = [folder / f"{name.replace('__', '/')}.yaml" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return paths[0]


def metadata(text: str, **env: str) -> Any:
    return load(f"name: m\n{END}metadata:\n  v: {text}\n", env=env).metadata["v"]


def only_problem(loaded: Loaded) -> tuple[str, int, int, str]:
    [problem] = loaded.problems
    return Path(problem.source).name, problem.line, problem.column, problem.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "x"), ("${B}", ""), ("${A:d}", "x"), ("${B:d}", ""), ("${B:-d}", "d"), ("${C:-}", ""), ("${C:d}", "d"), ("${A:?no}", "x"),
        ("${C:-5}", 5), ("${C:-0.5}", 0.5), ("${C:-1e3}", 1000.0), ("${C:-true}", True), ("${C:-null}", None), ("${C:-05}", "05"),
        ("'${N}'", 7), ("a${N}", "a7"), ("${A}${A}", "xx"), ("$${A}", "${A}"), ("$$${A}", "$x"), ("$$$${A}", "$${A}"), ("a$b$$c", "a$b$$c"),
        ("${C:-${A}-${C:-${N}}}", "x-7"), ("['${A}', '${N}']", ["x", 7]), ("{k: '${A}'}", {"k": "x"}), ("${OLD}", "old"),
    ],
)  # fmt: skip
def test_variables(text: str, value: object) -> None:
    """Values, defaults, escapes and nesting; a value as a whole has the kind it reads as, and FSM_NAME stands in for NAME."""
    assert metadata(text, A="x", B="", N="7", FSM_OLD="old") == value


def test_variables_may_be_anywhere_but_in_code() -> None:
    """Names, numbers and params take them; expressions and code do not, and JavaScript keeps its own ${}."""
    text = (
        "name: ${N}\nmax_transitions: ${M}\nresources: {db: {type: queue, pool_size: '${M}'}}\n"
        "states:\n  a: {transforms: [{name: f, params: {p: '${N}', set: x}}, {javascript: 'return `${N}`'}], on_complete: '${T}'}\n"
        "  b: {final: '${Y}'}\n"
    )
    definition = load(text, env={"N": "shop", "M": "9", "T": "b", "Y": "true"})
    assert (definition.name, definition.max_transitions, definition.resources[0].pool_size) == ("shop", 9, 9)
    first, second = definition.networks[0].states[0].transforms
    assert isinstance(first, Named)
    assert first.params["p"] == "shop"
    assert str(second) == "return `${N}`"


def test_variables_never_come_from_this_process_when_an_environment_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """`env` is all there is; without it the process's own is used, and left as it is."""
    monkeypatch.setenv("D2_VALUE", "here")
    before = dict(os.environ)
    assert load(f"name: '${{D2_VALUE}}'\n{END}").name == "here"
    assert "D2_VALUE is not set" in str(read(f"name: '${{D2_VALUE}}'\n{END}", env={}).problems[0])
    assert dict(os.environ) == before


@given(st.text("${}A:-?x", max_size=20))
def test_escaping_undoes_substitution(text: str) -> None:
    """Whatever is escaped reads back as it was."""
    scalar = escaped(Scalar(Mark(0, 0), text, text), None)  # type: ignore[arg-type]
    assert isinstance(scalar, Scalar)
    assert (resolved(scalar.text, lambda name: None) or "") == text


def test_an_include_gives_what_the_file_itself_does_not_say(tmp_path: Path) -> None:
    """Keys of the including mapping win, wherever they stand; variables work in the included file, and its faults name it."""
    main = put(
        tmp_path,
        m=f"version: 2\n$include: [parts/a.yaml, '${{WHICH}}.yaml']\nname: m\n{END}",
        parts__a="$include: c.yaml\nname: other\nversion: 3\nmax_transitions: ${N}\n",
        parts__c="timeout: 5\n",
        b="max_depth: 4\ntimeout: 6\n",
    )
    definition = load(main, env={"N": "8", "WHICH": "b"})
    assert (definition.name, definition.version, definition.max_transitions) == ("m", "2", 8)
    assert (definition.timeout, definition.max_depth) == (5, 4)
    wrong = read(main, env={"N": "none", "WHICH": "b"})
    assert only_problem(wrong) == ("a.yaml", 4, 18, "expected a whole number, 1 or more, found 'none'")


def test_an_import_is_the_part_of_the_other_file(tmp_path: Path) -> None:
    """The mapping is replaced by the part at the path; what is not there is named with what was meant."""
    parts = "checks: {strict: [f, g]}\n"
    main = put(
        tmp_path,
        m="name: m\nstates: {a: {final: true, validators: {$import: {file: p.yaml, path: checks.strict}}}}\n",
        p=parts,
    )
    assert bare(load(main).networks[0].states[0].validators) == (Named("f"), Named("g"))
    wrong = read(
        put(
            tmp_path,
            m="name: m\nstates: {a: {final: true, validators: {$import: {file: p.yaml, path: checks.strct}}}}\n",
        )
    )
    assert only_problem(wrong) == ("m.yaml", 2, 70, "the file has nothing at 'checks.strct': no 'strct'")
    assert "did you mean 'strict'" in wrong.problems[0].hint


@pytest.mark.parametrize(
    "directive",
    ["$include: ../out.yaml", "$include: /etc/hostname", "extends: link.yaml", "metadata: {$import: ../out.yaml}"],
)
def test_files_outside_of_the_folder_are_not_read(tmp_path: Path, directive: str) -> None:
    """Neither by .., nor by an absolute path, nor through a link; `root` widens what is allowed."""
    put(tmp_path, out="max_depth: 4\n")
    main = put(tmp_path, inner__m=f"name: m\n{END}{directive}\n")
    (tmp_path / "inner" / "link.yaml").symlink_to(tmp_path / "out.yaml")
    _, line, _, message = only_problem(read(main))
    assert line == 3
    assert "outside of the folder" in message
    if "/etc" not in directive:
        assert load(main, root=tmp_path).name == "m"


@pytest.mark.parametrize("word", ["$include", "extends"])
def test_files_that_need_each_other_in_a_circle_are_named(tmp_path: Path, word: str) -> None:
    """The whole circle is named, at the place where it closes."""
    main = put(tmp_path, m=f"name: m\n{word}: a.yaml\n{END}", a=f"{word}: b.yaml\n", b=f"\n{word}: a.yaml\n")
    name, line, _, message = only_problem(read(main))
    assert (name, line) == ("b.yaml", 2)
    assert "a.yaml → b.yaml → a.yaml" in message


@pytest.mark.parametrize(("make", "said"), [
    (lambda path: None, "there is no file"),
    (lambda path: path.mkdir(), "is no file"),
    (os.mkfifo, "is no file"),
    (lambda path: path.write_bytes(b"\xff\xfe"), "is not UTF-8"),
    (lambda path: path.write_text("a: [1"), "is not closed"),
    (lambda path: path.write_text("- 1\n"), "is no mapping"),
    (lambda path: path.write_text(""), "the file is empty"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_said(tmp_path: Path, make: Any, said: str) -> None:
    """A missing file, a folder, a pipe, no text, bad YAML or the wrong content is an error, and nothing hangs."""
    make(tmp_path / "other.yaml")
    main = put(tmp_path, m=f"name: m\n$include: other.yaml\n{END}")
    assert said in str(read(main).problems[0])


def test_a_file_that_is_not_there_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """Reading a missing file does not raise."""
    assert "there is no file" in str(read(tmp_path / "gone.yaml").problems[0])


def test_files_that_multiply_are_refused(tmp_path: Path) -> None:
    """A file that includes one twice that includes one twice … ends as an error."""
    files = {f"f{n}": f"a: {{$import: f{n + 1}.yaml}}\nb: {{$import: f{n + 1}.yaml}}\n" for n in range(25)}
    main = put(tmp_path, m=f"name: m\nmetadata: {{$import: f0.yaml}}\n{END}", **files, f25="a: 1\n")
    assert "more than 250,000 values" in str(read(main).problems[0])


BASE = """\
name: base
metadata: {a: 1, b: {c: 2, d: 3}, l: [1, 2]}
networks:
  - name: main
    states:
      - {name: one, transforms: [f], timeout: 5, arcs: [two]}
      - {name: two, is_end: true}
"""
UPPER = """\
extends: base.yaml
name: upper
metadata: {b: {c: null, d: 4}, l: [3]}
networks:
  - name: main
    states:
      - {name: one, timeout: 9, transforms: null}
      - {name: three, is_end: true}
"""


def test_templates_that_multiply_are_refused() -> None:
    """A template that uses one twice that uses one twice … ends as an error, and so does a parameter that doubles each time."""
    many = "".join(f"  t{n}: {{body: {{a: {{template: t{n + 1}}}, b: {{template: t{n + 1}}}}}}}\n" for n in range(40))
    assert "more than 10,000 times" in str(
        read(f"name: m\ntemplates:\n{many}  t40: {{body: {{}}}}\ntemplate: t0\n{END}").problems
    )
    double = "".join(
        f'  t{n}: {{params: {{p: null}}, body: {{template: {{name: t{n + 1}, params: {{p: ["${{param.p}}", "${{param.p}}"]}}}}}}}}\n'
        for n in range(40)
    )
    last = '  t40: {params: {p: null}, body: {metadata: {p: "${param.p}"}}}\n'
    loaded = read(f"name: m\ntemplates:\n{double}{last}template: {{name: t0, params: {{p: x}}}}\n{END}")
    assert "more than 250,000 values" in str(loaded.problems)


def test_a_file_laid_over_its_base(tmp_path: Path) -> None:
    """Mappings merge, lists are replaced, lists of named things merge by name, null removes."""
    definition = load(put(tmp_path, upper=UPPER, base=BASE))
    assert definition.name == "upper"
    assert definition.metadata == {"a": 1, "b": {"d": 4}, "l": [3]}
    states = {state.name: state for state in definition.networks[0].states}
    assert list(states) == ["one", "two", "three"]
    assert (states["one"].timeout, states["one"].transforms, len(states["one"].arcs)) == (9, (), 1)


def test_overlays_of_the_caller(tmp_path: Path) -> None:
    """Files, texts and mappings are laid over the source in their order; a variable of what was replaced need not be set."""
    main = put(tmp_path, m=f"name: m\nversion: ${{GONE}}\n{END}", over="version: 2\nmax_depth: 5\n")
    definition = load(main, env={}, overlays=[tmp_path / "over.yaml", "version: 3\ntimeout: 2\n", {"timeout": 4}])
    assert (definition.version, definition.max_depth, definition.timeout) == ("3", 5, 4)


TEMPLATES = """\
name: m
templates:
  careful:
    params: {attempts: 3, table: null, on: [KeyError]}
    body: {retry: {attempts: "${param.attempts}", on: "${param.on}"}, metadata: {table: "t_${param.table}", who: "${WHO}"}}
  very: {params: {}, body: {template: {name: careful, params: {table: x}}, timeout: 3}}
states:
  a: {template: {name: careful, params: {table: orders, attempts: 5}}, metadata: {mine: 1}, on_complete: b}
  b: {template: very, timeout: 4, final: true}
"""


def test_templates_with_parameters() -> None:
    """What uses a template is laid over its body; values have the kind of the parameter; templates may use templates."""
    a, b = load(TEMPLATES, env={"WHO": "me"}).networks[0].states
    assert (a.metadata, a.retry and a.retry.attempts, a.retry and a.retry.on) == (
        {"table": "t_orders", "who": "me", "mine": 1},
        5,
        ("KeyError",),
    )
    assert (b.metadata["table"], b.retry and b.retry.attempts, b.timeout) == ("t_x", 3, 4)


@pytest.mark.parametrize(
    ("template", "params", "mode", "strategy"),
    [
        ("database_etl", {"url": "sqlite://"}, DataMode.COPY, Strategy.DEPTH_FIRST),
        ("file_processing", {"root": "/tmp"}, DataMode.REFERENCE, Strategy.STREAM_OPTIMIZED),
        ("api_orchestration", {"base_url": "http://localhost"}, DataMode.COPY, Strategy.RESOURCE_OPTIMIZED),
        ("llm_workflow", {"base_url": "http://localhost"}, DataMode.COPY, Strategy.DEPTH_FIRST),
        ("stream_processing", {"steps": 5}, DataMode.REFERENCE, Strategy.STREAM_OPTIMIZED),
    ],
)
def test_templates_for_uses_set_what_suits_the_use(
    template: str, params: dict[str, Any], mode: DataMode, strategy: Strategy
) -> None:
    """Mode, strategy and resources come out of the template, and the resources can be made; what the file says wins."""
    from setpoint.data.resources import faults

    data = {"name": "m", "template": {"name": template, "params": params}, "states": {"a": {"final": True}}}
    definition = load(data)
    assert (definition.data_mode, definition.strategy) == (mode, strategy)
    assert [said for _, said in faults(definition.resources) if "pip install" not in said] == []
    assert load({**data, "data_mode": "direct"}).data_mode is DataMode.DIRECT


def test_the_validation_template_is_a_whole_machine() -> None:
    """Records that keep to the schema end in valid, others in invalid with the reason."""
    schema = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer", "minimum": 18}}}
    machine = SimpleFSM({"name": "m", "template": {"name": "data_validation", "params": {"schema": schema}}})
    assert machine.process({"age": 20}).final_state == "valid"
    refused = machine.process({"age": 3})
    assert refused.final_state == "invalid"
    assert "age" in str(refused.handled[0])


PRICING = """\
name: pricing
version: 2.1.7
data_mode: direct
resources: {db: {type: queue}}
functions: {double: {set: {total: price * 2}}}
networks:
  - name: totals
    states:
      start: {transforms: [double], resources: [db], arcs: [{target: end, target_network: rounding, return_state: end}]}
      end: {final: true}
  - {name: rounding, states: {only: {transforms: [{set: {total: round(total)}}], final: true}}}
  - {name: unused, states: {x: {final: true}}}
"""


def using(more: str = "", file: str = "pricing.yaml#totals") -> str:
    return (
        f"name: m\n{more}networks:\n"
        "- {name: main, states: {a: {arcs: [{target: b, target_network: price, return_state: b}]}, b: {final: true}}}\n"
        f'- {{name: price, use: "{file}", version: "2.1"}}\n'
    )


def test_a_network_may_be_another_file_s_machine(tmp_path: Path) -> None:
    """It comes with the networks it pushes into, its functions, its resources and its data mode, and records go through it."""
    main = put(tmp_path, m=using(), pricing=PRICING)
    definition = load(main)
    assert [network.name for network in definition.networks] == ["main", "price", "price.rounding"]
    assert [resource.name for resource in definition.resources] == ["db"]
    assert {state.data_mode for state in definition.networks[1].states} == {DataMode.DIRECT}
    result = SimpleFSM(main).process({"price": 2.25})
    assert (result.success, result.data["total"]) == (True, 4)
    again: Definition = load(to_config(definition))
    assert bare(again) == bare(definition)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (using().replace("2.1", "3"), (4, 52), "pricing.yaml has the version '2.1.7', not '3'"),
        (using(file="pricing.yaml#total"), (4, 21), "did you mean 'totals'"),
        (using(file="prices.yaml"), (4, 21), "there is no file"),
        (using("resources: {db: {type: cache}}\n"), (5, 16), "both machines have a resource 'db'"),
        (using("none: drop\n"), (5, 16), "None from a transform means 'keep' there and 'drop' here"),
        (using(file="m.yaml"), (4, 21), "in a circle: m.yaml → m.yaml"),
    ],
)
def test_a_use_that_does_not_fit_is_refused(tmp_path: Path, text: str, place: tuple[int, int], said: str) -> None:
    """The wrong version, network, file, a resource of another kind or a circle is named where the use stands."""
    [problem] = read(put(tmp_path, m=text, pricing=PRICING)).problems
    assert said in str(problem)
    assert problem.line == place[0]


def test_faults_of_the_other_file_are_reported_there(tmp_path: Path) -> None:
    """A fault of a used machine names the used file."""
    [problem] = read(put(tmp_path, m=using(), pricing=PRICING.replace("final: true}}}", "finall: true}}}", 1))).problems
    assert (Path(problem.source).name, problem.line) == ("pricing.yaml", 11)


@pytest.mark.parametrize("text", [
    '{"name": "m", "states": {"a": {"final": true, "description": "\\ud83d\\ude00 \\/ \\\\ud83d"}}}',
    '{"name": "m",\n\t"states": {"a": {"final": true, "description": "\U0001f600 / \\\\ud83d"}}}',
])  # fmt: skip
def test_json_is_read_as_json(tmp_path: Path, text: str) -> None:
    """Escapes of two characters, escaped slashes and tabs mean what they mean in JSON."""
    (tmp_path / "m.json").write_text(text, encoding="utf-8")
    assert load(tmp_path / "m.json").networks[0].states[0].doc == "\U0001f600 / \\ud83d"


def test_a_hundred_states_load_in_no_time() -> None:
    """A machine of 100 states with conditions and functions takes less than 50 ms of CPU time."""
    text = "name: m\nnetworks:\n- name: main\n  states:\n"
    for number in range(99):
        text += f"  - name: s{number}\n    transforms: [{{type: registered, name: f{number}}}]\n"
        text += f"    arcs: [{{target: s{number + 1}, condition: amount > {number}, priority: 1}}, {{target: s99}}]\n"
    text += "  - {name: s99, is_end: true}\n"
    times = []
    for _ in range(5):
        begun = time.process_time()
        assert len(load(text).networks[0].states) == 100
        times.append(time.process_time() - begun)
    assert min(times) < 0.05

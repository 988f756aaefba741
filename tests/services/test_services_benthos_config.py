"""The file of a flow: what stands in it, what is ours in it, and what makes it another."""

from __future__ import annotations

import datetime as dt
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from setpoint.services.benthos import BenthosConfigError, document
from setpoint.services.benthos.config import OURS

FLOW: dict[str, Any] = {"input": {"generate": {"mapping": "root = 1"}}, "output": {"drop": {}}}


def written(config: dict[str, Any], port: int = 20_000) -> dict[str, Any]:
    found = yaml.safe_load(document(config, port=port).text)
    assert isinstance(found, dict)
    return found


def test_the_smallest_flow() -> None:
    """Every section that is there by default, a server on loopback, metrics and a log that we can read."""
    made = document(FLOW, port=20_017)
    assert yaml.safe_load(made.text) == {
        "input": {"generate": {"mapping": "root = 1"}},
        "buffer": {"none": {}},
        "pipeline": {"processors": []},
        "output": {"drop": {}},
        "http": {"enabled": True, "address": "127.0.0.1:20017", "root_path": f"/setpoint/{made.digest}"},
        "logger": {"level": "INFO", "format": "logfmt", "add_timestamp": False},
        "metrics": {"prometheus": {}},
    }
    assert made.text.startswith(f"# Written by Setpoint ({made.digest})")
    assert made.port == 20_017


def test_every_section_of_a_config_gets_into_the_file() -> None:
    """Those of the contract, and whatever else is at the top, as it is; empty ones are left out."""
    config = {
        **FLOW,
        "buffer": {"memory": {"limit": 5}},
        "pipeline": {"threads": 4, "processors": [{"mapping": "root = this"}]},
        "cache_resources": [{"label": "c", "memory": {}}],
        "rate_limit_resources": [],
        "input_resources": [{"label": "i", "generate": {}}],
        "shutdown_timeout": "3s",
        "http": {"debug_endpoints": True},
        "logger": {"level": "DEBUG", "static_fields": {"site": "acme"}},
        "metrics": {"mapping": "root = this"},
    }
    whole = written(config)
    for name in ("buffer", "pipeline", "cache_resources", "input_resources", "shutdown_timeout"):
        assert whole[name] == config[name]
    assert "rate_limit_resources" not in whole
    assert whole["http"]["debug_endpoints"] is True
    assert whole["logger"] == {
        "level": "DEBUG",
        "format": "logfmt",
        "add_timestamp": False,
        "static_fields": {"site": "acme"},
    }
    assert whole["metrics"] == {"mapping": "root = this", "prometheus": {}}


def test_metrics_of_another_kind_are_the_users_choice() -> None:
    """They pass through; that we cannot read them is said when the flow runs."""
    assert written({**FLOW, "metrics": {"statsd": {"address": "x:1"}}})["metrics"] == {"statsd": {"address": "x:1"}}


def test_the_level_of_the_log_is_a_default() -> None:
    """The config's own goes first."""
    assert yaml.safe_load(document(FLOW, port=1, level="DEBUG").text)["logger"]["level"] == "DEBUG"
    config = {**FLOW, "logger": {"level": "WARN"}}
    assert yaml.safe_load(document(config, port=1, level="DEBUG").text)["logger"]["level"] == "WARN"


def test_only_what_changes_something_makes_another_digest() -> None:
    """The order of keys does not; a value, a port and the order of processors do."""
    processors = [{"mapping": "root = 1"}, {"mapping": "root = 2"}]
    config = {**FLOW, "pipeline": {"processors": processors, "threads": 1}}
    same = {"output": {"drop": {}}, **config, "pipeline": {"threads": 1, "processors": processors}}
    others = [
        {**config, "pipeline": {"processors": processors[::-1], "threads": 1}},
        {**config, "pipeline": {"processors": processors, "threads": 2}},
        {**config, "x": 1},
    ]
    digest = document(config, port=20_000).digest
    assert document(same, port=20_000).digest == digest
    digests = {digest, document(config, port=20_001).digest, *(document(one, port=20_000).digest for one in others)}
    assert len(digests) == 5


@pytest.mark.parametrize("section", ["input", "output"])
@pytest.mark.parametrize("value", [None, {}, [], "stdin", 5])
def test_a_flow_has_an_input_and_an_output(section: str, value: Any) -> None:
    """Benthos would take standard input and output in their place, which nobody wants of a service."""
    with pytest.raises(BenthosConfigError, match=f"{section}: expected one {section}, got "):
        document({**FLOW, section: value}, port=20_000)


def test_all_faults_are_said_at_once() -> None:
    """Each with its key and what to do."""
    config = {"http": {key: "x" for key in OURS}, "logger": {"file": {"path": "x"}}, "pipeline": [], "metrics": 3}
    with pytest.raises(BenthosConfigError) as caught:
        document(config, port=20_000)
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"input", "output", "logger.file", "pipeline", "metrics", *(f"http.{key}" for key in OURS)}
    assert "flow: http.address: Setpoint sets this: each flow gets a port of its own" in str(caught.value)


def test_what_no_file_can_hold_is_a_fault() -> None:
    """Half a character and a mapping in itself: a reason, not a crash."""
    endless: dict[str, Any] = {}
    endless["again"] = endless
    for value in ("\ud800", endless):
        with pytest.raises(BenthosConfigError, match="cannot be written to a file"):
            document({**FLOW, "x": value}, port=20_000)


def test_values_of_python_are_written_as_plain_ones() -> None:
    """Frozen mappings, tuples, dates and numbers for keys."""
    config = {**FLOW, "x": MappingProxyType({"a": (1, 2), "b": dt.date(2026, 1, 2), 3: None})}
    assert written(config)["x"] == {"a": [1, 2], "b": "2026-01-02", "3": None}


def test_mappings_of_several_lines_stay_readable() -> None:
    """As a block, line by line, also with blanks at the ends: Benthos' messages name lines in it."""
    config = {**FLOW, "pipeline": {"processors": [{"mapping": "root.a = 1 \n\troot.b = 2"}]}}
    assert "- mapping: |-\n      root.a = 1 \n      \troot.b = 2\n" in document(config, port=20_000).text


@pytest.mark.parametrize(
    "text", ["0o17", "1_000", "12:30:00", "yes", "Off", "~", "null", "0x1F", "1e3", ".inf", "-", "=", "<<", "y", ""]
)
def test_text_that_some_yaml_takes_for_something_else_is_quoted(text: str) -> None:
    """Benthos reads another version of YAML than the one we write with."""
    assert f'x: "{text}"\n' in document({**FLOW, "x": text}, port=20_000).text


lines = st.text(st.sampled_from("a \t\n#:-é"))
json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | lines
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_like)
def test_what_is_written_is_what_was_meant(value: Any) -> None:
    """Any value comes back as it was."""
    assert written({**FLOW, "x": value})["x"] == value

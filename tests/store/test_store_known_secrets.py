"""Secrets that are known by their value, because a variable holds them: hidden wherever they were rendered to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from setpoint.secrets import REDACTED, secrets_among, without_secrets
from setpoint.store import redacted

SECRET = 'hunter2 & "x"'


@pytest.mark.parametrize(
    "variables",
    [
        {"DB_PASSWORD": SECRET},
        {"db": {"user": "joe", "password": SECRET}},
        {"passwords": [SECRET, "other"]},
        {"tokens": {"joe": {"deep": SECRET}}},
        {"plain": SecretStr(SECRET)},
        {"dbs": [{"pass": SECRET.encode()}]},
    ],
)
def test_what_variables_hold_under_the_name_of_a_secret_is_one(variables: dict[str, Any]) -> None:
    """At any depth, and as it is written in an address or in JSON."""
    secrets = secrets_among(variables)
    for text in (SECRET, quote(SECRET, safe=""), json.dumps(SECRET)):
        assert "hunter2" not in without_secrets(f"joe/{text}@db", secrets)


def test_what_they_hold_under_other_names_is_none() -> None:
    """Nor that there is no secret, or that there is one, nor how old it is."""
    assert not secrets_among({"host": "db", "has_password": True, "password": None, "token": "", "token_age": 5.0})
    assert secrets_among({"PIN_PASS": 7411}) == {"7411"}


def test_a_value_is_hidden_wherever_it_stands() -> None:
    """In fields of any name, keys, bytes and numbers; the rest stays readable, and so do clocks."""
    secrets = frozenset({"hunter2", "7411"})
    value = {"dsn": "joe/hunter2@db:5432", "hunter2": 1, "port": 7411, "ports": (1883, "7411"), "age": 74.5}
    assert redacted(value, secrets) == {
        "dsn": f"joe/{REDACTED}@db:5432",
        REDACTED: 1,
        "port": REDACTED,
        "ports": [1883, REDACTED],
        "age": 74.5,
    }


def test_a_short_value_is_hidden_only_where_it_is_all() -> None:
    """It would be found in every other word."""
    assert redacted(["ab", "a table", 12], frozenset({"ab", "12"})) == [REDACTED, "a table", 12]


def test_rules_and_values_together_leave_nothing_of_either() -> None:
    """Also where one secret overlaps with another, and where one looks like a rule's own word."""
    secrets = frozenset({"two words", "words and more", "password"})
    text = "password=two words and more; password=other token=x"
    assert not {"two", "words", "more", "other", "=x"} & set(without_secrets(text, secrets).replace(";", " ").split())


@given(st.text(min_size=4, max_size=12), st.text(max_size=10), st.text(max_size=10))
def test_no_text_brings_a_value_through(secret: str, before: str, after: str) -> None:
    """Whatever stands around it; leaving out twice is leaving out once."""
    assume(secret not in REDACTED and not any(part in secret for part in "[]"))
    secrets = secrets_among({"password": secret})
    hidden = without_secrets(f"{before}{secret}{after}", secrets)
    assert secret not in hidden.replace(REDACTED, "\x00") or "\x00" in secret
    assert without_secrets(hidden, secrets) == hidden

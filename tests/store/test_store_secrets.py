"""Secrets: whatever shape they come in, they are not in the file."""

from __future__ import annotations

import base64
import json
import re
import tempfile
import time
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretBytes, SecretStr

from setpoint.secrets import REDACTED, names_a_secret, without_secrets
from setpoint.store import SqliteStore, Transition, redacted

SECRET = "hunter2-s3cret"
NAMES = [
    "password",
    "passwd",
    "PASSWORD",
    "db_password",
    "Pass-Phrase",
    "secret",
    "clientSecret",
    "token",
    "access_token",
    "apikey",
]
NAMES += [
    "api_key",
    "API-Key",
    "api key",
    "Authorization",
    "private_key",
    "credentials",
    "Set-Cookie",
    "aws_secret_access_key",
    "pwd",
    "DB_PASS",
    "smtpPass",
    "pw",
    "psk",
    "wifi-psk",
    "passkey",
    "signing_key",
]
RANDOM = "Hunter2-s3creT"  # looks like nothing a person would write


class Struct(msgspec.Struct, frozen=True, array_like=True):
    user: str
    password: str


class Renamed(msgspec.Struct, rename={"password": "p"}):
    password: str


class Model(BaseModel):
    token: Any
    hidden: str = Field(default=SECRET, exclude=True)


@dataclass(frozen=True)
class Data:
    api_key: Any


@dataclass(frozen=True)
class Variable:
    name: str
    value: Any


Pair = namedtuple("Pair", ["user", "password"])

SHAPES = [
    Struct("bob", SECRET),
    Renamed(SECRET),
    Model(token=SECRET),
    Data(SECRET),
    Data([SECRET, {"x": SECRET}]),
    Pair("bob", SECRET),
    MappingProxyType({"password": SECRET}),
    {"plain": SecretStr(SECRET)},
    {"plain": SecretBytes(SECRET.encode())},
    ["mysql", "--password", SECRET, "-v"],
    ("curl", "--api-key", SECRET),
    {"command": f"mysql --password {SECRET} -v"},
    {"url": f"amqp://bob:{SECRET}@host:5672/vhost"},
    {"url": f"redis://:{SECRET}@host"},
    {"url": f"smtp://bob@corp.com:{SECRET}/@host"},
    {"url": f"https://host/path?access_token={SECRET}&x=1"},
    {"text": f"Server=db;Uid=sa;Pwd={SECRET};"},
    {"text": f"AccountName=x;AccountKey={SECRET}"},
    {"text": f"Authorization: Basic x {SECRET}"},
    {"text": f"Cookie: a=b; sid={SECRET}"},
    {"text": f"sent Bearer {SECRET}{SECRET}"},
    {"text": f'{{"password": "two words {SECRET}"}}'},
    {"text": json.dumps(json.dumps({"password": f"two words {SECRET}"}))},
    {"text": f"Spec(db_password='two words {SECRET}', x=1)"},
    {"text": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----"},
    {"text": f"password={SECRET}", "deep": [[[{"a": {"b": [f"token: {SECRET}"]}}]]]},
    {f"password={SECRET}": 1},
    ValueError(f"login with password={SECRET} failed"),
    {"password": {SECRET}},
    {"password": SECRET.encode()},
    {"passwords": [SECRET], "tokens": {SECRET: "joe"}},
    {"env": [{"name": "DB_PASSWORD", "value": SECRET}]},
    {"Tags": [{"Key": "api-token", "Value": SECRET}]},
    [Variable("SMTP_PASS", SECRET)],
    {"headers": [["Authorization", f"Basic {SECRET}"]]},
    {"headers": [(b"authorization", f"Basic {SECRET}".encode())]},
    {"headers": ["Accept", "*/*", "Authorization", f"Basic {SECRET}", "Host", "x"]},
    {"env": [("DB_PASSWORD", SECRET)]},
    {"pass": SECRET, "pass1": SECRET},
    ["x", "--pass", SECRET],
    ["openssl", "-passin", f"pass:{SECRET}"],
    ["curl", "-u", f"joe:{SECRET}", "http://x"],
    ["curl", f"--user=joe:{SECRET}"],
    {"auth": ("joe", SECRET)},
    {"basic_auth": f"joe:{SECRET}"},
    {"body": f"password={SECRET}".encode()},
    {"text": f"curl -u joe:{SECRET} http://x"},
    {"text": f"x --pass {SECRET} -v"},
    {"text": f"x --password 'two words {SECRET}'"},
    {"text": f"['x', '--password', '{SECRET}'] failed"},
    {"text": f"('Authorization', 'Basic {SECRET}')"},
    {"text": f'[{{"name": "DB_PASSWORD", "value": "two words {SECRET}"}}]'},
    {"text": f"env:\n- name: DB_PASSWORD\n  value: {SECRET}\n"},
    {"text": f"Env(name='DB_PASSWORD', value='{SECRET}')"},
    {"text": f"user: x\npassword: two words {SECRET}\n"},
    {"text": f"  password: |\n    two\n    lines {SECRET}\nuser: x"},
    {"text": f"psk: two words {SECRET}"},
    {"url": f"https://{SECRET}@host/"},
    {"url": f"mqtt://{SECRET}{SECRET}@host"},
    {"url": f"https://{SECRET}{SECRET}:x-oauth-basic@host/"},
    {"url": f"https://host/?sig={SECRET}&apikey={SECRET}"},
    {"url": f"https://host/?a=1&X-Amz-Signature={SECRET}"},
    {"url": f"https://host/?key={SECRET}{SECRET}"},
    {"header": f"Basic {base64.b64encode(f'joe:{SECRET}'.encode()).decode()}"},
]


@pytest.mark.parametrize("value", SHAPES, ids=lambda value: type(value).__name__)
def test_no_shape_brings_a_secret_through(value: Any) -> None:
    """Typed data, plain data and texts alike."""
    plain = repr(redacted(value))
    assert SECRET not in plain
    assert SECRET not in "".join(_decoded(plain))
    assert base64.b64encode(SECRET.encode()).decode() not in plain


def _decoded(plain: str) -> list[str]:
    """What stands in it as base64."""
    words = re.findall(r"(?<![\w+/])(?:[A-Za-z0-9+/]{4}){2,}={0,2}|(?<![\w+/])[A-Za-z0-9+/]{6,}={1,2}", plain)
    return [base64.b64decode(word + "=" * (-len(word) % 4)).decode(errors="replace") for word in words]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_known_whatever_their_case_and_joints(name: str) -> None:
    """In keys, in assignments, and in JSON inside texts."""
    assert names_a_secret(name)
    assert redacted({name: SECRET, "x": 1}) == {name: REDACTED, "x": 1}
    for text in (f"{name}={SECRET}", f'{{"{name}": "{SECRET}"}}', f"with {name}: {SECRET}"):
        assert SECRET not in without_secrets(text)


@pytest.mark.parametrize(
    "value",
    [
        "http://host:8080/a@b",
        "opc.tcp://10.0.0.5:4840",
        "mqtt://host:1883 refused, ask admin@corp.com",
        "the keyboard passes 3 compasses",
        "starting: the process is running",
        "first pass: 12 done, bypass: 3 closed, compass=north",
        "go -> token when token == 'x'",
        "docker run -u 1000:1000 x",
        "basic responsibilities are these",
        "postgres://joe@db/x",
        "https://host.example.company.com:8080/a@b",
        "GET /?key=temperature&signed=1",
        "signature mismatch",
        {"password": None, "token": "", "has_secret": True},
        {"key": "temperature", "keys": [1, 2], "path": "agent/a"},
        {"key": "press-1/temperature", "primary_key": 17, "hotkey": RANDOM},
        {"name": "temperature", "value": 7},
        {"name": "token_valid", "value": True},
        {"auth": "basic", "user": "a:b"},
        {"pass_count": 3, "passes": 2, "bypass": "open"},
        ["--path", "x", "--passive", "y"],
        ["docker", "run", "-u", "1000:1000", "-p", "80:80"],
        [["level", 3], ["bypass", "open"]],
        3,
        1.5,
        None,
    ],
)
def test_what_is_no_secret_stays(value: Any) -> None:
    """Addresses with ports, ordinary words, and the fact that there is a secret or none."""
    assert redacted(value) == value


@pytest.mark.parametrize("name", ["key", "ssh_key", "hostKey", "KEY"])
def test_what_looks_random_under_the_name_key_is_a_secret(name: str) -> None:
    """A key may be anything that tells two things apart; only one that nobody would write by hand is hidden."""
    for secret in (RANDOM, RANDOM.encode(), "0123456789abcdef" * 2):
        assert redacted({name: secret}) == {name: REDACTED}


def test_a_number_under_the_name_of_a_secret_is_one() -> None:
    """Also 0 and 1, which look like no and yes, and fractions."""
    numbers = {"password": 1, "pwd": 0, "pass": 7411.25, "api_key": 7}
    assert redacted(numbers) == dict.fromkeys(numbers, REDACTED)
    assert redacted([["password", 7411]]) == [["password", REDACTED]]


def test_a_measure_and_a_clock_are_no_secrets() -> None:
    """What workers count under any name, and the waits of guards that ask for a secret: without those nobody could go on."""
    numbers = {"token_expires_at": 1.7e9, "tokens_per_second": 12.5, "password_age": 3, "tokenRefreshCount": 4}
    clocks = {"held(token_valid, 5 s)": 2.5, "go -> token when token == 'x'": 3, "renew -> up when password_valid": 0.0}
    state = {"hash": "0123456789abcdef" * 4, "state": "token", "in_state": 4.5, "clocks": clocks, "generation": 3}
    for value in (numbers, state):
        assert redacted(value) == value


WORDS = [
    "password",
    "pass",
    "psk",
    "token",
    "name",
    "value",
    "-u ",
    "--a",
    "-",
    "https://",
    "://a:",
    "@",
    ":",
    "=",
    '"',
    "'",
    ",",
]
WORDS += [" ", "\n", "\n- ", "|", "(", "\\", '\\"', "a", 'password="', "name: pass", "(['", "aaaaaaaaaaaaaaaa"]


@given(
    st.text()
    | st.from_regex(r"(password|token|Authorization|://a|pass|-u a|name|https://|\?sig)[ :=@'\"\\a-z]*", fullmatch=True)
    | st.lists(st.sampled_from([*WORDS, REDACTED])).map("".join)
)
def test_leaving_out_secrets_twice_is_leaving_them_out_once(text: str) -> None:
    """What is read back and kept again does not change."""
    assert without_secrets(without_secrets(text)) == without_secrets(text)


@pytest.mark.parametrize("unit", ["bearer ", "eyJ-", "basic a", "?sig=", *WORDS])
@pytest.mark.parametrize("start", ["", "://", "password=", "token", "--", 'password=\\"', "password='"])
def test_a_text_from_an_enemy_costs_time_in_proportion(start: str, unit: str) -> None:
    """No text of a hundred thousand characters holds the writer up for minutes, which is what a square would cost."""
    text = (start + unit * 100_000)[:100_000]
    before = time.perf_counter()
    without_secrets(text)
    assert time.perf_counter() - before < 2.0


@pytest.mark.parametrize("unit", ["a1_", "PASS", "pass_", "pass1 ", "Key"])
def test_a_name_from_an_enemy_costs_time_in_proportion(unit: str) -> None:
    """The keys of what a device says are texts from anybody, too."""
    name = unit * (1_000_000 // len(unit))
    before = time.perf_counter()
    names_a_secret(name)
    assert time.perf_counter() - before < 1.0


ALPHABET = "abcdefghijkXYZ0123456789_!%+"


@pytest.mark.parametrize(
    "value", [[0] * 200_000, [[[0] * 1000] * 1000] * 1000, "x" * 2_000_000, {"deep": ["x" * 2_000_000]}]
)
def test_a_value_without_bounds_is_refused_in_bounded_time(value: Any) -> None:
    """Also one that is small in memory because it holds the same list a million times."""
    with pytest.raises(ValueError, match="more than"):
        redacted(value)


def test_a_value_within_itself_ends() -> None:
    """Nesting is followed to a depth, no further."""
    value: dict[str, Any] = {"n": 1}
    value["self"] = value
    assert redacted(value)["n"] == 1


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=10)


def planted(secret: str) -> st.SearchStrategy[Any]:
    """A value with the secret somewhere in it, in one of the ways that secrets come."""
    name = st.sampled_from(NAMES)
    text = st.one_of(
        st.builds(lambda n, tail: f"{n}={secret}{tail}", name, st.sampled_from(["", "&x=1", "; y", " failed"])),
        st.builds(lambda n: f'{{"a": 1, "{n}": "{secret} x"}}', name),
        st.builds(lambda user: f"amqp://{user}:{secret}@host:5672/x", st.text("abc", max_size=3)),
        st.builds(lambda before: f"{before} --password {secret}", st.text("abc ", max_size=5)),
    )
    holder = st.one_of(
        st.builds(lambda n: {n: secret}, name),
        st.builds(lambda n: {n: [secret, {"x": secret}]}, name),
        st.just(Data(secret)),
        st.just(Struct("bob", secret)),
        st.just(Model(token=secret)),
        st.just({"x": SecretStr(secret)}),
        text,
    )
    return st.recursive(
        holder,
        lambda inner: st.one_of(
            st.builds(lambda a, b, c: [a, b, c], leaves, inner, leaves),
            st.builds(lambda k, v, other: {"other": other, k: v}, st.text(max_size=5), inner, leaves),
            st.builds(lambda v: (v,), inner),
        ),
        max_leaves=3,
    )


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_planted_secret_is_in_no_byte_of_the_file(data: st.DataObject) -> None:
    """Documents and reasons, written and waiting, in the file and its log."""
    secrets = data.draw(st.lists(st.text(ALPHABET, min_size=12, max_size=20), min_size=3, max_size=6, unique=True))
    with tempfile.TemporaryDirectory() as name:
        store = SqliteStore(Path(name) / "store.sqlite")
        for number, secret in enumerate(secrets):
            value = data.draw(planted(secret))
            store.put(f"agent/{number}", "desired", value, at=1.0)
            store.append(Transition(f"agent/{number}", 1.0, "e", "s", "t", f"cannot log in: token={secret} is wrong"))
            assert secret not in repr((store.load(), store.history(f"agent/{number}")))
        assert store.flush()
        assert store.trouble() == ""
        content = b"".join(path.read_bytes() for path in Path(name).iterdir())
        store.close()
        content += b"".join(path.read_bytes() for path in Path(name).iterdir())
    for secret in secrets:
        assert secret.encode() not in content
        assert json.dumps(secret)[1:-1].encode() not in content

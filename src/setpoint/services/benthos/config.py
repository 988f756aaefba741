"""From the config of a flow to the file that Benthos runs, and the digest that tells one config from another.

The sections are those of UMH Core's data flows (input, pipeline, buffer, output, cache_resources, rate_limit_resources); whatever else is
at the top (`input_resources`, `shutdown_timeout`, `metrics`, …) is Benthos' own matter and passes through as it is. Three things are ours,
because the flow is watched through them: the address of the HTTP server (a port of its own, on loopback only), the path under which it
answers, and that metrics come in the Prometheus format unless the config says otherwise.

The path has the digest in it: ``/setpoint/<digest>/ping``. So whoever answers there is this flow with this config: no older one, no other
flow's Benthos, no stranger who took the port.

Text is always quoted, but for plain words: YAML 1.1 and 1.2 read ``0o17``, ``1_000``, ``yes`` and ``12:30:00`` differently, and the writer
knows the one, the reader the other.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import yaml

from setpoint.configfile import Problem

Level = Literal["OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"]

LOOPBACK: Final = "127.0.0.1"
SECTIONS: Final = ("input", "buffer", "pipeline", "output", "cache_resources", "rate_limit_resources")
OURS: Final = {
    "address": "each flow gets a port of its own on loopback; an input http_server may have an address of its own",
    "enabled": "the flow is watched through it",
    "root_path": "it tells one config from another",
    "cert_file": "it listens on loopback only",
    "key_file": "it listens on loopback only",
    "basic_auth": "it listens on loopback only",
}
"""Fields of `http` that a config may not set, and why."""
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_LINE: Final = r"[\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_BLOCK: Final = re.compile(rf"(?!\s){_LINE}+\n(?:{_LINE}|\n)*(?!\s){_LINE} *\n?")
"""Several lines that the readers of Go and Python take for the same: not those that begin with a blank, end with empty lines, or hold
characters that one of them changes."""
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that some version of YAML takes for something else than text, in whatever case."""
SOURCE: Final = "flow"


class BenthosConfigError(ValueError):
    """The configuration cannot be made into one for Benthos: `problems` lists every fault with its key."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class Document(msgspec.Struct, frozen=True):
    """The file, the port on which its Benthos listens, and the digest of what it says.

    The digest does not depend on the order of keys.
    """

    text: str
    digest: str
    port: int


def document(config: Mapping[str, Any], *, port: int, level: Level = "INFO") -> Document:
    """The file for this flow. `level` is that of its log where the config does not say one.

    Raises `BenthosConfigError` with every fault that would keep us from running or watching it. What is inside the sections is Benthos'
    to judge: see `setpoint.services.benthos.lint`.
    """
    problems = _problems(config)
    if problems:
        raise BenthosConfigError(problems)
    try:
        whole = _whole(_plain(config), port, level)
        canonical = json.dumps(whole, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        whole["http"]["root_path"] = root_path(digest)
        body = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    except (TypeError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BenthosConfigError([_problem("", f"this cannot be written to a file: {error}")]) from None
    return Document(f"# Written by Setpoint ({digest}). Changes are overwritten.\n{body}", digest, port)


def root_path(digest: str) -> str:
    """The path under which the Benthos with this config answers."""
    return f"/setpoint/{digest}"


def _whole(config: dict[str, Any], port: int, level: Level) -> dict[str, Any]:
    """All that stands in the file, but the path: the known sections first, with their defaults, the empty ones left out."""
    whole: dict[str, Any] = {"input": config["input"]}
    whole["buffer"] = config.get("buffer") or {"none": {}}
    whole["pipeline"] = config.get("pipeline") or {"processors": []}
    whole["output"] = config["output"]
    whole |= {name: config[name] for name in ("cache_resources", "rate_limit_resources") if config.get(name)}
    whole |= {key: value for key, value in config.items() if key not in (*SECTIONS, "http", "logger", "metrics")}
    whole["http"] = {**(config.get("http") or {}), "enabled": True, "address": f"{LOOPBACK}:{port}"}
    whole["logger"] = {"level": level, "format": "logfmt", "add_timestamp": False, **(config.get("logger") or {})}
    whole["metrics"] = _metrics(config.get("metrics"))
    return whole


def _plain(value: Any) -> Any:
    """Mappings, lists and values of the kinds that JSON has, with text for keys; dates and the like as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _metrics(section: Any) -> Any:
    """Prometheus unless another kind is named; a `mapping` alone names none."""
    kinds = [key for key in section or {} if key != "mapping"]
    return section if kinds else {**(section or {}), "prometheus": {}}


def _problems(config: Mapping[str, Any]) -> list[Problem]:
    found = []
    for name in ("input", "output"):
        if not isinstance(config.get(name), Mapping) or not config[name]:
            message = f"expected one {name}, got {_shown(config.get(name))}"
            found.append(_problem(name, message, f"write {name}: and below it the component"))
    for name in ("http", "logger", "metrics", "pipeline", "buffer"):
        if config.get(name) is not None and not isinstance(config[name], Mapping):
            found.append(_problem(name, f"expected a mapping, got {_shown(config[name])}"))
    http = config.get("http")
    if isinstance(http, Mapping):
        found += [
            _problem(f"http.{key}", f"Setpoint sets this: {OURS[key]}", "remove it") for key in http if key in OURS
        ]
    logger = config.get("logger")
    if isinstance(logger, Mapping):
        found += [
            _problem(f"logger.{key}", "Setpoint reads the log where it is written to by itself", "remove it")
            for key in ("file", "level_name", "message_name")
            if logger.get(key)
        ]
    return found


def _problem(key: str, message: str, hint: str = "") -> Problem:
    return Problem(message, 0, 0, key=key, hint=hint, source=SOURCE)


def _shown(value: object) -> str:
    text = "nothing" if value is None or value in ({}, []) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


class _Dumper(yaml.SafeDumper):
    """Writes what it is given once for each place: aliases would be right, and hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def analyze_scalar(self, scalar: str) -> Any:
        """Blocks may also have lines that end with spaces, as mappings written by people do, and tabs."""
        analysis = super().analyze_scalar(scalar)
        analysis.allow_block = analysis.allow_block or _BLOCK.fullmatch(scalar) is not None
        return analysis


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A block where it has several plain lines: Benthos' messages name lines in it. Everything else that could be misread is quoted."""
    if _BLOCK.fullmatch(text):
        style: str | None = "|"
    else:
        style = None if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)

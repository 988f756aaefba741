"""The processor `envelope`: a message with its meta as one JSON document, and back."""

from __future__ import annotations

import json

import pytest
from flows_plant import context
from hypothesis import given
from hypothesis import strategies as st

from setpoint.flows.component import MessageError, Msg, Processor
from setpoint.flows.processors.envelope import EnvelopeFields, envelope


def made(do: str) -> Processor:
    """The processor that does this."""
    return envelope(EnvelopeFields.model_validate({"do": do}), context())


@given(st.binary(), st.dictionaries(st.text(), st.text()))
def test_what_is_sealed_and_opened_is_what_it_was(payload: bytes, meta: dict[str, str]) -> None:
    """Any bytes and any meta, through JSON."""
    sealed = made("seal")(Msg(payload, dict(meta)))
    assert made("open")(Msg(json.dumps(sealed.payload).encode(), {"other": "x"})) == Msg(payload, meta)


def test_meta_that_are_no_texts_become_texts() -> None:
    """Benthos may have numbers and objects there."""
    text = b'{"payload": "", "meta": {"n": 5, "o": {"a": [1]}, "t": "5", "b": true, "z": null}, "error": null}'
    assert made("open")(Msg(text, {})).meta == {"n": "5", "o": '{"a":[1]}', "t": "5", "b": "true", "z": "null"}


def test_one_that_failed_before_fails_with_its_reason() -> None:
    """What it was is there to be set aside."""
    msg = Msg(b'{"payload": "eA==", "meta": {"a": "b"}, "error": "no sevens"}', {})
    with pytest.raises(MessageError, match="no sevens"):
        made("open")(msg)
    assert msg == Msg(b"x", {"a": "b"})


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"payload": "?"}', b'{"payload": "", "meta": 5}'])
def test_what_is_no_envelope_is_refused(text: bytes) -> None:
    """With a reason."""
    with pytest.raises(MessageError, match="this is no envelope"):
        made("open")(Msg(text, {}))

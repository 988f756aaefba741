"""Guards: composition obeys boolean algebra, text is read back, time enters by held(...) only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.samples import NAMED, Facts, alive, guards, leaves, ready, snapshots, thorough, wanted

from setpoint.machine import ALWAYS, Guard, Setting, Verdict, expression, guard, held
from setpoint.machine.guard_text import read_guard
from setpoint.machine.guards import All, Any_, Expr, Held, Moment, Named, Not, judge

untimed = st.recursive(
    leaves,
    lambda parts: (
        st.builds(lambda a, b: a & b, parts, parts)
        | st.builds(lambda a, b: a | b, parts, parts)
        | st.builds(lambda a: ~a, parts)
    ),
    max_leaves=8,
)


def asked(node: Guard, snapshot: Facts) -> bool:
    return bool(node.compile(timed=False)(snapshot))


def reference(node: Guard, snapshot: Facts) -> bool:
    """What a guard means, written a second time and without short cuts."""
    match node:
        case Named():
            return bool(node.test(snapshot))
        case Expr():
            text = node.expression.text
            return bool(eval(text, {"__builtins__": {"len": len}}, dict(snapshot)))
        case Not():
            return not reference(node.part, snapshot)
        case All():
            return all([reference(part, snapshot) for part in node.members])
        case Any_():
            return any([reference(part, snapshot) for part in node.members])
    raise AssertionError(node)


def held_nodes(node: Guard) -> Iterator[str]:
    return (str(part) for part in node.walk() if isinstance(part, Held))


@thorough
@given(untimed, snapshots)
def test_a_guard_means_what_its_tree_says(node: Guard, snapshot: Facts) -> None:
    """Compiled guards agree with a reference evaluation of their tree, expressions with Python's own."""
    assert asked(node, snapshot) == reference(node, snapshot)


@thorough
@given(untimed, untimed, untimed, snapshots)
def test_composition_obeys_boolean_algebra(a: Guard, b: Guard, c: Guard, s: Facts) -> None:
    """De Morgan, distribution, double negation, identity and complement hold for every snapshot."""
    assert asked(~(a & b), s) == asked(~a | ~b, s)
    assert asked(a & (b | c), s) == asked((a & b) | (a & c), s)
    assert asked(~~a, s) == asked(a, s)
    assert asked(a & ALWAYS, s) == asked(a, s)
    assert asked(a | ~a, s)
    assert not asked(a & ~a, s)
    assert (a & b) & c == a & (b & c)


@thorough
@given(guards, snapshots, st.data())
def test_judging_agrees_with_asking(node: Guard, snapshot: Facts, data: st.DataObject) -> None:
    """Every node of a judged tree, also with held(...) in it, says what the compiled node answers."""
    answers = {text: data.draw(st.booleans()) for text in held_nodes(node)}
    moment = Moment(snapshot, answers)
    assert judge(node, moment).ok == bool(node.compile(timed=True)(moment))


@thorough
@given(guards)
def test_a_guards_text_is_read_back_as_the_same_guard(node: Guard) -> None:
    """str(guard) loses nothing: not the kind of a leaf, not grouping, not a setting's default."""
    assert read_guard(str(node), NAMED) == node


@thorough
@given(guards, guards)
def test_different_guards_have_different_texts(a: Guard, b: Guard) -> None:
    """Clocks and files know guards by their texts, so no two may share one."""
    assert (str(a) == str(b)) == (a == b)


def test_a_guard_has_no_truth_of_its_own() -> None:
    """`a and b` would silently be b; it raises and says what to write."""
    with pytest.raises(TypeError, match=r"write &, \| and ~"):
        alive and ready


def test_a_coroutine_is_refused_as_a_guard() -> None:
    """A coroutine object counts as true; a guard made of one would always be open."""

    async def later(s: Any) -> bool:
        return False

    with pytest.raises(TypeError, match="coroutine"):
        guard(later)


@pytest.mark.parametrize("name", ["always", "held", "not", "a b", "expression"])
def test_a_guard_may_not_be_called_by_a_word_of_the_text_form(name: str) -> None:
    """Such a name could not be told from the word when the text is read back."""
    with pytest.raises(TypeError, match="name"):
        guard(name=name)(lambda s: True)


def test_a_guard_is_described_by_the_first_line_of_its_docstring() -> None:
    """Without one, its name in words has to do."""

    @guard
    def disk_full(s: Any) -> bool:
        return True

    assert wanted.doc == "the user wants it running"
    assert disk_full.doc == "disk full"


def test_a_verdict_is_true_or_false_and_says_why() -> None:
    """The fact behind an answer shows up in the judged leaf."""

    @guard
    def enough_disk(s: Any) -> Verdict:
        return Verdict(s["free"] > 10, f"{s['free']} GB are free")

    judged = judge(enough_disk, Moment({"free": 3}, {}))
    assert not judged.ok
    assert judged.because == "3 GB are free"


def test_a_leaf_that_cannot_answer_is_crossed_and_says_so() -> None:
    """What a decision never asked must not spoil its explanation."""
    judged = judge(alive & expression("gone.level > 3"), Moment({"alive": False}, {}))
    assert [part.ok for part in judged.parts] == [False, False]
    assert "no answer: ExpressionError" in judged.parts[1].because


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_seconds_are_finite_and_not_negative(seconds: float) -> None:
    """A wait that never ends, or ended before it began, is a mistake."""
    with pytest.raises(ValueError, match="seconds"):
        held(alive, seconds)
    with pytest.raises(ValueError, match="seconds"):
        Setting("grace_s", seconds)


def test_a_setting_is_looked_up_in_the_desired_state() -> None:
    """The instance's own value counts, else the default; nonsense is refused with the name of the field."""

    class Desired:
        grace_s: float | None = None

    class Snapshot:
        desired = Desired()

    setting, snapshot = Setting("grace_s", 5), Snapshot()
    assert setting.of(snapshot) == 5
    snapshot.desired.grace_s = 2
    assert setting.of(snapshot) == 2
    assert setting.of({"desired": {"grace_s": 3}}) == 3
    snapshot.desired.grace_s = float("nan")
    with pytest.raises(ValueError, match=r"desired\.grace_s is nan"):
        setting.of(snapshot)
    with pytest.raises(ValueError, match="field"):
        Setting("grace s", 1)

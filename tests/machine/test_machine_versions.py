"""Versions: what becomes of a stored state when the machine has changed since."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.samples import thorough

from setpoint.machine import (
    Machine,
    Migration,
    Refused,
    Resumed,
    State,
    content_hash,
    expression,
    migrate,
    migration_faults,
)


def connection(version: str, *names: str, level: int = 1) -> Machine:
    states = [State(name=name) for name in names]
    arcs = [states[0].to(state, on="go", when=expression(f"level > {level}")) for state in states[1:]]
    return Machine("connection", states, arcs, version=version)


V3 = connection("3", "off", "connected", "lost")
STEPS = [
    Migration("1", "2", {"off": "off", "up": "on", "down": "down"}),
    Migration("2", "3", lambda state: {"on": "connected"}.get(state)),
]


def stored(
    machine: Machine = V3, migrations: object = (), *, version: str = "1", state: str = "up", **more: object
) -> object:
    given = {"name": "connection", "hash": "0" * 16, **more}
    return migrate(machine, migrations, version=version, state=state, **given)  # type: ignore[arg-type]


def test_the_same_definition_goes_on_without_a_word() -> None:
    """Same name, version and hash: there is nothing to say."""
    assert stored(version="3", state="lost", hash=content_hash(V3)) == Resumed("lost")


def test_a_changed_definition_of_the_same_version_goes_on_and_says_what_changed() -> None:
    """With the stored definition the text has the level and the changes, without it the hashes."""
    before = connection("3", "off", "connected", "lost", level=2)
    answer = stored(version="3", state="lost", hash=content_hash(before), definition=before)
    assert isinstance(answer, Resumed)
    assert answer.text.startswith(
        "connection version 3 has changed since the state was stored (minor: arc off -go-> connected: guard was"
    )
    bare = stored(version="3", state="lost", hash=content_hash(before))
    assert bare == Resumed(
        "lost",
        f"connection version 3 has changed since the state was stored: its hash was {content_hash(before)}, is {content_hash(V3)}",
    )


def test_another_version_is_migrated_step_by_step() -> None:
    """Declared steps are walked to the present version, mappings and functions alike, in whatever order they are listed."""
    expected = Resumed("connected", "stored state 'up' of connection version 1: migrated 1→2→3 to 'connected'")
    assert stored(migrations=STEPS) == stored(migrations=STEPS[::-1]) == expected


REFUSALS = {
    "no-step": ([], {}, "no migration to version 3 is declared; declared: none"),
    "gap": (STEPS[:1], {}, "no migration to version 3 is declared; declared: 1→2"),
    "silent-mapping": (STEPS, {"state": "flaky"}, "migration 1→2 does not say what becomes of state 'flaky'"),
    "silent-function": (STEPS, {"state": "down"}, "migration 2→3 does not say what becomes of state 'down'"),
    "circle": ([STEPS[0], Migration("2", "1", {"on": "up"})], {}, "go round in a circle: 1→2→1"),
    "itself": ([Migration("1", "1", {"up": "up"})], {}, "go round in a circle: 1→1"),
    "two-ways": ([*STEPS, Migration("1", "3", {"up": "off"})], {}, "2 migrations leave version 1: 1→2, 1→3; declare one"),
    "nowhere": ([Migration("1", "3", {"up": "on"})], {}, "leads to state 'on', which version 3 does not have"),
    "no-name": ([Migration("1", "3", lambda state: 5)], {}, "gave 5 for state 'up'; expected the name of a state"),  # type: ignore[arg-type,return-value]
    "raises": ([Migration("1", "3", lambda state: {}[state])], {}, "raised KeyError for state 'up': 'up'"),
    "gone": (STEPS, {"version": "3"}, "it is gone from version 3; its states are off, connected, lost"),
    "another": (STEPS, {"name": "bridge"}, "the machine here is connection"),
}  # fmt: skip


@pytest.mark.parametrize(("migrations", "more", "text"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_not_declared_is_refused_by_name(migrations: list[Migration], more: dict[str, str], text: str) -> None:
    """A refusal names what was stored, and what was looked for."""
    answer = stored(V3, migrations, **more)
    assert isinstance(answer, Refused)
    name, version, state = more.get("name", "connection"), more.get("version", "1"), more.get("state", "up")
    assert answer.text.startswith(f"stored state {state!r} of {name} version {version}: ")
    assert text in answer.text


versions = st.sampled_from(["1", "2", "3", "4"])
names = st.sampled_from(["off", "connected", "gone"])
steps = st.lists(st.builds(Migration, versions, versions, st.dictionaries(names, names)), max_size=6)


@given(steps, versions, names)
@thorough
def test_a_migration_ends_and_never_gives_a_state_that_is_not_there(
    migrations: list[Migration], version: str, state: str
) -> None:
    """For any declarations, sensible or not: a state of the machine, or a refusal."""
    answer = stored(V3, migrations, version=version, state=state)
    assert isinstance(answer, Refused) or answer.state in V3.by_name  # type: ignore[attr-defined]


def test_faults_of_migrations_are_known_before_anything_is_stored() -> None:
    """Two ways out of one version, a way that does not lead here, a circle, and a state that is not there."""
    assert list(migration_faults(V3, STEPS)) == []
    assert list(migration_faults(V3, STEPS[:1])) == ["migration 1→2 does not lead to version 3 of connection: 1→2"]
    two = [*STEPS, Migration("1", "3", {"up": "on"})]
    assert list(migration_faults(V3, two)) == [
        "two migrations leave version 1: 1→2 and 1→3",
        "migration 1→3 leads to 'on', which is no state of connection",
    ]
    circle = [Migration("1", "2", {}), Migration("2", "1", {})]
    assert [fault.rpartition(": ")[2] for fault in migration_faults(V3, circle)] == ["1→2→1", "2→1→2"]

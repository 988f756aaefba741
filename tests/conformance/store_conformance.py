"""What any store must do: the conformance suite of `setpoint.store.Store`.

To run it on an implementation, subclass `StoreConformance` in a test file, with `store` returning an open store on `directory` and
`another` returning what a second process would open there: after the first was closed, or while it is in use where `shared` is True.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from pydantic import BaseModel, SecretStr

from setpoint.store import KINDS, Conflict, Store, Transition

PATH = "agent/a"


class Observed(msgspec.Struct, frozen=True):
    running: bool = False
    pid: int | None = None


class Colour(enum.Enum):
    RED = "red"


class Spec(BaseModel):
    url: str = ""
    password: SecretStr = SecretStr("")
    colour: Colour = Colour.RED


class Unspeakable:
    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


def move(number: int, path: str = PATH, *, reason: str = "because", type: str = "") -> Transition:
    """A transition that can be told from others."""
    return Transition(path, 1000.0 + number, f"e{number}", f"s{number}", f"s{number + 1}", reason, type)


def value_of(store: Store, path: str = PATH, kind: Any = "observed") -> Any:
    """The stored value, or None."""
    document = store.refresh(path).get(kind)
    return document and document.value


class StoreConformance:
    """One test a promise."""

    shared: ClassVar[bool] = True
    """Two processes can have the store open at once."""

    def store(self, directory: Path) -> Store:
        """An open store."""
        raise NotImplementedError

    def another(self, directory: Path, first: Store) -> Store:
        """What another process opens there."""
        raise NotImplementedError

    # documents

    def test_typed_values_are_kept_as_plain_data(self, tmp_path: Path) -> None:
        """Structs, models, dicts and enums come back as what JSON can carry, with the time they were put at."""
        store = self.store(tmp_path)
        store.put(PATH, "observed", Observed(True, 7), at=5.0)
        store.put(PATH, "desired", Spec(url="x"), at=6.0)
        store.put(PATH, "identity", {"name": "a", "ports": (1, 2)}, at=7.0)
        documents = store.load()[PATH]
        assert documents["observed"].value == {"running": True, "pid": 7}
        assert documents["desired"].value["colour"] == "red"
        assert documents["identity"].value == {"name": "a", "ports": [1, 2]}
        assert [documents[kind].at for kind in ("observed", "desired", "identity")] == [5.0, 6.0, 7.0]
        store.close()

    def test_what_was_put_is_there_at_once_and_after_a_restart(self, tmp_path: Path) -> None:
        """Readers see what is waiting; a store that was closed has everything."""
        store = self.store(tmp_path)
        for number in range(50):
            store.put(f"agent/{number}", "state", {"state": f"s{number}"}, at=1.0)
        assert len(store.load()) == 50
        store.close()
        other = self.another(tmp_path, store)
        assert {path: d["state"].value["state"] for path, d in other.load().items()} == {
            f"agent/{n}": f"s{n}" for n in range(50)
        }
        other.close()

    def test_the_last_value_wins(self, tmp_path: Path) -> None:
        """However many are put between two writings."""
        store = self.store(tmp_path)
        for number in range(500):
            store.put(PATH, "observed", {"n": number}, at=float(number))
        assert store.flush()
        assert value_of(store) == {"n": 499}
        store.close()

    def test_equal_content_changes_nothing(self, tmp_path: Path) -> None:
        """Neither version nor time move for a value that says the same, whatever its type or the order of its keys."""
        store = self.store(tmp_path)
        store.put(PATH, "observed", {"running": True, "pid": None}, at=1.0)
        assert store.flush()
        before = store.refresh(PATH)["observed"]
        store.put(PATH, "observed", Observed(True), at=2.0)
        store.put(PATH, "observed", {"pid": None, "running": True}, at=3.0)
        assert store.flush()
        assert store.refresh(PATH)["observed"] == before
        store.close()

    def test_a_change_gets_a_higher_version(self, tmp_path: Path) -> None:
        """Also across a restart, and also where the worker was gone in between."""
        store = self.store(tmp_path)
        versions = []
        for number in range(3):
            store.put(PATH, "observed", {"n": number}, at=1.0)
            assert store.flush()
            versions.append(store.refresh(PATH)["observed"].version)
        store.drop(PATH)
        assert store.flush()
        store.close()
        other = self.another(tmp_path, store)
        other.put(PATH, "observed", {"n": 0}, at=1.0)
        assert other.flush()
        versions.append(other.refresh(PATH)["observed"].version)
        assert versions == sorted(set(versions))
        assert versions[0] > 0
        other.close()

    def test_a_field_that_is_gone_is_gone(self, tmp_path: Path) -> None:
        """A document is replaced, never merged."""
        store = self.store(tmp_path)
        store.put(PATH, "desired", {"a": 1, "b": 2}, at=1.0)
        assert store.flush()
        store.put(PATH, "desired", {"a": 1}, at=2.0)
        assert store.flush()
        assert value_of(store, kind="desired") == {"a": 1}
        store.close()

    def test_equal_names_under_two_parents_are_two_workers(self, tmp_path: Path) -> None:
        """The whole path tells workers apart, and nothing else."""
        store = self.store(tmp_path)
        store.put("agent/a/child", "observed", {"of": "a"}, at=1.0)
        store.put("agent/b/child", "observed", {"of": "b"}, at=1.0)
        assert [value_of(store, f"agent/{name}/child") for name in "ab"] == [{"of": "a"}, {"of": "b"}]
        store.close()

    def test_dropping_takes_the_documents_and_leaves_the_history(self, tmp_path: Path) -> None:
        """Of that worker alone, written or waiting."""
        store = self.store(tmp_path)
        for path in (PATH, "agent/ab", "agent/a/b"):
            for kind in KINDS:
                store.put(path, kind, {"k": kind}, at=1.0)
        assert store.flush()
        store.append(move(1))
        store.put(PATH, "observed", {"k": "new"}, at=2.0)
        store.drop(PATH)
        assert sorted(store.load()) == ["agent/a/b", "agent/ab"]
        assert store.flush()
        assert sorted(store.load()) == ["agent/a/b", "agent/ab"]
        assert [row.event for row in store.history(PATH)] == ["e1"]
        store.close()

    @pytest.mark.parametrize("flushes", range(8))
    def test_a_worker_that_comes_back_starts_anew(self, tmp_path: Path, flushes: int) -> None:
        """Dropped and put again: only what was put after the drop is there, whether or not it was written in between."""
        store = self.store(tmp_path)
        steps = [
            lambda: [store.put(PATH, kind, {"life": 1}, at=1.0) for kind in KINDS],
            lambda: store.drop(PATH),
            lambda: store.put(PATH, "state", {"life": 2}, at=2.0),
        ]
        for number, step in enumerate(steps):
            step()
            if flushes >> number & 1:
                assert store.flush()
        assert {kind: d.value for kind, d in store.load()[PATH].items()} == {"state": {"life": 2}}
        store.close()

    @pytest.mark.parametrize(
        "garbage", ["x" * 2_000_000, {(): object()}, 2**200, float("nan"), b"\xff\x00", "\udcff", []]
    )
    def test_garbage_harms_nobody_else(self, tmp_path: Path, garbage: Any) -> None:
        """What cannot be kept is said or kept as well as can be; what else is put is kept, and the next good value too."""
        store = self.store(tmp_path)
        store.put(PATH, "observed", garbage, at=1.0)
        store.put("agent/b", "observed", {"n": 1}, at=1.0)
        store.flush()
        assert value_of(store, "agent/b") == {"n": 1}
        assert (PATH in store.load()) == (not store.trouble())
        store.put(PATH, "observed", {"n": 2}, at=2.0)
        assert store.flush()
        assert (value_of(store), store.trouble()) == ({"n": 2}, "")
        store.close()

    @pytest.mark.parametrize("fault", [RuntimeError("with password=hunter2 " * 1000), SystemExit(1), RecursionError()])
    def test_an_object_whose_code_raises_is_said(self, tmp_path: Path, fault: BaseException) -> None:
        """Its document keeps its last good value; trouble names it until there is a better one, or the worker is gone."""

        class Hostile:
            def __str__(self) -> str:
                raise fault

        store = self.store(tmp_path)
        store.put(PATH, "observed", {"n": 1}, at=1.0)
        assert store.flush()
        store.put(PATH, "observed", Hostile(), at=2.0)
        store.flush()
        assert f"observed of {PATH}" in store.trouble()
        assert "hunter2" not in store.trouble()
        assert len(store.trouble()) < 500
        assert value_of(store) == {"n": 1}
        store.drop(PATH)
        assert store.flush()
        assert store.trouble() == ""
        store.close()

    # versions

    def test_an_update_needs_the_version_it_replaces(self, tmp_path: Path) -> None:
        """From nothing with 0, then with the version that came back; with any other it changes nothing and says which is stored."""
        store = self.store(tmp_path)
        first = store.update(PATH, "state", {"n": 1}, version=0)
        second = store.update(PATH, "state", {"n": 2}, version=first)
        for wrong in (0, first, second + 1):
            with pytest.raises(Conflict) as caught:
                store.update(PATH, "state", {"n": 3}, version=wrong)
            assert (caught.value.path, caught.value.kind, caught.value.version) == (PATH, "state", second)
        assert value_of(store, kind="state") == {"n": 2}
        store.close()

    def test_an_update_follows_what_was_put_before(self, tmp_path: Path) -> None:
        """A put that is waiting counts: a version from before it is out of date."""
        store = self.store(tmp_path)
        store.put(PATH, "state", {"n": 1}, at=1.0)
        with pytest.raises(Conflict):
            store.update(PATH, "state", {"n": 2}, version=0)
        store.put(PATH, "state", {"n": 1}, at=1.0)
        assert value_of(store, kind="state") == {"n": 1}
        store.close()

    def test_what_another_process_changed_is_not_overwritten(self, tmp_path: Path) -> None:
        """It is said, and left alone until it was read; then the next value is written."""
        if not self.shared:
            pytest.skip("one process at a time")
        store = self.store(tmp_path)
        store.put(PATH, "desired", {"n": 1}, at=1.0)
        assert store.flush()
        other = self.another(tmp_path, store)
        version = other.refresh(PATH)["desired"].version
        other.update(PATH, "desired", {"n": 100}, version=version)
        store.put(PATH, "desired", {"n": 2}, at=2.0)
        store.put("agent/b", "desired", {"n": 3}, at=2.0)
        store.flush()
        assert PATH in store.trouble()
        assert value_of(other, kind="desired") == {"n": 100}
        assert value_of(other, "agent/b", "desired") == {"n": 3}
        assert value_of(store, kind="desired") == {"n": 100}
        assert store.trouble() == ""
        store.put(PATH, "desired", {"n": 2}, at=3.0)
        assert store.flush()
        assert value_of(other, kind="desired") == {"n": 2}
        other.close()
        store.close()

    # transitions

    def test_the_history_of_a_worker_is_the_latest_oldest_first(self, tmp_path: Path) -> None:
        """Only its own, at most as many as asked for, in the order in which it happened whatever the clock said."""
        store = self.store(tmp_path)
        for number in (5, 3, 4, 1):
            store.append(move(number))
        store.append(move(9, "agent/b"))
        assert [row.event for row in store.history(PATH, 3)] == ["e3", "e4", "e1"]
        assert store.flush()
        store.append(move(2))
        assert [row.event for row in store.history(PATH, 3)] == ["e4", "e1", "e2"]
        assert len(store.history("agent/b")) == 1
        assert store.history("agent/nobody") == []
        assert store.history(PATH, 0) == []
        store.close()
        other = self.another(tmp_path, store)
        assert [row.event for row in other.history(PATH)] == ["e5", "e3", "e4", "e1", "e2"]
        other.close()

    def test_how_long_steps_took_before_is_known(self, tmp_path: Path) -> None:
        """Count, median and longest for each step of a worker, of a type, or of all, written or waiting."""
        store = self.store(tmp_path)
        clock = 0.0
        for number, seconds in enumerate((2.0, 4.0, 9.0)):
            store.append(Transition(PATH, clock, "start", "stopped", "starting", "", "process"))
            store.append(Transition(PATH, clock + 1, "operator_pause", "starting", "starting", "", "process"))
            store.append(Transition(PATH, clock + seconds, "started", "starting", "running", "", "process"))
            clock += seconds + 10
            store.append(Transition(PATH, clock, "stopped", "running", "stopped", "", "process"))
            if number == 1:
                assert store.flush()
        store.append(Transition("agent/b", 0.0, "start", "stopped", "starting", "", "other"))
        store.append(Transition("agent/b", 50.0, "started", "starting", "running", "", "other"))
        by_event = {step.event: step for step in store.typical(path=PATH)}
        assert (by_event["started"].count, by_event["started"].median, by_event["started"].longest) == (3, 4.0, 9.0)
        assert by_event["stopped"].median == 10.0
        assert {step.event: step.count for step in store.typical(type="other")} == {"started": 1}
        assert {step.event: step.count for step in store.typical()}["started"] == 4
        assert store.typical(path="agent/nobody") == []
        store.close()

    # machines

    def test_a_machine_is_kept_as_long_as_a_state_names_it(self, tmp_path: Path) -> None:
        """Definitions by content hash; those that no stored state refers to are gone some day, those in use never."""
        store = self.store(tmp_path)
        store.keep_machine("cafe", {"name": "m", "states": [{"name": "a"}]})
        store.put(PATH, "state", {"state": "a", "hash": "cafe"}, at=1.0)
        store.keep_machine("cade", {"guards": {"token_valid": "there is a token"}, "arcs": [{"when": "token == 'x'"}]})
        assert store.machine("cade") == {
            "guards": {"token_valid": "there is a token"},
            "arcs": [{"when": "token == 'x'"}],
        }
        assert store.machine("cafe") == {"name": "m", "states": [{"name": "a"}]}
        assert store.machine("beef") is None
        store.close()
        other = self.another(tmp_path, store)
        assert other.machine("cafe") == {"name": "m", "states": [{"name": "a"}]}
        other.close()

    # the store itself

    def test_when_it_was_last_used_is_known(self, tmp_path: Path) -> None:
        """Nothing before its first use; afterwards when its user ended."""
        store = self.store(tmp_path)
        assert store.alive_at is None
        store.put(PATH, "observed", {}, at=1.0)
        store.close()
        other = self.another(tmp_path, store)
        assert other.alive_at is not None
        other.close()

    def test_secrets_are_not_kept(self, tmp_path: Path) -> None:
        """Neither in documents nor in reasons, nor in what is read back before anything was written."""
        store = self.store(tmp_path)
        store.put(PATH, "desired", Spec(url="amqp://bob:hunter2@host/x", password=SecretStr("hunter2")), at=1.0)
        store.append(move(1, reason="login with password=hunter2 failed"))
        for _ in range(2):
            assert "hunter2" not in repr((store.load(), store.history(PATH)))
            assert "amqp://bob:" in repr(store.load())
            assert store.flush()
        store.close()

    def test_what_is_told_to_be_secret_is_left_out_wherever_it_stands(self, tmp_path: Path) -> None:
        """As when a variable was rendered into a field of any name; the same value with more to leave out is another document."""
        store = self.store(tmp_path)
        desired = {"dsn": "joe/hunter2@db", "port": 1883, "hunter2": ["x hunter2"], "body": b"hunter2", "pin": 7411}
        store.put(PATH, "desired", desired, at=1.0, secrets=frozenset({"hunter2"}))
        assert store.flush()
        first = value_of(store, kind="desired")
        assert "hunter2" not in repr(first)
        assert (first["dsn"], first["port"], first["pin"]) == ("joe/[redacted]@db", 1883, 7411)
        store.put(PATH, "desired", desired, at=2.0, secrets=frozenset({"hunter2", "7411"}))
        second = store.refresh(PATH)["desired"]
        assert second.value["pin"] == "[redacted]"
        store.update(PATH, "desired", desired, version=second.version, secrets=frozenset({"hunter2"}))
        assert "hunter2" not in repr(store.load())
        store.close()

    @pytest.mark.parametrize("odd", [None, 10**400, float("nan"), Colour.RED, Spec, b"\xff", "\udcff", Unspeakable()])
    def test_a_transition_with_fields_that_are_no_texts_harms_nobody(self, tmp_path: Path, odd: Any) -> None:
        """What a worker's code says may be anything; it is kept as text, and what comes before and after it too; what is no time, as 0."""
        store = self.store(tmp_path)
        store.append(move(1))
        store.append(Transition(PATH, odd, odd, odd, odd, odd, odd))
        store.append(Transition(odd, odd, "e", "s", "t", "because"))
        store.append(move(3))
        store.put(odd, "observed", {"n": 1}, at=odd)
        assert (store.flush(), store.trouble()) == (True, "")
        rows = store.history(PATH)
        assert [row.event for row in rows][::2] == ["e1", "e3"]
        assert all(type(text) is str for text in (rows[1].event, rows[1].source, rows[1].reason, rows[1].type))
        assert (rows[1].at, len(store.history(odd))) == (0.0, 1)
        assert store.refresh(odd)["observed"].value == {"n": 1}
        store.close()
        other = self.another(tmp_path, store)
        assert list(other.history(PATH)) == list(rows)
        other.close()

    def test_closing_twice_and_using_it_afterwards_harms_nobody(self, tmp_path: Path) -> None:
        """A late word from a task that did not listen is lost, and that is all."""
        store = self.store(tmp_path)
        store.close()
        store.close()
        store.put(PATH, "observed", {}, at=1.0)
        store.append(move(1))
        store.drop(PATH)

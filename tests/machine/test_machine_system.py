"""Systems: a file with several machines and what must hold of them together."""

from __future__ import annotations

import pytest

from setpoint.machine import Machine, MachineError, State, load_system

PRESSES = """
machines:
  press:
    states: {idle: stopped, ready: starting, pressing: healthy, retreating: stopping}
    guards: {wanted: a job is there}
    wanted: [wanted]
    arcs:
      - {event: prepare, from: idle, to: ready, when: wanted}
      - {event: press, from: ready, to: pressing, when: "FREE"}
      - {event: stop, from: [ready, pressing], to: retreating, when: not wanted}
      - {event: retreated, from: retreating, to: idle, after: 2}
instances:
  left: {machine: press, sees: {other: right}}
  right: {machine: press, sees: {other: left}}
never:
  both press: peer('left').healthy and peer('right').healthy
targets:
  one presses: peer('left').healthy or peer('right').healthy
"""
FREE = "not peer('other').is_in('pressing', 'retreating')"


def test_a_system_file_says_what_must_hold_and_is_explored() -> None:
    """Two presses that look at each other never press together, and one can always get to it."""
    found = load_system(PRESSES.replace("FREE", FREE)).explore()
    assert (found.ok, found.certainty, str(found)) == (
        True,
        "exact",
        f"{found.states} joint states, exact: nothing found",
    )


def test_what_does_not_hold_is_found_with_a_witness() -> None:
    """Presses that look for a press that is idle find one that gets ready at the same time, and wait for ever."""
    found = load_system(PRESSES.replace("FREE", "peer('other').is_in('idle')")).explore()
    assert {finding.code for finding in found.findings} == {"deadlock", "out-of-reach"}
    assert all(finding.place == "left=ready, right=ready" for finding in found.findings)


def test_machines_that_are_known_can_be_instances() -> None:
    """A name that the file does not define is asked of the caller, for a machine as for an instance."""
    valve = Machine("valve", [State(name="shut"), State(name="open", final=True)], [])
    asked: list[str] = []

    def known(name: str) -> Machine:
        asked.append(name)
        return valve

    system = load_system({"machines": {"v": "valve.yaml"}, "instances": {"a": "v", "b": "valve"}}, known=known)
    assert asked == ["valve.yaml", "valve"]
    assert [instance.machine for instance in system.instances.values()] == [valve, valve]


def test_all_faults_of_a_system_file_are_reported_at_once() -> None:
    """Unknown keys, faults of machines, names that are not there, guards that cannot be read."""
    bad = {
        "machines": {"press": {"states": {"a": "stoped"}}, "two": 2},
        "instances": {"a": "pres", "b": 5, "c": {"machine": "press", "sees": [1], "wanted": "x =", "want": 1}},
        "never": {"x": 4},
        "target": {},
    }
    with pytest.raises(MachineError) as caught:
        load_system(bad)
    assert list(caught.value.faults) == [
        "the system: unknown key 'target'; did you mean 'targets'?",
        "machine 'press': state 'a': phase 'stoped' is none of stopped, starting, healthy, degraded, stopping, failed; did you mean 'stopped'?",  # noqa: E501
        "machine 'two': expected a mapping with states and arcs, or the name of a machine",
        "instance 'a': there is no machine 'pres'; did you mean 'press'?",
        "instance 'b': expected the name of a machine, or a mapping with machine, sees and wanted",
        "instance 'c': unknown key 'want'; did you mean 'wanted'?",
        "instance 'c': sees: expected a mapping of names to names of instances",
        "instance 'c': wanted: 'x =' is not a guard: invalid syntax",
        "never 'x': expected a guard as text, got 4",
    ]


@pytest.mark.parametrize("text", ["", "[]", "instances: []", "instances: {}", "instances: {a: [}", "never: {1: 2}"])
def test_what_is_no_system_is_refused(text: str) -> None:
    """Any text is answered with faults, never with another exception."""
    with pytest.raises(MachineError):
        load_system(text)

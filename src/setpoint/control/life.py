"""Life: how a worker comes, is made anew, and goes. The states around every machine, drawn in `setpoint.control.lifecycle`.

It is made by its type's constructor, its desired state is derived from its spec, and once there is a good observation it begins: in the
state it was in when the agent last ran, if that is remembered and still means the same, else in its initial state. When it asks for it,
or an operator does, it is stopped and made anew. When it is not wanted any more it is stopped and goes, after its children.
"""

from __future__ import annotations

from collections.abc import Callable

from setpoint.control.agenda import Abandon, Agenda, Close
from setpoint.control.circuit import Circuit
from setpoint.control.comparing import same
from setpoint.control.deciding import Deciding
from setpoint.control.family import Family
from setpoint.control.observing import Observing
from setpoint.control.record import FOREVER, NO_SPEC, Record
from setpoint.control.registry import AnyWorker, Registry
from setpoint.control.remembering import Remembering
from setpoint.control.variables import as_type, rendered
from setpoint.control.worker import Context
from setpoint.machine import Machine, Phase
from setpoint.secrets import secrets_among, without_secrets


class Life:
    """Brings the workers of one supervisor to life, and takes them away again."""

    def __init__(
        self,
        agenda: Agenda,
        family: Family,
        observing: Observing,
        deciding: Deciding,
        registry: Registry,
        remembering: Remembering,
    ) -> None:
        self._agenda = agenda
        self._family = family
        self._observing = observing
        self._deciding = deciding
        self._registry = registry
        self._remembering = remembering
        self.context: Callable[[Record, AnyWorker], Context] = lambda record, worker: Context(
            record.path, lambda value: None, lambda: None
        )

    def make(self, record: Record) -> None:
        """Make the worker, where there is none yet. Raises what its constructor raises."""
        if record.worker is None:
            worker = self._registry.create(record.type)
            worker.context = self.context(record, worker)
            record.worker = worker
            if record.derived and not record.seen_generation:  # brought back with what was stored of its desired state
                record.desired = as_type(record.desired, worker.desired_type)

    def derive(self, record: Record) -> bool:
        """From the spec to the desired state; True when that is another one now. What is wrong with the spec is kept and shown."""
        worker = record.worker
        assert worker is not None
        record.spec_changed = False
        try:
            spec = self._spec_of(record)
            if not record.spec_error and same(spec, record.spec_in_force):
                record.seen_generation = record.generation
                return False
            desired = worker.derive_desired_state(spec)
            if worker.interval <= 0 or worker.timeout <= 0:
                raise ValueError(f"interval {worker.interval} and timeout {worker.timeout} must be above 0 s")
            differs = not record.derived or not same(desired, record.desired)
        except (Exception, SystemExit) as error:
            record.spec_error = without_secrets(f"{type(error).__name__}: {error}", record.secrets)
            if not record.alive:
                record.reason = f"config error: {record.spec_error}"
            return False
        record.spec_error, record.spec_in_force = "", spec
        record.seen_generation = record.generation
        record.derived = True
        record.desired = desired
        if differs:
            record.children_due = True
            record.forget_action_failures()
            record.restarts = 0
            self._remembering.desired(record)
        return differs

    def _spec_of(self, record: Record) -> object:
        """The spec with its templates rendered, as the type the worker declares. Raises `SpecError`."""
        assert record.worker is not None
        scope = self._family.scope_of(record)
        parent = record.parent.path if record.parent else self._family.root
        internal = {"id": record.path, "name": record.name, "type": record.type, "parent": parent}
        record.secrets = secrets_among(scope.names({}))
        return as_type(rendered(record.given.spec, scope, internal), record.worker.spec_type)

    def begin(self, record: Record) -> None:
        """From `to_be_created` over `creating` to a state of its machine, once there is a first good observation."""
        if record.removing and record.at_rest:
            return
        if record.state == "to_be_created":
            self._deciding.move(record, "create", "creating", "waiting for the first observation")
            self._observing.begin(record)
        if not record.has_observed:
            if record.error:
                record.reason = f"waiting for the first observation: {record.error}"
        elif not self._resume(record):
            self._start(record, "create_done", "created")

    def _start(self, record: Record, event: str, reason: str, state: str = "") -> None:
        """Begin anew, in the initial state or in another."""
        assert record.worker is not None
        initial = state or record.worker.initial_state()
        _refuse_unknown(record.worker.machine, initial, "initial_state()")
        record.memory, record.started = None, False
        record.starts += 1
        self._deciding.move(record, event, initial, reason)
        if record.given.after:
            self._agenda.mark(record)  # it may have to wait for its siblings

    def _resume(self, record: Record) -> bool:
        """Go on in the state in which the agent's last run left it; False when nothing is remembered of it.

        Those it looks at come first, for as long as patience lasts, so that it does not take their absence for a change.
        """
        worker = record.worker
        assert worker is not None
        memory = record.memory
        if memory is None:
            return False
        found = memory.state_for(worker)
        if found.refused:
            self._start(record, "resume_refused", found.refused)
            return True
        if record.children_due:
            self._family.want(record, worker.children(record.desired, found.state))  # they come back first
            record.children_due = False
        patient_until = record.position.entered_at + self._agenda.limits.resume_patience
        others = [
            other.name
            for other in self._family.looked_at(record)
            if not other.alive and not other.stalled and not self._waits_for(other, record)
        ]
        if others and self._agenda.now < patient_until:
            record.reason = f"waiting for {', '.join(others)} before it goes on as {found.state}"
            self._agenda.look(record, patient_until)
            return True
        snapshot = self._deciding.snapshot(record)._replace(state=found.state)
        state = worker.resume_state(found.state, snapshot)
        _refuse_unknown(worker.machine, state, "resume_state()")
        if state != found.state:
            self._start(record, "create_done", f"it was {found.state} and begins anew as {state}", state)
            return True
        agenda = self._agenda
        try:
            position = memory.position(worker.machine, state, now=agenda.now, wall=agenda.wall)
        except (LookupError, ValueError) as error:
            self._start(record, "resume_refused", str(error))
            return True
        record.memory = None
        record.starts += 1
        self._deciding.move(record, "resumed", state, f"goes on where it was{f': {found.note}' if found.note else ''}")
        record.position, record.since = position, min(memory.standing.since, agenda.wall)
        return True

    def _waits_for(self, other: Record, record: Record) -> bool:
        """Whether one that is on its way back looks at this worker, itself or over others: then they do not wait for each other."""
        seen, ways = {other.path}, [other]
        while ways:
            for next_one in self._family.looked_at(ways.pop()):
                if next_one is record:
                    return True
                if not next_one.alive and next_one.path not in seen:
                    seen.add(next_one.path)
                    ways.append(next_one)
        return False

    def anew(self, record: Record) -> None:
        """At a restart: let the worker go and make another, once it has stopped, or its time is over, or it cannot be asked."""
        if self._agenda.shutting_down:
            record.restarting = ""
        if record.paused or self._agenda.shutting_down:
            return
        stopped = record.at_rest and not record.wanted
        if not (stopped or self._agenda.now >= record.restart_by or record.circuit.open or not record.alive):
            return
        why = record.restarting if stopped else f"{record.restarting}; made anew although it has not stopped"
        record.restarting, record.restart_by = "", FOREVER
        for running in record.running.values():
            self._agenda.emit(Abandon(running.token))
            record.hung_actions.add(running.token)
        record.running = {}
        self._observing.drop(record)
        if record.worker is not None:
            self._agenda.emit(Close(record.path, record.worker))
        self._deciding.move(record, "recreate", "to_be_created", why)
        record.worker, record.circuit, record.act_gate = None, Circuit(), 0
        record.spec_changed, record.spec_in_force = True, NO_SPEC  # the last good desired state stays in force
        record.born_at = self._agenda.now
        record.facts = record.peers = None
        self._agenda.mark(record)

    def wind_up(self, record: Record) -> None:
        """Removal: after a graceful stop, and after its children. One that cannot be asked is removed as it is, and that is said."""
        self._family.remove_children(record)
        cannot = "" if record.at_rest else self._cannot_be_asked(record)
        if record.children or not (record.at_rest or cannot):
            return
        last = record.reason
        why = f"finished: {last}" if record.finished else "no longer wanted"
        self._deciding.move(record, "remove", "removing", f"removed without being stopped: {cannot}" if cannot else why)
        self._deciding.move(record, "remove_done", "removed", why if record.finished else "removed")
        self._family.forget(record)

    def _cannot_be_asked(self, record: Record) -> str:
        """Why a worker that is to go cannot be brought to rest: its code keeps failing, or nobody sees any more what it does."""
        if record.circuit.open:
            return record.circuit.reason
        now, patience = self._agenda.now, self._agenda.limits.action_timeout
        if not record.running and now - max(record.sampled_at, record.position.entered_at) > patience:
            if not record.alive:
                return f"it could not be observed: {record.error or record.reason}"
            if record.hung_reason:
                return record.hung_reason
        if record.phase is Phase.FAILED and not record.running and now - record.position.entered_at > patience:
            return f"it has failed and does not stop: {record.reason}"
        self._agenda.look(record, now + patience)
        return ""


def _refuse_unknown(machine: Machine, state: str, who: str) -> None:
    if state not in machine.by_name:
        raise ValueError(f"{who} says {state!r}, which is no state of machine {machine.name!r}")

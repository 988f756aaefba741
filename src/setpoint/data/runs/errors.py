"""What can be wrong with a run that is kept."""


class RunError(ValueError):
    """There is no such run, or it cannot do that now: the message says how it stands."""


class NotKept(TypeError):
    """The record holds something that cannot be kept: make it plain data (texts, numbers, lists, mappings, dates) in the state before."""


class NotMigrated(ValueError):
    """A run stands where the other version of its machine has nothing: declare where it belongs, or finish it with the version it has."""

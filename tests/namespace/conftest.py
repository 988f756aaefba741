"""Properties are checked without a time limit for an example: the machine may be busy with something else."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None, max_examples=50)
settings.load_profile("unhurried")

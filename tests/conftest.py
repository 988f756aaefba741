"""How laws are checked: with the same examples each time, so that a red run says something about the change it is the run of.

``pytest --hypothesis-profile search`` looks for new ones; what it finds becomes a test of its own. No example has a time limit: the machine
may be busy with something else.
"""

from hypothesis import settings

settings.register_profile("same", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("same")

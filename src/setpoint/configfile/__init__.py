"""Configuration files, whatever they configure: YAML and JSON as trees that know where everything stands, read strictly.

`compose` makes a tree of a text, `from_python` one of Python data; `Fields` reads a mapping key by key and reports what nobody asked for;
a `Report` collects the `Problem`s. Nothing here knows what the keys mean.
"""

from setpoint.configfile.compose import compose
from setpoint.configfile.fields import Fields, Place, Report, found
from setpoint.configfile.native import from_python
from setpoint.configfile.node import Mapping, Mark, Node, Scalar, Sequence, plain
from setpoint.configfile.problem import Problem, Severity

__all__ = [
    "Fields",
    "Mapping",
    "Mark",
    "Node",
    "Place",
    "Problem",
    "Report",
    "Scalar",
    "Sequence",
    "Severity",
    "compose",
    "found",
    "from_python",
    "plain",
]

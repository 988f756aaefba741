"""Runs a keeper: ``python -I -S <this folder> SCAN GRACE_S``.

The packages above are put in place by hand, without running what they import: the keeper needs three modules of them, not 30 MB.
"""

import sys
import types
from pathlib import Path

_HERE = Path(__file__).resolve().parent
for _depth, _name in ((2, "setpoint"), (1, "setpoint.services"), (0, "setpoint.services.processes")):
    _module = types.ModuleType(_name)
    _module.__path__ = [str(_HERE.parents[_depth])]
    sys.modules[_name] = _module

from setpoint.services.processes.keeper.keeper import main  # noqa: E402 - after the packages are in place

main(sys.argv[1], float(sys.argv[2]))

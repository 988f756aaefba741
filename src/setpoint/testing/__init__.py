"""The public test kit: virtual time, scripted workers, faults, and laws that every worker keeps.

    assert_reaches(Press, "running", within=10)          # on virtual time, in a real supervisor
    check_worker(Press)                                  # every law there is

See docs/testing.md. What needs hypothesis (`check_worker`, and the strategies in `setpoint.testing.strategies`) imports it when it is used:
``pip install 'setpoint[testing]'``.
"""

from setpoint.testing.faults import Faulty, faulty
from setpoint.testing.laws import LAWS, Report, check_worker
from setpoint.testing.script import ObservationFailed, Scripted, scripted
from setpoint.testing.sources import Source
from setpoint.testing.stage import Stage, assert_never, assert_reaches, assert_stays
from setpoint.testing.stand_ins import StandIn, stand_in
from setpoint.testing.virtual import EPOCH, VirtualLoop, WaitsForEver, freeze, jump_wall, run, wall

__all__ = [
    "EPOCH",
    "LAWS",
    "Faulty",
    "ObservationFailed",
    "Report",
    "Scripted",
    "Source",
    "Stage",
    "StandIn",
    "VirtualLoop",
    "WaitsForEver",
    "assert_never",
    "assert_reaches",
    "assert_stays",
    "check_worker",
    "faulty",
    "freeze",
    "jump_wall",
    "run",
    "scripted",
    "stand_in",
    "wall",
]

"""Purchases that wait for their approval, kept in purchases.sqlite.

python purchase.py ask ORDER AMOUNT         begins one
python purchase.py approve ORDER NAME ROLE  sends it the answer
python purchase.py refuse ORDER NAME WHY
python purchase.py due                      lets those go on whose time has come, and those that were cut off: call it now and then
python purchase.py show                     says where each stands
"""

import sys
from pathlib import Path

from setpoint.data.errors import NotTaken
from setpoint.data.fsm import SimpleFSM
from setpoint.data.result import Result
from setpoint.data.runs import Runs


def answers(purchases: SimpleFSM, verb: str, *words: str) -> list[Result]:
    """What came of the purchases that were touched. Raises `NotTaken` for an answer that nobody waits for, or that is not good enough."""
    match verb, *words:
        case "ask", order, amount:
            return [purchases.process({"order": order, "amount": float(amount)}, run=order)]
        case "approve", order, name, role:
            return [purchases.runs.send(order, "approved", {"by": name, "role": role})]
        case "refuse", order, name, reason:
            return [purchases.runs.send(order, "refused", {"by": name, "reason": reason})]
        case ("due",):
            return [*purchases.runs.recover(), *purchases.runs.wake()]
    sys.exit(__doc__)


def main(*words: str) -> None:
    runs = Runs("purchases.sqlite")
    with SimpleFSM(Path(__file__).with_name("purchase.yaml"), runs=runs) as purchases:
        if words == ("show",):
            for row in runs.find(machine="purchase"):
                print(row.id, row.status, row.waits or row.state)
            return
        try:
            for result in answers(purchases, *words or ("",)):
                print(result.run, result.final_state, *result.waits)
        except NotTaken as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Where rates.yaml has its rates from."""

from setpoint.data.context import Context


def bank(record: dict, context: Context) -> None:
    record |= {"rate": _rate("bank", record, context), "source": "bank"}


def spare(record: dict, context: Context) -> None:
    record |= {"rate": _rate("spare", record, context), "source": "spare"}


def keep(record: dict, context: Context) -> None:
    context.require("last").set(record["currency"], record["rate"])


def recall(record: dict, context: Context) -> None:
    rate = context.require("last").get(record["currency"])
    if rate is None:
        raise LookupError(f"no rate of {record['currency']} was ever got from the bank")
    record |= {"rate": rate, "source": "cache"}


def _rate(service: str, record: dict, context: Context) -> float:
    """Raises `LookupError` for a currency that the service does not know: that is no fault of the service, which the breaker counts."""
    answer = context.require(service).get(f"/rates/{record['currency']}", check=False)
    if answer.status_code == 404:
        raise LookupError(f"the {service} has no rate of {record['currency']}")
    return answer.raise_for_status().json()["rate"]

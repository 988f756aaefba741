"""The calls of profile.yaml and order.yaml: each asks the resource `shop` for one thing, and puts it into the record.

The token is kept in the run's variables, not in the record: so it is in no output and in no dead letter.
"""

from setpoint.data.context import Context


async def token(record: dict, context: Context) -> None:
    answer = await context.require("shop").post("/token", json={"user": record["user"]})
    context.variables["token"] = answer.json()["token"]


async def customer(record: dict, context: Context) -> None:
    record |= await _get(f"/customers/{record['customer']}", context)


async def orders(record: dict, context: Context) -> None:
    record["orders"] = await _get(f"/customers/{record['customer']}/orders", context)


async def credit(record: dict, context: Context) -> None:
    record["credit"] = await _get(f"/customers/{record['customer']}/credit", context)


async def article(record: dict, context: Context) -> None:
    record |= await _get(f"/articles/{record['article']}", context)


async def make(record: dict, context: Context) -> None:
    answer = await _ask("POST", "/orders", context, json={"article": record["article"], "quantity": record["quantity"]})
    record["order"] = answer.json()["order"]


async def change(record: dict, context: Context) -> None:
    await _ask("PUT", f"/orders/{record['order']}", context, json={"quantity": record["quantity"]})


async def cancel(record: dict, context: Context) -> None:
    await _ask("DELETE", f"/orders/{record['order']}", context)


async def _get(path: str, context: Context):
    return (await _ask("GET", path, context)).json()


async def _ask(method: str, path: str, context: Context, **options):
    headers = {"Authorization": f"Bearer {context.variables['token']}"}
    return await context.require("shop").request(method, path, headers=headers, **options)

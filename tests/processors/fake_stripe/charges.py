"""What cards were charged and given back."""

from typing import Any

from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.world import Thing, World


def charges(world: World, given: dict[str, Any]) -> Thing:
    """The charges of a customer, newest first; the payments that went through are all that the fake keeps."""
    if given.keys() - {"customer", "limit"}:
        raise Refused("The fake lists charges by customer, on one page.")
    rows = [charge_of(world, row) for row in world.all("payment_intent", customer=given["customer"])]
    done = [row for row in reversed(rows) if row["amount"]]
    return {"object": "list", "data": done, "has_more": False, "url": "/v1/charges"}


def charge_of(world: World, intent: Thing) -> Thing:
    return {
        "id": f"ch_{intent['id'][3:]}",
        "object": "charge",
        "payment_intent": intent["id"],
        "customer": intent["customer"],
        "currency": intent["currency"],
        "amount": intent["amount_received"],
        "amount_refunded": sum(row["amount"] for row in world.all("refund", payment_intent=intent["id"])),
    }


def payments(world: World, given: dict[str, Any]) -> Thing:
    """What invoices a payment went to."""
    if given.keys() - {"payment", "limit"}:
        raise Refused("The fake lists invoice payments by payment.")
    wanted = given["payment"]["payment_intent"]
    rows = [
        {**row, "invoice": invoice["id"]}
        for invoice in world.all("invoice")
        for row in invoice["_payments"]
        if row["payment"]["payment_intent"] == wanted
    ]
    return {"object": "list", "data": rows, "has_more": False, "url": "/v1/invoice_payments"}


def refund(world: World, params: dict[str, Any]) -> Thing:
    intent = world.get("payment_intent", params.get("payment_intent"))
    if intent["status"] != "succeeded":
        raise Refused("This PaymentIntent does not have a successful charge to refund.")
    given = sum(row["amount"] for row in world.all("refund", payment_intent=intent["id"]))
    amount = params.get("amount", intent["amount_received"] - given)
    if amount <= 0 or given + amount > intent["amount_received"]:
        code = "charge_already_refunded" if given == intent["amount_received"] else None
        raise Refused(f"Refund amount is greater than what is left of the charge ({amount}).", code=code)
    row = {
        "amount": amount,
        "currency": intent["currency"],
        "payment_intent": intent["id"],
        "status": "succeeded",
        "metadata": params.get("metadata") or {},
        "created": world.now(intent["customer"]),
        "customer": intent["customer"],
    }
    found = world.add("refund", row)
    world.tell("charge.refunded", charge_of(world, intent))
    return found

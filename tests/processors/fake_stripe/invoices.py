"""Invoices from draft to paid, and the money that moves with them."""

from typing import Any

from tests.processors.fake_stripe import customers
from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.world import Thing, World, expect_currency

# Charges below this (in cents) aren't attempted but kept on the customer's balance.
SMALLEST = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50}
HOUR = 3_600
RETRIES = (3 * 86_400, 5 * 86_400, 7 * 86_400)
MOST_LINES = 250
_CREATES = {
    "customer", "currency", "auto_advance", "collection_method", "days_until_due", "metadata", "description",
    "pending_invoice_items_behavior", "subscription",
}  # fmt: skip


def draft(world: World, customer: Thing, currency: str, **fields: Any) -> Thing:
    """A new draft without lines."""
    expect_currency(customer, currency)
    at = world.now(customer["id"])
    thing = {
        "customer": customer["id"],
        "currency": currency,
        "status": "draft",
        "billing_reason": "manual",
        "collection_method": "charge_automatically",
        "auto_advance": False,
        "automatically_finalizes_at": None,
        "created": at,
        "period_start": at,
        "period_end": at,
        "due_date": None,
        "lines": {"object": "list", "data": [], "has_more": False, "url": ""},
        "total": 0,
        "subtotal": 0,
        "amount_due": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "starting_balance": 0,
        "ending_balance": None,
        "attempted": False,
        "attempt_count": 0,
        "next_payment_attempt": None,
        "hosted_invoice_url": None,
        "number": None,
        "metadata": {},
        "parent": None,
        "test_clock": customer.get("test_clock"),
        "status_transitions": {"finalized_at": None, "paid_at": None, "voided_at": None},
        **fields,
    }
    invoice = world.add("invoice", thing)
    invoice["_payments"] = []
    return invoice


def create(world: World, params: dict[str, Any]) -> Thing:
    params.pop("expand", None)
    if params.keys() - _CREATES:
        raise Refused(f"The fake doesn't know {params.keys() - _CREATES} of invoices.")
    customer = world.get("customer", params.get("customer"))
    sends = params.get("collection_method") == "send_invoice"
    if sends and params.get("days_until_due") is None:
        raise Refused("You must pass `days_until_due` with `collection_method` send_invoice.", param="days_until_due")
    if not sends and params.get("days_until_due") is not None:
        raise Refused("`days_until_due` is for invoices that are sent.", param="days_until_due")
    invoice = draft(
        world,
        customer,
        params.get("currency") or customer["currency"] or "usd",
        collection_method=params.get("collection_method", "charge_automatically"),
        auto_advance=params.get("auto_advance", False),
        metadata=params.get("metadata") or {},
    )
    if sends:
        invoice["due_date"] = invoice["created"] + params["days_until_due"] * 86_400
    if invoice["auto_advance"]:
        invoice["automatically_finalizes_at"] = invoice["created"] + HOUR
    if params.get("pending_invoice_items_behavior") == "include":
        take_pending(world, invoice, subscription=params.get("subscription"))
    world.tell("invoice.created", invoice)
    return invoice


def add_line(world: World, invoice: Thing, *, amount: int, description: str | None, **fields: Any) -> Thing:
    lines = invoice["lines"]["data"]
    if len(lines) >= MOST_LINES:
        raise Refused(f"An invoice has at most {MOST_LINES} lines.")
    at = world.now(invoice["customer"])
    line = world.add(
        "line_item",
        {
            "amount": amount,
            "currency": invoice["currency"],
            "description": description,
            "period": {"start": at, "end": at},
            "metadata": {},
            "quantity": 1,
            "invoice": invoice["id"],
            "parent": {"type": "invoice_item_details", "invoice_item_details": {"proration": False}},
            **fields,
        },
    )
    lines.append(line)
    invoice["total"] = invoice["subtotal"] = sum(row["amount"] for row in lines)
    invoice["amount_due"] = invoice["amount_remaining"] = max(0, invoice["total"])
    return line


def add_lines(world: World, key: str, params: dict[str, Any]) -> Thing:
    invoice = _draft(world, key)
    for line in params["lines"]:
        unknown = line.keys() - {"amount", "description", "period", "metadata", "discountable"}
        if unknown or "amount" not in line:
            raise Refused(f"The fake knows lines with an amount, and not {unknown}.", param="lines")
        line.pop("discountable", None)
        period = line.get("period")
        if period and period["end"] < period["start"]:
            raise Refused("The period ends before it starts.", param="lines[period]")
        add_line(world, invoice, description=line.pop("description", None), **line)
    if params.get("invoice_metadata"):
        invoice["metadata"].update(params["invoice_metadata"])
    world.tell("invoice.updated", invoice)
    return invoice


def create_item(world: World, params: dict[str, Any]) -> Thing:
    """An invoice item: on a draft, or pending until the next renewal."""
    customer = world.get("customer", params.get("customer"))
    item = world.add(
        "invoiceitem",
        {
            "customer": customer["id"],
            "amount": params["amount"],
            "currency": params["currency"],
            "description": params.get("description"),
            "period": params.get("period"),
            "subscription": params.get("subscription"),
            "invoice": params.get("invoice"),
            "metadata": params.get("metadata") or {},
        },
    )
    if item["invoice"]:
        _put(world, _draft(world, item["invoice"]), item)
    return item


def take_pending(world: World, invoice: Thing, *, subscription: str | None) -> None:
    for item in world.all("invoiceitem", customer=invoice["customer"], invoice=None):
        if item["subscription"] in (None, subscription):
            item["invoice"] = invoice["id"]
            _put(world, invoice, item)


def _put(world: World, invoice: Thing, item: Thing) -> None:
    at = world.now(invoice["customer"])
    period = item["period"] or {"start": at, "end": at}
    add_line(
        world, invoice, amount=item["amount"], description=item["description"], period=period, metadata=item["metadata"]
    )


def finalize(world: World, key: str, *, auto_advance: bool | None = None) -> Thing:
    """Open it, and settle what the customer's balance covers; nothing to pay is paid."""
    invoice = _draft(world, key)
    customer = world.get("customer", invoice["customer"])
    at = world.now(customer["id"])
    if auto_advance is not None:
        invoice["auto_advance"] = auto_advance
    total, balance = invoice["total"], customer["balance"]
    invoice["starting_balance"] = balance
    due = max(0, total + balance) if total > 0 else 0
    if total > 0 and 0 < due < SMALLEST.get(invoice["currency"], 0):
        balance_after, due = due, 0  # too small to charge: owed with the next one
    elif total > 0:
        balance_after = min(0, total + balance)
    else:
        balance_after = balance + total
    customer["balance"] = balance_after
    invoice.update(
        status="open",
        ending_balance=balance_after,
        amount_due=due,
        amount_remaining=due,
        automatically_finalizes_at=None,
        number=f"{customer['id'][-12:-4]}-{len(world.things['invoice']):04d}",
        hosted_invoice_url=f"https://invoice.stripe.test/i/{invoice['id']}",
    )
    invoice["status_transitions"]["finalized_at"] = at
    world.tell("invoice.finalized", invoice)
    if due == 0:
        _paid(world, invoice)
        return invoice
    intent = world.add(
        "payment_intent",
        {
            "amount": due,
            "amount_received": 0,
            "currency": invoice["currency"],
            "customer": customer["id"],
            "status": "requires_payment_method",
            "created": at,
            "payment_method": None,
        },
    )
    payment = world.add(
        "invoice_payment",
        {
            "invoice": invoice["id"],
            "status": "open",
            "amount_paid": None,
            "amount_requested": due,
            "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        },
    )
    invoice["_payments"].append(payment)
    return invoice


def pay(world: World, key: str, *, off_session: bool = False, card: Thing | None = None) -> Thing:
    """Charge the card; a refusal is told as well as raised."""
    invoice = world.get("invoice", key)
    if invoice["status"] == "draft":
        finalize(world, key)
    if invoice["status"] == "paid":
        raise Refused("Invoice is already paid")
    if invoice["status"] != "open":
        raise Refused(f"You can't pay an invoice that is {invoice['status']}.")
    card = card or customers.card_of(world, invoice["customer"])
    if card is None:
        raise Refused("There is no `default_payment_method` set on this Customer or Invoice. Please set one.")
    invoice["attempted"], invoice["attempt_count"] = True, invoice["attempt_count"] + 1
    intent = world.get("payment_intent", invoice["_payments"][0]["payment"]["payment_intent"])
    intent["payment_method"] = card["id"]
    if card["_behavior"] == "success":
        intent.update(status="succeeded", amount_received=intent["amount"])
        _paid(world, invoice)
        return invoice
    failure = _refusal(card, intent, off_session=off_session)
    _schedule_retry(world, invoice)
    world.tell("invoice.payment_failed", invoice)
    if card["_behavior"] == "requires_authentication":
        world.tell("invoice.payment_action_required", invoice)
    raise failure


def _refusal(card: Thing, intent: Thing, *, off_session: bool) -> Refused:
    if card["_behavior"] == "requires_authentication":
        intent["status"] = "requires_payment_method" if off_session else "requires_action"
        return Refused(
            "This payment requires additional user action before it can be completed successfully.",
            status=402,
            kind="card_error",
            code="authentication_required" if off_session else "invoice_payment_intent_requires_action",
            decline_code="authentication_required" if off_session else None,
            payment_intent=intent["id"],
        )
    intent["status"] = "requires_payment_method"
    return Refused(
        "Your card was declined.",
        status=402,
        kind="card_error",
        code="card_declined",
        decline_code="generic_decline",
        payment_intent=intent["id"],
    )


def _schedule_retry(world: World, invoice: Thing) -> None:
    tries = invoice["attempt_count"] - 1
    later = world.now(invoice["customer"]) + RETRIES[tries] if tries < len(RETRIES) else None
    invoice["next_payment_attempt"] = later if invoice["auto_advance"] else None


def settle_on_page(world: World, key: str) -> Thing:
    """The customer pays on the hosted page, with whatever it takes."""
    invoice = world.get("invoice", key)
    if invoice["status"] != "open":
        raise Refused(f"The invoice is {invoice['status']}.")
    for payment in invoice["_payments"]:
        intent = world.get("payment_intent", payment["payment"]["payment_intent"])
        intent.update(status="succeeded", amount_received=intent["amount"])
    _paid(world, invoice)
    return invoice


def _paid(world: World, invoice: Thing) -> None:
    invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, next_payment_attempt=None)
    invoice["status_transitions"]["paid_at"] = world.now(invoice["customer"])
    for payment in invoice["_payments"]:
        payment.update(status="paid", amount_paid=invoice["amount_due"])
    _set_subscription_status(world, invoice)
    world.tell("invoice.paid", invoice)


def _set_subscription_status(world: World, invoice: Thing) -> None:
    key = subscription_of(invoice)
    if key is None:
        return
    subscription = world.get("subscription", key)
    owed = any(
        other["status"] == "open" and other is not invoice and subscription_of(other) == key
        for other in world.all("invoice", customer=invoice["customer"])
    )
    if subscription["status"] in ("past_due", "incomplete") and not owed:
        subscription["status"] = "active"
        world.tell("customer.subscription.updated", subscription)


def subscription_of(invoice: Thing) -> str | None:
    details = (invoice["parent"] or {}).get("subscription_details")
    key: str | None = details["subscription"] if details else None
    return key


def void(world: World, key: str) -> Thing:
    invoice = world.get("invoice", key)
    if invoice["status"] not in ("open", "uncollectible"):
        raise Refused(f"You can't void an invoice that is {invoice['status']}.")
    customer = world.get("customer", invoice["customer"])
    # What the balance had covered is given back.
    customer["balance"] -= invoice["ending_balance"] - invoice["starting_balance"]
    invoice.update(status="void", next_payment_attempt=None, auto_advance=False)
    invoice["status_transitions"]["voided_at"] = world.now(customer["id"])
    world.tell("invoice.voided", invoice)
    return invoice


def delete(world: World, key: str) -> Thing:
    invoice = _draft(world, key)
    if invoice["parent"] is not None:
        raise Refused("You can't delete an invoice created by a subscription. Finalize and void it.")
    invoice["deleted"] = True
    return {"id": key, "object": "invoice", "deleted": True}


def _draft(world: World, key: str) -> Thing:
    invoice = world.get("invoice", key)
    if invoice["status"] != "draft":
        raise Refused("This invoice is already finalized, you can't change it.", code="invoice_not_editable")
    return invoice

"""Hosted pages: checkouts that take a payment or a card, and the portal."""

from typing import Any

from tests.processors.fake_stripe import customers, invoices
from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.world import Thing, World

_KNOWN = {
    "customer", "mode", "line_items", "success_url", "cancel_url", "expires_at", "metadata", "invoice_creation",
    "payment_intent_data", "currency", "client_reference_id", "setup_intent_data", "saved_payment_method_options",
    "payment_method_types",
}  # fmt: skip


def create(world: World, params: dict[str, Any]) -> Thing:
    if params.keys() - _KNOWN:
        raise Refused(f"The fake doesn't know {params.keys() - _KNOWN} of checkout sessions.")
    mode = params.get("mode")
    if mode not in ("payment", "setup"):
        raise Refused("The fake knows the modes payment and setup.", param="mode")
    if "success_url" not in params:
        raise Refused("You must provide success_url.", param="success_url")
    if params.get("customer"):
        world.get("customer", params["customer"])
    now = world.now()
    expires = params.get("expires_at", now + 86_400)
    if not now + 1_800 <= expires <= now + 86_400:
        raise Refused("expires_at must lie 30 minutes to 24 hours ahead.", param="expires_at")
    lines = [_line(world, line) for line in params.get("line_items") or []]
    total = sum(line["amount_total"] for line in lines)
    if mode == "payment":
        currency = lines[0]["currency"] if lines else ""
        if not lines or total < invoices.SMALLEST.get(currency, 1):
            raise Refused("The total amount must be at least what can be charged.", code="amount_too_small")
        if len(lines) > 100:
            raise Refused("A session has at most 100 line items.", param="line_items")
    else:
        currency = params.get("currency", "")
        if lines or not (currency or params.get("payment_method_types")):
            raise Refused("Mode setup needs a currency or payment_method_types, and no line_items.", param="currency")
    thing = {
        "customer": params.get("customer"),
        "mode": mode,
        "status": "open",
        "payment_status": "unpaid" if mode == "payment" else "no_payment_required",
        "amount_total": total if mode == "payment" else None,
        "currency": currency or None,
        "metadata": params.get("metadata") or {},
        "expires_at": expires,
        "created": now,
        "success_url": params["success_url"],
        "cancel_url": params.get("cancel_url"),
        "payment_intent": None,
        "setup_intent": None,
        "invoice": None,
    }
    session = world.add("checkout.session", thing)
    session["url"] = f"https://checkout.stripe.test/c/{session['id']}"
    session["_lines"] = lines
    session["_invoice"] = params.get("invoice_creation") or {}
    session["_keeps_card"] = (params.get("payment_intent_data") or {}).get("setup_future_usage") == "off_session"
    return session


def _line(world: World, line: dict[str, Any]) -> Thing:
    data = line.get("price_data") or {}
    if line.keys() - {"price_data", "quantity"} or "unit_amount" not in data or data.get("recurring"):
        raise Refused("The fake knows lines with one-off price_data.", param="line_items")
    product = data.get("product_data") or {}
    name = product.get("name") or world.get("product", data.get("product"))["name"]
    if data["unit_amount"] < 0:
        raise Refused("unit_amount must not be negative.", param="line_items[price_data][unit_amount]")
    return {
        "description": name,
        "currency": data["currency"],
        "amount_total": data["unit_amount"] * line.get("quantity", 1),
    }


def complete(world: World, key: str, wanted: str) -> Thing:
    """The customer fills the page in; a card that is declined leaves it open."""
    session = world.get("checkout.session", key)
    if session["status"] != "open":
        raise Refused(f"The session is {session['status']}.")
    card = customers.new_card(world, wanted)
    if card["_behavior"] == "declines" and session["mode"] == "payment":
        raise Refused("Your card was declined.", status=402, kind="card_error", code="card_declined")
    customers.attach_card(world, card["id"], session["customer"])
    if session["mode"] == "setup":
        intent = {"customer": session["customer"], "status": "succeeded", "payment_method": card["id"]}
        session["setup_intent"] = world.add("setup_intent", intent)["id"]
    else:
        _take_payment(world, session, card)
    session["status"] = "complete"
    world.tell("checkout.session.completed", session)
    return session


def _take_payment(world: World, session: Thing, card: Thing) -> None:
    intent = world.add(
        "payment_intent",
        {
            "amount": session["amount_total"],
            "amount_received": session["amount_total"],
            "currency": session["currency"],
            "customer": session["customer"],
            "status": "succeeded",
            "created": world.now(),
            "payment_method": card["id"],
        },
    )
    session.update(payment_intent=intent["id"], payment_status="paid")
    if not session["_keeps_card"]:
        customers.detach_card(world, card["id"])
    if not session["_invoice"].get("enabled"):
        return
    invoice = invoices.draft(
        world,
        world.get("customer", session["customer"]),
        session["currency"],
        metadata=dict((session["_invoice"].get("invoice_data") or {}).get("metadata") or {}),
    )
    for line in session["_lines"]:
        invoices.add_line(world, invoice, amount=line["amount_total"], description=line["description"])
    payment = world.add(
        "invoice_payment",
        {
            "invoice": invoice["id"],
            "status": "paid",
            "amount_paid": intent["amount"],
            "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        },
    )
    balance = world.get("customer", session["customer"])["balance"]
    invoice["_payments"].append(payment)
    invoice.update(
        status="paid",
        starting_balance=balance,
        ending_balance=balance,
        amount_paid=intent["amount"],
        amount_remaining=0,
        number=f"{session['customer'][-12:-4]}-{len(world.things['invoice']):04d}",
        hosted_invoice_url=f"https://invoice.stripe.test/i/{invoice['id']}",
    )
    invoice["status_transitions"].update(finalized_at=world.now(), paid_at=world.now())
    session["invoice"] = invoice["id"]
    world.tell("invoice.paid", invoice)


def expire(world: World, key: str) -> Thing:
    session = world.get("checkout.session", key)
    if session["status"] != "open":
        raise Refused(f"Only open sessions can be expired; this one is {session['status']}.")
    session["status"] = "expired"
    world.tell("checkout.session.expired", session)
    return session


def portal(world: World, params: dict[str, Any]) -> Thing:
    if params.keys() - {"customer", "return_url"}:
        raise Refused("The fake knows portals with a customer and a return_url.")
    world.get("customer", params.get("customer"))
    thing = world.add("billing_portal.session", {**params, "created": world.now()})
    thing["url"] = f"https://billing.stripe.test/p/{thing['id']}"
    return thing

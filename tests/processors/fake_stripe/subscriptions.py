"""Subscriptions that renew by themselves, with Stripe's own prorations for whoever leaves them on."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.processors.fake_stripe import calendar, customers, invoices
from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.world import Thing, World, expect_currency

MOST_ITEMS = 20
LIVE = ("trialing", "active", "past_due", "unpaid")
_CREATES = {
    "customer", "items", "currency", "metadata", "collection_method", "days_until_due", "off_session", "expand",
    "payment_behavior", "proration_behavior", "billing_mode", "billing_cycle_anchor", "billing_cycle_anchor_config",
    "trial_end", "trial_settings", "cancel_at", "cancel_at_period_end", "description",
}  # fmt: skip
_UPDATES = {
    "items", "metadata", "collection_method", "days_until_due", "off_session", "expand", "payment_behavior",
    "proration_behavior", "cancel_at", "cancel_at_period_end", "trial_settings", "description",
}  # fmt: skip


def create(world: World, params: dict[str, Any]) -> Thing:
    if params.keys() - _CREATES:
        raise Refused(f"The fake doesn't know {params.keys() - _CREATES} of subscriptions.")
    customer = world.get("customer", params.get("customer"))
    at = world.now(customer["id"])
    items = [_item(world, customer, wanted, at) for wanted in params.get("items") or []]
    if not items or len(items) > MOST_ITEMS:
        raise Refused(f"A subscription has 1 to {MOST_ITEMS} items.", param="items")
    _expect_matching(items)
    anchor, day, trial_end = _anchor(params, items, at)
    subscription: Thing = {
        "customer": customer["id"],
        "currency": items[0]["price"]["currency"],
        "status": "trialing" if trial_end else "active",
        "billing_cycle_anchor": anchor,
        "billing_mode": {"type": "flexible"},
        "start_date": at,
        "created": at,
        "trial_start": at if trial_end else None,
        "trial_end": trial_end,
        "trial_settings": params.get("trial_settings")
        or {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "ended_at": None,
        "collection_method": params.get("collection_method", "charge_automatically"),
        "days_until_due": params.get("days_until_due"),
        "metadata": params.get("metadata") or {},
        "latest_invoice": None,
        "items": {"object": "list", "data": items, "has_more": False, "url": ""},
        "test_clock": customer.get("test_clock"),
    }
    subscription["_day"] = day
    _expect_terms(subscription)
    made = world.add("subscription", subscription)
    for item in items:
        item["subscription"] = made["id"]
        _first_period(made, item, at)
    _set_end(world, made, params)
    _first_invoice(world, made, params, at)
    world.tell("customer.subscription.created", made)
    return made


def _item(world: World, customer: Thing, wanted: dict[str, Any], at: int) -> Thing:
    unknown = wanted.keys() - {"price_data", "quantity", "metadata", "id"}
    if unknown or "price_data" not in wanted:
        raise Refused(f"The fake knows items with price_data, and not {unknown}.", param="items")
    price = _price(world, customer, wanted["price_data"])
    thing = {
        "price": price,
        "quantity": wanted.get("quantity", 1),
        "metadata": wanted.get("metadata") or {},
        "created": at,
        "current_period_start": at,
        "current_period_end": at,
    }
    return world.add("subscription_item", thing)


def _price(world: World, customer: Thing, data: dict[str, Any]) -> Thing:
    world.get("product", data["product"])
    expect_currency(customer, data["currency"])
    if data.get("unit_amount") is None or data["unit_amount"] < 0:
        raise Refused("price_data needs a unit_amount of 0 or more.", param="price_data[unit_amount]")
    recurring = {
        "interval": data["recurring"]["interval"],
        "interval_count": data["recurring"].get("interval_count", 1),
    }
    longest = {"day": 1095, "week": 156, "month": 36, "year": 3}[recurring["interval"]]
    if not 1 <= recurring["interval_count"] <= longest:
        raise Refused("A billing period lasts three years at most.", param="price_data[recurring][interval_count]")
    return world.add(
        "price",
        {
            "product": data["product"],
            "currency": data["currency"],
            "unit_amount": data["unit_amount"],
            "recurring": recurring,
            "type": "recurring",
        },
    )


def _length(item: Thing) -> tuple[str, int]:
    recurring = item["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _expect_matching(items: list[Thing]) -> None:
    """Intervals of one subscription are multiples of the shortest (flexible billing mode)."""
    months = sorted(_months(item) for item in items)
    if any(length % months[0] for length in months):
        raise Refused("Intervals of one subscription must be multiples of the shortest.", param="items")


def _months(item: Thing) -> Decimal:
    interval, count = _length(item)
    return count * {"day": Decimal("0.01"), "week": Decimal("0.07"), "month": Decimal(1), "year": Decimal(12)}[interval]


def _expect_terms(subscription: Thing) -> None:
    sends = subscription["collection_method"] == "send_invoice"
    if sends != (subscription["days_until_due"] is not None):
        raise Refused("`days_until_due` goes with `send_invoice`, and only with it.", param="days_until_due")


def _anchor(params: dict[str, Any], items: list[Thing], at: int) -> tuple[int, int | None, int | None]:
    """The anchor, the day of the month it asks for, and the end of a trial."""
    config, stamp, trial = (
        params.get(name) for name in ("billing_cycle_anchor_config", "billing_cycle_anchor", "trial_end")
    )
    if sum(value is not None for value in (config, stamp, trial)) > 1:
        raise Refused("billing_cycle_anchor, billing_cycle_anchor_config and trials exclude each other.")
    if trial is not None:
        if not isinstance(trial, int) or trial <= at:
            raise Refused("trial_end must lie in the future.", param="trial_end")
        return trial, None, trial
    shortest = min(items, key=_months)
    interval, count = _length(shortest)
    if config is not None:
        if interval not in ("month", "year"):
            raise Refused("billing_cycle_anchor_config is for monthly and yearly prices.")
        return calendar.next_match(config, at), config["day_of_month"], None
    if stamp is not None:
        if stamp < at:
            raise Refused("billing_cycle_anchor must lie in the future.", param="billing_cycle_anchor")
        if stamp > calendar.period_after(at, None, interval, count, at):
            raise Refused(
                "billing_cycle_anchor cannot be later than next natural billing date", param="billing_cycle_anchor"
            )
        return stamp, None, None
    return at, None, None


def _first_period(subscription: Thing, item: Thing, at: int) -> None:
    interval, count = _length(item)
    item["current_period_start"] = at
    if subscription["billing_cycle_anchor"] > at:
        item["current_period_end"] = subscription["billing_cycle_anchor"]
    else:
        item["current_period_end"] = calendar.period_after(at, subscription["_day"], interval, count, at)


def _first_invoice(world: World, subscription: Thing, params: dict[str, Any], at: int) -> None:
    customer = world.get("customer", subscription["customer"])
    invoice = invoices.draft(
        world,
        customer,
        subscription["currency"],
        billing_reason="subscription_create",
        collection_method=subscription["collection_method"],
        parent=_parent(subscription),
        metadata={},
    )
    waits = subscription["billing_cycle_anchor"] > at
    prorates = params.get("proration_behavior", "create_prorations") != "none"
    for item in subscription["items"]["data"]:
        full = item["price"]["unit_amount"] * item["quantity"]
        amount = full
        if subscription["trial_end"] or (waits and not prorates):
            amount = 0
        elif waits:
            amount = _prorated(item, full, at)
        _line(world, invoice, subscription, item, amount)
    subscription["latest_invoice"] = invoice["id"]
    world.tell("invoice.created", invoice)
    invoices.finalize(world, invoice["id"], auto_advance=True)
    if invoice["status"] == "paid" or subscription["collection_method"] == "send_invoice":
        return
    behavior = params.get("payment_behavior", "allow_incomplete")
    try:
        invoices.pay(world, invoice["id"], off_session=params.get("off_session", False))
    except Refused:
        if behavior == "error_if_incomplete":
            invoice["deleted"] = subscription["deleted"] = True
            raise
        subscription["status"] = "incomplete"


def _line(world: World, invoice: Thing, subscription: Thing, item: Thing, amount: int) -> None:
    invoices.add_line(
        world,
        invoice,
        amount=amount,
        description=f"{item['quantity']} × {world.get('product', item['price']['product'])['name']}",
        period={"start": item["current_period_start"], "end": item["current_period_end"]},
        metadata=dict(item["metadata"]),
        quantity=item["quantity"],
        parent={
            "type": "subscription_item_details",
            "subscription_item_details": {"subscription": subscription["id"], "subscription_item": item["id"]},
        },
    )


def _parent(subscription: Thing) -> Thing:
    return {
        "type": "subscription_details",
        "subscription_details": {"subscription": subscription["id"], "metadata": dict(subscription["metadata"])},
    }


def _prorated(item: Thing, amount: int, at: int) -> int:
    """The rest of the full period that ends where this one does, to the second."""
    interval, count = _length(item)
    end = item["current_period_end"]
    if interval in ("day", "week"):
        start = end - count * {"day": 86_400, "week": 604_800}[interval]
    else:
        start = _months_before(end, count * (12 if interval == "year" else 1))
    return int((Decimal(amount) * (end - at) / (end - start)).to_integral_value(ROUND_HALF_UP))


def _months_before(end: int, months: int) -> int:
    moment = calendar.instant(end)
    year, month = moment.year, moment.month
    for _ in range(months):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    day = min(moment.day, calendar.last_day(year, month))
    return int(moment.replace(year=year, month=month, day=day).timestamp())


def update(world: World, key: str, params: dict[str, Any]) -> Thing:
    subscription = world.get("subscription", key)
    if params.keys() - _UPDATES:
        raise Refused(f"The fake doesn't know {params.keys() - _UPDATES} of changed subscriptions.")
    if subscription["status"] == "canceled":
        raise Refused("A canceled subscription can only update its metadata.", code="resource_missing", status=404)
    at = world.now(subscription["customer"])
    before = [(item, item["price"]["unit_amount"] * item["quantity"]) for item in subscription["items"]["data"]]
    lengths = {_length(item) for item, _ in before}
    was_free = not sum(amount for _, amount in before)
    if "items" in params:
        _change_items(world, subscription, params["items"], at)
    for name in ("collection_method", "days_until_due", "trial_settings"):
        if name in params:
            subscription[name] = params[name]
    if subscription["collection_method"] == "charge_automatically":
        subscription["days_until_due"] = None
    _expect_terms(subscription)
    metadata = {**subscription["metadata"], **(params.get("metadata") or {})}
    subscription["metadata"] = {name: text for name, text in metadata.items() if text}
    _set_end(world, subscription, params)
    after = subscription["items"]["data"]
    is_free = not sum(item["price"]["unit_amount"] * item["quantity"] for item in after)
    trialing = subscription["status"] == "trialing"
    if not trialing and ({_length(item) for item in after} != lengths or (was_free and not is_free)):
        # Documented: such a change starts a new cycle and bills it at once, whatever proration_behavior says.
        subscription["billing_cycle_anchor"], subscription["_day"] = at, None
        for item in after:
            _first_period(subscription, item, at)
        _first_invoice(world, subscription, {"proration_behavior": "none"}, at)
    elif params.get("proration_behavior", "create_prorations") != "none" and not trialing:
        _prorate(world, subscription, before, at)
    world.tell("customer.subscription.updated", subscription)
    return subscription


def _change_items(world: World, subscription: Thing, wanted: list[dict[str, Any]], at: int) -> None:
    customer = world.get("customer", subscription["customer"])
    items = {item["id"]: item for item in subscription["items"]["data"]}
    template = subscription["items"]["data"][0]
    for change in wanted:
        key = change.get("id")
        if key is None:
            item = _item(world, customer, change, at)
            item["subscription"] = subscription["id"]
            item["current_period_start"] = at
            item["current_period_end"] = template["current_period_end"]
            items[item["id"]] = item
        elif key not in items:
            raise Refused(f"The subscription has no item {key}.", param="items[id]")
        elif change.get("deleted"):
            del items[key]
        else:
            item = items[key]
            if "price_data" in change:
                item["price"] = _price(world, customer, change["price_data"])
            item["quantity"] = change.get("quantity", item["quantity"])
            metadata = {**item["metadata"], **(change.get("metadata") or {})}
            item["metadata"] = {name: text for name, text in metadata.items() if text}
    if not items or len(items) > MOST_ITEMS:
        raise Refused(f"A subscription has 1 to {MOST_ITEMS} items.", param="items")
    subscription["items"]["data"] = list(items.values())
    _expect_matching(subscription["items"]["data"])


def _prorate(world: World, subscription: Thing, before: list[tuple[Thing, int]], at: int) -> None:
    after = {item["id"]: item["price"]["unit_amount"] * item["quantity"] for item in subscription["items"]["data"]}
    for item, was in before:
        if after.get(item["id"]) == was:
            continue
        for amount, what in ((-was, "Unused time"), (after.get(item["id"], 0), "Remaining time")):
            if amount:
                invoices.create_item(
                    world,
                    {
                        "customer": subscription["customer"],
                        "subscription": subscription["id"],
                        "amount": _prorated(item, amount, at),
                        "currency": subscription["currency"],
                        "description": what,
                    },
                )


def _set_end(world: World, subscription: Thing, params: dict[str, Any]) -> None:
    at = world.now(subscription["customer"])
    if "cancel_at" in params and "cancel_at_period_end" in params:
        raise Refused("cancel_at and cancel_at_period_end exclude each other.", param="cancel_at")
    if "cancel_at_period_end" in params:
        subscription["cancel_at_period_end"] = params["cancel_at_period_end"]
        end = min(item["current_period_end"] for item in subscription["items"]["data"])
        subscription["cancel_at"] = end if params["cancel_at_period_end"] else None
        subscription["canceled_at"] = at if params["cancel_at_period_end"] else None
    elif "cancel_at" in params:
        wanted = params["cancel_at"] or None
        if wanted is not None and (not isinstance(wanted, int) or wanted <= at):
            raise Refused("cancel_at must lie in the future.", param="cancel_at")
        subscription.update(cancel_at=wanted, cancel_at_period_end=False, canceled_at=at if wanted else None)


def cancel(world: World, key: str, params: dict[str, Any]) -> Thing:
    subscription = world.get("subscription", key)
    if subscription["status"] == "canceled":
        raise Refused(f"No such subscription: '{key}'", status=404, code="resource_missing", param="id")
    if params.get("prorate") or params.get("invoice_now"):
        raise Refused("The fake knows cancellations without invoice and proration.")
    _end(world, subscription, world.now(subscription["customer"]))
    return subscription


def _end(world: World, subscription: Thing, at: int) -> None:
    subscription.update(status="canceled", canceled_at=subscription["canceled_at"] or at, ended_at=at)
    for invoice in world.all("invoice", customer=subscription["customer"]):
        if invoices.subscription_of(invoice) == subscription["id"] and invoice["status"] in ("draft", "open"):
            invoice["auto_advance"], invoice["next_payment_attempt"] = False, None
    world.tell("customer.subscription.deleted", subscription, at=at)


# -- time passes --


def due(world: World, subscription: Thing) -> int | None:
    """When something happens to it by itself."""
    if subscription["status"] not in LIVE:
        return None
    moments = [item["current_period_end"] for item in subscription["items"]["data"]]
    if subscription["cancel_at"]:
        moments.append(subscription["cancel_at"])
    first: int = min(moments)
    return first


def turn(world: World, subscription: Thing, at: int) -> None:
    """The instant has come: it ends, or bills its next period as a draft."""
    if subscription["cancel_at"] and subscription["cancel_at"] <= at:
        _end(world, subscription, at)
        return
    ends_trial = subscription["trial_end"] == at
    without_card = customers.card_of(world, subscription["customer"]) is None
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if ends_trial and without_card and behavior == "cancel":
        _end(world, subscription, at)
        return
    if ends_trial:
        subscription["status"] = "active"
    turned = [item for item in subscription["items"]["data"] if item["current_period_end"] == at]
    for item in turned:
        interval, count = _length(item)
        item["current_period_start"] = at
        item["current_period_end"] = calendar.period_after(
            subscription["billing_cycle_anchor"], subscription["_day"], interval, count, at
        )
    customer = world.get("customer", subscription["customer"])
    invoice = invoices.draft(
        world,
        customer,
        subscription["currency"],
        billing_reason="subscription_cycle",
        collection_method=subscription["collection_method"],
        auto_advance=True,
        parent=_parent(subscription),
        period_start=min(item["created"] for item in turned),
        period_end=at,
    )
    invoice["automatically_finalizes_at"] = at + invoices.HOUR
    if subscription["collection_method"] == "send_invoice":
        invoice["due_date"] = at + subscription["days_until_due"] * 86_400
    for item in turned:
        _line(world, invoice, subscription, item, item["price"]["unit_amount"] * item["quantity"])
    invoices.take_pending(world, invoice, subscription=subscription["id"])
    subscription["latest_invoice"] = invoice["id"]
    world.tell("customer.subscription.updated", subscription, at=at)
    world.tell("invoice.created", invoice, at=at)

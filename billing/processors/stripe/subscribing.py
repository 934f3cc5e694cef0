"""Subscriptions at Stripe: one live one for each scope, put in line with ours without ever prorating or charging.

What Stripe would bill at once when changed in place (another interval, a first price, another anchor) is opened anew,
its cycle counted from the original anchor, and only then is the old one ended. Prices with a longer interval than the
shortest are lines that we add to the renewals they fall due at; on the subscription they stand at 0.
"""

import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from billing.processors.failures import MissingAtProcessor, ProcessorUnavailable
from billing.processors.protocol import ProcessorSubscription, SubscriptionItemState, SubscriptionTerms
from billing.processors.stripe import customers, invoicing
from billing.processors.stripe.client import Client, Found, digest, moment, seconds
from billing.processors.stripe.money import from_minor, to_minor
from plans.intervals import Interval, IntervalUnit

logger = logging.getLogger(__name__)

_UNITS = {
    IntervalUnit.DAY: ("day", 1),
    IntervalUnit.WEEK: ("week", 1),
    IntervalUnit.MONTH: ("month", 1),
    IntervalUnit.QUARTER: ("month", 3),
    IntervalUnit.SEMI_ANNUAL: ("month", 6),
    IntervalUnit.YEAR: ("year", 1),
}
# As long as a billing period may last at Stripe.
_LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}
_ENDED = ("canceled", "incomplete_expired")
_MOST_ITEMS = 20
# Managed by us: everything else of a customer is left alone.
REF = "subledger_ref"


def put(
    client: Client, products: customers.Products, subscription_id: str, terms: SubscriptionTerms, *, key: str
) -> str:
    """Bring a subscription in line; returns its id, which may be another one, or "" when Stripe can't have one."""
    length = _length(terms.interval)
    if length is None:
        return ""
    current = _read(client, subscription_id)
    others: list[Found] = []
    if current is None or not _fits(current, terms, length):
        others = [row for row in _managed(client, terms) if row["id"] != subscription_id]
        found = next((row for row in others if _fits(row, terms, length)), None)
        if current is not None:
            others.append(current)
        current = found
    if current is None:
        made = _create(client, products, terms, length, key=key)
        if not made:
            return ""
        current_id: str = made
    else:
        _update(client, products, current, terms, length, key=key)
        current_id = current["id"]
    for row in others:
        if row["id"] != current_id:
            end(client, row["id"], key=f"{key}-replace-{row['id']}")
    return current_id


def end(client: Client, subscription_id: str, *, key: str) -> None:
    """End it now without credit, drafts of renewals that nobody will fill in along with it."""
    found = _read(client, subscription_id)
    if found is not None:
        params = {"invoice_now": False, "prorate": False}
        try:
            client.call(client.api.v1.subscriptions.cancel, subscription_id, params=params, key=key)
        except MissingAtProcessor:
            logger.info("subscription %s had ended already", subscription_id)
    drafts = {"subscription": subscription_id, "status": "draft"}
    for row in client.each(client.api.v1.invoices.list, params=drafts):
        invoicing.void(client, row["id"], key=f"{key}-{row['id']}")


def shape(found: Found) -> ProcessorSubscription:
    """A subscription in our words."""
    items = found["items"]["data"]
    metadata = found.get("metadata") or {}
    return ProcessorSubscription(
        id=found["id"],
        status="canceled" if found["status"] in _ENDED else found["status"],
        entity_id=metadata.get("entity_id") or None,
        items=[_state(item) for item in items if not (item.get("metadata") or {}).get("carrier")],
        current_period_start=moment(max((item["current_period_start"] for item in items), default=None)),
        current_period_end=moment(min((item["current_period_end"] for item in items), default=None)),
        cancel_at=moment(found.get("cancel_at")),
        ended_at=moment(found.get("ended_at")),
        currency=found["currency"],
        ref=metadata.get(REF, ""),
        customer_id=found["customer"],
        anchor=moment(found["billing_cycle_anchor"]),
        started_at=moment(found["start_date"]),
        sends_invoice=found["collection_method"] == "send_invoice",
    )


def all_of(client: Client, customer_id: str) -> Iterator[Found]:
    """Every subscription of a customer, ended ones too, newest first."""
    return client.each(client.api.v1.subscriptions.list, params={"customer": customer_id, "status": "all"})


def _length(interval: Interval) -> tuple[str, int] | None:
    if interval.unit not in _UNITS:
        return None
    unit, count = _UNITS[interval.unit]
    count *= interval.count
    return (unit, count) if count <= _LONGEST[unit] else None


def _read(client: Client, subscription_id: str) -> Found | None:
    """The subscription, if it lives."""
    if not subscription_id:
        return None
    try:
        found = client.call(client.api.v1.subscriptions.retrieve, subscription_id)
    except MissingAtProcessor:
        return None
    return None if found["status"] in _ENDED else found


def _managed(client: Client, terms: SubscriptionTerms) -> list[Found]:
    """What lives of the scope; more than one only when a process died between two calls."""
    rows = client.each(client.api.v1.subscriptions.list, params={"customer": terms.customer_id})
    return [row for row in rows if (row.get("metadata") or {}).get(REF) == terms.ref and row["status"] not in _ENDED]


def _fits(found: Found, terms: SubscriptionTerms, length: tuple[str, int]) -> bool:
    """Whether it can be changed in place without Stripe billing at once."""
    items = found["items"]["data"]
    metadata = found.get("metadata") or {}
    lengths = {(item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"]) for item in items}
    is_free = not any(item["price"]["unit_amount"] for item in items)
    stays_free = not any(to_minor(_due(item, terms), terms.currency) for item in terms.items)
    return (
        metadata.get("anchor", str(found["billing_cycle_anchor"])) == str(seconds(terms.anchor))
        and lengths == {length}
        and found["currency"] == terms.currency
        and is_free == stays_free
    )


def _create(
    client: Client, products: customers.Products, terms: SubscriptionTerms, length: tuple[str, int], *, key: str
) -> str:
    if terms.period_end <= customers.time_of(client, terms.customer_id):
        return ""  # renewals have to catch up first
    params: Found = {
        "customer": terms.customer_id,
        "items": [_item(products, item, terms, length) for item in _carried(terms)],
        "billing_mode": {"type": "flexible"},
        "proration_behavior": "none",
        "off_session": True,
        "metadata": _metadata(terms),
        **_collection(terms),
    }
    if terms.status == "trialing" and terms.trial_ends_at is not None:
        behavior = "cancel" if terms.ends_without_card else "create_invoice"
        params["trial_end"] = seconds(terms.trial_ends_at)
        params["trial_settings"] = {"end_behavior": {"missing_payment_method": behavior}}
    else:
        params |= _anchor(terms, length)
    if terms.cancel_at is not None:
        params["cancel_at"] = seconds(terms.cancel_at)
    made = client.call(client.api.v1.subscriptions.create, params=params, key=f"{key}-create-{digest(params)}")
    _expect_cycle(client, made, terms, key=key)
    return str(made["id"])


def _anchor(terms: SubscriptionTerms, length: tuple[str, int]) -> Found:
    """The first renewal, with the day of the original anchor: 31 in a February that ends on the 28th."""
    if length[0] in ("day", "week"):
        return {"billing_cycle_anchor": seconds(terms.period_end)}
    anchor = terms.anchor
    config = {
        "month": terms.period_end.month,
        "day_of_month": anchor.day,
        "hour": anchor.hour,
        "minute": anchor.minute,
        "second": anchor.second,
    }
    return {"billing_cycle_anchor_config": config}


def _expect_cycle(client: Client, made: Found, terms: SubscriptionTerms, *, key: str) -> None:
    """Stripe must have understood the cycle as we do; what renews at another time would charge wrongly."""
    ends = {item["current_period_end"] for item in made["items"]["data"]}
    if ends == {seconds(terms.period_end)}:
        return
    end(client, made["id"], key=f"{key}-wrong-cycle")
    raise ProcessorUnavailable(
        f"Stripe would renew at {sorted(ends)} instead of {seconds(terms.period_end)}. It was taken back; tell support."
    )


def _update(
    client: Client,
    products: customers.Products,
    current: Found,
    terms: SubscriptionTerms,
    length: tuple[str, int],
    *,
    key: str,
) -> None:
    params: Found = {}
    items = _changes(products, current, terms, length)
    if items:
        params["items"] = items
    if (current.get("metadata") or {}) | _metadata(terms) != (current.get("metadata") or {}):
        params["metadata"] = _metadata(terms)
    params |= _end_change(current, terms)
    collection = _collection(terms)
    if any(current.get(name) != value for name, value in collection.items()):
        params |= collection
    if not params:
        return
    if "items" in params:
        params |= {"proration_behavior": "none"}
    step = f"{key}-update-{digest([current['id'], params])}"
    client.call(client.api.v1.subscriptions.update, current["id"], params=params, key=step)


def _end_change(current: Found, terms: SubscriptionTerms) -> Found:
    wanted = seconds(terms.cancel_at) if terms.cancel_at is not None else None
    if current.get("cancel_at") == wanted:
        return {}
    if wanted is None:
        return {"cancel_at_period_end": False} if current.get("cancel_at_period_end") else {"cancel_at": ""}
    ends = min(item["current_period_end"] for item in current["items"]["data"])
    return {"cancel_at_period_end": True} if ends == wanted else {"cancel_at": wanted}


def _changes(
    products: customers.Products, current: Found, terms: SubscriptionTerms, length: tuple[str, int]
) -> list[Found]:
    there = list(current["items"]["data"])
    changes: list[Found] = []
    for item in _carried(terms):
        wanted = _item(products, item, terms, length)
        metadata = wanted["metadata"]
        same = next((row for row in there if _names(row.get("metadata") or {}) == _names(metadata)), None)
        if same is None:
            changes.append(wanted)
            continue
        there.remove(same)
        if same["price"]["unit_amount"] != wanted["price_data"]["unit_amount"] or same.get("metadata") != metadata:
            changes.append({**wanted, "id": same["id"]})
    return [*changes, *({"id": row["id"], "deleted": True} for row in there)]


def _names(metadata: Found) -> tuple[Any, ...]:
    return metadata.get("plan_id"), metadata.get("feature_id"), metadata.get("interval")


def _carried(terms: SubscriptionTerms) -> list[SubscriptionItemState]:
    """The items; a plan that is billed by use alone needs one at 0, so that there are renewals to bill it with."""
    if terms.items:
        return folded(terms)
    return [SubscriptionItemState(terms.name or "usage", "", Decimal(0), Decimal(0), terms.interval, "Usage")]


def folded(terms: SubscriptionTerms) -> list[SubscriptionItemState]:
    """The items, of which Stripe takes 20: those beyond are one at their sum. The renewal's invoice says them all."""
    items = list(terms.items)
    if len(items) <= _MOST_ITEMS:
        return items
    rest = items[_MOST_ITEMS - 1 :]
    due = sum((_due(item, terms) for item in rest), Decimal(0))
    more = f"+{len(rest)}"
    folded_one = SubscriptionItemState(rest[0].plan_id, more, Decimal(1), due, terms.interval, f"{more} more")
    return [*items[: _MOST_ITEMS - 1], folded_one]


def _due(item: SubscriptionItemState, terms: SubscriptionTerms) -> Decimal:
    return item.amount if item.interval in (None, terms.interval) else Decimal(0)


def _item(
    products: customers.Products, item: SubscriptionItemState, terms: SubscriptionTerms, length: tuple[str, int]
) -> Found:
    product = products.ensure({item.plan_id: item.name})[item.plan_id]
    interval = item.interval or terms.interval
    metadata = {
        "plan_id": item.plan_id,
        "quantity": f"{item.quantity.normalize():f}",
        "amount": f"{item.amount.normalize():f}",
        "interval": f"{interval.count} {interval.unit}",
    }
    if item.feature_id:
        metadata["feature_id"] = item.feature_id
    elif item.feature_id == "":
        metadata["carrier"] = "1"
    return {
        "price_data": {
            "product": product,
            "currency": terms.currency,
            "unit_amount": to_minor(_due(item, terms), terms.currency),
            "recurring": {"interval": length[0], "interval_count": length[1]},
        },
        "quantity": 1,
        "metadata": metadata,
    }


def _state(item: Found) -> SubscriptionItemState:
    metadata = item.get("metadata") or {}
    price = item["price"]
    amount = from_minor((price["unit_amount"] or 0) * item.get("quantity", 1), price["currency"])
    return SubscriptionItemState(
        plan_id=metadata.get("plan_id") or str(price["product"]),
        feature_id=metadata.get("feature_id"),
        quantity=Decimal(metadata.get("quantity") or item.get("quantity", 1)),
        amount=Decimal(metadata["amount"]) if "amount" in metadata else amount,
    )


def _metadata(terms: SubscriptionTerms) -> dict[str, str]:
    metadata = {REF: terms.ref, "anchor": str(seconds(terms.anchor))}
    return metadata | ({"entity_id": terms.entity_id[:500]} if terms.entity_id else {})


def _collection(terms: SubscriptionTerms) -> Found:
    if not terms.sends_invoice:
        return {"collection_method": "charge_automatically"}
    days = terms.net_terms_days if terms.net_terms_days is not None else invoicing.DEFAULT_TERMS_DAYS
    return {"collection_method": "send_invoice", "days_until_due": days}

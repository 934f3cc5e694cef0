"""How previews look on the wire: what is due now, what comes with the next cycle, and what changes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing import discounting, proration
from billing.models import Discount, Subscription, SubscriptionItem
from billing.outcomes import NextCycle, Outcome
from billing.processors import get_processor
from billing.proration import Holding, Line
from billing.services import invoices, multiple
from billing.services.due import forecasting
from config.api import milliseconds
from entities.models import Customer
from entities.subject import Subject

ZERO = Decimal(0)


def attach(subject: Subject, outcome: Outcome) -> dict[str, Any]:
    """What an attachment would do."""
    return {
        **_preview(subject, outcome),
        "redirect_to_checkout": outcome.checkout is not None,
        "checkout_type": outcome.checkout,
    }


def update(subject: Subject, outcome: Outcome) -> dict[str, Any]:
    """What an update would do."""
    return {**_preview(subject, outcome), "intent": outcome.intent}


def multi_update(subject: Subject, parts: Sequence[multiple.Part]) -> dict[str, Any]:
    """What several updates would do, for each subscription at the processor; free plans have none."""
    paid = [part for part in parts if any(row.is_paid for row in part.rows)]
    return {
        "customer_id": subject.customer_id,
        "currency": invoices.currency_of(subject.customer),
        "total": sum((part.outcome.total for part in paid), ZERO),
        "subscriptions": [
            {**_preview(subject, part.outcome), "plan_ids": [row.plan.slug for row in part.rows]} for part in paid
        ],
    }


def invoice_previews(customer: Customer, *, at: datetime) -> list[dict[str, Any]]:
    """The next invoice of each subscription at the processor."""
    currency = invoices.currency_of(customer)
    return [
        {
            "plan_ids": list(dict.fromkeys(line.subscription.plan.slug for line in outcome.lines)),
            "invoice_at": milliseconds(group.boundary),
            "currency": currency,
            "subtotal": discounting.subtotal(outcome.lines),
            "total": outcome.total,
            "line_items": line_items(outcome.lines),
        }
        for group, outcome in forecasting.invoice_previews(customer, currency=currency)
        if outcome.leaves_invoice or outcome.lines
    ]


def line_items(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The lines; a discount is shown in the line above it, which it lowers."""
    shown: list[dict[str, Any]] = []
    for line in lines:
        if line.discount is None:
            shown.append(_line_item(line))
            continue
        lowered = shown[-1]
        lowered["total"] += line.amount
        lowered["discounts"].append(_taken_off(line.discount, -line.amount))
    return shown


def _line_item(line: Line) -> dict[str, Any]:
    period = line.period
    return {
        "display_name": line.display_name,
        "description": line.description,
        "subtotal": line.amount,
        "total": line.amount,
        "discounts": [],
        "plan_id": line.subscription.plan.slug,
        "feature_id": line.item.feature.slug if line.item and line.item.license_plan_id is None else None,
        "period": {"start": milliseconds(period.start), "end": milliseconds(period.end)} if period else None,
        "quantity": line.quantity,
    }


def _preview(subject: Subject, outcome: Outcome) -> dict[str, Any]:
    customer_id = subject.customer.processor_id
    credit = get_processor().credit(customer_id, outcome.currency) if customer_id else ZERO
    return {
        "customer_id": subject.customer_id,
        "line_items": line_items(outcome.lines),
        "subtotal": discounting.subtotal(outcome.lines),
        "total": outcome.total,
        "currency": outcome.currency,
        "next_cycle": _next_cycle(outcome.next_cycle) if outcome.next_cycle else None,
        "expand": [],
        "incoming": _incoming(outcome),
        "outgoing": _outgoing(outcome),
        "tax": None,
        "invoice_credits": {"balance": credit, "currency": outcome.currency},
        "fingerprint": outcome.fingerprint or None,
    }


def _next_cycle(cycle: NextCycle) -> dict[str, Any]:
    total = proration.total(cycle.lines)
    return {
        "starts_at": milliseconds(cycle.starts_at),
        "subtotal": discounting.subtotal(cycle.lines),
        "total": total,
        "line_items": line_items(cycle.lines),
        "usage_line_items": [_usage_item(holding, item, cycle.starts_at) for holding, item in cycle.usage],
    }


def _usage_item(holding: Holding, item: SubscriptionItem, end: datetime) -> dict[str, Any]:
    start = holding.subscription.current_period_start or holding.subscription.started_at
    return {
        "display_name": item.feature.name,
        "plan_id": holding.subscription.plan.slug,
        "feature_id": item.feature.slug,
        "period": {"start": milliseconds(start), "end": milliseconds(end)},
    }


def _incoming(outcome: Outcome) -> list[dict[str, Any]]:
    holdings = [*(start.holding for start in outcome.starts), *outcome.schedules]
    shown = [_change(holding.subscription, holding.items, None) for holding in holdings]
    for change, holding in zip(shown, holdings, strict=True):
        if holding.subscription.status == Subscription.Status.SCHEDULED:
            change["effective_at"] = milliseconds(holding.subscription.started_at)
        change["expires_at"] = milliseconds(holding.subscription.ends_at)
    changed = {quantity.item.subscription_id: quantity for quantity in outcome.quantities}
    for change_of in changed.values():
        row = change_of.item.subscription
        quantities = {q.item.pk: q.quantity for q in outcome.quantities}
        items = [item for item in row.items.all() if item.is_prepaid]
        entry = _change(row, [], row.current_period_end if change_of.at_renewal else None)
        entry |= _quantities(items, quantities)
        shown.append(entry)
    shown += [
        _change(cancellation.subscription, list(cancellation.subscription.items.all()), None)
        for cancellation in outcome.cancellations
        if cancellation.ends_at is None
    ]
    return shown


def _outgoing(outcome: Outcome) -> list[dict[str, Any]]:
    shown = []
    for row in [*(end.subscription for end in outcome.ends), *outcome.pauses]:
        change = _change(row, list(row.items.all()), outcome.at)
        if not outcome.starts:
            change["canceled_at"] = change["expires_at"] = milliseconds(outcome.at)
        shown.append(change)
    for cancellation in outcome.cancellations:
        if cancellation.ends_at is not None:
            row = cancellation.subscription
            change = _change(row, list(row.items.all()), cancellation.ends_at)
            change["canceled_at"] = milliseconds(outcome.at)
            change["expires_at"] = milliseconds(cancellation.ends_at)
            shown.append(change)
    shown += [_change(row, list(row.items.all()), outcome.at) for row in outcome.deletes]
    return shown


def _change(row: Subscription, items: Sequence[SubscriptionItem], effective_at: datetime | None) -> dict[str, Any]:
    return {
        "plan_id": row.plan.slug,
        "plan": None,
        **_quantities(items, {}),
        "effective_at": milliseconds(effective_at),
        "canceled_at": None,
        "expires_at": None,
    }


def _quantities(items: Sequence[SubscriptionItem], changed: Mapping[int, Decimal]) -> dict[str, Any]:
    """How many units and licences are bought in all, with `changed` ones by item."""
    bought = [(item, changed.get(item.pk, item.quantity)) for item in items if item.is_prepaid]
    return {
        "feature_quantities": [
            {"feature_id": item.feature.slug, "quantity": quantity}
            for item, quantity in bought
            if item.license_plan is None
        ],
        "license_quantities": [
            {"license_plan_id": item.license_plan.slug, "quantity": quantity}
            for item, quantity in bought
            if item.license_plan is not None
        ],
    }


def _taken_off(row: Discount, amount: Decimal) -> dict[str, Any]:
    is_percentage = row.type == Discount.Type.PERCENTAGE
    return {
        "amount_off": amount,
        "percent_off": row.value if is_percentage else None,
        "reward_id": row.reward_slug,
        "reward_name": row.name,
    }

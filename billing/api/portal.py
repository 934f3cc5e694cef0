"""What a customer's portal shows: plans by holder, discounts, invoices, each as texts."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.formats import date_format

from billing.models import Discount, Invoice, Subscription
from billing.services import invoices
from entities.models import Customer
from plans import wording

MOST_INVOICES = 50
Status = Subscription.Status


@dataclass(frozen=True, slots=True)
class Held:
    """A plan with its price, its state and what happens to it next."""

    plan: Subscription
    price: str
    state: str
    state_name: str
    when: str


@dataclass(slots=True)
class Holder:
    """The account as a whole, or one entity."""

    name: str
    plans: list[Held] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A discount: what it takes off, for whom, until when."""

    name: str
    what: str
    whose: str
    until: str


def shown(customer: Customer, *, at: datetime) -> dict[str, Any]:
    """Everything but the card."""
    newest = list(Invoice.objects.filter(customer=customer).shown().select_related("entity")[: MOST_INVOICES + 1])
    due = Invoice.objects.filter(customer=customer).payable().order_by("created_at", "pk")
    return {
        "holders": _holders(customer, at),
        "discounts": _discounts(customer, at),
        "invoices": newest[:MOST_INVOICES],
        "has_more": len(newest) > MOST_INVOICES,
        "due": list(due),
    }


def _holders(customer: Customer, at: datetime) -> list[Holder]:
    rows = Subscription.objects.filter(customer=customer, entity__deleted_at=None).current_or_scheduled()
    currency = invoices.currency_of(customer)
    holders: dict[int, Holder] = {}
    for row in rows.select_related("plan", "entity").order_by("entity__pk", "started_at", "pk"):
        holder = holders.setdefault(row.entity_id or 0, Holder(str(row.entity) if row.entity else "Whole account"))
        holder.plans.append(_held(row, at, currency))
    return [holders[key] for key in sorted(holders)]


def _held(row: Subscription, at: datetime, currency: str) -> Held:
    state, name = _state(row, at)
    price = (
        " ".join(wording.base_price(row, currency)) if row.price_amount else "Priced by use" if row.is_paid else "Free"
    )
    return Held(row, price if row.quantity == 1 else f"{row.quantity} × {price}", state, name, _when(row, at))


def _state(row: Subscription, at: datetime) -> tuple[str, str]:
    if row.status == Status.PAST_DUE:
        return "past_due", "Payment due"
    if row.status == Status.SCHEDULED:
        return "scheduled", "Scheduled"
    return "active", "Trial" if row.is_trialing(at) else "Active"


def _when(row: Subscription, at: datetime) -> str:
    if row.status == Status.SCHEDULED:
        return f"starts {_day(row.started_at)}"
    if row.ends_at is not None:
        return f"ends {_day(row.ends_at)}"
    if row.trial_ends_at is not None and row.is_trialing(at):
        return f"trial until {_day(row.trial_ends_at)}"
    if row.current_period_end is not None and row.is_paid:
        return f"renews {_day(row.current_period_end)}"
    return f"since {_day(row.started_at)}"


def _discounts(customer: Customer, at: datetime) -> list[Lowered]:
    currency = invoices.currency_of(customer)
    rows = Discount.objects.filter(customer=customer).running(at).select_related("entity")
    return [Lowered(row.name, row.takes_off(currency), _whose(row), _until(row)) for row in rows]


def _whose(row: Discount) -> str:
    if row.entity is not None:
        return str(row.entity)
    return "Everything" if row.covers_entities else "Whole account"


def _until(row: Discount) -> str:
    if row.duration == Discount.Duration.ONE_OFF:
        return "on the next invoice"
    return f"until {_day(row.ends_at)}" if row.ends_at is not None else "for as long as the plan is held"


def _day(moment: datetime) -> str:
    return date_format(moment, "j F Y")

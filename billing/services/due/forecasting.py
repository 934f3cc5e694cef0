"""The invoices to come, as far as they can be told now."""

from datetime import datetime

from billing.models import Subscription
from billing.outcomes import Outcome
from billing.services.due import cycles
from billing.services.due.cycles import Group
from billing.services.plan_changes import holdings, reverting
from entities.models import Customer


def invoice_previews(customer: Customer, *, currency: str) -> list[tuple[Group, Outcome]]:
    """The next invoice of each of the customer's processor subscriptions, as it would be if nothing more was used."""
    rows = list(holdings.rows(customer).filter(is_paid=True, current_period_end__isnull=False).live())
    moving = {_shared(row): row for row in rows if _moves_first(row)}
    previews = [_moved(row, row.new_anchor_at, currency) for row in moving.values() if row.new_anchor_at is not None]
    renewing: dict[datetime, list[Subscription]] = {}
    for row in rows:
        end = row.current_period_end
        if end is not None and _shared(row) not in moving and not reverting.gives_way(row, end):
            renewing.setdefault(end, []).append(row)
    for end, due in renewing.items():
        groups = cycles.groups(due, end)
        previews += [(group, cycles.renewal(group, currency=currency, is_forecast=True)) for group in groups]
    return sorted(previews, key=lambda preview: preview[0].boundary)


def _moves_first(row: Subscription) -> bool:
    """Whether its cycles are counted anew before the one that runs is over."""
    moment, end = row.new_anchor_at, row.current_period_end
    return moment is not None and end is not None and moment < end and row.ends_at is None


def _shared(row: Subscription) -> tuple[int, int]:
    return row.entity_id or 0, row.pk if row.has_own_cycle else 0


def _moved(row: Subscription, at: datetime, currency: str) -> tuple[Group, Outcome]:
    group = Group(row.customer, row.entity, [row], at)
    return group, cycles.moved(row, at=at, currency=currency)

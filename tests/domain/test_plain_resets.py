"""Resets in one statement do what the pure rules say, and what the general way does."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Balance, LedgerEntry, Overage, Subscription, SubscriptionItem
from billing.services.balances import ledger, plain_resets, resets
from config.actor import Actor
from entities.models import Customer
from plans.intervals import Interval, IntervalUnit, boundary
from plans.models import Feature, Plan
from tests.effort import tries

ACTOR = Actor("reset_balances")
OPENED = datetime(2020, 1, 1, tzinfo=UTC)

instants = st.integers(0, 3 * 365 * 24 * 60).map(
    lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
month_ends = st.sampled_from([datetime(2024, 1, 31, 23, 59, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)])
amounts = st.decimals(0, 20, places=2)
# The plan's state, and whether it refills while past due.
states = st.sampled_from([("active", False), ("past_due", False), ("past_due", True)])


@st.composite
def due_balances(draw: st.DrawFn) -> dict[str, Any]:
    anchor = draw(instants | month_ends)
    unit = draw(st.sampled_from([u for u in IntervalUnit if u not in (IntervalUnit.ONE_OFF, IntervalUnit.MINUTE)]))
    interval = Interval(unit, draw(st.integers(1, 4)))
    due_at = boundary(anchor, interval, draw(st.integers(0, 3)))
    return {
        "reset_anchor": anchor,
        "reset_interval": unit.value,
        "reset_interval_count": interval.count,
        "next_reset_at": due_at,
        "expires_at": draw(st.sampled_from([None, None, due_at, due_at + timedelta(days=45)])),
        "included": draw(amounts),
        "prepaid": draw(st.sampled_from([Decimal(0), Decimal(5)])),
        "granted": draw(amounts),
        "usage": draw(amounts),
        "expired": draw(st.sampled_from([Decimal(0), Decimal(1)])),
        "held": draw(st.sampled_from([Decimal(0), Decimal(0), Decimal(1)])),
        "rolls_over": draw(st.sampled_from([False, False, False, True])),
        "allows_overage": draw(st.booleans()),
        "is_prepaid": draw(st.sampled_from([False, False, True])),
    }


@pytest.mark.django_db
@settings(max_examples=tries(25, 500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(due_balances(), min_size=1, max_size=12), at=instants, state=states)
def test_the_statement_resets_as_the_general_way_does(
    found: list[dict[str, Any]], at: datetime, state: tuple[str, bool]
) -> None:
    with transaction.atomic():
        customer = build(found, *state)
        by_statement = outcome(customer, at)
        with patch.object(plain_resets, "reset", return_value=0):
            by_rules = outcome(customer, at)
        transaction.set_rollback(True)
    assert by_statement == by_rules


@pytest.mark.django_db
def test_a_plain_balance_is_reset_by_the_statement_and_only_once() -> None:
    due_at = datetime(2026, 3, 31, tzinfo=UTC)
    customer = build(
        [
            {
                "reset_anchor": datetime(2026, 1, 31, tzinfo=UTC),
                "reset_interval": "month",
                "next_reset_at": due_at,
                "included": Decimal(10),
                "granted": Decimal(10),
                "usage": Decimal(4),
            }
        ]
    )
    at = datetime(2026, 5, 2, tzinfo=UTC)
    assert plain_resets.reset(at=at, actor=ACTOR, limit=10, customer_pk=customer.pk) == 1
    assert plain_resets.reset(at=at, actor=ACTOR, limit=10, customer_pk=customer.pk) == 0
    assert Balance.objects.get().next_reset_at == datetime(2026, 5, 31, tzinfo=UTC)
    assert LedgerEntry.objects.get(kind="reset").boundary_at == datetime(2026, 4, 30, tzinfo=UTC)


def build(found: list[dict[str, Any]], status: str = "active", ignore_past_due: bool = False) -> Customer:
    feature = Feature.objects.create(slug="messages", name="Messages", consumable=True, created_at=OPENED)
    plan = Plan.objects.create(slug="team", name="Team", ignore_past_due=ignore_past_due, created_at=OPENED)
    customer = Customer.objects.create(external_id="acme", created_at=OPENED)
    subscription = Subscription.objects.create(
        public_id="sub", customer=customer, plan=plan, status=status, started_at=OPENED, created_at=OPENED
    )
    item = SubscriptionItem.objects.create(subscription=subscription, feature=feature)
    shared: dict[str, Any] = {"customer": customer, "feature": feature, "level": "pool", "created_at": OPENED}
    rows = [Balance(**shared, subscription=subscription, item=item, **fields) for fields in found]
    ledger.open_balances(rows, at=OPENED, actor=ACTOR)
    return customer


def outcome(customer: Customer, at: datetime) -> Any:
    """What a reset leaves behind, without the keys of what it adds; nothing stays."""
    with transaction.atomic():
        while resets.reset_due(at=at, actor=ACTOR, customer_pk=customer.pk):
            pass
        rows = [{**row, "id": 0} for row in Balance.objects.order_by("rolled_over_from", "pk").values()]
        entries = LedgerEntry.objects.exclude(kind="grant").values_list(
            "balance__rolled_over_from", "kind", "at", "granted", "usage", "held", "expired", "boundary_at", "reason"
        )
        reset = sorted(LedgerEntry.objects.filter(kind="reset").values_list("balance", "boundary_at"))
        overages = sorted(Overage.objects.values_list("balance", "item", "boundary_at", "quantity"))
        left = (rows, sorted(map(str, entries)), reset, overages)
        transaction.set_rollback(True)
    return left

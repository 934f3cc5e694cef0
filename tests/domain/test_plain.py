"""The track in one statement does what the rules would, or nothing at all."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.api import balance_shapes
from billing.deduction import OverageBehavior
from billing.errors import SeatsAreBilled
from billing.models import Balance, LedgerEntry, UsageEvent, WebhookMessage
from billing.services.balances import ledger, metering, plain
from billing.services.balances.metering import Usage
from billing.services.webhooks import endpoints
from billing.services.webhooks.endpoints import Terms
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer, Entity
from plans.models import CreditCost, Feature
from tests.effort import tries

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1)
ACTOR = Actor("key:test", "request-1")


@pytest.fixture(autouse=True)
def _nothing_declined() -> None:
    """Each case is tried, whatever the one before was."""
    plain._declined.clear()


small = st.decimals(0, 9, places=1)
rarely = st.sampled_from([False, False, False, True])
some_time = st.sampled_from([None, None, LATER, LATER, EARLIER])


@st.composite
def balance_fields(draw: st.DrawFn) -> dict[str, Any]:
    level = draw(st.sampled_from(["pool", "pool", "slice", "own"]))
    next_reset_at = draw(some_time)
    return {
        "level": level,
        "holder": None if level == "pool" else draw(st.sampled_from(["alice", "alice", "bob"])),
        "granted": draw(small),
        "usage": draw(small),
        "held": Decimal(2) if draw(rarely) else Decimal(0),
        "expired": Decimal(1) if draw(rarely) else Decimal(0),
        "unlimited": draw(rarely),
        "allows_overage": draw(rarely),
        "bills_at_once": draw(rarely),
        "next_reset_at": next_reset_at,
        "reset_interval": "month" if next_reset_at else "",
        "reset_anchor": next_reset_at,
        "expires_at": draw(some_time),
        "ended_at": EARLIER if draw(rarely) else None,
    }


situations = st.fixed_dictionaries(
    {
        "balances": st.lists(balance_fields(), max_size=3),
        "of_credits": st.lists(balance_fields(), max_size=1),
        "consumable": st.booleans(),
        "covered_by_credits": rarely,
        "disable_pooled_balance": rarely,
        "customer_controls": st.sampled_from(
            [{}, {}, {"overage_allowed": [{"feature_id": "messages", "enabled": True}]}]
        ),
        "entity_controls": st.sampled_from(
            [{}, {}, {"overage_allowed": [{"feature_id": "messages", "enabled": True}]}]
        ),
        "clock_at": st.sampled_from([None, LATER + timedelta(days=1)]),
        "listens": st.booleans(),
    }
)
usages = st.builds(
    Usage,
    customer_id=st.just("acme"),
    feature=st.sampled_from(["messages", "messages", "messages", "nothing"]),
    value=st.decimals(-2, 5, places=1),
    entity_id=st.sampled_from(["alice", "alice", None, "nobody"]),
    behavior=st.sampled_from(OverageBehavior),
    properties=st.sampled_from([{}, {"model": "x"}]),
    event_name=st.sampled_from(["", "sent"]),
    timestamp=st.sampled_from([None, EARLIER, LATER]),
)


@pytest.mark.django_db
@settings(max_examples=tries(100, 2000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(situation=situations, usage=usages)
def test_the_one_statement_does_what_the_rules_do(situation: dict[str, Any], usage: Usage) -> None:
    plain._declined.clear()
    with transaction.atomic():
        build(situation)
        by_statement = outcome(usage)
        with patch.object(plain, "track", return_value=None):
            by_rules = outcome(usage)
        transaction.set_rollback(True)
    assert by_statement == by_rules


@pytest.mark.django_db
@pytest.mark.parametrize("entity", ["alice", None])
@pytest.mark.parametrize("unlimited", [False, True])
def test_one_balance_with_enough_left_is_plain(entity: str | None, unlimited: bool) -> None:
    build({"balances": [pool(granted=Decimal(5), unlimited=unlimited)]})
    assert tracked_plainly(entity, Decimal(5))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"granted": Decimal(4)},
        {"held": Decimal(1)},
        {"next_reset_at": EARLIER, "reset_interval": "month", "reset_anchor": EARLIER},
        {"ended_at": EARLIER},
        {"expires_at": EARLIER},
    ],
)
def test_what_the_rules_have_a_say_in_is_not_plain(change: dict[str, Any]) -> None:
    build({"balances": [pool(granted=Decimal(5)) | change]})
    assert not tracked_plainly("alice", Decimal(5))


@pytest.mark.django_db
def test_two_balances_are_not_plain() -> None:
    build({"balances": [pool(granted=Decimal(9)), pool(granted=Decimal(9))]})
    assert not tracked_plainly("alice", Decimal(5))


@pytest.mark.django_db
@pytest.mark.parametrize(("listens", "leaves", "is_plain"), [(True, "0.9", False), (True, 1, True), (False, 0, True)])
def test_what_leaves_less_than_one_is_not_plain_where_an_application_is_told_of_limits(
    listens: bool, leaves: Any, is_plain: bool
) -> None:
    build({"balances": [pool(granted=Decimal(5) + Decimal(leaves))], "listens": listens})
    assert tracked_plainly("alice", Decimal(5)) == is_plain


def pool(**fields: Any) -> dict[str, Any]:
    return {"level": "pool", "holder": None, **fields}


def tracked_plainly(entity: str | None, value: Decimal) -> bool:
    done = plain.track(
        customer_id="acme",
        entity_id=entity,
        feature="messages",
        value=value,
        properties={},
        event_name="",
        happened=None,
        wall=NOW,
        actor=ACTOR,
    )
    return done is not None


def build(situation: dict[str, Any]) -> None:
    messages = Feature.objects.create(
        slug="messages", name="Messages", consumable=situation.get("consumable", True), created_at=EARLIER
    )
    if situation.get("listens"):
        endpoints.create("app", Terms("https://app.example/"), at=EARLIER)
    seats = Feature.objects.create(slug="seats", name="Seats", created_at=EARLIER)
    credit_system = Feature.objects.create(slug="credits", name="Credits", type="credit_system", created_at=EARLIER)
    if situation.get("covered_by_credits"):
        CreditCost.objects.create(credit_system=credit_system, metered_feature=messages, cost=Decimal(2))
    acme = Customer.objects.create(
        external_id="acme",
        created_at=EARLIER,
        disable_pooled_balance=situation.get("disable_pooled_balance", False),
        billing_controls=situation.get("customer_controls", {}),
        clock_at=situation.get("clock_at"),
    )
    holders = {
        name: Entity.objects.create(
            customer=acme,
            external_id=name,
            feature=seats,
            created_at=EARLIER,
            billing_controls=situation.get("entity_controls", {}),
        )
        for name in ("alice", "bob")
    }
    rows = []
    for feature, found in ((messages, situation["balances"]), (credit_system, situation.get("of_credits", []))):
        for fields in found:
            holder = holders.get(fields["holder"])
            values = {name: value for name, value in fields.items() if name != "holder"}
            rows.append(Balance(customer=acme, entity=holder, feature=feature, created_at=EARLIER, **values))
    ledger.open_balances(rows, at=EARLIER, actor=ACTOR)


def outcome(usage: Usage) -> Any:
    """What a track answers and leaves behind, without the keys of what it adds; nothing stays."""
    with transaction.atomic():
        before = LedgerEntry.objects.count()
        answer: Any
        try:
            with transaction.atomic():
                answer = balance_shapes.track(metering.track(usage, wall=NOW, actor=ACTOR))
        except (DomainError, SeatsAreBilled) as problem:
            answer = (type(problem), str(problem))
        rows = list(Balance.objects.order_by("pk").values())
        added = [
            *LedgerEntry.objects.order_by("pk").values_list(
                "balance", "customer_id", "entity_id", "kind", "at", "granted", "usage", "held", "expired",
                "boundary_at", "actor", "request_id", "reason",
            )[before:]
        ]  # fmt: skip
        events = [
            *UsageEvent.objects.values_list(
                "customer", "entity", "feature", "event_name", "value", "properties", "at", "recorded_at", "hold_id",
                "actor", "request_id",
            )
        ]  # fmt: skip
        linked = Counter(LedgerEntry.objects.order_by("pk").values_list("event_id", flat=True)[before:])
        told = sorted(WebhookMessage.objects.values_list("body", flat=True))
        transaction.set_rollback(True)
    return answer, rows, added, events, sorted(linked.values()), told

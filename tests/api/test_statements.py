"""How many statements a call takes, whatever the number of entities: the promise behind its speed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import Balance, Subscription, SubscriptionItem
from billing.services.balances import ledger, provisioning
from config.actor import Actor
from entities.models import Customer, Entity
from plans.models import Feature, Plan
from tests.client import Api

OPENED = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR = Actor("test")
MANY = 300


def team(members: int, customer_id: str = "acme") -> Customer:
    """A customer with so many seats, each with messages of its own, and a shared pool of requests."""
    seats, _ = Feature.objects.get_or_create(slug="seats", defaults={"name": "Seats", "created_at": OPENED})
    features = [
        Feature.objects.get_or_create(
            slug=slug, defaults={"name": slug.title(), "consumable": True, "created_at": OPENED}
        )[0]
        for slug in ("messages", "requests")
    ]
    plan, _ = Plan.objects.get_or_create(slug="team", defaults={"name": "Team", "created_at": OPENED})
    customer = Customer.objects.create(external_id=customer_id, created_at=OPENED)
    Entity.objects.bulk_create(
        Entity(customer=customer, external_id=f"member_{n}", feature=seats, created_at=OPENED) for n in range(members)
    )
    subscription = Subscription.objects.create(
        public_id=f"sub_{customer_id}",
        customer=customer,
        plan=plan,
        status=Subscription.Status.ACTIVE,
        started_at=OPENED,
        created_at=OPENED,
    )
    messages, requests = features
    SubscriptionItem.objects.create(
        subscription=subscription, feature=messages, entity_feature=seats, included=10, position=0
    )
    SubscriptionItem.objects.create(subscription=subscription, feature=requests, included=1000, position=1)
    provisioning.start(subscription=subscription, at=OPENED, actor=ACTOR)
    return customer


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """The block sends no more statements than that, and at least one."""
    with CaptureQueriesContext(connection) as sent:
        yield
    said = "\n".join(query["sql"][:200] for query in sent.captured_queries)
    assert 1 <= len(sent) <= count, said


@pytest.mark.parametrize("members", [2, MANY])
@pytest.mark.parametrize(
    ("call", "entity", "feature", "most"),
    [
        ("check", "member_1", "messages", 1),
        ("check", "member_1", "requests", 1),
        ("check", None, "messages", 1),
        ("check", None, "requests", 1),
        ("track", "member_1", "messages", 1),
        ("track", "member_1", "requests", 1),
        ("track", None, "requests", 1),
        ("track", None, "messages", 5),  # spans what the entities hold: lock, write, and the new totals
    ],
)
def test_a_check_or_track_takes_a_fixed_number_of_statements(
    api: Api, members: int, call: str, entity: str | None, feature: str, most: int
) -> None:
    team(members)
    body = {"customer_id": "acme", "entity_id": entity, "feature_id": feature}
    api.post(f"balances.{call}", **body)
    with at_most(most):
        api.post(f"balances.{call}", **body)


def test_a_deduction_that_spans_rows_takes_no_more_than_five(api: Api) -> None:
    customer = team(2)
    extra = Balance(
        customer=customer,
        entity=customer.entities.get(external_id="member_1"),
        feature=Feature.objects.get(slug="messages"),
        level=Balance.Level.OWN,
        included=5,
        granted=5,
        created_at=OPENED,
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )
    ledger.open_balances([extra], at=OPENED, actor=ACTOR)
    body = {"customer_id": "acme", "entity_id": "member_1", "feature_id": "messages", "value": 4}
    api.post("balances.track", **body)
    with at_most(5):
        answer = api.post("balances.track", **body)
    assert len(answer["deductions"]) == 2


@pytest.mark.parametrize("call", ["customers.get", "customers.list", "entities.list"])
def test_lists_take_the_same_statements_for_few_and_many(api: Api, call: str) -> None:
    def statements() -> int:
        body = {"customer_id": "acme"} if call != "customers.list" else {}
        api.post(call, **body)
        with CaptureQueriesContext(connection) as sent:
            api.post(call, **body)
        return len(sent)

    team(1)
    few = statements()
    for number in range(5):
        team(3, f"other_{number}")
    Entity.objects.bulk_create(
        Entity(
            customer=Customer.objects.get(external_id="acme"),
            external_id=f"later_{n}",
            feature=Feature.objects.get(slug="seats"),
            created_at=OPENED,
        )
        for n in range(40)
    )
    assert statements() == few

"""The customers that the bench asks about, and what it asks."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import orjson
from django.db import connection, transaction

from billing.models import Subscription, SubscriptionItem
from billing.services.balances import provisioning
from config.actor import Actor
from entities.models import Customer, Entity
from plans.models import Feature, Plan, PlanItem

BENCH = Actor("bench")
PLENTY = Decimal(10**15)
SCATTERED, MEMBERS = 1_000, 10
POOLED = 1_000
WIDE = 10_000


@dataclass(frozen=True, slots=True)
class Shape:
    """Which balances are asked for: `pairs` of customer and entity (None: the customer), all of one feature."""

    name: str
    feature: str
    pairs: list[tuple[str, str | None]]
    pooled: bool = False

    def bodies(self, seed: int) -> Iterator[bytes]:
        """Bodies for check and track alike, in an order that depends on the seed only."""
        chosen = random.Random(seed)
        while True:
            customer, entity = chosen.choice(self.pairs)
            yield orjson.dumps({"customer_id": customer, "entity_id": entity, "feature_id": self.feature})


SHAPES = [
    Shape(
        "scattered, 1 000 × 10",
        "messages",
        [(f"scattered_{c}", f"member_{e}") for c in range(SCATTERED) for e in range(MEMBERS)],
    ),
    Shape("one hot entity", "messages", [("hot", "member_0")]),
    Shape("one pool, 1 000 entities", "requests", [("pool", f"member_{e}") for e in range(POOLED)], pooled=True),
    Shape("one customer, 10 000 entities", "messages", [("wide", f"member_{e}") for e in range(WIDE)]),
]


def fill(*, at: datetime) -> None:
    """Load an empty database with the catalogue and the customers of all shapes."""
    seats = Feature.objects.create(slug="seats", name="Seats", created_at=at)
    messages = Feature.objects.create(slug="messages", name="Messages", consumable=True, created_at=at)
    requests = Feature.objects.create(slug="requests", name="Requests", consumable=True, created_at=at)
    team = Plan.objects.create(slug="team", name="Team", created_at=at)
    PlanItem.objects.create(plan=team, feature=messages, entity_feature=seats, included=PLENTY, reset_interval="month")
    shared = Plan.objects.create(slug="shared", name="Shared", created_at=at)
    PlanItem.objects.create(plan=shared, feature=requests, included=PLENTY, reset_interval="month")

    for number in range(SCATTERED):
        _customer(f"scattered_{number}", MEMBERS, team, seats, at=at)
    _customer("hot", 1, team, seats, at=at)
    _customer("narrow", 10, team, seats, at=at)
    _customer("wide", WIDE, team, seats, at=at)
    _customer("pool", POOLED, shared, seats, at=at)
    with connection.cursor() as cursor:
        # For the bare contestant: the same rows and indexes without our triggers.
        cursor.execute("CREATE TABLE bare_balance (LIKE billing_balance INCLUDING ALL)")
        cursor.execute("INSERT INTO bare_balance SELECT * FROM billing_balance")


def _customer(customer_id: str, members: int, plan: Plan, seats: Feature, *, at: datetime) -> Customer:
    customer = Customer.objects.create(external_id=customer_id, created_at=at)
    Entity.objects.bulk_create(
        Entity(customer=customer, external_id=f"member_{n}", feature=seats, created_at=at) for n in range(members)
    )
    subscription = Subscription.objects.create(
        public_id=f"sub_{customer_id}",
        customer=customer,
        plan=plan,
        status=Subscription.Status.ACTIVE,
        started_at=at - timedelta(days=1),
        billing_cycle_anchor=at - timedelta(days=1),
        created_at=at,
    )
    for item in plan.items.all():
        SubscriptionItem.objects.create(subscription=subscription, **item.terms())
    with transaction.atomic():
        provisioning.start(subscription=subscription, at=at, actor=BENCH)
    return customer

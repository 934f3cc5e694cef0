"""The two seed stories as staff find them, and a member of staff who clicks."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client

from billing.models import Balance, Subscription
from billing.services import customers, seats, subscriptions
from billing.services.balances import metering
from billing.services.balances.metering import Usage
from billing.services.collection import payments
from billing.services.customers import Details
from billing.services.due import clock as clocks
from billing.services.plan_changes.requests import Attach
from config import clock
from config.actor import Actor
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.api import in_use
from plans.catalog import push
from plans.catalog.push import FeatureWish, PlanWish, Wishes
from plans.catalog.specs import ItemSpec
from plans.models import Feature

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
TESTS = Actor("tests")


@dataclass(frozen=True, slots=True)
class Staff:
    """Somebody logged in to the admin."""

    client: Client

    def get(self, url: str, *, status: int = 200) -> str:
        """The page's text."""
        response = self.client.get(url)
        assert response.status_code == status, f"{url}: {response.status_code}"
        return unescape(response.content.decode())

    def post(self, url: str, /, *, status: int = 200, **fields: Any) -> str:
        """The answer's text."""
        response = self.client.post(url, fields)
        assert response.status_code == status, f"{url}: {response.status_code} {response.content[:3000]!r}"
        return unescape(response.content.decode())

    def preview(self, url: str, **fields: Any) -> "Seen":
        """What an action says would happen."""
        text = self.post(url, **fields) if fields else self.get(url)
        # The last one: a message above may carry the button that undoes what was done before.
        found = re.findall(r'name="fingerprint" value="(\w+)"', text)
        assert found, text
        return Seen(text, found[-1])

    def act(self, url: str, *, reason: str = "Because", **fields: Any) -> "Seen":
        """See what would happen, then do it."""
        seen = self.preview(url, **fields)
        asked = {"confirm": "1", "reason": reason, "fingerprint": seen.fingerprint}
        response = self.client.post(url, {**asked, **fields})
        assert response.status_code == 302, f"{url}: {response.status_code} {response.content[:3000]!r}"
        return replace(seen, page_after=response["Location"])


@dataclass(frozen=True, slots=True)
class Seen:
    """A preview."""

    text: str
    fingerprint: str
    page_after: str = ""


def catalogue() -> None:
    """Features and plans of both stories."""
    features = [
        FeatureWish("seats", {"name": "Seats", "consumable": False}),
        FeatureWish("summaries", {"name": "Meeting Summaries", "consumable": True}),
        FeatureWish("workspaces", {"name": "Workspaces", "consumable": False}),
        FeatureWish("requests", {"name": "API Requests", "consumable": True}),
    ]
    seat = ItemSpec(
        "seats",
        included=Decimal(1),
        price_amount=Decimal(30),
        price_interval="month",
        billing_method="usage_based",
        on_increase="prorate_immediately",
        on_decrease="prorate",
    )
    summaries = ItemSpec("summaries", entity_feature="seats", included=Decimal(50), reset_interval="month")
    monthly = {"price_interval": "month", "price_amount": Decimal(30)}
    plans = [
        PlanWish("team", {"name": "Team", **monthly, "items": (seat, summaries)}),
        _tier("workspace_free", "Workspace Free", None, 100),
        _tier("workspace_pro", "Workspace Pro", Decimal(20), 10_000),
    ]
    push.push(wishes=Wishes(features=features, plans=plans), holdings=in_use, at=NOVEMBER)


def _tier(slug: str, name: str, price: Decimal | None, included: int) -> PlanWish:
    item = ItemSpec("requests", included=Decimal(included), reset_interval="month")
    paid = {"price_amount": price, "price_interval": "month"} if price is not None else {}
    return PlanWish(slug, {"name": name, "group": "workspace", "items": (item,), **paid})


def customer(customer_id: str = "acme", name: str = "Acme", *, at: datetime = NOVEMBER) -> Customer:
    """A customer with a card that pays and a clock of its own."""
    made = customers.get_or_create(
        customer_id=customer_id, details=Details({"name": name, "email": f"{customer_id}@example.com"}), at=at,
        actor=TESTS,
    )  # fmt: skip
    clocks.set(customer=made, at=at, actor=TESTS)
    payments.set_card(made, "success")
    made.refresh_from_db()
    return made


def member_of(customer: Customer, entity_id: str, feature: str, name: str = "") -> Entity:
    """A seat or workspace."""
    customer.refresh_from_db()
    return seats.create_entity(
        customer=customer,
        entity_id=entity_id,
        feature=Feature.objects.get(slug=feature),
        name=name or entity_id.title(),
        billing_controls={},
        at=customer.now(clock.now()),
        actor=TESTS,
    )


def attach(subject: Subject, plan: str) -> None:
    """A plan for a customer or entity."""
    subject.customer.refresh_from_db()
    at = subject.customer.now(clock.now())
    subscriptions.attach(subject=subject, request=Attach(plan=plan), at=at, actor=TESTS)


def use(customer: Customer, entity_id: str, feature: str, value: int) -> None:
    """So much is used."""
    usage = Usage(customer.external_id, feature, Decimal(value), entity_id)
    metering.track(usage, wall=clock.now(), actor=TESTS)


def team() -> Customer:
    """Acme on Team with Alice and Bob; Alice has used up her summaries."""
    catalogue()
    acme = customer()
    attach(Subject(acme), "team")
    member_of(acme, "alice", "seats")
    member_of(acme, "bob", "seats")
    use(acme, "alice", "summaries", 50)
    return acme


def workspaces() -> Customer:
    """Globex with workspace A on Free and B on Pro."""
    if not Feature.objects.exists():
        catalogue()
    globex = customer("globex", "Globex")
    for name, plan in (("workspace_a", "workspace_free"), ("workspace_b", "workspace_pro")):
        attach(Subject(globex, member_of(globex, name, "workspaces")), plan)
    return globex


def entity(customer: Customer, entity_id: str) -> Entity:
    """A live entity of the customer."""
    return Entity.objects.live().get(customer=customer, external_id=entity_id)


def balance(customer: Customer, entity_id: str) -> Balance:
    """The live balance of an entity, which has one."""
    return Balance.objects.get(customer=customer, entity__external_id=entity_id, ended_at=None)


def plan_of(customer: Customer, entity_id: str | None = None) -> Subscription:
    """The live plan of a customer or entity."""
    rows = Subscription.objects.live().filter(customer=customer)
    return rows.get(entity__external_id=entity_id) if entity_id else rows.get(entity=None)


def permissions() -> list[str]:
    """The code names of all that staff may be allowed to do."""
    return list(Permission.objects.filter(codename__startswith="can_").values_list("codename", flat=True))

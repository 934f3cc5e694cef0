from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand

from billing.services import customers, subscriptions
from billing.services.balances import metering
from billing.services.balances.metering import Usage
from billing.services.collection.payments import set_card
from billing.services.customers import Details
from billing.services.due import clock as clocks
from billing.services.plan_changes.requests import Attach
from billing.services.seats import create_entity
from config import clock
from config.actor import Actor
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.api import in_use
from plans.catalog import push
from plans.catalog.push import FeatureWish, PlanWish, Wishes
from plans.catalog.specs import ItemSpec
from plans.models import Feature

DEMO = Actor("load_demo")

FEATURES = [
    FeatureWish("seats", {"name": "Seats", "consumable": False, "display_singular": "seat", "display_plural": "seats"}),
    FeatureWish("summaries", {"name": "Meeting Summaries", "consumable": True, "display_plural": "summaries"}),
    FeatureWish(
        "workspaces",
        {"name": "Workspaces", "consumable": False, "display_singular": "workspace", "display_plural": "workspaces"},
    ),
    FeatureWish("requests", {"name": "API Requests", "consumable": True, "display_plural": "requests"}),
]

TEAM = PlanWish(
    "team",
    {
        "name": "Team",
        "price_amount": Decimal(30),
        "price_interval": "month",
        "items": (
            ItemSpec(
                "seats",
                included=Decimal(1),
                price_amount=Decimal(30),
                price_interval="month",
                billing_method="usage_based",
            ),
            ItemSpec("summaries", entity_feature="seats", included=Decimal(50), reset_interval="month"),
        ),
    },
)
FREE = PlanWish(
    "workspace_free",
    {
        "name": "Workspace Free",
        "group": "workspace",
        "items": (ItemSpec("requests", included=Decimal(100), reset_interval="month"),),
    },
)
PRO = PlanWish(
    "workspace_pro",
    {
        "name": "Workspace Pro",
        "group": "workspace",
        "price_amount": Decimal(20),
        "price_interval": "month",
        "items": (ItemSpec("requests", included=Decimal(10_000), reset_interval="month"),),
    },
)

# Customer, name, members or workspaces with what they have used, in the order of their creation.
TEAMS = [
    ("acme", "Acme", [("alice", 50), ("bob", 12), ("carol", 31), ("dave", 0), ("erin", 48)]),
    ("initech", "Initech", [("peter", 7), ("samir", 22)]),
]
WORKSPACES = [
    ("globex", "Globex", [("workspace_a", "workspace_free", 60), ("workspace_b", "workspace_pro", 4_200)]),
    (
        "hooli",
        "Hooli",
        [("search", "workspace_pro", 9_100), ("mail", "workspace_pro", 150), ("lab", "workspace_free", 3)],
    ),
]
# A team whose clock was turned: three months of invoices and a plan that has been renewed.
VETERAN = ("umbrella", "Umbrella", [("ada", 5), ("grace", 20)])


class Command(BaseCommand):
    """Load both stories' catalogue and a few customers with seats, workspaces and usage; run again, it adds nothing."""

    help = "Load the demo's catalogue and customers; what is there already stays."

    def handle(self, *args: Any, **options: Any) -> None:
        at = clock.now()
        if not Feature.objects.exists():
            push.push(wishes=Wishes(features=FEATURES, plans=[TEAM, FREE, PRO]), holdings=in_use, at=at)
        for customer_id, name, members in TEAMS:
            self._load(_team, customer_id, name, members)
        for customer_id, name, workspaces in WORKSPACES:
            self._load(_workspaces, customer_id, name, workspaces)
        self._load(_veteran, *VETERAN)

    def _load(self, build: Any, customer_id: str, name: str, below: list[Any]) -> None:
        if Customer.objects.live().filter(external_id=customer_id).exists():
            return
        self.stdout.write(f"Loading {name} …")
        build(_customer(customer_id, name), below)


def _customer(customer_id: str, name: str) -> Customer:
    fields = {"name": name, "email": f"billing@{customer_id}.example"}
    customer = customers.get_or_create(customer_id=customer_id, details=Details(fields), at=clock.now(), actor=DEMO)
    set_card(customer, "success")
    customer.refresh_from_db()
    return customer


def _team(customer: Customer, members: list[tuple[str, int]]) -> None:
    _attach(Subject(customer), "team")
    for member, used in members:
        _entity(customer, member, "seats")
        _use(customer, member, "summaries", used)


def _workspaces(customer: Customer, workspaces: list[tuple[str, str, int]]) -> None:
    for workspace, plan, used in workspaces:
        entity = _entity(customer, workspace, "workspaces")
        _attach(Subject(customer, entity), plan)
        _use(customer, workspace, "requests", used)


def _veteran(customer: Customer, members: list[tuple[str, int]]) -> None:
    now = clock.now()
    start = datetime(now.year, now.month, 1, tzinfo=UTC) - timedelta(days=75)
    clocks.set(customer=customer, at=start, actor=DEMO)
    customer.refresh_from_db()
    _team(customer, members)
    clocks.set(customer=customer, at=start + timedelta(days=80), actor=DEMO)
    for member, used in members:
        _use(customer, member, "summaries", used)


def _attach(subject: Subject, plan: str) -> None:
    subject.customer.refresh_from_db()
    subscriptions.attach(subject=subject, request=Attach(plan=plan), at=subject.customer.now(clock.now()), actor=DEMO)


def _entity(customer: Customer, entity_id: str, feature: str) -> Entity:
    return create_entity(
        customer=customer,
        entity_id=entity_id,
        feature=Feature.objects.get(slug=feature),
        name=entity_id.replace("_", " ").title(),
        billing_controls={},
        at=customer.now(clock.now()),
        actor=DEMO,
    )


def _use(customer: Customer, entity_id: str, feature: str, value: int) -> None:
    if value:
        usage = Usage(customer.external_id, feature, Decimal(value), entity_id)
        metering.track(usage, wall=clock.now(), actor=DEMO)

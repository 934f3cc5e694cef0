"""Entities: the list, and the page of one seat, user, workspace or project."""

from datetime import UTC, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from unfold.decorators import display

from billing.admin import balances, charts, timeline, verdicts
from billing.admin.actions import base, outcomes
from billing.admin.bars import bars
from billing.models import Balance, Subscription, UsageEvent
from billing.services import invoices
from billing.services.due import cycles
from config import clock
from config.admin import Exported, Paged, ReadOnlyAdmin
from entities.admin.customers import ways
from entities.models import Entity
from entities.subject import Subject
from plans.models import Feature

ACTIONS = ("grant", "attach-plan", "set-limit", "rename", "remove-seat")
MOST_VERDICTS = 6


@admin.register(Entity)
class EntityAdmin(ReadOnlyAdmin, Exported, Paged):
    """Seats, users, workspaces, projects; added on their customer's page."""

    page_template = "entities/entity.html"
    when_empty = "Applications make them with entities.create. To add them by hand, open their customer."
    actions = ("export",)
    exported = ("customer__external_id", "external_id", "name", "feature__slug", "created_at", "deleted_at")
    list_display = ("called", "external_id", "customer_link", "kind", "created_at", "status")
    list_display_links = ("called", "external_id")
    list_select_related = ("customer", "feature")
    list_filter = (("deleted_at", admin.EmptyFieldListFilter), "feature")
    search_fields = ("external_id", "name", "=customer__external_id")
    search_help_text = "Entity id or name, or the exact id of a customer"
    ordering = ("-id",)

    @display(description="Name", ordering="name")
    def called(self, entity: Entity) -> str:
        """Without a name, its id."""
        return str(entity)

    @display(description="What", ordering="feature")
    def kind(self, entity: Entity) -> str:
        """One of the feature, where that has a word for one."""
        return entity.feature.display_singular or str(entity.feature)

    @display(description="Customer", ordering="customer__external_id")
    def customer_link(self, entity: Entity) -> str:
        """Whose it is."""
        return str(entity.customer)

    @display(description="Status", label={"Live": "success", "Removed": "warning"})
    def status(self, entity: Entity) -> str:
        """Is it there?"""
        return "Live" if entity.deleted_at is None else "Removed"

    def page(self, request: HttpRequest, entity: Entity) -> dict[str, Any]:
        """Everything about one entity."""
        return page(request, entity)


def page(request: HttpRequest, entity: Entity) -> dict[str, Any]:
    """What the entity's page shows."""
    customer = entity.customer
    wall = clock.now()
    at = customer.now(wall)
    mine = Balance.objects.filter(entity=entity).select_related("feature", "subscription__plan")
    live = [row for row in mine.filter(ended_at=None).order_by("feature__name", "pk") if not _is_over(row, at)]
    pools = (
        Balance.objects.live(at)
        .filter(customer=customer, level=Balance.Level.POOL)
        .select_related("feature", "subscription__plan")
    )
    shared = [row for row in pools.order_by("feature__name", "pk") if not row.feature.is_allocated]
    held = Subscription.objects.filter(entity=entity).select_related("plan", "customer", "entity")
    rows = list(held.current_or_scheduled().order_by("is_add_on", "pk"))
    features = {row.feature_id: row.feature for row in [*live, *shared] if not row.feature.is_allocated}
    subject, need = Subject(customer, entity), _needed(request.GET.get("need", ""))
    plans = {row.pk: row.subscription.plan.name for row in [*live, *shared] if row.subscription is not None}
    shown = list(features.values())[:MOST_VERDICTS] if entity.deleted_at is None else []
    return {
        "entity": entity,
        "customer": customer,
        "at": at,
        "buttons": base.buttons(request.user, customer, *ACTIONS, entity=entity) if entity.deleted_at is None else [],
        "held": [(row, ways(request, row)) for row in rows],
        "balances": [
            (row, bars([row])[0], base.buttons(request.user, customer, *balances.ways(row), balance=row))
            for row in live
        ],
        "pools": bars(shared),
        "need": need,
        "verdicts": [verdicts.of(subject, feature, wall=wall, plans=plans, required=need) for feature in shown],
        "ended": mine.exclude(ended_at=None).order_by("-ended_at")[:5],
        "charts": _charts(entity, at, shown),
        "bills": _next_invoices(entity, rows),
        "timeline": timeline.of(entity),
    }


def _needed(text: str) -> Decimal:
    """How many `check` is asked about; 1 for what is no sensible number."""
    try:
        need = Decimal(text.replace(",", "")[:20])
    except InvalidOperation:
        return Decimal(1)
    return need if need.is_finite() and 0 <= need < 10**12 else Decimal(1)


def _is_over(row: Balance, at: Any) -> bool:
    return row.expires_at is not None and row.expires_at <= at


def _charts(entity: Entity, at: Any, features: list[Feature]) -> list[charts.Chart]:
    since = (at - timedelta(days=29)).replace(hour=0, minute=0, second=0, microsecond=0)
    events: QuerySet[Any] = UsageEvent.objects.filter(entity=entity, at__gte=since, feature__in=features)
    sums = events.annotate(day=TruncDate("at", tzinfo=UTC)).values_list("feature_id", "day").annotate(sum=Sum("value"))
    found: dict[int, dict[Any, Any]] = {}
    for feature_id, day, total in sums.order_by():
        found.setdefault(feature_id, {})[day] = total
    return [
        charts.days(f"{feature}, used per day", found[feature.pk], until=at.date())
        for feature in features
        if feature.pk in found
    ]


def _next_invoices(entity: Entity, rows: list[Subscription]) -> list[base.Bill]:
    """The invoice to come for its own plans."""
    due = [
        row for row in rows if row.is_paid and row.current_period_end and row.status != Subscription.Status.SCHEDULED
    ]
    currency = invoices.currency_of(entity.customer)
    found = []
    for boundary in sorted({row.current_period_end for row in due if row.current_period_end is not None}):
        for group in cycles.groups([row for row in due if row.current_period_end == boundary], boundary):
            outcome = cycles.renewal(group, currency=currency, is_forecast=True)
            found.append(outcomes.bill(f"On {outcomes.date(boundary)}", outcome.lines, currency))
    return found

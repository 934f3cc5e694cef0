"""How customers and entities look on the wire, for one or for a page of them with a bounded number of queries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings

from billing.api import balance_shapes, billing_shapes, license_views, preview_shapes
from billing.models import Invoice, Subscription
from billing.services import licenses
from billing.services.balances import counters, metering
from billing.services.balances.sources import SourceFeature, Sources
from config.api import milliseconds
from entities.errors import CustomerNotFound, EntityNotFound
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.api import shapes as plan_shapes
from plans.models import Feature, Plan

MOST_ENTITIES = 300
MOST_INVOICES = 500
EXPANDABLE = ("invoices", "invoice_previews", "entities", "trials_used", "rewards", "referrals", "payment_method")


def customer(customer: Customer, *, wall: datetime, expand: Sequence[str] = ()) -> dict[str, Any]:
    """A customer with its plans (its entities' too), balances and flags; `expand` adds what costs more."""
    shown = customers([customer], wall=wall, expand=expand)
    if not shown:
        raise CustomerNotFound(customer.external_id)  # Deleted since it was found.
    return shown[0]


def customers(page: Sequence[Customer], *, wall: datetime, expand: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A page of customers, with as many queries as for one unless `expand` asks for more."""
    found = {one.scope.customer_pk: one for one in metering.find_many(customers=[c.pk for c in page], wall=wall)}
    held, pools = _subscriptions_by(page), licenses.pools(page)
    return [
        _customer(one, found[one.pk], held.get(one.pk, []), pools.get(one.pk, []), expand)
        for one in page
        if one.pk in found
    ]


def entity(subject: Subject, *, wall: datetime, expand: Sequence[str] = ()) -> dict[str, Any]:
    """An entity with its own plans first, then the customer's, and all it can draw on."""
    shown = entities([subject], wall=wall, expand=expand)
    if not shown:
        raise EntityNotFound(subject.member.external_id)  # Deleted since it was found.
    return shown[0]


def entities(page: Sequence[Subject], *, wall: datetime, expand: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A page of entities, with as many queries as for one."""
    pks = [subject.member.pk for subject in page]
    found = {one.scope.entity_pk: one for one in metering.find_many(entities=pks, wall=wall)}
    held = _subscriptions_by([subject.customer for subject in page])
    return [
        _entity(subject, found[subject.entity.pk], held.get(subject.customer.pk, []), expand)
        for subject in page
        if subject.entity is not None and subject.entity.pk in found
    ]


def _customer(
    customer: Customer,
    found: Sources,
    held: Sequence[Subscription],
    pools: Sequence[licenses.Pool],
    expand: Sequence[str],
) -> dict[str, Any]:
    at = found.scope.at
    shown = {
        "id": customer.external_id,
        "name": customer.name or None,
        "email": customer.email or None,
        "created_at": milliseconds(customer.created_at),
        "fingerprint": customer.fingerprint or None,
        "stripe_id": customer.processor_id or None,
        "env": settings.ENVIRONMENT,
        "metadata": customer.metadata,
        "send_email_receipts": customer.send_email_receipts,
        "currency": customer.currency or None,
        "billing_controls": _controls(customer.billing_controls, customer=customer, entity=None, at=at),
        **_holdings(held, found, at, expand),
        "licenses": [license_views.pool(one) for one in pools],
        "config": {
            "disable_pooled_balance": customer.disable_pooled_balance,
            "disable_overage_billing": customer.disable_overage_billing,
        },
        "processors": {
            "stripe": {"id": customer.processor_id} if customer.processor_id else None,
            "vercel": None,
            "revenuecat": None,
        },
    }
    return {**shown, **dict.fromkeys(EXPANDABLE), **_expanded(customer, at, expand)}


def _entity(subject: Subject, found: Sources, held: Sequence[Subscription], expand: Sequence[str]) -> dict[str, Any]:
    member, at = subject.member, found.scope.at
    own = [row for row in held if row.entity_id == member.pk]
    inherited = [row for row in held if row.entity_id is None]
    return {
        "id": member.external_id,
        "name": member.name or None,
        "customer_id": subject.customer_id,
        "feature_id": member.feature.slug,
        "created_at": milliseconds(member.created_at),
        "env": settings.ENVIRONMENT,
        **_holdings([*own, *inherited], found, at, expand),
        "billing_controls": _controls(member.billing_controls, customer=subject.customer, entity=member, at=at),
        "invoices": _invoices(Invoice.objects.filter(entity=member)) if "invoices" in expand else [],
    }


def legacy_entity(subject: Subject, *, wall: datetime) -> dict[str, Any]:
    """An entity as the 1.x generation knows it."""
    member = subject.member
    found = metering.find(customer_id=subject.customer_id, entity_id=subject.entity_id, feature=None, wall=wall)
    return {
        "id": member.external_id,
        "name": member.name or member.external_id,
        "customer_id": subject.customer_id,
        "feature_id": member.feature.slug,
        "created_at": milliseconds(member.created_at),
        "env": settings.ENVIRONMENT,
        "products": [
            _legacy_product(row)
            for row in _subscriptions_by([subject.customer]).get(subject.customer.pk, [])
            if row.entity_id in (None, member.pk)
        ],
        "features": _legacy_features(found),
    }


def legacy_customer(customer: Customer, *, wall: datetime) -> dict[str, Any]:
    """A customer as the 1.x generation knows it."""
    found = metering.find(customer_id=customer.external_id, entity_id=None, feature=None, wall=wall)
    return {
        "id": customer.external_id,
        "name": customer.name or None,
        "email": customer.email or None,
        "created_at": milliseconds(customer.created_at),
        "fingerprint": customer.fingerprint or None,
        "stripe_id": customer.processor_id or None,
        "env": settings.ENVIRONMENT,
        "metadata": customer.metadata,
        "products": [_legacy_product(row) for row in _subscriptions_by([customer]).get(customer.pk, [])],
        "features": _legacy_features(found),
    }


def _holdings(held: Sequence[Subscription], found: Sources, at: datetime, expand: Sequence[str]) -> dict[str, Any]:
    plans = _plans(held) if "subscriptions.plan" in expand or "purchases.plan" in expand else {}
    return {
        "subscriptions": [
            _with_plan(billing_shapes.subscription(row, at=at), row, plans) for row in held if not row.is_one_off
        ],
        "purchases": [_with_plan(billing_shapes.purchase(row), row, plans) for row in held if row.is_one_off],
        "balances": _with_features(balance_shapes.balances(found), "balances.feature" in expand),
        "flags": _with_features(balance_shapes.flags(found), "flags.feature" in expand),
    }


def _with_features(shown: dict[str, Any], is_expanded: bool) -> dict[str, Any]:
    """Balances or flags by feature; expanded, each with its whole feature."""
    if is_expanded:
        for row in Feature.objects.with_credit_costs().filter(slug__in=shown):
            shown[row.slug]["feature"] = plan_shapes.feature(row)
    return shown


def _subscriptions_by(page: Sequence[Customer]) -> dict[int, list[Subscription]]:
    """What the customers and their live entities hold or will hold, oldest first, by customer."""
    rows = (
        Subscription.objects.current_or_scheduled()
        .filter(customer__in=page, entity__deleted_at=None)
        .select_related("plan", "entity")
        .order_by("started_at", "pk")
    )
    held: dict[int, list[Subscription]] = {}
    for row in rows:
        held.setdefault(row.customer_id, []).append(row)
    return held


def _plans(rows: Sequence[Subscription]) -> dict[int, dict[str, Any]]:
    return {
        plan.pk: plan_shapes.plan(plan) for plan in Plan.objects.filter(pk__in={r.plan_id for r in rows}).with_items()
    }


def _with_plan(shown: dict[str, Any], row: Subscription, plans: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    return {**shown, "plan": plans[row.plan_id]} if plans else shown


def _controls(stored: dict[str, Any], *, customer: Customer, entity: Entity | None, at: datetime) -> dict[str, Any]:
    used: list[Decimal | None] = [*counters.shown(stored, customer=customer, entity=entity, at=at)]
    return plan_shapes.billing_controls(stored, used)


def _expanded(customer: Customer, at: datetime, expand: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if "invoices" in expand:
        shown["invoices"] = _invoices(Invoice.objects.filter(customer=customer))
    if "invoice_previews" in expand:
        shown["invoice_previews"] = preview_shapes.invoice_previews(customer, at=at)
    if "entities" in expand:
        members = customer.entities.live().oldest_first().select_related("feature")[:MOST_ENTITIES]
        shown["entities"] = [
            {
                "id": member.external_id,
                "name": member.name or None,
                "customer_id": customer.external_id,
                "feature_id": member.feature.slug,
                "created_at": milliseconds(member.created_at),
                "env": settings.ENVIRONMENT,
            }
            for member in members
        ]
    if "trials_used" in expand:
        had = Subscription.objects.filter(customer=customer, trial_ends_at__isnull=False).select_related("plan")
        shown["trials_used"] = [
            {"plan_id": row.plan.slug, "customer_id": customer.external_id, "fingerprint": customer.fingerprint or None}
            for row in had
        ]
    if "rewards" in expand:
        shown["rewards"] = {"discounts": billing_shapes.discounts(customer, at=at)}
    if "referrals" in expand:
        shown["referrals"] = []
    if "payment_method" in expand:
        shown["payment_method"] = billing_shapes.payment_method(customer)
    return shown


def _invoices(rows: Any) -> list[dict[str, Any]]:
    newest = rows.exclude(status=Invoice.Status.DRAFT).shown().prefetch_related("lines__plan")
    return [billing_shapes.invoice(invoice) for invoice in newest[:MOST_INVOICES]]


def _legacy_product(row: Subscription) -> dict[str, Any]:
    return {
        "id": row.plan.slug,
        "name": row.plan.name,
        "group": row.group or None,
        "status": row.status,
        "started_at": milliseconds(row.started_at),
        "canceled_at": milliseconds(row.canceled_at),
        "is_default": row.auto_enabled,
        "is_add_on": row.is_add_on,
        "version": row.plan.version,
        "current_period_start": milliseconds(row.current_period_start),
        "current_period_end": milliseconds(row.current_period_end),
        "quantity": row.quantity,
        "items": [],
    }


def _legacy_features(found: Sources) -> dict[str, Any]:
    shown = balance_shapes.balances(found)
    return {f.slug: _legacy_feature(f, shown[f.slug]) for f in found.features if f.slug in shown}


def _legacy_feature(feature: SourceFeature, shown: Mapping[str, Any]) -> dict[str, Any]:
    reset = next((row["reset"] for row in shown["breakdown"] if row["reset"]), None)
    return {
        "id": feature.slug,
        "type": "continuous_use" if feature.is_allocated else "single_use",
        "name": feature.slug,
        "interval": reset["interval"] if reset else None,
        "interval_count": reset["interval_count"] if reset else None,
        "unlimited": shown["unlimited"],
        "balance": shown["remaining"],
        "usage": shown["usage"],
        "included_usage": shown["granted"],
        "next_reset_at": shown["next_reset_at"],
        "overage_allowed": shown["overage_allowed"],
    }

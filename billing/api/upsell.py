"""What a refused check can offer: the plans that would grant the feature (`with_preview`)."""

from decimal import Decimal
from typing import Any

from django.conf import settings

from billing import changes
from billing.services.balances.deciding import Verdict
from config.api import milliseconds
from entities.subject import Subject
from plans import wording
from plans.api import eligibility
from plans.api import shapes as plan_shapes
from plans.models import Feature, Plan, PlanItem

MOST_PLANS = 20
# Every item has all of these, null where they say nothing of it.
_ITEM_KEYS = (
    "type", "feature_id", "feature_type", "included_usage", "interval", "interval_count", "price", "tiers",
    "tier_behavior", "usage_model", "billing_units", "reset_usage_when_enabled", "entity_feature_id", "display",
    "quantity", "next_cycle_quantity", "config",
)  # fmt: skip


def preview(verdict: Verdict) -> dict[str, Any]:
    """Why the check was refused in a sentence for people, and the plans that grant the feature."""
    feature = Feature.objects.get(pk=verdict.found.feature.id)
    is_flag = feature.type == Feature.Type.BOOLEAN
    granting = Plan.objects.live().filter(items__feature=feature).distinct().with_items()
    plans = list(granting.order_by("slug")[:MOST_PLANS])
    scope = verdict.found.scope
    eligible = eligibility.of(plans, Subject.get(scope.customer_id, scope.entity_id), at=scope.at)
    return {
        "scenario": "feature_flag" if is_flag or verdict.decided_on is None else "usage_limit",
        "title": feature.name if is_flag else f"{feature.name} used up",
        "message": (
            f"{feature.name} is not part of your plan. Choose a plan that includes it."
            if is_flag or verdict.decided_on is None
            else f"You have used all your {feature.display_plural or feature.name}. Choose a larger plan to go on."
        ),
        "feature_id": feature.slug,
        "feature_name": feature.name,
        "products": [_product(plan, eligible[plan.pk]) for plan in plans],
    }


def _product(plan: Plan, eligible: dict[str, Any]) -> dict[str, Any]:
    terms = changes.terms_of(plan, plan.items.all())
    every = plan.base_interval
    return {
        "id": plan.slug,
        "name": plan.name,
        "group": plan.group or None,
        "env": settings.ENVIRONMENT,
        "is_add_on": plan.is_add_on,
        "is_default": plan.auto_enable,
        "archived": plan.archived_at is not None,
        "version": plan.version,
        "created_at": milliseconds(plan.created_at),
        "items": [*_base_price(plan), *(_item(item) for item in plan.items.all())],
        "free_trial": _trial(plan, eligible["trial_available"]),
        "base_variant_id": None,
        "billing_controls": plan_shapes.billing_controls(plan.billing_controls),
        "scenario": _scenario(eligible),
        "properties": {
            "is_free": terms.kind is changes.Kind.FREE,
            "is_one_off": terms.kind is changes.Kind.ONE_OFF,
            "interval_group": every.unit.value if every else None,
            "has_trial": plan.trial_length is not None,
            "updateable": any(item.billing_method == "prepaid" for item in plan.items.all()),
        },
    }


def _scenario(eligible: dict[str, Any]) -> str:
    """What choosing the plan would be for this customer."""
    if eligible["status"] is not None:
        return "renew" if eligible["canceling"] else str(eligible["status"])
    action = str(eligible["attach_action"])
    return action if action in ("upgrade", "downgrade") else "new"


def _base_price(plan: Plan) -> list[dict[str, Any]]:
    if plan.price_amount is None:
        return []
    interval = plan.base_interval
    return [
        {
            **dict.fromkeys(_ITEM_KEYS),
            "type": "price",
            "price": plan.price_amount,
            "interval": interval.unit.value if interval else None,
            "interval_count": interval.count if interval else None,
            "display": plan_shapes.display(wording.base_price(plan, settings.CURRENCY)),
        }
    ]


def _item(item: PlanItem) -> dict[str, Any]:
    every = item.billed_every or item.reset_every
    return {
        **dict.fromkeys(_ITEM_KEYS),
        "type": "priced_feature" if item.is_priced else "feature",
        "feature_id": item.feature.slug,
        "feature_type": _feature_type(item.feature),
        "included_usage": "inf" if item.unlimited else item.included,
        "interval": every.unit.value if every else None,
        "interval_count": every.count if every else None,
        "price": item.price_amount if item.is_priced else None,
        "tiers": [{**tier, "amount": Decimal(tier.get("amount") or 0)} for tier in item.tiers] or None,
        "tier_behavior": item.tier_behavior or None,
        "usage_model": {"prepaid": "prepaid", "usage_based": "pay_per_use"}.get(item.billing_method),
        "billing_units": item.billing_units if item.is_priced else None,
        "entity_feature_id": item.entity_feature.slug if item.entity_feature else None,
        "display": plan_shapes.display(wording.item(item, settings.CURRENCY)),
    }


def _feature_type(feature: Feature) -> str:
    if feature.type == Feature.Type.BOOLEAN:
        return "boolean"
    return "continuous_use" if feature.is_allocated else "single_use"


def _trial(plan: Plan, is_available: bool) -> dict[str, Any] | None:
    if plan.trial_length is None:
        return None
    return {
        "duration": plan.trial_unit,
        "length": plan.trial_length,
        "unique_fingerprint": False,
        "card_required": plan.trial_card_required,
        "on_end": plan.trial_on_end,
        "trial_available": is_available,
    }

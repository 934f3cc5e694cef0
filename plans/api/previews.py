"""What a push would do, as `catalog.preview_update` tells it."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from billing.services import rewards as reward_catalog
from plans import wording
from plans.api import shapes
from plans.catalog.push import FeatureChange, Push
from plans.catalog.rules import Features
from plans.catalog.specs import FeatureSpec, ItemSpec, PlanSpec
from plans.catalog.versions import Change
from plans.models import Feature, Plan, PlanItem

_FEATURE_NAMES = {
    "name": "name",
    "type": "type",
    "consumable": "consumable",
    "event_names": "event_names",
    "archived": "archived",
}
_PLAN_NAMES = {
    "name": "name",
    "description": "description",
    "group": "group",
    "is_add_on": "add_on",
    "auto_enable": "auto_enable",
    "archived": "archived",
    "billing_controls": "billing_controls",
    "metadata": "metadata",
}


def push(result: Push, rewards: Sequence[reward_catalog.Change]) -> dict[str, Any]:
    """All changes; those of plans line up with the request's plans, deletions follow."""
    return {
        "feature_changes": [_feature(change) for change in result.features],
        "plan_changes": [_plan(change, result.known) for change in result.plans],
        "reward_changes": [{"id": change.slug, "action": change.action} for change in rewards],
        "referral_program_changes": [],
    }


def _feature(change: FeatureChange) -> dict[str, Any]:
    return {
        "feature_id": change.slug,
        "action": change.action,
        "will_archive": change.will_archive,
        "blocked": change.blocked is not None,
        "blocked_reason": change.blocked,
        "previous_attributes": _feature_before(change.before, change.after),
    }


def _feature_before(before: FeatureSpec | None, after: FeatureSpec | None) -> dict[str, Any] | None:
    if before is None or before == after:
        return None
    if after is None:
        return {"id": before.slug, "name": before.name}
    shown = _changed(before, after, _FEATURE_NAMES)
    if (before.display_singular, before.display_plural) != (after.display_singular, after.display_plural):
        shown["display"] = {"singular": before.display_singular or None, "plural": before.display_plural or None}
    if before.credit_costs != after.credit_costs:
        shown["credit_schema"] = [
            {"metered_feature_id": slug, "credit_cost": cost} for slug, cost in before.credit_costs
        ]
    return shown


def _plan(change: Change, features: Features) -> dict[str, Any]:
    return {
        "plan_id": change.slug,
        "action": change.action,
        "has_customers": change.has_customers,
        "customer_count": change.customers,
        "versionable": change.action == "updated" and change.new_version is not None,
        "will_archive": change.will_archive,
        "customize": None,
        **_plan_differences(change.before, change.after, features),
        "license_changes": [],
        "license_parents": [],
        "variants": [],
        "other_versions": [],
    }


def _plan_differences(before: PlanSpec | None, after: PlanSpec | None, features: Features) -> dict[str, Any]:
    if after is None or (before is None and after is None):
        return {"previous_attributes": None, "price_change": None, "item_changes": []}
    prices = [_price(spec) if spec else None for spec in (before, after)]
    old, new = before.items if before else (), after.items
    changes = [("deleted", item) for item in old if item not in new] + [
        ("created", item) for item in new if item not in old
    ]
    return {
        "previous_attributes": _changed(before, after, _PLAN_NAMES) or None if before else None,
        "price_change": {"previous": prices[0], "current": prices[1]} if prices[0] != prices[1] else None,
        "item_changes": [
            {"action": action, "feature_id": item.feature, "item": _item(item, features)} for action, item in changes
        ],
    }


def _changed(before: Any, after: Any, names: dict[str, str]) -> dict[str, Any]:
    return {
        theirs: getattr(before, ours) for ours, theirs in names.items() if getattr(before, ours) != getattr(after, ours)
    }


def _price(spec: PlanSpec) -> dict[str, Any] | None:
    if spec.price_amount is None:
        return None
    unsaved = Plan(
        price_amount=spec.price_amount,
        price_interval=spec.price_interval,
        price_interval_count=spec.price_interval_count,
    )
    primary, secondary = wording.base_price(unsaved, settings.CURRENCY)
    return {
        "amount": spec.price_amount,
        "interval": spec.price_interval,
        "interval_count": spec.price_interval_count,
        "additional_currencies": None,
        "display": {"primary_text": primary, "secondary_text": secondary},
    }


def _item(spec: ItemSpec, features: Features) -> dict[str, Any]:
    """The item as it is shown elsewhere, from rows that aren't saved."""
    granted, counted = (
        Feature(**features[slug].columns()) if slug else None for slug in (spec.feature, spec.entity_feature)
    )
    return shapes.plan_item(PlanItem(feature=granted, entity_feature=counted, **spec.columns()))

"""How features, plans and billing controls look on the wire: every known key is there, null when it says nothing."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.conf import settings

from config.api import milliseconds
from plans import wording
from plans.catalog.specs import ItemSpec, LicenseTerms
from plans.intervals import IntervalUnit
from plans.models import Feature, ItemTerms, Plan, PlanLicense

_CONTROL_KEYS: dict[str, tuple[str, ...]] = {
    "usage_limits": ("feature_id", "enabled", "limit", "interval", "anchor", "filter", "source"),
    "spend_limits": ("feature_id", "enabled", "limit_type", "overage_limit", "skip_overage_billing", "source"),
    "overage_allowed": ("feature_id", "enabled", "source"),
    "usage_alerts": ("feature_id", "enabled", "threshold", "threshold_type", "name", "source"),
    "auto_topups": ("feature_id", "enabled", "threshold", "quantity", "purchase_limit", "invoice_mode", "source"),
}
_NUMBERS = {"limit", "overage_limit", "threshold", "quantity"}


def billing_controls(stored: dict[str, Any], usage: Sequence[Decimal | None] = ()) -> dict[str, Any]:
    """The controls as stored by `controls.BillingControlsField`; a list that was never set is null.

    `usage` lines up with the stored `usage_limits` and says what each has counted in its present window.
    """
    shown = {
        kind: [_control(kind, entry) for entry in stored[kind]] if kind in stored else None for kind in _CONTROL_KEYS
    }
    for limit, used in zip(shown["usage_limits"] or (), usage, strict=False):
        limit["usage"] = used
    return shown


def _control(kind: str, entry: dict[str, Any]) -> dict[str, Any]:
    shown = {key: entry.get(key) for key in _CONTROL_KEYS[kind]}
    return {key: Decimal(value) if key in _NUMBERS and value is not None else value for key, value in shown.items()}


def feature(row: Feature) -> dict[str, Any]:
    """A feature; its credit costs should be prefetched."""
    costs = sorted(row.credit_costs.all(), key=lambda cost: cost.metered_feature.slug) if row.is_credit_system else None
    display = {"singular": row.display_singular or None, "plural": row.display_plural or None}
    return {
        "id": row.slug,
        "name": row.name,
        "type": row.type,
        "consumable": row.consumable,
        "event_names": row.event_names,
        "credit_schema": costs
        and [{"metered_feature_id": cost.metered_feature.slug, "credit_cost": cost.cost} for cost in costs],
        "model_markups": None,
        "default_markup": None,
        "provider_markups": None,
        "display": display if any(display.values()) else None,
        "archived": row.archived_at is not None,
    }


def plan(row: Plan, eligibility: dict[str, Any] | None = None) -> dict[str, Any]:
    """One version of a plan; its items should be prefetched in order."""
    return {
        "id": row.slug,
        "name": row.name,
        "description": row.description or None,
        "group": row.group or None,
        "version": row.version,
        "add_on": row.is_add_on,
        "auto_enable": row.auto_enable,
        "price": _base_price(row),
        "items": [plan_item(item) for item in row.items.all()],
        "free_trial": _trial(row),
        "created_at": milliseconds(row.created_at),
        "env": settings.ENVIRONMENT,
        "archived": row.archived_at is not None,
        "base_variant_id": None,
        "variant_details": None,
        "config": {"ignore_past_due": row.ignore_past_due},
        # Without nulls: `atmn pull` writes whatever is here into people's configuration.
        "billing_controls": {
            kind: entries for kind, entries in billing_controls(row.billing_controls).items() if entries is not None
        },
        "metadata": row.metadata,
        "licenses": [plan_license(row) for row in row.licenses.all()],
        "customer_eligibility": eligibility,
    }


def plan_license(row: PlanLicense) -> dict[str, Any]:
    """A plan offered as a licence; rows come from `with_newest_version`."""
    customize = LicenseTerms.stored(row.customize)
    return {
        "license_plan_id": row.license_slug,
        # A licence follows its plan: this is the version that a new holder gets. 1 while its plan is being made.
        "version": getattr(row, "newest_version", None) or 1,
        "included": row.included,
        "prepaid_only": True,
        "customize": _license_terms(customize) if customize != LicenseTerms() else None,
        "metadata": row.metadata,
    }


def _license_terms(terms: LicenseTerms) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if terms.has_price:
        interval = _interval(terms.price_interval, terms.price_interval_count)
        shown["price"] = None if terms.price_amount is None else {"amount": terms.price_amount, **interval}
    if terms.add_items:
        shown["add_items"] = [_item_given(item) for item in terms.add_items]
    if terms.remove_items:
        keys = {"feature": "feature_id", "billing_method": "billing_method", "interval": "interval"}
        shown["remove_items"] = [
            {
                theirs: value
                for ours, theirs in {**keys, "interval_count": "interval_count"}.items()
                if (value := getattr(wanted, ours)) is not None
            }
            for wanted in terms.remove_items
        ]
    return shown


def _item_given(item: ItemSpec) -> dict[str, Any]:
    """An item as it was given: a licence's items have no prices."""
    given: dict[str, Any] = {"feature_id": item.feature, "included": item.included, "unlimited": item.unlimited}
    if item.entity_feature:
        given["entity_feature_id"] = item.entity_feature
    if item.reset_interval:
        given["reset"] = _interval(item.reset_interval, item.reset_interval_count)
    if item.has_rollover:
        given["rollover"] = {
            "max": item.rollover_max,
            "max_percentage": item.rollover_max_percentage,
            "expiry_duration_type": item.rollover_expiry,
            "expiry_duration_length": item.rollover_expiry_length,
        }
    return given


def _base_price(row: Plan) -> dict[str, Any] | None:
    if row.price_amount is None:
        return None
    return {
        "amount": row.price_amount,
        "interval": row.price_interval,
        "interval_count": row.price_interval_count,
        "additional_currencies": None,
        "display": display(wording.base_price(row, settings.CURRENCY)),
    }


def _trial(row: Plan) -> dict[str, Any] | None:
    if row.trial_length is None:
        return None
    return {
        "duration_length": row.trial_length,
        "duration_type": row.trial_unit,
        "card_required": row.trial_card_required,
        "on_end": row.trial_on_end,
    }


def plan_item(item: ItemTerms) -> dict[str, Any]:
    """An item of a plan or subscription."""
    return {
        "feature_id": item.feature.slug,
        "feature": None,
        "entity_feature_id": item.entity_feature.slug if item.entity_feature else None,
        "included": item.included,
        "unlimited": item.unlimited,
        "pooled": item.pooled,
        "reset": _reset(item),
        "price": item_price(item),
        "proration": {"on_increase": item.on_increase, "on_decrease": item.on_decrease} if item.on_increase else None,
        "rollover": _rollover(item),
        "display": display(wording.item(item, settings.CURRENCY)),
    }


def _reset(item: ItemTerms) -> dict[str, Any] | None:
    """`one_off` for what is granted once and used up; None for what neither resets nor is used up."""
    if item.reset_interval:
        return _interval(item.reset_interval, item.reset_interval_count)
    return _interval(IntervalUnit.ONE_OFF, 1) if item.feature.consumable and not item.unlimited else None


def item_price(item: ItemTerms) -> dict[str, Any] | None:
    """What more of an item's feature costs; None when it can't be bought."""
    if not item.is_priced:
        return None
    return {
        "amount": item.price_amount,
        "additional_currencies": None,
        "tiers": [_tier(tier) for tier in item.tiers] or None,
        # Never null: atmn would write that down as text. One price for all units is graduated with a single tier.
        "tier_behavior": item.tier_behavior or ItemTerms.TierBehavior.GRADUATED,
        **_interval(item.price_interval, item.price_interval_count),
        "billing_units": item.billing_units,
        "billing_method": item.billing_method,
        "max_purchase": item.max_purchase,
    }


def _tier(tier: dict[str, str]) -> dict[str, Any]:
    return {
        "to": "inf" if tier["to"] == "inf" else Decimal(tier["to"]),
        "amount": Decimal(tier["amount"]),
        "flat_amount": Decimal(tier["flat_amount"]),
        "additional_currencies": None,
    }


def _rollover(item: ItemTerms) -> dict[str, Any] | None:
    if not item.has_rollover:
        return None
    return {
        "max": item.rollover_max,
        "max_percentage": item.rollover_max_percentage,
        "expiry_duration_type": item.rollover_expiry,
        "expiry_duration_length": item.rollover_expiry_length,
    }


def _interval(unit: str, count: int) -> dict[str, Any]:
    return {"interval": unit, "interval_count": count}


def display(texts: tuple[str, str]) -> dict[str, Any]:
    """What a pricing page says of a price or an item."""
    primary, secondary = texts
    return {"primary_text": primary, "secondary_text": secondary or None}

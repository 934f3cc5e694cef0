"""What the catalogue's calls take, read into the fields of specs. Keys that aren't known here are ignored."""

import re
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from config.api import IdField, MoneyField, QuantityField
from plans.api.controls import BillingControlsField
from plans.api.fields import CountField, ManyField, MetadataField, OneOfField, Shape, SwitchField, TextField
from plans.catalog.rules import MOST_ITEMS
from plans.catalog.specs import ItemSpec, TierSpec
from plans.intervals import IntervalUnit
from plans.models import Feature, ItemTerms, Plan

BASE_INTERVALS = [
    IntervalUnit.ONE_OFF,
    IntervalUnit.WEEK,
    IntervalUnit.MONTH,
    IntervalUnit.QUARTER,
    IntervalUnit.SEMI_ANNUAL,
    IntervalUnit.YEAR,
]
MOST_INTERVALS = 120
_PLAN_ID = re.compile(r"[a-zA-Z0-9_-]+")


class NotOfferedField(serializers.Field[None, Any, None, Any]):
    """Something of the peer's that isn't here: empty is fine, anything else is refused rather than dropped."""

    def __init__(self, *, why: str, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, **options)
        self.why = why

    def to_internal_value(self, data: Any) -> None:
        if data:
            raise serializers.ValidationError(self.why)

    def to_representation(self, value: Any) -> None:
        return None


def _one_currency() -> NotOfferedField:
    return NotOfferedField(why="can't be set: this deployment has one currency. Leave it out.")


class PlanIdField(IdField):
    """Letters, digits, `_` and `-`, at most 100."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=100, **options)

    def to_internal_value(self, data: Any) -> str:
        plan_id = super().to_internal_value(data)
        if not _PLAN_ID.fullmatch(plan_id):
            raise serializers.ValidationError("must consist of letters, digits, _ and -.")
        return plan_id


# -- features --


class CreditCostInput(Shape):
    metered_feature_id = IdField(max_length=100)
    credit_cost = QuantityField(negative=False)

    def validate_credit_cost(self, value: Decimal) -> Decimal:
        if value == 0:
            raise serializers.ValidationError("must be above 0.")
        return value


class DisplayInput(Shape):
    singular = TextField(max_length=100, default="")
    plural = TextField(max_length=100, default="")


class FeatureFields(Shape):
    """The fields of a feature, all of them optional."""

    name = TextField(max_length=200, blank=False, required=False)
    type = OneOfField(choices=Feature.Type.choices, required=False)
    consumable = SwitchField(required=False)
    display = DisplayInput(required=False)
    credit_schema = ManyField(child=CreditCostInput(), most=500, required=False)
    event_names = ManyField(child=TextField(max_length=200, blank=False), most=50, required=False)
    archived = SwitchField(required=False)


class CreateFeatureInput(FeatureFields):
    feature_id = IdField(max_length=100)
    name = TextField(max_length=200, blank=False)
    type = OneOfField(choices=Feature.Type.choices)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["type"] == Feature.Type.METERED and "consumable" not in attrs:
            problem = (
                "is required for a metered feature: true if usage is spent and resets, false for a count such as seats."
            )
            raise serializers.ValidationError({"consumable": problem})
        return attrs


class UpdateFeatureInput(FeatureFields):
    feature_id = IdField(max_length=100)
    new_feature_id = IdField(max_length=100, required=False)


class FeatureIdInput(Shape):
    feature_id = IdField(max_length=100)


def feature_changes(data: dict[str, Any]) -> dict[str, Any]:
    """The given fields under their names in `FeatureSpec`."""
    changes: dict[str, Any] = {name: data[name] for name in ("name", "type", "consumable", "archived") if name in data}
    if "new_feature_id" in data:
        changes["slug"] = data["new_feature_id"]
    if "display" in data:
        changes["display_singular"], changes["display_plural"] = data["display"]["singular"], data["display"]["plural"]
    if "event_names" in data:
        changes["event_names"] = tuple(dict.fromkeys(data["event_names"]))
    if "credit_schema" in data:
        changes["credit_costs"] = tuple(
            (row["metered_feature_id"], row["credit_cost"]) for row in data["credit_schema"]
        )
    return changes


# -- plans --


class BasePriceInput(Shape):
    amount = MoneyField(negative=False)
    interval = OneOfField(choices=BASE_INTERVALS)
    interval_count = CountField(least=1, most=MOST_INTERVALS, required=False)
    additional_currencies = _one_currency()


class ResetInput(Shape):
    interval = OneOfField(choices=IntervalUnit.values)
    interval_count = CountField(least=1, most=MOST_INTERVALS, default=1)


class TierToField(QuantityField):
    """Where a tier ends, or "inf"."""

    def to_internal_value(self, data: Any) -> Decimal:
        if data == "inf":
            return Decimal("Infinity")
        if isinstance(data, str):
            raise serializers.ValidationError('must be a number or "inf".')
        return super().to_internal_value(data)


class TierInput(Shape):
    to = TierToField()
    amount = MoneyField(negative=False, default=Decimal(0))
    flat_amount = MoneyField(negative=False, default=Decimal(0))
    additional_currencies = _one_currency()


class ItemPriceInput(Shape):
    amount = MoneyField(negative=False, default=None)
    tiers = ManyField(child=TierInput(), most=100, default=list)
    tier_behavior = OneOfField(choices=ItemTerms.TierBehavior.values, default="")
    interval = OneOfField(choices=BASE_INTERVALS)
    interval_count = CountField(least=1, most=MOST_INTERVALS, default=1)
    billing_units = QuantityField(negative=False, default=Decimal(1))
    billing_method = OneOfField(choices=ItemTerms.BillingMethod.values)
    max_purchase = QuantityField(negative=False, default=None)
    additional_currencies = _one_currency()


class ProrationInput(Shape):
    on_increase = OneOfField(choices=ItemTerms.OnIncrease.values)
    on_decrease = OneOfField(choices=ItemTerms.OnDecrease.values)


class RolloverInput(Shape):
    max = QuantityField(negative=False, default=None)
    max_percentage = QuantityField(negative=False, default=None)
    expiry_duration_type = OneOfField(choices=ItemTerms.RolloverExpiry.values)
    expiry_duration_length = CountField(least=1, most=1200, default=1)

    def validate_max_percentage(self, value: Decimal | None) -> Decimal | None:
        if value is not None and value != round(value, 2):
            raise serializers.ValidationError("must have at most 2 decimal places.")
        return value


class ItemInput(Shape):
    """A plan item; gives an ItemSpec."""

    feature_id = IdField(max_length=100)
    entity_feature_id = IdField(max_length=100, default="")
    included = QuantityField(negative=False, default=Decimal(0))
    unlimited = SwitchField(default=False)
    pooled = SwitchField(default=False)
    reset = ResetInput(default=None)
    price = ItemPriceInput(default=None)
    proration = ProrationInput(default=None)
    rollover = RolloverInput(default=None)

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        return ItemSpec(
            feature=given["feature_id"],
            entity_feature=given["entity_feature_id"],
            included=given["included"],
            unlimited=given["unlimited"],
            pooled=given["pooled"],
            **_reset(given["reset"]),
            **_price(given["price"]),
            **_proration(given["proration"]),
            **_rollover(given["rollover"]),
        )


def _reset(reset: dict[str, Any] | None) -> dict[str, Any]:
    return {"reset_interval": reset["interval"], "reset_interval_count": reset["interval_count"]} if reset else {}


def _price(price: dict[str, Any] | None) -> dict[str, Any]:
    if price is None:
        return {}
    tiers = tuple(
        TierSpec(None if tier["to"].is_infinite() else tier["to"], tier["amount"], tier["flat_amount"])
        for tier in price["tiers"]
    )
    return {
        "price_amount": price["amount"],
        "tiers": tiers,
        "tier_behavior": price["tier_behavior"] or (ItemTerms.TierBehavior.GRADUATED if tiers else ""),
        "price_interval": price["interval"],
        "price_interval_count": price["interval_count"],
        "billing_units": price["billing_units"],
        "billing_method": price["billing_method"],
        "max_purchase": price["max_purchase"],
    }


def _proration(proration: dict[str, Any] | None) -> dict[str, Any]:
    return dict(proration) if proration else {}


def _rollover(rollover: dict[str, Any] | None) -> dict[str, Any]:
    if rollover is None:
        return {}
    return {
        "has_rollover": True,
        # `atmn` writes 0 for "no maximum"; nothing at all would roll over with a true 0.
        "rollover_max": rollover["max"] or None,
        "rollover_max_percentage": rollover["max_percentage"],
        "rollover_expiry": rollover["expiry_duration_type"],
        "rollover_expiry_length": rollover["expiry_duration_length"],
    }


class TrialInput(Shape):
    duration_length = CountField(least=1, most=3650)
    duration_type = OneOfField(choices=Plan.TrialUnit.values, default=Plan.TrialUnit.MONTH)
    card_required = SwitchField(default=True)
    on_end = OneOfField(choices=Plan.TrialEnd.values, required=False)


class ConfigInput(Shape):
    ignore_past_due = SwitchField(required=False)


class PlanFields(Shape):
    """The fields of a plan, all of them optional."""

    name = TextField(max_length=200, blank=False, required=False)
    description = TextField(max_length=5000, required=False, allow_null=True)
    group = TextField(max_length=100, required=False, allow_null=True)
    add_on = SwitchField(required=False)
    auto_enable = SwitchField(required=False)
    price = BasePriceInput(required=False, allow_null=True)
    items = ManyField(child=ItemInput(), most=MOST_ITEMS, required=False)
    free_trial = TrialInput(required=False, allow_null=True)
    config = ConfigInput(required=False)
    billing_controls = BillingControlsField(required=False)
    metadata = MetadataField(required=False)
    archived = SwitchField(required=False)
    licenses = NotOfferedField(why="can't be set: licences aren't offered yet. Leave them out.")
    variants = NotOfferedField(why="can't be set: variants aren't offered here. Make a plan of each.")
    base_plan_id = NotOfferedField(why="can't be set: variants aren't offered here. Leave it out.")


class CreatePlanInput(PlanFields):
    plan_id = PlanIdField()
    name = TextField(max_length=200, blank=False)


class EditingFields(PlanFields):
    """A plan's fields with what says how an edit of what customers hold is meant."""

    version = CountField(least=1, most=2**31 - 1, required=False)
    disable_version = SwitchField(default=False)
    all_versions = SwitchField(default=False)
    force_version = SwitchField(default=False)


class UpdatePlanInput(EditingFields):
    plan_id = IdField(max_length=100)
    new_plan_id = PlanIdField(required=False)


class GetPlanInput(Shape):
    plan_id = IdField(max_length=100)
    version = CountField(least=1, most=2**31 - 1, default=None)
    customer_id = IdField(default=None)
    entity_id = IdField(default=None)


class ListPlansInput(Shape):
    customer_id = IdField(default=None)
    entity_id = IdField(default=None)
    include_archived = SwitchField(default=False)
    all_versions = SwitchField(default=False)


class DeletePlanInput(Shape):
    plan_id = IdField(max_length=100)
    all_versions = SwitchField(default=False)


def plan_changes(data: dict[str, Any]) -> dict[str, Any]:
    """The given fields under their names in `PlanSpec`, for `PlanSpec.patched`."""
    names = {"name": "name", "add_on": "is_add_on", "auto_enable": "auto_enable", "archived": "archived"}
    changes = {ours: data[theirs] for theirs, ours in names.items() if theirs in data}
    changes |= {name: data[name] or "" for name in ("description", "group") if name in data}
    changes |= {name: data[name] for name in ("billing_controls", "metadata") if name in data}
    if "items" in data:
        changes["items"] = tuple(data["items"])
    if "price" in data:
        changes |= _base_price(data["price"])
    if "free_trial" in data:
        changes |= _trial(data["free_trial"])
    if "ignore_past_due" in data.get("config", {}):
        changes["ignore_past_due"] = data["config"]["ignore_past_due"]
    return changes


def _base_price(price: dict[str, Any] | None) -> dict[str, Any]:
    if price is None:
        return {"price_amount": None, "price_interval": "", "price_interval_count": 1}
    return {
        "price_amount": price["amount"],
        "price_interval": price["interval"],
        "price_interval_count": price.get("interval_count"),
    }


def _trial(trial: dict[str, Any] | None) -> dict[str, Any]:
    if trial is None:
        return {"trial_length": None, "trial_unit": "", "trial_card_required": True, "trial_on_end": Plan.TrialEnd.BILL}
    return {
        "trial_length": trial["duration_length"],
        "trial_unit": trial["duration_type"],
        "trial_card_required": trial["card_required"],
        "trial_on_end": trial.get("on_end"),
    }


# -- whole catalogues --


class CatalogFeatureInput(FeatureFields):
    feature_id = IdField(max_length=100)


class CatalogPlanInput(EditingFields):
    plan_id = PlanIdField()


class CatalogInput(Shape):
    features = ManyField(child=CatalogFeatureInput(), most=2000, default=list)
    plans = ManyField(child=CatalogPlanInput(), most=2000, default=list)
    skip_deletions = SwitchField(default=False)
    skip_feature_ids = ManyField(child=IdField(), most=2000, default=list)
    skip_plan_ids = ManyField(child=IdField(), most=2000, default=list)
    rewards = NotOfferedField(why="can't be set: rewards aren't offered here. Leave them out.")
    referral_programs = NotOfferedField(why="can't be set: referral programmes aren't offered here. Leave them out.")

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        return {**given, "speaks_of_features": "features" in data, "speaks_of_plans": "plans" in data}

"""What the catalogue's calls take, read into the fields of specs. Keys that aren't known here are ignored."""

import re
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from billing.api.reward_serializers import RewardInput
from config.api import IdField, QuantityField
from plans.api.controls import BillingControlsField
from plans.api.fields import CountField, ManyField, MetadataField, OneOfField, Shape, SwitchField, TextField
from plans.api.items import BasePriceInput, ItemInput, NotOfferedField, TrialInput, base_price, trial
from plans.api.licenses import LicenseInput, license_spec
from plans.catalog.rules import MOST_ITEMS
from plans.models import Feature

FEATURE_TYPES = [word for word in Feature.Type.values if word != Feature.Type.LICENSE]

_PLAN_ID = re.compile(r"[a-zA-Z0-9_-]+")


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
    type = OneOfField(choices=FEATURE_TYPES, required=False)
    consumable = SwitchField(required=False)
    display = DisplayInput(required=False)
    credit_schema = ManyField(child=CreditCostInput(), most=500, required=False)
    event_names = ManyField(child=TextField(max_length=200, blank=False), most=50, required=False)
    archived = SwitchField(required=False)


class CreateFeatureInput(FeatureFields):
    feature_id = IdField(max_length=100)
    name = TextField(max_length=200, blank=False)
    type = OneOfField(choices=FEATURE_TYPES)

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
    licenses = ManyField(child=LicenseInput(), most=MOST_ITEMS, required=False)
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
    if "licenses" in data:
        changes["licenses"] = tuple(license_spec(given) for given in data["licenses"])
    if "price" in data:
        changes |= base_price(data["price"])
    if "free_trial" in data:
        changes |= trial(data["free_trial"])
    if "ignore_past_due" in data.get("config", {}):
        changes["ignore_past_due"] = data["config"]["ignore_past_due"]
    return changes


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
    rewards = ManyField(child=RewardInput(), most=2000, required=False)
    referral_programs = NotOfferedField(why="can't be set: referral programmes aren't offered here. Leave them out.")

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        return {**given, "speaks_of_features": "features" in data, "speaks_of_plans": "plans" in data}

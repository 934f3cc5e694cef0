"""Billing controls as they come in: limits and switches per feature, the same on plans, customers and entities.

Stored as JSON with decimals as text, so that they stay exact: `{"usage_limits": [{"feature_id": …, "limit": "5", …}]}`,
with only the lists that were given. Rendered back by `plans.api.shapes.billing_controls`.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import models
from rest_framework import serializers

from config.api import IdField, QuantityField
from plans.api.fields import CountField, OneOfField, Shape, SwitchField, TextField

MOST_ENTRIES = 100
MOST_FILTER_KEYS = 4

type Stored = dict[str, list[dict[str, Any]]]


class Window(models.TextChoices):
    """The interval of a usage limit."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class PurchaseWindow(models.TextChoices):
    """The interval in which automatic top-ups are counted."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Anchor(models.TextChoices):
    """Where a limit's window begins: with the holder's billing cycle, or with the UTC calendar."""

    BILLING_CYCLE = "billing_cycle"
    UTC = "utc"


class LimitType(models.TextChoices):
    """How an overage limit is meant: in units, or in percent of what the plan grants."""

    ABSOLUTE = "absolute"
    USAGE_PERCENTAGE = "usage_percentage"


class ThresholdType(models.TextChoices):
    """What an alert's threshold is compared with."""

    USAGE = "usage"
    USAGE_PERCENTAGE = "usage_percentage"
    REMAINING = "remaining"
    REMAINING_PERCENTAGE = "remaining_percentage"


class PropertyFilterField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """`{"properties": {…}}`: one to four event properties, compared with text, numbers or booleans."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        properties = data.get("properties") if isinstance(data, dict) else None
        if not isinstance(properties, dict) or not 1 <= len(properties) <= MOST_FILTER_KEYS:
            raise serializers.ValidationError(f"must hold properties, an object of 1 to {MOST_FILTER_KEYS} entries.")
        for key, value in properties.items():
            if not 1 <= len(key) <= 64:
                raise serializers.ValidationError("must have property names of 1 to 64 characters.")
            if isinstance(value, str) and not 1 <= len(value) <= 128:
                raise serializers.ValidationError(f"properties.{key} must have 1 to 128 characters.")
            if not isinstance(value, str | bool):
                QuantityField().run_validation(value)
        return {"properties": {key: _plain(value) for key, value in properties.items()}}


class UsageLimitSerializer(Shape):
    feature_id = IdField()
    enabled = SwitchField(default=True)
    limit = QuantityField(negative=False)
    interval = OneOfField(choices=Window.choices)
    anchor = OneOfField(choices=Anchor.choices, default=Anchor.BILLING_CYCLE)
    filter = PropertyFilterField(default=None, allow_null=True)


class SpendLimitSerializer(Shape):
    feature_id = IdField()
    enabled = SwitchField(default=False)
    limit_type = OneOfField(choices=LimitType.choices, default=LimitType.ABSOLUTE)
    overage_limit = QuantityField(negative=False, default=None, allow_null=True)
    skip_overage_billing = SwitchField(default=False)


class OverageAllowedSerializer(Shape):
    feature_id = IdField()
    enabled = SwitchField(default=False)


class UsageAlertSerializer(Shape):
    feature_id = IdField()
    enabled = SwitchField(default=True)
    threshold = QuantityField(negative=False)
    threshold_type = OneOfField(choices=ThresholdType.choices)
    name = TextField(default="", max_length=200)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["threshold_type"].endswith("_percentage") and attrs["threshold"] > 100:
            raise serializers.ValidationError({"threshold": "must be at most 100 for a percentage."})
        return attrs


class PurchaseLimitSerializer(Shape):
    interval = OneOfField(choices=PurchaseWindow.choices)
    interval_count = CountField(default=1, least=1, most=1000)
    limit = CountField(least=1, most=1_000_000)


class AutoTopupSerializer(Shape):
    feature_id = IdField()
    enabled = SwitchField(default=False)
    threshold = QuantityField(negative=False)
    quantity = QuantityField(negative=False)
    purchase_limit = PurchaseLimitSerializer(default=None, allow_null=True)
    invoice_mode = SwitchField(default=False)

    def validate_quantity(self, value: Decimal) -> Decimal:
        if value < 1:
            raise serializers.ValidationError("must be at least 1.")
        return value


_ENTRIES: dict[str, type[Shape]] = {
    "usage_limits": UsageLimitSerializer,
    "spend_limits": SpendLimitSerializer,
    "overage_allowed": OverageAllowedSerializer,
    "usage_alerts": UsageAlertSerializer,
    "auto_topups": AutoTopupSerializer,
}


def _by_feature(entry: dict[str, Any]) -> Any:
    return entry["feature_id"]


# What two entries of one list must not share (spec balances 3.4). A feature can be capped per day as well as per
# month, and apart for some events; alerts go off at several thresholds.
_SAME: dict[str, Callable[[dict[str, Any]], Any]] = {
    "usage_limits": lambda entry: (entry["feature_id"], entry["interval"], repr(entry["filter"])),
    "usage_alerts": lambda entry: (entry["feature_id"], entry["threshold_type"], entry["threshold"], entry["name"]),
}


class BillingControlsField(serializers.Field[Stored, Any, Any, Any]):
    """Reads `billing_controls` into its stored form; `auto_topups=False` where they make no sense (entities).

    Lists that are missing or null are left out, so that an update keeps them; an empty list is kept and clears.
    """

    def __init__(self, *, auto_topups: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.kinds = [kind for kind in _ENTRIES if auto_topups or kind != "auto_topups"]

    def to_internal_value(self, data: Any) -> Stored:
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object.")
        return {kind: _read(kind, data[kind]) for kind in self.kinds if data.get(kind) is not None}

    def to_representation(self, value: Any) -> Any:
        return value


def _read(kind: str, entries: Any) -> list[dict[str, Any]]:
    if not isinstance(entries, list):
        raise serializers.ValidationError({kind: "must be a list."})
    if len(entries) > MOST_ENTRIES:
        raise serializers.ValidationError({kind: f"must have at most {MOST_ENTRIES} entries."})
    serializer = _ENTRIES[kind](data=entries, many=True)
    if not serializer.is_valid():
        raise serializers.ValidationError({kind: serializer.errors})
    same, seen = _SAME.get(kind, _by_feature), set()
    for entry in serializer.validated_data:
        if same(entry) in seen:
            message = f"has two entries for feature {entry['feature_id']}. Keep one."
            raise serializers.ValidationError({kind: message})
        seen.add(same(entry))
    return [_plain(entry) for entry in serializer.validated_data]


def _plain(value: Any) -> Any:
    """`value` as JSON that can be stored: decimals as text in their shortest form."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Decimal):
        digits = format(value, "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(value) if isinstance(value, models.TextChoices) else value

"""What a plan's price, items and trial look like coming in; `billing.*` takes the same to customise a plan."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from config.api import IdField, MoneyField, QuantityField
from plans.api.fields import CountField, ManyField, OneOfField, Shape, SwitchField
from plans.catalog.specs import ItemSpec, TierSpec
from plans.intervals import IntervalUnit
from plans.models import ItemTerms, Plan

BASE_INTERVALS = [
    IntervalUnit.ONE_OFF,
    IntervalUnit.WEEK,
    IntervalUnit.MONTH,
    IntervalUnit.QUARTER,
    IntervalUnit.SEMI_ANNUAL,
    IntervalUnit.YEAR,
]
MOST_INTERVALS = 120


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


def base_price(price: dict[str, Any] | None) -> dict[str, Any]:
    """The columns of a base price, for `PlanSpec.patched`; None is no price."""
    if price is None:
        return {"price_amount": None, "price_interval": "", "price_interval_count": 1}
    return {
        "price_amount": price["amount"],
        "price_interval": price["interval"],
        "price_interval_count": price.get("interval_count"),
    }


def trial(trial: dict[str, Any] | None) -> dict[str, Any]:
    """The columns of a free trial, for `PlanSpec.patched`; None is no trial."""
    if trial is None:
        return {"trial_length": None, "trial_unit": "", "trial_card_required": True, "trial_on_end": Plan.TrialEnd.BILL}
    return {
        "trial_length": trial["duration_length"],
        "trial_unit": trial["duration_type"],
        "trial_card_required": trial["card_required"],
        "trial_on_end": trial.get("on_end"),
    }

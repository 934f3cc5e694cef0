"""What rewards.* and a catalogue's rewards take."""

from typing import Any

from rest_framework.serializers import ValidationError

from billing.models import Reward
from billing.services import rewards
from billing.services.rewards import Changes, Code, Granted, Spec
from config.api import IdField, MoneyField, QuantityField
from plans.api.fields import CountField, ManyField, OneOfField, Shape, SwitchField, TextField

MOST = 200
MANY = 1_000_000
COUPONS = [Reward.Type.PERCENTAGE.value, Reward.Type.FIXED.value]


class DurationInput(Shape):
    type = OneOfField(choices=Reward.Duration.values)
    length = CountField(least=1, most=1200, required=False)


class CouponCodeInput(Shape):
    code = IdField(max_length=100)
    global_max_redemption = CountField(least=1, most=MANY, required=False)
    first_time_transaction = SwitchField(required=False)


class GrantCodeInput(Shape):
    code = IdField(max_length=100)
    max_uses = CountField(least=1, most=MANY, required=False)


class ExpiryInput(Shape):
    type = OneOfField(choices=["day", "week", "month", "year"])
    length = CountField(least=1, most=1200)


class GrantInput(Shape):
    feature_id = IdField(max_length=100)
    included = QuantityField(negative=False, required=False)
    expiry = ExpiryInput(required=False)


class PlanIdsField(ManyField):
    """Plans that a coupon is for; null, as nothing, is all of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=IdField(max_length=100), most=MOST, allow_null=True, required=False, **options)


class CouponInput(Shape):
    id = IdField()
    name = TextField(max_length=200, blank=False)
    type = OneOfField(choices=COUPONS)
    value = MoneyField(negative=False)
    duration = DurationInput()
    plan_ids = PlanIdsField()
    promo_codes = ManyField(child=CouponCodeInput(), most=MOST, default=list)


class FeatureGrantInput(Shape):
    id = IdField()
    name = TextField(max_length=200, blank=False)
    grants = ManyField(child=GrantInput(), most=MOST)
    promo_codes = ManyField(child=GrantCodeInput(), most=MOST)


class OneKind(Shape):
    """A coupon or granted features, never both."""

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        if ("coupon" in given) == ("feature_grant" in given):
            raise ValidationError({"coupon": "or feature_grant must be given, and not both."})
        return given


class RewardInput(OneKind):
    coupon = CouponInput(required=False)
    feature_grant = FeatureGrantInput(required=False)


class CouponChangesInput(Shape):
    name = TextField(max_length=200, blank=False, required=False)
    plan_ids = PlanIdsField()
    promo_codes = ManyField(child=CouponCodeInput(), most=MOST, required=False)


class FeatureGrantChangesInput(Shape):
    name = TextField(max_length=200, blank=False, required=False)
    grants = ManyField(child=GrantInput(), most=MOST, required=False)
    promo_codes = ManyField(child=GrantCodeInput(), most=MOST, required=False)


class OneRewardInput(Shape):
    reward_id = IdField()


class RewardChangesInput(OneKind, OneRewardInput):
    coupon = CouponChangesInput(required=False)
    feature_grant = FeatureGrantChangesInput(required=False)


class RedeemInput(Shape):
    code = IdField(max_length=100)
    customer_id = IdField()


def spec(given: dict[str, Any]) -> Spec:
    """The reward behind validated data."""
    kind, one = _only(given)
    if kind == "coupon":
        return Spec(
            slug=one["id"],
            name=one["name"],
            type=one["type"],
            value=one["value"],
            duration=one["duration"]["type"],
            months=one["duration"].get("length"),
            plan_ids=tuple(one.get("plan_ids") or ()),
            codes=_coupon_codes(one["promo_codes"]),
        )
    return Spec(
        slug=one["id"],
        name=one["name"],
        type=Reward.Type.FEATURES,
        codes=_grant_codes(one["promo_codes"]),
        grants=_grants(one["grants"]),
    )


def changes(given: dict[str, Any]) -> Changes:
    """What is to change, behind validated data."""
    kind, one = _only(given)
    if kind == "coupon":
        return Changes(
            name=one.get("name"),
            plan_ids=tuple(one["plan_ids"] or ()) if "plan_ids" in one else None,
            codes=_coupon_codes(one["promo_codes"]) if "promo_codes" in one else None,
        )
    return Changes(
        name=one.get("name"),
        codes=_grant_codes(one["promo_codes"]) if "promo_codes" in one else None,
        grants=_grants(one["grants"]) if "grants" in one else None,
    )


def _only(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = "coupon" if "coupon" in given else "feature_grant"
    return kind, given[kind]


def _coupon_codes(given: list[dict[str, Any]]) -> tuple[Code, ...]:
    return tuple(
        Code(one["code"], one.get("global_max_redemption"), one.get("first_time_transaction", False)) for one in given
    )


def _grant_codes(given: list[dict[str, Any]]) -> tuple[Code, ...]:
    return tuple(Code(one["code"], one.get("max_uses")) for one in given)


def _grants(given: list[dict[str, Any]]) -> tuple[Granted, ...]:
    return tuple(
        Granted(
            one["feature_id"],
            one.get("included"),
            rewards.expiry(one["expiry"]["type"], one["expiry"]["length"]) if "expiry" in one else None,
        )
        for one in given
    )

"""rewards.*: coupons and granted features, and redeeming a code."""

from typing import Any

from django.http import HttpRequest

from billing.api import reward_serializers as serializers
from billing.models import Reward
from billing.services import customers, rewards
from config import clock
from config.access.models import Scope
from config.api import Endpoint, Keyed, milliseconds


class CreateReward(Endpoint):
    Input = serializers.RewardInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        return reward(rewards.create(spec=serializers.spec(data), at=clock.now()))


class GetReward(Endpoint):
    Input = serializers.OneRewardInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        return reward(rewards.get(data["reward_id"]))


class ListRewards(Endpoint):
    access = Scope.READ

    def handle(self, data: Any, request: HttpRequest) -> dict[str, Any]:
        rows = list(Reward.objects.live().with_parts())
        return {
            "coupons": [coupon(row) for row in rows if row.is_coupon],
            "feature_grants": [feature_grant(row) for row in rows if not row.is_coupon],
        }


class UpdateReward(Endpoint):
    """What is left out stays as it is."""

    Input = serializers.RewardChangesInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        return reward(rewards.update(slug=data["reward_id"], changes=serializers.changes(data)))


class DeleteReward(Endpoint):
    Input = serializers.OneRewardInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        rewards.delete(slug=data["reward_id"], at=clock.now())
        return {"success": True}


class RedeemReward(Endpoint):
    """Give a customer what a code stands for."""

    Input = serializers.RedeemInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = customers.get(data["customer_id"])
        at = customer.now(clock.now())
        redeemed = rewards.redeem(customer=customer, code=data["code"], at=at, actor=self.actor)
        return {
            "reward_id": redeemed.reward.slug,
            "entitlements_granted": [
                {"feature_id": feature.slug, "balance": balance} for feature, balance in redeemed.granted
            ],
        }


def reward(row: Reward) -> dict[str, Any]:
    """A coupon or granted features, each under a key of its own."""
    return {"coupon": coupon(row)} if row.is_coupon else {"feature_grant": feature_grant(row)}


def coupon(row: Reward) -> dict[str, Any]:
    return {
        "id": row.slug,
        "name": row.name,
        "type": row.type,
        "value": row.value,
        "duration": {"type": row.duration, "length": row.duration_months},
        "plan_ids": list(row.plan_ids) or None,
        "promo_codes": [
            {
                "code": one.code,
                "global_max_redemption": one.most_redemptions,
                "first_time_transaction": one.is_for_first_purchase,
            }
            for one in row.codes.all()
        ],
        "created_at": milliseconds(row.created_at),
    }


def feature_grant(row: Reward) -> dict[str, Any]:
    return {
        "id": row.slug,
        "name": row.name,
        "grants": [
            {
                "feature_id": one.feature.slug,
                "included": one.included,
                "expiry": {"type": one.expiry_unit, "length": one.expiry_count} if one.expiry_unit else None,
            }
            for one in row.grants.all()
        ],
        "promo_codes": [{"code": one.code, "max_uses": one.most_redemptions} for one in row.codes.all()],
        "created_at": milliseconds(row.created_at),
    }

"""rewards.*: coupons and granted features, their codes, and the catalogue that `atmn` pushes and pulls."""

from decimal import Decimal
from typing import Any

import pytest

from billing.models import Reward, RewardCode
from tests.builders import Account, item
from tests.client import Api

COUPON: dict[str, Any] = {
    "id": "summer",
    "name": "Summer sale",
    "type": "percentage_discount",
    "value": 20,
    "duration": {"type": "months", "length": 3},
    "plan_ids": None,
    "promo_codes": [{"code": "SUMMER20", "global_max_redemption": 100, "first_time_transaction": True}],
}
GRANT: dict[str, Any] = {
    "id": "beta",
    "name": "Beta testers",
    "grants": [
        {"feature_id": "messages", "included": 1000, "expiry": {"type": "month", "length": 1}},
        {"feature_id": "dashboard", "included": None, "expiry": None},
    ],
    "promo_codes": [{"code": "BETA", "max_uses": 2}],
}


@pytest.fixture(scope="module")
def account(stage: Api) -> Account:
    """Acme since 1 April 2026, with Pro to attach."""
    account = Account(stage, since="2026-04-01")
    account.offer("messages", "dashboard")
    account.plan("pro", item("messages", 10), price={"amount": 20, "interval": "month"})
    return account


@pytest.fixture
def acme(account: Account, db: None) -> Account:
    return account


def test_a_coupon_is_created_and_read_back(api: Api, acme: Account) -> None:
    made = api.post("rewards.create", coupon=COUPON)
    assert {**made["coupon"], "created_at": 0} == {**COUPON, "created_at": 0}
    assert api.post("rewards.get", reward_id="summer") == made
    assert api.post("rewards.list") == {"coupons": [made["coupon"]], "feature_grants": []}


def test_granted_features_are_created_and_read_back(api: Api, acme: Account) -> None:
    made = api.post("rewards.create", feature_grant=GRANT)
    assert {**made["feature_grant"], "created_at": 0} == {**GRANT, "created_at": 0}
    assert api.post("rewards.get", reward_id="beta") == made
    assert api.post("rewards.list") == {"coupons": [], "feature_grants": [made["feature_grant"]]}


def test_an_update_changes_what_it_names_and_keeps_what_was_redeemed(api: Api, acme: Account) -> None:
    api.post("rewards.create", coupon=COUPON)
    RewardCode.objects.update(redeemed=3)
    changed = api.post("rewards.update", reward_id="summer", coupon={"name": "Autumn", "plan_ids": ["pro"]})["coupon"]
    assert (changed["name"], changed["plan_ids"], changed["promo_codes"]) == ("Autumn", ["pro"], COUPON["promo_codes"])
    codes = [{"code": "summer20"}, {"code": "MORE"}]
    api.post("rewards.update", reward_id="summer", coupon={"promo_codes": codes, "plan_ids": None})
    assert list(RewardCode.objects.values_list("code", "redeemed")) == [("summer20", 3), ("MORE", 0)]
    fewer = {"promo_codes": [{"code": "SUMMER20", "global_max_redemption": 2}]}
    assert "redeemed 3 times" in api.refused(400, "rewards.update", reward_id="summer", coupon=fewer)["message"]
    assert api.refused(404, "rewards.update", reward_id="winter", coupon={"name": "x"})["code"] == "reward_not_found"


def test_a_deleted_reward_frees_its_id_and_codes(api: Api, acme: Account) -> None:
    api.post("rewards.create", coupon=COUPON)
    assert api.post("rewards.delete", reward_id="summer") == {"success": True}
    assert api.refused(404, "rewards.get", reward_id="summer")["code"] == "reward_not_found"
    api.post("rewards.create", coupon=COUPON)
    assert Reward.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"value": 0}, 400, "value"),
        ({"value": 100.5}, 400, "value"),
        ({"type": "free_lunch"}, 400, "type"),
        ({"duration": {"type": "months", "length": None}}, 400, "duration.length"),
        ({"duration": {"type": "forever", "length": 2}}, 400, "duration.length"),
        ({"promo_codes": [{"code": "A"}, {"code": "a"}]}, 400, "promo_codes"),
        ({"plan_ids": ["pro", "pro"]}, 400, "plan_ids"),
        ({"plan_ids": ["nothing"]}, 404, "nothing"),
        ({"name": " "}, 400, "name"),
    ],
)
def test_a_coupon_that_makes_no_sense_is_refused(
    api: Api, acme: Account, changes: dict[str, Any], status: int, says: str
) -> None:
    answer = api.refused(status, "rewards.create", coupon={**COUPON, **changes})
    assert says in answer["message"]
    assert not Reward.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"grants": []}, 400, "grants"),
        ({"promo_codes": []}, 400, "promo_codes"),
        ({"grants": [{"feature_id": "messages", "included": None, "expiry": None}]}, 400, "messages"),
        ({"grants": [{"feature_id": "dashboard", "included": 1, "expiry": None}]}, 400, "dashboard"),
        ({"grants": [{"feature_id": "nothing", "included": 1, "expiry": None}]}, 404, "nothing"),
        ({"grants": [*GRANT["grants"], GRANT["grants"][0]]}, 400, "grants"),
    ],
)
def test_granted_features_that_make_no_sense_are_refused(
    api: Api, acme: Account, changes: dict[str, Any], status: int, says: str
) -> None:
    assert says in api.refused(status, "rewards.create", feature_grant={**GRANT, **changes})["message"]
    assert not Reward.objects.exists()


def test_ids_and_codes_are_taken_once(api: Api, acme: Account) -> None:
    api.post("rewards.create", coupon=COUPON)
    assert api.refused(409, "rewards.create", coupon=COUPON)["code"] == "duplicate_reward_id"
    other = {**COUPON, "id": "other", "promo_codes": [{"code": "summer20"}]}
    assert api.refused(409, "rewards.create", coupon=other)["code"] == "promo_code_already_exists"
    assert api.refused(400, "rewards.create")["code"] == "invalid_inputs"
    assert api.refused(400, "rewards.create", coupon=COUPON, feature_grant=GRANT)["code"] == "invalid_inputs"


def test_redeeming_grants_features_once_for_as_long_as_they_last(api: Api, acme: Account) -> None:
    api.post("rewards.create", feature_grant=GRANT)
    given = api.post("rewards.redeem", code="beta", customer_id="acme")
    assert given == {
        "reward_id": "beta",
        "entitlements_granted": [
            {"feature_id": "messages", "balance": 1000},
            {"feature_id": "dashboard", "balance": 0},
        ],
    }
    assert acme.numbers() == (1000, 1000, 0)
    assert acme.allows(1, "dashboard")
    again = api.refused(409, "rewards.redeem", code="BETA", customer_id="acme")
    assert again["code"] == "reward_already_redeemed"
    acme.turn_clock("2026-05-02")
    assert not acme.allows()


def test_a_code_can_be_redeemed_so_often(api: Api, acme: Account) -> None:
    api.post("rewards.create", feature_grant=GRANT)
    for customer_id in ("acme", "globex"):
        Account(api, customer_id)
        api.post("rewards.redeem", code="BETA", customer_id=customer_id)
    Account(api, "initech")
    assert api.refused(400, "rewards.redeem", code="BETA", customer_id="initech")["code"] == "invalid_promo_code"
    assert api.refused(404, "rewards.redeem", code="WHAT", customer_id="acme")["code"] == "reward_not_found"
    assert api.refused(404, "rewards.redeem", code="BETA", customer_id="who")["code"] == "customer_not_found"


def test_a_redeemed_coupon_lowers_everything_that_the_customer_pays(api: Api, acme: Account) -> None:
    api.post("rewards.create", coupon=COUPON)
    api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.join("alice")
    given = api.post("rewards.redeem", code="SUMMER20", customer_id="acme")
    assert given == {"reward_id": "summer", "entitlements_granted": []}
    acme.attach("pro")
    acme.attach("pro", by="alice")
    shown = acme.get(expand=["invoices", "rewards"])
    assert [invoice["total"] for invoice in shown["invoices"]] == [16, 16]
    (discount,) = shown["rewards"]["discounts"]
    assert (discount["id"], discount["discount_value"], discount["total_discount_amount"]) == ("summer", 20, 8)
    assert api.refused(400, "rewards.redeem", code="SUMMER20", customer_id="acme")["code"] == "invalid_promo_code"


def catalogue(api: Api, *rewards: dict[str, Any], **more: Any) -> dict[str, Any]:
    features = [
        {key: one[key] for key in ("name", "type", "consumable") if key in one} | {"feature_id": one["id"]}
        for one in api.post("features.list")["list"]
    ]
    return {"features": features, "rewards": list(rewards), "skip_plan_ids": ["pro"], **more}


def test_a_push_says_and_does_what_becomes_of_rewards(api: Api, acme: Account) -> None:
    first = catalogue(api, {"coupon": COUPON}, {"feature_grant": GRANT})
    assert api.post("catalog.preview_update", **first)["reward_changes"] == [
        {"id": "summer", "action": "created"},
        {"id": "beta", "action": "created"},
    ]
    assert not Reward.objects.exists()
    pushed = api.post("catalog.update", **first)["rewards"]
    assert [next(iter(one.values()))["id"] for one in pushed] == ["summer", "beta"]
    again = api.post("catalog.preview_update", **first)["reward_changes"]
    assert [change["action"] for change in again] == ["none", "none"]
    second = catalogue(api, {"coupon": {**COUPON, "value": Decimal("12.5")}})
    assert api.post("catalog.preview_update", **second)["reward_changes"] == [
        {"id": "summer", "action": "updated"},
        {"id": "beta", "action": "deleted"},
    ]
    api.post("catalog.update", **second)
    shown = api.post("rewards.list")
    assert ([one["value"] for one in shown["coupons"]], shown["feature_grants"]) == ([Decimal("12.5")], [])


def test_a_push_that_does_not_speak_of_rewards_leaves_them(api: Api, acme: Account) -> None:
    api.post("rewards.create", coupon=COUPON)
    silent = catalogue(api)
    del silent["rewards"]
    assert api.post("catalog.preview_update", **silent)["reward_changes"] == []
    assert api.post("catalog.preview_update", **catalogue(api, skip_deletions=True))["reward_changes"] == []
    api.post("catalog.update", **silent)
    assert Reward.objects.live().count() == 1


def test_a_feature_that_a_reward_grants_is_in_use(api: Api, acme: Account) -> None:
    api.post("rewards.create", feature_grant=GRANT)
    assert api.refused(400, "features.delete", feature_id="dashboard")["code"] == "feature_in_use"
    api.post("rewards.delete", reward_id="beta")
    assert api.post("features.delete", feature_id="dashboard") == {"success": True}

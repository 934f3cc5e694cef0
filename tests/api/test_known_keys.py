"""Every key that the clients know is in the answer, null where it says nothing.

The clients of 1.0 and 1.2 raise on a missing key, be it optional (contract/wire.md 0.5).
"""

from typing import Any

import pytest

from tests.builders import Account, item, limit
from tests.client import Api

BALANCE = {
    "feature_id", "feature", "granted", "remaining", "usage", "unlimited", "overage_allowed", "max_purchase",
    "next_reset_at", "breakdown", "rollovers",
}  # fmt: skip
BREAKDOWN = {
    "id", "plan_id", "included_grant", "prepaid_grant", "remaining", "usage", "unlimited", "reset", "price",
    "expires_at",
}  # fmt: skip
BREAKDOWN_PRICE = {"amount", "tiers", "tier_behavior", "billing_units", "billing_method", "max_purchase"}
FLAG = {"id", "plan_id", "expires_at", "feature_id", "feature"}
CONTROLS = {"auto_topups", "spend_limits", "usage_limits", "usage_alerts", "overage_allowed"}
CUSTOMER = {
    "id", "name", "email", "created_at", "fingerprint", "stripe_id", "env", "metadata", "send_email_receipts",
    "billing_controls", "subscriptions", "purchases", "licenses", "balances", "flags", "config", "processors",
    "invoices", "invoice_previews", "entities", "trials_used", "rewards", "referrals", "payment_method",
}  # fmt: skip
ENTITY = {
    "id", "name", "customer_id", "feature_id", "created_at", "env", "subscriptions", "purchases", "balances", "flags",
    "billing_controls", "invoices",
}  # fmt: skip
OFFER = {
    "id", "name", "group", "env", "is_add_on", "is_default", "archived", "version", "created_at", "items",
    "free_trial", "base_variant_id", "billing_controls", "scenario", "properties",
}  # fmt: skip
OFFERED_ITEM = {
    "type", "feature_id", "feature_type", "included_usage", "interval", "interval_count", "price", "tiers",
    "tier_behavior", "usage_model", "billing_units", "reset_usage_when_enabled", "entity_feature_id", "display",
    "quantity", "next_cycle_quantity", "config",
}  # fmt: skip


@pytest.fixture(scope="module")
def account(stage: Api) -> Account:
    """Acme on a plan with a flat and a tiered price and a switch, with Alice."""
    acme = Account(stage)
    stage.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    usage = {"interval": "month", "billing_method": "usage_based", "billing_units": 1}
    tiers = [{"to": 10, "amount": 2}, {"to": "inf", "amount": 1}]
    acme.hold(
        item("messages", 100, price={**usage, "amount": 1}),
        item("requests", 10, price={**usage, "tiers": tiers}),
        item("seats", 5),
        item("dashboard"),
    )
    acme.join("alice")
    return acme


@pytest.fixture
def acme(account: Account, db: None) -> Account:
    return account


def assert_known(shown: Any, *keys: set[str]) -> None:
    """The keys are there, in each if it is a list of objects."""
    for one in shown if isinstance(shown, list) else [shown]:
        assert not set().union(*keys) - one.keys()


@pytest.mark.parametrize("member", ["", "alice"])
def test_a_customer_and_an_entity_have_them_all(acme: Account, member: str) -> None:
    shown = acme.get(member)
    assert_known(shown, ENTITY if member else CUSTOMER)
    assert_known(shown["billing_controls"], CONTROLS)
    assert_known(list(shown["flags"].values()), FLAG)
    assert_known(list(shown["balances"].values()), BALANCE)
    for balance in shown["balances"].values():
        assert_known(balance["breakdown"], BREAKDOWN)
        assert_known([row["price"] for row in balance["breakdown"] if row["price"]], BREAKDOWN_PRICE)
    assert shown["balances"]["messages"]["breakdown"][0]["price"]["tiers"] is None
    assert shown["balances"]["requests"]["breakdown"][0]["price"]["amount"] is None


def test_a_list_of_controls_that_was_never_set_is_null_and_may_be_sent_back(acme: Account) -> None:
    acme.control(limit(5))
    shown = acme.get()["billing_controls"]
    assert shown["usage_limits"][0]["limit"] == 5
    assert shown["spend_limits"] is None
    acme.control({**shown, "usage_limits": []})
    assert acme.get()["billing_controls"]["usage_limits"] == []


def test_check_and_track_have_them_all(acme: Account) -> None:
    assert_known(acme.check()["balance"], BALANCE)
    assert_known(acme.check(feature="dashboard")["flag"], FLAG)
    assert_known(acme.track()["balance"], BALANCE)


@pytest.mark.parametrize("member", ["", "alice"])
def test_balances_and_flags_carry_their_feature_when_it_is_asked_for(acme: Account, member: str) -> None:
    shown = acme.get(member, expand=["balances.feature", "flags.feature"])
    assert shown["balances"]["messages"]["feature"] == acme.api.post("features.get", feature_id="messages")
    assert shown["flags"]["dashboard"]["feature"]["name"] == "Dashboard"


def test_the_plans_that_a_refused_check_offers_say_what_choosing_them_would_be(acme: Account) -> None:
    acme.plan("pro", item("messages", 900), price={"amount": 20, "interval": "month"})
    acme.plan("other", item("messages", 900), group="others", free_trial={"duration_length": 7})
    acme.control({"overage_allowed": [{"feature_id": "messages", "enabled": False}]})
    offered = acme.check(5000, with_preview=True)["preview"]["products"]
    assert_known(offered, OFFER)
    for plan in offered:
        assert_known(plan["items"], OFFERED_ITEM)
    assert {plan["id"]: plan["scenario"] for plan in offered} == {"free": "active", "pro": "upgrade", "other": "new"}
    assert {plan["id"]: plan["properties"]["is_free"] for plan in offered} == {
        "free": False, "pro": False, "other": True,
    }  # fmt: skip


def test_sums_of_events_have_them_all(acme: Account) -> None:
    acme.track(3)
    sums = acme.api.post("events.aggregate", customer_id="acme", feature_id="messages", range="7d")
    assert_known(sums, {"list", "total", "deductions"})
    assert_known(sums["list"], {"period", "values", "grouped_values"})

"""Trials of one scope: they never touch a sibling, are had once, and are never billed."""

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms, seats

TWO_WEEKS = {"duration_length": 14, "duration_type": "day", "card_required": True}


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("free", None, monthly("messages", 10))
    shop.plan("pro", 20, monthly("messages", 100, amount=0.1), free_trial=TWO_WEEKS)
    shop.plan("premium", 50, monthly("messages", 500, amount=0.1))
    shop.plan("ultra", 80, monthly("messages", 900, amount=0.1), free_trial=TWO_WEEKS)
    return shop


def test_a_preview_says_when_the_trial_ends_and_what_it_costs_then(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro", entity_id="a")
    assert (preview["total"], preview["next_cycle"]["starts_at"], preview["next_cycle"]["total"]) == (
        0,
        ms("2026-04-15"),
        20,
    )
    shop.attach("pro", "a")
    row = shop.entity("a")["subscriptions"][0]
    assert (row["trial_ends_at"], row["current_period_end"]) == (ms("2026-04-15"), ms("2026-04-15"))
    assert shop.invoices() == [0]
    assert [row["status"] for row in shop.processor()] == ["trialing"]
    shop.on("2026-04-16")
    assert [row["status"] for row in shop.processor()] == ["active"]
    assert shop.entity("a")["subscriptions"][0]["current_period_end"] == ms("2026-05-15")


def test_a_siblings_trial_goes_on_when_one_upgrades_out_of_it(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.on("2026-04-08")
    assert shop.buys("premium", "a") == 50
    assert (shop.plans("a"), shop.plans("b")) == ({"premium": "active"}, {"pro": "trialing"})
    shop.on("2026-04-16")
    assert shop.plans("b") == {"pro": "active"}
    assert shop.invoices()[0] == 20


def test_from_trial_to_a_dearer_trial_starts_afresh(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.on("2026-04-08")
    assert shop.buys("ultra", "a") == 0
    assert shop.entity("a")["subscriptions"][0]["trial_ends_at"] == ms("2026-04-22")
    assert shop.entity("b")["subscriptions"][0]["trial_ends_at"] == ms("2026-04-15")


def test_a_trial_ends_into_a_free_plan_that_was_scheduled(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    assert shop.buys("free", "a") == 0
    assert shop.plans("a") == {"pro": "trialing canceling", "free": "scheduled"}
    shop.uses("messages", 300, "a")
    shop.on("2026-04-16")
    assert shop.plans("a") == {"free": "active"}
    assert shop.invoices() == [0]
    assert shop.left("messages", "a") == 10


@pytest.mark.parametrize("action", ["cancel_end_of_cycle", "cancel_immediately"])
def test_a_canceled_trial_costs_nothing(shop: Shop, action: str) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.uses("messages", 500, "a")
    shop.on("2026-04-05")
    assert shop.changes("pro", "a", cancel_action=action) == 0
    if action == "cancel_end_of_cycle":
        assert shop.entity("a")["subscriptions"][0]["expires_at"] == ms("2026-04-15")
    shop.on("2026-05-16")
    assert shop.plans("a") == {}
    assert shop.invoices() == [0]
    assert shop.processor() == []


def test_usage_of_the_trial_is_not_billed_and_that_after_it_is(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.uses("messages", 500, "a")
    shop.on("2026-04-16")
    assert shop.left("messages", "a") == 100
    shop.uses("messages", 150, "a")
    shop.on("2026-05-16")
    assert shop.invoices() == [25, 20, 0]


def test_after_a_canceled_trial_the_plan_is_charged_in_full_to_that_workspace_only(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.update("pro", "a", cancel_action="cancel_immediately")
    assert shop.buys("pro", "a") == 20
    assert shop.plans("a") == {"pro": "active"}
    assert shop.buys("pro", "b") == 0
    assert shop.buys("pro") == 0


def test_without_a_card_a_trial_that_asks_for_one_goes_through_a_page(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", card=None)
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro", entity_id="a")
    assert (preview["redirect_to_checkout"], preview["checkout_type"]) == (True, "stripe_checkout")
    assert shop.attach("pro", "a")["payment_url"]
    assert shop.plans("a") == {}
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.plans("a") == {"pro": "trialing"}
    shop.on("2026-04-16")
    assert shop.invoices() == [20, 0]


def test_a_trial_whose_first_payment_fails_is_past_due(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.card("declines")
    shop.on("2026-04-16")
    assert shop.plans("a") == {"pro": "past_due"}
    assert shop.customer("invoices")["invoices"][0]["status"] == "open"


def test_without_a_card_the_free_default_takes_over(shop: Shop) -> None:
    shop.api.post("plans.update", plan_id="free", auto_enable=True)
    shop.plan("tryout", 20, monthly("messages", 100), free_trial={**TWO_WEEKS, "card_required": False})
    shop.opens("2026-04-01", card=None)
    assert shop.buys("tryout") == 0
    shop.on("2026-04-16")
    assert shop.plans() == {"free": "active"}
    assert shop.left("messages") == 10
    assert shop.invoices() == [0]


def test_removing_a_trial_charges_from_now(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.on("2026-04-05")
    assert shop.changes("pro", "a", customize={"free_trial": None}) == 20
    assert shop.plans("a") == {"pro": "active"}
    assert shop.entity("a")["subscriptions"][0]["current_period_end"] == ms("2026-05-05")


def test_seats_taken_in_a_trial_are_billed_from_its_end(shop: Shop) -> None:
    item = seats(1, 10, "prorate_immediately", "prorate_immediately")
    shop.plan("team", 30, item, group="team", free_trial=TWO_WEEKS)
    shop.opens("2026-04-01", "ada")
    shop.buys("team")
    shop.joins("bob")
    shop.joins("cleo")
    shop.leaves("bob")
    assert shop.invoices() == [0]
    shop.on("2026-04-16")
    assert shop.invoices() == [40, 0]


def test_a_months_trial_from_the_31st_ends_on_the_last_of_february(shop: Shop) -> None:
    month = {"duration_length": 1, "duration_type": "month", "card_required": True}
    shop.plan("monthly", 20, monthly("words", 1), group="m", free_trial=month)
    shop.opens("2027-01-31")
    shop.buys("monthly")
    shop.on("2027-03-29")
    assert shop.invoices() == [20, 20, 0]  # 28 February and, counted from it, 28 March

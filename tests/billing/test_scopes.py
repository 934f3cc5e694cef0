"""A customer's plan and those of its workspaces: each scope by itself, one cycle, one payer."""

from decimal import Decimal

import pytest

from tests.selling import Shop, monthly, ms, prepaid

D = Decimal


def test_the_same_plan_on_the_customer_and_on_a_workspace(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    assert shop.buys("pro") == 20
    assert shop.buys("pro", "a") == 20
    assert shop.plans() == {"pro": "active"}
    assert shop.plans("a") == {"pro": "active"}
    assert shop.left("messages") == shop.left("messages", "a") == 1000
    assert {row["entity_id"] for row in shop.processor()} == {None, "a"}


def test_a_year_beside_a_month_counts_from_the_same_day(shop: Shop) -> None:
    shop.plan("yearly", 365, monthly("messages", 100), every="year")
    shop.opens("2026-04-01", "a", "b")
    assert shop.buys("yearly", "a") == 365
    shop.on("2026-04-22")
    assert shop.buys("pro", "b") == 6  # 20 * 9/30
    shop.on("2026-05-02")
    assert shop.invoices() == [20, 6, 365]
    shop.on("2027-04-02")
    assert shop.invoices()[:2] in ([20, 365], [365, 20])


def test_a_year_that_joins_a_month_is_paid_to_the_end_of_the_shared_year(shop: Shop) -> None:
    shop.plan("yearly", 500, monthly("messages", 100), every="year")
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.on("2026-05-16")
    assert shop.buys("yearly") == D("438.36")  # 500 * 320/365


def test_every_workspace_buys_its_own_packs(shop: Shop) -> None:
    shop.plan("pack", 20, prepaid("words", 100, 10, 100, reset={"interval": "month"}), group="p")
    shop.opens("2026-04-01", "a", "b")
    assert shop.buys("pack", "a", feature_quantities=[{"feature_id": "words", "quantity": 300}]) == 40
    shop.on("2026-04-16")
    assert shop.buys("pack", "b", feature_quantities=[{"feature_id": "words", "quantity": 500}]) == 30
    assert (shop.left("words", "a"), shop.left("words", "b"), shop.left("words")) == (300, 500, 800)
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:2]) == [40, 60]


def test_what_a_workspace_sees_is_its_own_and_the_customers_never_a_siblings(shop: Shop) -> None:
    shop.plan("base", 100, monthly("messages", 10_000), group="base")
    shop.opens("2026-04-01", "a", "b")
    shop.buys("base")
    shop.buys("pro", "a")
    shop.buys("premium", "b")
    assert (shop.left("messages"), shop.left("messages", "a"), shop.left("messages", "b")) == (11_500, 10_500, 11_000)
    shown = [(row["plan_id"], row["scope"]) for row in shop.entity("a")["subscriptions"]]
    assert shown == [("pro", "entity"), ("base", "customer")]
    assert {row["plan_id"] for row in shop.customer()["subscriptions"]} == {"base", "pro", "premium"}
    shop.uses("messages", 600, "a")
    assert (shop.left("messages", "a"), shop.left("messages", "b")) == (9_900, 10_900)


def test_an_upgrade_of_the_customer_leaves_its_workspaces_alone(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro")
    shop.buys("pro", "a")
    shop.on("2026-04-16")
    assert shop.buys("premium") == 15
    assert shop.plans("a") == {"pro": "active"}
    shop.update("premium", cancel_action="cancel_immediately")
    assert shop.plans("a") == {"pro": "active"}
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 20


def test_when_the_first_plan_is_gone_the_cycle_of_the_others_stays(shop: Shop) -> None:
    shop.opens("2026-04-10", "a", "b", "c")
    shop.buys("pro", "a")
    shop.on("2026-04-25")
    assert shop.buys("pro", "b") == 10
    shop.update("pro", "a", cancel_action="cancel_immediately")
    assert shop.buys("pro", "c") == 10
    shop.on("2026-05-11")
    assert shop.invoices()[:2] == [20, 20]


def test_when_nothing_is_paid_any_more_the_next_plan_begins_a_cycle(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.on("2026-04-16")
    shop.update("pro", "a", cancel_action="cancel_immediately")
    shop.on("2026-04-20")
    assert shop.buys("pro", "a") == 20
    assert shop.entity("a")["subscriptions"][0]["current_period_end"] == ms("2026-05-20")


def test_plans_of_other_groups_stand_side_by_side(shop: Shop) -> None:
    shop.plan("support", 30, monthly("words", 5), group="support")
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.on("2026-04-16")
    assert shop.buys("support", "a") == 15
    assert shop.plans("a") == {"pro": "active", "support": "active"}
    shop.update("support", "a", cancel_action="cancel_end_of_cycle")
    assert shop.plans("a") == {"pro": "active", "support": "canceling"}
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 20


def test_a_free_plan_costs_nothing_and_leaves_no_invoice(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", card=None)
    assert shop.buys("free", "a") == 0
    assert shop.invoices() == []
    assert shop.processor() == []
    assert shop.left("messages", "a") == 100


@pytest.mark.parametrize("asks", [True, False])
def test_a_subscription_of_its_own_only_on_request(shop: Shop, asks: bool) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro")
    shop.on("2026-04-16")
    more = {"new_billing_subscription": True} if asks else {}
    assert shop.buys("premium", "a", **more) == (50 if asks else 25)
    end = shop.entity("a")["subscriptions"][0]["current_period_end"]
    assert end == ms("2026-05-16" if asks else "2026-05-01")


def test_a_request_for_its_own_subscription_is_ignored_on_an_upgrade(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.on("2026-04-16")
    assert shop.buys("premium", "a", new_billing_subscription=True) == 15
    assert len(shop.processor()) == 1


def test_an_add_on_of_a_workspace_is_on_its_invoice(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.on("2026-04-16")
    assert shop.buys("extra", "a") == 5
    assert (shop.left("words", "a"), shop.left("words", "b")) == (200, None)
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:2]) == [20, 30]
    assert len(shop.processor()) == 2


def test_an_add_on_alone_needs_no_plan(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01", "a")
    assert shop.buys("extra", "a") == 10
    shop.on("2026-04-16")
    assert shop.buys("pro", "a") == 10
    assert shop.plans("a") == {"extra": "active", "pro": "active"}
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 30


def test_a_one_off_plan_leaves_the_recurring_one(shop: Shop) -> None:
    shop.plan("lifetime", 99, {"feature_id": "words", "included": 100}, every="one_off")
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    assert shop.buys("lifetime", "a") == 99
    assert shop.buys("lifetime", "a") == 99
    assert shop.plans("a") == {"pro": "active"}
    assert shop.left("words", "a") == 200
    assert [row["scope"] for row in shop.entity("a")["purchases"]] == ["entity", "entity"]
    shop.on("2026-05-02")
    assert shop.left("words", "a") == 200
    assert shop.invoices()[0] == 20

"""A workspace that is deleted takes its plans along, without a credit and without a bill."""

import pytest

from tests.selling import CUSTOMER, Shop, monthly, seats


@pytest.mark.parametrize("plan", ["free", "pro"])
def test_its_plan_ends_without_credit_and_its_siblings_go_on(shop: Shop, plan: str) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys(plan, "a")
    shop.buys("pro", "b")
    shop.on("2026-04-16")
    before = shop.invoices()
    shop.leaves("a")
    assert shop.invoices() == before
    assert [row["entity_id"] for row in shop.processor()] == ["b"]
    assert {row["plan_id"] for row in shop.customer()["subscriptions"]} == {"pro"}
    assert shop.left("messages") == 500
    shop.on("2026-05-02")
    assert shop.invoices() == [20, *before]


def test_its_overage_is_never_billed(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("words", 100, amount=0.1), group="m")
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.uses("words", 900, "a")
    shop.leaves("a")
    shop.on("2026-06-02")
    assert shop.invoices() == [20]


def test_what_was_scheduled_or_added_for_it_goes_too(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01", "a")
    shop.buys("premium", "a")
    shop.buys("pro", "a")
    shop.buys("extra", "a")
    shop.leaves("a")
    assert shop.customer()["subscriptions"] == []
    assert shop.processor() == []
    shop.on("2026-06-02")
    assert shop.invoices() == [10, 50]


def test_its_id_starts_afresh(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.uses("messages", 400, "a")
    shop.on("2026-04-16")
    shop.leaves("a")
    shop.joins("a")
    assert shop.plans("a") == {}
    assert shop.left("messages", "a") is None
    assert shop.buys("pro", "a") == 20
    assert shop.left("messages", "a") == 500
    assert len(shop.invoices()) == 2


def test_a_prorated_seat_is_credited_although_its_plan_is_not(shop: Shop) -> None:
    shop.plan("team", 30, seats(0, 10, "prorate_immediately", "prorate_immediately"), group="team")
    shop.opens("2026-04-01", "a")
    assert shop.buys("team") == 40
    shop.buys("pro", "a")
    shop.on("2026-04-16")
    shop.leaves("a")
    assert shop.invoices()[0] == -5
    assert [row["entity_id"] for row in shop.processor()] == [None]


def test_an_unknown_one_is_not_found(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.leaves("a")
    for entity in ("a", "nobody"):
        refused = shop.api.refused(404, "entities.delete", customer_id=CUSTOMER, entity_id=entity)
        assert refused["code"] == "entity_not_found"
    refused = shop.api.refused(404, "billing.attach", customer_id=CUSTOMER, entity_id="a", plan_id="pro")
    assert refused["code"] == "entity_not_found"

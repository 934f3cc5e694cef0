"""What is used beyond the grant: billed where the cycle ends, by item and by scope, rounded up once."""

from decimal import Decimal

import pytest

from tests.client import Api
from tests.selling import Shop, monthly, seats

D = Decimal


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    return Shop(stage)


def test_every_workspace_has_its_overage_on_its_own_invoice(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("messages", 100, amount=0.1))
    shop.opens("2026-04-01", "a", "b", "c")
    for entity, value in (("a", 150), ("b", 300), ("c", 60)):
        shop.buys("metered", entity)
        shop.uses("messages", value, entity)
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:3]) == [20, 25, 40]
    assert [shop.left("messages", entity) for entity in "abc"] == [100, 100, 100]
    shop.on("2026-06-02")
    assert shop.invoices()[:3] == [20, 20, 20]


def test_overage_of_packs_is_rounded_up_for_each_workspace(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("messages", 100, amount=1, billing_units=10))
    shop.opens("2026-04-01", "a", "b")
    for entity, value in (("a", 155), ("b", 123)):
        shop.buys("metered", entity)
        shop.uses("messages", value, entity)
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:2]) == [23, 26]


def test_overage_of_slices_is_summed_and_then_rounded_up(shop: Shop) -> None:
    shop.plan("team", 20, monthly("messages", 100, per="seats", amount=1, billing_units=10))
    shop.opens("2026-04-01", "a", "b")
    shop.buys("team")
    shop.uses("messages", 155, "a")
    shop.uses("messages", 123, "b")
    shop.on("2026-05-02")
    assert shop.invoices() == [28, 20]


def test_yearly_plans_bill_their_overage_by_the_month(shop: Shop) -> None:
    shop.plan("yearly", 200, monthly("messages", 100, amount=0.1), every="year")
    shop.opens("2026-04-01", "a")
    shop.buys("yearly", "a")
    shop.uses("messages", 200, "a")
    shop.on("2026-05-02")
    assert shop.invoices() == [10, 200]
    shop.on("2027-04-02")
    assert shop.invoices()[0] == 200
    assert sum(shop.invoices()) == 410


def test_items_of_other_intervals_are_billed_when_their_own_cycle_ends(shop: Shop) -> None:
    quarterly = {
        "feature_id": "words",
        "included": 0,
        "reset": {"interval": "quarter"},
        "price": {"amount": 1, "interval": "quarter", "billing_method": "usage_based"},
    }
    shop.plan("mixed", 30, monthly("messages", 0, amount=1), quarterly)
    shop.opens("2026-04-01")
    shop.buys("mixed")
    for month in ("2026-05-02", "2026-06-02", "2026-07-02"):
        shop.uses("messages", 20)
        if month == "2026-05-02":
            shop.uses("words", 25)
        shop.on(month)
    assert shop.invoices() == [75, 50, 50, 30]


def test_an_upgrade_bills_overage_once(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("messages", 100, amount=0.1))
    shop.plan("metered2", 50, monthly("messages", 500, amount=0.1))
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.uses("messages", 150, "a")
    shop.on("2026-04-16")
    assert shop.buys("metered2", "a") == 20
    assert shop.left("messages", "a") == 500
    shop.uses("messages", 510, "a")
    shop.on("2026-05-02")
    assert shop.invoices() == [51, 20, 20]


def test_usage_carried_over_is_billed_by_the_plan_it_went_to(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("messages", 100, amount=0.1))
    shop.plan("metered2", 50, monthly("messages", 120, amount=0.2))
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.uses("messages", 150, "a")
    assert shop.buys("metered2", "a", carry_over_usages={"enabled": True}) == 30
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 56


def test_a_downgrade_bills_overage_at_the_old_price(shop: Shop) -> None:
    shop.plan("dear", 50, monthly("messages", 100, amount=0.2))
    shop.plan("cheap", 20, monthly("messages", 100, amount=0.1))
    shop.opens("2026-04-01", "a")
    shop.buys("dear", "a")
    shop.buys("cheap", "a")
    shop.uses("messages", 200, "a")
    shop.on("2026-05-02")
    assert shop.invoices() == [40, 50]


def test_several_features_and_a_fraction_of_a_cent(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("messages", 0, amount=0.0015), monthly("words", 10, amount=0.25))
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.uses("messages", 1010, "a")
    shop.uses("words", 17, "a")
    shop.on("2026-05-02")
    assert shop.invoices()[0] == D("23.27")  # 20 + 1.515 + 1.75, each line half up


def test_graduated_overage(shop: Shop) -> None:
    item = monthly("messages", 100, tiers=[{"to": 200, "amount": 0.5}, {"to": "inf", "amount": 0.1}])
    item["price"]["tier_behavior"] = "graduated"
    shop.plan("metered", None, item)
    shop.opens("2026-04-01", "a")
    shop.attach("metered", "a")
    shop.uses("messages", 350, "a")
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 50 + 15


def test_the_own_allowance_goes_first_and_only_the_owner_pays_overage(shop: Shop) -> None:
    shop.plan("base", 100, monthly("messages", 50), group="base")
    shop.plan("space", 20, monthly("messages", 100, amount=0.1))
    shop.opens("2026-04-01", "a")
    shop.buys("base")
    shop.buys("space", "a")
    shop.uses("messages", 180, "a")
    assert (shop.left("messages", "a"), shop.left("messages")) == (0, 0)
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:2]) == [23, 100]


def test_overage_at_the_boundary_is_billed_once_however_late_the_renewal(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("messages", 100, amount=0.1))
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.uses("messages", 150, "a")
    shop.on("2026-08-15")
    assert shop.invoices() == [20, 20, 20, 25, 20]


def test_seats_and_overage_end_on_one_invoice(shop: Shop) -> None:
    shop.plan("team", 30, seats(1, 10), monthly("messages", 50, per="seats", amount=0.5))
    shop.opens("2026-04-01", "ada", "bob")
    shop.buys("team")
    shop.uses("messages", 60, "ada")
    shop.on("2026-05-02")
    assert shop.invoices() == [45, 30]
    assert (shop.left("messages", "ada"), shop.left("messages", "bob")) == (50, 50)

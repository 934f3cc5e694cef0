"""Upgrades take effect at once: what counts as one, what it costs, what becomes of what was used."""

from decimal import Decimal
from typing import Any

import pytest

from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid

D = Decimal
GRADUATED = {"interval": "month", "billing_method": "prepaid", "tier_behavior": "graduated"}


def test_from_free_to_paid_the_cycle_begins_with_the_upgrade(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.attach("free", "a")
    shop.uses("messages", 40, "a")
    shop.on("2026-04-16")
    assert shop.buys("pro", "a") == 20
    assert shop.plans("a") == {"pro": "active"}
    balance = shop.entity("a")["balances"]["messages"]
    assert (balance["usage"], balance["remaining"], balance["next_reset_at"]) == (0, 500, ms("2026-05-16"))


def test_from_free_to_paid_beside_a_paying_workspace_joins_its_cycle(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.attach("free", "b")
    shop.on("2026-04-16")
    assert shop.buys("premium", "b") == 25
    assert shop.entity("b")["balances"]["messages"]["next_reset_at"] == ms("2026-05-01")
    assert shop.plans("a") == {"pro": "active"}


@pytest.mark.parametrize(
    ("held", "wanted", "cost"),
    [
        ((20, "month"), (50, "month"), 15),
        ((20, "month"), (20, "month"), 0),
        ((200, "year"), (20, "month"), D("-181.78")),  # 16.67 a month; -200*350/365 + 20*15/30
        ((240, "year"), (20, "month"), D("-220.14")),
        ((20, "month"), (500, "year"), D("469.45")),  # 500*350/365 - 10
        ((20, "month"), (200, "year"), D("181.78")),
        ((20, "month"), (5, "week"), D("-5.71")),  # weeks from 15 April: 5*6/7 - 10
    ],
)
def test_what_costs_no_less_a_month_or_lasts_longer_is_an_upgrade(
    shop: Shop, held: Any, wanted: Any, cost: Any
) -> None:
    shop.plan("before", held[0], every=held[1], group="g")
    shop.plan("after", wanted[0], every=wanted[1], group="g")
    shop.opens("2026-04-01")
    shop.buys("before")
    shop.on("2026-04-16")
    assert shop.buys("after") == cost
    assert shop.plans() == {"after": "active"}


@pytest.mark.parametrize(
    ("held", "wanted", "end"),
    [
        ((50, "month"), (20, "month"), "2026-05-01"),
        ((300, "year"), (20, "month"), "2027-04-01"),
        ((250, "year"), (20, "month"), "2027-04-01"),
    ],
)
def test_what_costs_less_a_month_is_a_downgrade(shop: Shop, held: Any, wanted: Any, end: str) -> None:
    shop.plan("before", held[0], every=held[1], group="g")
    shop.plan("after", wanted[0], every=wanted[1], group="g")
    shop.opens("2026-04-01")
    shop.buys("before")
    shop.on("2026-04-16")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="after")
    assert (preview["total"], preview["line_items"]) == (0, [])
    assert (preview["next_cycle"]["starts_at"], preview["next_cycle"]["total"]) == (ms(end), wanted[0])
    shop.buys("after")
    assert shop.plans() == {"before": "canceling", "after": "scheduled"}


def test_between_plans_of_usage_alone_every_change_is_an_upgrade(shop: Shop) -> None:
    shop.plan("dear", None, monthly("words", 0, amount=0.5), group="w")
    shop.plan("cheap", None, monthly("words", 0, amount=0.1), group="w")
    shop.opens("2026-04-01")
    shop.attach("dear")
    shop.uses("words", 10)
    assert shop.buys("cheap") == 5
    assert shop.plans() == {"cheap": "active"}


def test_a_tiered_price_counts_with_its_first_tier_whatever_was_bought(shop: Shop) -> None:
    tiers = [{"to": 1000, "amount": 30}, {"to": "inf", "amount": 1}]
    item = {**monthly("words", 0), "price": {**GRADUATED, "tiers": tiers}}
    shop.plan("flat", 25, group="t")
    shop.plan("tiered", None, item, group="t")
    shop.opens("2026-04-01")
    shop.buys("flat")
    assert shop.buys("tiered") == -25
    assert shop.plans() == {"tiered": "active"}


def test_an_equal_price_leaves_no_invoice(shop: Shop) -> None:
    shop.plan("twin", 20, monthly("messages", 700))
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-11")
    assert shop.buys("twin") == 0
    assert shop.invoices() == [20]
    assert shop.left("messages") == 700
    shop.on("2026-04-21")
    assert shop.buys("premium") == 10
    shop.on("2026-05-02")
    assert shop.invoices() == [50, 10, 20]


def test_an_upgrade_of_a_plan_that_is_being_canceled_goes_on(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    for entity in ("a", "b"):
        shop.buys("pro", entity)
        shop.update("pro", entity, cancel_action="cancel_end_of_cycle")
    shop.on("2026-04-16")
    assert shop.buys("premium", "a") == 15
    assert shop.plans("a") == {"premium": "active"}
    assert shop.plans("b") == {"pro": "canceling"}
    shop.on("2026-05-02")
    assert shop.plans("a") == {"premium": "active"}
    assert shop.plans("b") == {}
    assert shop.invoices() == [50, 15, 20, 20]


def test_an_upgrade_with_packs_credits_the_old_ones_and_charges_the_new(shop: Shop) -> None:
    shop.plan("small", 20, prepaid("words", 0, 10, 100, reset={"interval": "month"}), group="p")
    shop.plan("big", 50, prepaid("words", 100, 8, 100, reset={"interval": "month"}), group="p")
    shop.opens("2026-04-01", "a")
    assert shop.buys("small", "a", feature_quantities=[{"feature_id": "words", "quantity": 200}]) == 40
    shop.uses("words", 150, "a")
    shop.on("2026-04-16")
    # half of 74 less half of 40
    assert shop.buys("big", "a", feature_quantities=[{"feature_id": "words", "quantity": 400}]) == 17
    assert shop.left("words", "a") == 400
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 74


def test_a_second_upgrade_credits_what_the_first_one_charged(shop: Shop) -> None:
    shop.plan("ultra", 110, monthly("messages", 5000))
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-11")
    assert shop.buys("premium") == 20  # 30 * 20/30
    shop.on("2026-04-21")
    assert shop.buys("ultra") == 20  # 60 * 10/30
    assert sum(shop.invoices()) == 60


def test_a_discounted_purchase_is_credited_discounted(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro", customize={"price": {"amount": 10, "interval": "month"}})
    shop.on("2026-04-16")
    assert shop.buys("premium") == 20  # 25 - 5


def test_the_credit_line_comes_before_the_charge_and_both_name_the_workspace(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("words", 100, amount=0.1), group="m")
    shop.plan("metered2", 50, monthly("words", 100, amount=0.1), group="m")
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.uses("words", 150, "a")
    shop.on("2026-04-16")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="metered2", entity_id="a")
    lines = [(line["description"], line["total"]) for line in preview["line_items"]]
    assert [total for _, total in lines] == [5, -10, 25]
    assert lines[1][0].startswith("Unused Metered - Base Price (from 16 Apr 2026 to 1 May 2026)")
    assert lines[2][0].startswith("Metered2 - Base Price (from 16 Apr 2026 to 1 May 2026)")
    assert all(text.endswith("(a)") for text, _ in lines)
    assert [change["plan_id"] for change in preview["incoming"]] == ["metered2"]
    assert [change["plan_id"] for change in preview["outgoing"]] == ["metered"]


def test_an_upgrade_while_past_due_stays_past_due_until_the_renewal_is_paid(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.card("declines")
    shop.on("2026-05-16T12:00:00")
    assert shop.plans() == {"pro": "past_due"}
    shop.card("success")
    assert shop.buys("premium") == 15
    assert shop.plans() == {"premium": "past_due"}
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans() == {"premium": "active"}

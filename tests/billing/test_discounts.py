"""Coupons: what they take off, for how long, of which plans, and what is given back afterwards."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.models import Discount, InvoiceLine, RewardCode
from tests.client import read
from tests.selling import CUSTOMER, Shop, prepaid, seats

HALF = [{"reward_id": "half"}]


@pytest.fixture(scope="module")
def opened(opened: Shop) -> Shop:
    coupon(opened, "half", 50, duration="forever")
    coupon(opened, "third_once", Decimal("33.3"))
    coupon(opened, "quarter", 3, months=3, codes=[{"code": "SPRING"}], type="fixed_discount")
    return opened


def coupon(
    shop: Shop, slug: str, value: Any, *, duration: str = "one_off", months: int | None = None, **more: Any
) -> None:
    wanted = {
        "id": slug,
        "name": slug.replace("_", " ").title(),
        "type": more.pop("type", "percentage_discount"),
        "value": value,
        "duration": {"type": "months" if months else duration, "length": months},
        "plan_ids": more.pop("plan_ids", None),
        "promo_codes": more.pop("codes", []),
    }
    shop.api.post("rewards.create", coupon=wanted)


def refused(shop: Shop, status: int, **more: Any) -> Any:
    return read(shop.api.send("billing.attach", {"customer_id": CUSTOMER, "plan_id": "pro", **more}), status)


def held(shop: Shop) -> list[Any]:
    found: list[Any] = shop.customer("rewards")["rewards"]["discounts"]
    return found


def test_a_discount_is_shown_beneath_its_line_and_taken_off_the_invoice(shop: Shop) -> None:
    shop.opens("2026-04-01")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro", discounts=HALF)
    assert (preview["subtotal"], preview["total"]) == (20, 10)
    (line,) = preview["line_items"]
    assert (line["subtotal"], line["total"]) == (20, 10)
    assert line["discounts"] == [{"amount_off": 10, "percent_off": 50, "reward_id": "half", "reward_name": "Half"}]
    assert (preview["next_cycle"]["subtotal"], preview["next_cycle"]["total"]) == (20, 10)
    assert shop.buys("pro", discounts=HALF) == 10
    lines = InvoiceLine.objects.order_by("position")
    assert [(line.kind, line.amount) for line in lines] == [("base", Decimal(20)), ("discount", Decimal(-10))]


def test_a_discount_for_ever_lowers_every_renewal_and_one_for_months_those_within_them(shop: Shop) -> None:
    shop.opens("2026-01-31", "a")
    shop.buys("pro", discounts=[{"reward_id": "quarter"}])
    shop.buys("pro", "a", discounts=HALF)
    shop.on("2026-05-31")
    own = [line["total"] for line in shop.customer("invoices")["invoices"]]
    # 31 Jan, 28 Feb, 31 Mar less 3; 30 Apr and 31 May in full. The workspace pays half throughout.
    assert sorted(own) == sorted([17, 17, 17, 20, 20, 10, 10, 10, 10, 10])


def test_a_discount_for_one_invoice_is_spent_by_the_first_that_costs_something(shop: Shop) -> None:
    shop.plan("trial", 20, free_trial={"duration_length": 14, "duration_type": "day", "card_required": True})
    shop.opens("2026-04-01")
    assert shop.buys("trial", discounts=[{"reward_id": "third_once"}]) == 0
    assert shop.customer("invoice_previews")["invoice_previews"][0]["total"] == Decimal("13.34")
    shop.on("2026-04-15")
    assert shop.invoices()[0] == Decimal("13.34")
    shop.on("2026-05-15")
    assert shop.invoices()[0] == 20
    assert held(shop) == []


def test_what_is_given_back_is_what_was_charged(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro", discounts=HALF)
    shop.on("2026-04-16")
    # 50 x 15/30 halved, less what is left of 10.
    assert shop.buys("premium") == Decimal("7.5")
    assert shop.changes("premium", cancel_action="cancel_immediately") == Decimal("-12.5")
    assert held(shop) == []


def test_attaching_and_cancelling_at_once_comes_to_nothing_with_a_discount_too(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro", discounts=[{"reward_id": "third_once"}])
    assert shop.changes("pro", cancel_action="cancel_immediately") == Decimal("-13.34")


def test_seats_and_packs_that_are_given_back_were_lowered_too(shop: Shop) -> None:
    shop.plan("team", 10, seats(1, 30, "prorate_immediately", "prorate_immediately"))
    shop.plan("packs", None, prepaid("messages", 0, 10, 100), group="packs")
    shop.opens("2026-04-01", "a", "b")
    assert shop.buys("team", discounts=HALF) == 20
    shop.on("2026-04-16")
    shop.joins("c")
    assert shop.invoices()[0] == Decimal("7.5")
    shop.leaves("c")
    assert shop.invoices()[0] == Decimal("-7.5")
    asked = [{"feature_id": "messages", "quantity": 400}]
    assert shop.buys("packs", feature_quantities=asked, new_billing_subscription=True) == 20
    fewer = [{"feature_id": "messages", "quantity": 100}]
    assert shop.changes("packs", feature_quantities=fewer) == -15


def test_an_amount_is_spread_over_the_lines_to_the_cent(shop: Shop) -> None:
    shop.plan("mixed", 10, prepaid("messages", 0, 10, 100))
    coupon(shop, "ten", 10, type="fixed_discount")
    shop.opens("2026-04-01")
    asked = [{"feature_id": "messages", "quantity": 200}]
    preview = shop.api.post(
        "billing.preview_attach",
        customer_id=CUSTOMER,
        plan_id="mixed",
        feature_quantities=asked,
        discounts=[{"reward_id": "ten"}],
    )
    assert [line["discounts"][0]["amount_off"] for line in preview["line_items"]] == [Decimal("3.33"), Decimal("6.67")]
    assert preview["line_items"][0]["discounts"][0]["percent_off"] is None
    assert preview["total"] == 20


def test_discounts_are_taken_one_after_the_other_and_never_more_than_there_is(shop: Shop) -> None:
    coupon(shop, "huge", 500, type="fixed_discount")
    shop.opens("2026-04-01")
    assert shop.price("pro", discounts=[*HALF, {"reward_id": "quarter"}]) == 7
    assert shop.price("pro", discounts=[*HALF, {"reward_id": "huge"}]) == 0
    shop.attach("pro", discounts=[*HALF, {"reward_id": "huge"}])
    assert shop.invoices() == [0]  # an invoice that says why there is nothing to pay
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 10


def test_a_coupon_for_other_plans_or_for_nothing_to_pay_is_refused(shop: Shop) -> None:
    coupon(shop, "for_premium", 10, plan_ids=["premium"], duration="forever")
    shop.opens("2026-04-01")
    assert "is for premium" in refused(shop, 400, discounts=[{"reward_id": "for_premium"}])["message"]
    assert "free" in refused(shop, 400, plan_id="free", discounts=HALF)["message"]
    assert refused(shop, 404, discounts=[{"reward_id": "unknown"}])["code"] == "reward_not_found"
    assert refused(shop, 404, discounts=[{"promotion_code": "NOPE"}])["code"] == "reward_not_found"
    assert refused(shop, 400, discounts=[{}])["code"] == "invalid_inputs"
    assert shop.buys("premium", discounts=[{"reward_id": "for_premium"}]) == 45


def test_a_discount_of_one_workspace_leaves_its_siblings_and_the_customer_alone(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    assert shop.buys("pro", "a", discounts=HALF) == 10
    assert shop.buys("pro", "b") == 20
    assert shop.buys("premium") == 50
    shop.on("2026-05-01")
    assert sorted(shop.invoices()[:3]) == [10, 20, 50]


def test_a_code_may_be_used_as_often_as_it_says(shop: Shop) -> None:
    coupon(shop, "first", 10, codes=[{"code": "Welcome", "global_max_redemption": 1}])
    shop.opens("2026-04-01", "a", "b")
    assert shop.buys("pro", "a", discounts=[{"promotion_code": "WELCOME"}]) == 18
    answer = refused(shop, 400, entity_id="b", discounts=[{"promotion_code": "welcome"}])
    assert (answer["code"], RewardCode.objects.get(code="Welcome").redeemed) == ("invalid_promo_code", 1)


def test_a_code_for_a_first_purchase_is_refused_after_it(shop: Shop) -> None:
    coupon(shop, "first", 10, codes=[{"code": "FIRST", "first_time_transaction": True}])
    shop.opens("2026-04-01", "a")
    assert shop.buys("pro", discounts=[{"promotion_code": "FIRST"}]) == 18
    assert refused(shop, 400, entity_id="a", discounts=[{"promotion_code": "FIRST"}])["code"] == "invalid_promo_code"


def test_a_discount_is_not_doubled_and_can_be_taken_away(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro", discounts=HALF)
    assert shop.buys("premium", discounts=HALF) == 15
    assert Discount.objects.count() == 1
    shop.update("premium", remove_discounts=[{"reward_id": "half"}, {"reward_id": "not there"}])
    assert held(shop) == []
    shop.update("premium", discounts=[{"promotion_code": "spring"}])
    assert [(row["id"], row["total_discount_amount"]) for row in held(shop)] == [("quarter", 0)]
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 47


def test_a_downgrade_with_a_coupon_is_lowered_from_its_start(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("premium")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro", discounts=HALF)
    assert (preview["total"], preview["next_cycle"]["total"]) == (0, 10)
    shop.attach("pro", discounts=HALF)
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 10


def test_a_coupon_of_a_downgrade_that_is_taken_back_goes_with_it(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("premium")
    shop.attach("pro", discounts=HALF)
    shop.update("premium", cancel_action="uncancel")
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 50


def test_what_was_used_before_a_discount_began_is_not_lowered(shop: Shop) -> None:
    price = {"interval": "month", "billing_method": "usage_based", "amount": 1, "billing_units": 1}
    item = {"feature_id": "messages", "included": 0, "reset": {"interval": "month"}, "price": price}
    shop.plan("metered", 10, item)
    shop.opens("2026-04-01")
    shop.buys("metered")
    shop.uses("messages", 8)
    shop.on("2026-04-16")
    shop.update("metered", discounts=HALF)
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 8 + 5
    shop.uses("messages", 6)
    shop.on("2026-06-01")
    assert shop.invoices()[0] == 3 + 5


def test_a_change_that_waits_for_3d_secure_keeps_its_discount(shop: Shop) -> None:
    shop.opens("2026-04-01", card="requires_authentication")
    shop.attach("pro", discounts=HALF)
    assert held(shop) == []
    shop.api.post("sandbox.authenticate_payment", customer_id=CUSTOMER)
    assert [row["total_discount_amount"] for row in held(shop)] == [10]
    assert InvoiceLine.objects.get(kind="discount").discount is not None
    shop.card("success")
    shop.on("2026-05-01")
    assert shop.invoices() == [10, 10]


def test_a_declined_card_spends_no_code(shop: Shop) -> None:
    shop.opens("2026-04-01", card="declines")
    shop.attach("pro", discounts=[{"promotion_code": "SPRING"}])
    assert RewardCode.objects.get(code="SPRING").redeemed == 0
    assert held(shop) == []


def test_plans_attached_together_share_one_discount(shop: Shop) -> None:
    shop.plan("extra", 10, add_on=True)
    coupon(shop, "six", 6, type="fixed_discount")
    shop.opens("2026-04-01")
    asked = {"customer_id": CUSTOMER, "plans": [{"plan_id": "pro"}, {"plan_id": "extra"}]}
    preview = shop.api.post("billing.preview_multi_attach", **asked, discounts=[{"reward_id": "six"}])
    assert (preview["subtotal"], preview["total"]) == (30, 24)
    shop.api.post("billing.multi_attach", **asked, discounts=[{"reward_id": "six"}])
    assert shop.invoices() == [24]
    assert [row["total_discount_amount"] for row in held(shop)] == []


def test_a_purchase_paid_once_is_lowered_once(shop: Shop) -> None:
    shop.plan("topup", 30, every="one_off", group="topup")
    coupon(shop, "all", 100)
    shop.opens("2026-04-01")
    assert shop.buys("topup", discounts=HALF) == 15
    shop.card(None)
    assert shop.attach("topup", discounts=[{"reward_id": "all"}])["payment_url"] is None
    assert shop.invoices() == [0, 15]
    shop.card("success")
    assert shop.buys("topup") == 30


def test_a_code_is_entered_on_the_checkout_page(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    url = shop.attach("pro")["payment_url"]
    page, browser = "/" + url.split("/", 3)[3], Client()
    wrong = browser.post(page, {"action": "code", "code": "nope"})
    assert (wrong.status_code, "There is no code nope" in wrong.content.decode()) == (404, True)
    shown = browser.post(page, {"action": "code", "code": "spring"}, follow=True).content.decode()
    assert "Quarter ($3 off)" in shown
    assert "17.00" in shown
    assert shop.attach("pro")["payment_url"] == url
    browser.post(page, {"card": "success"})
    assert (shop.invoices(), shop.plans()) == ([17], {"pro": "active"})
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 17

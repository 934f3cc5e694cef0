"""billing.update: cancel, take it back, other quantities, other terms."""

from decimal import Decimal
from typing import Any

import pytest

from billing.models import Invoice
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid, seats

D = Decimal


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("pro", 20, monthly("messages", 500))
    shop.plan("premium", 50, monthly("messages", 1000))
    return shop


def with_default(shop: Shop) -> None:
    """A free plan for every new customer."""
    shop.plan("free", None, monthly("messages", 100), auto_enable=True)


def test_the_default_plan_takes_over_when_a_plan_is_canceled(shop: Shop) -> None:
    with_default(shop)
    shop.opens("2026-04-01")
    assert shop.plans() == {"free": "active"}
    shop.buys("pro")
    assert shop.changes("pro", cancel_action="cancel_end_of_cycle") == 0
    assert shop.plans() == {"pro": "canceling", "free": "scheduled"}
    shop.on("2026-05-02")
    assert shop.plans() == {"free": "active"}
    shop.buys("premium")
    shop.on("2026-05-17")
    # The customer pays nothing else, so its cycle began anew on 2 May: 15 of 31 days are used.
    assert shop.changes("premium", cancel_action="cancel_immediately") == D("-25.81")
    assert shop.plans() == {"free": "active"}


def test_an_entity_falls_back_on_nothing(shop: Shop) -> None:
    with_default(shop)
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    assert shop.changes("pro", "a", cancel_action="cancel_immediately") == -20
    assert shop.plans("a") == {}
    assert shop.left("messages", "a") == 100


def test_a_cancellation_can_be_taken_back_and_with_it_what_was_to_follow(shop: Shop) -> None:
    shop.opens()
    shop.buys("premium")
    shop.attach("pro")
    shop.update("premium", cancel_action="uncancel")
    assert shop.plans() == {"premium": "active"}
    shop.update("premium", cancel_action="uncancel")
    assert shop.plans() == {"premium": "active"}


def test_canceling_what_is_only_scheduled_keeps_the_present_plan(shop: Shop) -> None:
    shop.opens()
    shop.buys("premium")
    shop.attach("pro")
    shop.update("pro", cancel_action="cancel_immediately")
    assert shop.plans() == {"premium": "active"}


def test_canceling_at_the_end_replaces_a_scheduled_downgrade(shop: Shop) -> None:
    shop.opens()
    shop.buys("premium")
    shop.attach("pro")
    shop.update("premium", cancel_action="cancel_end_of_cycle")
    assert shop.plans() == {"premium": "canceling"}


def test_canceling_now_without_proration_credits_nothing(shop: Shop) -> None:
    shop.opens()
    shop.buys("pro")
    assert shop.changes("pro", cancel_action="cancel_immediately", proration_behavior="none") == 0
    assert shop.plans() == {}
    assert shop.processor() == []


def test_a_credit_pays_the_next_invoice(shop: Shop) -> None:
    shop.opens()
    shop.buys("premium")
    shop.changes("premium", cancel_action="cancel_immediately")
    shop.card("declines")
    body = {"customer_id": CUSTOMER, "plan_id": "pro"}
    assert shop.api.post("billing.preview_attach", **body)["invoice_credits"]["balance"] == 50
    assert shop.api.post("billing.attach", **body)["invoice"]["status"] == "paid"
    assert shop.api.post("billing.preview_update", cancel_action="uncancel", **body)["invoice_credits"]["balance"] == 30


@pytest.mark.parametrize(("how", "given_back"), [("prorated", 10), ("full", 20)])
def test_the_last_payment_can_be_refunded_instead_of_credited(shop: Shop, how: str, given_back: int) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.changes("pro", cancel_action="cancel_immediately", refund_last_payment=how) == 0
    assert Invoice.objects.get().refunded == given_back


def test_add_ons_stay_when_the_main_plan_is_canceled_at_the_end(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.buys("extra")
    shop.update("pro", cancel_action="cancel_end_of_cycle")
    shop.on("2026-05-02")
    assert shop.plans() == {"extra": "active"}
    assert shop.invoices()[0] == 10


def test_several_plans_are_canceled_with_one_credit_for_each_subscription(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01", "a")
    shop.buys("pro")
    shop.buys("extra")
    shop.buys("premium", "a")
    shop.on("2026-04-16")
    now = {"cancel_action": "cancel_immediately"}
    updates = [{"plan_id": "pro", **now}, {"plan_id": "extra", **now}, {"plan_id": "premium", "entity_id": "a", **now}]
    body = {"customer_id": CUSTOMER, "updates": updates}
    preview = shop.api.post("billing.preview_multi_update", **body)
    assert preview["total"] == -40
    assert [part["plan_ids"] for part in preview["subscriptions"]] == [["pro", "extra"], ["premium"]]
    shop.api.post("billing.multi_update", **body)
    assert sorted(shop.invoices()[:2]) == [-25, -15]
    assert shop.processor() == []


def test_when_one_of_several_cannot_be_canceled_none_is(shop: Shop) -> None:
    shop.opens()
    shop.buys("pro")
    end = {"cancel_action": "cancel_end_of_cycle"}
    for updates in ([{"plan_id": "pro", **end}, {"plan_id": "premium", **end}], [{"plan_id": "pro", **end}] * 2):
        response = shop.api.send("billing.multi_update", {"customer_id": CUSTOMER, "updates": updates})
        assert response.status_code in (400, 404)
        assert shop.plans() == {"pro": "active"}


SETTINGS = [
    # setting, from, to, price on 16 April, balance then, next invoice, balance after it
    ("prorate_immediately", 100, 200, 5, 200, 20, 200),
    ("prorate_next_cycle", 100, 200, 0, 200, 25, 200),
    ("bill_next_cycle", 100, 200, 0, 200, 20, 200),
    ("prorate_immediately", 300, 100, -10, 100, 10, 100),
    ("prorate", 300, 100, -10, 100, 10, 100),
    ("prorate_next_cycle", 300, 100, 0, 100, 0, 100),
    ("none", 300, 100, 0, 300, 10, 100),
    ("no_prorations", 300, 100, 0, 300, 10, 100),
]


@pytest.mark.parametrize(("setting", "before", "after", "price", "then", "renewal", "later"), SETTINGS)
def test_a_changed_quantity_is_billed_as_the_item_says(
    shop: Shop, setting: str, before: int, after: int, price: int, then: int, renewal: int, later: int
) -> None:
    up, down = (setting, "none") if after > before else ("prorate_immediately", setting)
    proration = {"on_increase": up, "on_decrease": down}
    shop.plan(
        "pack", None, prepaid("messages", 0, 10, 100, reset={"interval": "month"}, proration=proration), group="p"
    )
    shop.opens("2026-04-01")
    shop.buys("pack", feature_quantities=[{"feature_id": "messages", "quantity": before}])
    shop.on("2026-04-16")
    assert shop.changes("pack", feature_quantities=[{"feature_id": "messages", "quantity": after}]) == price
    assert shop.left("messages") == then
    shop.on("2026-05-02")
    assert shop.invoices()[0] == renewal
    assert shop.left("messages") == later


def test_a_quantity_can_change_while_the_plan_is_being_canceled(shop: Shop) -> None:
    shop.plan("pack", None, prepaid("messages", 0, 10, 100, reset={"interval": "month"}), group="p")
    shop.opens("2026-04-01")
    shop.buys("pack", feature_quantities=[{"feature_id": "messages", "quantity": 100}])
    shop.update("pack", cancel_action="cancel_end_of_cycle")
    shop.on("2026-04-16")
    assert shop.changes("pack", feature_quantities=[{"feature_id": "messages", "quantity": 300}]) == 10
    assert shop.plans() == {"pack": "canceling"}


def test_other_terms_are_prorated_and_what_was_used_stays_used(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.uses("messages", 100)
    shop.on("2026-04-16")
    customize = {"price": {"amount": 40, "interval": "month"}, "items": [monthly("messages", 600)]}
    assert shop.changes("pro", customize=customize) == 10
    assert shop.left("messages") == 500
    assert shop.plans() == {"pro": "active"}
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 40


def test_a_customer_moves_to_a_new_version_only_when_asked(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.api.post("plans.update", plan_id="pro", price={"amount": 30, "interval": "month"})
    shop.on("2026-05-01")
    assert shop.invoices() == [20, 20]
    assert shop.changes("pro", version=2) == 10
    shop.on("2026-06-01")
    assert shop.invoices()[0] == 30


def test_the_cycle_can_be_counted_anew(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.changes("pro", billing_cycle_anchor="now") == 10
    assert shop.customer()["subscriptions"][0]["current_period_end"] == ms("2026-05-16")


def test_the_cycle_can_be_counted_anew_later_and_nothing_is_paid_twice(shop: Shop) -> None:
    shop.plan("extra", 15, monthly("words", 10), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.buys("extra")
    shop.on("2026-04-16")
    assert shop.changes("pro", billing_cycle_anchor=ms("2026-04-21")) == 0
    assert shop.plans() == {"pro": "active", "extra": "active"}
    (following,) = shop.customer("invoice_previews")["invoice_previews"]
    assert (following["invoice_at"], D(following["total"])) == (ms("2026-04-21"), D("23.33"))
    shop.on("2026-04-21")
    # 35 x 20 / 30: what the new cycles reach beyond the old ones
    assert shop.invoices() == [D("23.33"), 15, 20]
    assert {row["current_period_end"] for row in shop.customer()["subscriptions"]} == {ms("2026-05-21")}
    assert shop.customer()["balances"]["words"]["next_reset_at"] == ms("2026-05-21")
    shop.on("2026-05-21")
    assert shop.invoices() == [35, D("23.33"), 15, 20]


def test_a_plan_that_ends_first_is_not_counted_anew(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.changes("pro", billing_cycle_anchor=ms("2026-04-21"))
    shop.changes("pro", cancel_action="cancel_end_of_cycle")
    shop.on("2026-05-02")
    assert (shop.plans(), shop.invoices()) == ({}, [20])


def test_an_entitys_plan_is_found_by_its_own_id(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    row = shop.entity("a")["subscriptions"][0]
    body = {"customer_id": CUSTOMER, "subscription_id": row["id"], "cancel_action": "cancel_end_of_cycle"}
    shop.api.post("billing.update", **body)
    assert shop.plans("a") == {"pro": "canceling"}


def test_a_plan_keeps_the_id_that_the_application_gave_it(shop: Shop) -> None:
    shop.opens()
    shop.buys("pro", subscription_id="main")
    assert shop.customer()["subscriptions"][0]["id"] == "main"
    shop.update("pro", customize={"price": {"amount": 25, "interval": "month"}})
    assert shop.customer()["subscriptions"][0]["id"] == "main"


def test_refused_updates_change_nothing(shop: Shop) -> None:
    shop.plan("once", 10, every="one_off")
    shop.plan("team", 30, seats(1, 10), group="t")
    shop.opens()
    shop.buys("pro")
    shop.attach("once")
    about = {"customer_id": CUSTOMER}
    requests: list[tuple[int, dict[str, Any]]] = [
        (400, {"plan_id": "pro"}),
        (
            400,
            {
                "plan_id": "pro",
                "cancel_action": "uncancel",
                "feature_quantities": [{"feature_id": "messages", "quantity": 1}],
            },
        ),
        (400, {"plan_id": "pro", "cancel_action": "cancel_end_of_cycle", "refund_last_payment": "full"}),
        (400, {"plan_id": "once", "cancel_action": "cancel_end_of_cycle"}),
        (400, {"plan_id": "pro", "feature_quantities": [{"feature_id": "messages", "quantity": 1}]}),
        (400, {"plan_id": "pro", "cancel_action": "soon"}),
        (404, {"plan_id": "premium", "cancel_action": "uncancel"}),
        (404, {"plan_id": "pro", "entity_id": "ghost", "cancel_action": "uncancel"}),
    ]
    for status, body in requests:
        shop.api.refused(status, "billing.update", **about, **body)
        shop.api.refused(status, "billing.preview_update", **about, **body)
    assert shop.plans() == {"pro": "active"}

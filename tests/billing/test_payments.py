"""Money that does not come at once: nothing is granted before it is there, and nothing is lost."""

from typing import Any

import pytest

from billing.models import Invoice
from config import clock
from entities.models import Entity
from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid


def latest(shop: Shop) -> Any:
    return shop.customer("invoices")["invoices"][0]


@pytest.mark.parametrize(
    ("card", "code", "settle"),
    [
        ("requires_authentication", "3ds_required", "sandbox.authenticate_payment"),
        ("declines", "payment_failed", "sandbox.pay_invoice"),
    ],
)
def test_an_upgrade_waits_for_its_invoice(shop: Shop, card: str, code: str, settle: str) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.uses("messages", 10, "a")
    shop.card(card)
    shop.on("2026-04-16")
    answer = shop.attach("premium", "a")
    assert answer["required_action"]["code"] == code
    assert (answer["invoice"]["status"], answer["invoice"]["total"]) == ("open", 15)
    assert answer["payment_url"]
    assert shop.plans("a") == {"pro": "active"}
    assert shop.left("messages", "a") == 490
    shop.api.post(settle, customer_id=CUSTOMER)
    assert shop.plans("a") == {"premium": "active"}
    assert shop.left("messages", "a") == 1000
    assert (latest(shop)["status"], shop.invoices()) == ("paid", [15, 20])
    shop.card("success")
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 50


@pytest.mark.parametrize("card", ["requires_authentication", "declines"])
def test_a_first_plan_waits_too_and_is_given_up_after_a_while(shop: Shop, card: str) -> None:
    shop.opens("2026-04-01", "a", card=card)
    answer = shop.attach("pro", "a")
    assert answer["invoice"]["status"] == "open"
    assert shop.plans("a") == {}
    assert shop.processor() == []
    shop.on("2026-04-01T00:11:00")
    assert latest(shop)["status"] == "void"
    assert shop.plans("a") == {}
    assert shop.api.refused(400, "sandbox.pay_invoice", customer_id=CUSTOMER)["code"] == "nothing_to_pay"
    shop.card("success")
    assert shop.buys("pro", "a") == 20
    assert shop.plans("a") == {"pro": "active"}


def test_a_second_try_replaces_the_first(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.card("declines")
    shop.attach("premium", "a")
    shop.attach("premium", "a")
    statuses = [invoice["status"] for invoice in shop.customer("invoices")["invoices"]]
    assert statuses == ["open", "void", "paid"]
    shop.card("success")
    shop.attach("premium", "a")
    statuses = [invoice["status"] for invoice in shop.customer("invoices")["invoices"]]
    assert statuses == ["paid", "void", "void", "paid"]
    assert shop.plans("a") == {"premium": "active"}


@pytest.mark.parametrize(
    ("card", "settle"), [(None, "sandbox.complete_checkout"), ("requires_authentication", "sandbox.pay_invoice")]
)
def test_what_waits_for_an_entity_goes_with_it(shop: Shop, card: str | None, settle: str) -> None:
    shop.opens("2026-04-01", "a", card=card)
    assert shop.attach("pro", "a")["payment_url"]
    shop.leaves("a")
    shop.joins("a")
    assert shop.api.refused(400, settle, customer_id=CUSTOMER)["code"] == "nothing_to_pay"
    assert (shop.plans("a"), shop.processor()) == ({}, [])


def test_a_payment_for_an_entity_that_has_left_is_given_back(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", card="requires_authentication")
    shop.attach("pro", "a")
    Entity.objects.update(deleted_at=clock.now())
    shop.api.post("sandbox.authenticate_payment", customer_id=CUSTOMER)
    assert shop.processor() == []
    assert Invoice.objects.get().refunded == 20


def test_a_declined_quantity_leaves_the_old_one(shop: Shop) -> None:
    shop.plan("pack", 20, prepaid("words", 0, 10, 100, reset={"interval": "month"}), group="p")
    shop.opens("2026-04-01", "a")
    shop.buys("pack", "a", feature_quantities=[{"feature_id": "words", "quantity": 100}])
    shop.card("declines")
    more = [{"feature_id": "words", "quantity": 400}]
    answer = shop.update("pack", "a", feature_quantities=more)
    assert answer["required_action"]["code"] == "payment_failed"
    assert shop.left("words", "a") == 100
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.left("words", "a") == 400
    shop.card("success")
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 60


def test_without_a_card_each_workspace_has_its_page_in_turn(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b", card=None)
    first = shop.attach("pro", "a")["payment_url"]
    assert shop.attach("pro", "a")["payment_url"] == first
    second = shop.attach("premium", "a")["payment_url"]
    assert second not in (None, first)
    other = shop.attach("pro", "b")["payment_url"]
    assert other not in (None, first, second)
    assert (shop.plans("a"), shop.plans("b"), shop.invoices()) == ({}, {}, [])
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert (shop.plans("a"), shop.plans("b"), shop.invoices()) == ({}, {"pro": "active"}, [20])
    shop.api.refused(400, "sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.attach("pro", "a")["payment_url"] is None
    assert shop.plans("a") == {"pro": "active"}


def test_a_page_nobody_completes_expires(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", card=None)
    shop.attach("pro", "a")
    shop.on("2026-04-01T01:01:00")
    shop.api.refused(400, "sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.plans("a") == {}


def test_a_direct_payment_closes_the_page(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", card=None)
    shop.attach("pro", "a")
    shop.card("success")
    shop.buys("premium", "a")
    shop.api.refused(400, "sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.plans("a") == {"premium": "active"}


def test_a_page_can_be_asked_for_and_left_out(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    assert shop.attach("pro", "a", redirect_mode="always")["payment_url"]
    assert shop.plans("a") == {}
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.plans("a") == {"pro": "active"}
    preview = shop.api.post(
        "billing.preview_attach", customer_id=CUSTOMER, plan_id="premium", entity_id="a", redirect_mode="always"
    )
    assert preview["checkout_type"] == "autumn_checkout"
    shop.card(None)
    answer = shop.attach("pro", "b", redirect_mode="never")
    assert answer["required_action"]["code"] == "payment_method_required"
    assert shop.plans("b") == {}


def test_an_upgrade_without_a_card_leaves_an_open_invoice(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.card(None)
    answer = shop.attach("premium", "a")
    assert answer["required_action"]["code"] == "payment_method_required"
    assert shop.plans("a") == {"pro": "active"}
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans("a") == {"premium": "active"}


def test_a_free_plan_and_a_downgrade_need_no_card(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("premium", "a")
    shop.card(None)
    assert shop.attach("pro", "a")["payment_url"] is None
    assert shop.plans("a") == {"premium": "canceling", "pro": "scheduled"}
    assert shop.attach("free")["payment_url"] is None
    assert shop.plans() == {"free": "active"}


def test_a_one_off_without_a_card_goes_through_a_page(shop: Shop) -> None:
    shop.plan("topup", None, prepaid("words", 0, 10, 100, "one_off"))
    shop.opens("2026-04-01", "a", card=None)
    answer = shop.attach("topup", "a", feature_quantities=[{"feature_id": "words", "quantity": 300}])
    assert answer["payment_url"]
    assert shop.left("words", "a") is None
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert (shop.left("words", "a"), shop.invoices()) == (300, [30])


@pytest.mark.parametrize("at_once", [False, True])
def test_a_sent_invoice_is_open_until_it_is_paid(shop: Shop, at_once: bool) -> None:
    shop.opens("2026-04-01", "a", card=None)
    mode = {"enabled": True, "finalize": True, "enable_plan_immediately": at_once}
    answer = shop.attach("pro", "a", invoice_mode=mode)
    assert answer["invoice"]["status"] == "open"
    assert shop.plans("a") == ({"pro": "active"} if at_once else {})
    shop.on("2026-04-05")
    assert latest(shop)["status"] == "open"
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans("a") == {"pro": "active"}
    assert latest(shop)["status"] == "paid"


def test_a_draft_is_no_open_invoice(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", card=None)
    mode = {"enabled": True, "finalize": False, "enable_plan_immediately": True}
    assert shop.attach("pro", "a", invoice_mode=mode)["invoice"]["status"] == "draft"
    assert shop.plans("a") == {"pro": "active"}


def test_a_failed_renewal_recovers_when_it_is_paid(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.card("declines")
    shop.on("2026-05-02")
    assert (shop.plans("a"), shop.plans("b")) == ({"pro": "past_due"}, {"pro": "past_due"})
    assert shop.left("messages", "a") == 500
    assert {row["status"] for row in shop.processor()} == {"past_due"}
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    states = sorted(state for of in "ab" for state in shop.plans(of).values())
    assert states == ["active", "past_due"]
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert (shop.plans("a"), shop.plans("b")) == ({"pro": "active"}, {"pro": "active"})
    assert {row["status"] for row in shop.processor()} == {"active"}


def test_the_renewals_of_a_past_due_plan_go_on(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.card("declines")
    shop.on("2026-06-02")
    invoices = shop.customer("invoices")["invoices"]
    assert [(i["total"], i["status"]) for i in invoices] == [(20, "open"), (20, "open"), (20, "paid")]
    assert shop.entity("a")["subscriptions"][0]["current_period_end"] == ms("2026-07-01")


def test_a_past_due_plan_can_be_canceled(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.card("declines")
    shop.on("2026-05-02")
    shop.update("pro", "a", cancel_action="cancel_end_of_cycle")
    shop.on("2026-06-02")
    assert shop.plans("a") == {}
    assert [i["status"] for i in shop.customer("invoices")["invoices"]] == ["open", "paid"]
    shop.plan("other", 5, monthly("words", 1), group="o")
    shop.attach("free", "a")
    assert shop.plans("a") == {"free": "active"}

"""Canceling at the end or now, taking it back, and what follows."""

from decimal import Decimal
from typing import Any

import pytest

from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid, seats

D = Decimal
NOW = "cancel_immediately"


@pytest.fixture
def default(shop: Shop) -> Shop:
    """The shop, with the free plan as what everybody starts with."""
    shop.api.post("plans.update", plan_id="free", auto_enable=True)
    return shop


def test_without_a_default_nothing_follows(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-10")
    assert shop.changes("pro", cancel_action="cancel_end_of_cycle") == 0
    row = shop.customer()["subscriptions"][0]
    assert (row["status"], row["canceled_at"], row["expires_at"]) == ("active", ms("2026-04-10"), ms("2026-05-01"))
    assert shop.left("messages") == 500
    shop.on("2026-05-02")
    assert shop.plans() == {}
    assert shop.left("messages") is None
    assert shop.processor() == []
    assert shop.invoices() == [20]


def test_the_default_waits_and_is_taken_back_with_the_cancellation(default: Shop) -> None:
    default.opens("2026-04-01")
    default.buys("pro")
    preview = default.api.post(
        "billing.preview_update", customer_id=CUSTOMER, plan_id="pro", cancel_action="cancel_end_of_cycle"
    )
    assert (preview["total"], preview["intent"]) == (0, "cancel_end_of_cycle")
    assert [(row["plan_id"], row["effective_at"]) for row in preview["incoming"]] == [("free", ms("2026-05-01"))]
    default.update("pro", cancel_action="cancel_end_of_cycle")
    assert default.plans() == {"pro": "canceling", "free": "scheduled"}
    default.update("pro", cancel_action="uncancel")
    assert default.plans() == {"pro": "active"}
    default.on("2026-05-02")
    assert default.plans() == {"pro": "active"}
    assert default.invoices() == [20, 20]


def test_canceling_at_the_end_replaces_the_pending_downgrade_by_the_default(default: Shop) -> None:
    default.opens("2026-04-01")
    default.buys("premium")
    default.buys("pro")
    assert default.plans() == {"premium": "canceling", "pro": "scheduled"}
    default.update("premium", cancel_action="cancel_end_of_cycle")
    assert default.plans() == {"premium": "canceling", "free": "scheduled"}
    default.on("2026-05-02")
    assert default.plans() == {"free": "active"}
    assert default.invoices() == [50]


@pytest.mark.parametrize("asked_before", [None, "cancel_end_of_cycle"])
def test_canceling_now_credits_the_rest_and_brings_the_default(default: Shop, asked_before: str | None) -> None:
    default.opens("2026-04-01")
    default.buys("pro")
    default.uses("messages", 30)
    if asked_before:
        default.update("pro", cancel_action=asked_before)
    default.on("2026-04-16")
    assert default.changes("pro", cancel_action="cancel_immediately") == -10
    assert default.plans() == {"free": "active"}
    assert default.left("messages") == 100
    assert default.customer()["subscriptions"][0]["auto_enable"]
    assert default.processor() == []
    default.on("2026-06-02")
    assert default.invoices() == [-10, 20]


def test_a_pending_downgrade_goes_with_what_is_canceled_now(default: Shop) -> None:
    default.plan("extra", 10, monthly("words", 1), add_on=True)
    default.opens("2026-04-01")
    default.buys("premium")
    default.buys("pro")
    default.attach("extra", starts_at=ms("2026-04-20"))
    assert default.plans() == {"premium": "canceling", "pro": "scheduled", "extra": "scheduled"}
    assert default.changes("premium", cancel_action="cancel_immediately") == -50
    assert default.plans() == {"free": "active"}


def test_the_default_itself_can_be_canceled_and_does_not_come_back(default: Shop) -> None:
    default.opens("2026-04-01")
    assert default.plans() == {"free": "active"}
    default.update("free", cancel_action="cancel_immediately")
    assert default.plans() == {}
    assert default.invoices() == []


def test_overage_is_not_billed_when_a_plan_is_canceled_now(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("words", 100, amount=0.1), group="m")
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.uses("words", 600, "a")
    shop.on("2026-04-16")
    assert shop.changes("metered", "a", cancel_action="cancel_immediately") == -10
    shop.on("2026-06-02")
    assert shop.invoices() == [-10, 20]


def test_overage_is_billed_when_a_plan_ends_with_its_cycle(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("words", 100, amount=0.1), group="m")
    shop.opens("2026-04-01", "a")
    shop.buys("metered", "a")
    shop.update("metered", "a", cancel_action="cancel_end_of_cycle")
    shop.uses("words", 150, "a")
    shop.on("2026-05-02")
    assert shop.invoices() == [5, 20]
    assert shop.plans("a") == {}


def test_base_price_packs_and_seats_are_credited_together(shop: Shop) -> None:
    shop.plan(
        "all",
        20,
        prepaid("words", 0, 10, 100, reset={"interval": "month"}),
        seats(0, 15, "prorate_immediately", "prorate_immediately"),
        group="all",
    )
    shop.opens("2026-04-01", "ada", "bob")
    assert shop.buys("all", feature_quantities=[{"feature_id": "words", "quantity": 300}]) == 80
    shop.on("2026-04-11")
    assert shop.changes("all", cancel_action="cancel_immediately") == D("-53.33")  # 13.33 + 20 + 20
    assert shop.processor() == []


@pytest.mark.parametrize("proration", ["none", None])
def test_a_credit_is_left_out_on_request(shop: Shop, proration: str | None) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.on("2026-04-16")
    more = {"proration_behavior": proration} if proration else {}
    assert shop.changes("pro", "a", cancel_action="cancel_immediately", **more) == (0 if proration else -10)
    assert shop.plans("a") == {}
    assert shop.processor() == []


def test_workspaces_are_canceled_and_resumed_each_by_itself(default: Shop) -> None:
    default.opens("2026-04-01", "a", "b")
    default.buys("pro", "a")
    default.buys("pro", "b")
    default.update("pro", "a", cancel_action="cancel_end_of_cycle")
    assert (default.plans("a"), default.plans("b")) == ({"pro": "canceling"}, {"pro": "active"})
    default.update("pro", "b", cancel_action="cancel_end_of_cycle")
    default.update("pro", "a", cancel_action="uncancel")
    assert (default.plans("a"), default.plans("b")) == ({"pro": "active"}, {"pro": "canceling"})
    default.on("2026-05-02")
    assert (default.plans("a"), default.plans("b")) == ({"pro": "active"}, {})
    assert default.invoices() == [20, 20, 20]


def test_uncancel_of_what_is_not_canceled_changes_nothing(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    before = shop.customer()["subscriptions"]
    assert shop.changes("pro", cancel_action="uncancel") == 0
    assert shop.customer()["subscriptions"] == before


def test_what_is_scheduled_is_deleted_by_canceling_it_and_the_present_plan_goes_on(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("premium", "a")
    shop.buys("pro", "a")
    assert shop.changes("pro", "a", cancel_action="cancel_immediately") == 0
    assert shop.plans("a") == {"premium": "active"}
    shop.on("2026-05-02")
    assert shop.invoices() == [50, 50]


def test_an_add_on_is_canceled_by_itself(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.buys("extra")
    shop.on("2026-04-16")
    assert shop.changes("extra", cancel_action="cancel_immediately") == -5
    assert shop.plans() == {"pro": "active"}
    shop.buys("extra")
    shop.update("extra", cancel_action="cancel_end_of_cycle")
    assert shop.plans() == {"pro": "active", "extra": "canceling"}
    shop.on("2026-05-02")
    assert shop.plans() == {"pro": "active"}
    assert shop.invoices()[0] == 20


def test_with_no_plan_named_the_main_paid_one_is_meant(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01", "a")
    shop.buys("extra", "a")
    shop.buys("pro", "a")
    for expected in ("pro", "extra"):
        shop.api.post("billing.update", customer_id=CUSTOMER, entity_id="a", cancel_action="cancel_immediately")
        assert expected not in shop.plans("a")
    refused = shop.api.refused(
        404, "billing.update", customer_id=CUSTOMER, entity_id="a", cancel_action="cancel_immediately"
    )
    assert refused["code"] == "cus_product_not_found"


@pytest.mark.parametrize(
    ("plan", "body", "status"),
    [
        ("free", {"cancel_action": "cancel_end_of_cycle"}, 400),
        ("lifetime", {"cancel_action": "cancel_end_of_cycle"}, 400),
        ("pro", {"cancel_action": "cancel_end_of_cycle", "customize": {"price": None}}, 400),
        ("pro", {"cancel_action": NOW, "feature_quantities": [{"feature_id": "words", "quantity": 1}]}, 400),
        ("pro", {"cancel_action": "cancel_end_of_cycle", "refund_last_payment": "full"}, 400),
        ("pro", {"cancel_action": NOW, "refund_last_payment": "full", "proration_behavior": "none"}, 400),
        ("pro", {}, 400),
        ("premium", {"cancel_action": "cancel_immediately"}, 404),
        ("pro", {"cancel_action": "stop"}, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_canceled_so_is_refused(shop: Shop, plan: str, body: Any, status: int) -> None:
    shop.plan("lifetime", 99, {"feature_id": "words", "included": 100}, every="one_off")
    shop.plan("gratis", None, monthly("words", 1), group="g")
    shop.opens("2026-04-01", "a")
    shop.attach("free", "a")
    shop.buys("lifetime")
    shop.buys("pro")
    whom = {"customer_id": CUSTOMER, **({"entity_id": "a"} if plan == "free" else {})}
    shop.api.refused(status, "billing.update", **whom, plan_id=plan, **body)
    shop.api.refused(status, "billing.preview_update", **whom, plan_id=plan, **body)
    assert shop.plans() == {"pro": "active"}


def test_the_last_payment_goes_back_to_the_card_and_leaves_no_credit(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.changes("pro", cancel_action="cancel_immediately", refund_last_payment="prorated") == 0
    assert shop.plans() == {}
    assert shop.invoices() == [20]
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro")
    assert preview["invoice_credits"]["balance"] == 0


def test_several_are_canceled_or_none(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro")
    shop.buys("extra")
    shop.buys("premium", "a")
    shop.on("2026-04-16")
    updates = [{"plan_id": "pro", "cancel_action": NOW}, {"plan_id": "extra", "cancel_action": NOW}]
    updates.append({"plan_id": "premium", "entity_id": "a", "cancel_action": NOW})
    for wrong in ({"plan_id": "premium", "entity_id": "b", "cancel_action": NOW}, updates[0]):
        response = shop.api.send("billing.multi_update", {"customer_id": CUSTOMER, "updates": [*updates, wrong]})
        assert 400 <= response.status_code < 500
        assert shop.plans() == {"pro": "active", "extra": "active"}
    preview = shop.api.post("billing.preview_multi_update", customer_id=CUSTOMER, updates=updates)
    assert preview["total"] == -40
    shop.api.post("billing.multi_update", customer_id=CUSTOMER, updates=updates)
    assert (shop.plans(), shop.plans("a")) == ({}, {})
    assert sorted(shop.invoices()) == [-25, -15, 10, 20, 50]

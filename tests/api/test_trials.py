"""Free trials: once per plan and scope, never billed, and nobody else's business."""

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms

WEEKS = {"duration_length": 14, "duration_type": "day", "card_required": True}


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("pro", 20, monthly("messages", 100, amount=0.1))
    shop.plan("premium", 50, monthly("messages", 500, amount=0.1))
    shop.plan("trial", 20, monthly("messages", 100, amount=0.1), free_trial=WEEKS)
    shop.plan("trial2", 50, monthly("messages", 500, amount=0.1), free_trial=WEEKS)
    return shop


def test_a_trial_costs_nothing_and_the_cycle_is_anchored_at_its_end(shop: Shop) -> None:
    shop.opens("2026-04-01")
    assert shop.buys("trial") == 0
    assert shop.plans() == {"trial": "trialing"}
    assert shop.invoices() == [0]
    shop.uses("messages", 300)
    shop.on("2026-04-16")
    assert shop.plans() == {"trial": "active"}
    assert shop.invoices() == [20, 0]
    assert shop.left("messages") == 100
    assert shop.customer()["subscriptions"][0]["current_period_end"] == ms("2026-05-15")


def test_an_upgrade_out_of_a_trial_is_charged_in_full_from_now(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("trial")
    shop.on("2026-04-05")
    assert shop.buys("premium") == 50
    assert shop.plans() == {"premium": "active"}
    assert shop.customer()["subscriptions"][0]["current_period_end"] == ms("2026-05-05")


def test_an_upgrade_into_a_trial_starts_it_afresh_and_credits_the_rest(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.on("2026-04-16")
    assert shop.buys("trial2", "a") == -10
    assert shop.plans("a") == {"trial2": "trialing"}
    assert shop.plans("b") == {"pro": "active"}
    shop.on("2026-05-02")
    assert shop.plans("a") == {"trial2": "active"}
    assert sorted(shop.invoices()[:2]) == [20, 50]


def test_from_one_trial_into_another(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("trial")
    shop.on("2026-04-08")
    assert shop.buys("trial2") == 0
    assert shop.customer()["subscriptions"][0]["trial_ends_at"] == ms("2026-04-22")


def test_a_downgrade_keeps_the_trial_and_follows_it(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("trial2")
    assert shop.buys("pro") == 0
    assert shop.plans() == {"trial2": "trialing canceling", "pro": "scheduled"}
    shop.on("2026-04-16")
    assert shop.plans() == {"pro": "active"}
    assert shop.invoices() == [20, 0]


def test_canceled_in_the_trial_it_ends_there_and_bills_nothing(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("trial")
    shop.uses("messages", 500)
    shop.update("trial", cancel_action="cancel_end_of_cycle")
    assert shop.plans() == {"trial": "trialing canceling"}
    shop.on("2026-04-16")
    assert shop.plans() == {}
    assert shop.invoices() == [0]


def test_a_trial_is_had_once_in_each_scope(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("trial")
    shop.update("trial", cancel_action="cancel_immediately")
    assert shop.buys("trial", "a") == 0
    assert shop.buys("trial") == 20
    assert shop.plans() == {"trial": "active"}


def test_whoever_pays_beside_a_trial_has_a_cycle_of_its_own_date(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b", "c")
    shop.buys("trial", "a")
    shop.on("2026-04-05")
    assert shop.buys("pro", "b") == 20
    shop.on("2026-04-20")
    assert shop.buys("pro", "c") == 10
    assert shop.entity("c")["subscriptions"][0]["current_period_end"] == ms("2026-05-05")


def test_the_end_of_a_first_trial_sets_the_cycle_for_those_who_follow(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("trial", "a")
    shop.on("2026-04-30")
    assert shop.buys("pro", "b") == 10


def test_customers_who_share_a_fingerprint_share_their_trials(shop: Shop) -> None:
    for customer in (CUSTOMER, "bob"):
        shop.api.post("customers.get_or_create", customer_id=customer, fingerprint="device-1")
        shop.api.post("sandbox.set_payment_method", customer_id=customer, payment_method="success")
    shop.attach("trial")
    assert shop.api.post("billing.preview_attach", customer_id="bob", plan_id="trial")["total"] == 20


def test_a_trial_given_with_the_request_is_a_fresh_one(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("trial")
    shop.update("trial", cancel_action="cancel_immediately")
    assert shop.buys("trial", customize={"free_trial": {"duration_length": 1, "duration_type": "month"}}) == 0
    assert shop.customer()["subscriptions"][0]["trial_ends_at"] == ms("2026-05-01")


def test_a_trial_can_be_left_out(shop: Shop) -> None:
    shop.opens("2026-04-01")
    assert shop.buys("trial", customize={"free_trial": None}) == 20


@pytest.mark.parametrize("card", [None, "success"])
def test_without_a_card_a_trial_that_asked_for_none_ends_the_plan(shop: Shop, card: str | None) -> None:
    free = {**WEEKS, "card_required": False}
    shop.plan("open", 20, monthly("words", 10), free_trial=free, group="o")
    shop.opens("2026-04-01", card=None)
    assert shop.buys("open") == 0
    assert shop.plans() == {"open": "trialing"}
    if card:
        shop.card(card)
    shop.on("2026-04-16")
    assert shop.plans() == ({"open": "active"} if card else {})
    assert shop.invoices() == ([20, 0] if card else [0])


def test_an_add_on_joins_the_trial_of_its_plan(shop: Shop) -> None:
    shop.plan("extra", 5, monthly("words", 10), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("trial")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="extra")
    assert (preview["total"], preview["next_cycle"]["total"]) == (0, 25)
    shop.attach("extra")
    assert shop.plans() == {"trial": "trialing", "extra": "trialing"}
    shop.on("2026-04-16")
    assert shop.invoices() == [25, 0, 0]


def test_a_trial_that_reverts_moves_no_money_and_gives_the_plan_before_back(shop: Shop) -> None:
    shop.plan("taste", 50, monthly("messages", 500), free_trial={**WEEKS, "on_end": "revert"})
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-04")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="taste")
    assert (preview["total"], preview["next_cycle"]["total"]) == (0, 0)
    assert shop.buys("taste") == 0
    assert shop.plans() == {"taste": "trialing"}
    assert shop.customer("invoice_previews")["invoice_previews"] == []
    shop.on("2026-04-18")
    assert shop.plans() == {"pro": "active"}
    assert shop.left("messages") == 100
    shop.on("2026-05-02")
    assert shop.invoices() == [20, 0, 20]


def test_cycles_that_begin_during_a_trial_that_reverts_are_billed_when_the_plan_comes_back(shop: Shop) -> None:
    shop.plan("taste", 50, monthly("messages", 500), free_trial={**WEEKS, "on_end": "revert"})
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.uses("messages", 150)
    shop.on("2026-04-25")
    shop.buys("taste")
    shop.on("2026-05-09")
    assert shop.plans() == {"pro": "active"}
    assert shop.invoices() == [25, 0, 20]
    assert shop.customer()["subscriptions"][0]["current_period_end"] == ms("2026-06-01")
    shop.on("2026-06-01")
    assert shop.invoices() == [20, 25, 0, 20]


def test_what_is_bought_during_a_trial_that_reverts_takes_the_place_of_both_plans(shop: Shop) -> None:
    shop.plan("taste", 30, monthly("messages", 500), free_trial={**WEEKS, "on_end": "revert"})
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-11")
    shop.buys("taste")
    shop.on("2026-04-16")
    assert shop.buys("premium") == 50 - 10
    shop.on("2026-05-16")
    assert shop.plans() == {"premium": "active"}
    assert shop.invoices() == [50, 40, 0, 20]


def test_other_terms_for_a_trial_that_reverts_leave_it_one(shop: Shop) -> None:
    shop.plan("taste", 50, monthly("messages", 500), free_trial={**WEEKS, "on_end": "revert"})
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.buys("taste")
    assert shop.changes("taste", customize={"price": {"amount": 60, "interval": "month"}}) == 0
    shop.on("2026-04-15")
    assert shop.plans() == {"pro": "active"}


@pytest.mark.parametrize(
    ("call", "change"),
    [
        ("billing.update", {"plan_id": "trial", "customize": {"free_trial": None}}),
        ("billing.attach", {"plan_id": "premium"}),
    ],
)
def test_a_trial_can_not_be_left_without_paying(shop: Shop, call: str, change: dict[str, object]) -> None:
    shop.opens("2026-04-01")
    shop.buys("trial")
    refused = shop.api.refused(400, call, customer_id=CUSTOMER, **change, proration_behavior="none")
    assert refused["code"] == "invalid_request"
    assert shop.plans() == {"trial": "trialing"}


def test_a_trial_is_not_for_later(shop: Shop) -> None:
    shop.opens("2026-04-01")
    later = {"plan_id": "pro", "starts_at": ms("2026-04-10"), "customize": {"free_trial": WEEKS}}
    assert shop.api.refused(400, "billing.attach", customer_id=CUSTOMER, **later)["code"] == "invalid_request"


def test_other_terms_do_not_end_a_trial(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("trial")
    shop.on("2026-04-08")
    assert shop.changes("trial", customize={"price": {"amount": 30, "interval": "month"}}) == 0
    assert shop.plans() == {"trial": "trialing"}
    shop.on("2026-04-16")
    assert shop.invoices()[0] == 30

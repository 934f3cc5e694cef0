"""billing.attach: what starts, what stops, and what it costs."""

from decimal import Decimal

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid, seats, three_plans

D = Decimal


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    """A shop with Free, Pro and Premium."""
    return three_plans(stage)


def test_an_upgrade_in_mid_cycle_costs_the_difference_for_the_rest_and_keeps_the_reset(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    assert shop.buys("pro", "a") == 20
    shop.on("2026-04-16")
    assert shop.buys("premium", "a") == 15
    assert shop.plans("a") == {"premium": "active"}
    assert shop.entity("a")["balances"]["messages"]["next_reset_at"] == ms("2026-05-01")
    assert shop.left("messages", "a") == 1000


def test_what_was_bought_in_mid_cycle_is_credited_on_what_was_paid(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.on("2026-04-16")
    assert shop.buys("pro", "b") == 10
    shop.on("2026-04-23T18:00:00")
    assert shop.buys("premium", "b") == D("7.25")


def test_a_downgrade_waits_for_the_cycle_and_the_last_one_asked_for_wins(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("premium")
    assert shop.buys("free") == 0
    assert shop.buys("pro") == 0
    assert shop.plans() == {"premium": "canceling", "pro": "scheduled"}
    shop.on("2026-05-02")
    assert shop.plans() == {"pro": "active"}
    assert shop.invoices() == [20, 50]


def test_a_free_plan_that_follows_starts_on_the_cycle_that_ends(shop: Shop) -> None:
    shop.opens("2026-01-31")
    shop.buys("pro")
    shop.attach("free")
    shop.on("2026-03-01")
    assert shop.plans() == {"free": "active"}
    assert shop.customer()["balances"]["messages"]["next_reset_at"] == ms("2026-03-31")
    assert shop.processor() == []


def test_plan_schedule_overrides_both_ways(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("premium", "a")
    shop.buys("pro", "b")
    assert shop.buys("pro", "a", plan_schedule="immediate") == -30
    assert shop.buys("premium", "b", plan_schedule="end_of_cycle") == 0
    assert shop.plans("a") == {"pro": "active"}
    assert shop.plans("b") == {"pro": "canceling", "premium": "scheduled"}


def test_the_same_plan_again_is_refused_in_that_scope_only(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro")
    refused = shop.api.refused(409, "billing.attach", customer_id=CUSTOMER, plan_id="pro")
    assert refused["code"] == "plan_already_attached"
    preview = shop.api.refused(409, "billing.preview_attach", customer_id=CUSTOMER, plan_id="pro")
    assert preview["code"] == "plan_already_attached"
    assert shop.buys("pro", "a") == 20


def test_an_archived_or_unknown_plan_is_refused(shop: Shop) -> None:
    shop.opens()
    assert shop.api.refused(404, "billing.attach", customer_id=CUSTOMER, plan_id="nope")["code"] == "product_not_found"
    shop.api.post("plans.update", plan_id="pro", archived=True)
    assert shop.api.refused(400, "billing.attach", customer_id=CUSTOMER, plan_id="pro")["code"] == "invalid_request"


def test_an_add_on_stands_beside_the_plan_on_the_same_subscription(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.buys("extra") == 5
    assert shop.buys("extra") == 5
    assert shop.left("words") == 400
    assert len(shop.processor()) == 1
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 40


def test_one_off_purchases_add_up_and_never_renew(shop: Shop) -> None:
    shop.plan("topup", 5, prepaid("messages", 0, 10, 100, "one_off"), every="one_off")
    shop.opens("2026-04-01")
    shop.buys("pro")
    for _ in range(2):
        assert shop.buys("topup", feature_quantities=[{"feature_id": "messages", "quantity": 100}]) == 15
    assert shop.left("messages") == 700
    assert [row["plan_id"] for row in shop.customer()["purchases"]] == ["topup", "topup"]
    shop.on("2026-05-02")
    assert shop.invoices() == [20, 15, 15, 20]


def test_a_prepaid_quantity_counts_the_included_units_and_is_bought_in_whole_packs(shop: Shop) -> None:
    shop.plan("pack", 20, prepaid("messages", 100, 10, 100, reset={"interval": "month"}))
    shop.opens("2026-04-01", "a", "b")
    quantity = [{"feature_id": "messages", "quantity": 250}]
    assert shop.buys("pack", "a", feature_quantities=quantity) == 40
    assert shop.left("messages", "a") == 300
    assert shop.buys("pack", "b") == 20
    assert shop.left("messages", "b") == 100


def test_a_recurring_prepaid_quantity_is_carried_over_by_an_upgrade(shop: Shop) -> None:
    shop.plan("small", 20, prepaid("messages", 0, 10, 100, reset={"interval": "month"}))
    shop.plan("big", 50, prepaid("messages", 0, 8, 100, reset={"interval": "month"}))
    shop.opens()
    shop.buys("small", feature_quantities=[{"feature_id": "messages", "quantity": 300}])
    assert shop.buys("big") == (50 + 24) - (20 + 30)
    assert shop.left("messages") == 300


def test_tiers_price_prepaid_quantities(shop: Shop) -> None:
    tiers = [{"to": 500, "amount": 0.1}, {"to": "inf", "amount": 0.05}]
    price = {"tiers": tiers, "interval": "month", "billing_method": "prepaid"}
    shop.plan("tiered", None, {**monthly("messages", 0), "price": {**price, "tier_behavior": "graduated"}})
    shop.plan("volume", None, {**monthly("messages", 0), "price": {**price, "tier_behavior": "volume"}}, group="v")
    shop.opens("2026-04-01", "a", "b")
    quantity = [{"feature_id": "messages", "quantity": 800}]
    assert shop.buys("tiered", "a", feature_quantities=quantity) == 65
    assert shop.buys("volume", "b", feature_quantities=quantity) == 40


def test_a_customised_price_and_other_items_are_what_is_held(shop: Shop) -> None:
    shop.opens()
    customize = {
        "price": {"amount": 15, "interval": "month"},
        "remove_items": [{"feature_id": "messages"}],
        "add_items": [monthly("words", 7)],
    }
    assert shop.buys("premium", customize=customize) == 15
    assert shop.left("messages") is None
    assert shop.left("words") == 7
    shop.on("2026-05-02")
    assert shop.invoices() == [15, 15]


def test_custom_lines_replace_the_computed_ones(shop: Shop) -> None:
    shop.opens()
    lines = [{"amount": 12.5, "description": "As agreed"}, {"amount": -2.25, "description": "Goodwill"}]
    assert shop.buys("pro", custom_line_items=lines) == D("10.25")
    assert shop.plans() == {"pro": "active"}


def test_without_proration_a_switch_costs_nothing_now_and_its_price_at_the_renewal(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.buys("premium", proration_behavior="none") == 0
    assert shop.plans() == {"premium": "active"}
    shop.on("2026-05-02")
    assert shop.invoices() == [50, 20]


def test_free_to_paid_without_proration_is_refused(shop: Shop) -> None:
    shop.opens()
    shop.attach("free")
    body = {"customer_id": CUSTOMER, "plan_id": "pro", "proration_behavior": "none"}
    assert shop.api.refused(400, "billing.attach", **body)["code"] == "invalid_request"


def test_a_cycle_can_be_counted_anew_from_now(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.buys("premium", billing_cycle_anchor="now") == 50 - 10
    row = shop.customer()["subscriptions"][0]
    assert row["current_period_end"] == ms("2026-05-16")


def test_a_switch_can_have_its_cycle_counted_anew_later(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    later = {"plan_id": "premium", "billing_cycle_anchor": ms("2026-04-21")}
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, **later)
    assert (preview["total"], preview["next_cycle"]["starts_at"]) == (15, ms("2026-04-21"))
    assert D(preview["next_cycle"]["total"]) == D("33.33")  # 50 x 20 / 30
    shop.buys("premium", billing_cycle_anchor=ms("2026-04-21"))
    shop.on("2026-05-21")
    assert shop.invoices() == [50, D("33.33"), 15, 20]


def test_a_purchase_moves_no_cycle(shop: Shop) -> None:
    shop.plan("pack", 7, monthly("words", 10), every="one_off")
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.buys("pack", billing_cycle_anchor="now") == 7
    assert shop.customer()["subscriptions"][0]["current_period_end"] == ms("2026-05-01")


def test_an_add_on_can_wait_for_the_cycle_of_its_plan(shop: Shop) -> None:
    shop.plan("extra", 5, monthly("words", 10), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-16")
    assert shop.buys("extra", plan_schedule="end_of_cycle") == 0
    assert shop.plans() == {"pro": "active", "extra": "scheduled"}
    shop.on("2026-05-01")
    assert shop.plans() == {"pro": "active", "extra": "active"}
    assert sorted(shop.invoices()) == [5, 20, 20]


def test_a_downgrade_does_not_wait_for_an_invoice(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("premium")
    body = {"customer_id": CUSTOMER, "plan_id": "pro", "invoice_mode": {"enabled": True}}
    assert shop.api.refused(400, "billing.attach", **body)["code"] == "invalid_request"
    assert shop.plans() == {"premium": "active"}


def test_a_plan_can_start_later(shop: Shop) -> None:
    shop.opens("2026-04-01")
    assert shop.buys("pro", starts_at=ms("2026-04-10")) == 0
    assert shop.plans() == {"pro": "scheduled"}
    shop.on("2026-04-11")
    assert shop.plans() == {"pro": "active"}
    assert shop.invoices() == [20]
    shop.on("2026-05-11")
    assert shop.invoices() == [20, 20]


def test_a_first_paid_plan_can_have_started_earlier(shop: Shop) -> None:
    shop.opens("2026-04-16")
    assert shop.buys("pro", starts_at=ms("2026-04-01")) == 20
    assert shop.customer()["subscriptions"][0]["current_period_end"] == ms("2026-05-01")


def test_a_plan_can_end_by_itself(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro", ends_at=ms("2026-05-01"))
    shop.on("2026-05-02")
    assert shop.plans() == {}
    assert shop.invoices() == [20]


def test_overage_is_billed_in_full_on_an_upgrade_unless_usage_is_carried_over(shop: Shop) -> None:
    shop.plan("metered", 20, monthly("words", 100, amount=0.1), group="m")
    shop.plan("metered2", 50, monthly("words", 500, amount=0.1), group="m")
    shop.opens("2026-04-01", "a", "b")
    for entity in ("a", "b"):
        shop.buys("metered", entity)
        shop.uses("words", 150, entity)
    assert shop.buys("metered2", "a") == 35
    assert shop.left("words", "a") == 500
    assert shop.buys("metered2", "b", carry_over_usages={"enabled": True}) == 30
    assert shop.left("words", "b") == 350


def test_what_is_left_can_be_carried_over(shop: Shop) -> None:
    shop.opens()
    shop.buys("pro")
    shop.uses("messages", 100)
    shop.buys("premium", carry_over_balances={"enabled": True})
    assert shop.left("messages") == 1400


def test_a_sent_invoice_grants_nothing_until_it_is_paid_unless_it_says_so(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b", card=None)
    answer = shop.attach("pro", "a", invoice_mode={"enabled": True})
    assert answer["invoice"]["status"] == "open"
    assert shop.plans("a") == {}
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans("a") == {"pro": "active"}
    shop.attach("pro", "b", invoice_mode={"enabled": True, "enable_plan_immediately": True})
    assert shop.plans("b") == {"pro": "active"}


def test_another_plan_can_be_removed_with_the_change(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.buys("extra")
    shop.on("2026-04-16")
    assert shop.buys("premium", remove_plan_ids=["extra"]) == 15 - 5
    assert shop.plans() == {"premium": "active"}


def test_several_plans_are_attached_on_one_invoice_or_not_at_all(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 200), add_on=True)
    shop.opens("2026-04-01", "a")
    body = {
        "customer_id": CUSTOMER,
        "plans": [{"plan_id": "pro"}, {"plan_id": "extra"}, {"plan_id": "premium", "entity_id": "a"}],
    }
    assert shop.api.post("billing.preview_multi_attach", **body)["total"] == 80
    assert shop.api.post("billing.multi_attach", **body)["invoice"]["total"] == 80
    assert shop.plans() == {"pro": "active", "extra": "active"}
    assert shop.plans("a") == {"premium": "active"}
    assert len(shop.processor()) == 2
    twice = {"customer_id": CUSTOMER, "entity_id": "a", "plans": [{"plan_id": "pro"}, {"plan_id": "free"}]}
    assert shop.api.refused(400, "billing.multi_attach", **twice)["code"] == "invalid_request"
    assert len(shop.invoices()) == 1


def test_no_plan_has_more_seats_than_it_allows(shop: Shop) -> None:
    item = seats(1, 10)
    item["price"]["max_purchase"] = 1
    shop.plan("team", 30, item, group="t")
    shop.opens()
    shop.buys("team")
    shop.joins("a")
    shop.joins("b")
    body = {"customer_id": CUSTOMER, "entity_id": "c", "feature_id": "seats"}
    assert shop.api.refused(400, "entities.create", **body)["code"] == "feature_limit_reached"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plan_schedule", "whenever"),
        ("starts_at", "soon"),
        ("billing_cycle_anchor", "yesterday"),
        ("feature_quantities", [{"feature_id": "messages", "quantity": -1}]),
        ("feature_quantities", {"messages": 1}),
        ("custom_line_items", [{"amount": "ten", "description": "x"}]),
        ("customize", {"price": {"amount": -1, "interval": "month"}}),
        ("customize", {"add_items": [{"feature_id": "nothing"}]}),
        ("version", 1.5),
        ("discounts", [{"reward_id": "spring"}]),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_name_of_the_field(shop: Shop, field: str, value: object) -> None:
    shop.opens()
    for call in ("billing.attach", "billing.preview_attach"):
        response = shop.api.send(call, {"customer_id": CUSTOMER, "plan_id": "pro", field: value})
        assert 400 <= response.status_code < 500
        assert field in response.content.decode() or "nothing" in response.content.decode()


def test_an_id_names_one_plan_at_a_time_and_is_refused_before_anything_is_charged(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", subscription_id="main")
    body = {"customer_id": CUSTOMER, "plan_id": "pro", "entity_id": "a", "subscription_id": "main"}
    assert shop.api.refused(409, "billing.attach", **body)["code"] == "subscription_id_taken"
    assert shop.invoices() == [20]
    shop.buys("premium", subscription_id="main")
    later = {"customer_id": CUSTOMER, "plan_id": "pro", "subscription_id": "main"}
    assert shop.api.refused(409, "billing.attach", **later)["code"] == "subscription_id_taken"
    shop.update("premium", cancel_action="cancel_immediately")
    shop.buys("pro", "a", subscription_id="main")
    assert [row["id"] for row in shop.customer()["subscriptions"]] == ["main"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"starts_at": 0}, "invalid_request"),
        ({"currency": "eur"}, "currency_mismatch"),
        ({"custom_line_items": [{"amount": 10**12, "description": "All of it"}]}, "invalid_request"),
        ({"customize": {"price": {"amount": 10**13, "interval": "year"}}}, "invalid_request"),
    ],
)
def test_what_no_invoice_can_hold_is_refused(shop: Shop, more: dict[str, object], code: str) -> None:
    shop.opens()
    for call in ("billing.preview_attach", "billing.attach"):
        refused = shop.api.refused(400, call, customer_id=CUSTOMER, plan_id="pro", **more)
        assert refused["code"] == code
    assert shop.plans() == {}

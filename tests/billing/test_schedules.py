"""Plans that follow each other, asked for at once."""

from decimal import Decimal
from typing import Any

import pytest

from tests.client import read
from tests.selling import CUSTOMER, Shop, monthly, ms

NOW = {"starts_at": "now"}


def after(count: int = 1, unit: str = "month") -> dict[str, Any]:
    return {"starting_after": {"duration_type": unit, "duration_count": count}}


def phase(*plans: Any, **when: Any) -> dict[str, Any]:
    return {**when, "plans": [plan if isinstance(plan, dict) else {"plan_id": plan} for plan in plans]}


def schedule(shop: Shop, *phases: dict[str, Any], **more: Any) -> Any:
    asked = {"customer_id": CUSTOMER, "phases": list(phases), **more}
    preview = shop.api.post("billing.preview_create_schedule", **asked)
    before = shop.invoices()
    made = shop.api.post("billing.create_schedule", **asked)
    if made["status"] == "created":
        newest = [total for total in shop.invoices()[: len(shop.invoices()) - len(before)] if total]
        assert newest == ([preview["total"]] if preview["total"] else [])
    return made


def refused(shop: Shop, status: int, *phases: dict[str, Any], **more: Any) -> str:
    asked = {"customer_id": CUSTOMER, "phases": list(phases), **more}
    return str(read(shop.api.send("billing.create_schedule", asked), status)["message"])


def test_phases_follow_each_other_at_their_instants(shop: Shop) -> None:
    shop.opens("2026-01-31")
    made = schedule(shop, phase("pro", **NOW), phase("premium", **after(2)), phase("free", **after(1)))
    assert made["status"] == "created"
    assert [one["starts_at"] for one in made["phases"]] == [ms("2026-01-31"), ms("2026-03-31"), ms("2026-04-30")]
    assert [len(one["customer_product_ids"]) for one in made["phases"]] == [1, 1, 1]
    assert shop.plans() == {"pro": "canceling", "premium": "scheduled", "free": "scheduled"}
    shop.on("2026-03-30")
    assert (shop.plans()["pro"], shop.invoices()) == ("canceling", [20, 20])
    shop.on("2026-03-31")
    assert shop.plans() == {"premium": "canceling", "free": "scheduled"}
    assert shop.left("messages") == 1000
    shop.on("2026-05-31")
    assert shop.plans() == {"free": "active"}
    assert shop.invoices() == [50, 20, 20]
    assert shop.processor() == []


def test_a_phase_within_a_cycle_credits_what_is_unused(shop: Shop) -> None:
    shop.opens("2026-04-01")
    schedule(shop, phase("pro", **NOW), phase("premium", starts_at=ms("2026-04-16")))
    shop.on("2026-04-16")
    assert shop.plans() == {"premium": "active"}
    assert shop.invoices() == [Decimal(15), 20]  # 50 x 15/30 - 20 x 15/30
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 50


def test_a_phase_may_count_its_cycles_from_its_start(shop: Shop) -> None:
    shop.opens("2026-04-01")
    again = phase("premium", starts_at=ms("2026-04-16"), billing_cycle_anchor="phase_start")
    schedule(shop, phase("pro", **NOW), again)
    shop.on("2026-04-16")
    assert shop.invoices()[0] == 40
    shop.on("2026-05-15")
    assert len(shop.invoices()) == 2
    shop.on("2026-05-16")
    assert shop.invoices()[0] == 50


def test_the_last_request_wins(shop: Shop) -> None:
    shop.opens("2026-04-01")
    schedule(shop, phase("pro", **NOW), phase("premium", **after()))
    schedule(shop, phase("pro", **NOW), phase("free", **after(2)))
    assert shop.plans() == {"pro": "canceling", "free": "scheduled"}
    assert len(shop.invoices()) == 1
    shop.on("2026-06-01")
    assert (shop.plans(), shop.invoices()) == ({"free": "active"}, [20, 20])


def test_an_attachment_replaces_a_schedule_and_a_schedule_an_attachment(shop: Shop) -> None:
    shop.opens("2026-04-01")
    schedule(shop, phase("pro", **NOW), phase("free", **after(1)), phase("pro", **after(1)))
    shop.buys("premium")
    assert shop.plans() == {"premium": "active"}
    shop.attach("free")
    schedule(shop, phase("premium", **NOW), phase("pro", **after(3)))
    assert shop.plans() == {"premium": "canceling", "pro": "scheduled"}


def test_uncancelling_the_plan_or_cancelling_what_waits_undoes_a_schedule(shop: Shop) -> None:
    shop.opens("2026-04-01")
    phases = [phase("pro", **NOW), phase("premium", **after()), phase("free", **after())]
    schedule(shop, *phases)
    shop.update("pro", cancel_action="uncancel")
    assert shop.plans() == {"pro": "active"}
    schedule(shop, *phases)
    shop.update("premium", cancel_action="cancel_immediately")
    assert shop.plans() == {"pro": "active"}
    schedule(shop, *phases)
    shop.update("free", cancel_action="cancel_immediately")
    assert shop.plans() == {"pro": "canceling", "premium": "scheduled"}
    shop.on("2026-07-01")
    assert shop.plans() == {"premium": "active"}


def test_cancelling_the_plan_at_once_ends_the_schedule(shop: Shop) -> None:
    shop.opens("2026-04-01")
    schedule(shop, phase("pro", **NOW), phase("premium", **after()), phase("pro", **after()))
    shop.update("pro", cancel_action="cancel_immediately")
    assert shop.plans() == {}


def test_a_plan_that_goes_on_is_not_started_again(shop: Shop) -> None:
    shop.plan("extra", 10, add_on=True)
    shop.opens("2026-04-01")
    made = schedule(shop, phase("pro", "extra", **NOW), phase("pro", **after()), phase("premium", **after()))
    first, second, third = (one["customer_product_ids"] for one in made["phases"])
    assert (set(second) < set(first), set(third).isdisjoint(first)) == (True, True)
    shop.on("2026-05-01")
    assert (shop.plans(), shop.invoices()[0]) == ({"pro": "canceling", "premium": "scheduled"}, 20)
    shop.on("2026-06-01")
    assert (shop.plans(), shop.invoices()[0]) == ({"premium": "active"}, 50)


def test_workspaces_have_phases_of_their_own_and_undeclared_plans_stay(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "b")
    whole = {"plan_id": "premium", "entity_id": None}
    schedule(shop, phase("pro", whole, **NOW), phase("premium", whole, **after()), entity_id="a")
    assert shop.plans() == {"premium": "active"}
    assert shop.plans("a") == {"pro": "canceling", "premium": "scheduled"}
    shop.on("2026-05-01")
    assert (shop.plans("a"), shop.plans("b"), shop.plans()) == (
        {"premium": "active"},
        {"pro": "active"},
        {"premium": "active"},
    )
    assert sorted(shop.invoices()[:3]) == [20, 50, 50]


def test_a_schedule_may_begin_later(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("premium")
    made = schedule(shop, phase("pro", starts_at=ms("2026-06-01")), phase("free", **after()))
    assert made["phases"][0]["starts_at"] == ms("2026-06-01")
    assert shop.plans() == {"premium": "canceling", "pro": "scheduled", "free": "scheduled"}
    shop.on("2026-07-02")
    assert (shop.plans(), shop.invoices()) == ({"free": "active"}, [20, 50, 50])


def test_unscheduled_plans_are_attached_and_stay(shop: Shop) -> None:
    shop.plan("extra", 10, add_on=True)
    shop.opens("2026-04-01")
    schedule(shop, phase("pro", **NOW), phase("free", **after()), unscheduled_plans=[{"plan_id": "extra"}])
    shop.on("2026-06-01")
    assert shop.plans() == {"extra": "active", "free": "active"}
    assert shop.invoices() == [10, 10, 30]


def test_without_a_card_the_whole_schedule_waits_for_its_page(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    made = schedule(shop, phase("pro", **NOW), phase("premium", **after()))
    assert (made["status"], made["schedule_id"], made["phases"]) == ("pending_payment", None, [])
    again = schedule(shop, phase("pro", **NOW), phase("premium", **after()))
    assert made["payment_url"] == again["payment_url"] is not None
    assert shop.plans() == {}
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.plans() == {"pro": "canceling", "premium": "scheduled"}
    shop.on("2026-05-01")
    assert (shop.plans(), shop.invoices()) == ({"premium": "active"}, [50, 20])


def test_3d_secure_holds_a_schedule_until_it_is_passed(shop: Shop) -> None:
    shop.opens("2026-04-01", card="requires_authentication")
    made = schedule(shop, phase("pro", **NOW), phase("premium", **after()))
    assert (made["status"], made["required_action"]["code"]) == ("pending_payment", "3ds_required")
    shop.api.post("sandbox.authenticate_payment", customer_id=CUSTOMER)
    assert shop.plans() == {"pro": "canceling", "premium": "scheduled"}


def test_discounts_lower_the_first_phase_and_what_follows_while_they_last(shop: Shop) -> None:
    half = {"id": "half", "name": "Half", "type": "percentage_discount", "value": 50, "plan_ids": None}
    shop.api.post("rewards.create", coupon={**half, "duration": {"type": "months", "length": 2}, "promo_codes": []})
    shop.opens("2026-04-01")
    schedule(shop, phase("pro", **NOW), phase("premium", **after()), discounts=[{"reward_id": "half"}])
    shop.on("2026-06-01")
    assert shop.invoices() == [50, 25, 10]


def test_quantities_are_kept_by_a_phase_that_names_none(shop: Shop) -> None:
    pack = {"amount": 10, "interval": "month", "billing_units": 100, "billing_method": "prepaid"}
    shop.plan("packs", 5, {"feature_id": "messages", "included": 0, "price": pack}, group="packs")
    shop.plan("big", 50, {"feature_id": "messages", "included": 0, "price": pack}, group="packs")
    shop.opens("2026-04-01")
    bought = {"plan_id": "packs", "feature_quantities": [{"feature_id": "messages", "quantity": 300}]}
    schedule(shop, phase(bought, **NOW), phase("big", **after()))
    shop.on("2026-05-01")
    assert (shop.invoices(), shop.left("messages")) == ([80, 35], 300)


@pytest.mark.parametrize(
    ("phases", "says"),
    [
        ([], "phases"),
        ([phase(**NOW)], "at least one plan"),
        ([phase("pro", **NOW), phase("premium", **NOW)], "phases[1].starts_at"),
        ([phase("pro", **NOW), phase("premium", starts_at=ms("2026-03-01"))], "phases[1].starts_at"),
        ([phase("pro", **after())], "phases[0].starting_after"),
        ([phase("pro", **NOW), phase("premium", starts_at=ms("2026-05-01"), **after())], "starting_after"),
        ([phase("pro", "premium", **NOW)], "can't be held together"),
        ([phase("pro", **NOW), phase("free", "premium", **after())], "can't be held together"),
        ([phase("pro", **NOW), phase("once", **after())], "paid once"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_whole(shop: Shop, phases: list[Any], says: str) -> None:
    shop.plan("once", 30, every="one_off", group="once")
    shop.opens("2026-04-01")
    assert says in refused(shop, 400, *phases)
    assert (shop.plans(), shop.invoices()) == ({}, [])


def test_an_unknown_plan_of_a_late_phase_is_refused_before_anything_is_charged(shop: Shop) -> None:
    shop.opens("2026-04-01")
    assert "nothing" in refused(shop, 404, phase("pro", **NOW), phase("nothing", **after()))
    assert shop.invoices() == []


def test_missed_phases_are_made_up_for_in_order(shop: Shop) -> None:
    shop.plan("metered", 10, monthly("words", 5, amount=1, billing_units=1))
    shop.opens("2026-04-01")
    schedule(shop, phase("metered", **NOW), phase("pro", **after()), phase("premium", **after()))
    shop.uses("words", 9)
    shop.on("2027-04-01")
    assert shop.plans() == {"premium": "active"}
    assert shop.invoices() == [50] * 11 + [24, 10]


def test_the_processor_keeps_the_subscription_that_the_next_phase_takes_over(shop: Shop) -> None:
    shop.opens("2026-04-01")
    schedule(shop, phase("pro", **NOW), phase("premium", starts_at=ms("2026-05-16")), phase("free", **after()))
    (before,) = shop.processor()
    assert before["cancel_at"] is None
    shop.on("2026-05-16")
    (now,) = shop.processor()
    assert (now["id"], now["cancel_at"]) == (before["id"], ms("2026-06-16"))
    shop.on("2026-06-16")
    assert shop.processor() == []

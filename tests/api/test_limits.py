"""Billing controls at work: overage_allowed, usage limits and spend limits (spec/balances.md 11)."""

from typing import Any

import pytest

from tests.builders import Account, item, limit, ms, numbers, overage
from tests.client import Api

PRICE = {"amount": 1, "interval": "month", "billing_method": "usage_based", "billing_units": 1}


def used(acme: Account, *, of: str = "") -> object:
    """What the usage limit has counted, as reads show it."""
    return acme.get(of)["billing_controls"]["usage_limits"][0]["usage"]


@pytest.fixture
def crew(acme: Account) -> Account:
    """Acme with Alice, Bob and Carol, who have 100 messages each."""
    acme.hold(item("messages", 100, per="seats"))
    acme.join("alice", "bob", "carol")
    return acme


# -- usage limits --


def test_a_customers_limit_is_one_counter_for_all_its_entities(crew: Account) -> None:
    crew.control(limit(5))
    for who, value in [("alice", 2), ("bob", 2), ("carol", 1)]:
        crew.track(value, by=who)
    body = {"feature_id": "messages", "value": 1, "overage_behavior": "reject"}
    assert crew.refused(400, "balances.track", by="alice", **body) == "insufficient_balance"
    assert (crew.numbers(), used(crew)) == ((300, 295, 5), 5)
    assert not crew.allows(by="bob")
    assert not crew.allows()


def test_a_plans_limit_is_shared_as_well(acme: Account) -> None:
    acme.hold(item("messages", 100, per="seats"), billing_controls=limit(5))
    acme.join("alice", "bob")
    acme.track(3, by="alice")
    assert acme.track(3, by="bob")["balance"]["usage"] == 2


def test_an_entitys_own_limit_binds_only_it_and_has_its_own_counter(crew: Account) -> None:
    crew.control(limit(5), of="alice")
    crew.control(limit(10), of="bob")
    for who, value in [("alice", 7), ("bob", 7), ("bob", 5), ("carol", 50)]:
        crew.track(value, by=who)
    assert [crew.numbers(of=who) for who in ("alice", "bob", "carol")] == [
        (100, 95, 5), (100, 90, 10), (100, 50, 50),
    ]  # fmt: skip
    assert (used(crew, of="alice"), used(crew, of="bob")) == (5, 10)
    # A customer-level track is nobody's in particular.
    crew.track(10)
    assert (crew.numbers(of="alice"), used(crew, of="alice")) == ((100, 85, 15), 5)


def test_an_entity_with_its_own_limit_leaves_the_shared_counter(crew: Account) -> None:
    crew.control(limit(5))
    crew.control(limit(2), of="bob")
    assert numbers(crew.track(3, by="bob")["balance"]) == (100, 98, 2)
    assert numbers(crew.track(5, by="alice")["balance"]) == (100, 95, 5)
    assert (used(crew), used(crew, of="bob")) == (5, 2)


def test_an_entitys_limit_set_in_the_middle_starts_at_nothing(crew: Account) -> None:
    crew.track(50, by="alice")
    crew.control(limit(5), of="alice")
    assert used(crew, of="alice") == 0
    assert crew.track(9, by="alice")["balance"]["usage"] == 55


def test_a_limit_that_is_lifted_or_disabled_binds_no_more(crew: Account) -> None:
    crew.control(limit(5))
    crew.track(9)
    crew.control(limit(5, enabled=False))
    assert crew.allows(50)
    crew.control(limit(7))
    assert [crew.allows(required) for required in (2, 3)] == [True, False]
    crew.control({"usage_limits": []})
    assert crew.allows(200)


def test_an_entitys_disabled_limit_frees_it_from_the_customers(crew: Account) -> None:
    crew.control(limit(5))
    crew.control(limit(5, enabled=False), of="alice")
    assert crew.allows(50, by="alice")
    assert not crew.allows(50, by="bob")


def test_the_window_starts_again_with_the_next_day_week_or_month(api: Api) -> None:
    acme = Account(api, since="2026-04-01T09:00")
    acme.hold(item("messages", 1000, every=""))
    acme.control(limit(5, interval="day"))
    acme.track(9)
    acme.turn_clock("2026-04-02T08:59:59")
    assert not acme.allows()
    acme.turn_clock("2026-04-02T09:00")
    assert (acme.allows(5), acme.allows(6), used(acme)) == (True, False, 0)
    acme.control(limit(8, interval="month"))
    acme.track(9)
    acme.turn_clock("2026-05-01T08:59:59")
    assert not acme.allows()
    acme.turn_clock("2026-05-01T09:00")
    assert acme.allows(8)


def test_a_window_may_follow_the_calendar(api: Api) -> None:
    acme = Account(api, since="2026-04-15T09:00")
    acme.hold(item("messages", 1000, every=""))
    acme.control(limit(5, anchor="utc"))
    acme.track(9)
    acme.turn_clock("2026-04-30T23:59:59")
    assert not acme.allows()
    acme.turn_clock("2026-05-01")
    assert acme.allows(5)


def test_of_several_plans_the_limit_that_is_strictest_by_the_day_binds(acme: Account) -> None:
    acme.plan("daily", item("messages", 100), billing_controls=limit(3, interval="day"), add_on=True)
    acme.hold(item("messages", 100), billing_controls=limit(60), plan_id="monthly")
    acme.attach("daily")
    # 60 a month are 2 a day.
    assert [acme.allows(required) for required in (3, 60, 61)] == [True, True, False]


def test_a_feature_may_be_capped_per_day_as_well_as_per_month(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 1000))
    acme.control({"usage_limits": [*limit(5, interval="day")["usage_limits"], *limit(8)["usage_limits"]]})
    acme.track(9)
    acme.turn_clock("2026-04-02")
    assert acme.track(9)["balance"]["usage"] == 8
    shown = acme.get()["billing_controls"]["usage_limits"]
    assert [(entry["interval"], entry["usage"]) for entry in shown] == [("day", 3), ("month", 8)]


def test_some_events_may_have_a_limit_of_their_own_besides(acme: Account) -> None:
    acme.hold(item("messages", 1000))
    large = {"properties": {"model": "large"}}
    acme.control({"usage_limits": [*limit(10)["usage_limits"], *limit(3, filter=large)["usage_limits"]]})
    acme.track(9, properties={"model": "large"})
    acme.track(9)
    assert acme.numbers() == (1000, 990, 10)


def test_a_limit_counts_tracked_units_whatever_pays_for_them(acme: Account) -> None:
    acme.hold(item("action1", 5), item("credits", 100))
    acme.control(limit(8, feature="action1"))
    acme.track(10, "action1")
    assert (acme.numbers("action1"), acme.numbers("credits"), used(acme)) == (
        (5, 0, 5), (100, acme.balance("credits")["remaining"], acme.balance("credits")["usage"]), 8,
    )  # fmt: skip
    assert acme.balance("credits")["usage"] * 10 == 6
    assert not acme.allows(1, "action1")


def test_a_limit_on_credits_counts_credits(acme: Account) -> None:
    acme.hold(item("credits", 100))
    acme.control(limit(2, feature="credits"))
    assert [acme.allows(required, "action1") for required in (10, 11)] == [True, False]
    acme.track(7, "action1")
    acme.track(7, "action1")
    assert (acme.balance("credits")["usage"], used(acme)) == (2, 2)
    assert acme.refused(
        400, "balances.track", feature_id="action2", value=1, overage_behavior="reject"
    ) == "insufficient_balance"  # fmt: skip


def test_a_refund_gives_headroom_back(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5))
    acme.track(5)
    acme.track(-2)
    assert used(acme) == 3
    assert [acme.allows(required) for required in (2, 3)] == [True, False]


def test_a_refund_of_what_was_used_before_the_limit_does_not_make_it_negative(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.track(50)
    acme.control(limit(5))
    acme.track(-20)
    assert used(acme) == 0
    assert [acme.allows(required) for required in (5, 6)] == [True, False]


def test_overflow_ignores_a_limit_but_counts(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5))
    acme.track(3)
    assert numbers(acme.track(10, overage_behavior="overflow")["balance"]) == (100, 87, 13)
    assert used(acme) == 13
    assert numbers(acme.track(2)["balance"]) == (100, 87, 13)
    assert not acme.allows()


def test_unlimited_features_ignore_a_limit(acme: Account) -> None:
    acme.hold(item("messages", unlimited=True))
    acme.control(limit(5))
    assert acme.allows(50)
    assert acme.track(50)["balance"]["usage"] == 50


def test_a_limit_on_some_properties_counts_only_those(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5, filter={"properties": {"model": "large"}}))
    acme.track(20, properties={"model": "small"})
    acme.track(20)
    assert acme.track(9, properties={"model": "large", "user": "x"})["balance"]["usage"] == 45
    assert used(acme) == 5
    assert acme.allows(1, properties={"model": "small"})
    assert not acme.allows(1, properties={"model": "large"})


def test_a_limit_with_nothing_left_refuses_even_zero_headroom(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(0))
    assert [acme.allows(required) for required in (0, 1)] == [True, False]
    assert acme.track(5)["balance"]["usage"] == 0


# -- overage_allowed --


def test_overage_may_be_allowed_for_one_entity(crew: Account) -> None:
    crew.control(overage(True), of="alice")
    for who in ("alice", "bob"):
        crew.track(150, by=who)
    assert (crew.numbers(of="alice"), crew.numbers(of="bob")) == ((100, 0, 150), (100, 0, 100))
    assert (crew.allows(by="alice"), crew.allows(by="bob")) == (True, False)
    assert crew.balance(of="alice")["overage_allowed"]


def test_an_entitys_word_is_above_the_customers_and_that_above_the_plans(acme: Account) -> None:
    acme.hold(item("messages", 10, per="seats"), billing_controls=overage(True))
    acme.join("alice", "bob")
    assert acme.allows(50, by="alice")
    acme.control(overage(False))
    assert not acme.allows(50, by="alice")
    acme.control(overage(True), of="bob")
    assert (acme.allows(50, by="alice"), acme.allows(50, by="bob")) == (False, True)


def test_among_several_plans_no_wins(acme: Account) -> None:
    acme.plan("second", item("messages", 10), billing_controls=overage(False), add_on=True)
    acme.hold(item("messages", 10), billing_controls=overage(True))
    assert acme.allows(50)
    acme.attach("second")
    assert not acme.allows(50)


def test_forbidden_overage_holds_for_seats_too(acme: Account) -> None:
    acme.hold(item("seats", 2))
    acme.control(overage(False, feature="seats"))
    assert numbers(acme.track(5, "seats")["balance"]) == (2, 0, 2)


# -- spend limits --


def spend(most: int, **more: object) -> dict[str, Any]:
    return {"spend_limits": [{"feature_id": "messages", "enabled": True, "overage_limit": most, **more}]}


@pytest.fixture
def payer(acme: Account) -> Account:
    """Acme with a card."""
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    return acme


def test_a_spend_limit_caps_what_is_sold_beyond_the_grant(payer: Account) -> None:
    payer.hold(item("messages", 10, price=PRICE))
    payer.control(spend(5))
    assert [payer.allows(required) for required in (15, 16)] == [True, False]
    assert numbers(payer.track(50)["balance"]) == (10, 0, 15)
    # Overflow ignores usage limits, not this one.
    assert numbers(payer.track(50, overage_behavior="overflow")["balance"]) == (10, 0, 15)


def test_a_customers_spend_limit_holds_for_each_entity_separately(payer: Account) -> None:
    payer.hold(item("messages", 10, per="seats", price=PRICE))
    payer.join("alice", "bob")
    payer.control(spend(5))
    for who in ("alice", "bob"):
        assert payer.track(50, by=who)["balance"]["usage"] == 15


def test_the_reset_opens_the_spend_limit_again(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.hold(item("messages", 10, price=PRICE))
    acme.control(spend(5))
    acme.track(50)
    acme.turn_clock("2026-05-01T00:00:01")
    assert acme.allows(15)
    assert acme.balance()["next_reset_at"] == ms("2026-06-01")


# -- how they are told --


@pytest.mark.parametrize("call", ["customers.update", "customers.get_or_create"])
@pytest.mark.parametrize(
    "controls",
    [
        limit(5, interval="hour"),
        limit(-1),
        limit("5"),
        {"usage_limits": [{"feature_id": "messages", "enabled": True, "interval": "month"}]},
        limit(5, filter={"properties": {}}),
        limit(5, filter={"properties": {str(n): "x" for n in range(5)}}),
        {"usage_limits": [*limit(5)["usage_limits"], *limit(6)["usage_limits"]]},
        {"overage_allowed": [{"enabled": True}]},
    ],
)
def test_controls_that_make_no_sense_are_refused(acme: Account, call: str, controls: object) -> None:
    acme.offer("messages")
    assert acme.refused(400, call, billing_controls=controls) == "invalid_inputs"
    assert not acme.get()["billing_controls"].get("usage_limits")

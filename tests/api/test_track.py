"""balances.track: what is deducted from where, and what is refused (spec/balances.md 7, 7A)."""

from decimal import Decimal

import pytest

from tests.builders import Account, item, limit, ms, numbers, overage
from tests.client import Api, read

PRICE = {"interval": "month", "billing_method": "usage_based", "billing_units": 1}


def left_of(acme: Account, *members: str, feature: str = "messages") -> list[object]:
    """What each member has left."""
    return [(acme.numbers(feature, of=member) or (0, 0, 0))[1] for member in members]


# -- one balance --


def test_what_is_tracked_comes_off_and_is_answered(acme: Account) -> None:
    acme.hold(item("messages", 100))
    answer = acme.track(30)
    assert (answer["customer_id"], answer["entity_id"], answer["value"]) == ("acme", None, 30)
    assert numbers(answer["balance"]) == (100, 70, 30)
    (deducted,) = answer["deductions"]
    assert (deducted["feature_id"], deducted["plan_id"], deducted["value"]) == ("messages", "free", 30)
    assert deducted["balance_id"] == acme.balance()["breakdown"][0]["id"]


def test_one_is_tracked_unless_said_and_zero_stays_zero(acme: Account) -> None:
    acme.hold(item("messages", 100))
    answer = acme.api.post("balances.track", customer_id="acme", feature_id="messages")
    assert (answer["value"], numbers(answer["balance"])) == (1, (100, 99, 1))
    answer = acme.track(0)
    assert (answer["value"], numbers(answer["balance"])) == (0, (100, 99, 1))
    assert [event["value"] for event in acme.events()] == [0, 1]


def test_fractions_are_exact(acme: Account) -> None:
    acme.hold(item("messages", 100))
    for value in ("25.5", "15.25", "0.1", "0.2", "37.8900000001"):
        acme.track(Decimal(value))
    assert acme.numbers() == (100, Decimal("21.0599999999"), Decimal("78.9400000001"))


def test_a_binary_fraction_is_rounded_to_ten_decimals(acme: Account) -> None:
    acme.hold(item("messages", 1))
    assert numbers(acme.track(Decimal("0.30000000000000004"))["balance"]) == (1, Decimal("0.7"), Decimal("0.3"))


def test_exactly_one_of_feature_and_event_name_is_needed(acme: Account) -> None:
    acme.offer("messages")
    assert acme.refused(400, "balances.track", value=1) == "invalid_inputs"
    assert acme.refused(400, "balances.track", value=1, feature_id="messages", event_name="acted") == "invalid_inputs"


def test_unknown_ids_are_named_and_leave_no_trace(acme: Account) -> None:
    acme.offer("messages")
    assert acme.refused(404, "balances.track", feature_id="nope") == "feature_not_found"
    assert acme.refused(404, "balances.track", event_name="nobody-listens") == "invalid_request"
    assert acme.refused(404, "balances.track", feature_id="messages", by="ghost") == "entity_not_found"
    ghost = acme.api.refused(404, "balances.track", customer_id="ghost", feature_id="messages")
    assert ghost["code"] == "customer_not_found"
    assert acme.events() == []


def test_the_past_is_accepted_as_a_timestamp_and_the_future_is_not(api: Api) -> None:
    acme = Account(api, since="2026-04-10")
    acme.hold(item("messages", 100))
    acme.track(3, timestamp=ms("2026-04-02"))
    assert acme.events()[0]["timestamp"] == ms("2026-04-02")
    refused = acme.refused(400, "balances.track", feature_id="messages", timestamp=ms("2026-04-10T00:00:01"))
    assert refused == "invalid_inputs"
    assert acme.numbers() == (100, 97, 3)


def test_without_a_balance_only_the_event_is_recorded(acme: Account) -> None:
    acme.offer("messages", "dashboard")
    for feature in ("messages", "dashboard"):
        answer = acme.track(5, feature)
        assert (answer["balance"], answer["deductions"]) == (None, [])
    assert [event["feature_id"] for event in acme.events()] == ["dashboard", "messages"]


# -- more than there is --


def test_cap_takes_what_fits_and_remembers_what_was_asked(acme: Account) -> None:
    acme.hold(item("messages", 20))
    answer = acme.track(50)
    assert (answer["value"], numbers(answer["balance"])) == (50, (20, 0, 20))
    assert [event["value"] for event in acme.events()] == [50]
    again = acme.track(1)
    assert (numbers(again["balance"]), again["deductions"]) == ((20, 0, 20), [])


def test_reject_takes_all_or_nothing(acme: Account) -> None:
    acme.hold(item("messages", 20))
    refused = acme.refused(400, "balances.track", feature_id="messages", value=21, overage_behavior="reject")
    assert (refused, acme.numbers(), acme.events()) == ("insufficient_balance", (20, 20, 0), [])
    assert numbers(acme.track(20, overage_behavior="reject")["balance"]) == (20, 0, 20)


def test_reject_without_any_balance_is_refused(acme: Account) -> None:
    acme.offer("messages")
    refused = acme.refused(400, "balances.track", feature_id="messages", value=1, overage_behavior="reject")
    assert refused == "insufficient_balance"


def test_overflow_takes_everything_and_shows_it_as_usage(acme: Account) -> None:
    acme.hold(item("messages", 20))
    assert numbers(acme.track(50, overage_behavior="overflow")["balance"]) == (20, 0, 50)
    # What comes back first cures the overdraft.
    assert numbers(acme.track(-35)["balance"]) == (20, 5, 15)


def test_seats_may_be_overdrawn_but_not_with_reject(acme: Account) -> None:
    acme.hold(item("seats", 5))
    assert numbers(acme.track(7, "seats")["balance"]) == (5, 0, 7)
    refused = acme.refused(400, "balances.track", feature_id="seats", value=1, overage_behavior="reject")
    assert refused == "insufficient_balance"


def test_overage_that_is_allowed_goes_below_zero_with_reject_too(acme: Account) -> None:
    acme.hold(item("messages", 20))
    acme.control(overage(True))
    assert numbers(acme.track(50)["balance"]) == (20, 0, 50)
    assert numbers(acme.track(10, overage_behavior="reject")["balance"]) == (20, 0, 60)


def test_forbidding_overage_stops_what_is_sold_as_well(acme: Account) -> None:
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.hold(item("messages", 10, price={**PRICE, "amount": 1}))
    assert numbers(acme.track(15)["balance"]) == (10, 0, 15)
    acme.control(overage(False))
    assert numbers(acme.track(5)["balance"]) == (10, 0, 15)


def test_sold_overage_stops_at_the_most_that_is_sold(acme: Account) -> None:
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.hold(item("messages", 10, price={**PRICE, "amount": 1, "max_purchase": 5}))
    assert numbers(acme.track(100)["balance"]) == (10, 0, 15)


# -- which source pays --


def test_a_customers_usage_comes_off_the_entity_created_first_not_the_first_by_name(acme: Account) -> None:
    acme.hold(item("messages", 100, per="seats"))
    acme.join("zoe", "adam", "mia")
    assert numbers(acme.track(30)["balance"]) == (300, 270, 30)
    assert left_of(acme, "zoe", "adam", "mia") == [70, 100, 100]


def test_one_entity_is_drained_before_the_next_and_together_they_stop_at_the_total(acme: Account) -> None:
    acme.hold(item("messages", 500, per="seats"))
    acme.join("alice", "bob", "carol")
    acme.track(600)
    assert left_of(acme, "alice", "bob", "carol") == [0, 400, 500]
    assert numbers(acme.track(5000)["balance"]) == (1500, 0, 1500)


def test_a_customers_refund_fills_the_entities_in_the_same_order_each_up_to_its_grant(acme: Account) -> None:
    acme.hold(item("messages", 50, per="seats"))
    acme.join("alice", "bob")
    acme.track(40, by="alice")
    acme.track(30, by="bob")
    acme.track(-55)
    assert left_of(acme, "alice", "bob") == [50, 35]
    acme.track(-500)
    assert left_of(acme, "alice", "bob") == [50, 50]
    assert acme.numbers() == (100, 100, 0)


def test_an_entity_cannot_use_anothers_share(acme: Account) -> None:
    acme.hold(item("messages", 50, per="seats"))
    acme.join("alice", "bob")
    assert numbers(acme.track(80, by="alice")["balance"]) == (50, 0, 50)
    assert left_of(acme, "alice", "bob") == [0, 50]


def test_an_entity_uses_its_share_before_the_pool_and_the_customer_the_pool_before_the_shares(acme: Account) -> None:
    acme.hold(item("messages", 100), item("messages", 50, per="seats"))
    acme.join("alice", "bob")
    assert numbers(acme.track(80, by="alice")["balance"]) == (150, 70, 80)
    assert acme.numbers(of="bob") == (150, 120, 30)
    acme.track(90)
    assert left_of(acme, "alice", "bob") == [0, 30]
    assert acme.numbers() == (200, 30, 170)


def test_a_customers_track_never_touches_what_an_entity_owns(acme: Account) -> None:
    acme.hold(item("messages", 10))
    acme.join("alice")
    acme.grant("messages", 100, to="alice")
    assert numbers(acme.track(50)["balance"]) == (110, 100, 10)
    assert acme.numbers(of="alice") == (110, 100, 10)


def test_an_entity_on_a_plan_of_its_own_pays_from_it_then_from_the_pool(acme: Account) -> None:
    acme.plan("pro", item("messages", 30))
    acme.hold(item("messages", 10))
    acme.join("alice", "bob")
    acme.attach("pro", by="alice")
    assert numbers(acme.track(35, by="alice")["balance"]) == (40, 5, 35)
    assert acme.numbers(of="bob") == (10, 5, 5)
    # An entity's refund goes back the same way: its own first.
    assert numbers(acme.track(-32, by="alice")["balance"]) == (40, 37, 3)
    assert acme.numbers(of="bob") == (10, 7, 3)


def test_what_resets_is_used_before_what_never_does_and_short_intervals_before_long_ones(acme: Account) -> None:
    acme.hold(item("messages", 10, every=""), item("messages", 10, every="year"), item("messages", 10, every="day"))
    answer = acme.track(15)
    by_interval = {
        row["reset"]["interval"] if row["reset"] else None: row["remaining"] for row in answer["balance"]["breakdown"]
    }
    assert by_interval == {"day": 0, "year": 5, None: 10}


def test_what_expires_sooner_is_used_first(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant("messages", 10, balance_id="never")
    acme.grant("messages", 10, balance_id="later", expires_at=ms("2026-06-01"))
    acme.grant("messages", 10, balance_id="sooner", expires_at=ms("2026-05-01"))
    answer = acme.track(15)
    assert {row["id"]: row["remaining"] for row in answer["balance"]["breakdown"]} == {
        "sooner": 0, "later": 5, "never": 10,
    }  # fmt: skip


def test_a_main_plan_pays_before_an_add_on_and_an_older_item_before_a_newer(acme: Account) -> None:
    acme.plan("addon", item("messages", 10), add_on=True)
    acme.attach("addon")
    acme.hold(item("messages", 10), plan_id="main")
    answer = acme.track(4)
    assert {row["plan_id"]: row["remaining"] for row in answer["balance"]["breakdown"]} == {"main": 6, "addon": 10}


def test_of_balances_that_are_alike_the_older_pays_whether_of_a_plan_or_granted_by_hand(acme: Account) -> None:
    acme.grant("messages", 10, balance_id="before", reset={"interval": "month"})
    acme.hold(item("messages", 10))
    acme.grant("messages", 10, balance_id="after", reset={"interval": "month"})
    deductions = acme.track(25)["deductions"]
    assert [(row["plan_id"], row["balance_id"][:6], row["value"]) for row in deductions] == [
        (None, "before", 10),
        ("free", deductions[1]["balance_id"][:6], 10),
        (None, "after", 5),
    ]


def test_unlimited_absorbs_everything_and_finite_siblings_stay(acme: Account) -> None:
    acme.plan("gift", item("messages", 100), add_on=True)
    acme.hold(item("messages", unlimited=True))
    acme.attach("gift")
    answer = acme.track(500)
    assert (answer["balance"]["unlimited"], answer["balance"]["usage"]) == (True, 500)
    assert {row["plan_id"]: row["usage"] for row in answer["balance"]["breakdown"]} == {"free": 500, "gift": 0}
    # A refund of it is not clamped.
    assert acme.track(-700)["balance"]["usage"] == -200


# -- credits and events --


def test_the_feature_pays_before_credits_and_all_that_moved_is_shown(acme: Account) -> None:
    acme.hold(item("action1", 10), item("credits", 100))
    answer = acme.track(25, "action1")
    assert (answer["balance"]["feature_id"], numbers(answer["balance"])) == ("action1", (10, 0, 10))
    assert {slug: numbers(one) for slug, one in answer["balances"].items()} == {
        "action1": (10, 0, 10), "credits": (100, 97, 3),
    }  # fmt: skip
    assert [(part["feature_id"], part["value"]) for part in answer["deductions"]] == [("action1", 10), ("credits", 3)]


def test_where_only_credits_are_held_they_are_the_balance_shown(acme: Account) -> None:
    acme.hold(item("credits", 200))
    answer = acme.track(Decimal("50.25"), "action1")
    assert (answer["balance"]["feature_id"], numbers(answer["balance"])) == (
        "credits", (200, Decimal("189.95"), Decimal("10.05")),
    )  # fmt: skip
    acme.track(Decimal("33.67"), "action2")
    assert acme.numbers("credits") == (200, Decimal("169.748"), Decimal("30.252"))


def test_a_refund_of_what_credits_paid_comes_back_in_credits(acme: Account) -> None:
    acme.hold(item("action1", 10), item("credits", 100))
    acme.track(25, "action1")
    acme.track(-20, "action1")
    assert (acme.numbers("action1"), acme.numbers("credits")) == ((10, 10, 0), (100, 99, 1))


def test_credits_that_run_out_are_taken_to_the_last_one(acme: Account) -> None:
    acme.hold(item("credits", 1))
    assert numbers(acme.track(6, "action1")["balance"]) == (1, 0, 1)
    refused = acme.refused(400, "balances.track", feature_id="action1", value=1, overage_behavior="reject")
    assert refused == "insufficient_balance"


def test_credits_can_be_tracked_themselves(acme: Account) -> None:
    acme.hold(item("credits", 10))
    assert numbers(acme.track(4, "credits")["balance"]) == (10, 6, 4)


def test_an_event_name_is_tracked_on_every_feature_that_listens(acme: Account) -> None:
    acme.hold(item("action1", 100), item("action3", 50))
    answer = acme.api.post("balances.track", customer_id="acme", event_name="acted", value=7)
    assert {slug: numbers(one) for slug, one in answer["balances"].items()} == {
        "action1": (100, 93, 7), "action3": (50, 43, 7),
    }  # fmt: skip
    assert answer["event_name"] == "acted"


def test_an_event_name_cannot_be_tracked_with_reject(acme: Account) -> None:
    acme.offer("action1")
    refused = acme.refused(400, "balances.track", event_name="acted", overage_behavior="reject")
    assert refused == "invalid_request"


def test_an_asynchronous_track_is_done_at_once_and_answered_without_a_balance(acme: Account) -> None:
    acme.hold(item("messages", 10))
    body = {**acme.whom(), "feature_id": "messages", "value": 4, "async": True}
    answer = read(acme.api.send("balances.track", body), 202)
    assert (answer["value"], answer["balance"], answer["deductions"]) == (4, None, None)
    assert acme.numbers() == (10, 6, 4)
    assert read(acme.api.send("balances.track", {**body, "feature_id": "ghosts"}), 404)["code"] == "feature_not_found"


@pytest.mark.parametrize("behavior", ["CAP", "", "none", 5, True, []])
def test_an_unknown_overage_behavior_is_refused(acme: Account, behavior: object) -> None:
    acme.offer("messages")
    assert acme.refused(400, "balances.track", feature_id="messages", overage_behavior=behavior) == "invalid_inputs"


def test_a_track_with_a_lock_holds_what_it_takes(acme: Account) -> None:
    acme.hold(item("messages", 10))
    answer = acme.track(4, lock={"enabled": True, "lock_id": "call"})
    assert numbers(answer["balance"]) == (10, 6, 4)
    acme.settle("call", "release")
    assert acme.numbers() == (10, 10, 0)
    refused = acme.track(11, lock={"enabled": True, "lock_id": "call-2"})
    assert (refused["deductions"], acme.numbers()) == ([], (10, 10, 0))


def test_an_event_name_cannot_be_locked(acme: Account) -> None:
    acme.hold(item("action1", 10), item("action3", 10))
    lock = {"enabled": True, "lock_id": "call"}
    assert acme.refused(400, "balances.track", event_name="acted", lock=lock) == "invalid_inputs"
    assert (acme.numbers("action1"), acme.numbers("action3")) == ((10, 10, 0), (10, 10, 0))


def test_a_usage_limit_clamps_before_the_balance_is_empty(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5))
    assert numbers(acme.track(8)["balance"]) == (100, 95, 5)

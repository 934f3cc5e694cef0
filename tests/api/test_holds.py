"""check with a lock, then balances.finalize (spec/balances.md 12)."""

from decimal import Decimal
from typing import Any

import pytest

from billing.services import audit
from tests.builders import MONTHLY, Account, item, limit, ms, numbers
from tests.client import Api


@pytest.fixture
def crew(acme: Account) -> Account:
    """Acme with a pool of 100, and 50 each for Alice and Bob."""
    acme.join("alice", "bob")
    acme.hold(item("messages", 100), item("messages", 50, per="seats"))
    return acme


def values(acme: Account) -> list[object]:
    return [event["value"] for event in acme.events()]


def test_a_lock_takes_at_once_and_a_plain_confirmation_adds_nothing(crew: Account) -> None:
    answer = crew.lock(30, "call", by="alice")
    assert (answer["allowed"], numbers(answer["balance"])) == (True, (150, 120, 30))
    crew.track(10)
    crew.settle("call")
    assert crew.numbers() == (200, 160, 40)
    assert crew.numbers(of="alice") == (150, 110, 40)
    assert values(crew) == [10, 30]


def test_a_lower_confirmation_gives_the_rest_back(crew: Account) -> None:
    crew.lock(40, "call", by="alice")
    crew.settle("call", override_value=25)
    assert crew.numbers(of="alice") == (150, 125, 25)
    assert values(crew) == [-15, 40]


def test_a_higher_confirmation_takes_the_difference_in_the_normal_order(crew: Account) -> None:
    crew.lock(30, "call", by="alice")
    crew.settle("call", override_value=80)
    assert (crew.numbers(), crew.numbers(of="alice"), crew.numbers(of="bob")) == (
        (200, 120, 80), (150, 70, 80), (150, 120, 30),
    )  # fmt: skip
    assert values(crew) == [50, 30]


def test_a_higher_confirmation_than_there_is_takes_what_is_left(acme: Account) -> None:
    acme.hold(item("messages", 20))
    acme.lock(15, "call")
    acme.settle("call", override_value=50)
    assert acme.numbers() == (20, 0, 20)
    assert values(acme) == [35, 15]


def test_a_release_gives_everything_back(crew: Account) -> None:
    crew.lock(70, "call", by="alice")
    assert crew.numbers(of="alice") == (150, 80, 70)
    crew.settle("call", "release")
    assert crew.numbers() == (200, 200, 0)
    assert values(crew) == [-70, 70]


def test_what_is_given_back_goes_last_in_first_out(acme: Account) -> None:
    acme.join("alice", "bob")
    acme.hold(item("messages", 10, per="seats"))
    acme.lock(14, "call")
    assert [acme.numbers(of=who) for who in ("alice", "bob")] == [(10, 0, 10), (10, 6, 4)]
    acme.settle("call", override_value=8)
    assert [acme.numbers(of=who) for who in ("alice", "bob")] == [(10, 2, 8), (10, 10, 0)]


def test_rollovers_get_back_last(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(
        item("messages", 100, rollover={"max": 200, "expiry_duration_type": "month", "expiry_duration_length": 3})
    )
    acme.turn_clock("2026-05-01")
    acme.get()
    acme.turn_clock("2026-06-01")
    acme.lock(250, "call")
    assert acme.balance()["remaining"] == 50
    acme.settle("call", override_value=80)
    balance = acme.balance()
    assert balance["remaining"] == 220
    assert [row["balance"] for row in balance["rollovers"]] == [20, 100]


def test_not_enough_is_not_held_and_leaves_the_lock_id_free(acme: Account) -> None:
    acme.hold(item("messages", 20))
    answer = acme.lock(21, "call")
    assert (answer["allowed"], numbers(answer["balance"])) == (False, (20, 20, 0))
    assert acme.refused(400, "balances.finalize", lock_id="call", action="confirm") == "invalid_request"
    assert acme.lock(20, "call")["allowed"]


def test_without_a_balance_nothing_is_held(acme: Account) -> None:
    acme.offer("messages")
    assert not acme.lock(5, "call")["allowed"]
    assert not acme.lock(0, "call")["allowed"]


def test_a_lock_of_nothing_is_a_lock(acme: Account) -> None:
    acme.hold(item("messages", 20))
    assert acme.lock(0, "call")["allowed"]
    acme.settle("call")
    assert acme.numbers() == (20, 20, 0)
    assert acme.refused(409, "balances.finalize", lock_id="call", action="confirm") == "lock_already_finalized"
    assert acme.lock(0, "next")["allowed"]
    acme.settle("next", override_value=7)
    assert acme.numbers() == (20, 13, 7)


def test_an_unlimited_balance_can_be_locked(acme: Account) -> None:
    acme.hold(item("messages", unlimited=True))
    assert acme.lock(500, "call")["allowed"]
    assert acme.balance()["usage"] == 500
    acme.settle("call", override_value=200)
    assert (acme.balance()["usage"], acme.balance()["unlimited"]) == (200, True)
    acme.lock(100, "next")
    acme.settle("next", "release")
    assert acme.balance()["usage"] == 200


def test_a_lock_below_zero_gives_back_at_once(acme: Account) -> None:
    acme.hold(item("messages", 20))
    acme.track(15)
    assert acme.lock(-10, "call")["allowed"]
    assert acme.numbers() == (20, 15, 5)
    acme.settle("call")
    assert acme.numbers() == (20, 15, 5)
    assert acme.lock(-10, "next")["allowed"]
    assert acme.numbers() == (20, 20, 0)
    acme.settle("next", "release")
    assert acme.numbers() == (20, 15, 5)
    assert values(acme) == [10, -10, -10, 15]


@pytest.mark.parametrize(
    ("locked", "final", "expected"),
    [
        (10, -5, (100, 55, 45)),
        (-10, 5, (100, 45, 55)),
        (-10, -20, (100, 70, 30)),
        (-10, 0, (100, 50, 50)),
        (10, 0, (100, 50, 50)),
        (0, -5, (100, 55, 45)),
    ],
)
def test_a_confirmation_may_change_the_sign(
    acme: Account, locked: int, final: int, expected: tuple[int, int, int]
) -> None:
    acme.hold(item("messages", 100))
    acme.track(50)
    acme.lock(locked, "call")
    acme.settle("call", override_value=final)
    assert acme.numbers() == expected
    assert sum(event["value"] for event in acme.events()) == 50 + final


@pytest.mark.parametrize(
    ("final", "expected"),
    [(-10, (20, 20, 0)), (-5, (20, 20, 0)), (-3, (20, 19, 1)), (0, (20, 16, 4)), (2, (20, 14, 6))],
)
def test_a_refund_under_a_lock_is_taken_back_as_far_as_it_went(
    acme: Account, final: int, expected: tuple[int, int, int]
) -> None:
    acme.hold(item("messages", 20))
    acme.track(4)
    acme.lock(-10, "call")
    assert acme.numbers() == (20, 20, 0)
    acme.settle("call", override_value=final)
    assert acme.numbers() == expected
    assert sum(event["value"] for event in acme.events()) == 4 + final


def test_a_lock_id_is_taken_once_even_after_it_was_settled(acme: Account) -> None:
    acme.hold(item("messages", 20))
    acme.lock(5, "call")
    body: dict[str, Any] = {
        "feature_id": "messages",
        "required_balance": 1,
        "lock": {"enabled": True, "lock_id": "call"},
    }
    assert acme.refused(409, "balances.check", **body) == "lock_already_exists"
    assert acme.numbers() == (20, 15, 5)
    acme.settle("call")
    assert acme.refused(409, "balances.check", **body) == "lock_already_exists"


def test_only_what_is_spent_can_be_locked(acme: Account) -> None:
    acme.hold(item("seats", 5), item("dashboard"))
    for feature in ("seats", "dashboard"):
        lock = {"enabled": True, "lock_id": "call"}
        assert acme.refused(400, "balances.check", feature_id=feature, lock=lock) == "invalid_request"


def test_a_lock_that_is_not_enabled_is_a_plain_check(acme: Account) -> None:
    acme.hold(item("messages", 20))
    assert acme.lock(5, "call", enabled=False)["allowed"]
    assert acme.numbers() == (20, 20, 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"lock_id": "ghost", "action": "confirm"}, 400, "invalid_request"),
        ({"lock_id": "call", "action": "release", "override_value": 3}, 400, "invalid_inputs"),
        ({"lock_id": "call", "action": "keep"}, 400, "invalid_inputs"),
        ({"lock_id": "call"}, 400, "invalid_inputs"),
        ({"action": "confirm"}, 400, "invalid_inputs"),
        ({"lock_id": "", "action": "confirm"}, 400, "invalid_inputs"),
        ({"lock_id": "x" * 257, "action": "confirm"}, 400, "invalid_inputs"),
        ({"lock_id": "call", "action": "confirm", "override_value": "3"}, 400, "invalid_inputs"),
    ],
)
def test_a_finalization_that_makes_no_sense_is_refused(
    acme: Account, body: dict[str, Any], status: int, code: str
) -> None:
    acme.hold(item("messages", 20))
    acme.lock(5, "call")
    assert acme.refused(status, "balances.finalize", **body) == code
    assert acme.numbers() == (20, 15, 5)
    acme.settle("call", "release")


@pytest.mark.parametrize("lock_id", ["", "  ", "x" * 257, 5, None])
def test_a_lock_needs_an_id_of_at_most_256_characters(acme: Account, lock_id: object) -> None:
    acme.hold(item("messages", 20))
    lock = {"enabled": True, "lock_id": lock_id}
    assert acme.refused(400, "balances.check", feature_id="messages", lock=lock) == "invalid_inputs"


# -- time --


def test_a_lock_may_expire_at_most_24_hours_ahead(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 20))
    for expires_at in ("2026-04-02T00:00:01", "2026-04-03", "2026-04-01", "2026-03-31"):
        lock = {"enabled": True, "lock_id": "call", "expires_at": ms(expires_at)}
        assert acme.refused(400, "balances.check", feature_id="messages", lock=lock) == "invalid_request"
    assert acme.lock(5, "call", expires_at=ms("2026-04-02"))["allowed"]


def test_an_expired_lock_is_released_by_itself(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 20))
    acme.lock(5, "call", expires_at=ms("2026-04-01T01:00"))
    acme.turn_clock("2026-04-01T00:59:59")
    assert acme.numbers() == (20, 15, 5)
    acme.turn_clock("2026-04-01T01:00")
    assert acme.numbers() == (20, 20, 0)
    assert values(acme) == [-5, 5]
    assert acme.refused(409, "balances.finalize", lock_id="call", action="confirm") == "lock_already_finalized"
    assert acme.numbers() == (20, 20, 0)


def test_a_reset_in_between_forgets_what_was_held(api: Api) -> None:
    acme = Account(api, since="2026-04-30T20:00")
    acme.grant("messages", 20, reset=MONTHLY, next_reset_at=ms("2026-05-01"))
    acme.lock(15, "call", expires_at=ms("2026-05-01T10:00"))
    acme.lock(5, "other")
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (20, 20, 0)
    # The call went on: what it used in the end comes off the new period.
    acme.settle("call", override_value=18)
    assert acme.numbers() == (20, 17, 3)
    # What is given back never lifts the new period above its grant.
    acme.settle("other", "release")
    assert acme.numbers() == (20, 20, 0)


def test_a_plan_change_in_between_sends_the_refund_to_the_present_balance(acme: Account) -> None:
    acme.plan("small", item("messages", 20), group="main")
    acme.plan("large", item("messages", 100), group="main")
    acme.attach("small")
    acme.lock(15, "call")
    acme.attach("large")
    assert acme.numbers() == (100, 100, 0)
    acme.track(40)
    acme.settle("call", "release")
    assert acme.numbers() == (100, 75, 25)


def test_a_lock_of_an_entity_that_was_deleted_can_still_be_settled(acme: Account) -> None:
    acme.join("alice")
    acme.hold(item("messages", 100), item("messages", 50, per="seats"))
    acme.lock(70, "call", by="alice")
    acme.leave("alice")
    acme.settle("call", override_value=60)
    assert (acme.numbers() or (0, 0, 0))[0] == 100


# -- limits, credits --


def test_a_lock_counts_against_a_usage_limit_from_the_start_and_a_lower_confirmation_frees_it(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(10))
    acme.lock(8, "call")
    assert [acme.allows(required) for required in (2, 3)] == [True, False]
    acme.settle("call", override_value=3)
    assert [acme.allows(required) for required in (7, 8)] == [True, False]
    assert acme.get()["billing_controls"]["usage_limits"][0]["usage"] == 3


def test_a_release_frees_the_window_in_which_the_lock_was_taken(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.control(limit(10, interval="day"))
    acme.lock(5, "call")
    acme.turn_clock("2026-04-02")
    acme.track(6)
    acme.settle("call", "release")
    assert acme.get()["billing_controls"]["usage_limits"][0]["usage"] == 6


def test_a_release_frees_a_usage_limit_once_though_the_balance_is_gone(acme: Account) -> None:
    acme.grant("messages", 8, balance_id="a")
    acme.grant("messages", 20, balance_id="b")
    acme.control(limit(10))
    acme.lock(8, "call")
    acme.track(2)
    acme.api.post("balances.delete", customer_id="acme", balance_id="a")
    acme.settle("call", "release")
    # Eight of the ten were never used; two of them came back to what is left.
    assert (acme.get()["billing_controls"]["usage_limits"][0]["usage"], acme.numbers()) == (2, (20, 20, 0))


def test_fractions_of_credits_that_are_given_back_leave_the_books_right(acme: Account) -> None:
    acme.hold(item("credits", 10))
    for number, final in enumerate(("0.3333333333", "0.1", "0.6999999999", "0.0000000001")):
        acme.lock(Decimal("0.7"), f"call-{number}", "action1")
        acme.settle(f"call-{number}", override_value=Decimal(final))
    assert [found for progress in audit.prove() for found in progress.found] == []


def test_a_lock_on_credits_is_given_back_in_credits(acme: Account) -> None:
    acme.hold(item("action1", 10), item("credits", 100))
    assert acme.lock(25, "call", "action1")["allowed"]
    assert (acme.numbers("action1"), acme.numbers("credits")) == ((10, 0, 10), (100, 97, 3))
    acme.settle("call", override_value=12)
    assert (acme.numbers("action1"), acme.numbers("credits")) == (
        (10, 0, 10), (100, Decimal("99.6"), Decimal("0.4")),
    )  # fmt: skip


def test_events_carry_the_properties_given_last(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.check(8, lock={"enabled": True, "lock_id": "call"}, properties={"model": "small"})
    acme.settle("call", override_value=3, properties={"model": "large"})
    assert [event["properties"] for event in acme.events()] == [{"model": "large"}, {"model": "small"}]

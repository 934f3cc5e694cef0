"""Refills as calls see them, told in dates (spec/balances.md 10)."""

from typing import Any

import pytest

from tests.builders import MONTHLY, Account, item, ms
from tests.client import Api


def test_the_first_call_after_the_date_sees_the_refill(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.track(30)
    acme.turn_clock("2026-04-30T23:59:59")
    assert acme.numbers() == (100, 70, 30)
    acme.turn_clock("2026-05-01")
    assert acme.track(20)["balance"]["remaining"] == 80
    assert acme.balance()["next_reset_at"] == ms("2026-06-01")


def test_seats_and_what_never_resets_stay_as_they_are(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("seats", 5), item("messages", 1000, every=""), item("messages", 100))
    acme.join("alice", "bob")
    acme.track(600)
    assert acme.balance("seats")["next_reset_at"] is None
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (1100, 600, 500)
    assert acme.numbers("seats") == (5, 3, 2)


def test_all_shares_of_an_item_reset_together_whenever_their_entities_came(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("summaries", 50, per="seats"))
    acme.join("alice")
    acme.turn_clock("2026-04-15")
    acme.join("bob")
    for who in ("alice", "bob"):
        acme.track(50, "summaries", by=who)
        assert acme.balance("summaries", of=who)["next_reset_at"] == ms("2026-05-01")
    acme.turn_clock("2026-05-01")
    assert acme.numbers("summaries") == (100, 100, 0)


def test_plans_of_entities_reset_each_on_its_own_date(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.plan("pro", item("messages", 100))
    acme.join("alice", "bob")
    acme.attach("pro", by="alice")
    acme.turn_clock("2026-04-10")
    acme.attach("pro", by="bob")
    for who in ("alice", "bob"):
        acme.track(60, by=who)
    acme.turn_clock("2026-05-01")
    assert (acme.numbers(of="alice"), acme.numbers(of="bob")) == ((100, 100, 0), (100, 40, 60))
    acme.turn_clock("2026-05-10")
    assert acme.numbers(of="bob") == (100, 100, 0)
    assert acme.balance()["next_reset_at"] == ms("2026-06-01")


def test_an_overdraft_is_forgiven(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.track(350, overage_behavior="overflow")
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (100, 100, 0)


def test_what_was_set_above_the_grant_is_gone_after_the_reset(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.set(remaining=180, included_grant=150)
    assert acme.numbers() == (150, 180, -30)
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (100, 100, 0)


def test_missed_cycles_make_one_reset_and_the_grid_stays(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100, rollover={"max": 500, "expiry_duration_type": "forever"}))
    acme.track(40)
    # The clock jumps: to have it missed, it is set by hand (an application's customer has no clock at all).
    acme.set(next_reset_at=ms("2026-04-05"))
    acme.turn_clock("2026-04-20")
    assert acme.balance()["next_reset_at"] == ms("2026-05-05")
    assert [row["balance"] for row in acme.balance()["rollovers"]] == [60]


def test_a_customer_on_the_wall_clock_who_was_away_for_months_is_refilled_once(acme: Account) -> None:
    acme.hold(item("messages", 100, rollover={"max": 500, "expiry_duration_type": "forever"}))
    acme.track(30)
    acme.set(next_reset_at=ms("2020-01-31"))
    balance = acme.balance()
    assert (balance["granted"], balance["remaining"]) == (170, 170)
    assert len(balance["rollovers"]) == 1
    entries = acme.balance()["next_reset_at"]
    assert entries > ms("2026-01-01")


@pytest.mark.parametrize(
    ("since", "every", "boundaries"),
    [
        ("2026-01-31", {"interval": "month"}, ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
        ("2028-01-31", {"interval": "month"}, ["2028-02-29", "2028-03-31"]),
        ("2026-01-31", {"interval": "quarter"}, ["2026-04-30", "2026-07-31", "2026-10-31", "2027-01-31"]),
        ("2028-02-29", {"interval": "year"}, ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
        ("2026-08-31", {"interval": "semi_annual"}, ["2027-02-28", "2027-08-31"]),
        ("2026-04-01", {"interval": "month", "interval_count": 2}, ["2026-06-01", "2026-08-01"]),
        ("2026-04-01", {"interval": "week"}, ["2026-04-08", "2026-04-15"]),
        ("2026-04-01T10:30", {"interval": "day"}, ["2026-04-02T10:30", "2026-04-03T10:30"]),
        ("2026-04-01", {"interval": "hour", "interval_count": 6}, ["2026-04-01T06:00", "2026-04-01T12:00"]),
        ("2026-04-01", {"interval": "minute", "interval_count": 5}, ["2026-04-01T00:05", "2026-04-01T00:10"]),
    ],
)
def test_boundaries_are_counted_from_the_first_day(
    api: Api, since: str, every: dict[str, Any], boundaries: list[str]
) -> None:
    acme = Account(api, since=since)
    acme.hold(item("messages", 10, reset=every))
    for boundary in boundaries:
        assert acme.balance()["next_reset_at"] == ms(boundary)
        acme.track(10)
        acme.turn_clock(boundary)
        assert acme.numbers() == (10, 10, 0)


def test_a_plan_that_was_cancelled_resets_no_more(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.track(100)
    acme.api.post("billing.update", customer_id="acme", plan_id="free", cancel_action="cancel_immediately")
    acme.turn_clock("2026-05-01")
    assert acme.numbers() is None


def test_a_grant_that_expires_between_two_resets_comes_back_neither_itself_nor_rolled_over(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant(
        "messages", 100, reset=MONTHLY, expires_at=ms("2026-05-15"), rollover={"max": 500, "duration": "forever"}
    )
    acme.track(40)
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (160, 160, 0)
    acme.turn_clock("2026-06-02")
    assert acme.numbers() is None


def test_the_past_can_be_looked_at_with_what_the_clock_says(api: Api) -> None:
    acme = Account(api, since="2026-04-10")
    acme.hold(item("messages", 100))
    code = acme.refused(400, "sandbox.set_clock", now=ms("2026-04-09"))
    assert code == "invalid_request"
    assert acme.balance()["next_reset_at"] == ms("2026-05-10")

"""What is left at a reset and goes on (spec/balances.md 10.7)."""

from typing import Any

from tests.builders import MONTHLY, Account, item, ms
from tests.client import Api


def keeps(most: int | None = None, *, months: int | None = 1, **more: object) -> dict[str, Any]:
    expiry: dict[str, Any] = (
        {"expiry_duration_type": "forever"}
        if months is None
        else {"expiry_duration_type": "month", "expiry_duration_length": months}
    )
    return {**({} if most is None else {"max": most}), **expiry, **more}


def rolled(acme: Account, *, of: str = "") -> list[tuple[object, object]]:
    """(rolled in, left) of each rollover, soonest to expire first."""
    return [(row["granted"], row["balance"]) for row in acme.balance(of=of)["rollovers"]]


def test_what_is_left_rolls_over_and_expires_a_month_later(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 400, rollover=keeps(500)))
    acme.track(250)
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (550, 550, 0)
    (row,) = acme.balance()["rollovers"]
    assert (row["balance"], row["expires_at"]) == (150, ms("2026-06-01"))
    acme.turn_clock("2026-05-31T23:59:59")
    assert rolled(acme) == [(150, 150)]
    acme.turn_clock("2026-06-01")
    # The old one is gone, what was left of the main balance rolls: 400.
    assert (rolled(acme), acme.numbers()) == ([(400, 400)], (800, 800, 0))


def test_the_oldest_is_spent_first_and_the_main_balance_last(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100, rollover=keeps(500, months=3)))
    acme.track(70)
    acme.turn_clock("2026-05-01")
    assert rolled(acme) == [(30, 30)]
    acme.track(50)
    assert (rolled(acme), acme.numbers()) == ([(30, 0)], (130, 80, 50))
    acme.turn_clock("2026-06-01")
    assert rolled(acme) == [(30, 0), (80, 80)]
    acme.track(100)
    assert rolled(acme) == [(30, 0), (80, 0)]
    assert acme.numbers() == (210, 80, 130)


def test_per_seat_leftovers_are_capped_per_seat_by_trimming_the_oldest(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.join("alice", "bob")
    acme.hold(item("messages", 400, per="seats", rollover=keeps(500, months=None)))
    acme.track(100, by="alice")
    acme.track(200, by="bob")
    acme.turn_clock("2026-05-01")
    assert (rolled(acme, of="alice"), rolled(acme, of="bob")) == ([(300, 300)], [(200, 200)])
    acme.turn_clock("2026-06-01")
    # 300 + 400 and 200 + 400 are trimmed to 500: the older one to 100.
    for who in ("alice", "bob"):
        assert acme.numbers(of=who) == (900, 900, 0)
    acme.track(150, by="alice")
    assert (rolled(acme, of="alice"), rolled(acme, of="bob")) == ([(100, 0), (400, 350)], [(100, 100), (400, 400)])
    assert acme.numbers(of="alice") == (900, 750, 150)
    assert acme.numbers(of="bob") == (900, 900, 0)


def test_with_expiries_apart_the_trimmed_rows_are_seen_one_by_one(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 400, rollover=keeps(500, months=6)))
    acme.track(100)
    acme.turn_clock("2026-05-01")
    acme.turn_clock("2026-06-01")
    assert rolled(acme) == [(100, 100), (400, 400)]
    acme.track(150)
    assert rolled(acme) == [(100, 0), (400, 350)]
    acme.turn_clock("2026-07-01")
    # The oldest, used up, is gone; of the next 350 were left, and 100 are kept.
    assert rolled(acme) == [(150, 100), (400, 400)]
    assert acme.balance()["remaining"] == 900


def test_a_rollover_that_is_trimmed_to_nothing_goes(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 400, rollover=keeps(500, months=6)))
    for month, expected in [
        ("05", [(400, 400)]),
        ("06", [(100, 100), (400, 400)]),
        ("07", [(100, 100), (400, 400)]),
        ("08", [(100, 100), (400, 400)]),
    ]:
        acme.turn_clock(f"2026-{month}-01")
        assert rolled(acme) == expected
        assert acme.balance()["remaining"] == 400 + sum(left for _, left in expected)


def test_a_used_up_rollover_goes_when_the_new_one_alone_is_over_the_cap(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100, rollover=keeps(60, months=None)))
    acme.turn_clock("2026-05-01")
    acme.track(60)
    assert rolled(acme) == [(60, 0)]
    acme.turn_clock("2026-06-01")
    assert (rolled(acme), acme.numbers()) == ([(60, 60)], (160, 160, 0))


def test_a_cap_in_percent_is_taken_from_the_grant_and_rounded_down(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 25, rollover=keeps(max_percentage=50)))
    acme.turn_clock("2026-05-01")
    assert (rolled(acme), acme.numbers()) == ([(12, 12)], (37, 37, 0))


def test_without_a_cap_everything_rolls_over(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100, rollover=keeps(months=None)))
    for month in ("05", "06", "07"):
        acme.turn_clock(f"2026-{month}-01")
    assert acme.numbers() == (400, 400, 0)


def test_an_overdraft_leaves_nothing_to_roll_over(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100, rollover=keeps(500)))
    acme.track(130, overage_behavior="overflow")
    acme.turn_clock("2026-05-01")
    assert (rolled(acme), acme.numbers()) == ([], (100, 100, 0))


def test_a_refund_returns_to_the_rollover_it_was_taken_from(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100, rollover=keeps(500)))
    acme.turn_clock("2026-05-01")
    acme.track(150)
    assert (rolled(acme), acme.numbers()) == ([(100, 0)], (200, 50, 150))
    acme.track(-30)
    assert acme.numbers() == (200, 80, 120)
    assert rolled(acme) == [(100, 30)]


def test_a_month_end_rollover_expires_on_the_months_end_too(api: Api) -> None:
    acme = Account(api, since="2026-01-31")
    acme.hold(item("messages", 100, rollover=keeps(500)))
    acme.turn_clock("2026-02-28")
    assert acme.balance()["rollovers"][0]["expires_at"] == ms("2026-03-31")
    acme.turn_clock("2026-03-30")
    assert acme.numbers() == (200, 200, 0)


def test_a_grant_by_hand_rolls_over_as_a_plan_does(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant("messages", 400, reset=MONTHLY, rollover={"max": 500, "duration": "month", "length": 1})
    acme.track(250)
    acme.turn_clock("2026-05-01")
    assert (rolled(acme), acme.numbers()) == ([(150, 150)], (550, 550, 0))


def test_the_customer_sees_the_rollovers_of_all_seats_as_one_sum(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.join("alice", "bob")
    acme.hold(item("messages", 100, per="seats", rollover=keeps(1000)))
    acme.track(40, by="alice")
    acme.turn_clock("2026-05-01")
    acme.track(10, by="alice")
    assert rolled(acme, of="alice") == [(60, 50)]
    assert rolled(acme) == [(160, 150)]
    acme.leave("alice")
    assert rolled(acme) == [(100, 100)]


def test_a_customers_track_uses_the_rollovers_of_the_oldest_seat_first(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.join("alice", "bob")
    acme.hold(item("messages", 10, per="seats", rollover=keeps(100)))
    acme.turn_clock("2026-05-01")
    acme.track(25)
    # Rollovers of all come before the main balances of any.
    assert (rolled(acme, of="alice"), rolled(acme, of="bob")) == ([(10, 0)], [(10, 0)])
    assert [acme.numbers(of=who) for who in ("alice", "bob")] == [(20, 5, 15), (20, 10, 10)]


def test_a_plan_that_ends_takes_its_rollovers_along(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100, rollover=keeps(500, months=None)))
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (200, 200, 0)
    acme.api.post("billing.update", customer_id="acme", plan_id="free", cancel_action="cancel_immediately")
    assert acme.numbers() is None

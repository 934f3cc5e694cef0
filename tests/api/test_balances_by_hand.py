"""balances.create, update, delete and recalculate (spec/balances.md 13)."""

from decimal import Decimal
from typing import Any

import pytest

from billing.services import audit
from tests.builders import MONTHLY, Account, item, limit, ms, numbers
from tests.client import Api


def remaining(acme: Account, *members: str) -> list[object]:
    return [acme.balance(of=member)["remaining"] for member in members]


@pytest.fixture
def three(acme: Account) -> Account:
    """Acme with Alice, Bob and Carol, who have 100 messages each."""
    acme.join("alice", "bob", "carol")
    acme.hold(item("messages", 100, per="seats"))
    return acme


# -- granting --


def disagreements() -> list[audit.Disagreement]:
    return [found for progress in audit.prove() for found in progress.found]


def test_a_grant_belongs_to_the_customer_or_to_one_entity(acme: Account) -> None:
    acme.join("alice", "bob")
    acme.grant("messages", 20)
    acme.grant("messages", 30, to="alice")
    assert acme.numbers() == (50, 50, 0)
    assert (acme.numbers(of="alice"), acme.numbers(of="bob")) == ((50, 50, 0), (20, 20, 0))


def test_grants_are_told_apart_by_their_id_which_is_taken_once_per_customer(acme: Account) -> None:
    acme.grant("messages", 100, balance_id="a")
    acme.grant("messages", 200, balance_id="b")
    refused = acme.refused(409, "balances.create", feature_id="messages", included_grant=5, balance_id="a")
    assert refused == "invalid_request"
    acme.set(balance_id="a", remaining=50)
    assert {row["id"]: row["remaining"] for row in acme.balance()["breakdown"]} == {"a": 50, "b": 200}
    Account(acme.api, "bobs").grant("messages", 5, balance_id="a")


def test_an_unlimited_grant_and_a_flag(acme: Account) -> None:
    acme.grant("messages", unlimited=True)
    assert acme.balance()["unlimited"]
    acme.grant("dashboard")
    assert acme.get()["flags"]["dashboard"]["plan_id"] is None
    assert acme.refused(409, "balances.create", feature_id="dashboard") == "invalid_request"


def test_a_grant_that_resets_does_so_from_its_own_date(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant("messages", 10, reset=MONTHLY, next_reset_at=ms("2026-04-11"))
    acme.track(10)
    acme.turn_clock("2026-04-10T23:59:59")
    assert acme.numbers() == (10, 0, 10)
    acme.turn_clock("2026-04-11")
    assert acme.numbers() == (10, 10, 0)
    assert acme.balance()["next_reset_at"] == ms("2026-05-11")


def test_a_grant_with_every_interval_the_calendar_knows(api: Api) -> None:
    acme = Account(api, since="2026-01-31")
    for interval, expected in [
        ({"interval": "month"}, "2026-02-28"),
        ({"interval": "quarter"}, "2026-04-30"),
        ({"interval": "semi_annual"}, "2026-07-31"),
        ({"interval": "year"}, "2027-01-31"),
        ({"interval": "week", "interval_count": 2}, "2026-02-14"),
        ({"interval": "hour", "interval_count": 36}, "2026-02-01T12:00:00"),
    ]:
        acme.grant("messages", 1, balance_id=str(interval), reset=interval)
        row = next(row for row in acme.balance()["breakdown"] if row["id"] == str(interval))
        assert row["reset"]["resets_at"] == ms(expected)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"feature_id": "messages"}, 400, "invalid_request"),
        ({"feature_id": "messages", "included_grant": 5, "unlimited": True}, 400, "invalid_request"),
        ({"feature_id": "dashboard", "included_grant": 5}, 400, "invalid_request"),
        ({"feature_id": "dashboard", "unlimited": True}, 400, "invalid_request"),
        ({"feature_id": "nope", "included_grant": 5}, 404, "feature_not_found"),
        ({"feature_id": "messages", "included_grant": 5, "entity_id": "ghost"}, 404, "entity_not_found"),
        ({"feature_id": "seats", "included_grant": 5, "entity_id": "alice"}, 400, "invalid_request"),
        ({"feature_id": "seats", "included_grant": 5, "reset": MONTHLY}, 400, "invalid_request"),
        ({"feature_id": "messages", "included_grant": 5, "rollover": {"max": 5}}, 400, "invalid_request"),
        (
            {"feature_id": "seats", "included_grant": 5, "reset": MONTHLY, "rollover": {"max": 5}},
            400,
            "invalid_request",
        ),
        ({"feature_id": "messages", "included_grant": 5, "next_reset_at": ms("2026-05-01")}, 400, "invalid_request"),
        (
            {"feature_id": "messages", "included_grant": 5, "reset": MONTHLY, "next_reset_at": ms("2026-03-31")},
            400,
            "invalid_request",
        ),
        (
            {
                "feature_id": "messages",
                "included_grant": 5,
                "reset": MONTHLY,
                "next_reset_at": ms("2026-05-01"),
                "expires_at": ms("2026-04-20"),
            },
            400,
            "invalid_request",
        ),
        ({"feature_id": "messages", "included_grant": 5, "expires_at": ms("2026-03-01")}, 400, "invalid_request"),
        (
            {
                "feature_id": "messages",
                "included_grant": 5,
                "reset": MONTHLY,
                "rollover": {"max": 5, "duration": "month", "length": 1},
                "expires_at": ms("2026-04-20"),
            },
            400,
            "invalid_request",
        ),
        ({"feature_id": "messages", "included_grant": -5}, 400, "invalid_inputs"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any], status: int, code: str) -> None:
    acme = Account(api, since="2026-04-01")
    acme.offer("messages", "dashboard")
    acme.join("alice")
    assert acme.refused(status, "balances.create", **body) == code
    assert acme.get()["balances"] == {}


def test_the_id_of_a_grant_that_has_expired_is_free(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant("messages", 10, balance_id="gift", expires_at=ms("2026-04-02"))
    acme.turn_clock("2026-04-03")
    acme.grant("messages", 20, balance_id="gift")
    assert acme.numbers() == (20, 20, 0)


# -- setting --


def test_setting_what_remains_moves_the_usage_and_never_the_grant(acme: Account) -> None:
    acme.hold(item("messages", 100))
    steps: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
        ({"remaining": 80}, (100, 80, 20)),
        ({"remaining": 120}, (100, 120, -20)),
        ({"usage": 130}, (100, 0, 130)),
        ({"usage": -20}, (100, 120, -20)),
        ({"add_to_balance": -30}, (100, 90, 10)),
        ({"add_to_balance": 15}, (100, 105, -5)),
        ({"included_grant": 150}, (150, 155, -5)),
        ({"included_grant": 40, "remaining": 30}, (40, 30, 10)),
        ({"included_grant": 75, "usage": 5}, (75, 70, 5)),
        ({"remaining": 0}, (75, 0, 75)),
    ]
    for values, expected in steps:
        acme.set(**values)
        assert acme.numbers() == expected
    assert acme.events() == []


@pytest.mark.parametrize(
    "values",
    [
        {"remaining": 5, "usage": 5},
        {"remaining": 5, "add_to_balance": 5},
        {"usage": 5, "add_to_balance": 5},
        {"remaining": 5, "usage": 5, "add_to_balance": 5},
        {},
    ],
)
def test_contradictory_settings_are_refused(acme: Account, values: dict[str, Any]) -> None:
    acme.hold(item("messages", 100))
    assert acme.refused(400, "balances.update", feature_id="messages", **values) == "invalid_inputs"
    assert acme.numbers() == (100, 100, 0)


def test_setting_what_is_not_there_is_refused(acme: Account) -> None:
    acme.offer("messages")
    assert acme.refused(404, "balances.update", feature_id="nope", remaining=5) == "feature_not_found"
    assert acme.refused(404, "balances.update", feature_id="messages", remaining=5) == "invalid_request"
    acme.grant("messages", 5, balance_id="a")
    body: dict[str, Any] = {"feature_id": "messages", "remaining": 5}
    assert acme.refused(404, "balances.update", **body, balance_id="b") == "invalid_request"
    assert acme.refused(404, "balances.update", **body, interval="month") == "invalid_request"


def test_a_customer_level_setting_drains_one_entity_after_another(three: Account) -> None:
    three.set(remaining=240)
    assert remaining(three, "alice", "bob", "carol") == [40, 100, 100]
    three.set(remaining=150)
    assert remaining(three, "alice", "bob", "carol") == [0, 50, 100]
    three.set(remaining=400)
    assert remaining(three, "alice", "bob", "carol") == [250, 50, 100]
    assert three.numbers() == (300, 400, -100)


def test_a_customer_level_usage_is_spread_the_same_way(three: Account) -> None:
    three.set(usage=150)
    assert remaining(three, "alice", "bob", "carol") == [0, 50, 100]
    assert three.numbers() == (300, 150, 150)


def test_a_customer_level_addition_lifts_the_first_entity(three: Account) -> None:
    three.set(add_to_balance=25)
    assert remaining(three, "alice", "bob", "carol") == [125, 100, 100]
    three.set(add_to_balance=-150)
    assert remaining(three, "alice", "bob", "carol") == [0, 75, 100]


def test_a_setting_with_an_entity_moves_only_its_share(three: Account) -> None:
    three.set(of="alice", remaining=70)
    three.set(of="bob", remaining=120)
    three.set(of="carol", included_grant=160)
    assert three.numbers(of="alice") == (100, 70, 30)
    assert three.numbers(of="bob") == (100, 120, -20)
    assert three.numbers(of="carol") == (160, 160, 0)
    assert three.numbers() == (360, 350, 10)
    three.track(20, by="alice")
    assert three.numbers() == (360, 330, 30)


def test_a_setting_with_an_entity_does_not_reach_the_pool(acme: Account) -> None:
    acme.join("alice")
    acme.hold(item("messages", 100), item("messages", 50, per="seats"))
    acme.set(of="alice", usage=50)
    assert acme.numbers(of="alice") == (150, 100, 50)
    assert acme.numbers() == (150, 100, 50)


def test_an_interval_or_an_id_says_which_balance_is_meant(acme: Account) -> None:
    acme.hold(item("messages", 100), item("messages", 1000, every=""))
    acme.set(interval="one_off", remaining=700)
    acme.set(interval="month", remaining=60)
    by_interval = {row["reset"] and row["reset"]["interval"]: row["remaining"] for row in acme.balance()["breakdown"]}
    assert by_interval == {"month": 60, None: 700}
    ids = {row["reset"] and row["reset"]["interval"]: row["id"] for row in acme.balance()["breakdown"]}
    acme.set(balance_id=ids["month"], usage=1)
    assert acme.numbers() == (1100, 799, 301)


def test_a_changed_grant_lives_until_the_reset(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.set(included_grant=150)
    assert acme.numbers() == (150, 150, 0)
    acme.turn_clock("2026-05-01")
    assert acme.numbers() == (100, 100, 0)


def test_the_reset_date_can_be_moved_also_into_the_past(api: Api) -> None:
    acme = Account(api, since="2026-04-10")
    acme.hold(item("messages", 100), item("seats", 5))
    acme.track(40)
    acme.set(next_reset_at=ms("2026-04-20"))
    assert acme.balance()["next_reset_at"] == ms("2026-04-20")
    acme.set(next_reset_at=ms("2026-04-05"))
    assert acme.numbers() == (100, 100, 0)
    assert acme.balance()["next_reset_at"] == ms("2026-05-05")
    refused = acme.refused(400, "balances.update", feature_id="seats", next_reset_at=ms("2026-05-01"))
    assert refused == "invalid_request"


def test_a_reset_can_be_forced_again_and_again(api: Api) -> None:
    acme = Account(api, since="2026-04-10")
    acme.hold(item("messages", 100, rollover={"max": 500, "expiry_duration_type": "forever"}), item("summaries", 9))
    for feature in ("messages", "summaries"):
        for _ in range(3):
            acme.track(4, feature)
            acme.set(feature, next_reset_at=ms("2026-04-05"))
            assert acme.balance(feature)["next_reset_at"] == ms("2026-05-05")
    assert [row["balance"] for row in acme.balance()["rollovers"]] == [88, 100, 100]
    assert acme.numbers("summaries") == (9, 9, 0)
    acme.turn_clock("2026-05-05")
    assert acme.balance("summaries")["next_reset_at"] == ms("2026-06-05")
    assert disagreements() == []


def test_an_expiry_can_be_set_ahead_but_not_behind(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant("messages", 10)
    refused = acme.refused(400, "balances.update", feature_id="messages", expires_at=ms("2026-03-31"))
    assert refused == "invalid_request"
    acme.set(expires_at=ms("2026-04-02"))
    acme.turn_clock("2026-04-02")
    assert acme.numbers() is None


def test_usage_limits_do_not_count_what_is_set_by_hand(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5))
    acme.set(usage=50)
    assert acme.get()["billing_controls"]["usage_limits"][0]["usage"] == 0
    assert numbers(acme.track(9)["balance"]) == (100, 45, 55)


def test_a_setting_beyond_what_is_held_counts_what_is_held(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.lock(30, "call")
    acme.set(remaining=50)
    assert acme.numbers() == (100, 50, 50)
    acme.settle("call", "release")
    assert acme.numbers() == (100, 80, 20)


# -- deleting --


def test_a_deleted_grant_is_gone_and_its_id_free(acme: Account) -> None:
    acme.grant("messages", 100, balance_id="a")
    assert acme.api.post("balances.delete", customer_id="acme", balance_id="a") == {"success": True}
    answer = acme.check()
    assert (answer["allowed"], answer["balance"]) == (False, None)
    assert acme.refused(404, "balances.delete", balance_id="a") == "invalid_request"
    acme.grant("messages", 7, balance_id="a")
    assert acme.numbers() == (7, 7, 0)


def test_the_usage_of_a_deleted_grant_can_move_to_those_that_stay(acme: Account) -> None:
    acme.grant("messages", 100, balance_id="a")
    acme.grant("messages", 200, balance_id="b")
    acme.set(balance_id="a", remaining=60)
    body = {"customer_id": "acme", "feature_id": "messages", "balance_id": "a", "recalculate_balances": True}
    acme.api.post("balances.delete", **body)
    assert (acme.numbers(), len(acme.balance()["breakdown"])) == ((200, 160, 40), 1)
    acme.set(balance_id="b", usage=70)
    acme.api.post("balances.delete", **{**body, "balance_id": "b"})
    (row,) = acme.balance()["breakdown"]
    assert (acme.numbers(), row["reset"], row["plan_id"]) == ((0, 0, 70), None, None)


def test_without_recalculation_the_usage_goes_with_the_grant(acme: Account) -> None:
    acme.grant("messages", 100, balance_id="a")
    acme.grant("messages", 200, balance_id="b")
    acme.set(balance_id="a", remaining=60)
    acme.api.post("balances.delete", customer_id="acme", balance_id="a")
    assert acme.numbers() == (200, 200, 0)


def test_a_deletion_that_names_nothing_or_too_little_is_refused(acme: Account) -> None:
    acme.grant("messages", 100, balance_id="a")
    assert acme.refused(400, "balances.delete") == "invalid_request"
    assert acme.refused(400, "balances.delete", balance_id="a", recalculate_balances=True) == "invalid_request"
    assert acme.refused(404, "balances.delete", feature_id="messages", balance_id="zzz") == "invalid_request"
    assert acme.refused(404, "balances.delete", feature_id="nope") == "feature_not_found"
    assert acme.numbers() == (100, 100, 0)


def test_what_is_paid_for_cannot_be_deleted(acme: Account) -> None:
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    price = {"amount": 1, "interval": "month", "billing_method": "usage_based", "billing_units": 1}
    acme.hold(item("messages", 10, price=price))
    assert acme.refused(409, "balances.delete", feature_id="messages") == "invalid_request"


def test_deleting_an_entitys_share_leaves_the_others_theirs(three: Account) -> None:
    three.api.post("balances.delete", customer_id="acme", feature_id="messages", entity_id="bob")
    assert three.numbers(of="bob") is None
    assert three.numbers() == (200, 200, 0)
    assert three.numbers(of="alice") == (100, 100, 0)


# -- recalculating --


def test_recalculating_spreads_the_same_usage_in_deduction_order(acme: Account) -> None:
    acme.grant("messages", 10, balance_id="a")
    acme.grant("messages", 20, balance_id="b", reset=MONTHLY)
    acme.set(balance_id="a", usage=8)
    acme.set(balance_id="b", usage=3)
    acme.api.post("balances.recalculate", customer_id="acme", feature_id="messages")
    assert acme.numbers() == (30, 19, 11)
    assert {row["id"]: row["usage"] for row in acme.balance()["breakdown"]} == {"a": 0, "b": 11}
    acme.set(balance_id="a", usage=Decimal("25.5"))
    acme.api.post("balances.recalculate", customer_id="acme", feature_id="messages")
    assert {row["id"]: row["usage"] for row in acme.balance()["breakdown"]} == {"a": 10, "b": Decimal("26.5")}

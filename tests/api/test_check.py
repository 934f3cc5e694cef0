"""balances.check: who may use how much of what, and what the answer shows (spec/balances.md 5, 6)."""

from decimal import Decimal

import pytest

from tests.builders import Account, item, limit, ms, numbers, overage
from tests.client import Api, read


def test_a_plain_check_changes_nothing(acme: Account) -> None:
    acme.hold(item("messages", 100))
    answer = acme.check(100)
    assert (answer["allowed"], answer["required_balance"], numbers(answer["balance"])) == (True, 100, (100, 100, 0))
    assert not acme.allows(101)
    assert acme.numbers() == (100, 100, 0)
    assert acme.events() == []


def test_one_unit_is_asked_for_unless_another_number_is(acme: Account) -> None:
    acme.hold(item("messages", 1))
    answer = acme.api.post("balances.check", customer_id="acme", feature_id="messages")
    assert (answer["allowed"], answer["required_balance"]) == (True, 1)
    acme.track(1)
    assert not acme.api.post("balances.check", customer_id="acme", feature_id="messages")["allowed"]


def test_the_older_name_of_the_required_balance_is_understood(acme: Account) -> None:
    acme.hold(item("messages", 5))
    answer = acme.api.post("balances.check", customer_id="acme", feature_id="messages", required_quantity=6)
    assert (answer["allowed"], answer["required_balance"]) == (False, 6)


def test_unknown_ids_are_named_and_nothing_is_created(acme: Account) -> None:
    acme.offer("messages")
    ghost = {"customer_id": "ghost", "feature_id": "messages"}
    assert acme.api.refused(404, "balances.check", **ghost)["code"] == "customer_not_found"
    assert acme.api.refused(404, "balances.check", **ghost, entity_id="alice")["code"] == "entity_not_found"
    assert acme.api.refused(404, "customers.get", customer_id="ghost")["code"] == "customer_not_found"
    assert acme.refused(404, "balances.check", feature_id="nope") == "feature_not_found"
    assert acme.refused(404, "balances.check", feature_id="messages", by="alice") == "entity_not_found"


def test_a_feature_without_a_balance_is_not_allowed(acme: Account) -> None:
    acme.offer("messages")
    answer = acme.check()
    assert (answer["allowed"], answer["balance"], answer["flag"], answer["required_balance"]) == (False, None, None, 1)


def test_zero_is_allowed_with_nothing_left_and_below_zero_always(acme: Account) -> None:
    acme.hold(item("messages", 10))
    acme.track(10)
    assert [acme.allows(required) for required in (0, -1, -1000, 1, Decimal("0.0000000001"))] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_without_a_balance_not_even_zero_is_allowed(acme: Account) -> None:
    acme.offer("messages")
    assert not acme.allows(0)
    assert not acme.allows(-1)


def test_a_boolean_feature_is_a_flag_and_never_a_balance(acme: Account) -> None:
    acme.offer("dashboard")
    assert not acme.allows(feature="dashboard")
    acme.hold(item("dashboard"))
    answer = acme.check(feature="dashboard")
    assert (answer["allowed"], answer["balance"]) == (True, None)
    assert {key: answer["flag"][key] for key in ("feature_id", "plan_id", "expires_at")} == {
        "feature_id": "dashboard", "plan_id": "free", "expires_at": None,
    }  # fmt: skip
    shown = acme.get()
    assert "dashboard" in shown["flags"]
    assert "dashboard" not in shown["balances"]


def test_an_unlimited_feature_allows_anything(acme: Account) -> None:
    acme.hold(item("messages", unlimited=True))
    answer = acme.check(10**12)
    assert (answer["allowed"], answer["balance"]["unlimited"], numbers(answer["balance"])) == (True, True, (0, 0, 0))


def test_a_usage_limit_gates_a_check_before_the_balance_does(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5))
    assert acme.allows(5)
    assert not acme.allows(6)
    acme.track(3)
    assert [acme.allows(required) for required in (2, 3)] == [True, False]


def test_overage_that_is_allowed_lets_any_check_pass_and_forbidding_it_stops_it(acme: Account) -> None:
    acme.hold(item("messages", 10))
    acme.track(10)
    acme.control(overage(True))
    assert acme.allows(10_000)
    acme.control(overage(False))
    assert not acme.allows(1)


def test_priced_overage_is_allowed_up_to_the_most_that_is_sold(acme: Account) -> None:
    price = {"amount": 1, "interval": "month", "billing_method": "usage_based", "billing_units": 1, "max_purchase": 20}
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.hold(item("messages", 10, price=price))
    assert [acme.allows(required) for required in (10, 30, 31)] == [True, True, False]
    acme.track(25)
    assert [acme.allows(required) for required in (5, 6)] == [True, False]
    balance = acme.balance()
    assert (numbers(balance), balance["max_purchase"], balance["overage_allowed"]) == ((10, 0, 25), 20, True)


# -- entities --


def test_a_customer_check_of_a_per_seat_feature_compares_with_the_total(acme: Account) -> None:
    acme.hold(item("messages", 100, per="seats"))
    acme.join("alice", "bob")
    assert acme.allows(150)
    assert not acme.allows(201)
    assert not acme.allows(101, by="alice")


def test_what_entities_own_is_shown_to_the_customer_but_is_not_counted(acme: Account) -> None:
    acme.hold(item("messages", 200))
    acme.join("alice")
    acme.grant("messages", 300, to="alice")
    answer = acme.check(250)
    assert (answer["allowed"], numbers(answer["balance"])) == (False, (500, 500, 0))
    assert acme.allows(200)
    assert acme.allows(500, by="alice")
    refused = acme.check(250, send_event=True)
    assert (refused["allowed"], acme.numbers()) == (False, (500, 500, 0))


def test_an_entity_sees_its_own_its_share_and_the_pool_but_never_what_is_anothers(acme: Account) -> None:
    acme.plan("extra", item("messages", 7), add_on=True)
    acme.hold(item("messages", 100), item("messages", 50, per="seats"), plan_id="base")
    acme.join("alice", "bob")
    acme.grant("messages", 20, to="alice")
    acme.attach("extra", by="alice")
    assert acme.numbers(of="alice") == (177, 177, 0)
    assert acme.numbers(of="bob") == (150, 150, 0)
    assert acme.numbers() == (227, 227, 0)
    assert len(acme.balance(of="alice")["breakdown"]) == 4
    # One row for the pool, one for all shares; what entities own is in the sums only.
    assert sorted(row["remaining"] for row in acme.balance()["breakdown"]) == [100, 100]


def test_an_entity_of_another_kind_has_no_share(acme: Account) -> None:
    acme.hold(item("summaries", 50, per="seats"))
    acme.join("site", feature="workspaces")
    answer = acme.check(feature="summaries", by="site")
    assert (answer["allowed"], answer["balance"]) == (False, None)


def test_a_per_seat_item_without_seats_shows_nothing_and_allows_nothing(acme: Account) -> None:
    acme.hold(item("summaries", 50, per="seats"))
    answer = acme.check(feature="summaries")
    assert (answer["allowed"], numbers(answer["balance"])) == (False, (0, 0, 0))
    assert answer["balance"]["next_reset_at"] is not None


def test_with_the_pool_disabled_an_entity_with_a_balance_of_its_own_uses_only_that(acme: Account) -> None:
    acme.hold(item("messages", 5000), item("messages", 500, per="seats"))
    acme.join("alice")
    acme.join("site", feature="workspaces")
    acme.api.post("customers.update", customer_id="acme", config={"disable_pooled_balance": True})
    assert numbers(acme.check(by="alice")["balance"]) == (500, 500, 0)
    assert not acme.allows(501, by="alice")
    assert numbers(acme.track(600, by="alice")["balance"]) == (500, 0, 500)
    assert acme.numbers() == (5500, 5000, 500)
    # One that has nothing of its own still draws on the pool.
    assert acme.allows(5000, by="site")


def test_a_flag_of_the_customer_is_inherited_and_one_of_an_entity_is_not_shared(acme: Account) -> None:
    acme.plan("tool", item("dashboard"))
    acme.join("alice", "bob")
    acme.attach("tool", by="alice")
    assert acme.allows(feature="dashboard", by="alice")
    assert not acme.allows(feature="dashboard", by="bob")
    assert not acme.allows(feature="dashboard")
    assert "dashboard" not in acme.get("bob")["flags"]
    assert "dashboard" not in acme.get()["flags"]
    acme.attach("tool")
    assert acme.allows(feature="dashboard", by="bob")
    assert acme.get("bob")["flags"]["dashboard"]["plan_id"] == "tool"


def test_a_balance_that_has_expired_vanishes_from_everything(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant("messages", 100, balance_id="gift", expires_at=ms("2026-04-10"))
    acme.grant("messages", 30)
    acme.track(20)
    assert acme.numbers() == (130, 110, 20)
    acme.turn_clock("2026-04-10")
    assert acme.numbers() == (30, 30, 0)
    assert len(acme.balance()["breakdown"]) == 1
    assert not acme.allows(31)


# -- credits --


def test_a_requirement_that_credits_pay_is_shown_in_credits(acme: Account) -> None:
    acme.hold(item("credits", 10))
    answer = acme.check(30, "action1")
    assert (answer["allowed"], answer["required_balance"], answer["balance"]["feature_id"]) == (True, 6, "credits")
    assert set(answer["balances"]) == {"credits"}
    assert not acme.allows(51, "action1")


def test_the_feature_itself_decides_if_it_suffices_and_credits_if_it_does_not(acme: Account) -> None:
    acme.hold(item("action1", 10), item("credits", 4))
    own = acme.check(10, "action1")
    assert (own["balance"]["feature_id"], own["required_balance"]) == ("action1", 10)
    by_credits = acme.check(20, "action1")
    assert (by_credits["balance"]["feature_id"], by_credits["required_balance"], by_credits["allowed"]) == (
        "credits", 4, True,
    )  # fmt: skip
    neither = acme.check(21, "action1")
    assert (neither["balance"]["feature_id"], neither["required_balance"], neither["allowed"]) == (
        "credits", Decimal("4.2"), False,
    )  # fmt: skip
    assert set(neither["balances"]) == {"action1", "credits"}


def test_of_two_credit_systems_the_one_that_suffices_decides(acme: Account) -> None:
    acme.hold(item("coins", 1), item("credits", 100))
    answer = acme.check(5, "action1")
    assert (answer["allowed"], answer["balance"]["feature_id"], answer["required_balance"]) == (True, "credits", 1)


# -- check and deduct --


def test_send_event_takes_what_it_allows_and_nothing_else(acme: Account) -> None:
    acme.hold(item("messages", 50, per="seats"))
    acme.join("alice", "bob")
    first = acme.check(30, by="alice", send_event=True)
    assert (first["allowed"], numbers(first["balance"])) == (True, (50, 20, 30))
    second = acme.check(21, by="alice", send_event=True)
    assert (second["allowed"], numbers(second["balance"])) == (False, (50, 20, 30))
    assert acme.numbers(of="bob") == (50, 50, 0)
    assert [event["value"] for event in acme.events()] == [30]


def test_send_event_takes_no_more_seats_than_there_are_though_a_track_would(acme: Account) -> None:
    acme.hold(item("seats", 5))
    assert [acme.allows(feature="seats", send_event=True) for _ in range(7)] == [True] * 5 + [False] * 2
    assert acme.numbers("seats") == (5, 0, 5)
    assert numbers(acme.track(2, "seats")["balance"]) == (5, 0, 7)


def test_send_event_without_a_balance_allows_nothing_but_nothing(acme: Account) -> None:
    acme.offer("messages", "dashboard")
    assert not acme.allows(10, send_event=True)
    assert acme.allows(0, send_event=True)
    acme.hold(item("dashboard"))
    assert acme.refused(400, "balances.check", feature_id="dashboard", send_event=True) == "invalid_request"


def test_send_event_respects_a_usage_limit(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5))
    assert [acme.allows(3, send_event=True) for _ in range(2)] == [True, False]
    assert acme.numbers() == (100, 97, 3)


def test_send_event_pays_with_credits(acme: Account) -> None:
    acme.hold(item("credits", 10))
    answer = acme.check(20, "action1", send_event=True)
    assert (answer["allowed"], answer["required_balance"], numbers(answer["balance"])) == (True, 4, (10, 6, 4))


def test_an_upsell_preview_comes_only_with_a_refusal(acme: Account) -> None:
    acme.hold(item("messages", 5))
    assert acme.check(5, with_preview=True)["preview"] is None
    preview = acme.check(6, with_preview=True)["preview"]
    assert preview["feature_id"] == "messages"


@pytest.mark.parametrize("key", ["allowed", "customer_id", "entity_id", "required_balance", "balance", "flag"])
def test_the_keys_that_clients_demand_are_always_there(acme: Account, key: str) -> None:
    acme.offer("messages")
    assert key in read(acme.api.send("balances.check", {"customer_id": "acme", "feature_id": "messages"}), 200)

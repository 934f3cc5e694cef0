"""balances.explain: every number in figures and in words."""

from typing import Any

from tests.builders import MONTHLY, Account, item, limit, ms, overage
from tests.client import Api, read


def explain(acme: Account, feature: str = "messages", *, by: str = "", **more: Any) -> Any:
    answer = acme.api.post("balances.explain", feature_id=feature, **acme.whom(by), **more)
    for source in answer["sources"]:
        for number in ("granted", "used", "held", "expired"):
            behind = sum((entry[number] for entry in source["entries"]), source["carried"][number])
            assert behind == source[number]
    return answer


def why(acme: Account, feature: str = "messages", *, by: str = "", **more: Any) -> str:
    """The deciding sentence."""
    return str(explain(acme, feature, by=by, **more)["reasons"][0])


def test_the_sources_stand_in_the_order_of_use_with_what_happened_to_each(acme: Account) -> None:
    acme.join("alice")
    acme.hold(item("messages", 100), item("messages", 50, per="seats"))
    acme.grant("messages", 7, to="alice", balance_id="gift")
    acme.track(60, by="alice")
    acme.lock(5, "call", by="alice")
    answer = explain(acme, by="alice")
    assert [source["summary"] for source in answer["sources"]] == [
        "A share of the customer's plan, of plan free: 50 granted − 50 used = 0 left.",
        "The entity's own, granted by hand: 7 granted − 7 used = 0 left.",
        "Shared, of plan free: 100 granted − 3 used − 5 held = 92 left.",
    ]
    pool = answer["sources"][2]
    assert [entry["text"] for entry in pool["entries"]] == [
        "Granted: +100 granted (Free started)", "Used: +3 used", "Held: +5 held",
    ]  # fmt: skip
    assert [source["position"] for source in answer["sources"]] == [1, 2, 3]
    assert pool["entries"][1]["event_id"] == acme.events()[1]["id"]
    assert pool["entries"][1]["actor"].startswith("key:")
    assert (answer["allowed"], answer["reasons"]) == (True, ["92 messages are left, which covers 1."])


def test_the_customers_sources_start_with_the_pool_and_name_whose_share_it_is(acme: Account) -> None:
    acme.join("zoe", "adam")
    acme.hold(item("messages", 100), item("messages", 50, per="seats"))
    answer = explain(acme)
    assert [(source["level"], source["entity_id"]) for source in answer["sources"]] == [
        ("pool", None), ("slice", "zoe"), ("slice", "adam"),
    ]  # fmt: skip


def test_what_single_entities_own_is_told_apart(acme: Account) -> None:
    acme.hold(item("messages", 10))
    acme.join("alice")
    acme.grant("messages", 300, to="alice")
    answer = explain(acme, required_balance=20)
    assert (answer["allowed"], len(answer["sources"])) == (False, 1)
    assert answer["reasons"][1] == "300 more belong to single entities and count only for them."


def test_only_what_happened_since_the_last_reset_is_listed(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.track(30)
    acme.turn_clock("2026-05-01")
    acme.track(4)
    (source,) = explain(acme)["sources"]
    assert [entry["kind"] for entry in source["entries"]] == ["reset", "usage"]
    assert source["entries"][0]["text"] == "Reset: −30 used (30 used was cleared)"
    assert source["carried"] == {"granted": 100, "used": 30, "held": 0, "expired": 0}


def test_a_long_history_is_bounded_and_still_sums_up(acme: Account) -> None:
    acme.hold(item("messages", 1000))
    for _ in range(60):
        acme.track(1)
    (source,) = explain(acme)["sources"]
    assert (len(source["entries"]), source["entries_left_out"], source["carried"]["used"]) == (50, 11, 10)


def test_a_check_that_is_refused_says_why(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.offer("messages", "dashboard")
    assert why(acme) == "There is no balance of messages, nor of credits that cover it."
    assert why(acme, "dashboard") == "Nothing switches dashboard on."
    acme.hold(item("messages", 10))
    acme.track(9)
    assert why(acme, required_balance=2) == (
        "1 messages are left, and no more until the reset on 2026-05-01 00:00 UTC; 2 are asked for."
    )
    acme.control(limit(0))
    assert why(acme) == "The usage limit of 0 messages a month leaves 0, less than 1."


def test_a_check_that_is_allowed_says_why(acme: Account) -> None:
    acme.hold(item("messages", 10), item("dashboard"), item("requests", unlimited=True))
    assert why(acme, "dashboard") == "dashboard is switched on."
    assert why(acme, "requests") == "requests is unlimited here."
    assert why(acme, required_balance=-5) == "Giving back is always allowed."
    acme.control(overage(True))
    assert why(acme, required_balance=50) == "10 messages are left; the rest of 50 may be used beyond the grant."


def test_credits_say_at_which_rate_they_pay(acme: Account) -> None:
    acme.hold(item("action1", 10), item("credits", 100))
    answer = explain(acme, "action1", required_balance=20)
    assert answer["reasons"] == [
        "100 credits are left, which covers 4.",
        "credits pays at 0.2 a unit: 20 of action1 need 4.",
    ]
    assert [(source["feature_id"], source["credit_cost"] is None) for source in answer["sources"]] == [
        ("action1", True), ("credits", False),
    ]  # fmt: skip


def test_a_rollover_is_explained_too(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.grant("messages", 10, reset=MONTHLY, rollover={"max": 5, "duration": "forever"})
    acme.turn_clock("2026-05-01")
    acme.track(6)
    first, second = explain(acme)["sources"]
    assert (first["rollover"], first["summary"]) == (
        True, "Shared, granted by hand, rolled over: 5 granted − 5 used = 0 left.",
    )  # fmt: skip
    assert (second["used"], second["reset"]["resets_at"]) == (1, ms("2026-06-01"))


def test_what_is_due_is_caught_up_first_and_nothing_else_changes(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 10))
    acme.track(10)
    acme.turn_clock("2026-05-01")
    assert explain(acme)["balance"]["remaining"] == 10
    before = acme.get()
    explain(acme)
    assert acme.get() == before


def test_unknown_ids_are_named(acme: Account) -> None:
    assert acme.refused(404, "balances.explain", feature_id="nope") == "feature_not_found"
    assert acme.refused(404, "balances.explain", feature_id="nope", by="ghost") == "entity_not_found"
    ghost = read(acme.api.send("balances.explain", {"customer_id": "ghost", "feature_id": "nope"}), 404)
    assert ghost["code"] == "customer_not_found"

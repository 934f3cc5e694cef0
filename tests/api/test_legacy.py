"""The calls of the 1.x generation, as the older clients make them (contract/wire.md 2)."""

from typing import Any

from tests.builders import Account, item, ms
from tests.client import Api, read


def old(acme: Account, path: str, method: str = "POST", status: int = 200, **body: Any) -> Any:
    return read(acme.api.send(path, body, method=method, x_api_version="1.2"), status)


def test_a_check_answers_with_a_plain_number(acme: Account) -> None:
    acme.hold(item("messages", 10))
    acme.track(4)
    answer = old(acme, "check", customer_id="acme", feature_id="messages")
    assert (answer["allowed"], answer["balance"], answer["usage"], answer["included_usage"], answer["unlimited"]) == (
        True, 6, 4, 10, False,
    )  # fmt: skip
    assert (answer["interval"], answer["code"]) == ("month", "feature_found")
    assert not old(acme, "check", customer_id="acme", feature_id="messages", required_quantity=7)["allowed"]


def test_a_check_may_send_the_event_along(acme: Account) -> None:
    acme.hold(item("messages", 10))
    answer = old(acme, "check", customer_id="acme", feature_id="messages", required_balance=4, send_event=True)
    assert (answer["allowed"], answer["balance"]) == (True, 6)


def test_a_check_of_something_unlimited_or_of_nothing(acme: Account) -> None:
    acme.hold(item("messages", unlimited=True), item("dashboard"))
    acme.offer("requests")
    answer = old(acme, "check", customer_id="acme", feature_id="messages")
    assert (answer["allowed"], answer["unlimited"], answer["balance"]) == (True, True, None)
    assert not old(acme, "check", customer_id="acme", feature_id="requests")["allowed"]
    assert old(acme, "check", customer_id="acme", feature_id="dashboard")["allowed"]


def test_a_track_answers_with_the_events_id(acme: Account) -> None:
    acme.hold(item("messages", 10))
    acme.join("alice")
    answer = old(acme, "track", customer_id="acme", feature_id="messages", entity_id="alice", value=3)
    assert (answer["code"], answer["customer_id"], answer["entity_id"]) == ("event_received", "acme", "alice")
    assert answer["id"] == acme.events()[0]["id"]
    assert acme.numbers() == (10, 7, 3)


def test_the_same_addresses_answer_in_the_present_shape_without_the_old_version(acme: Account) -> None:
    acme.hold(item("messages", 10))
    assert acme.api.post("check", customer_id="acme", feature_id="messages")["balance"]["remaining"] == 10
    assert acme.api.post("track", customer_id="acme", feature_id="messages")["balance"]["remaining"] == 9


def test_an_older_track_may_carry_a_lock(acme: Account) -> None:
    acme.hold(item("messages", 10))
    old(acme, "track", customer_id="acme", feature_id="messages", value=3, lock={"lock_id": "call"})
    acme.settle("call", "release")
    assert acme.numbers() == (10, 10, 0)


def test_a_customer_is_read_with_its_features(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 10), item("seats", 3))
    shown = read(api.send("customers/acme", method="GET", x_api_version="1.2"), 200)
    assert shown["features"]["messages"]["balance"] == 10
    assert shown["features"]["messages"]["next_reset_at"] == ms("2026-05-01")
    assert (shown["features"]["seats"]["type"], [row["id"] for row in shown["products"]]) == (
        "continuous_use", ["free"],
    )  # fmt: skip


def test_a_customer_is_made_by_its_plain_id(api: Api) -> None:
    acme = Account(api)
    assert old(acme, "customers", id="bobs", name="Bob's")["id"] == "bobs"
    assert read(api.send("customers/bobs", method="GET"), 200)["name"] == "Bob's"
    assert read(api.send("customers/bobs", method="DELETE"), 200) == {"success": True}


def test_what_is_not_there_is_told_in_json(acme: Account) -> None:
    acme.offer("messages")
    assert old(acme, "check", status=404, customer_id="acme", feature_id="nope")["code"] == "feature_not_found"
    gone = acme.api.send("customers/acme/entities/undefined", method="DELETE", x_api_version="1.2")
    assert read(gone, 404)["code"] == "entity_not_found"
    refused = read(acme.api.send("customers/[object%20Object]/entities", b"", x_api_version="1.2"), 400)
    assert refused["code"] == "invalid_inputs"

"""entities.*: creating, reading, listing and deleting them, and what that does to seats and balances
(spec/balances.md 3, 4, 8)."""

from typing import Any

import pytest

from billing.services import audit
from tests.builders import Account, item, limit, ms
from tests.client import Api, read

KEYS = {
    "id", "name", "customer_id", "feature_id", "created_at", "env", "subscriptions", "purchases", "balances", "flags",
    "billing_controls", "invoices",
}  # fmt: skip


def create(acme: Account, **body: Any) -> str:
    return acme.refused(body.pop("status"), "entities.create", **body)


# -- creating --


def test_a_new_entity_is_answered_in_full(acme: Account) -> None:
    acme.hold(item("seats", 5), item("summaries", 50, per="seats"))
    answer = acme.api.post("entities.create", customer_id="acme", entity_id="alice", feature_id="seats", name="Alice")
    assert set(answer) == KEYS
    assert (answer["id"], answer["name"], answer["customer_id"], answer["feature_id"], answer["env"]) == (
        "alice", "Alice", "acme", "seats", "sandbox",
    )  # fmt: skip
    assert answer["balances"]["summaries"]["remaining"] == 50
    assert isinstance(answer["created_at"], int)


def test_a_seat_with_the_same_id_is_refused_and_changes_nothing(acme: Account) -> None:
    acme.hold(item("seats", 5))
    acme.join("alice")
    assert create(acme, status=409, by="alice", feature_id="seats") == "entity_already_exists"
    assert acme.numbers("seats") == (5, 4, 1)


def test_two_customers_may_each_have_an_alice(acme: Account) -> None:
    bobs = Account(acme.api, "bobs")
    for account in (acme, bobs):
        account.hold(item("summaries", 50, per="seats"), plan_id=f"team_{account.id}")
        account.join("alice")
    acme.track(10, "summaries", by="alice")
    assert (acme.numbers("summaries", of="alice"), bobs.numbers("summaries", of="alice")) == (
        (50, 40, 10), (50, 50, 0),
    )  # fmt: skip
    # Without the customer it is not clear which one is meant.
    assert acme.api.refused(400, "entities.get", entity_id="alice")["code"] == "entity_id_required"
    bobs.leave("alice")
    assert acme.api.post("entities.get", entity_id="alice")["customer_id"] == "acme"
    acme.leave("alice")
    assert acme.api.refused(404, "entities.get", entity_id="alice")["code"] == "entity_not_found"


def test_an_unknown_customer_is_created_along_with_the_data_sent(api: Api) -> None:
    acme = Account(api)
    acme.offer("seats")
    api.post(
        "entities.create", customer_id="newcomer", entity_id="alice", feature_id="seats",
        customer_data={"name": "New Comer", "email": "new@example.com"},
    )  # fmt: skip
    shown = api.post("customers.get", customer_id="newcomer")
    assert (shown["name"], shown["email"]) == ("New Comer", "new@example.com")


@pytest.mark.parametrize(
    ("feature", "status", "code"),
    [
        ("nope", 404, "feature_not_found"),
        ("messages", 400, "invalid_request"),
        ("dashboard", 400, "invalid_request"),
        ("credits", 400, "invalid_request"),
    ],
)
def test_an_entity_needs_a_feature_that_is_a_standing_count(
    acme: Account, feature: str, status: int, code: str
) -> None:
    acme.offer("messages", "dashboard", "credits")
    assert create(acme, status=status, by="alice", feature_id=feature) == code
    assert acme.refused(404, "entities.get", by="alice") == "entity_not_found"


def test_a_refused_entity_does_not_leave_a_customer_behind(api: Api) -> None:
    acme = Account(api)
    acme.offer("messages")
    body = {"customer_id": "ghost", "entity_id": "alice", "feature_id": "messages"}
    assert api.refused(400, "entities.create", **body)["code"] == "invalid_request"
    assert api.refused(404, "customers.get", customer_id="ghost")["code"] == "customer_not_found"


def test_free_seats_never_block_and_show_as_usage(acme: Account) -> None:
    acme.hold(item("seats", 1))
    acme.join("alice", "bob", "carol")
    assert acme.numbers("seats") == (1, 0, 3)
    acme.leave("bob")
    assert acme.numbers("seats") == (1, 0, 2)
    acme.leave("alice")
    assert acme.numbers("seats") == (1, 0, 1)
    acme.leave("carol")
    assert acme.numbers("seats") == (1, 1, 0)


def test_entities_there_before_the_plan_count_as_seats_and_get_their_share(acme: Account) -> None:
    acme.join("alice", "bob")
    acme.join("site", feature="workspaces")
    acme.hold(item("seats", 5), item("summaries", 50, per="seats"))
    assert acme.numbers("seats") == (5, 3, 2)
    assert acme.numbers("summaries") == (100, 100, 0)
    assert acme.numbers("summaries", of="bob") == (50, 50, 0)
    assert acme.numbers("summaries", of="site") is None


def test_an_entity_that_joins_in_the_middle_gets_a_full_share_and_the_common_reset_date(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("summaries", 50, per="seats"))
    acme.join("alice")
    acme.track(20, "summaries", by="alice")
    acme.turn_clock("2026-04-20")
    acme.join("bob")
    bobs = acme.balance("summaries", of="bob")
    assert (bobs["remaining"], bobs["next_reset_at"]) == (50, ms("2026-05-01"))
    acme.turn_clock("2026-05-01")
    assert [acme.numbers("summaries", of=who) for who in ("alice", "bob")] == [(50, 50, 0)] * 2


def test_every_plan_that_counts_the_feature_counts_the_seat(acme: Account) -> None:
    acme.plan("more", item("seats", 10), item("messages", 5, per="seats"), add_on=True)
    acme.hold(item("seats", 3), item("summaries", 50, per="seats"))
    acme.attach("more")
    acme.join("alice")
    assert acme.numbers("seats") == (13, 11, 2)
    assert (acme.numbers("summaries", of="alice"), acme.numbers("messages", of="alice")) == ((50, 50, 0), (5, 5, 0))


def test_a_seat_items_priced_maximum_stops_the_next_entity(acme: Account) -> None:
    price = {"amount": 5, "interval": "month", "billing_method": "usage_based", "billing_units": 1, "max_purchase": 1}
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.hold(item("seats", 1, price=price))
    acme.join("alice", "bob")
    assert create(acme, status=400, by="carol", feature_id="seats") == "feature_limit_reached"
    assert acme.numbers("seats") == (1, 0, 2)


# -- controls --


def test_controls_sent_replace_their_list_and_others_stay(acme: Account) -> None:
    acme.offer("messages", "summaries")
    acme.join("alice")
    acme.control(limit(5), of="alice")
    acme.control({"overage_allowed": [{"feature_id": "messages", "enabled": True}]}, of="alice")
    shown = acme.get("alice")["billing_controls"]
    assert [entry["limit"] for entry in shown["usage_limits"]] == [5]
    assert [entry["enabled"] for entry in shown["overage_allowed"]] == [True]
    acme.control(limit(9, feature="summaries"), of="alice")
    shown = acme.get("alice")["billing_controls"]
    assert [(entry["feature_id"], entry["limit"]) for entry in shown["usage_limits"]] == [("summaries", 9)]
    acme.control({"usage_limits": []}, of="alice")
    assert not acme.get("alice")["billing_controls"].get("usage_limits")
    assert acme.get("alice")["billing_controls"]["overage_allowed"]


def test_an_entity_can_be_created_with_controls(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.join("alice", billing_controls=limit(5))
    assert acme.track(9, by="alice")["balance"]["usage"] == 5


@pytest.mark.parametrize("call", ["entities.create", "entities.update"])
@pytest.mark.parametrize(
    "controls",
    [
        {"usage_limits": [limit(5)["usage_limits"][0]] * 2},
        {"usage_limits": [*limit(5)["usage_limits"], *limit(9)["usage_limits"]]},
        {"overage_allowed": [{"feature_id": "messages", "enabled": True}, {"feature_id": "messages"}]},
        {"spend_limits": [{"feature_id": "messages", "overage_limit": 5}] * 2},
        {"usage_limits": [{"enabled": True, "limit": 5, "interval": "month"}]},
        {"overage_allowed": [{"enabled": True}]},
        {"usage_limits": "none"},
        "none",
    ],
)
def test_controls_that_contradict_themselves_or_name_no_feature_are_refused(
    acme: Account, call: str, controls: object
) -> None:
    acme.offer("messages")
    if call == "entities.update":
        acme.join("alice")
        assert acme.refused(400, call, by="alice", billing_controls=controls) == "invalid_inputs"
        return
    acme.offer("seats")
    assert acme.refused(400, call, by="alice", feature_id="seats", billing_controls=controls) == "invalid_inputs"
    assert acme.refused(404, "entities.get", by="alice") == "entity_not_found"


# -- unknown --


@pytest.mark.parametrize("call", ["entities.get", "entities.update", "entities.delete"])
def test_an_unknown_entity_is_not_found(acme: Account, call: str) -> None:
    assert acme.refused(404, call, by="ghost") == "entity_not_found"
    assert acme.api.refused(404, call, entity_id="ghost")["code"] == "entity_not_found"


# -- deleting --


def test_a_deleted_entity_is_gone_with_its_balance_its_usage_and_its_seat(acme: Account) -> None:
    acme.hold(item("seats", 5), item("summaries", 50, per="seats"))
    acme.join("alice", "bob")
    acme.track(10, "summaries", by="alice")
    assert acme.numbers("summaries") == (100, 90, 10)
    acme.leave("alice")
    assert (acme.numbers("seats"), acme.numbers("summaries")) == ((5, 4, 1), (50, 50, 0))
    calls: list[tuple[str, dict[str, Any]]] = [
        ("entities.get", {}),
        ("entities.delete", {}),
        ("balances.check", {"feature_id": "summaries"}),
        ("balances.track", {"feature_id": "summaries"}),
        ("balances.update", {"feature_id": "summaries", "remaining": 5}),
    ]
    for call, more in calls:
        assert acme.refused(404, call, by="alice", **more) == "entity_not_found"


def test_a_share_is_removed_even_where_the_plan_has_no_seat_item(acme: Account) -> None:
    acme.hold(item("summaries", 50, per="seats"))
    acme.join("alice", "bob")
    acme.track(10, "summaries", by="alice")
    acme.leave("alice")
    assert acme.numbers("summaries") == (50, 50, 0)


def test_after_a_deletion_the_oldest_that_is_left_comes_first(acme: Account) -> None:
    acme.hold(item("messages", 50, per="seats"))
    acme.join("alice", "bob", "carol")
    acme.leave("alice")
    acme.track(10)
    assert [acme.numbers(of=who) for who in ("bob", "carol")] == [(50, 40, 10), (50, 50, 0)]
    # One that comes again is the youngest.
    acme.join("alice")
    acme.track(80)
    assert [acme.numbers(of=who) for who in ("bob", "carol", "alice")] == [(50, 0, 50), (50, 10, 40), (50, 50, 0)]


def test_seats_counted_down_by_hand_are_not_freed_below_zero(acme: Account) -> None:
    acme.hold(item("seats", 5))
    acme.join("alice", "bob")
    acme.track(-10, "seats")
    assert acme.numbers("seats") == (5, 5, 0)
    acme.leave("alice")
    assert acme.numbers("seats") == (5, 5, 0)
    assert [found for progress in audit.prove() for found in progress.found] == []


def test_an_id_is_free_again_and_starts_fresh(acme: Account) -> None:
    acme.hold(item("seats", 5), item("summaries", 50, per="seats"))
    acme.join("alice")
    acme.control(limit(1, feature="summaries"), of="alice")
    acme.track(40, "summaries", by="alice")
    acme.leave("alice")
    acme.join("alice")
    assert acme.numbers("summaries", of="alice") == (50, 50, 0)
    assert acme.track(40, "summaries", by="alice")["balance"]["remaining"] == 10
    assert acme.numbers("seats") == (5, 4, 1)


def test_the_plans_of_an_entity_end_with_it(acme: Account) -> None:
    acme.plan("pro", item("requests", 100))
    acme.join("one", "two", feature="workspaces")
    acme.attach("pro", by="one")
    acme.attach("pro", by="two")
    acme.track(30, "requests", by="one")
    acme.leave("one")
    assert acme.numbers("requests") == (100, 100, 0)
    assert [row["entity_id"] for row in acme.get()["subscriptions"]] == ["two"]


def test_what_a_deleted_entity_did_stays_in_the_log(acme: Account) -> None:
    acme.hold(item("summaries", 50, per="seats"))
    acme.join("alice")
    acme.track(10, "summaries", by="alice")
    acme.leave("alice")
    assert [(event["entity_id"], event["value"]) for event in acme.events()] == [("alice", 10)]


def test_a_balance_granted_to_an_entity_goes_with_it(acme: Account) -> None:
    acme.join("alice")
    acme.grant("messages", 30, to="alice", balance_id="gift")
    acme.leave("alice")
    assert acme.numbers() is None
    acme.join("alice")
    acme.grant("messages", 40, to="alice", balance_id="gift")
    assert acme.numbers(of="alice") == (40, 40, 0)


# -- listing --


def listed(api: Api, **wanted: object) -> list[str]:
    return [row["id"] for row in api.post("entities.list", **wanted)["list"]]


def test_entities_are_listed_oldest_first_and_filtered(acme: Account) -> None:
    bobs = Account(acme.api, "bobs")
    acme.join("zoe", "adam", name="Zoe")
    bobs.join("mia")
    assert listed(acme.api, customer_id="acme") == ["zoe", "adam"]
    assert listed(acme.api) == ["zoe", "adam", "mia"]
    assert listed(acme.api, customer_id="ghost") == []
    assert listed(acme.api, customer_id="acme", search="ADA") == ["adam"]
    assert listed(acme.api, search="acme") == []
    acme.leave("zoe")
    assert listed(acme.api, customer_id="acme") == ["adam"]


def test_entities_are_listed_by_plan_inherited_or_own_without_duplicates(acme: Account) -> None:
    for plan in ("base", "pro"):
        acme.plan(plan, item("messages", 10), add_on=True)
    acme.join("alice", "bob")
    acme.attach("pro", by="bob")
    assert listed(acme.api, customer_id="acme", plans=[{"id": "pro"}]) == ["bob"]
    assert listed(acme.api, customer_id="acme", plans=[{"id": "base"}]) == []
    acme.attach("base")
    assert listed(acme.api, customer_id="acme", plans=[{"id": "base"}, {"id": "pro"}]) == ["alice", "bob"]
    assert listed(acme.api, customer_id="acme", plans=[{"id": "base", "versions": [2]}]) == []


def test_pages_by_cursor_and_by_offset_hold_every_entity_once(acme: Account) -> None:
    names = [f"seat-{number}" for number in range(7)]
    acme.join(*names)
    seen, cursor = [], ""
    while True:
        page = acme.api.post("entities.list", customer_id="acme", limit=3, start_cursor=cursor)
        seen += [row["id"] for row in page["list"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == names
    page = acme.api.post("entities.list", customer_id="acme", limit=3, offset=6)
    assert ([row["id"] for row in page["list"]], page["total"], page["has_more"]) == (["seat-6"], 7, False)
    refused = acme.api.refused(400, "entities.list", customer_id="acme", start_cursor="made-up")
    assert refused["code"] == "invalid_inputs"


def test_a_page_shows_each_entity_with_its_own_balances(acme: Account) -> None:
    acme.hold(item("summaries", 50, per="seats"))
    acme.join("alice", "bob")
    acme.track(8, "summaries", by="bob")
    page = acme.api.post("entities.list", customer_id="acme")["list"]
    assert [row["balances"]["summaries"]["remaining"] for row in page] == [50, 42]


# -- the older clients --


def test_the_older_calls_create_read_and_delete_an_entity(acme: Account) -> None:
    acme.hold(item("seats", 5), item("summaries", 50, per="seats"))
    made = acme.api.send("customers/acme/entities", {"id": "alice", "feature_id": "seats"}, x_api_version="1.2")
    shown = read(made, 200)
    assert (shown["id"], shown["features"]["summaries"]["balance"]) == ("alice", 50)
    got = read(acme.api.send("customers/acme/entities/alice", method="GET", x_api_version="1.2"), 200)
    assert got["customer_id"] == "acme"
    assert read(acme.api.send("customers/acme/entities/alice", method="DELETE", x_api_version="1.2"), 200)
    gone = acme.api.send("customers/acme/entities/alice", method="GET", x_api_version="1.2")
    assert read(gone, 404)["code"] == "entity_not_found"
    assert acme.numbers("seats") == (5, 5, 0)

"""customers.*: created once, edited, listed, deleted, and what reading one shows (spec/balances.md 9)."""

import pytest

from tests.builders import Account, item, limit, overage
from tests.client import Api, read

KEYS = {
    "id", "name", "email", "created_at", "fingerprint", "stripe_id", "env", "metadata", "send_email_receipts",
    "billing_controls", "subscriptions", "purchases", "balances", "flags", "licenses", "config",
}  # fmt: skip


def test_a_customer_is_created_once_and_found_again(api: Api) -> None:
    made = api.post("customers.get_or_create", customer_id="acme", name="Acme", email="a@acme.example")
    assert set(made) >= KEYS
    again = api.post("customers.get_or_create", customer_id="acme")
    assert (again["name"], again["email"], again["created_at"]) == ("Acme", "a@acme.example", made["created_at"])


def test_a_customer_that_exists_is_not_renamed_by_asking_for_it(acme: Account) -> None:
    acme.api.post("customers.update", customer_id="acme", name="Acme")
    acme.api.post("customers.get_or_create", customer_id="acme", name="Other")
    assert acme.get()["name"] == "Acme"


def test_plans_that_are_enabled_by_default_start_at_once(api: Api) -> None:
    acme = Account(api)
    acme.plan("starter", item("messages", 10), auto_enable=True)
    bobs = Account(api, "bobs")
    assert bobs.numbers() == (10, 10, 0)
    assert acme.numbers() is None


def test_an_update_touches_only_what_it_names(acme: Account) -> None:
    acme.api.post("customers.update", customer_id="acme", name="Acme", metadata={"tier": 1})
    acme.api.post("customers.update", customer_id="acme", email="a@acme.example")
    shown = acme.get()
    assert (shown["name"], shown["email"], shown["metadata"]) == ("Acme", "a@acme.example", {"tier": 1})


def test_a_list_of_controls_is_replaced_and_the_others_stay(acme: Account) -> None:
    acme.offer("messages")
    acme.control(limit(5))
    acme.control(overage(True))
    acme.control(limit(7))
    shown = acme.get()["billing_controls"]
    assert [entry["limit"] for entry in shown["usage_limits"]] == [7]
    assert [entry["enabled"] for entry in shown["overage_allowed"]] == [True]
    acme.control({"usage_limits": []})
    assert not acme.get()["billing_controls"]["usage_limits"]


def test_an_id_can_be_changed_unless_it_is_taken(acme: Account) -> None:
    Account(acme.api, "bobs")
    assert acme.refused(409, "customers.update", new_customer_id="bobs") == "customer_already_exists"
    acme.hold(item("messages", 10))
    acme.api.post("customers.update", customer_id="acme", new_customer_id="acme-2")
    assert acme.refused(404, "customers.get") == "customer_not_found"
    assert acme.api.post("customers.get", customer_id="acme-2")["balances"]["messages"]["remaining"] == 10


def test_a_deleted_customer_frees_its_id_and_leaves_nothing_behind(acme: Account) -> None:
    acme.hold(item("seats", 5), item("summaries", 50, per="seats"))
    acme.join("alice")
    assert acme.api.post("customers.delete", customer_id="acme") == {"success": True}
    assert acme.refused(404, "customers.get") == "customer_not_found"
    assert acme.refused(404, "balances.check", feature_id="summaries", by="alice") == "entity_not_found"
    again = Account(acme.api)
    assert (again.get()["subscriptions"], again.numbers("seats")) == ([], None)
    again.join("alice")
    assert again.numbers("summaries", of="alice") is None


@pytest.mark.parametrize("call", ["customers.get", "customers.update", "customers.delete"])
def test_an_unknown_customer_is_not_found(api: Api, call: str) -> None:
    assert api.refused(404, call, customer_id="ghost")["code"] == "customer_not_found"


# -- what is shown --


def test_a_per_seat_item_is_one_row_however_many_seats_there_are(acme: Account) -> None:
    acme.hold(item("messages", 100, per="seats"))
    acme.join("alice", "bob", "carol")
    acme.track(30, by="bob")
    (row,) = acme.balance()["breakdown"]
    assert (row["included_grant"], row["prepaid_grant"], row["remaining"], row["usage"], row["plan_id"]) == (
        300, 0, 270, 30, "free",
    )  # fmt: skip
    assert row["reset"]["interval"] == "month"
    assert set(row) >= {"id", "unlimited", "price", "expires_at", "overage"}


def test_an_overdrawn_share_takes_nothing_from_what_others_have_left(acme: Account) -> None:
    acme.hold(item("messages", 50, per="seats"))
    acme.join("alice", "bob")
    acme.track(70, by="alice", overage_behavior="overflow")
    assert acme.numbers() == (100, 50, 70)
    acme.grant("messages", 10, to="alice")
    assert acme.numbers() == (110, 60, 70)


def test_an_entity_owned_overdraft_is_floored_on_its_own_in_the_customers_sum(acme: Account) -> None:
    acme.plan("pro", item("messages", 50))
    acme.join("alice", "bob")
    acme.attach("pro", by="alice")
    acme.attach("pro", by="bob")
    acme.track(70, by="alice", overage_behavior="overflow")
    balance = acme.balance()
    assert (balance["granted"], balance["remaining"], balance["usage"]) == (100, 50, 70)
    assert balance["breakdown"] == []


def test_the_feature_resets_when_the_first_of_its_rows_does(acme: Account) -> None:
    acme.hold(item("messages", 10, every="day"), item("messages", 10, every="month"))
    balance = acme.balance()
    assert balance["next_reset_at"] == min(row["reset"]["resets_at"] for row in balance["breakdown"])


def test_a_balance_granted_by_hand_belongs_to_no_plan_and_stays_when_it_is_used_up(acme: Account) -> None:
    acme.grant("messages", 10, balance_id="gift")
    acme.track(10)
    (row,) = acme.balance()["breakdown"]
    assert (row["id"], row["plan_id"], row["remaining"], row["reset"]) == ("gift", None, 0, None)


def test_the_limits_of_a_customer_show_what_they_have_counted(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.control(limit(5))
    acme.track(3)
    (shown,) = acme.get()["billing_controls"]["usage_limits"]
    assert (shown["feature_id"], shown["limit"], shown["usage"], shown["interval"]) == ("messages", 5, 3, "month")


def test_the_customers_entities_are_listed_when_asked_for(acme: Account) -> None:
    acme.join("zoe", "adam")
    assert acme.get()["entities"] is None
    assert [row["id"] for row in acme.get(expand=["entities"])["entities"]] == ["zoe", "adam"]


# -- lists --


def test_customers_are_listed_newest_first_searched_and_paged(api: Api) -> None:
    for name in ("acme", "bobs", "carols"):
        Account(api, name, name=name.title(), email=f"{name}@example.com")

    def listed(**wanted: object) -> list[str]:
        return [row["id"] for row in api.post("customers.list", **wanted)["list"]]

    assert listed() == ["carols", "bobs", "acme"]
    assert listed(sort_order="asc") == ["acme", "bobs", "carols"]
    assert listed(search="BOB") == ["bobs"]
    assert listed(search="acme@") == ["acme"]
    first = api.post("customers.list", limit=2)
    assert [row["id"] for row in first["list"]] == ["carols", "bobs"]
    second = api.post("customers.list", limit=2, start_cursor=first["next_cursor"])
    assert ([row["id"] for row in second["list"]], second["next_cursor"]) == (["acme"], None)


def test_customers_are_listed_by_plan(acme: Account) -> None:
    Account(acme.api, "bobs")
    acme.hold(item("messages", 10))
    found = acme.api.post("customers.list", plans=[{"id": "free"}])["list"]
    assert [(row["id"], row["balances"]["messages"]["remaining"]) for row in found] == [("acme", 10)]


def test_the_older_list_pages_by_offset(api: Api) -> None:
    for number in range(12):
        Account(api, f"c{number:02}")
    page = api.post("customers/list")
    assert (len(page["list"]), page["offset"], page["limit"], page["has_more"], page["total"]) == (10, 0, 10, True, 12)
    page = read(api.send("customers?limit=5&offset=10", method="GET"), 200)
    assert [row["id"] for row in page["list"]] == ["c01", "c00"]

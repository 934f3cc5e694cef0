"""Licences: bought with the customer's plan, assigned to entities, released, shrunk."""

from decimal import Decimal
from typing import Any

import pytest

from billing.models import LedgerEntry
from billing.services import audit
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms

THIRTY = Decimal(30)


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    """Acme with a card since 1 April 2026 and the users alice and bob; Team and Business come with seats of $30."""
    shop = Shop(stage)
    shop.opens("2026-04-01", "alice", "bob")
    shop.plan("seat", 30, monthly("messages", 50), group="licenses")
    shop.plan("team", None, licenses=[{"license_plan_id": "seat", "included": 1}])
    shop.plan("business", 100, licenses=[{"license_plan_id": "seat", "included": 3}])
    return shop


def seats(number: int) -> dict[str, Any]:
    return {"license_quantities": [{"license_plan_id": "seat", "quantity": number}]}


def assign(shop: Shop, *entities: str, plan: str = "seat") -> None:
    holders = [{"entity_id": entity} for entity in entities]
    answer = shop.api.post("licenses.attach", customer_id=CUSTOMER, plan_id=plan, entities=holders)
    assert answer == {"success": True}


def release(shop: Shop, *entities: str, **more: Any) -> None:
    answer = shop.api.post("licenses.release", customer_id=CUSTOMER, entity_ids=list(entities), **more)
    assert answer == {"success": True}


def pool(shop: Shop, plan: str = "seat") -> tuple[int, int, int, int]:
    """(granted, usage, remaining, paid) of the one pool of a licence, as the list and the customer show it."""
    listed = shop.api.post("licenses.list", customer_id=CUSTOMER)["list"]
    assert listed == shop.customer()["licenses"]
    [row] = [row for row in listed if row["license_plan_id"] == plan]
    return (row["granted"], row["usage"], row["remaining"], row["paid_quantity"])


def holders(shop: Shop, **wanted: Any) -> list[str]:
    listed = shop.api.post("licenses.list_assignments", customer_id=CUSTOMER, **wanted)["list"]
    return [row["entity_id"] for row in listed]


def code(shop: Shop, status: int, call: str, **body: Any) -> str:
    return str(shop.api.refused(status, call, customer_id=CUSTOMER, **body)["code"])


# -- buying --


def test_five_seats_with_one_included_are_paid_for_four_times(shop: Shop) -> None:
    assert shop.buys("team", **seats(5)) == 4 * THIRTY
    assert pool(shop) == (5, 0, 5, 4)
    [row] = shop.customer()["licenses"]
    assert (row["parent_plan_id"], row["license_plan_name"]) == ("team", "Seat")


def test_without_a_number_there_are_the_included_ones_and_nothing_to_pay(shop: Shop) -> None:
    shop.card(None)
    assert shop.buys("team") == 0
    assert pool(shop) == (1, 0, 1, 0)
    assert not shop.processor()


def test_the_price_is_paid_again_each_month(shop: Shop) -> None:
    shop.attach("team", **seats(3))
    shop.on("2026-05-01")
    shop.on("2026-06-01")
    assert shop.invoices() == [60, 60, 60]


def test_more_are_bought_pro_rata_and_the_same_by_attaching_again(shop: Shop) -> None:
    shop.attach("team", **seats(3))
    shop.on("2026-04-16")
    assert shop.changes("team", **seats(4)) == 15
    assert shop.buys("team", **seats(5)) == 15
    assert pool(shop) == (5, 0, 5, 4)
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 4 * THIRTY


def test_fewer_are_credited_pro_rata(shop: Shop) -> None:
    shop.attach("team", **seats(5))
    shop.on("2026-04-16")
    assert shop.changes("team", **seats(3)) == -30
    assert pool(shop) == (3, 0, 3, 2)
    shop.on("2026-05-01")
    assert shop.invoices()[0] == 2 * THIRTY


def test_the_first_bought_one_makes_a_free_plan_a_paid_one_and_the_last_given_up_a_free_one(shop: Shop) -> None:
    shop.attach("team")
    assign(shop, "alice")
    shop.uses("messages", 20, by="alice")
    shop.on("2026-04-10")
    assert shop.changes("team", **seats(3)) == 60
    assert pool(shop) == (3, 1, 2, 2)
    assert shop.entity("alice")["balances"]["messages"]["next_reset_at"] == ms("2026-05-10")
    assert shop.left("messages", "alice") == 30
    shop.on("2026-04-25")
    assert shop.changes("team", **seats(1)) == -30
    assert pool(shop) == (1, 1, 0, 0)
    assert shop.left("messages", "alice") == 30
    assert not shop.processor()


def test_a_preview_says_what_is_bought(shop: Shop) -> None:
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="team", **seats(5))
    [line] = preview["line_items"]
    assert (line["display_name"], line["quantity"], line["plan_id"]) == ("Seat", 5, "team")
    assert line["feature_id"] is None
    [incoming] = preview["incoming"]
    assert incoming["feature_quantities"] == []
    assert incoming["license_quantities"] == [{"license_plan_id": "seat", "quantity": 5}]


def test_a_declined_card_buys_nothing(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    shop.card("declines")
    answer = shop.update("team", **seats(9))
    assert answer["required_action"]["code"] == "payment_failed"
    assert pool(shop) == (2, 0, 2, 1)


@pytest.mark.parametrize(
    ("status", "wanted", "expected"),
    [
        (404, [{"license_plan_id": "team", "quantity": 1}], "license_not_found"),
        (400, [{"license_plan_id": "seat", "quantity": -1}], "invalid_inputs"),
        (400, [{"license_plan_id": "seat", "quantity": 1}] * 2, "invalid_inputs"),
        (400, [{"license_plan_id": "seat"}], "invalid_inputs"),
    ],
    ids=["not offered", "below 0", "twice", "no number"],
)
def test_quantities_that_cannot_be_are_refused(shop: Shop, status: int, wanted: Any, expected: str) -> None:
    assert code(shop, status, "billing.attach", plan_id="team", license_quantities=wanted) == expected


def test_licences_without_a_price_are_only_the_included_ones(shop: Shop) -> None:
    shop.plan("guest", None, monthly("words", 5), group="guests")
    shop.plan("open", None, group="open", licenses=[{"license_plan_id": "guest", "included": 2}])
    wanted = [{"license_plan_id": "guest", "quantity": 3}]
    assert code(shop, 400, "billing.attach", plan_id="open", license_quantities=wanted) == "invalid_request"
    shop.attach("open")
    assert pool(shop, "guest") == (2, 0, 2, 0)


def test_an_entity_buys_no_licences(shop: Shop) -> None:
    assert code(shop, 400, "billing.attach", plan_id="team", entity_id="alice", **seats(2)) == "invalid_request"


def test_customized_licences_have_their_own_price_and_content(shop: Shop) -> None:
    change = {
        "license_plan_id": "seat",
        "included": 0,
        "customize": {
            "price": {"amount": 12, "interval": "month"},
            "add_items": [monthly("words", 7)],
            "remove_items": [{"feature_id": "messages"}],
        },
    }
    assert shop.buys("team", customize={"upsert_licenses": [change]}, **seats(2)) == 24
    assign(shop, "alice")
    assert shop.left("words", "alice") == 7
    assert shop.left("messages", "alice") is None


def test_a_licence_can_be_added_for_one_customer_and_one_is_included(shop: Shop) -> None:
    shop.plan("solo", 5, group="solo")
    shop.attach("solo", customize={"upsert_licenses": [{"license_plan_id": "seat"}]})
    assert pool(shop) == (1, 0, 1, 0)


# -- assigning --


def test_an_assigned_licence_is_a_plan_of_the_entity_that_costs_nothing(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    assert pool(shop) == (2, 1, 1, 1)
    assert shop.plans("alice") == {"seat": "active"}
    assert shop.left("messages", "alice") == 50
    assert shop.left("messages", "bob") is None
    assert shop.uses("messages", 8, by="alice")["balance"]["remaining"] == 42
    assert shop.invoices() == [30]


def test_its_balances_refill_with_the_cycle_of_the_parent(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    shop.on("2026-04-20")
    assign(shop, "alice")
    shop.uses("messages", 50, by="alice")
    shop.on("2026-05-01")
    assert shop.left("messages", "alice") == 50
    assert shop.invoices() == [30, 30]


def test_assigning_again_changes_nothing(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    shop.uses("messages", 8, by="alice")
    assign(shop, "alice", "alice")
    assert pool(shop) == (2, 1, 1, 1)
    assert shop.left("messages", "alice") == 42


def test_an_entity_that_is_not_there_is_created_with_its_seat(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    carol = {"entity_id": "carol", "name": "Carol", "feature_id": "seats"}
    shop.api.post("licenses.attach", customer_id=CUSTOMER, plan_id="seat", entities=[carol])
    assert shop.entity("carol")["name"] == "Carol"
    assert shop.left("messages", "carol") == 50


def test_all_get_one_or_none_does(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    wanted = [{"entity_id": "alice"}, {"entity_id": "bob"}, {"entity_id": "carol", "feature_id": "seats"}]
    assert code(shop, 400, "licenses.attach", plan_id="seat", entities=wanted) == "license_limit_reached"
    assert pool(shop) == (2, 0, 2, 1)
    assert code(shop, 404, "entities.get", entity_id="carol") == "entity_not_found"


@pytest.mark.parametrize(
    ("status", "plan", "entities", "expected"),
    [
        (404, "nothing", [{"entity_id": "alice"}], "product_not_found"),
        (404, "business", [{"entity_id": "alice"}], "license_not_found"),
        (404, "seat", [{"entity_id": "nobody"}], "entity_not_found"),
        (404, "seat", [{"entity_id": "nobody", "feature_id": "chairs"}], "feature_not_found"),
        (400, "seat", [{"entity_id": "nobody", "feature_id": "messages"}], "invalid_request"),
        (400, "seat", [], "invalid_inputs"),
        (400, "seat", "alice", "invalid_inputs"),
    ],
)
def test_what_cannot_be_assigned_is_refused(shop: Shop, status: int, plan: str, entities: Any, expected: str) -> None:
    shop.attach("team", **seats(2))
    assert code(shop, status, "licenses.attach", plan_id=plan, entities=entities) == expected
    assert pool(shop) == (2, 0, 2, 1)


def test_who_is_not_there_is_told_before_there_being_none_left(shop: Shop) -> None:
    shop.attach("team")
    assign(shop, "alice")
    given = {"plan_id": "seat", "entities": [{"entity_id": "carol"}]}
    assert code(shop, 404, "licenses.attach", **given) == "entity_not_found"


def test_a_customer_without_the_parent_plan_has_no_licences(shop: Shop) -> None:
    assert shop.customer()["licenses"] == []
    assert code(shop, 404, "licenses.attach", plan_id="seat", entities=[{"entity_id": "alice"}]) == "license_not_found"


def test_an_unknown_customer_is_not_found(shop: Shop) -> None:
    for call in ("licenses.list", "licenses.list_assignments"):
        assert shop.api.refused(404, call, customer_id="nobody")["code"] == "customer_not_found"


def test_a_licence_of_the_same_group_is_swapped(shop: Shop) -> None:
    shop.plan("premium", 90, monthly("messages", 500), group="licenses")
    shop.plan("duo", None, group="duo", licenses=[{"license_plan_id": plan} for plan in ("seat", "premium")])
    shop.attach("duo")
    assign(shop, "alice")
    assign(shop, "alice", plan="premium")
    assert shop.plans("alice") == {"premium": "active"}
    assert shop.left("messages", "alice") == 500
    assert (pool(shop), pool(shop, "premium")) == ((1, 0, 1, 0), (1, 1, 0, 0))


def test_licences_of_different_groups_stand_side_by_side(shop: Shop) -> None:
    shop.plan("extra", 9, monthly("words", 5), group="extras")
    shop.plan("duo", None, group="duo", licenses=[{"license_plan_id": plan} for plan in ("seat", "extra")])
    shop.attach("duo")
    assign(shop, "alice")
    assign(shop, "alice", plan="extra")
    assert shop.plans("alice") == {"seat": "active", "extra": "active"}
    assert code(shop, 400, "licenses.release", entity_ids=["alice"]) == "invalid_inputs"
    release(shop, "alice", license_plan_id="extra")
    assert shop.plans("alice") == {"seat": "active"}


def test_a_plan_that_the_entity_pays_for_is_not_taken_away(shop: Shop) -> None:
    shop.plan("pro", 20, group="licenses")
    shop.attach("pro", to="alice")
    shop.attach("team", **seats(2))
    assert code(shop, 409, "licenses.attach", plan_id="seat", entities=[{"entity_id": "alice"}]) == "license_conflict"
    assert shop.plans("alice") == {"pro": "active"}


def test_a_free_plan_of_the_group_gives_way_and_a_paid_one_takes_over(shop: Shop) -> None:
    shop.plan("starter", None, monthly("messages", 5), group="licenses")
    shop.plan("pro", 20, monthly("messages", 900), group="licenses")
    shop.attach("starter", to="alice")
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    assert shop.plans("alice") == {"seat": "active"}
    shop.buys("pro", to="alice")
    assert shop.plans("alice") == {"pro": "active"}
    assert pool(shop) == (2, 0, 2, 1)


# -- releasing --


def test_a_released_licence_is_free_again_and_still_paid_for(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice", "bob")
    shop.uses("messages", 8, by="alice")
    release(shop, "alice")
    assert pool(shop) == (2, 1, 1, 1)
    assert shop.left("messages", "alice") is None
    assert (holders(shop), holders(shop, active=False)) == (["bob"], ["alice"])
    shop.on("2026-05-01")
    assert shop.invoices() == [30, 30]


def test_the_next_holder_starts_fresh(shop: Shop) -> None:
    shop.attach("team")
    assign(shop, "alice")
    shop.uses("messages", 50, by="alice")
    release(shop, "alice", license_plan_id="seat")
    assign(shop, "bob")
    assert shop.left("messages", "bob") == 50


def test_assignments_say_since_when_and_until_when(shop: Shop) -> None:
    shop.attach("team")
    assign(shop, "alice")
    [row] = shop.api.post("licenses.list_assignments", customer_id=CUSTOMER, entity_id="alice")["list"]
    assert {key: row[key] for key in ("entity_id", "license_plan_id", "started_at", "ended_at")} == {
        "entity_id": "alice",
        "license_plan_id": "seat",
        "started_at": 1775001600000,
        "ended_at": None,
    }
    shop.on("2026-04-02")
    release(shop, "alice")
    [ended] = shop.api.post("licenses.list_assignments", customer_id=CUSTOMER, active=False, plan_id="seat")["list"]
    assert (ended["id"], ended["ended_at"]) == (row["id"], 1775088000000)
    assert holders(shop, entity_id="bob") == holders(shop, plan_id="team") == []


def test_an_entity_lists_the_pools_it_holds_a_licence_of(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    [row] = shop.api.post("licenses.list", customer_id=CUSTOMER, entity_id="alice")["list"]
    assert row["license_plan_id"] == "seat"
    assert shop.api.post("licenses.list", customer_id=CUSTOMER, entity_id="bob") == {"list": []}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"entity_ids": ["bob"]}, "license_not_assigned"),
        (404, {"entity_ids": ["alice"], "license_plan_id": "team"}, "license_not_assigned"),
        (404, {"entity_ids": ["nobody"]}, "entity_not_found"),
        (404, {"entity_ids": ["alice", "bob"]}, "license_not_assigned"),
        (400, {"entity_ids": []}, "invalid_inputs"),
    ],
)
def test_what_is_not_held_is_not_released(shop: Shop, status: int, body: Any, expected: str) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    assert code(shop, status, "licenses.release", **body) == expected
    assert holders(shop) == ["alice"]


def test_deleting_an_entity_releases_its_licence(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    shop.leaves("alice")
    assert pool(shop) == (2, 0, 2, 1)
    assert holders(shop) == []
    assert len(shop.invoices()) == 1


def test_cancelling_the_entitys_plan_releases_its_licence(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    shop.update("seat", of="alice", cancel_action="cancel_immediately")
    assert pool(shop) == (2, 0, 2, 1)
    assert len(shop.invoices()) == 1


# -- shrinking, and what becomes of the parent --


def test_there_can_never_be_fewer_than_are_assigned(shop: Shop) -> None:
    shop.attach("team", **seats(3))
    assign(shop, "alice", "bob")
    for call in ("billing.update", "billing.preview_update", "billing.attach", "billing.preview_attach"):
        assert code(shop, 409, call, plan_id="team", **seats(1)) == "licenses_in_use"
    assert pool(shop) == (3, 2, 1, 2)
    release(shop, "bob")
    shop.update("team", **seats(1))
    assert pool(shop) == (1, 1, 0, 0)


def test_an_upgrade_keeps_the_number_and_the_holders(shop: Shop) -> None:
    shop.attach("team", **seats(5))
    assign(shop, "alice", "bob")
    shop.uses("messages", 8, by="alice")
    shop.on("2026-04-16")
    # Unused: 4 seats for half a month. New: the base price and 2 seats beyond the 3 included ones, for half a month.
    assert shop.buys("business") == -60 + 50 + 30
    assert pool(shop) == (5, 2, 3, 2)
    assert holders(shop) == ["alice", "bob"]
    assert shop.left("messages", "alice") == 42
    release(shop, "alice")
    assert pool(shop) == (5, 1, 4, 2)


def test_an_upgrade_to_fewer_than_are_assigned_is_refused(shop: Shop) -> None:
    shop.plan("tiny", 40, licenses=[{"license_plan_id": "seat", "included": 0}])
    shop.attach("team", **seats(2))
    assign(shop, "alice", "bob")
    assert code(shop, 409, "billing.attach", plan_id="tiny", **seats(1)) == "licenses_in_use"


def test_licences_end_with_the_plan_that_offers_them(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    shop.on("2026-04-16")
    assert shop.changes("team", cancel_action="cancel_immediately") == -15
    assert shop.customer()["licenses"] == []
    assert (holders(shop), shop.left("messages", "alice")) == ([], None)
    assert shop.plans("alice") == {}


def test_a_plan_canceled_at_the_end_of_its_cycle_keeps_them_until_then(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    shop.update("team", cancel_action="cancel_end_of_cycle")
    shop.on("2026-04-30")
    assert shop.left("messages", "alice") == 50
    shop.on("2026-05-01")
    assert shop.left("messages", "alice") is None


def test_a_downgrade_keeps_who_came_first_when_there_are_fewer(shop: Shop) -> None:
    shop.attach("business", **seats(4))
    assign(shop, "alice")
    shop.plan("lean", 10, licenses=[{"license_plan_id": "seat", "included": 1}])
    shop.attach("lean", **seats(1))
    assign(shop, "bob")
    shop.on("2026-05-01")
    assert holders(shop) == ["alice"]
    assert pool(shop) == (1, 1, 0, 0)


def test_a_trial_of_another_plan_borrows_the_licences_and_gives_them_back(shop: Shop) -> None:
    trial = {"duration_length": 7, "duration_type": "day", "card_required": False, "on_end": "revert"}
    shop.attach("team", **seats(2))
    assign(shop, "alice")
    shop.attach("business", free_trial=trial)
    assert pool(shop)[1] == 1
    assert holders(shop) == ["alice"]
    shop.on("2026-04-09")
    assert shop.plans() == {"team": "active"}
    assert holders(shop) == ["alice"]
    assert pool(shop) == (2, 1, 1, 1)


def test_deleting_the_customer_ends_them_all(shop: Shop) -> None:
    shop.attach("team", **seats(2))
    assign(shop, "alice", "bob")
    shop.api.post("customers.delete", customer_id=CUSTOMER)
    assert list(audit.prove())[-1].found == []


# -- in the books and in the catalogue --


def test_every_number_of_a_pool_is_explained(shop: Shop) -> None:
    shop.attach("team", **seats(3))
    assign(shop, "alice", "bob")
    release(shop, "alice")
    assert [found for progress in audit.prove() for found in progress.found] == []
    entries = LedgerEntry.objects.filter(balance__feature__type="license").order_by("pk")
    assert [entry.reason for entry in entries][1:] == [
        "alice got a licence",
        "bob got a licence",
        "alice gave a licence back",
    ]


def test_what_counts_licences_is_no_feature_that_a_client_can_name(shop: Shop) -> None:
    shop.attach("team", **seats(3))
    assert {feature["id"] for feature in shop.api.post("features.list")["list"]} == {"seats", "messages", "words"}
    assert "license:seat" not in shop.customer()["balances"]
    body = {"feature_id": "license:seat"}
    assert code(shop, 404, "balances.check", **body) == "feature_not_found"
    assert code(shop, 404, "balances.track", **body, value=1) == "feature_not_found"
    assert code(shop, 404, "balances.update", **body, remaining=9) in ("feature_not_found", "invalid_request")
    shop.api.post("features.create", feature_id="license:seat", name="Taken", type="boolean")


def test_a_plan_shows_what_it_offers(shop: Shop) -> None:
    [offered] = shop.api.post("plans.get", plan_id="team")["licenses"]
    assert offered == {
        "license_plan_id": "seat",
        "version": 1,
        "included": 1,
        "prepaid_only": True,
        "customize": None,
        "metadata": {},
    }


def test_new_holders_get_the_newest_version_of_a_licence_and_old_ones_keep_theirs(shop: Shop) -> None:
    shop.attach("team", **seats(3))
    assign(shop, "alice")
    shop.api.post("plans.update", plan_id="seat", items=[monthly("messages", 80)])
    assert shop.api.post("plans.get", plan_id="team")["licenses"][0]["version"] == 2
    assign(shop, "bob")
    assert shop.left("messages", "alice") == 50
    assert shop.left("messages", "bob") == 50
    shop.api.post("customers.get_or_create", customer_id="other")
    shop.api.post("billing.attach", customer_id="other", plan_id="team")
    zoe = {"entity_id": "zoe", "feature_id": "seats"}
    shop.api.post("licenses.attach", customer_id="other", plan_id="seat", entities=[zoe])
    given = shop.api.post("entities.get", customer_id="other", entity_id="zoe")["balances"]["messages"]
    assert given["granted"] == 80


def test_changing_what_a_plan_offers_makes_a_version_once_it_is_held(shop: Shop) -> None:
    free = shop.api.post("plans.update", plan_id="team", licenses=[{"license_plan_id": "seat", "included": 2}])
    assert (free["version"], free["licenses"][0]["included"]) == (1, 2)
    shop.attach("team")
    held = shop.api.post("plans.update", plan_id="team", licenses=[])
    assert (held["version"], held["licenses"]) == (2, [])
    assert pool(shop) == (2, 0, 2, 0)


@pytest.mark.parametrize(
    ("licenses", "status", "expected"),
    [
        ([{"license_plan_id": "team"}], 400, "own licence"),
        ([{"license_plan_id": "seat"}, {"license_plan_id": "seat"}], 400, "twice"),
        ([{"license_plan_id": "business"}], 400, "offers licences itself"),
        ([{"license_plan_id": "metered"}], 400, "sells messages"),
        ([{"license_plan_id": "old"}], 400, "archived"),
        ([{"license_plan_id": "nothing"}], 404, "not found"),
        ([{"license_plan_id": "seat", "prepaid_only": False}], 400, "prepaid_only"),
        ([{"license_plan_id": "seat", "included": -1}], 400, "included"),
    ],
)
def test_what_cannot_be_a_licence_is_refused(shop: Shop, licenses: Any, status: int, expected: str) -> None:
    shop.plan("metered", 5, monthly("messages", 5, amount=1))
    shop.plan("old", 5)
    shop.api.post("plans.update", plan_id="old", archived=True)
    refused = shop.api.refused(status, "plans.update", plan_id="team", licenses=licenses)
    assert expected in refused["message"]


def test_a_plan_that_is_offered_stays_and_stays_fit(shop: Shop) -> None:
    refused = shop.api.refused(400, "plans.delete", plan_id="seat")
    assert refused["code"] == "product_is_licensed"
    priced = [monthly("messages", 5, amount=1)]
    assert "sells messages" in shop.api.refused(400, "plans.update", plan_id="seat", items=priced)["message"]
    assert "archived" in shop.api.refused(400, "plans.update", plan_id="seat", archived=True)["message"]
    renamed = shop.api.post("plans.update", plan_id="seat", new_plan_id="chair")
    assert renamed["id"] == "chair"
    assert shop.api.post("plans.get", plan_id="team")["licenses"][0]["license_plan_id"] == "chair"


def test_a_push_without_them_archives_a_held_plan_together_with_the_licence_that_it_offers(shop: Shop) -> None:
    shop.attach("team")
    wanted = {"features": [], "plans": [], "skip_deletions": False}
    preview = shop.api.post("catalog.preview_update", **wanted)
    will_archive = {change["plan_id"]: change["will_archive"] for change in preview["plan_changes"]}
    assert will_archive == {"business": False, "seat": True, "team": True}
    shop.api.post("catalog.update", **wanted)
    plans = shop.api.post("plans.list", include_archived=True)["list"]
    assert {plan["id"]: plan["archived"] for plan in plans} == {"seat": True, "team": True}
    assign(shop, "alice")
    assert shop.left("messages", "alice") == 50

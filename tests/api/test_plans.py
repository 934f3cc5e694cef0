"""plans.* and their REST twins: shapes, rules, versions, and what a customer may do with them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from entities.models import Customer, Entity
from plans.models import Feature, Plan
from tests.client import Api
from tests.holders import EARLIER, hold

SEAT_PRICE = {"amount": 30, "interval": "month", "billing_units": 1, "billing_method": "usage_based"}
TEAM: dict[str, Any] = {
    "plan_id": "team",
    "name": "Team",
    "price": {"amount": 30, "interval": "month"},
    "items": [
        {"feature_id": "seats", "included": 1, "price": SEAT_PRICE},
        {"feature_id": "summaries", "included": 50, "reset": {"interval": "month"}, "entity_feature_id": "seats"},
    ],
}
TIERS = [{"to": 100, "amount": Decimal("0.5")}, {"to": "inf", "amount": Decimal("0.25"), "flat_amount": 2}]


@pytest.fixture(scope="module")
def features(stage: Api) -> Api:
    """A client of a catalogue with seats, summaries and a switch."""
    stage.post("features.create", feature_id="seats", name="Seats", type="metered", consumable=False)
    stage.post("features.create", feature_id="summaries", name="Meeting Summaries", type="metered", consumable=True)
    stage.post("features.create", feature_id="sso", name="Single sign-on", type="boolean")
    return stage


@pytest.fixture
def api(features: Api, db: None) -> Api:
    """The catalogue as it was."""
    return features


def create(api: Api, *items: dict[str, Any], **fields: Any) -> Any:
    return api.post("plans.create", **{"plan_id": "pro", "name": "Pro", "items": list(items), **fields})


def refuse(api: Api, *items: dict[str, Any], **fields: Any) -> str:
    error = api.refused(400, "plans.create", **{"plan_id": "pro", "name": "Pro", "items": list(items), **fields})
    assert error["code"] == "invalid_inputs"
    return str(error["message"])


def test_the_team_plan_is_shown_with_every_known_key(api: Api) -> None:
    made = api.post("plans.create", **TEAM)
    assert made.pop("created_at") > 1_700_000_000_000
    assert made == {
        "id": "team",
        "name": "Team",
        "description": None,
        "group": None,
        "version": 1,
        "add_on": False,
        "auto_enable": False,
        "price": {
            "amount": 30,
            "interval": "month",
            "interval_count": 1,
            "additional_currencies": None,
            "display": {"primary_text": "$30", "secondary_text": "per month"},
        },
        "items": [
            {
                "feature_id": "seats",
                "feature": None,
                "entity_feature_id": None,
                "included": 1,
                "unlimited": False,
                "pooled": False,
                "reset": None,
                "price": {
                    "amount": 30,
                    "additional_currencies": None,
                    "tiers": None,
                    "tier_behavior": "graduated",
                    "interval": "month",
                    "interval_count": 1,
                    "billing_units": 1,
                    "billing_method": "usage_based",
                    "max_purchase": None,
                },
                "proration": None,
                "rollover": None,
                "display": {"primary_text": "1 Seats", "secondary_text": "then $30 per Seats"},
            },
            {
                "feature_id": "summaries",
                "feature": None,
                "entity_feature_id": "seats",
                "included": 50,
                "unlimited": False,
                "pooled": False,
                "reset": {"interval": "month", "interval_count": 1},
                "price": None,
                "proration": None,
                "rollover": None,
                "display": {"primary_text": "50 Meeting Summaries", "secondary_text": None},
            },
        ],
        "free_trial": None,
        "env": "sandbox",
        "archived": False,
        "base_variant_id": None,
        "variant_details": None,
        "config": {"ignore_past_due": False},
        "billing_controls": {},
        "metadata": {},
        "licenses": [],
        "customer_eligibility": None,
    }
    again = api.post("plans.get", plan_id="team")
    assert again.pop("created_at")
    assert again == made


def test_everything_that_an_item_can_say_comes_back(api: Api) -> None:
    item = {
        "feature_id": "summaries",
        "included": 100,
        "pooled": True,
        "reset": {"interval": "week", "interval_count": 2},
        "price": {
            "tiers": TIERS,
            "tier_behavior": "volume",
            "interval": "month",
            "interval_count": 3,
            "billing_units": 10,
            "billing_method": "prepaid",
            "max_purchase": 1000,
        },
        "proration": {"on_increase": "prorate_next_cycle", "on_decrease": "none"},
        "rollover": {"max": 300, "expiry_duration_type": "month", "expiry_duration_length": 2},
    }
    shown = create(api, item)["items"][0]
    assert shown["pooled"] is True
    assert shown["reset"] == {"interval": "week", "interval_count": 2}
    assert shown["proration"] == item["proration"]
    assert shown["rollover"] == {**item["rollover"], "max_percentage": None}  # type: ignore[dict-item]
    price = shown["price"]
    assert [(tier["to"], tier["amount"], tier["flat_amount"]) for tier in price["tiers"]] == [
        (100, Decimal("0.5"), 0),
        ("inf", Decimal("0.25"), 2),
    ]
    assert (price["amount"], price["tier_behavior"], price["interval_count"]) == (None, "volume", 3)
    assert (price["billing_units"], price["billing_method"], price["max_purchase"]) == (10, "prepaid", 1000)


def test_trial_controls_metadata_and_switches_come_back(api: Api) -> None:
    fields = {
        "description": "For teams",
        "group": "main",
        "add_on": True,
        "free_trial": {"duration_length": 14, "duration_type": "day", "card_required": False, "on_end": "revert"},
        "config": {"ignore_past_due": True},
        "metadata": {"colour": "green", "order": 2, "ratio": Decimal("0.5"), "tags": ["a", None, True]},
        "billing_controls": {"usage_limits": [{"feature_id": "summaries", "limit": Decimal("5.5"), "interval": "day"}]},
    }
    made = create(api, **fields)
    assert {name: made[name] for name in fields if name != "billing_controls"} == {
        name: value for name, value in fields.items() if name != "billing_controls"
    }
    assert made["billing_controls"]["usage_limits"] == [
        {
            "feature_id": "summaries",
            "enabled": True,
            "limit": Decimal("5.5"),
            "interval": "day",
            "anchor": "billing_cycle",
            "filter": None,
            "source": None,
        }
    ]


def test_a_priced_consumable_resets_as_often_as_it_is_billed(api: Api) -> None:
    price = {"amount": 1, "interval": "year", "billing_method": "usage_based"}
    assert create(api, {"feature_id": "summaries", "price": price})["items"][0]["reset"] == {
        "interval": "year",
        "interval_count": 1,
    }


def test_what_is_granted_once_says_so_and_what_is_never_used_up_has_no_reset(api: Api) -> None:
    once = {"interval": "one_off"}
    packs = {"amount": 1, "interval": "one_off", "billing_method": "prepaid"}
    made = create(
        api,
        {"feature_id": "summaries", "included": 5},
        {"feature_id": "summaries", "included": 5, "reset": once, "entity_feature_id": "seats"},
        {"feature_id": "summaries", "price": packs},
        {"feature_id": "seats", "included": 5},
        {"feature_id": "sso"},
    )
    resets = [item["reset"] and item["reset"]["interval"] for item in made["items"]]
    assert resets == ["one_off", "one_off", "one_off", None, None]
    assert "items[1]" in refuse(
        api, {"feature_id": "summaries"}, {"feature_id": "summaries", "reset": once}, plan_id="b"
    )


def test_a_second_plan_with_the_same_id_is_refused(api: Api) -> None:
    create(api)
    error = api.refused(400, "plans.create", plan_id="pro", name="Pro")
    assert error["code"] == "product_already_exists"


@pytest.mark.parametrize("call", ["plans.get", "plans.update", "plans.delete"])
def test_an_unknown_plan_is_not_found(api: Api, call: str) -> None:
    assert api.refused(404, call, plan_id="nothing")["code"] == "product_not_found"


@pytest.mark.parametrize(
    "item", [{"feature_id": "nothing"}, {"feature_id": "summaries", "entity_feature_id": "nothing"}]
)
def test_an_item_of_an_unknown_feature_is_refused(api: Api, item: dict[str, str]) -> None:
    assert api.refused(404, "plans.create", plan_id="p", name="P", items=[item])["code"] == "feature_not_found"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"plan_id": ""}, "plan_id"),
        ({"plan_id": "two words"}, "plan_id"),
        ({"plan_id": "x" * 101}, "plan_id"),
        ({"plan_id": 5}, "plan_id"),
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"group": 5}, "group"),
        ({"group": "g" * 101}, "group"),
        ({"add_on": "yes"}, "add_on"),
        ({"price": 30}, "price"),
        ({"price": {"amount": 30}}, "price.interval"),
        ({"price": {"interval": "month"}}, "price.amount"),
        ({"price": {"amount": -1, "interval": "month"}}, "price.amount"),
        ({"price": {"amount": "30", "interval": "month"}}, "price.amount"),
        ({"price": {"amount": 10**20, "interval": "month"}}, "price.amount"),
        ({"price": {"amount": 30, "interval": "day"}}, "price.interval"),
        ({"price": {"amount": 30, "interval": "month", "interval_count": 0}}, "price.interval_count"),
        ({"price": {"amount": 30, "interval": "month", "interval_count": Decimal("1.5")}}, "price.interval_count"),
        (
            {"price": {"amount": 1, "interval": "month", "additional_currencies": [{"currency": "eur"}]}},
            "price.additional",
        ),
        ({"items": {"feature_id": "seats"}}, "items"),
        ({"items": [5]}, "items[0]"),
        ({"free_trial": {}}, "free_trial.duration_length"),
        ({"free_trial": {"duration_length": 0}}, "free_trial.duration_length"),
        ({"free_trial": {"duration_length": 7, "duration_type": "week"}}, "free_trial.duration_type"),
        ({"free_trial": {"duration_length": 7, "on_end": "explode"}}, "free_trial.on_end"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"text": "x" * 20_000}}, "metadata"),
        ({"licenses": [{"included": 1}]}, "licenses[0].license_plan_id"),
        ({"licenses": [{"license_plan_id": "x", "prepaid_only": False}]}, "licenses[0].prepaid_only"),
        ({"billing_controls": {"usage_limits": [{"limit": 1, "interval": "day"}]}}, "billing_controls.usage_limits[0]"),
        ({"auto_enable": True, "price": {"amount": 5, "interval": "month"}}, "auto_enable"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_field(api: Api, fields: dict[str, Any], field: str) -> None:
    assert refuse(api, **fields).startswith(field)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"included": -1}, "included"),
        ({"included": 10**13 + 1}, "included"),
        ({"included": "5"}, "included"),
        ({"unlimited": 1}, "unlimited"),
        ({"unlimited": True, "included": 5}, "unlimited"),
        ({"unlimited": True, "price": {**SEAT_PRICE}}, "unlimited"),
        ({"reset": {"interval": "fortnight"}}, "reset.interval"),
        ({"reset": "month"}, "reset"),
        ({"price": {"interval": "month", "billing_method": "prepaid"}}, "price"),
        ({"price": {**SEAT_PRICE, "tiers": TIERS}}, "price"),
        ({"price": {"amount": 1, "interval": "month"}}, "price.billing_method"),
        ({"price": {"amount": 1, "billing_method": "prepaid"}}, "price.interval"),
        ({"price": {**SEAT_PRICE, "billing_units": 0}}, "price.billing_units"),
        ({"price": {**SEAT_PRICE, "billing_units": -5}}, "price.billing_units"),
        ({"price": {**SEAT_PRICE, "interval": "one_off"}}, "price.interval"),
        ({"price": {**SEAT_PRICE, "tier_behavior": "volume"}}, "price.tier_behavior"),
        ({"price": {**SEAT_PRICE, "max_purchase": -1}}, "price.max_purchase"),
        ({"price": {**SEAT_PRICE, "billing_method": "prepaid", "billing_units": 100}, "included": 150}, "included"),
        ({"proration": {"on_increase": "bill_immediately", "on_decrease": "none"}}, "proration"),
        ({"price": SEAT_PRICE, "proration": {"on_increase": "bill_immediately"}}, "proration.on_decrease"),
        ({"rollover": {"expiry_duration_type": "month"}}, "rollover"),
        ({"reset": {"interval": "one_off"}, "rollover": {"expiry_duration_type": "month"}}, "rollover"),
        (
            {
                "reset": {"interval": "day"},
                "rollover": {"max": 1, "max_percentage": 5, "expiry_duration_type": "month"},
            },
            "rollover",
        ),
        (
            {"reset": {"interval": "day"}, "rollover": {"max_percentage": 101, "expiry_duration_type": "month"}},
            "rollover.max_percentage",
        ),
        ({"entity_feature_id": "summaries"}, "entity_feature_id"),
        ({"entity_feature_id": "sso"}, "entity_feature_id"),
    ],
)
def test_an_item_that_makes_no_sense_is_refused_by_field(api: Api, item: dict[str, Any], field: str) -> None:
    message = refuse(api, {"feature_id": "sso"}, {"feature_id": "summaries", **item})
    assert message.startswith(f"items[1].{field}")


@pytest.mark.parametrize(
    "tiers",
    [
        [{"to": 100, "amount": 1}],
        [{"to": "inf", "amount": 1}, {"to": 100, "amount": 1}],
        [{"to": 100, "amount": 1}, {"to": 100, "amount": 1}, {"to": "inf", "amount": 1}],
        [{"to": 0, "amount": 1}, {"to": "inf", "amount": 1}],
        [{"to": "all", "amount": 1}],
        [{"amount": 1}],
        [{"to": "inf", "amount": -1}],
    ],
)
def test_tiers_ascend_and_end_with_the_open_one(api: Api, tiers: list[dict[str, Any]]) -> None:
    price = {"tiers": tiers, "interval": "month", "billing_method": "prepaid"}
    assert refuse(api, {"feature_id": "summaries", "price": price}).startswith("items[0].price.tiers")


@pytest.mark.parametrize(
    "item",
    [
        {"reset": {"interval": "month"}},
        {"rollover": {"expiry_duration_type": "forever"}},
        {"entity_feature_id": "seats"},
    ],
)
def test_seats_never_reset_and_are_not_granted_per_seat(api: Api, item: dict[str, Any]) -> None:
    assert refuse(api, {"feature_id": "seats", **item}).startswith("items[0]")


@pytest.mark.parametrize("item", [{"included": 1}, {"reset": {"interval": "month"}}, {"price": SEAT_PRICE}])
def test_a_switch_takes_no_quantities(api: Api, item: dict[str, Any]) -> None:
    assert refuse(api, {"feature_id": "sso", **item}).startswith("items[0]")


def test_proration_is_allowed_on_seats_that_are_billed_by_use(api: Api) -> None:
    proration = {"on_increase": "prorate_immediately", "on_decrease": "none"}
    made = create(api, {"feature_id": "seats", "price": SEAT_PRICE, "proration": proration})
    assert made["items"][0]["proration"] == proration


def test_one_feature_may_be_shared_and_per_seat_but_not_twice_the_same(api: Api) -> None:
    shared = {"feature_id": "summaries", "included": 10, "reset": {"interval": "month"}}
    assert len(create(api, shared, {**shared, "entity_feature_id": "seats"})["items"]) == 2
    assert refuse(api, shared, {**shared, "included": 20}, plan_id="other").startswith("items[1]")


def test_an_archived_feature_is_not_sold_any_more(api: Api) -> None:
    create(api, {"feature_id": "summaries", "included": 5})
    api.post("features.update", feature_id="summaries", archived=True)
    api.refused(400, "plans.create", plan_id="other", name="Other", items=[{"feature_id": "summaries"}])
    assert api.post("plans.update", plan_id="pro", items=[{"feature_id": "summaries", "included": 6}])["version"] == 1


# -- versions --


def test_a_plan_that_nobody_held_is_edited_in_place(api: Api) -> None:
    api.post("plans.create", **TEAM)
    updated = api.post("plans.update", plan_id="team", price={"amount": 40, "interval": "month"})
    assert (updated["version"], updated["price"]["amount"], len(updated["items"])) == (1, 40, 2)


def test_new_terms_for_a_plan_that_was_held_make_a_version_and_leave_the_old_one_alone(api: Api) -> None:
    api.post("plans.create", **TEAM)
    hold("team", status="expired")
    updated = api.post("plans.update", plan_id="team", price={"amount": 40, "interval": "month"})
    assert (updated["version"], updated["price"]["amount"], len(updated["items"])) == (2, 40, 2)
    assert api.post("plans.get", plan_id="team", version=1)["price"]["amount"] == 30
    assert api.post("plans.get", plan_id="team")["version"] == 2
    again = api.post("plans.update", plan_id="team", price={"amount": 50, "interval": "month"})
    assert again["version"] == 2  # nobody holds that one yet


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Crew"},
        {"description": "New"},
        {"group": "g"},
        {"metadata": {"a": 1}},
        {"add_on": True},
        {"archived": True},
    ],
)
def test_what_is_no_one_s_terms_changes_in_all_versions(api: Api, change: dict[str, Any]) -> None:
    api.post("plans.create", **TEAM)
    hold("team")
    api.post("plans.update", plan_id="team", force_version=True)
    (name, value), version = *change.items(), 1
    assert api.post("plans.update", plan_id="team", **change)["version"] == 2
    assert api.post("plans.get", plan_id="team", version=version)[name] == value


def test_an_update_that_changes_nothing_makes_no_version(api: Api) -> None:
    made = api.post("plans.create", **TEAM)
    hold("team")
    assert api.post("plans.update", **TEAM) == made
    swapped = {**TEAM, "items": TEAM["items"][::-1]}
    assert api.post("plans.update", **swapped)["version"] == 1


def test_disable_version_edits_in_place_what_customers_hold(api: Api) -> None:
    api.post("plans.create", **TEAM)
    hold("team")
    updated = api.post("plans.update", plan_id="team", items=[], disable_version=True)
    assert (updated["version"], updated["items"]) == (1, [])


def test_all_versions_changes_each_of_them_by_the_same(api: Api) -> None:
    api.post("plans.create", **TEAM)
    hold("team")
    api.post("plans.update", plan_id="team", items=[])
    api.post("plans.update", plan_id="team", price={"amount": 5, "interval": "month"}, all_versions=True)
    old, new = (api.post("plans.get", plan_id="team", version=version) for version in (1, 2))
    assert (old["price"]["amount"], len(old["items"])) == (5, 2)
    assert (new["price"]["amount"], len(new["items"])) == (5, 0)


def test_an_old_version_with_customers_is_edited_only_in_place_and_expressly(api: Api) -> None:
    api.post("plans.create", **TEAM)
    hold("team")
    api.post("plans.update", plan_id="team", items=[])
    price = {"amount": 7, "interval": "month"}
    api.refused(400, "plans.update", plan_id="team", version=1, price=price)
    old = api.post("plans.update", plan_id="team", version=1, price=price, disable_version=True)
    assert (old["version"], old["price"]["amount"]) == (1, 7)
    assert api.post("plans.get", plan_id="team")["price"]["amount"] == 30
    assert api.refused(404, "plans.update", plan_id="team", version=9, price=price)["code"] == "product_not_found"


@pytest.mark.parametrize("other", ["all_versions", "force_version"])
def test_ways_of_editing_exclude_each_other(api: Api, other: str) -> None:
    api.post("plans.create", **TEAM)
    flags = {"disable_version": True, other: True}
    assert api.refused(400, "plans.update", plan_id="team", **flags)["code"] == "invalid_inputs"


def test_null_takes_the_price_and_the_trial_away(api: Api) -> None:
    trial = {"duration_length": 7, "duration_type": "day"}
    create(api, price={"amount": 9, "interval": "month"}, free_trial=trial)
    bare = api.post("plans.update", plan_id="pro", price=None, free_trial=None)
    assert (bare["price"], bare["free_trial"]) == (None, None)


def test_a_price_keeps_its_interval_count_unless_its_interval_changes(api: Api) -> None:
    create(api, price={"amount": 9, "interval": "month", "interval_count": 3})
    kept = api.post("plans.update", plan_id="pro", price={"amount": 10, "interval": "month"})
    assert kept["price"]["interval_count"] == 3
    changed = api.post("plans.update", plan_id="pro", price={"amount": 10, "interval": "year"})
    assert changed["price"]["interval_count"] == 1


def test_control_lists_that_are_not_sent_stay_and_empty_ones_clear(api: Api) -> None:
    limits = [{"feature_id": "summaries", "limit": 5, "interval": "day"}]
    create(api, billing_controls={"usage_limits": limits, "overage_allowed": [{"feature_id": "summaries"}]})
    updated = api.post("plans.update", plan_id="pro", billing_controls={"overage_allowed": []})
    assert list(updated["billing_controls"]) == ["usage_limits"]


def test_a_plan_gets_a_new_id_only_while_nobody_held_it(api: Api) -> None:
    create(api)
    assert api.post("plans.update", plan_id="pro", new_plan_id="max")["id"] == "max"
    hold("max")
    assert api.refused(400, "plans.update", plan_id="max", new_plan_id="pro")["code"] == "product_has_customers"
    create(api)
    assert api.refused(400, "plans.update", plan_id="pro", new_plan_id="max")["code"] == "product_already_exists"


def test_one_plan_of_a_group_starts_by_itself(api: Api) -> None:
    create(api, auto_enable=True, group="main")
    api.refused(400, "plans.create", plan_id="other", name="Other", auto_enable=True, group="main")
    create(api, plan_id="elsewhere", auto_enable=True, group="side")
    create(api, plan_id="extra", auto_enable=True, group="main", add_on=True)
    api.refused(400, "plans.update", plan_id="elsewhere", group="main")
    api.post("plans.update", plan_id="pro", auto_enable=False)
    assert api.post("plans.update", plan_id="elsewhere", group="main")["group"] == "main"


# -- deleting and archiving --


def test_a_plan_that_nobody_held_is_deleted(api: Api) -> None:
    api.post("plans.create", **TEAM)
    assert api.post("plans.delete", plan_id="team") == {"success": True}
    api.refused(404, "plans.get", plan_id="team")


def test_a_plan_that_only_a_deleted_customer_held_is_deleted_and_its_id_is_free(api: Api) -> None:
    api.post("plans.create", **TEAM)
    hold("team")
    Customer.objects.update(deleted_at=EARLIER)
    api.post("plans.delete", plan_id="team")
    assert api.post("plans.list", include_archived=True, all_versions=True)["list"] == []
    assert api.post("plans.create", **TEAM)["version"] == 1


def test_deleting_the_latest_version_makes_the_one_before_the_latest(api: Api) -> None:
    api.post("plans.create", **TEAM)
    hold("team")
    api.post("plans.update", plan_id="team", items=[])
    assert api.refused(400, "plans.delete", plan_id="team", all_versions=True)["code"] == "product_has_customers"
    api.post("plans.delete", plan_id="team")
    assert api.post("plans.get", plan_id="team")["version"] == 1
    assert api.refused(400, "plans.delete", plan_id="team")["code"] == "product_has_customers"


def test_archived_plans_are_listed_on_demand_and_come_back_by_rest(api: Api) -> None:
    create(api)
    assert api.post("plans.update", plan_id="pro", archived=True)["archived"] is True
    assert api.post("plans.list")["list"] == []
    assert [one["id"] for one in api.post("plans.list", include_archived=True)["list"]] == ["pro"]
    assert api.post("products/pro", archived=False)["archived"] is False
    assert [one["id"] for one in api.post("plans.list")["list"]] == ["pro"]


def test_a_plan_is_deleted_by_rest_with_all_its_versions(api: Api) -> None:
    create(api)
    api.post("plans.update", plan_id="pro", force_version=True)
    assert api.send("products/pro?all_versions=true", method="DELETE").status_code == 200
    assert not Plan.objects.exists()


def test_the_list_shows_the_latest_versions_or_all(api: Api) -> None:
    api.post("plans.create", **TEAM)
    api.post("plans.update", plan_id="team", force_version=True)
    assert [one["version"] for one in api.post("plans.list")["list"]] == [2]
    assert [one["version"] for one in api.post("plans.list", all_versions=True)["list"]] == [1, 2]
    assert api.post("plans.list", include_archived=None) == api.post("plans.list")


def test_listing_plans_takes_the_same_queries_however_many_there_are(
    api: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        api.post("plans.create", **{**TEAM, "plan_id": f"team_{number}"})
    Customer.objects.create(external_id="acme", created_at=EARLIER)
    with django_assert_num_queries(3):
        assert len(api.post("plans.list")["list"]) == 20
    for number in range(3):
        hold(f"team_{number}", group=f"g{number}")
    with django_assert_num_queries(7):
        api.post("plans.list", customer_id="acme")


# -- what a customer may do with them --


def eligibility(api: Api, plan_id: str, **subject: str) -> Any:
    listed = api.post("plans.list", customer_id="acme", **subject)["list"]
    found = next(one for one in listed if one["id"] == plan_id)["customer_eligibility"]
    assert api.post("plans.get", plan_id=plan_id, customer_id="acme", **subject)["customer_eligibility"] == found
    return found


@pytest.fixture
def tiers(api: Api) -> Api:
    """Three plans of a group, an add-on and a one-off; Acme holds the middle one."""
    monthly = {"interval": "month"}
    create(api, plan_id="free", group="main")
    create(api, plan_id="pro", group="main", price={**monthly, "amount": 20})
    create(api, plan_id="max", group="main", price={**monthly, "amount": 50}, free_trial={"duration_length": 1})
    create(api, plan_id="extra", add_on=True, price={**monthly, "amount": 5})
    create(api, plan_id="pack", price={"amount": 10, "interval": "one_off"})
    hold("pro")
    return api


@pytest.mark.parametrize(
    ("plan_id", "action"),
    [("free", "downgrade"), ("pro", "none"), ("max", "upgrade"), ("extra", "activate"), ("pack", "purchase")],
)
def test_a_plan_says_what_attaching_it_would_do(tiers: Api, plan_id: str, action: str) -> None:
    assert eligibility(tiers, plan_id)["attach_action"] == action


def test_the_plan_that_is_held_is_active(tiers: Api) -> None:
    assert eligibility(tiers, "pro") == {
        "trial_available": False,
        "status": "active",
        "canceling": False,
        "trialing": False,
        "attach_action": "none",
    }
    assert eligibility(tiers, "free")["status"] is None


def test_a_plan_that_is_waiting_is_scheduled_and_one_that_was_cancelled_is_canceling(tiers: Api) -> None:
    hold("free", status="scheduled")
    assert eligibility(tiers, "free")["status"] == "scheduled"
    hold("extra", canceled_at=EARLIER)
    assert eligibility(tiers, "extra")["canceling"] is True


def test_a_trial_is_available_once_in_each_scope(tiers: Api) -> None:
    assert eligibility(tiers, "max")["trial_available"] is True
    hold("max", status="expired", trial_ends_at=EARLIER)
    assert eligibility(tiers, "max")["trial_available"] is False
    entity = add_entity()
    assert eligibility(tiers, "max", entity_id="alice")["trial_available"] is True
    hold("max", entity=entity, trial_ends_at=datetime.now(UTC) + timedelta(days=3))
    assert eligibility(tiers, "max", entity_id="alice")["trialing"] is True


def test_a_trial_had_under_the_same_fingerprint_counts(tiers: Api) -> None:
    hold("max", by="twin", status="expired", trial_ends_at=EARLIER)
    Customer.objects.update(fingerprint="device-1")
    assert eligibility(tiers, "max")["trial_available"] is False


def test_an_entity_is_asked_about_its_own_plans_only(tiers: Api) -> None:
    entity = add_entity()
    assert eligibility(tiers, "pro", entity_id="alice")["attach_action"] == "activate"
    hold("max", entity=entity)
    assert eligibility(tiers, "pro", entity_id="alice")["attach_action"] == "downgrade"
    assert eligibility(tiers, "max", entity_id="alice")["status"] == "active"
    assert eligibility(tiers, "max")["status"] is None


def test_plans_for_an_unknown_customer_are_refused(tiers: Api) -> None:
    assert tiers.refused(404, "plans.list", customer_id="nobody")["code"] == "customer_not_found"


def add_entity() -> Entity:
    acme, seats = Customer.objects.get(external_id="acme"), Feature.objects.get(slug="seats")
    return Entity.objects.create(customer=acme, external_id="alice", feature=seats, created_at=EARLIER)

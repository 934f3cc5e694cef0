"""catalog.*: what a push would do, that it does just that, and that a second push finds nothing to do."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries

from entities.models import Customer, Entity
from plans.catalog import store
from plans.models import Feature, Plan
from tests.client import Api
from tests.holders import EARLIER, hold

SEATS = {"feature_id": "seats", "name": "Seats", "type": "metered", "consumable": False}
SUMMARIES = {"feature_id": "summaries", "name": "Meeting Summaries", "type": "metered", "consumable": True}
REQUESTS = {"feature_id": "requests", "name": "API Requests", "type": "metered", "consumable": True}
TEAM = {
    "plan_id": "team",
    "name": "Team",
    "licenses": [],
    "group": "",
    "add_on": False,
    "auto_enable": False,
    "price": {"amount": 30, "interval": "month"},
    "items": [
        {
            "feature_id": "seats",
            "included": 1,
            "price": {"interval": "month", "billing_units": 1, "billing_method": "usage_based", "amount": 30},
        },
        {"feature_id": "summaries", "entity_feature_id": "seats", "included": 50, "reset": {"interval": "month"}},
    ],
    "free_trial": None,
}
FREE = {
    "plan_id": "workspace_free",
    "name": "Workspace Free",
    "licenses": [],
    "group": "workspace",
    "add_on": False,
    "auto_enable": False,
    "items": [{"feature_id": "requests", "included": 100, "reset": {"interval": "month"}}],
    "price": None,
    "free_trial": None,
}


def catalogue(features: list[dict[str, Any]], plans: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """A body as `atmn push` sends it."""
    return {
        "features": copy.deepcopy(features),
        "plans": copy.deepcopy(plans),
        "rewards": [],
        "referral_programs": [],
        "skip_deletions": False,
        "skip_feature_ids": [],
        "skip_plan_ids": [],
        **fields,
    }


SEATS_STORY = catalogue([SEATS, SUMMARIES], [TEAM])
WORKSPACES_STORY = catalogue([REQUESTS], [FREE])


def preview(api: Api, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What would happen to features and plans, by id."""
    shown = api.post("catalog.preview_update", **body)
    assert shown["reward_changes"] == shown["referral_program_changes"] == []
    assert all(change["variants"] == [] for change in shown["plan_changes"])
    features = {change["feature_id"]: change for change in shown["feature_changes"]}
    return features, {change["plan_id"]: change for change in shown["plan_changes"]}


def actions(api: Api, body: dict[str, Any]) -> dict[str, str]:
    """The action for each feature and plan; `archive` where removing comes to that."""
    features, plans = preview(api, body)
    return {
        one: "archive" if change["will_archive"] else change["action"] for one, change in {**features, **plans}.items()
    }


def push(api: Api, body: dict[str, Any]) -> None:
    """Push, and find that it did what the preview said: afterwards there is nothing left to do."""
    api.post("catalog.update", **body)
    assert set(actions(api, body).values()) <= {"none", "skipped"}


def test_a_first_push_creates_everything(api: Api) -> None:
    assert actions(api, SEATS_STORY) == {"seats": "create", "summaries": "create", "team": "created"}
    assert not Feature.objects.exists()
    push(api, SEATS_STORY)
    team = api.post("plans.get", plan_id="team")
    assert [item["entity_feature_id"] for item in team["items"]] == [None, "seats"]


def test_a_preview_has_every_key_that_atmn_reads(api: Api) -> None:
    features, plans = preview(api, SEATS_STORY)
    assert features["seats"] == {
        "feature_id": "seats",
        "action": "create",
        "will_archive": False,
        "blocked": False,
        "blocked_reason": None,
        "previous_attributes": None,
    }
    team = plans["team"]
    assert {name: team[name] for name in ("action", "versionable", "has_customers", "customer_count")} == {
        "action": "created",
        "versionable": False,
        "has_customers": False,
        "customer_count": 0,
    }
    assert [change["action"] for change in team["item_changes"]] == ["created", "created"]
    assert team["price_change"]["current"]["amount"] == 30


def test_a_push_answers_with_what_is_there_now(api: Api) -> None:
    answer = api.post("catalog.update", **SEATS_STORY)
    assert [one["id"] for one in answer["features"]] == ["seats", "summaries"]
    assert [one["id"] for one in answer["plans"]] == ["team"]
    assert (answer["rewards"], answer["referral_programs"]) == ([], [])


@pytest.mark.parametrize(
    "plain",
    [
        {"description": None},
        {"group": None},
        {"free_trial": None, "billing_controls": {}},
        {"price": {"amount": Decimal("30.0"), "interval": "month", "interval_count": 1}},
        {"billing_controls": {"usage_limits": [], "overage_allowed": None}},
        {"metadata": {}, "config": {}, "variants": [], "licenses": None},
    ],
)
def test_empty_missing_null_and_default_say_the_same(api: Api, plain: dict[str, Any]) -> None:
    push(api, SEATS_STORY)
    body = catalogue([SEATS, SUMMARIES], [{**TEAM, **plain}])
    assert set(actions(api, body).values()) == {"none"}


def test_item_fields_left_out_mean_their_defaults(api: Api) -> None:
    push(api, SEATS_STORY)
    told: dict[str, Any] = copy.deepcopy(TEAM)
    seats, summaries = told["items"]
    seats |= {"unlimited": False, "pooled": False, "entity_feature_id": None, "reset": None, "rollover": None}
    seats["price"] |= {"interval_count": 1, "max_purchase": None, "tiers": None, "tier_behavior": None}
    summaries["reset"]["interval_count"] = 1
    assert set(actions(api, catalogue([SEATS, SUMMARIES], [told])).values()) == {"none"}


def as_pulled(api: Api) -> dict[str, Any]:
    """A catalogue made of what the lists show, as `atmn pull` writes it and `atmn push` sends it again."""
    features, plans = [], []
    for shown in api.post("features.list")["list"]:
        feature = {name: shown[name] for name in ("name", "type", "event_names") if shown[name]}
        if shown["type"] == "metered":
            feature["consumable"] = shown["consumable"]
        if shown["credit_schema"]:
            feature["credit_schema"] = shown["credit_schema"]
        features.append({"feature_id": shown["id"], **feature})
    for shown in api.post("plans.list", include_archived=True)["list"]:
        plan = {name: shown[name] for name in ("name", "add_on", "auto_enable", "archived")}
        plan |= {
            "plan_id": shown["id"],
            "group": shown["group"] or "",
            "items": [pulled_item(i) for i in shown["items"]],
        }
        price, trial = shown["price"], shown["free_trial"]
        plan["price"] = price and {"amount": price["amount"], "interval": price["interval"]}
        kept = ("duration_length", "duration_type", "card_required")
        plan["free_trial"] = trial and {name: trial[name] for name in kept}
        if shown["billing_controls"]:
            plan["billing_controls"] = shown["billing_controls"]
        if shown["description"]:
            plan["description"] = shown["description"]
        plans.append(plan)
    return catalogue(features, plans)


def pulled_item(shown: dict[str, Any]) -> dict[str, Any]:
    item = {name: shown[name] for name in ("feature_id", "entity_feature_id") if shown[name]}
    if shown["unlimited"]:
        item["unlimited"] = True
    else:
        item["included"] = shown["included"]
    if shown["pooled"]:
        item["pooled"] = True
    reset, price, rollover = shown["reset"], shown["price"], shown["rollover"]
    spans = [(one["interval"], one["interval_count"]) for one in (reset, price) if one]
    if reset and (not price or spans[0] != spans[1]):  # atmn leaves out a reset that equals the price's interval
        item["reset"] = reset
    if price:
        item["price"] = {name: value for name, value in price.items() if name != "additional_currencies"}
    if shown["proration"]:
        item["proration"] = shown["proration"]
    if rollover:
        maximum = {"max": rollover["max"] or 0} if rollover["max_percentage"] is None else {}
        share = {} if rollover["max_percentage"] is None else {"max_percentage": rollover["max_percentage"]}
        kept = {name: rollover[name] for name in ("expiry_duration_type", "expiry_duration_length")}
        item["rollover"] = {**maximum, **share, **kept}
    return item


def test_a_push_of_what_was_pulled_finds_nothing_to_do(api: Api) -> None:
    monthly = {"interval": "month", "billing_method": "usage_based"}
    tiers = [{"to": 100, "amount": Decimal("0.5"), "flat_amount": 3}, {"to": "inf", "amount": Decimal("0.25")}]
    rich = {
        "plan_id": "rich",
        "name": "Rich",
        "description": "All of it",
        "price": {"amount": 99, "interval": "month", "interval_count": 3},
        "free_trial": {"duration_length": 14, "duration_type": "day", "on_end": "revert"},
        "billing_controls": {
            "usage_limits": [{"feature_id": "requests", "limit": 7, "interval": "day"}],
            "spend_limits": [{"feature_id": "requests", "enabled": True, "overage_limit": Decimal("2.5")}],
        },
        "items": [
            {"feature_id": "requests", "included": 10, "price": {**monthly, "tiers": tiers}},
            {"feature_id": "requests", "pooled": True, "reset": {"interval": "week", "interval_count": 2}},
            {
                "feature_id": "summaries",
                "included": 5,
                "reset": {"interval": "month"},
                "rollover": {"expiry_duration_type": "forever"},
            },
            {
                "feature_id": "summaries",
                "entity_feature_id": "seats",
                "included": 5,
                "reset": {"interval": "day"},
                "rollover": {"max_percentage": Decimal("12.5"), "expiry_duration_type": "month"},
            },
            {
                "feature_id": "seats",
                "price": {**monthly, "amount": 9},
                "proration": {"on_increase": "bill_immediately", "on_decrease": "none"},
            },
            {"feature_id": "credits", "unlimited": True},
            {"feature_id": "sso"},
            {
                "feature_id": "credits",
                "price": {"interval": "one_off", "billing_method": "prepaid", "amount": 1, "max_purchase": 50},
            },
        ],
    }
    system = {
        "feature_id": "credits",
        "name": "Credits",
        "type": "credit_system",
        "credit_schema": [
            {"metered_feature_id": "summaries", "credit_cost": 3},
            {"metered_feature_id": "requests", "credit_cost": Decimal("0.2")},
        ],
    }
    switch = {"feature_id": "sso", "name": "SSO", "type": "boolean"}
    told = {**REQUESTS, "event_names": ["b", "a"]}
    push(api, catalogue([SEATS, SUMMARIES, told, system, switch], [TEAM, rich]))
    api.post("plans.create", plan_id="old", name="Old")
    api.post("plans.update", plan_id="old", archived=True)
    assert set(actions(api, as_pulled(api)).values()) == {"none"}
    before = api.post("plans.list", include_archived=True)
    push(api, as_pulled(api))
    assert api.post("plans.list", include_archived=True) == before


def test_credit_systems_may_come_before_what_they_pay_for(api: Api) -> None:
    schema = [{"metered_feature_id": "summaries", "credit_cost": 2}]
    system = {"feature_id": "credits", "name": "Credits", "type": "credit_system", "credit_schema": schema}
    push(api, catalogue([system, SUMMARIES], []))
    assert api.post("features.get", feature_id="credits")["credit_schema"] == schema
    push(api, catalogue([], []))
    assert not Feature.objects.exists()


def test_what_is_not_pushed_is_removed_when_nobody_uses_it(api: Api) -> None:
    push(api, SEATS_STORY)
    expected = {
        "requests": "create",
        "workspace_free": "created",
        "team": "deleted",
        "seats": "remove",
        "summaries": "remove",
    }
    assert actions(api, WORKSPACES_STORY) == expected
    push(api, WORKSPACES_STORY)
    assert [plan.slug for plan in Plan.objects.all()] == ["workspace_free"]
    assert [feature.slug for feature in Feature.objects.all()] == ["requests"]


def test_what_customers_hold_is_archived_instead_and_comes_back(api: Api) -> None:
    push(api, SEATS_STORY)
    hold("team")
    body = WORKSPACES_STORY
    assert [actions(api, body)[one] for one in ("team", "seats", "summaries")] == ["archive"] * 3
    push(api, body)
    assert api.post("plans.get", plan_id="team")["archived"] is True
    assert api.post("features.get", feature_id="seats")["archived"] is True
    # atmn brings back what its config has before it pushes
    for one in ("features/seats", "features/summaries", "products/team"):
        api.post(one, archived=False)
    push(api, SEATS_STORY)
    assert api.post("plans.get", plan_id="team")["archived"] is False


def test_a_feature_with_entities_is_archived(api: Api) -> None:
    push(api, SEATS_STORY)
    acme = Customer.objects.create(external_id="acme", created_at=EARLIER)
    seats = Feature.objects.get(slug="seats")
    Entity.objects.create(customer=acme, external_id="alice", feature=seats, created_at=EARLIER)
    found = actions(api, WORKSPACES_STORY)
    assert [found[one] for one in ("team", "seats", "summaries")] == ["deleted", "archive", "remove"]
    push(api, WORKSPACES_STORY)


def test_a_new_plan_may_use_an_archived_feature_only_if_that_is_pushed_with_it(api: Api) -> None:
    push(api, SEATS_STORY)
    hold("team")
    push(api, WORKSPACES_STORY)
    crew = {**TEAM, "plan_id": "crew"}
    assert actions(api, catalogue([SEATS, SUMMARIES], [crew]))["crew"] == "created"
    error = api.refused(400, "catalog.preview_update", **catalogue([REQUESTS], [crew]))
    assert "seats is archived" in error["message"]


def test_deletions_come_after_the_plans_of_the_request(api: Api) -> None:
    push(api, SEATS_STORY)
    shown = api.post("catalog.preview_update", **WORKSPACES_STORY)
    assert [change["plan_id"] for change in shown["plan_changes"]] == ["workspace_free", "team"]


@pytest.mark.parametrize(
    "fields",
    [{"skip_deletions": True}, {"skip_plan_ids": ["team"], "skip_feature_ids": ["seats", "summaries"]}],
)
def test_deletions_can_be_skipped(api: Api, fields: dict[str, Any]) -> None:
    push(api, SEATS_STORY)
    push(api, {**WORKSPACES_STORY, **fields})
    assert {plan.slug for plan in Plan.objects.all()} == {"team", "workspace_free"}


def test_an_empty_body_removes_nothing(api: Api) -> None:
    push(api, SEATS_STORY)
    api.post("catalog.update")
    assert (Feature.objects.count(), Plan.objects.count()) == (2, 1)


def test_a_skipped_plan_stays_as_it_is(api: Api) -> None:
    push(api, SEATS_STORY)
    body = catalogue([SEATS, SUMMARIES], [{**TEAM, "name": "Crew"}], skip_plan_ids=["team"])
    assert actions(api, body)["team"] == "skipped"
    push(api, body)
    assert api.post("plans.get", plan_id="team")["name"] == "Team"


def dearer(**fields: Any) -> dict[str, Any]:
    """The seats story with the plan at 40."""
    return catalogue([SEATS, SUMMARIES], [{**TEAM, "price": {"amount": 40, "interval": "month"}, **fields}])


def test_a_plan_without_customers_is_updated_in_place(api: Api) -> None:
    push(api, SEATS_STORY)
    _, plans = preview(api, dearer())
    assert (plans["team"]["action"], plans["team"]["versionable"]) == ("updated", False)
    assert plans["team"]["price_change"]["previous"]["amount"] == 30
    push(api, dearer())
    assert api.post("plans.get", plan_id="team")["version"] == 1


def test_new_terms_for_a_plan_with_customers_make_a_version(api: Api) -> None:
    push(api, SEATS_STORY)
    hold("team")
    hold("team", by="globex", status="expired")
    _, plans = preview(api, dearer())
    team = plans["team"]
    assert (team["action"], team["versionable"], team["has_customers"], team["customer_count"]) == (
        "updated",
        True,
        True,
        1,
    )
    push(api, dearer())
    assert api.post("plans.get", plan_id="team")["version"] == 2
    assert api.post("plans.get", plan_id="team", version=1)["price"]["amount"] == 30


def test_a_rename_makes_no_version(api: Api) -> None:
    push(api, SEATS_STORY)
    hold("team")
    body = catalogue([SEATS, SUMMARIES], [{**TEAM, "name": "Crew"}])
    _, plans = preview(api, body)
    assert (plans["team"]["action"], plans["team"]["versionable"]) == ("updated", False)
    assert plans["team"]["previous_attributes"] == {"name": "Team"}
    push(api, body)
    assert api.post("plans.get", plan_id="team")["version"] == 1


def test_disable_version_updates_in_place_and_says_so(api: Api) -> None:
    push(api, SEATS_STORY)
    hold("team")
    body = dearer(disable_version=True, migration={"draft": False})
    assert preview(api, body)[1]["team"]["versionable"] is False
    push(api, body)
    assert api.post("plans.get", plan_id="team")["version"] == 1


def test_all_versions_updates_the_old_ones_too(api: Api) -> None:
    push(api, SEATS_STORY)
    hold("team")
    api.post("plans.update", plan_id="team", force_version=True)
    push(api, dearer(all_versions=True))
    assert api.post("plans.get", plan_id="team", version=1)["price"]["amount"] == 40


def test_versions_can_be_pushed_one_by_one(api: Api) -> None:
    rows = [{**TEAM, "version": 1}, {**TEAM, "version": 2, "price": {"amount": 40, "interval": "month"}}]
    body = catalogue([SEATS, SUMMARIES], rows)
    push(api, body)
    assert [plan["version"] for plan in api.post("plans.list", all_versions=True)["list"]] == [1, 2]
    assert api.post("plans.get", plan_id="team")["price"]["amount"] == 40


def test_a_feature_that_customers_have_is_not_turned_into_another(api: Api) -> None:
    push(api, SEATS_STORY)
    hold("team")
    acme, seats = Customer.objects.get(external_id="acme"), Feature.objects.get(slug="seats")
    Entity.objects.create(customer=acme, external_id="alice", feature=seats, created_at=EARLIER)
    body = catalogue([{**SEATS, "consumable": True}, SUMMARIES], [TEAM])
    features, _ = preview(api, body)
    change = features["seats"]
    assert (change["action"], change["blocked"], change["blocked_reason"]) == ("update", True, "has_customers")
    api.post("catalog.update", **body)
    assert api.post("features.get", feature_id="seats")["consumable"] is False


def test_a_feature_changes_its_nature_together_with_the_plans_that_use_it(api: Api) -> None:
    push(api, catalogue([{**REQUESTS, "consumable": False}], [{**FREE, "items": [{"feature_id": "requests"}]}]))
    push(api, WORKSPACES_STORY)
    assert api.post("features.get", feature_id="requests")["consumable"] is True


def test_a_plan_must_fit_the_features_as_they_will_be(api: Api) -> None:
    push(api, WORKSPACES_STORY)
    body = catalogue([{**REQUESTS, "consumable": False}], [FREE])
    for call in ("catalog.preview_update", "catalog.update"):
        assert "items[0].reset" in api.refused(400, call, **body)["message"]
    assert api.post("features.get", feature_id="requests")["consumable"] is True


def test_a_push_is_all_or_nothing(api: Api) -> None:
    bad = {**FREE, "items": [{"feature_id": "nothing"}]}
    body = catalogue([SEATS, SUMMARIES], [TEAM, bad])
    assert api.refused(404, "catalog.update", **body)["code"] == "feature_not_found"
    assert not Feature.objects.exists()
    assert not Plan.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (catalogue([SEATS, SEATS], []), "features"),
        (catalogue([REQUESTS], [FREE, FREE]), "plans"),
        (catalogue([{**SEATS, "type": "x"}], []), "features[0].type"),
        (catalogue([REQUESTS], [{**FREE, "items": [{}]}]), "plans[0].items[0].feature_id"),
        (catalogue([], [], rewards=[{"id": "half-off"}]), "rewards"),
        (catalogue([], [], skip_plan_ids="team"), "skip_plan_ids"),
        ({"features": 5}, "features"),
    ],
)
def test_a_catalogue_that_makes_no_sense_is_refused_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    for call in ("catalog.preview_update", "catalog.update"):
        error = api.refused(400, call, **body)
        assert error["code"] == "invalid_inputs"
        assert error["message"].startswith(field)


def test_two_plans_of_a_group_cannot_both_start_by_themselves(api: Api) -> None:
    two = [{**FREE, "auto_enable": True}, {**FREE, "auto_enable": True, "plan_id": "other"}]
    assert "auto_enable" in api.refused(400, "catalog.update", **catalogue([REQUESTS], two))["message"]
    push(api, catalogue([REQUESTS], two[:1]))
    push(api, catalogue([REQUESTS], [two[1], FREE]))  # the switch moves from one to the other


def test_a_preview_takes_the_same_queries_however_many_plans_there_are(
    api: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    many = [{**TEAM, "plan_id": f"team_{number}"} for number in range(20)]
    push(api, catalogue([SEATS, SUMMARIES], many))
    hold("team_3")
    with django_assert_num_queries(8):
        api.post("catalog.preview_update", **catalogue([SEATS, SUMMARIES], many))


def test_atmn_finds_no_rewards_to_pull(api: Api) -> None:
    assert api.post("rewards.list") == {"coupons": [], "feature_grants": []}
    assert api.post("referral_programs.list") == {"list": []}


@pytest.mark.django_db(transaction=True)
def test_two_pushes_at_once_end_as_one_of_them_alone(api: Api) -> None:
    stories = [SEATS_STORY, WORKSPACES_STORY]
    start = threading.Barrier(len(stories))

    def run(body: dict[str, Any]) -> int:
        try:
            start.wait()
            return int(Api(**key).send("catalog.update", body).status_code)
        finally:
            connection.close()

    key = {"secret": api.headers["Authorization"].removeprefix("Bearer ")}
    with ThreadPoolExecutor(len(stories)) as pool:
        for _ in range(5):
            assert list(pool.map(run, stories)) == [200, 200]
            in_sync = [set(actions(api, body).values()) == {"none"} for body in stories]
            assert sorted(in_sync) == [False, True]


@pytest.mark.django_db(transaction=True)
def test_a_push_waits_for_whoever_else_changes_the_catalogue_and_reading_does_not(api: Api) -> None:
    done = threading.Event()

    def run() -> None:
        api.post("catalog.update", **SEATS_STORY)
        done.set()
        connection.close()

    with transaction.atomic():
        store.lock()
        other = threading.Thread(target=run)
        other.start()
        assert not done.wait(0.3)
        assert api.post("plans.list")["list"] == []
    other.join(10)
    assert done.is_set()

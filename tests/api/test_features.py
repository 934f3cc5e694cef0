"""features.* and their REST twins."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from entities.models import Customer, Entity
from plans.models import Feature
from tests.client import Api

SEATS = {"feature_id": "seats", "name": "Seats", "type": "metered", "consumable": False}
SUMMARIES = {"feature_id": "summaries", "name": "Meeting Summaries", "type": "metered", "consumable": True}
CREDITS = {
    "feature_id": "credits",
    "name": "Credits",
    "type": "credit_system",
    "credit_schema": [{"metered_feature_id": "summaries", "credit_cost": Decimal("0.2")}],
}
NOW = datetime(2026, 4, 1, tzinfo=UTC)


def test_a_feature_is_shown_with_every_known_key(api: Api) -> None:
    assert api.post("features.create", **SEATS) == {
        "id": "seats",
        "name": "Seats",
        "type": "metered",
        "consumable": False,
        "event_names": [],
        "credit_schema": None,
        "model_markups": None,
        "default_markup": None,
        "provider_markups": None,
        "display": None,
        "archived": False,
    }
    assert api.post("features.get", feature_id="seats")["name"] == "Seats"


def test_a_credit_system_keeps_its_costs_exactly(api: Api) -> None:
    api.post("features.create", **SUMMARIES)
    made = api.post("features.create", **CREDITS)
    assert made["consumable"] is True
    assert made["credit_schema"] == [{"metered_feature_id": "summaries", "credit_cost": Decimal("0.2")}]
    dearer = [{"metered_feature_id": "summaries", "credit_cost": 3}]
    assert api.post("features.update", feature_id="credits", credit_schema=dearer)["credit_schema"] == dearer


def test_display_names_and_event_names_come_back(api: Api) -> None:
    display = {"singular": "summary", "plural": "summaries"}
    made = api.post("features.create", **SUMMARIES, display=display, event_names=["summarised", "summarised", "retold"])
    assert made["display"] == display
    assert made["event_names"] == ["summarised", "retold"]


def test_a_second_feature_with_the_same_id_is_refused(api: Api) -> None:
    api.post("features.create", **SEATS)
    assert api.refused(409, "features.create", **SEATS)["code"] == "duplicate_feature_id"


@pytest.mark.parametrize("call", ["features.get", "features.update", "features.delete"])
def test_an_unknown_feature_is_not_found(api: Api, call: str) -> None:
    assert api.refused(404, call, feature_id="nothing")["code"] == "feature_not_found"


def test_the_list_has_archived_features_too_in_the_order_they_were_made(api: Api) -> None:
    for body in (SUMMARIES, SEATS):
        api.post("features.create", **body)
    api.post("features.update", feature_id="seats", archived=True)
    listed = api.post("features.list")["list"]
    assert [(one["id"], one["archived"]) for one in listed] == [("summaries", False), ("seats", True)]


def test_listing_features_takes_two_queries_however_many_there_are(
    api: Api, django_assert_num_queries: "pytest.FixtureRequest"
) -> None:
    api.post("features.create", **SUMMARIES)
    api.post("features.create", **CREDITS)
    api.post("features.list")
    for number in range(20):
        api.post("features.create", **{**CREDITS, "feature_id": f"credits_{number}"})
    with django_assert_num_queries(2):  # type: ignore[operator]
        assert len(api.post("features.list")["list"]) == 22


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"type": "single_use"}, "type"),
        ({"type": None}, "type"),
        ({"consumable": "yes"}, "consumable"),
        ({"consumable": None}, "consumable"),
        ({"feature_id": ""}, "feature_id"),
        ({"feature_id": "x" * 101}, "feature_id"),
        ({"feature_id": ["seats"]}, "feature_id"),
        ({"event_names": "signup"}, "event_names"),
        ({"event_names": [""]}, "event_names"),
        ({"display": "seat"}, "display"),
        ({"credit_schema": [{"metered_feature_id": "a", "credit_cost": 1}]}, "credit_schema"),
        ({"type": "credit_system"}, "credit_schema"),
        ({"type": "ai_credit_system"}, "type"),
    ],
)
def test_a_feature_that_makes_no_sense_is_refused_by_field(api: Api, change: dict[str, object], field: str) -> None:
    error = api.refused(400, "features.create", **{**SEATS, **change})
    assert error["code"] == "invalid_inputs"
    assert error["message"].startswith(field)


@pytest.mark.parametrize(
    ("schema", "status"),
    [
        ([], 400),
        ([{"metered_feature_id": "summaries"}], 400),
        ([{"metered_feature_id": "summaries", "credit_cost": 0}], 400),
        ([{"metered_feature_id": "summaries", "credit_cost": -1}], 400),
        ([{"metered_feature_id": "summaries", "credit_cost": 1}] * 2, 400),
        ([{"metered_feature_id": "nothing", "credit_cost": 1}], 404),
        ([{"metered_feature_id": "credits", "credit_cost": 1}], 404),
    ],
)
def test_a_credit_schema_that_makes_no_sense_is_refused(api: Api, schema: list[object], status: int) -> None:
    api.post("features.create", **SUMMARIES)
    api.refused(status, "features.create", **{**CREDITS, "credit_schema": schema})


def test_a_feature_that_nobody_uses_can_change_its_nature_and_its_id(api: Api) -> None:
    api.post("features.create", **SEATS)
    changed = api.post("features.update", feature_id="seats", new_feature_id="words", consumable=True)
    assert (changed["id"], changed["consumable"]) == ("words", True)
    api.refused(404, "features.get", feature_id="seats")


def test_a_feature_that_customers_have_keeps_its_nature_and_its_id(api: Api) -> None:
    api.post("features.create", **SEATS)
    acme = Customer.objects.create(external_id="acme", created_at=NOW)
    seats = Feature.objects.get(slug="seats")
    Entity.objects.create(customer=acme, external_id="alice", feature=seats, created_at=NOW)
    for change in ({"consumable": True}, {"new_feature_id": "chairs"}):
        error = api.refused(400, "features.update", feature_id="seats", **change)
        assert error["code"] == "feature_in_use"
    assert api.post("features.update", feature_id="seats", name="Chairs")["name"] == "Chairs"
    assert api.refused(400, "features.delete", feature_id="seats")["code"] == "feature_in_use"


def test_a_feature_of_a_plan_or_a_credit_system_cannot_be_deleted(api: Api) -> None:
    for body in (SEATS, SUMMARIES, CREDITS):
        api.post("features.create", **body)
    api.post("plans.create", plan_id="team", name="Team", items=[{"feature_id": "seats", "included": 1}])
    assert "team" in api.refused(400, "features.delete", feature_id="seats")["message"]
    api.refused(400, "features.delete", feature_id="summaries")
    api.post("features.delete", feature_id="credits")
    assert api.post("features.delete", feature_id="summaries") == {"success": True}


def test_an_archived_feature_comes_back_by_rest(api: Api) -> None:
    api.post("features.create", **SEATS)
    api.post("features.update", feature_id="seats", archived=True)
    assert api.post("features/seats", archived=False)["archived"] is False


def test_a_feature_is_deleted_by_rest(api: Api) -> None:
    api.post("features.create", **SEATS)
    assert api.send("features/seats", method="DELETE").status_code == 200
    api.refused(404, "features.get", feature_id="seats")
    assert api.send("features/seats", method="GET").status_code == 405

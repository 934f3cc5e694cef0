"""Whatever is sent to the catalogue's calls, the answer is 200 or a 4xx that says why."""

import copy
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.test_catalog import FREE, REQUESTS, SEATS, SUMMARIES, TEAM, catalogue
from tests.client import Api, read
from tests.effort import tries

RICH: dict[str, Any] = {
    **TEAM,
    "free_trial": {"duration_length": 14, "duration_type": "day"},
    "metadata": {"a": 1},
    "config": {"ignore_past_due": True},
    "billing_controls": {
        "usage_limits": [{"feature_id": "seats", "limit": 7, "interval": "day", "filter": {"properties": {"m": "x"}}}],
        "auto_topups": [{"feature_id": "seats", "threshold": 5, "quantity": 10, "purchase_limit": None}],
    },
    "items": [
        *TEAM["items"],  # type: ignore[misc]
        {
            "feature_id": "requests",
            "included": 100,
            "price": {
                "interval": "month",
                "billing_method": "prepaid",
                "billing_units": 100,
                "tiers": [{"to": 200, "amount": 2}, {"to": "inf", "amount": 1}],
            },
            "rollover": {"max": 7, "expiry_duration_type": "month"},
            "proration": {"on_increase": "bill_immediately", "on_decrease": "none"},
        },
    ],
}
BODIES: dict[str, dict[str, Any]] = {
    "features.create": SEATS,
    "features.update": {**SEATS, "new_feature_id": "s2", "credit_schema": [{"metered_feature_id": "a"}]},
    "plans.create": RICH,
    "plans.update": {**RICH, "version": 1, "disable_version": True, "new_plan_id": "team2"},
    "plans.get": {"plan_id": "team", "version": 1, "customer_id": "c", "entity_id": "e"},
    "plans.list": {"customer_id": "c", "include_archived": True},
    "plans.delete": {"plan_id": "team", "all_versions": True},
    "catalog.preview_update": catalogue([SEATS, SUMMARIES, REQUESTS], [RICH, FREE]),
    "catalog.update": catalogue([SEATS, SUMMARIES, REQUESTS], [RICH, FREE], skip_plan_ids=["x"]),
}
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, False, 0, -1, 1, 5, 10**13, 10**19, 10**25, 2**63, Decimal("0.1"), Decimal("1E+30"),
        Decimal("1E-30"), Decimal("1.00000000000000000001"), "", " ", "seats", "summaries", "team", "inf",
        "month", "x" * 5000, "\x00", "\x1b", "é", "\U0001f600", [], [[]], {}, {"a": {}}, [None], ["seats"], [{}],
    ]
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in a JSON value."""
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


def put(body: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace what is at `path`, if an earlier replacement left anything there."""
    *parents, last = path
    try:
        for key in parents:
            body = body[key]
        body[last] = value
    except (KeyError, IndexError, TypeError):
        pass


@pytest.fixture(scope="module")
def catalog(stage: Api) -> Api:
    for feature in (SEATS, SUMMARIES, REQUESTS):
        read(stage.send("features.create", feature), 200)
    read(stage.send("plans.create", RICH), 200)
    return stage


@pytest.fixture
def stocked(catalog: Api, db: None) -> Api:
    """With three features and a rich plan."""
    return catalog


@pytest.mark.parametrize("call", BODIES)
@settings(max_examples=tries(20, 400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_junk_is_refused_with_a_reason(stocked: Api, call: str, data: st.DataObject) -> None:
    body = copy.deepcopy(BODIES[call])
    for path in data.draw(st.lists(st.sampled_from(places(BODIES[call])), min_size=1, max_size=2)):
        put(body, path, copy.deepcopy(data.draw(JUNK)))
    with transaction.atomic():
        response = stocked.send(call, body)
        transaction.set_rollback(True)
    assert response.status_code < 500, body
    if response.status_code != 200:
        error = read(response, response.status_code)
        assert error["message"].endswith(".")
        assert error["code"]

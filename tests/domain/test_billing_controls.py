"""Billing controls: what is read is stored exactly and rendered as it was."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from config.api import encode
from config.api.failures import first_problem
from plans.api import shapes
from plans.api.controls import BillingControlsField

FIELD = BillingControlsField()
numbers = st.decimals(min_value=0, max_value=10**12, places=6)


def problem(controls: Any, field: BillingControlsField = FIELD) -> str:
    with pytest.raises(ValidationError) as refused:
        field.run_validation(controls)
    return first_problem(refused.value.get_full_details(), "billing_controls")


@given(numbers, numbers, numbers)
def test_numbers_come_back_exactly(limit: Decimal, overage: Decimal, threshold: Decimal) -> None:
    stored = FIELD.run_validation(
        {
            "usage_limits": [{"feature_id": "calls", "limit": limit, "interval": "day"}],
            "spend_limits": [{"feature_id": "calls", "overage_limit": overage}],
            "usage_alerts": [{"feature_id": "calls", "threshold": threshold, "threshold_type": "usage"}],
        }
    )
    encode(stored)  # plain JSON, no Decimal in it
    assert b"E" not in encode(stored)
    shown = shapes.billing_controls(stored)
    assert shown["usage_limits"][0]["limit"] == limit
    assert shown["spend_limits"][0]["overage_limit"] == overage
    assert shown["usage_alerts"][0]["threshold"] == threshold
    assert FIELD.run_validation(shown) == stored


def test_defaults_are_those_of_the_contract() -> None:
    stored = FIELD.run_validation(
        {
            "usage_limits": [{"feature_id": "calls", "limit": 5, "interval": "month"}],
            "spend_limits": [{"feature_id": "calls"}],
            "overage_allowed": [{"feature_id": "calls"}],
            "usage_alerts": [{"feature_id": "calls", "threshold": 80, "threshold_type": "usage_percentage"}],
            "auto_topups": [{"feature_id": "calls", "threshold": 1, "quantity": 10}],
        }
    )
    enabled = {kind: entries[0]["enabled"] for kind, entries in stored.items()}
    assert enabled == {
        "usage_limits": True,
        "spend_limits": False,
        "overage_allowed": False,
        "usage_alerts": True,
        "auto_topups": False,
    }
    assert stored["usage_limits"][0]["anchor"] == "billing_cycle"


def test_lists_that_are_missing_or_null_are_left_out_and_empty_ones_are_kept() -> None:
    assert FIELD.run_validation({"usage_limits": None, "spend_limits": [], "unknown": [1]}) == {"spend_limits": []}


def test_entities_have_no_automatic_top_ups() -> None:
    field = BillingControlsField(auto_topups=False)
    assert field.run_validation({"auto_topups": [{"nonsense": True}]}) == {}


def test_usage_is_shown_beside_the_limit_that_counts_it() -> None:
    limits = [{"feature_id": one, "limit": 5, "interval": "day"} for one in ("calls", "words")]
    shown = shapes.billing_controls(FIELD.run_validation({"usage_limits": limits}), [Decimal(3), Decimal(0)])
    assert [(limit["feature_id"], limit["usage"]) for limit in shown["usage_limits"]] == [("calls", 3), ("words", 0)]


def test_one_feature_may_have_a_limit_for_each_interval_and_filter() -> None:
    entry = {"feature_id": "calls", "limit": 5, "interval": "day"}
    filtered = {**entry, "filter": {"properties": {"model": "large", "batch": True, "size": 5}}}
    assert (
        len(FIELD.run_validation({"usage_limits": [entry, {**entry, "interval": "week"}, filtered]})["usage_limits"])
        == 3
    )


@pytest.mark.parametrize(
    ("kind", "entries", "field"),
    [
        ("spend_limits", [{"overage_limit": 10}], "spend_limits[0].feature_id"),
        (
            "spend_limits",
            [{"feature_id": "a"}, {"feature_id": "a", "overage_limit": 3}],
            "spend_limits has two entries",
        ),
        ("spend_limits", [{"feature_id": "a", "overage_limit": -1}], "spend_limits[0].overage_limit"),
        ("spend_limits", [{"feature_id": "a", "limit_type": "relative"}], "spend_limits[0].limit_type"),
        ("overage_allowed", [{"feature_id": "a", "enabled": "yes"}], "overage_allowed[0].enabled"),
        ("overage_allowed", [{"feature_id": "a"}] * 2, "overage_allowed has two entries"),
        ("usage_limits", [{"feature_id": "a", "limit": 1, "interval": "day"}] * 2, "usage_limits has two entries"),
        ("usage_limits", [{"feature_id": "a", "limit": "1", "interval": "day"}], "usage_limits[0].limit"),
        ("usage_limits", [{"feature_id": "a", "limit": 1, "interval": "hour"}], "usage_limits[0].interval"),
        ("usage_limits", [{"feature_id": "a", "limit": 1, "interval": "day", "filter": {}}], "usage_limits[0].filter"),
        (
            "usage_limits",
            [{"feature_id": "a", "limit": 1, "interval": "day", "filter": {"properties": dict.fromkeys("abcde", 1)}}],
            "usage_limits[0].filter",
        ),
        (
            "usage_limits",
            [{"feature_id": "a", "limit": 1, "interval": "day", "filter": {"properties": {"a": Decimal("1E+999999")}}}],
            "usage_limits[0].filter",
        ),
        (
            "usage_alerts",
            [{"feature_id": "a", "threshold": 101, "threshold_type": "remaining_percentage"}],
            "usage_alerts[0].threshold",
        ),
        ("usage_alerts", [{"feature_id": "a", "threshold": 1}], "usage_alerts[0].threshold_type"),
        ("auto_topups", [{"feature_id": "a", "threshold": 1, "quantity": 0}], "auto_topups[0].quantity"),
        (
            "auto_topups",
            [{"feature_id": "a", "threshold": 1, "quantity": 1, "purchase_limit": {"interval": "day"}}],
            "auto_topups[0].purchase_limit.limit",
        ),
        ("auto_topups", {"feature_id": "a"}, "auto_topups must be a list"),
        ("auto_topups", [5], "auto_topups[0]"),
        ("auto_topups", [{"feature_id": "a"}] * 101, "auto_topups must have at most"),
    ],
)
def test_entries_that_make_no_sense_are_refused_by_field(kind: str, entries: Any, field: str) -> None:
    assert problem({kind: entries}).startswith(f"billing_controls.{field}")


@pytest.mark.parametrize("controls", [[], "none", 5, True])
def test_controls_are_an_object(controls: Any) -> None:
    assert problem(controls) == "billing_controls must be an object."

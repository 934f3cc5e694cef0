"""Which control is in force, and what its window and headroom are: pure (spec/balances.md 11)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import controls
from billing.controls import SpendLimit

ANCHOR = datetime(2026, 1, 31, 9, tzinfo=UTC)
NOTHING: dict[str, Any] = {"entity": {}, "customer": {}, "plans": []}


def limits(most: str, interval: str = "month", **more: Any) -> dict[str, Any]:
    return {"usage_limits": [{"feature_id": "words", "enabled": True, "limit": most, "interval": interval, **more}]}


def allows(enabled: bool) -> dict[str, Any]:
    return {"overage_allowed": [{"feature_id": "words", "enabled": enabled}]}


def test_without_controls_nothing_is_in_force() -> None:
    assert controls.overage_allowed("words", **NOTHING) is None
    assert controls.usage_limits("words", **NOTHING) == []
    assert controls.spend_limit("words", **NOTHING) is None


@given(st.none() | st.booleans(), st.none() | st.booleans(), st.lists(st.booleans(), max_size=3))
def test_the_entity_speaks_before_the_customer_and_that_before_its_plans(
    entity: bool | None, customer: bool | None, plans: list[bool]
) -> None:
    said = controls.overage_allowed(
        "words",
        entity={} if entity is None else allows(entity),
        customer={} if customer is None else allows(customer),
        plans=[allows(plan) for plan in plans],
    )
    assert said is (
        entity if entity is not None else customer if customer is not None else (all(plans) if plans else None)
    )


def test_a_control_of_another_feature_says_nothing() -> None:
    assert controls.overage_allowed("other", entity=allows(True), customer={}, plans=[]) is None


def test_whose_counter_it_is_follows_from_where_the_limit_stands() -> None:
    (own,) = controls.usage_limits("words", entity=limits("5"), customer=limits("9"), plans=[])
    assert (int(own.limit), str(own.owner)) == (5, "entity")
    (shared,) = controls.usage_limits("words", entity={}, customer={}, plans=[limits("7")])
    assert (int(shared.limit), str(shared.owner)) == (7, "customer")


def test_a_disabled_entry_lifts_the_limits_beneath_it() -> None:
    assert controls.usage_limits("words", entity=limits("5", enabled=False), customer=limits("9"), plans=[]) == []


def test_of_several_plans_the_strictest_by_the_day_wins() -> None:
    plans = [limits("60"), limits("3", "day"), limits("700", "year"), limits("20", "week")]
    (found,) = controls.usage_limits("words", entity={}, customer={}, plans=plans)
    assert (found.interval, int(found.limit)) == ("year", 700)


def test_all_limits_of_one_layer_bind() -> None:
    both = {"usage_limits": [*limits("5", "day")["usage_limits"], *limits("60")["usage_limits"]]}
    for layers in ({"entity": both}, {"customer": both}, {"plans": [limits("900"), both]}):
        found = controls.usage_limits("words", **{**NOTHING, **layers})
        assert [(limit.interval, int(limit.limit)) for limit in found] == [("day", 5), ("month", 60)]


@given(
    st.sampled_from(["day", "week", "month", "year"]),
    st.sampled_from(["billing_cycle", "utc"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_every_instant_lies_in_exactly_one_window(interval: str, anchor: str, at: datetime) -> None:
    (found,) = controls.usage_limits("words", entity={}, customer=limits("5", interval, anchor=anchor), plans=[])
    start, end = found.window(at, ANCHOR)
    assert start <= at < end
    assert found.window(end, ANCHOR)[0] == end
    assert found.window(start, ANCHOR) == (start, end)
    assert found.window(end - timedelta(microseconds=1), ANCHOR) == (start, end)


@pytest.mark.parametrize(
    ("interval", "start"),
    [
        ("day", datetime(2026, 4, 15, tzinfo=UTC)),
        ("week", datetime(2026, 4, 13, tzinfo=UTC)),
        ("month", datetime(2026, 4, 1, tzinfo=UTC)),
        ("year", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_calendar_window_starts_at_midnight_of_the_first_day(interval: str, start: datetime) -> None:
    (found,) = controls.usage_limits("words", entity={}, customer=limits("5", interval, anchor="utc"), plans=[])
    assert found.window(datetime(2026, 4, 15, 18, 30, tzinfo=UTC), ANCHOR)[0] == start


def test_another_interval_anchor_or_filter_is_another_counter() -> None:
    keys = set()
    for more in (
        {"interval": "day"},
        {"interval": "month"},
        {"interval": "month", "anchor": "utc"},
        {"interval": "month", "filter": {"properties": {"model": "large"}}},
        {"interval": "month", "filter": {"properties": {"model": "small"}}},
    ):
        (found,) = controls.usage_limits("words", entity={}, customer=limits("5", **more), plans=[])
        keys.add(found.key)
    assert len(keys) == 5
    (same,) = controls.usage_limits("words", entity={}, customer=limits("99"), plans=[])
    assert same.key in keys


@given(st.decimals(0, 1000, places=2), st.integers(0, 300))
def test_a_spend_limit_in_percent_is_what_the_grant_leaves_below_it(granted: Decimal, percent: int) -> None:
    most = SpendLimit(Decimal(percent), is_percentage=True).most_overage(granted)
    assert most >= 0
    assert most == max(granted * percent / 100 - granted, Decimal(0))
    assert SpendLimit(Decimal(percent), is_percentage=False).most_overage(granted) == percent

"""When an alert goes off and when a limit is reached: once per crossing, whatever happens in between."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import alerts
from billing.alerts import Alert, Limit, Standing, ThresholdType

GRANTED = Decimal(50)


def used(usage: Any, *, of: Decimal = GRANTED, unlimited: bool = False) -> Standing:
    usage = Decimal(usage)
    return Standing(of, usage, max(of - usage, Decimal(0)), unlimited)


def at(threshold: Any, kind: str) -> Alert:
    return Alert("summaries", Decimal(threshold), ThresholdType(kind))


def entry(threshold: str, kind: str = "usage", **more: Any) -> dict[str, Any]:
    return {"feature_id": "summaries", "enabled": True, "threshold": threshold, "threshold_type": kind, **more}


def goes_off(alert: Alert, *usages: Any) -> list[int]:
    """At which of the steps from one usage to the next."""
    steps = pairwise(usages)
    return [number for number, (a, b) in enumerate(steps, 1) if alerts.crossed([alert], used(a), used(b))]


@pytest.mark.parametrize(
    ("threshold", "kind"),
    [(40, "usage"), (80, "usage_percentage"), (10, "remaining"), (20, "remaining_percentage")],
)
def test_each_kind_of_threshold_is_crossed_at_40_of_50(threshold: int, kind: str) -> None:
    alert = at(threshold, kind)
    assert goes_off(alert, 0, 39, 40, 41, 50) == [2]
    assert goes_off(alert, 0, 50, 60) == [1]


def test_what_was_crossed_can_be_crossed_again_in_the_next_period_and_after_a_refund() -> None:
    assert goes_off(at(40, "usage"), 39, 45, 0, 45, 38, 40) == [1, 3, 5]


def test_a_larger_grant_takes_a_percentage_back_below() -> None:
    alert = at(80, "usage_percentage")
    assert not alert.is_beyond(used(40, of=Decimal(100)))
    assert alerts.crossed([alert], used(40, of=Decimal(100)), used(40)) == [alert]


amounts = st.decimals(-20, 120, places=1)
kinds = st.sampled_from(list(ThresholdType))
thresholds = st.decimals(0, 100, places=1)


@given(thresholds, kinds, st.lists(amounts, min_size=2, max_size=12))
def test_an_alert_goes_off_exactly_once_between_two_returns(threshold: Decimal, kind: str, usages: list[Any]) -> None:
    alert = at(threshold, kind)
    beyond = [alert.is_beyond(used(usage)) for usage in usages]
    rises = sum(after and not before for before, after in pairwise(beyond))
    assert len(goes_off(alert, *usages)) == rises
    assert rises <= 1 + sum(before and not after for before, after in pairwise(beyond))


@given(thresholds, kinds, amounts, amounts, st.lists(amounts, max_size=5))
def test_one_large_step_tells_what_many_small_ones_in_one_direction_tell(
    threshold: Decimal, kind: str, first: Decimal, last: Decimal, between: list[Decimal]
) -> None:
    low, high = min(first, last), max(first, last)
    steps = [low, *sorted(usage for usage in between if low <= usage <= high), high]
    assert len(goes_off(at(threshold, kind), *steps)) == len(goes_off(at(threshold, kind), low, high))


@given(thresholds, kinds, amounts, amounts)
def test_nothing_unlimited_and_no_percentage_of_nothing_goes_off(
    threshold: Decimal, kind: str, first: Decimal, last: Decimal
) -> None:
    alert = at(threshold, kind)
    assert not alerts.crossed([alert], used(first, unlimited=True), used(last, unlimited=True))
    assert not alerts.crossed([alert], used(first), used(last, unlimited=True))
    if "percentage" in kind:
        nothing = Decimal(0)
        assert not alerts.crossed([alert], used(first, of=nothing), used(last, of=nothing))


def test_a_scopes_own_alerts_stand_in_for_those_of_its_plans() -> None:
    own, of_plan = {"usage_alerts": [entry("10")]}, {"usage_alerts": [entry("20"), entry("20")]}
    assert alerts.in_force("summaries", own, [of_plan]) == [at(10, "usage")]
    assert alerts.in_force("summaries", {}, [of_plan, of_plan]) == [at(20, "usage")]
    assert alerts.in_force("summaries", {"usage_alerts": [entry("10", enabled=False)]}, [of_plan]) == []
    assert alerts.in_force("messages", own, [of_plan]) == []
    assert alerts.in_force("summaries", {}, []) == []


limits = st.none() | st.sampled_from(Limit)


@given(limits, limits)
def test_a_limit_is_reached_when_nothing_refused_before_and_something_does_now(
    before: Limit | None, after: Limit | None
) -> None:
    told = alerts.limit_reached(replace(used(0), refused_by=before), replace(used(0), refused_by=after))
    assert told == (after if before is None else None)

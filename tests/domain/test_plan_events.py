"""What is told of a plan that changed."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from billing import plan_events
from billing.plan_events import Action, Change, Lifecycle, State

times = st.none() | st.sampled_from([datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3)])
lifecycles = st.builds(Lifecycle, st.sampled_from(State), st.booleans(), times, times, times)
ACTIVE = Lifecycle(State.ACTIVE, False, None, None, None)


@given(lifecycles)
def test_what_stays_as_it_was_is_not_told(one: Lifecycle) -> None:
    assert plan_events.change(one, one) is None


@given(lifecycles, lifecycles)
def test_what_changed_can_be_read_back(before: Lifecycle, after: Lifecycle) -> None:
    change = plan_events.change(before, after)
    assert (change is None) == (before == after)
    if change is not None:
        assert replace(after, **(change.previous or {})) == before
        assert (change.action is Action.UPDATED) == (before.status == after.status)


def test_a_plan_comes_waits_and_goes() -> None:
    scheduled, expired = replace(ACTIVE, status=State.SCHEDULED), replace(ACTIVE, status=State.EXPIRED)
    assert plan_events.change(None, ACTIVE) == Change(Action.ACTIVATED, None)
    assert plan_events.change(None, scheduled) == Change(Action.SCHEDULED, None)
    assert plan_events.change(None, expired) is None
    assert plan_events.change(scheduled, ACTIVE) == Change(Action.ACTIVATED, {"status": State.SCHEDULED})
    assert plan_events.change(ACTIVE, expired) == Change(Action.EXPIRED, {"status": State.ACTIVE})

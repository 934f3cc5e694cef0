"""Trials that go back: the plan before stands aside for one, keeps what it has paid for, and comes back after it."""

from datetime import datetime

from billing import changes, proration
from billing.models import Subscription
from billing.outcomes import NewCycle, Outcome
from billing.services.plan_changes import holdings
from plans.intervals import next_boundary
from plans.models import Plan


def goes_back(row: Subscription, at: datetime) -> bool:
    """Whether it is a trial at the end of which the plan before comes back (spec billing 7.9)."""
    return row.is_trialing(at) and row.trial_on_end == Plan.TrialEnd.REVERT


def gives_way(row: Subscription, at: datetime | None) -> bool:
    """Whether it is over at `at`, because the trial that it is ends then and goes back."""
    return at is not None and row.trial_ends_at == at and row.trial_on_end == Plan.TrialEnd.REVERT


def paused_by(row: Subscription) -> Subscription | None:
    """The plan that stands aside for a trial; None where there was none before it."""
    if row.is_add_on or row.trial_on_end != Plan.TrialEnd.REVERT:
        return None
    paused = holdings.rows(row.customer).filter(entity=row.entity, status=Subscription.Status.PAUSED, group=row.group)
    return paused.filter(is_add_on=False).first()


def resume(outcome: Outcome, row: Subscription) -> None:
    """Let a paused plan go on where its cycles are by now; those that began meanwhile are billed."""
    at = outcome.at
    outcome.resumes.append(row)
    holding = holdings.one(row, at=at)
    shortest = changes.terms_of(row, holding.items).shortest
    start, end = row.current_period_start, row.current_period_end
    if shortest is None or start is None or end is None or end > at:
        return
    while end <= at:
        outcome.lines += proration.usage_lines(holding, at=end, currency=outcome.currency)
        outcome.lines += proration.renewal_lines(holding, at=end, currency=outcome.currency)
        holding.overages = [overage for overage in holding.overages if overage.boundary_at > end]
        start, end = end, next_boundary(holding.anchor, shortest, end)
    outcome.lines = [*proration.pending_lines(holding), *outcome.lines]
    outcome.cycles.append(NewCycle(row, holding.anchor, start, end))

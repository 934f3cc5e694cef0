"""Plans that wait for their day: at the end of a cycle, or from an instant that was asked for."""

from datetime import datetime

from billing import proration
from billing.models import Subscription
from billing.outcomes import Cancellation, NextCycle, Outcome
from billing.proration import Holding
from billing.services.plan_changes.situation import Situation
from config.errors import InvalidRequest
from entities.models import Customer


def refuse_unpaid(found: Situation) -> None:
    """An invoice that has to be paid first, and a change that makes none until its day, exclude each other."""
    mode = found.request.invoice_mode
    if mode is not None and mode.enabled and not mode.enable_plan_immediately:
        raise InvalidRequest(
            "invoice_mode waits for an invoice, and a change at the end of the cycle makes none now. "
            "Leave it out, or attach with plan_schedule immediate."
        )


def compute(found: Situation, start: datetime) -> Outcome:
    """The new plan waits until `start`; the current one stays until then, and costs nothing more (spec billing 2.5)."""
    new, current = found.new.subscription, found.current
    outcome = Outcome(at=found.at, currency=found.currency, intent="attach")
    outcome.deletes += found.scheduled
    if found.request.subscription_id:
        if current is not None and current.subscription.public_id == found.request.subscription_id:
            raise InvalidRequest(
                "subscription_id is the present plan's until it ends. Choose another one for the plan that follows.",
                code="subscription_id_taken",
                status=409,
            )
        new.public_id = found.request.subscription_id
    follows = current if current is not None and current.subscription.is_paid else found.joined or current
    postpone(found.new, start, follows, customer=found.customer)
    new.ends_at = found.request.ends_at
    new.metadata = dict(found.request.metadata)
    if current is not None:
        ends_before = current.subscription.ends_at
        if ends_before is None or ends_before != start or current.subscription.canceled_at is None:
            outcome.cancellations.append(Cancellation(current.subscription, start))
    outcome.schedules.append(found.new)
    if new.is_paid and new.billing_cycle_anchor is not None:
        lines = proration.first_lines(found.new, at=start, currency=found.currency)
        usage = [(found.new, item) for item in found.new.items if item.is_usage_based]
        outcome.next_cycle = NextCycle(start, lines, usage)
    else:
        outcome.next_cycle = NextCycle(start, [])
    return outcome


def postpone(new: Holding, start: datetime, current: Holding | None, *, customer: Customer) -> None:
    """Let an unsaved plan wait until `start`, on the cycle of the plan that it follows, else on the customer's."""
    one_off = [item for item in new.items if item.is_prepaid and item.billed_every is None]
    if any(item.quantity > item.included for item in one_off):
        raise InvalidRequest(
            "feature_quantities: a quantity that is paid once can't be bought with a scheduled change. "
            "Leave it out, or attach with plan_schedule immediate."
        )
    row = new.subscription
    if row.is_one_off:
        raise InvalidRequest(f"{row.plan.name} is paid once, so it can't be scheduled. Attach it when it is due.")
    row.status, row.started_at = Subscription.Status.SCHEDULED, start
    if current is not None:
        row.billing_cycle_anchor = current.subscription.billing_cycle_anchor
        row.has_own_cycle = current.subscription.has_own_cycle and row.is_paid
    if row.is_paid and (current is None or not current.subscription.is_paid):
        others = Subscription.objects.filter(customer=customer, is_paid=True, has_own_cycle=False).live()
        goes_on = others.exclude(trial_ends_at__gt=row.created_at).exists()
        row.billing_cycle_anchor = customer.billing_cycle_anchor if goes_on else start

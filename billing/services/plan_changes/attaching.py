"""What attaching a plan comes to, in a situation that was read; `execution.operations` carries it out."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import msgspec

from billing import changes, proration
from billing.changes import Kind, Schedule
from billing.models import Subscription
from billing.outcomes import Checkout, End, NewCycle, NextCycle, Outcome, Start
from billing.proration import Holding, Line
from billing.services.plan_changes import postponing, reverting, situation
from billing.services.plan_changes.situation import Situation
from config.errors import InvalidRequest
from plans.intervals import Interval, IntervalUnit, next_boundary, period_around

ZERO = Decimal(0)
MOST_LINES = 250  # of a backdated start; as many as processors take on one invoice
_FIRST_CYCLE = Interval(IntervalUnit.MONTH)


def compute(found: Situation) -> Outcome:
    """What the attachment comes to."""
    schedule = _schedule(found)
    if found.request.starts_at is not None and found.request.starts_at > found.at:
        return postponing.compute(found, found.request.starts_at)
    waited_for = found.current or found.joined
    if schedule is Schedule.END_OF_CYCLE and waited_for is not None and waited_for.subscription.is_paid:
        postponing.refuse_unpaid(found)
        return postponing.compute(found, end_of_cycle(waited_for, found.at))
    return _immediate(found)


def end_of_cycle(holding: Holding, at: datetime) -> datetime:
    """Where the longest interval that is paid for ends; the trial's end during a trial (spec billing 2.5)."""
    subscription = holding.subscription
    if subscription.is_trialing(at) and subscription.trial_ends_at is not None:
        return subscription.trial_ends_at
    longest = situation.terms(holding).longest
    if longest is None or subscription.billing_cycle_anchor is None:
        return at
    return next_boundary(subscription.billing_cycle_anchor, longest, at)


def first_period(holding: Holding, at: datetime) -> None:
    """Set the period that runs at `at`: the shortest interval around it, or the trial."""
    subscription = holding.subscription
    if subscription.is_trialing(at):
        subscription.current_period_start, subscription.current_period_end = at, subscription.trial_ends_at
        return
    shortest = situation.terms(holding).shortest
    if shortest is None or subscription.billing_cycle_anchor is None:
        return
    period = proration.Period(*period_around(subscription.billing_cycle_anchor, shortest, at))
    subscription.current_period_start, subscription.current_period_end = max(period.start, at), period.end


def next_cycle(holding: Holding, *, currency: str) -> NextCycle | None:
    """The invoice at the end of the running period, what will be used until then left out."""
    row, end = holding.subscription, holding.subscription.current_period_end
    if end is None or not row.is_paid:
        return None
    if reverting.gives_way(row, end):
        return NextCycle(end, [])
    if row.new_anchor_at is not None and row.new_anchor_at < end:
        return _moved_cycle(holding, row.new_anchor_at, currency)
    usage = [(holding, item) for item in holding.items if item.is_usage_based and not item.bills_seats_at_once]
    return NextCycle(end, proration.renewal_lines(holding, at=end, currency=currency), usage)


def _moved_cycle(holding: Holding, anchor: datetime, currency: str) -> NextCycle:
    """The cycle that begins with another anchor, before the one that runs is over: its rest is given back."""
    rest = proration.first_lines(holding, at=anchor, currency=currency)
    unused = [
        replace(line, amount=-line.amount, description=f"Unused {line.description}", is_credit=True) for line in rest
    ]
    before, holding.subscription.billing_cycle_anchor = holding.subscription.billing_cycle_anchor, anchor
    whole = proration.first_lines(holding, at=anchor, currency=currency)
    holding.subscription.billing_cycle_anchor = before
    return NextCycle(anchor, [*unused, *whole])


def _schedule(found: Situation) -> Schedule:
    asked = Schedule(found.request.schedule) if found.request.schedule else None
    if found.plan.is_add_on and not found.new.subscription.is_one_off:
        return asked or Schedule.IMMEDIATE  # an add-on can wait for the cycle of the plan that it joins
    current = situation.terms(found.current) if found.current is not None else None
    return changes.decide(current, found.terms, asked=asked)


def _set_trial(found: Situation) -> None:
    new = found.new.subscription
    if found.trial is not None:
        new.trial_ends_at = situation.trial_end(found.trial, found.at)
        new.trial_card_required = found.trial.card_required
        new.trial_on_end = found.trial.on_end
    elif found.request.customize.free_trial is msgspec.UNSET:
        source = found.current if found.is_update else None if found.is_upgrade else found.joined
        if source is not None and source.subscription.is_trialing(found.at) and new.is_paid:
            new.trial_ends_at = source.subscription.trial_ends_at
            new.trial_card_required = source.subscription.trial_card_required
            if found.is_update:
                new.trial_on_end = source.subscription.trial_on_end


# -- at once --


def _immediate(found: Situation) -> Outcome:
    new, at = found.new.subscription, found.at
    outcome = Outcome(at=at, currency=found.currency, intent="attach")
    _set_trial(found)
    _set_cycle(found, outcome)
    trialing = new.is_trialing(at)
    if found.current is not None:
        if new.is_paid and found.current.subscription.status == Subscription.Status.PAST_DUE:
            new.status = Subscription.Status.PAST_DUE  # until the renewal that is open is paid (spec billing 12)
        if _pauses(found):
            outcome.pauses.append(found.current.subscription)
        else:
            outcome.ends.append(End(found.current.subscription, f"{found.plan.name} took its place"))
    if found.paused is not None and not reverting.goes_back(new, at):
        outcome.ends.append(End(found.paused.subscription, f"{found.plan.name} took its place"))
    outcome.ends += [End(holding.subscription, "Removed with a change") for holding in found.removed]
    outcome.deletes += found.scheduled
    outcome.starts.append(
        Start(
            found.new,
            found.current.subscription if found.current else None,
            carried_balances=found.request.carry.balances,
            carried_usages=found.request.carry.usages,
        )
    )
    outcome.lines = _lines(found, outcome)
    outcome.leaves_invoice = trialing and new.is_paid and not found.is_update
    outcome.next_cycle = next_cycle(found.new, currency=found.currency)
    if outcome.next_cycle and trialing and found.joined is not None and found.joined.subscription.is_trialing(at):
        both = [h for h in found.live_in_scope if h.subscription.is_paid and h is not found.current]
        for holding in both:
            more = next_cycle(holding, currency=found.currency)
            outcome.next_cycle.lines = [*(more.lines if more else []), *outcome.next_cycle.lines]
    if not found.request.bills:
        outcome.lines, outcome.leaves_invoice = [], False
    outcome.checkout = _checkout(found, outcome)
    return outcome


def _pauses(found: Situation) -> bool:
    """Whether the present plan only stands aside, its subscription at the processor untouched (spec billing 7.9)."""
    return found.paused is None and reverting.goes_back(found.new.subscription, found.at)


def _set_cycle(found: Situation, outcome: Outcome) -> None:
    """The anchor of the new subscription, and of the customer where this is the first paid plan (spec billing 4)."""
    new, at, current = found.new.subscription, found.at, found.current
    if found.request.subscription_id:
        new.public_id = found.request.subscription_id
    new.ends_at = found.request.ends_at
    new.metadata = dict(found.request.metadata)
    new.auto_enabled = found.request.auto_enabled
    mode = found.request.invoice_mode
    new.sends_invoice = mode is not None and mode.enabled
    new.net_terms_days = mode.net_terms_days if mode is not None else None
    if not new.is_paid:
        if current is not None and not current.subscription.is_paid and not new.is_one_off:
            new.billing_cycle_anchor = current.subscription.billing_cycle_anchor or current.subscription.started_at
        return
    new.billing_cycle_anchor = _anchor(found)
    switches_paid = current is not None and current.subscription.is_paid
    separate = bool(found.request.new_billing_subscription) and found.others_live
    if switches_paid and current is not None:
        new.has_own_cycle = current.subscription.has_own_cycle
        new.new_anchor_at = current.subscription.new_anchor_at if found.request.anchor is None else None
    elif separate:
        new.has_own_cycle = True
    new.new_anchor_at = found.later_anchor or new.new_anchor_at
    if not new.has_own_cycle and not found.others_paid and not new.is_trialing(at):
        outcome.customer_anchor = new.billing_cycle_anchor
    first_period(found.new, at)


def _anchor(found: Situation) -> datetime:
    new, at, current, request = found.new.subscription, found.at, found.current, found.request
    if found.moves_cycle and request.anchor is not None:
        return request.anchor
    if request.starts_at is not None:
        return request.starts_at
    if new.is_trialing(at) and new.trial_ends_at is not None:
        return new.trial_ends_at
    if current is not None and current.subscription.is_paid:
        trial_is_cut = current.subscription.is_trialing(at)
        return at if trial_is_cut else current.anchor
    if request.new_billing_subscription and found.others_live:
        return at
    if found.joined is not None:
        return found.joined.anchor
    if found.others_paid and found.customer.billing_cycle_anchor is not None:
        return found.customer.billing_cycle_anchor
    return at


def _lines(found: Situation, outcome: Outcome) -> list[Line]:
    """Overage of the outgoing plan, then credits, then charges (spec billing 6.2)."""
    new, at, currency, request = found.new, found.at, found.currency, found.request
    outgoing = _outgoing(found)
    if request.custom_lines is not None:
        return [
            proration.custom_line(new.subscription, amount=line.amount, description=line.description, currency=currency)
            for line in request.custom_lines
        ]
    resets_cycle = found.moves_cycle
    if not request.prorates and not resets_cycle:
        if _begins_to_cost(found):
            raise InvalidRequest('proration_behavior "none" would leave a paid plan unpaid. Leave it out.')
        if found.current is not None or found.joined is not None:
            return []
    lines = []
    for holding in outgoing:
        if request.carry.usages is None and not holding.subscription.is_trialing(at):
            lines += proration.usage_lines(
                holding, at=at, currency=currency, everything=True, with_overdrawn=True, with_seats=False
            )
        lines += proration.pending_lines(holding)
    credits_ = [
        line
        for holding in outgoing
        for line in proration.credit_lines(
            holding, at=at, currency=currency, whole_cycles_only=resets_cycle and not request.prorates
        )
    ]
    charges = _charges(found)
    if resets_cycle and found.joined is not None and new.subscription.is_paid:
        _move_siblings(found, outcome, credits_, charges)
    return [*lines, *credits_, *charges]


def _outgoing(found: Situation) -> list[Holding]:
    """The plans that end: what was used of them is billed now, and what is unused is given back."""
    current = None if _pauses(found) else found.current
    paused = None if reverting.goes_back(found.new.subscription, found.at) else found.paused
    return [holding for holding in [current, paused, *found.removed] if holding is not None]


def _begins_to_cost(found: Situation) -> bool:
    """Whether what cost nothing until now, a free plan or a trial, becomes one that does."""
    new = found.new.subscription
    if found.current is None or not new.is_paid or new.is_trialing(found.at):
        return False
    return not found.current.subscription.is_paid or found.current.subscription.is_trialing(found.at)


def _charges(found: Situation) -> list[Line]:
    new, at = found.new, found.at
    if new.subscription.is_paid and not new.subscription.is_trialing(at):
        start = found.request.starts_at or at
        if start < at:
            return _since(new, start, at, found.currency)
        return proration.first_lines(new, at=at, currency=found.currency)
    one_offs = [price for price in proration.advances(new) if price.interval is None]
    return proration.without_empty(
        proration.charge(new.subscription, price, price.amount, None, found.currency) for price in one_offs
    )


def _since(new: Holding, start: datetime, at: datetime, currency: str) -> list[Line]:
    """A backdated start: every cycle from then until the one that runs now, whole."""
    lines = proration.first_lines(new, at=start, currency=currency, whole=True)
    intervals = {price.interval for price in proration.advances(new) if price.interval is not None}
    shortest = min(intervals, key=lambda interval: interval.months, default=_FIRST_CYCLE)
    moment = next_boundary(start, shortest, start)
    while moment <= at:
        if len(lines) > MOST_LINES:
            raise InvalidRequest("starts_at lies too far back: that would be hundreds of cycles. Choose a later start.")
        lines += proration.renewal_lines(new, at=moment, currency=currency)
        moment = next_boundary(start, shortest, moment)
    return lines


def _move_siblings(found: Situation, outcome: Outcome, credits_: list[Line], charges: list[Line]) -> None:
    """With another anchor, the plans that share the processor subscription move too."""
    replaced = {end.subscription.pk for end in outcome.ends}
    for holding in found.live_in_scope:
        row = holding.subscription
        if row.pk in replaced or not row.is_paid or row.has_own_cycle:
            continue
        credits_ += proration.credit_lines(holding, at=found.at, currency=found.currency)
        move(holding, outcome, anchor=found.new.anchor, charges=charges)


def move(holding: Holding, outcome: Outcome, *, anchor: datetime, charges: list[Line]) -> None:
    """Count a holding's cycles from another anchor from now on, and charge the cycle that begins."""
    shortest = situation.terms(holding).shortest
    if shortest is None:
        return
    before = holding.subscription.billing_cycle_anchor
    holding.subscription.billing_cycle_anchor = anchor
    start, end = period_around(anchor, shortest, outcome.at)
    charges += proration.first_lines(holding, at=outcome.at, currency=outcome.currency)
    outcome.cycles.append(NewCycle(holding.subscription, anchor, max(start, outcome.at), end))
    holding.subscription.billing_cycle_anchor = before


def _checkout(found: Situation, outcome: Outcome) -> Checkout | None:
    """Which page the customer has to pay on, if any (spec billing 14.1)."""
    request, new = found.request, found.new.subscription
    mode = request.redirect_mode
    sends = request.invoice_mode is not None and request.invoice_mode.enabled
    if mode == "never" or sends or found.terms.kind is Kind.FREE or not request.bills:
        return None
    if mode == "always":
        return Checkout.OWN if found.joined is not None else _checkout_page(found)
    if (found.joined is not None and new.is_paid) or found.has_card:
        return None
    if new.is_trialing(found.at) and not new.trial_card_required:
        return None
    if new.is_one_off and outcome.total <= 0:
        return None
    return _checkout_page(found)


def _checkout_page(found: Situation) -> Checkout:
    """The processor's page, which sells what recurs at one interval (spec billing 14.6)."""
    if len({price.interval for price in proration.advances(found.new) if price.interval and price.amount}) > 1:
        raise InvalidRequest(
            "A checkout page can't sell prices of several intervals. Have a card added with billing.setup_payment "
            "first, or send an invoice with invoice_mode."
        )
    return Checkout.STRIPE

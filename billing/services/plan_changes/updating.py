"""What updating a held plan comes to: cancelling, taking that back, quantities, other terms."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec

from billing import changes, proration
from billing.changes import Kind
from billing.errors import SubscriptionNotFound
from billing.models import Invoice, Subscription, SubscriptionItem
from billing.outcomes import Cancellation, End, NewQuantity, NextCycle, Outcome, Start
from billing.proration import Holding
from billing.services.plan_changes import attaching, discounts, drafts, holdings, pools, reverting, situation
from billing.services.plan_changes.requests import Attach, BasePrice, Carry, Customize, Quantity, Update
from config.errors import InvalidInput, InvalidRequest
from entities.subject import Subject
from plans.models import Plan

ZERO = Decimal(0)
Status = Subscription.Status
_UPDATABLE = (Status.ACTIVE, Status.PAST_DUE, Status.SCHEDULED)


@dataclass(slots=True)
class Setup:
    """The plan that an update is about, and what else lives in its scope."""

    subject: Subject
    request: Update
    at: datetime
    currency: str
    target: Holding
    in_scope: list[Subscription]  # live and scheduled

    @property
    def row(self) -> Subscription:
        return self.target.subscription

    @property
    def successors(self) -> list[Subscription]:
        """What is scheduled to follow in the group."""
        if self.row.is_add_on:
            return []
        return [
            row
            for row in self.in_scope
            if row.status == Status.SCHEDULED and row.group == self.row.group and not row.is_add_on and row != self.row
        ]


def setup(subject: Subject, request: Update, *, at: datetime, currency: str) -> Setup:
    """Find the plan meant; raises SubscriptionNotFound, and what is wrong with the request."""
    _validate(request)
    target = _target(subject, request)
    scope = Subject(target.customer, target.entity)
    in_scope = list(holdings.rows(scope.customer).filter(entity=scope.entity, is_one_off=False).current_or_scheduled())
    return Setup(scope, request, at, currency, holdings.one(target, at=at), in_scope)


def compute(found: Setup) -> Outcome:
    """What the update comes to, with what discounts take off."""
    outcome, request, scope = _compute(found), found.request, found.subject
    running = discounts.of(scope.customer, at=found.at)
    removed = discounts.named(request.remove_discounts, running, scope.entity)
    given = discounts.wanted(
        request.discounts,
        [found.row],
        customer=scope.customer,
        entity=scope.entity,
        starts_at=found.at,
        running=[row for row in running if row not in removed],
    )
    discounts.lower(outcome, scope.customer, given=given, removed=removed, running=running)
    return outcome


def _compute(found: Setup) -> Outcome:
    match found.request.action:
        case "cancel_end_of_cycle":
            return cancel_at_end(found)
        case "cancel_immediately":
            return _cancel_now(found)
        case "uncancel":
            return _uncancel(found)
    if found.row.status == Status.SCHEDULED:
        raise InvalidRequest("A scheduled plan can't be updated. Attach the plan with other terms instead.")
    request = found.request
    changes_terms = request.version is not None or request.customize != Customize() or request.anchor is not None
    if changes_terms or _starts_or_stops_costing(found):
        return _change_terms(found)
    return _change_quantities(found)


def _validate(request: Update) -> None:
    changes_something = (
        request.quantities
        or request.licenses
        or request.version is not None
        or request.customize != Customize()
        or request.anchor is not None
        or request.discounts
        or request.remove_discounts
    )
    if request.action is None and not changes_something and not request.recalculates:
        raise InvalidInput(
            "Nothing to update: send cancel_action, feature_quantities, license_quantities, customize, version or "
            "billing_cycle_anchor."
        )
    if request.action is not None and changes_something:
        raise InvalidRequest("cancel_action can't be combined with other changes. Send them in a call of their own.")
    if request.refund is not None:
        if request.action != "cancel_immediately":
            raise InvalidRequest("refund_last_payment needs cancel_action cancel_immediately.")
        if request.prorates is not None:
            raise InvalidRequest("refund_last_payment and proration_behavior exclude each other. Leave one out.")


def _target(subject: Subject, request: Update) -> Subscription:
    rows = holdings.rows(subject.customer).filter(status__in=_UPDATABLE).order_by("-started_at", "-pk")
    if request.subscription_id:
        wanted = rows.filter(public_id=request.subscription_id)
        if subject.entity is not None:
            wanted = wanted.filter(entity=subject.entity)
        return _one(list(wanted), f"subscription_id {request.subscription_id}")
    rows = rows.filter(entity=subject.entity)
    if request.plan:
        held = list(rows.filter(plan__slug=request.plan))
        # The live one is meant when both are there.
        held.sort(key=lambda row: row.status == Status.SCHEDULED)
        return _one(held, f"plan_id {request.plan}")
    return _one(sorted(rows, key=_rank), "the request")


def _rank(row: Subscription) -> tuple[bool, bool, bool, bool]:
    return (row.is_one_off, row.is_add_on, not row.is_paid, row.status == Status.SCHEDULED)


def _one(rows: list[Subscription], wanted: str) -> Subscription:
    if not rows:
        raise SubscriptionNotFound(wanted)
    return rows[0]


# -- cancelling (spec billing 8) --


def cancel_at_end(found: Setup) -> Outcome:
    """End the plan with what is paid for; the group's free plan takes over from there."""
    row, at = found.row, found.at
    if row.is_one_off:
        raise InvalidRequest("A plan that is paid once has no cycle to end. Use cancel_immediately.")
    if row.status == Status.SCHEDULED:
        raise InvalidRequest("The plan has not started yet. Use cancel_immediately to take it back.")
    if not row.is_paid:
        raise InvalidRequest("A free plan has no cycle to end. Use cancel_immediately.")
    end = attaching.end_of_cycle(found.target, at)
    outcome = Outcome(at=at, currency=found.currency, intent="cancel_end_of_cycle")
    outcome.deletes = found.successors
    outcome.cancellations = [Cancellation(row, end)]
    fallback = _default_after(found)
    if fallback is not None:
        draft = drafts.holding(found.subject, fallback, customize=Customize(), quantities=(), at=at)
        draft.subscription.status = Status.SCHEDULED
        draft.subscription.started_at = end
        draft.subscription.auto_enabled = True
        outcome.schedules = [draft]
    outcome.next_cycle = None
    return outcome


def _cancel_now(found: Setup) -> Outcome:
    row, at, request = found.row, found.at, found.request
    outcome = Outcome(at=at, currency=found.currency, intent="cancel_immediately")
    if row.status == Status.SCHEDULED:
        outcome.deletes = [row, *(other for other in found.successors if other.started_at > row.started_at)]
        outcome.cancellations = [
            Cancellation(other, None)
            for other in found.in_scope
            if other.group == row.group and not other.is_add_on and other.ends_at == row.started_at
        ]
        return outcome
    outcome.ends = [End(row, "Canceled")]
    if not row.is_add_on and not row.is_one_off:
        outcome.deletes = [
            other
            for other in found.in_scope
            if other.status == Status.SCHEDULED and (other.group == row.group or other.is_add_on)
        ]
    paused = reverting.paused_by(row)
    if paused is not None:
        reverting.resume(outcome, paused)
    fallback = None if paused else fall_back(found)
    if fallback is not None:
        outcome.starts = [fallback]
    credited = proration.credit_lines(found.target, at=at, currency=found.currency)
    if request.refund is not None:
        outcome.refund = _refundable(found, -proration.total(credited))
    elif request.prorates is not False and request.bills:
        waiting = proration.pending_lines(found.target)
        outcome.lines += [*waiting, *credited]
    return outcome


def _uncancel(found: Setup) -> Outcome:
    row = found.row
    if row.status == Status.SCHEDULED:
        raise InvalidRequest("A scheduled plan is not being canceled. Uncancel the plan that it follows.")
    outcome = Outcome(at=found.at, currency=found.currency, intent="uncancel")
    if row.canceled_at is None and row.ends_at is None:
        return outcome
    outcome.deletes = found.successors
    outcome.cancellations = [Cancellation(row, None)]
    return outcome


def fall_back(found: Setup) -> Start | None:
    """The free plan that takes over at once when the present one ends; None where there is none."""
    plan = _default_after(found)
    if plan is None:
        return None
    draft = drafts.holding(found.subject, plan, customize=Customize(), quantities=(), at=found.at)
    draft.subscription.auto_enabled = True
    return Start(draft, found.row)


def _default_after(found: Setup) -> Plan | None:
    """The plan that a customer falls back on when a main plan of its group ends; entities have none (spec 8.5)."""
    row = found.row
    if found.subject.entity is not None or row.is_add_on or row.is_one_off:
        return None
    fallback = Plan.objects.enabled_for_new_customers().filter(group=row.group).with_items().first()
    if fallback is None or fallback.slug == row.plan.slug:
        return None
    if changes.terms_of(fallback, list(fallback.items.all())).kind is not Kind.FREE:
        return None
    others = [
        other
        for other in found.in_scope
        if other != row
        and other.group == row.group
        and not other.is_add_on
        and other.status != Status.SCHEDULED
        and other.ends_at is None
    ]
    return None if others else fallback


def _refundable(found: Setup, unused: Decimal) -> Decimal:
    """What of the last payment for the plan goes back to the card."""
    invoice = last_payment(found.row)
    if invoice is None:
        return ZERO
    left = invoice.total - invoice.refunded
    return left if found.request.refund == "full" else min(unused, left)


def last_payment(row: Subscription) -> Invoice | None:
    """The newest paid invoice with something for the plan on it."""
    paid = Invoice.objects.shown().filter(lines__subscription=row, status=Invoice.Status.PAID, total__gt=0)
    return paid.first()


# -- quantities (spec billing 8.7) --


def _change_quantities(found: Setup) -> Outcome:
    intent = "update_quantity" if found.request.quantities or found.request.licenses else "none"
    outcome = Outcome(at=found.at, currency=found.currency, intent=intent)
    asked = {quantity.feature: quantity for quantity in found.request.quantities}
    if len(asked) < len(found.request.quantities):
        raise InvalidInput("feature_quantities names a feature twice. Keep one.")
    for slug, quantity in asked.items():
        _change_quantity(found, outcome, _prepaid_item(found, slug), quantity)
    for item, wanted in pools.wanted(found.target.items, found.request.licenses):
        _change_quantity(found, outcome, item, Quantity(feature=item.feature.slug, quantity=wanted))
    if not found.request.bills or found.request.prorates is False:
        outcome.lines, outcome.waiting = [], []
    outcome.next_cycle = _next_cycle(found, outcome)
    return outcome


def _starts_or_stops_costing(found: Setup) -> bool:
    """Whether licences bought or given up turn a plan that costs nothing into one that does, or back."""
    items, kept = found.target.items, [item.quantity for item in found.target.items]
    for item, wanted in pools.wanted(items, found.request.licenses):
        item.quantity = wanted
    is_paid = situation.terms(found.target).kind is Kind.RECURRING
    for item, quantity in zip(items, kept, strict=True):
        item.quantity = quantity
    return bool(found.request.licenses) and is_paid != found.row.is_paid


def _prepaid_item(found: Setup, slug: str) -> SubscriptionItem:
    item = next((item for item in found.target.items if item.is_prepaid and item.feature.slug == slug), None)
    if item is None:
        raise InvalidRequest(f"feature_quantities: the plan has no prepaid item for {slug}. Leave it out.")
    if item.billed_every is None:
        raise InvalidRequest(f"feature_quantities: {slug} is paid once; buy more by attaching the plan again.")
    return item


def _change_quantity(found: Setup, outcome: Outcome, item: SubscriptionItem, quantity: Quantity) -> None:
    after, before = drafts.whole_quantity(item, quantity.quantity), item.quantity
    if after == before:
        if item.upcoming_quantity is not None:
            outcome.quantities.append(NewQuantity(item, after))
        return
    if after > before:
        setting = item.on_increase or item.OnIncrease.PRORATE_IMMEDIATELY
        at_renewal = False
        bills_now = setting in (item.OnIncrease.PRORATE_IMMEDIATELY, item.OnIncrease.BILL_IMMEDIATELY)
        waits = setting == item.OnIncrease.PRORATE_NEXT_CYCLE
    else:
        setting = item.on_decrease or item.OnDecrease.PRORATE_IMMEDIATELY
        at_renewal = setting in (item.OnDecrease.NONE, item.OnDecrease.NO_PRORATIONS)
        bills_now = setting in (item.OnDecrease.PRORATE_IMMEDIATELY, item.OnDecrease.PRORATE)
        waits = setting == item.OnDecrease.PRORATE_NEXT_CYCLE
    outcome.quantities.append(NewQuantity(item, after, at_renewal))
    if found.row.is_trialing(found.at):
        return
    line = proration.change_line(
        found.target,
        item,
        before=before,
        after=after,
        at=found.at,
        whole=setting == item.OnIncrease.BILL_IMMEDIATELY,
        currency=found.currency,
    )
    if line.amount and bills_now:
        outcome.lines.append(line)
    elif line.amount and waits:
        outcome.waiting.append(line)


def _next_cycle(found: Setup, outcome: Outcome) -> NextCycle | None:
    changed = {change.item.pk: change.quantity for change in outcome.quantities}
    kept = {item.pk: item.quantity for item in found.target.items}
    for item in found.target.items:
        item.quantity = changed.get(item.pk, item.quantity)
    following = attaching.next_cycle(found.target, currency=found.currency)
    for item in found.target.items:
        item.quantity = kept[item.pk]
    if following is not None:
        following.lines = [*proration.pending_lines(found.target), *outcome.waiting, *following.lines]
    return following


# -- other terms --


def _change_terms(found: Setup) -> Outcome:
    """The same plan with other terms, or another version of it: a switch that keeps what was used."""
    request, row = found.request, found.row
    if row.is_one_off:
        raise InvalidRequest("A plan that is paid once can't be updated. Attach it again with other terms.")
    customize = request.customize
    if customize.price is msgspec.UNSET and customize.items is None and request.version is None:
        customize = _as_held(found.target, customize)
    carry = request.carry or Carry(usages=[])
    attach = Attach(
        plan=row.plan.slug,
        version=request.version if request.version is not None else row.plan.version,
        quantities=request.quantities,
        licenses=request.licenses,
        customize=customize,
        invoice_mode=request.invoice_mode,
        prorates=request.prorates is not False,
        redirect_mode=request.redirect_mode,
        subscription_id=None,
        anchor=request.anchor,
        schedule="immediate",
        carry=carry,
        metadata=row.metadata,
        bills=request.bills,
    )
    scene = situation.read(found.subject, attach, at=found.at, currency=found.currency, predecessor=found.target)
    scene.scheduled = []
    outcome = attaching.compute(scene)
    outcome.intent = "update_plan"
    _keep_end(found, outcome)
    return outcome


def _as_held(holding: Holding, customize: Customize) -> Customize:
    """Terms that were customised before stay so when an update does not mention them."""
    row = holding.subscription
    return msgspec.structs.replace(customize, price=_price_of(row))


def _price_of(row: Subscription) -> BasePrice | None:
    if row.price_amount is None:
        return None
    return BasePrice(amount=row.price_amount, interval=row.price_interval, interval_count=row.price_interval_count)


def _keep_end(found: Setup, outcome: Outcome) -> None:
    """A plan that is being canceled stays so when its terms change."""
    for start in outcome.starts:
        start.takes_id = True
        new = start.holding.subscription
        new.canceled_at, new.ends_at = found.row.canceled_at, found.row.ends_at
        new.auto_enabled = found.row.auto_enabled

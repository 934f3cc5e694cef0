"""What is there when a plan is attached: read once, under the customer's lock, and checked against the request."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from billing import changes
from billing.changes import Terms
from billing.errors import PlanAlreadyAttached
from billing.models import Subscription
from billing.processors import get_processor
from billing.proration import Holding
from billing.services.plan_changes import drafts, holdings, reverting
from billing.services.plan_changes.requests import Attach, Trial
from config.errors import InvalidRequest
from entities.errors import EntityNotFound
from entities.models import Customer
from entities.subject import Subject
from plans.intervals import Interval, IntervalUnit, boundary
from plans.models import Plan

_LIVE = (Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE)


@dataclass(slots=True)
class Situation:
    """What is there when a plan is attached, read under the customer's lock."""

    subject: Subject
    request: Attach
    at: datetime
    currency: str
    plan: Plan
    new: Holding
    terms: Terms
    current: Holding | None  # the main plan of the scope and group, live
    paused: Holding | None  # the one that comes back after the trial which `current` is
    scheduled: list[Subscription]  # waiting in the scope and group
    joined: Holding | None  # a live paid plan of the scope, whose processor subscription the new one shares
    others_live: bool  # another plan has a subscription at the processor
    others_paid: bool  # another plan is past its trial and counts its cycles from the customer's anchor
    live_in_scope: list[Holding]
    removed: list[Holding]
    trial: Trial | None
    is_update: bool  # the terms of `current` change, the plan stays

    @property
    def customer(self) -> Customer:
        return self.subject.customer

    @property
    def has_card(self) -> bool:
        """Asked of the processor when it matters, never while rows are locked."""
        key = self.customer.processor_id
        return bool(key) and get_processor().payment_method(key) is not None

    @property
    def is_main(self) -> bool:
        return not self.new.subscription.is_add_on and not self.new.subscription.is_one_off

    @property
    def later_anchor(self) -> datetime | None:
        """The anchor asked for where it lies ahead and a cycle that is paid for runs until then (spec billing 4.3)."""
        anchor, current = self.request.anchor, self.current
        goes_on = self.joined is not None or (current is not None and current.subscription.is_paid)
        is_ahead = anchor is not None and anchor > self.at
        return anchor if is_ahead and goes_on and not self.new.subscription.is_trialing(self.at) else None

    @property
    def moves_cycle(self) -> bool:
        """Whether cycles are counted from another anchor at once; what never renews has none to move."""
        return self.request.anchor is not None and self.later_anchor is None and self.new.subscription.is_paid

    @property
    def is_upgrade(self) -> bool:
        return self.current is not None and changes.is_upgrade(terms(self.current), self.terms)


def terms(holding: Holding) -> Terms:
    """The prices of a holding."""
    return changes.terms_of(holding.subscription, holding.items)


def read(
    subject: Subject, request: Attach, *, at: datetime, currency: str, predecessor: Holding | None = None
) -> Situation:
    """Read what is there; raises what is wrong with the request, EntityNotFound for an entity that was deleted since.

    `predecessor` is a plan that the new one replaces although it is the same plan (an update of its terms).
    """
    if subject.entity is not None and subject.entity.deleted_at is not None:
        raise EntityNotFound(subject.member.external_id)
    plan = drafts.plan(request.plan, request.version)
    in_scope = [
        row
        for row in holdings.rows(subject.customer).filter(entity=subject.entity).current_or_scheduled()
        if not row.is_one_off
    ]
    live = holdings.load([row for row in in_scope if row.status in _LIVE], at=at)
    current = predecessor
    if current is None and not plan.is_add_on:
        current = next((h for h in live if h.subscription.group == plan.group and not h.subscription.is_add_on), None)
    new = drafts.holding(
        subject,
        plan,
        customize=request.customize,
        quantities=request.quantities,
        licenses=request.licenses,
        at=at,
        carried=current,
    )
    if new.subscription.is_one_off and predecessor is None:
        current = None
    scheduled = [
        row
        for row in in_scope
        if row.status == Subscription.Status.SCHEDULED
        and row.group == plan.group
        and not row.is_add_on
        and not plan.is_add_on
        and not new.subscription.is_one_off
    ]
    paused = reverting.paused_by(current.subscription) if current is not None else None
    joined = next((h for h in live if h.subscription.is_paid and not h.subscription.has_own_cycle), None)
    paid_elsewhere = Subscription.objects.filter(customer=subject.customer, is_paid=True, has_own_cycle=False).live()
    if current is not None:
        paid_elsewhere = paid_elsewhere.exclude(pk=current.subscription.pk)
        holdings.expect_seats(new, current, subject)
    else:
        holdings.expect_seats(new, None, subject)
    trial_ends = list(paid_elsewhere.values_list("trial_ends_at", flat=True))
    found = Situation(
        subject=subject,
        request=request,
        at=at,
        currency=currency,
        plan=plan,
        new=new,
        terms=terms(new),
        current=current,
        paused=holdings.one(paused, at=at) if paused is not None else None,
        scheduled=scheduled,
        joined=joined,
        others_live=bool(trial_ends),
        others_paid=any(end is None or end <= at for end in trial_ends),
        live_in_scope=live,
        removed=_removed(request, live, plan),
        trial=None,
        is_update=predecessor is not None,
    )
    _validate(found)
    found.trial = _trial(found)
    return found


def _removed(request: Attach, live: list[Holding], plan: Plan) -> list[Holding]:
    removed = []
    for slug in request.remove_plans:
        if slug == plan.slug:
            raise InvalidRequest(f"remove_plan_ids: {slug} is the plan being attached. Leave it out.")
        holding = next((holding for holding in live if holding.subscription.plan.slug == slug), None)
        if holding is None:
            raise InvalidRequest(
                f"remove_plan_ids: {slug} is not active here.", code="cus_product_not_found", status=404
            )
        removed.append(holding)
    return removed


def _check_id(found: Situation) -> None:
    """An id names one plan that lives; the plan that is replaced passes its own on."""
    wanted = found.request.subscription_id
    if wanted is None:
        return
    replaced = [row.pk for row in found.scheduled]
    if found.current is not None:
        replaced.append(found.current.subscription.pk)
    taken = Subscription.objects.filter(public_id=wanted).exclude(status=Subscription.Status.EXPIRED)
    if taken.exclude(pk__in=replaced).exists():
        raise InvalidRequest(
            f"subscription_id {wanted} is taken by another plan. Choose another one.",
            code="subscription_id_taken",
            status=409,
        )


def _validate(found: Situation) -> None:
    request, current, plan = found.request, found.current, found.plan
    if current is not None and not found.is_update and current.subscription.plan.slug == plan.slug:
        same_version = request.version is None or request.version == current.subscription.plan.version
        if same_version and not request.customize.changes_terms:
            raise PlanAlreadyAttached(plan.name)
    if request.currency and request.currency.lower() != found.currency:
        raise InvalidRequest(
            f"currency: this customer pays in {found.currency}, not {request.currency}.",
            code="currency_mismatch",
        )
    _check_id(found)
    is_past = request.starts_at is not None and request.starts_at < found.at
    if is_past and (current is not None or not found.new.subscription.is_paid):
        raise InvalidRequest("starts_at lies in the past, which only a first paid plan can. Leave it out.")
    trial = request.customize.free_trial
    if isinstance(trial, Trial) and request.starts_at is not None and request.starts_at > found.at:
        raise InvalidRequest("starts_at lies ahead, and a trial starts at once. Leave one of them out.")
    if request.ends_at is not None and request.ends_at <= (request.starts_at or found.at):
        raise InvalidRequest("ends_at must lie after the start.")
    if request.anchor is not None and request.anchor < found.at:
        raise InvalidRequest('billing_cycle_anchor must be "now" or lie ahead.')
    if request.new_billing_subscription is False and found.joined is None and found.new.subscription.is_paid:
        raise InvalidRequest(
            "new_billing_subscription is false, but there is no active paid recurring subscription. Leave it out."
        )


# -- trials (spec billing 7) --


def _trial(found: Situation) -> Trial | None:
    """The trial to start now; None for none. An object in the request is a fresh one, whatever was had before."""
    given = found.request.customize.free_trial
    if given is not msgspec.UNSET:
        return given
    if found.is_update or (found.joined is not None and not found.is_upgrade):
        return None  # the state of the subscription that goes on counts
    trial = drafts.trial_of(found.plan, found.request.customize)
    return None if trial is None or _had_trial(found) else trial


def _had_trial(found: Situation) -> bool:
    """Once per plan and scope, whatever became of it; a fingerprint counts for all customers that share it."""
    had = Subscription.objects.filter(plan__slug=found.plan.slug, trial_ends_at__isnull=False)
    if had.filter(customer=found.customer, entity=found.subject.entity).exists():
        return True
    fingerprint = found.customer.fingerprint
    return bool(fingerprint) and had.filter(customer__fingerprint=fingerprint).exclude(customer=found.customer).exists()


def trial_end(trial: Trial, at: datetime) -> datetime:
    """When a trial that starts at `at` is over."""
    return boundary(at, Interval(IntervalUnit(trial.unit)), trial.length)

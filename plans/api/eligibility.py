"""What attaching each plan would mean for a customer or entity: what `customer_eligibility` of a plan says."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Q

from billing import changes
from billing.models import Subscription
from entities.subject import Subject
from plans.models import Plan


def of(plans: Iterable[Plan], subject: Subject, *, at: datetime) -> dict[int, dict[str, Any]]:
    """The eligibility for each plan by its primary key, in the subject's own scope; four queries for any number.

    The plans' items should be prefetched.
    """
    rows = (
        Subscription.objects.in_scope(subject)
        .current_or_scheduled()
        .filter(is_one_off=False)
        .select_related("plan")
        .prefetch_related("items__feature")
        .order_by("pk")
    )
    held = list(rows)
    tried = _tried(subject)
    return {plan.pk: _of(plan, held, plan.slug in tried, at) for plan in plans}


def _tried(subject: Subject) -> set[str]:
    """Ids of plans whose trial was had: in this scope, or by another customer with the same fingerprint."""
    same = Q(customer=subject.customer, entity=subject.entity)
    if subject.customer.fingerprint:
        same |= Q(customer__fingerprint=subject.customer.fingerprint) & ~Q(customer=subject.customer)
    return set(Subscription.objects.filter(same, trial_ends_at__isnull=False).values_list("plan__slug", flat=True))


def _of(plan: Plan, held: list[Subscription], tried: bool, at: datetime) -> dict[str, Any]:
    mine = [row for row in held if row.plan.slug == plan.slug]
    live = next((row for row in mine if row.status != Subscription.Status.SCHEDULED), None)
    status = "active" if live else "scheduled" if mine else None
    return {
        "trial_available": plan.trial_length is not None and not tried,
        "status": status,
        "canceling": live is not None and live.canceled_at is not None,
        "trialing": live is not None and live.is_trialing(at),
        "attach_action": _action(plan, held, status),
    }


def _action(plan: Plan, held: list[Subscription], status: str | None) -> str:
    terms = changes.terms_of(plan, plan.items.all())
    if terms.kind is changes.Kind.ONE_OFF:
        return "purchase"
    if plan.is_add_on:  # stands beside whatever is there, itself included
        return "activate"
    if status is not None:
        return "none"
    current = next(
        (
            row
            for row in held
            if row.group == plan.group and not row.is_add_on and row.status != Subscription.Status.SCHEDULED
        ),
        None,
    )
    if current is None:
        return "activate"
    return "upgrade" if changes.is_upgrade(changes.terms_of(current, current.items.all()), terms) else "downgrade"

"""Taking over customers who pay at Stripe already, with their plans and what is used. Stripe is only read.

The subscription stays the one that it was: its next renewal is filled in like any other.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction

from billing.models import Balance, Subscription
from billing.outcomes import Outcome, Start
from billing.processors import registry
from billing.processors.protocol import ProcessorSubscription
from billing.proration import Holding
from billing.services import customers
from billing.services.balances import ledger
from billing.services.customers import Details
from billing.services.due import recovery
from billing.services.execution import announcing, applying, queue
from billing.services.plan_changes import drafts, situation
from billing.services.plan_changes.requests import Customize, Quantity
from config.actor import Actor
from config.errors import Conflict, InvalidRequest
from entities.models import Customer
from entities.subject import Subject
from plans.intervals import next_boundary, period_around

ZERO = Decimal(0)
Status = Subscription.Status


class ImportedBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What was used, or what is left, of one feature."""

    feature: str
    usage: Decimal | None = None
    balance: Decimal | None = None
    next_reset_at: datetime | None = None


class ImportedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that is held already; `subscription_id` is Stripe's."""

    plan: str
    version: int | None = None
    status: str = "active"
    subscription_id: str = ""
    anchor: datetime | None = None
    started_at: datetime | None = None
    quantity: int = 1
    quantities: list[Quantity] = []
    balances: list[ImportedBalance] = []


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one plan; `row` is None for a dry run and for plans that had ended."""

    plan: str
    status: str
    row: Subscription | None = None
    skipped: bool = False


def take_over(
    *,
    customer_id: str,
    details: Mapping[str, Any],
    processor_id: str,
    plans: Sequence[ImportedPlan],
    is_dry_run: bool,
    at: datetime,
    actor: Actor,
) -> tuple[Customer | None, list[Imported]]:
    """Write the plans down as held; one that is held already is skipped, so that an import can be run again.

    Raises PlanNotFound, InvalidRequest for a subscription that is another customer's or has ended, Conflict for a
    customer who is somebody else at Stripe. A dry run validates all that and writes nothing.
    """
    found = {plan.subscription_id: _read(plan, processor_id) for plan in plans if plan.subscription_id}
    for plan in plans:
        drafts.plan(plan.plan, plan.version)
    if is_dry_run:
        return Customer.objects.live().filter(external_id=customer_id).first(), [
            Imported(plan.plan, plan.status) for plan in plans
        ]
    customer = customers.get_or_create(customer_id=customer_id, details=Details(dict(details)), at=at, actor=actor)
    with queue.customer(customer):
        recovery.finish_pending(customer)
        with transaction.atomic():
            customer = Customer.objects.locked().get(pk=customer.pk)
            _link(customer, processor_id, list(found.values()))
            moment = customer.now(at)
            with announcing.plans_of([customer], cause=f"import:{secrets.token_hex(8)}", at=moment):
                done = [_hold(customer, plan, found.get(plan.subscription_id), moment, actor) for plan in plans]
    customer.refresh_from_db()
    return customer, done


def _read(plan: ImportedPlan, processor_id: str) -> ProcessorSubscription:
    processor = registry.stripe()
    if processor is None:
        raise InvalidRequest("link.subscription_id: set STRIPE_SECRET_KEY to import subscriptions from Stripe.")
    found = processor.subscription(plan.subscription_id)
    if found is None or found.status == "canceled":
        raise InvalidRequest(f"link.subscription_id: {plan.subscription_id} is not live at Stripe. Leave it out.")
    if processor_id and found.customer_id != processor_id:
        raise InvalidRequest(f"link.subscription_id: {plan.subscription_id} belongs to {found.customer_id} at Stripe.")
    return found


def _link(customer: Customer, processor_id: str, found: list[ProcessorSubscription]) -> None:
    wanted = processor_id or next((row.customer_id for row in found), "")
    if customer.processor_id and wanted and customer.processor_id != wanted:
        raise Conflict(f"{customer.external_id} is {customer.processor_id} at Stripe, not {wanted}.")
    customer.processor_id = customer.processor_id or wanted
    if found:
        customer.currency = customer.currency or found[0].currency
        customer.billing_cycle_anchor = customer.billing_cycle_anchor or found[0].anchor
    customer.save(update_fields=["processor_id", "currency", "billing_cycle_anchor"])


def _hold(
    customer: Customer, plan: ImportedPlan, found: ProcessorSubscription | None, at: datetime, actor: Actor
) -> Imported:
    subject, wanted = Subject(customer), drafts.plan(plan.plan, plan.version)
    held = Subscription.objects.in_scope(subject).live().filter(plan__slug=plan.plan).first()
    if held is not None:
        return Imported(plan.plan, held.status, held, skipped=True)
    if plan.status == "expired":
        return Imported(plan.plan, plan.status)
    holding = drafts.holding(subject, wanted, customize=Customize(), quantities=plan.quantities, at=at)
    _set_terms(holding, plan, found, at)
    outcome = Outcome(at=at, currency=customer.currency or settings.CURRENCY.lower(), starts=[Start(holding)])
    applying.apply(outcome, customer=customer, operation=None, actor=actor)
    row = holding.subscription
    if plan.status == "past_due":
        Subscription.objects.filter(pk=row.pk).update(status=Status.PAST_DUE)
    for balance in plan.balances:
        _set_balance(row, balance, at, actor)
    return Imported(plan.plan, plan.status, row)


def _set_terms(holding: Holding, plan: ImportedPlan, found: ProcessorSubscription | None, at: datetime) -> None:
    row = holding.subscription
    row.quantity = plan.quantity
    row.started_at = plan.started_at or (found.started_at if found else None) or at
    if row.is_paid and found is None:
        raise InvalidRequest(f"{plan.plan} is paid: name its subscription at Stripe in link.subscription_id.")
    if found is None:
        return
    row.processor_subscription_id = found.id
    row.billing_cycle_anchor = plan.anchor or found.anchor
    row.current_period_start, row.current_period_end = found.current_period_start, found.current_period_end
    if plan.status == "trialing" or found.status == "trialing":
        row.trial_ends_at = found.current_period_end
    if plan.status == "canceled" or found.cancel_at is not None:
        row.canceled_at, row.ends_at = at, found.cancel_at or found.current_period_end
    _expect_same_cycle(holding, found, at)


def _expect_same_cycle(holding: Holding, found: ProcessorSubscription, at: datetime) -> None:
    """The plan's shortest interval must lead from the anchor to Stripe's next renewal."""
    row, shortest = holding.subscription, situation.terms(holding).shortest
    if shortest is None or row.billing_cycle_anchor is None or found.status == "trialing":
        return
    end = period_around(row.billing_cycle_anchor, shortest, at)[1]
    if end != found.current_period_end:
        raise InvalidRequest(
            f"{row.plan.slug} would renew at {next_boundary(row.billing_cycle_anchor, shortest, at)}, "
            f"{found.id} renews at {found.current_period_end}. Choose the plan with its interval."
        )


def _set_balance(row: Subscription, wanted: ImportedBalance, at: datetime, actor: Actor) -> None:
    balances = Balance.objects.filter(subscription=row, feature__slug=wanted.feature, ended_at=None)
    balance = balances.order_by("pk").first()
    if balance is None:
        raise InvalidRequest(f"balances: {row.plan.slug} grants no {wanted.feature}. Leave it out.")
    if wanted.usage is not None and wanted.balance is not None:
        raise InvalidRequest(f"balances: {wanted.feature} has both usage and balance. Send one.")
    usage = wanted.usage if wanted.usage is not None else balance.usage
    if wanted.balance is not None:
        usage = balance.granted - wanted.balance
    if usage != balance.usage:
        change = ledger.Change(
            balance.pk, ledger.Kind.ADJUSTMENT, usage=usage - balance.usage, reason="Used before the import"
        )
        ledger.record([change], at=at, actor=actor)
    if wanted.next_reset_at is not None:
        Balance.objects.filter(pk=balance.pk).update(next_reset_at=wanted.next_reset_at)

"""How subscriptions, invoices and answers look on the wire: every known key is there, null when it says nothing."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from billing.models import Discount, Invoice, InvoiceLine, Operation, Subscription
from billing.processors import Problem, get_processor
from billing.services import invoices
from billing.services.plan_changes.requests import Schedule
from billing.services.schedules import Scheduled
from billing.services.subscriptions import Answer
from config.api import milliseconds
from entities.models import Customer
from entities.subject import Subject

ZERO = Decimal(0)
_ACTIONS = {
    Problem.AUTHENTICATION: ("3ds_required", "The bank asks the customer to confirm the payment on the payment page."),
    Problem.DECLINED: ("payment_failed", "The card was declined. The customer can pay on the payment page."),
    Problem.NO_CARD: ("payment_method_required", "There is no card on file. The customer can pay on the payment page."),
}


def subscription(row: Subscription, *, at: datetime) -> dict[str, Any]:
    """A recurring plan; a past due one is active with a flag, a trial shows its end while it lasts."""
    return {
        "id": row.public_id,
        "plan_id": row.plan.slug,
        "plan": None,
        "auto_enable": row.auto_enabled,
        "add_on": row.is_add_on,
        "status": "scheduled" if row.status == Subscription.Status.SCHEDULED else "active",
        "past_due": row.status == Subscription.Status.PAST_DUE,
        "canceled_at": milliseconds(row.canceled_at),
        "expires_at": milliseconds(row.ends_at),
        "trial_ends_at": milliseconds(row.trial_ends_at) if row.is_trialing(at) else None,
        "started_at": milliseconds(row.started_at),
        "current_period_start": milliseconds(row.current_period_start),
        "current_period_end": milliseconds(row.current_period_end),
        "quantity": row.quantity,
        "scope": "entity" if row.entity_id is not None else "customer",
        "entity_id": row.entity.external_id if row.entity is not None else None,
    }


def purchase(row: Subscription) -> dict[str, Any]:
    """A plan that was paid once."""
    return {
        "plan": None,
        "plan_id": row.plan.slug,
        "expires_at": milliseconds(row.ends_at),
        "started_at": milliseconds(row.started_at),
        "quantity": row.quantity,
        "scope": "entity" if row.entity_id is not None else "customer",
        "entity_id": row.entity.external_id if row.entity is not None else None,
    }


def invoice(row: Invoice) -> dict[str, Any]:
    """An invoice in a list; its lines and their plans should be prefetched."""
    return {
        "plan_ids": list(dict.fromkeys(line.plan.slug for line in row.lines.all() if line.plan is not None)),
        "stripe_id": row.processor_id,
        "processor_type": "stripe",
        "status": row.status,
        "total": row.total,
        "currency": row.currency,
        "created_at": milliseconds(row.created_at),
        "hosted_invoice_url": row.hosted_url or None,
    }


def listed_invoice(row: Invoice) -> dict[str, Any]:
    """An invoice in a list over customers: whose it is, and what of it was paid and given back."""
    return {
        **invoice(row),
        "id": row.public_id,
        "customer_id": row.customer.external_id,
        "entity_id": row.entity.external_id if row.entity else None,
        "amount_paid": row.total if row.status == Invoice.Status.PAID else ZERO,
        "refunded_amount": row.refunded,
    }


def payment_method(customer: Customer) -> dict[str, Any] | None:
    """The card on file."""
    found = get_processor().payment_method(customer.processor_id) if customer.processor_id else None
    return {"type": "card", "kind": found.kind, "label": found.label} if found else None


def answer(subject: Subject, done: Answer) -> dict[str, Any]:
    """What attach and update answer."""
    result = done.result
    action = None
    problem = result.problem if result is not None else None
    operation = result.operation if result is not None else None
    if problem is not None and operation is not None and operation.status == Operation.Status.WAITING:
        code, reason = _ACTIONS[problem]
        action = {"code": code, "reason": reason}
    return {
        "customer_id": subject.customer_id,
        "entity_id": subject.entity_id,
        "invoice": _billed(result.invoice) if result is not None and result.invoice is not None else None,
        "payment_url": done.payment_url,
        "required_action": action,
    }


def schedule(subject: Subject, asked: Schedule, made: Scheduled) -> dict[str, Any]:
    """What create_schedule answers; there are no phases yet while it waits for the customer to pay."""
    done = answer(subject, made.answer)
    is_pending = not made.phases
    return {
        **done,
        "status": "pending_payment" if is_pending else "created",
        "schedule_id": None if is_pending else made.schedule_id,
        "phases": [
            {
                "phase_id": f"{made.schedule_id}_{number}",
                "starts_at": milliseconds(phase.starts_at),
                "customer_product_ids": [row.public_id for row in rows],
            }
            for number, (phase, rows) in enumerate(zip(asked.phases, made.phases, strict=False), start=1)
        ],
    }


def discounts(customer: Customer, *, at: datetime) -> list[dict[str, Any]]:
    """The discounts that a customer and its entities have, with what each took off so far."""
    rows = list(Discount.objects.filter(customer=customer, ended_at=None).exclude(ends_at__lte=at).order_by("pk"))
    billed = InvoiceLine.objects.filter(discount__in=rows).exclude(invoice__status=Invoice.Status.VOID)
    taken = dict(billed.order_by().values_list("discount").annotate(taken=Sum("amount")))
    shared = {
        row.entity_id: row.processor_subscription_id
        for row in Subscription.objects.filter(customer=customer).live().exclude(processor_subscription_id="")
    }
    return [
        {
            "id": row.reward_slug,
            "name": row.name,
            "type": row.type,
            "discount_value": row.value,
            "duration_type": row.duration,
            "duration_value": row.duration_months,
            "currency": invoices.currency_of(customer) if row.type == Discount.Type.FIXED else None,
            "start": milliseconds(row.starts_at),
            "end": milliseconds(row.ends_at),
            "subscription_id": shared.get(row.entity_id),
            "total_discount_amount": -taken.get(row.pk, ZERO),
        }
        for row in rows
    ]


def _billed(row: Invoice) -> dict[str, Any]:
    return {
        "status": row.status,
        "stripe_id": row.processor_id,
        "total": row.total,
        "currency": row.currency,
        "hosted_invoice_url": row.hosted_url or None,
    }

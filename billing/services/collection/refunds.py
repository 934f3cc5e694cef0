"""Money of a paid invoice given back to the card; what the customer was granted for it stays."""

from datetime import datetime
from decimal import Decimal

from billing.errors import NothingToPay
from billing.models import Invoice, Operation
from billing.services.due import recovery
from billing.services.execution import finishing, queue
from config.actor import Actor
from config.errors import InvalidRequest
from plans import pricing, wording


def refund(*, invoice: Invoice, amount: Decimal, at: datetime, actor: Actor, reason: str = "") -> Decimal:
    """Give back `amount` in major units, at most what was paid and not given back yet; returns what came back.

    What credit paid stays credit, so it can be less. Raises NothingToPay where nothing was paid, InvalidRequest for
    an amount that is none. The operation is written down first: `run_due` finishes it where the process dies.
    """
    with queue.customer(invoice.customer):
        recovery.finish_pending(invoice.customer)  # what was begun before counts as given back
        invoice = Invoice.objects.select_related("customer", "entity").get(pk=invoice.pk)
        if invoice.status != Invoice.Status.PAID or not invoice.processor_id:
            raise NothingToPay("Only what was paid can be given back. This invoice was not paid by card.")
        if amount <= 0 or amount != pricing.round_money(amount, invoice.currency):
            least = wording.amount(pricing.smallest(invoice.currency), invoice.currency)
            raise InvalidRequest(f"Give back {least} or a multiple of it.")
        if amount > (left := invoice.total - invoice.refunded):
            raise InvalidRequest(f"At most {wording.amount(left, invoice.currency)} can still be given back.")
        before = invoice.refunded
        operation = Operation.objects.create(
            customer=invoice.customer,
            entity=invoice.entity,
            kind=Operation.Kind.REFUND,
            status=Operation.Status.PENDING,
            request={"invoice": invoice.pk, "amount": str(amount)},
            outcome={
                "currency": invoice.currency, "total": str(-amount), "applied": True, "scopes": [], "ended": [],
                "refund": {"invoice": invoice.pk, "amount": str(amount)},
            },
            actor=actor.name,
            request_id=actor.request_id,
            reason=reason,
            at=at,
        )  # fmt: skip
        finishing.finish_written(operation)
        invoice.refresh_from_db()
        return invoice.refunded - before

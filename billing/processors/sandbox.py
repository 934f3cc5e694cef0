"""The built-in processor: test cards, hosted pages and invoices in tables of its own, nothing outside."""

import json
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Q, Sum

from billing.models import SandboxCard, SandboxInvoice, SandboxSession, SandboxSubscription
from billing.processors.protocol import (
    Charge,
    Collection,
    InvoiceItem,
    PaymentMethod,
    Problem,
    ProcessorInvoice,
    ProcessorSubscription,
    Put,
    Renewal,
    Session,
    SubscriptionItemState,
    SubscriptionTerms,
)

ZERO = Decimal(0)
_MOVES_CREDIT = Q(total__lt=0) | Q(credit_used__gt=0)
_PROBLEMS = {
    SandboxCard.Behavior.DECLINES: Problem.DECLINED,
    SandboxCard.Behavior.REQUIRES_AUTHENTICATION: Problem.AUTHENTICATION,
}
CARD_NUMBERS = {
    SandboxCard.Behavior.SUCCESS: "•••• 4242",
    SandboxCard.Behavior.DECLINES: "•••• 0002",
    SandboxCard.Behavior.REQUIRES_AUTHENTICATION: "•••• 3220",
}
_LABELS = {
    SandboxCard.Behavior.SUCCESS: "•••• 4242",
    SandboxCard.Behavior.DECLINES: "•••• 0002 (declines)",
    SandboxCard.Behavior.REQUIRES_AUTHENTICATION: "•••• 3220 (asks for 3D Secure)",
}


_PUT = """
UPDATE billing_sandboxsubscription s
SET items = n.items, current_period_start = n.start, current_period_end = n.until, status = n.status,
  cancel_at = n.cancel_at
FROM unnest(%(id)s::text[], %(items)s::jsonb[], %(start)s::timestamptz[], %(end)s::timestamptz[], %(status)s::text[],
  %(cancel_at)s::timestamptz[]) AS n(id, items, start, until, status, cancel_at)
WHERE s.subscription_id = n.id
"""


class SandboxProcessor:
    """A payment processor without money. Its own calls, beyond the protocol, stand in for what a customer does."""

    name = "sandbox"
    takes_many = True

    def ensure_customer(self, *, ref: str, email: str, name: str, clock_at: datetime | None, key: str) -> str:
        return f"cus_{secrets.token_hex(10)}"

    def turn_clock(self, customer_id: str, at: datetime) -> None:
        """Nothing here happens by itself."""

    def payment_method(self, customer_id: str) -> PaymentMethod | None:
        card = SandboxCard.objects.filter(customer_id=customer_id).first()
        return PaymentMethod(card.behavior, _LABELS[SandboxCard.Behavior(card.behavior)]) if card else None

    def credit(self, customer_id: str, currency: str) -> Decimal:
        return self._credits([customer_id]).get((customer_id, currency), ZERO)

    def charge_invoice(
        self,
        *,
        customer_id: str,
        currency: str,
        items: Sequence[InvoiceItem],
        collection: Collection,
        key: str,
        net_terms_days: int | None = None,
        renewal: Renewal | None = None,
        tries_again: bool = False,
        since: datetime | None = None,
    ) -> ProcessorInvoice:
        charge = Charge(customer_id=customer_id, currency=currency, items=items, collection=collection, key=key)
        return self.charge_invoices([charge])[0]

    def charge_invoices(self, charges: Sequence[Charge]) -> list[ProcessorInvoice]:
        try:
            return [_invoice(row) for row in self._charge(charges)]
        except IntegrityError:  # somebody made one of them a moment ago
            return [_invoice(row) for row in self._charge(charges)]

    def _charge(self, charges: Sequence[Charge]) -> list[SandboxInvoice]:
        keys = [charge.key for charge in charges]
        rows = {row.idempotency_key: row for row in SandboxInvoice.objects.filter(idempotency_key__in=keys)}
        missing = [charge for charge in charges if charge.key not in rows]
        if missing:
            made = self._collected([_draft(charge) for charge in missing], missing)
            with transaction.atomic():
                rows |= {row.idempotency_key: row for row in SandboxInvoice.objects.bulk_create(made)}
        return [rows[key] for key in keys]

    def _collected(self, rows: list[SandboxInvoice], charges: Sequence[Charge]) -> list[SandboxInvoice]:
        """The invoices paid, as far as they can be, from credit first and then by card; one after the other."""
        owners = list({row.customer_id for row in rows})
        cards = {card.customer_id: card for card in SandboxCard.objects.filter(customer_id__in=owners)}
        credits_ = self._credits(owners)
        for row, charge in zip(rows, charges, strict=True):
            whose = (row.customer_id, row.currency)
            left, card = credits_.get(whose, ZERO), cards.get(row.customer_id)
            if charge.collection is not Collection.DRAFT:
                _collect(row, by_card=charge.collection is Collection.CARD, card=card, credit=left)
            credits_[whose] = left - row.credit_used - min(row.total, ZERO)
        return rows

    def _credits(self, customer_ids: Sequence[str]) -> dict[tuple[str, str], Decimal]:
        """What negative invoices gave and later ones have not used up, by customer and currency."""
        rows = SandboxInvoice.objects.filter(_MOVES_CREDIT, customer_id__in=customer_ids).exclude(status="void")
        sums = rows.values_list("customer_id", "currency").annotate(
            given=Sum("total", filter=Q(total__lt=0), default=ZERO), used=Sum("credit_used")
        )
        return {(owner, currency): -given - used for owner, currency, given, used in sums}

    def expect_renewal(self, renewal: Renewal, *, goes_on: bool) -> None:
        """Renewals are ours alone here."""

    def invoice(self, invoice_id: str) -> ProcessorInvoice:
        return _invoice(SandboxInvoice.objects.get(invoice_id=invoice_id))

    def invoice_by_key(self, key: str, *, customer_id: str, since: datetime | None = None) -> ProcessorInvoice | None:
        row = SandboxInvoice.objects.filter(customer_id=customer_id, idempotency_key=key).first()
        return _invoice(row) if row else None

    def pay_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        with transaction.atomic():
            row = SandboxInvoice.objects.select_for_update().get(invoice_id=invoice_id)
            if row.status == "open":
                card = SandboxCard.objects.filter(customer_id=row.customer_id).first()
                _collect(row, by_card=True, card=card, credit=self.credit(row.customer_id, row.currency))
                row.save()
        return _invoice(row)

    def finalize_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        SandboxInvoice.objects.filter(invoice_id=invoice_id, status="draft").update(status="open")
        return self.invoice(invoice_id)

    def void_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        SandboxInvoice.objects.filter(invoice_id=invoice_id, status__in=["open", "draft"]).update(status="void")
        return self.invoice(invoice_id)

    def refund(self, invoice_id: str, amount: Decimal, *, key: str) -> Decimal:
        with transaction.atomic():
            row = SandboxInvoice.objects.select_for_update().get(invoice_id=invoice_id)
            for earlier, given in row.refund_keys:
                if earlier == key:
                    return Decimal(given)
            given = max(ZERO, min(amount, row.total - row.credit_used - row.refunded))
            row.refunded += given
            row.refund_keys = [*row.refund_keys, [key, str(given)]]
            row.save(update_fields=["refunded", "refund_keys"])
        return given

    def reverse_invoice(self, invoice_id: str, *, key: str) -> None:
        with transaction.atomic():
            row = SandboxInvoice.objects.select_for_update().get(invoice_id=invoice_id)
            if key not in row.refund_keys:
                # Void, its credit counts no more: neither what it gave nor what it used.
                row.refunded = max(ZERO, row.total - row.credit_used)
                row.status, row.refund_keys = "void", [*row.refund_keys, key]
                row.save(update_fields=["refunded", "status", "refund_keys"])

    def checkout(
        self,
        *,
        customer_id: str,
        currency: str,
        items: Sequence[InvoiceItem],
        return_url: str,
        expires_at: datetime,
        key: str,
    ) -> Session:
        details = {"currency": currency, "lines": _lines(items)}
        return self._open(customer_id, "checkout", details, return_url, key, expires_at)

    def setup_card(self, *, customer_id: str, return_url: str, key: str) -> Session:
        return self._open(customer_id, "setup", {}, return_url, key)

    def portal(self, *, customer_id: str, return_url: str, key: str) -> Session:
        return self._open(customer_id, "portal", {}, return_url, key)

    def session(self, session_id: str) -> Session:
        return _session(SandboxSession.objects.get(session_id=session_id))

    def expire_session(self, session_id: str) -> bool:
        SandboxSession.objects.filter(session_id=session_id, status="open").update(status="expired")
        return True

    def put_subscription(self, subscription_id: str, terms: SubscriptionTerms, *, key: str) -> str:
        def make() -> SandboxSubscription:
            return SandboxSubscription.objects.create(
                subscription_id=f"sub_{secrets.token_hex(12)}",
                customer_id=terms.customer_id,
                entity_id=terms.entity_id or "",
                status=terms.status,
                idempotency_key=key,
            )

        found = subscription_id or _once(SandboxSubscription, key, make).subscription_id
        SandboxSubscription.objects.filter(subscription_id=found).update(
            items=[_written(item) for item in terms.items],
            current_period_start=terms.period_start,
            current_period_end=terms.period_end,
            status=terms.status,
            cancel_at=terms.cancel_at,
        )
        return found

    def put_subscriptions(self, puts: Sequence[Put]) -> list[str]:
        known = [put for put in puts if put.subscription_id]
        with connection.cursor() as cursor:
            cursor.execute(
                _PUT,
                {
                    "id": [put.subscription_id for put in known],
                    "items": [json.dumps([_written(item) for item in put.terms.items]) for put in known],
                    "start": [put.terms.period_start for put in known],
                    "end": [put.terms.period_end for put in known],
                    "status": [put.terms.status for put in known],
                    "cancel_at": [put.terms.cancel_at for put in known],
                },
            )
        return [put.subscription_id or self.put_subscription("", put.terms, key=put.key) for put in puts]

    def cancel_subscription(self, subscription_id: str, *, key: str) -> None:
        SandboxSubscription.objects.filter(subscription_id=subscription_id).update(status="canceled", cancel_at=None)

    def subscriptions(self, customer_id: str) -> list[ProcessorSubscription]:
        return [
            ProcessorSubscription(
                id=row.subscription_id,
                status=row.status,
                entity_id=row.entity_id or None,
                items=[_read(item) for item in row.items],
                current_period_start=row.current_period_start,
                current_period_end=row.current_period_end,
                cancel_at=row.cancel_at,
            )
            for row in SandboxSubscription.objects.filter(customer_id=customer_id)
        ]

    # -- what a customer does on the hosted pages --

    def set_card(self, customer_id: str, behavior: str | None) -> None:
        """Replace or (None) remove the card; `behavior` is one of SandboxCard.Behavior."""
        if behavior is None:
            SandboxCard.objects.filter(customer_id=customer_id).delete()
        else:
            SandboxCard.objects.update_or_create(customer_id=customer_id, defaults={"behavior": behavior})

    def page(self, session_id: str) -> SandboxSession | None:
        """What a hosted page is about."""
        return SandboxSession.objects.filter(session_id=session_id).first()

    def show(self, session_id: str, items: Sequence[InvoiceItem]) -> None:
        """Show other lines on a checkout page that is open."""
        row = SandboxSession.objects.get(session_id=session_id)
        row.details = {**row.details, "lines": _lines(items)}
        row.save(update_fields=["details"])

    def latest_checkout(self, customer_id: str) -> SandboxSession | None:
        """The checkout page opened last that is still open."""
        rows = SandboxSession.objects.filter(customer_id=customer_id, kind="checkout", status="open")
        return rows.order_by("-pk").first()

    def close_session(self, session_id: str) -> None:
        """The customer has done what the page was for."""
        SandboxSession.objects.filter(session_id=session_id, status="open").update(status="complete")

    def complete_session(self, session_id: str, behavior: str) -> Session:
        """The card is taken; what the page is for is charged to it afterwards, by whoever completes the change."""
        row = SandboxSession.objects.get(session_id=session_id)
        self.set_card(row.customer_id, behavior)
        return _session(row)

    def settle_invoice(self, invoice_id: str) -> ProcessorInvoice:
        """The customer pays an open invoice on its page, or passes 3D Secure for it."""
        SandboxInvoice.objects.filter(invoice_id=invoice_id, status="open").update(status="paid", problem="")
        return self.invoice(invoice_id)

    # -- inside --

    def _open(
        self,
        customer_id: str,
        kind: str,
        details: dict[str, Any],
        return_url: str,
        key: str,
        expires_at: datetime | None = None,
    ) -> Session:
        def make() -> SandboxSession:
            return SandboxSession.objects.create(
                session_id=f"cs_{secrets.token_urlsafe(24)}",
                customer_id=customer_id,
                kind=kind,
                status="open",
                details=details,
                return_url=return_url,
                expires_at=expires_at,
                idempotency_key=key,
            )

        return _session(_once(SandboxSession, key, make))


def _draft(charge: Charge) -> SandboxInvoice:
    return SandboxInvoice(
        invoice_id=f"in_{secrets.token_hex(12)}",
        customer_id=charge.customer_id,
        status="draft",
        total=sum((item.amount for item in charge.items), ZERO),
        currency=charge.currency,
        lines=[{"description": item.description, "amount": str(item.amount)} for item in charge.items],
        idempotency_key=charge.key,
    )


def _collect(row: SandboxInvoice, *, by_card: bool, card: SandboxCard | None, credit: Decimal) -> None:
    used = min(max(credit, ZERO), row.total) if row.total > 0 else ZERO
    due = row.total - used
    if due <= 0 or (by_card and card is not None and card.behavior == SandboxCard.Behavior.SUCCESS):
        row.status, row.credit_used, row.problem = "paid", used, ""
        return
    row.status = "open"
    if by_card:
        row.problem = _PROBLEMS[SandboxCard.Behavior(card.behavior)] if card else Problem.NO_CARD


def _once[M: models.Model](model: type[M], key: str, make: Callable[[], M]) -> M:
    """The row made under the key: the first call makes it, later ones find it."""
    rows: Any = model._default_manager
    found: M | None = rows.filter(idempotency_key=key).first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            return make()
    except IntegrityError:
        again: M = rows.get(idempotency_key=key)
        return again


def _lines(items: Sequence[InvoiceItem]) -> list[dict[str, Any]]:
    return [
        {"description": item.description, "amount": str(item.amount), "is_discount": item.is_discount} for item in items
    ]


def _session(row: SandboxSession) -> Session:
    return Session(row.session_id, f"{settings.BASE_URL}/pay/{row.kind}/{row.session_id}", row.status)


def _invoice(row: SandboxInvoice) -> ProcessorInvoice:
    return ProcessorInvoice(
        id=row.invoice_id,
        status=row.status,
        total=row.total,
        currency=row.currency,
        url=f"{settings.BASE_URL}/pay/invoice/{row.invoice_id}",
        problem=Problem(row.problem) if row.problem else None,
    )


def _written(item: SubscriptionItemState) -> dict[str, Any]:
    return {
        "plan_id": item.plan_id,
        "feature_id": item.feature_id,
        "quantity": str(item.quantity),
        "amount": str(item.amount),
    }


def _read(item: dict[str, Any]) -> SubscriptionItemState:
    return SubscriptionItemState(
        item["plan_id"], item["feature_id"], Decimal(item["quantity"]), Decimal(item["amount"])
    )

"""What a payment processor does for us, and the shapes it answers with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class Collection(StrEnum):
    """How an invoice is collected: from the card at once, by sending it, or not yet (a draft)."""

    CARD = "card"
    SEND = "send"
    DRAFT = "draft"


class Problem(StrEnum):
    """Why an invoice is still open."""

    DECLINED = "declined"
    AUTHENTICATION = "authentication"
    NO_CARD = "no_card"


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """The card on file; `kind` is the processor's word for it."""

    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class InvoiceItem:
    """A line as the processor shows it."""

    description: str
    amount: Decimal
    period_start: datetime | None = None
    period_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProcessorInvoice:
    """An invoice at the processor: `status` is paid, open, draft or void; `url` is its hosted page."""

    id: str
    status: str
    total: Decimal
    currency: str
    url: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A hosted page in progress."""

    id: str
    url: str
    status: str = "open"


@dataclass(frozen=True, slots=True)
class SubscriptionItemState:
    """One price of a subscription; `feature_id` is None for the base price, `amount` is for one cycle."""

    plan_id: str
    feature_id: str | None
    quantity: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ProcessorSubscription:
    """A subscription at the processor: one scope's, or one plan's when it has a cycle of its own."""

    id: str
    status: str
    entity_id: str | None
    items: list[SubscriptionItemState] = field(default_factory=list)
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    cancel_at: datetime | None = None


class PaymentProcessor(Protocol):
    """The operations that the engine asks for; nothing here computes what is owed."""

    name: str

    def ensure_customer(self, *, ref: str, email: str, name: str, key: str) -> str:
        """The processor's id of a customer of ours, made at the first call."""

    def payment_method(self, customer_id: str) -> PaymentMethod | None:
        """The card that charges go to; None without one."""

    def credit(self, customer_id: str, currency: str) -> Decimal:
        """What negative invoices left to be used up by later ones."""

    def charge_invoice(
        self,
        *,
        customer_id: str,
        currency: str,
        items: Sequence[InvoiceItem],
        collection: Collection,
        key: str,
    ) -> ProcessorInvoice:
        """Make an invoice and collect it. A total below 0 is paid at once and becomes credit; what fails stays open."""

    def invoice(self, invoice_id: str) -> ProcessorInvoice:
        """The invoice as it is now."""

    def invoice_by_key(self, key: str) -> ProcessorInvoice | None:
        """The invoice that `charge_invoice` made under a key; None when it never got that far."""

    def pay_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        """Try an open invoice again with the card on file."""

    def finalize_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        """Turn a draft into an open invoice."""

    def void_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        """Take back an invoice that is not paid."""

    def refund(self, invoice_id: str, amount: Decimal, *, key: str) -> Decimal:
        """Give back (part of) a paid invoice to the card; returns what was given back."""

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
        """A page where the customer enters a card and pays; nothing is charged before."""

    def setup_card(self, *, customer_id: str, return_url: str, key: str) -> Session:
        """A page where the customer enters a card."""

    def portal(self, *, customer_id: str, return_url: str, key: str) -> Session:
        """A page where the customer sees plans, invoices and the card."""

    def expire_session(self, session_id: str) -> None:
        """Close a page that was not completed."""

    def create_subscription(
        self,
        *,
        customer_id: str,
        entity_id: str | None,
        items: Sequence[SubscriptionItemState],
        period_start: datetime,
        period_end: datetime,
        anchor: datetime,
        key: str,
    ) -> str:
        """Open a subscription whose first period is already charged; returns its id."""

    def update_subscription(
        self,
        subscription_id: str,
        *,
        items: Sequence[SubscriptionItemState],
        period_start: datetime,
        period_end: datetime,
        status: str,
        cancel_at: datetime | None,
        key: str,
    ) -> None:
        """Say what the subscription holds from now on; never prorates or charges."""

    def cancel_subscription(self, subscription_id: str, *, key: str) -> None:
        """End a subscription now, without credit."""

    def subscriptions(self, customer_id: str) -> list[ProcessorSubscription]:
        """All subscriptions of a customer, ended ones too."""

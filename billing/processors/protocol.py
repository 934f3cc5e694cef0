"""What a payment processor does for us, and the shapes it answers with."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from plans.intervals import Interval


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
    is_discount: bool = False


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
    """A hosted page: `status` is open, complete or expired; `invoice` is what was paid on it."""

    id: str
    url: str
    status: str = "open"
    invoice: ProcessorInvoice | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionItemState:
    """One price of a subscription; `feature_id` is None for the base price, `amount` is for one `interval`."""

    plan_id: str
    feature_id: str | None
    quantity: Decimal
    amount: Decimal
    interval: Interval | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTerms:
    """What a subscription at the processor is to be: what the period that runs holds and the next renewal bills.

    `ref` names the scope (or the plan with a cycle of its own) for the customer's life: there is one live subscription
    for each. The running period is charged already. `interval` is how often it renews; `cancel_at` is when it ends.
    """

    ref: str
    customer_id: str
    entity_id: str | None
    currency: str
    items: Sequence[SubscriptionItemState]
    interval: Interval
    anchor: datetime
    period_start: datetime
    period_end: datetime
    status: str
    trial_ends_at: datetime | None = None
    ends_without_card: bool = False
    cancel_at: datetime | None = None
    sends_invoice: bool = False
    net_terms_days: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which renewal an invoice is for: the draft that the processor opens at the boundary is filled in."""

    subscription_id: str
    boundary: datetime


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
    ended_at: datetime | None = None
    currency: str = ""
    ref: str = ""
    customer_id: str = ""
    anchor: datetime | None = None
    started_at: datetime | None = None
    sends_invoice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """An invoice to make and collect; an earlier try under its key is looked for among those made `since`."""

    customer_id: str
    currency: str
    items: Sequence[InvoiceItem]
    collection: Collection
    key: str
    net_terms_days: int | None = None
    renewal: Renewal | None = None
    tries_again: bool = False
    since: datetime | None = None

    def arguments(self) -> dict[str, Any]:
        """The same, as `charge_invoice` takes it."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


@dataclass(frozen=True, slots=True)
class Put:
    """A subscription to bring in line: what `put_subscription` is given."""

    subscription_id: str
    terms: SubscriptionTerms
    key: str


class EventKind(StrEnum):
    """What an event is about; what has no kind is written down and left."""

    SESSION = "session"
    SUBSCRIPTION = "subscription"
    INVOICE = "invoice"
    CUSTOMER = "customer"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class ProcessorEventData:
    """What an event points at. It is a hint where to look: its contents may be old by now."""

    id: str
    type: str
    kind: EventKind | None
    object_id: str
    customer_id: str = ""
    subscription_id: str = ""
    boundary: datetime | None = None  # of the renewal that an invoice was opened for
    note: str = ""


class PaymentProcessor(Protocol):
    """The operations that the engine asks for; nothing here computes what is owed."""

    name: str
    # Whether many renewals may be made at once, while their customers' other calls wait: not where each is a request.
    takes_many: bool

    def ensure_customer(self, *, ref: str, email: str, name: str, clock_at: datetime | None, key: str) -> str:
        """The processor's id of a customer of ours, made at the first call; `clock_at` is its test clock, if any."""

    def turn_clock(self, customer_id: str, at: datetime) -> None:
        """Let a test customer's time pass at the processor too, up to `at`."""

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
        net_terms_days: int | None = None,
        renewal: Renewal | None = None,
        tries_again: bool = False,
        since: datetime | None = None,
    ) -> ProcessorInvoice:
        """Make an invoice and collect it. A total below 0 is paid at once and becomes credit; what fails stays open.

        With `tries_again` the processor may try the card again by itself later. `since` is when the key was first
        used, or before: no earlier invoice can be the one that it made.
        """

    def charge_invoices(self, charges: Sequence[Charge]) -> list[ProcessorInvoice]:
        """Many invoices at once: the same as one by one, in this order."""

    def expect_renewal(self, renewal: Renewal, *, goes_on: bool) -> None:
        """Raise RenewalNotReady when the processor has yet to open the renewal's invoice; `goes_on` unless all ends."""

    def invoice(self, invoice_id: str) -> ProcessorInvoice:
        """The invoice as it is now."""

    def invoice_by_key(self, key: str, *, customer_id: str, since: datetime | None = None) -> ProcessorInvoice | None:
        """The invoice that `charge_invoice` made under a key; None when it never got that far."""

    def pay_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        """Try an open invoice again with the card on file."""

    def finalize_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        """Turn a draft into an open invoice."""

    def void_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        """Take back an invoice that is not paid."""

    def refund(self, invoice_id: str, amount: Decimal, *, key: str) -> Decimal:
        """Give back (part of) a paid invoice to the card; returns what was given back."""

    def reverse_invoice(self, invoice_id: str, *, key: str) -> None:
        """Undo a paid invoice as if it had never been: money back to the card, credit back to where it was."""

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

    def session(self, session_id: str) -> Session:
        """The page as it is now."""

    def expire_session(self, session_id: str) -> bool:
        """Close a page; False when it was completed before, so that what it was for is about to happen."""

    def put_subscription(self, subscription_id: str, terms: SubscriptionTerms, *, key: str) -> str:
        """Bring a subscription ("": a new one) in line with `terms`; never prorates or charges. Returns its id.

        The id may be another one: what can't be changed in place is ended and opened again. It is "" when there can be
        none (yet): the renewal is charged without one then.
        """

    def put_subscriptions(self, puts: Sequence[Put]) -> list[str]:
        """Many subscriptions at once: the same as one by one, in this order."""

    def cancel_subscription(self, subscription_id: str, *, key: str) -> None:
        """End a subscription now, without credit."""

    def subscriptions(self, customer_id: str) -> list[ProcessorSubscription]:
        """All subscriptions of a customer, ended ones too."""


class Controls(Protocol):
    """What a customer would do on hosted pages, done by a program; never in a live environment."""

    def set_card(self, customer_id: str, behavior: str | None) -> None:
        """Replace or (None) remove the card; `behavior` is one of SandboxCard.Behavior."""

    def complete_session(self, session_id: str, behavior: str) -> Session:
        """Enter a card on a hosted page; raises PaymentDeclined where the page itself takes the payment."""

    def close_session(self, session_id: str) -> None:
        """What the page was for is done."""

    def settle_invoice(self, invoice_id: str) -> ProcessorInvoice:
        """Pay an open invoice on its page, or pass 3D Secure for it."""

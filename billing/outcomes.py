"""What a billing change comes to: computed without touching anything, shown by previews, carried out by actions."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from billing import proration
from billing.models import Discount, Overage, Subscription, SubscriptionItem, VacatedSeat
from billing.proration import Holding, Line


class Checkout(StrEnum):
    """Where the customer has to go to pay; the wire's `checkout_type`."""

    STRIPE = "stripe_checkout"
    OWN = "autumn_checkout"


@dataclass(slots=True)
class Start:
    """A subscription that begins: a new, unsaved one, or a scheduled one whose time has come."""

    holding: Holding
    predecessor: Subscription | None = None
    takes_id: bool = False  # the same plan with other terms keeps the id that applications know
    carried_balances: list[str] | None = None
    carried_usages: list[str] | None = None


@dataclass(slots=True)
class End:
    """A subscription that ends at once. Its overage was billed by a line of the outcome, or is waived."""

    subscription: Subscription
    reason: str


@dataclass(slots=True)
class Cancellation:
    """An end that is set for later, or (None) taken back."""

    subscription: Subscription
    ends_at: datetime | None


@dataclass(slots=True)
class NewQuantity:
    """A prepaid quantity: granted at once, or stored for the renewal."""

    item: SubscriptionItem
    quantity: Decimal
    at_renewal: bool = False


@dataclass(slots=True)
class NewCycle:
    """A subscription that goes on into its next period, or whose cycles are counted from another anchor from now on."""

    subscription: Subscription
    anchor: datetime
    start: datetime
    end: datetime
    ends_trial: bool = False


@dataclass(slots=True)
class NextCycle:
    """The invoice after this one, as far as it can be told now."""

    starts_at: datetime
    lines: list[Line]
    usage: list[tuple[Holding, SubscriptionItem]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """All that a change does. `lines` are the invoice; an empty outcome changes nothing."""

    at: datetime
    currency: str
    lines: list[Line] = field(default_factory=list)
    waiting: list[Line] = field(default_factory=list)  # for the next invoice
    starts: list[Start] = field(default_factory=list)
    schedules: list[Holding] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    pauses: list[Subscription] = field(default_factory=list)
    resumes: list[Subscription] = field(default_factory=list)
    cancellations: list[Cancellation] = field(default_factory=list)
    deletes: list[Subscription] = field(default_factory=list)
    quantities: list[NewQuantity] = field(default_factory=list)
    cycles: list[NewCycle] = field(default_factory=list)
    vacated: list[VacatedSeat] = field(default_factory=list)  # closed by this renewal
    waived: list[Overage] = field(default_factory=list)
    given: list[Discount] = field(default_factory=list)  # new, unsaved ones
    spent: list[Discount] = field(default_factory=list)  # used up by the lines, or taken away
    customer_anchor: datetime | None = None
    leaves_invoice: bool = False  # even when there is nothing to pay
    refund: Decimal | None = None
    next_cycle: NextCycle | None = None
    checkout: Checkout | None = None
    intent: str = "none"
    fingerprint: str = ""  # of the state it was computed from; time alone does not change it

    @property
    def total(self) -> Decimal:
        """What there is to pay, discounts taken off."""
        return proration.total(self.lines)

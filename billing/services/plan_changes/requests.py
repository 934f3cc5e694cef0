"""What is asked of billing, as values that can be written down with an operation and read back."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from plans.catalog.specs import ItemFilter, ItemSpec, LicenseTerms


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """How many units of a prepaid feature are wanted in all, the included ones counted."""

    feature: str
    quantity: Decimal


class LicenseQuantity(msgspec.Struct, frozen=True, kw_only=True):
    """How many licences of a plan are wanted in all, the included ones counted."""

    plan: str
    quantity: int


class LicenseChange(msgspec.Struct, frozen=True, kw_only=True):
    """A licence added to a plan for one customer, or with other terms; what is not given is as the plan offers it."""

    plan: str
    included: int | None = None
    customize: LicenseTerms | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A free trial given with a request instead of the plan's own."""

    length: int
    unit: str = "month"
    card_required: bool = True
    on_end: str = "bill"


class BasePrice(msgspec.Struct, frozen=True, kw_only=True):
    """A base price in place of the plan's."""

    amount: Decimal
    interval: str
    interval_count: int = 1


class Customize(msgspec.Struct, frozen=True, kw_only=True):
    """Terms of one attachment that differ from the plan's. UNSET: as in the plan; None: taken away."""

    price: BasePrice | msgspec.UnsetType | None = msgspec.UNSET
    items: list[ItemSpec] | None = None  # replaces all items
    add_items: list[ItemSpec] = []
    remove_items: list[ItemFilter] = []
    free_trial: Trial | msgspec.UnsetType | None = msgspec.UNSET
    billing_controls: dict[str, Any] | None = None
    upsert_licenses: list[LicenseChange] = []
    remove_licenses: list[str] = []

    @property
    def changes_terms(self) -> bool:
        changed = (self.add_items, self.remove_items, self.upsert_licenses, self.remove_licenses)
        return self.price is not msgspec.UNSET or self.items is not None or any(changed)


class CustomLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line worded and priced by the caller."""

    amount: Decimal
    description: str


class Coupon(msgspec.Struct, frozen=True, kw_only=True):
    """A discount that is asked for: a reward by its id, or by a code that stands for it."""

    reward: str | None = None
    code: str | None = None


class InvoiceMode(msgspec.Struct, frozen=True, kw_only=True):
    """Send an invoice to be paid instead of charging the card."""

    enabled: bool = True
    enable_plan_immediately: bool = False
    finalize: bool = True
    net_terms_days: int | None = None


class Carry(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the change, by feature; None: nothing, empty: every feature."""

    balances: list[str] | None = None
    usages: list[str] | None = None


class Attach(msgspec.Struct, frozen=True, kw_only=True):
    """A plan for a customer or one of its entities."""

    plan: str
    version: int | None = None
    quantities: list[Quantity] = []
    licenses: list[LicenseQuantity] = []
    customize: Customize = Customize()
    invoice_mode: InvoiceMode | None = None
    prorates: bool = True
    redirect_mode: str = "if_required"
    subscription_id: str | None = None
    success_url: str = ""
    new_billing_subscription: bool | None = None
    anchor: datetime | None = None  # the instant that `billing_cycle_anchor` named
    schedule: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    custom_lines: list[CustomLine] | None = None
    carry: Carry = Carry()
    metadata: dict[str, Any] = {}
    bills: bool = True  # False: `no_billing_changes`
    enable_plan_immediately: bool = False
    currency: str | None = None
    remove_plans: list[str] = []
    discounts: list[Coupon] = []
    remove_discounts: list[str] = []
    auto_enabled: bool = False
    fingerprint: str = ""  # of a preview: what it showed must still be so


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a plan that is held."""

    plan: str | None = None
    subscription_id: str | None = None
    action: str | None = None  # cancel_immediately, cancel_end_of_cycle, uncancel
    version: int | None = None
    quantities: list[Quantity] = []
    licenses: list[LicenseQuantity] = []
    customize: Customize = Customize()
    invoice_mode: InvoiceMode | None = None
    prorates: bool | None = None  # None: not said
    redirect_mode: str = "if_required"
    anchor: datetime | None = None
    bills: bool = True
    refund: str | None = None  # prorated, full
    recalculates: bool = False
    carry: Carry | None = None
    discounts: list[Coupon] = []
    remove_discounts: list[str] = []
    fingerprint: str = ""


class ScopedUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """An update in a scope: the customer's own, or an entity's."""

    update: Update
    entity_pk: int | None = None


class ScopedAttach(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment in a scope: the customer's own, or an entity's."""

    attach: Attach
    entity_pk: int | None = None


class MultiAttach(msgspec.Struct, frozen=True, kw_only=True):
    """Several plans attached together, on one invoice."""

    plans: list[ScopedAttach]


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """The plans of a schedule from an instant on. `resets_cycle`: their cycles are counted from it."""

    starts_at: datetime
    plans: list[ScopedAttach]
    resets_cycle: bool = False


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Plans that follow each other. `entity_pk` is the scope it was asked for, `others` are attached and stay."""

    phases: list[Phase]
    others: list[ScopedAttach] = []
    entity_pk: int | None = None
    schedule_id: str = ""

    @property
    def attachments(self) -> list[ScopedAttach]:
        """What is attached with the first phase."""
        return [*self.phases[0].plans, *self.others]


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """An entity to create."""

    entity_id: str
    feature: str
    name: str = ""
    billing_controls: dict[str, Any] = {}


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """An entity to delete."""

    entity_pk: int


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """Standing units to add to a balance whose changes are invoiced at once."""

    balance_pk: int
    usage: Decimal


def written(request: msgspec.Struct) -> dict[str, Any]:
    """The request as JSON can hold it, decimals and instants as text."""
    builtins: dict[str, Any] = msgspec.to_builtins(request)
    return builtins


# What may wait for a checkout page.
type Attachment = Attach | MultiAttach | Schedule


def read_attach(data: dict[str, Any]) -> Attachment:
    """An attachment, several, or a schedule, as written down."""
    if "phases" in data:
        return read(data, Schedule)
    return read(data, MultiAttach) if "plans" in data else read(data, Attach)


def each(request: Attachment, change: Callable[[Attach], Attach]) -> Attachment:
    """The request with every attachment that is made now changed."""
    if isinstance(request, Attach):
        return change(request)
    if isinstance(request, MultiAttach):
        return msgspec.structs.replace(request, plans=_each(request.plans, change))
    first = msgspec.structs.replace(request.phases[0], plans=_each(request.phases[0].plans, change))
    return msgspec.structs.replace(request, phases=[first, *request.phases[1:]], others=_each(request.others, change))


def first_of(request: Attachment) -> Attach:
    """What says how all of it is carried out."""
    if isinstance(request, Attach):
        return request
    plans = request.plans if isinstance(request, MultiAttach) else request.attachments
    return plans[0].attach


def _each(plans: list[ScopedAttach], change: Callable[[Attach], Attach]) -> list[ScopedAttach]:
    return [msgspec.structs.replace(scoped, attach=change(scoped.attach)) for scoped in plans]


def read[R: msgspec.Struct](data: dict[str, Any], shape: type[R]) -> R:
    """A request as it was written down."""
    return msgspec.convert(data, shape)

"""What staff can do to a customer: each action shows what will happen, asks why, and refuses if things have moved."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.widgets import INPUT_CLASSES

from billing.models import Balance, Hold, Invoice, LedgerEntry, Subscription
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from entities.models import Customer, Entity
from entities.subject import Subject

ZERO = Decimal(0)
# Rows that an action can be about, by the name of the parameter that says which.
ROWS: dict[str, type[Any]] = {
    "entity": Entity,
    "subscription": Subscription,
    "balance": Balance,
    "hold": Hold,
    "invoice": Invoice,
    "entry": LedgerEntry,
}


@dataclass(frozen=True, slots=True)
class Target:
    """Whom and what an action is about, and the customer's present."""

    customer: Customer
    at: datetime
    wall: datetime
    entity: Entity | None = None
    subscription: Subscription | None = None
    balance: Balance | None = None
    hold: Hold | None = None
    invoice: Invoice | None = None
    entry: LedgerEntry | None = None

    @property
    def subject(self) -> Subject:
        return Subject(self.customer, self.entity)

    @property
    def name(self) -> str:
        """Whom, as staff say it: `Alice of Acme`."""
        return f"{self.entity} of {self.customer}" if self.entity is not None else str(self.customer)

    @property
    def page_name(self) -> str:
        """What that page shows, as a link back says it."""
        if self.balance is not None:
            return str(self.balance)
        return f"Invoice {self.invoice}" if self.invoice is not None else self.name

    @property
    def page(self) -> str:
        """The address of the page that shows it."""
        if self.balance is not None:
            return reverse("admin:billing_balance_change", args=[self.balance.pk])
        if self.invoice is not None:
            return reverse("admin:billing_invoice_change", args=[self.invoice.pk])
        if self.entity is not None and self.entity.deleted_at is None:
            return reverse("admin:entities_entity_change", args=[self.entity.pk])
        return reverse("admin:entities_customer_change", args=[self.customer.pk])


@dataclass(frozen=True, slots=True)
class MoneyLine:
    """A line of an invoice to come."""

    text: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    """Lines that are charged together, and when."""

    title: str
    lines: tuple[MoneyLine, ...]
    total: Decimal
    currency: str


@dataclass(slots=True)
class Preview:
    """What will happen: in words, in money and in balances; and how to undo it."""

    sentences: list[str] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    undo: str = ""
    # How large it is: money that moves or is given up, and units given or taken. Above the limits that the settings
    # name, a second person approves.
    amount: Decimal = ZERO
    units: Decimal = ZERO
    # What the preview was computed from beyond what it shows.
    state: tuple[Any, ...] = ()

    def fingerprint(self) -> str:
        """The same as long as what was shown is still what would happen."""
        shown = (self.sentences, self.bills, self.movements, self.warnings, self.state)
        return hashlib.sha256(repr(shown).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Counter:
    """The action that makes up for one just done: on which rows, with which answers.

    Where it does not bring everything back as it was, `instead` says on the button what it does, and the button leads
    to its preview first.
    """

    slug: str
    rows: dict[str, Any]
    answers: dict[str, str] = field(default_factory=dict)
    instead: str = ""

    def kept(self) -> dict[str, Any]:
        """As the audit log keeps it, for those who want it undone later."""
        keys = {name: row.pk for name, row in self.rows.items() if row is not None}
        return {"slug": self.slug, "rows": keys, "answers": self.answers, "instead": self.instead}


class NoQuestions(forms.Form):
    """For actions that need no more than a yes."""


class Action:
    """One thing that staff can do. Subclasses call services; no rule of billing is in here."""

    slug: ClassVar[str]
    title: ClassVar[str]
    verb: ClassVar[str]  # on the button that does it
    permission: ClassVar[str]
    form_class: ClassVar[type[forms.Form]] = NoQuestions
    needs: ClassVar[tuple[str, ...]] = ()  # which rows have to be named
    is_dangerous: ClassVar[bool] = False
    sandbox_only: ClassVar[bool] = False

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def heading(self) -> str:
        """What it does, and to whom."""
        return f"{self.title}: {self.target.name}"

    def form(self, data: Any = None) -> forms.Form:
        """The questions."""
        return self.form_class(data)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What will happen; changes nothing. Raises DomainError where it can't be done."""
        raise NotImplementedError

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Do it; returns a sentence on what was done."""
        raise NotImplementedError

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """What makes up for it, once it has run under that request id; None where nothing does as it was."""
        return None

    def page_after(self) -> str:
        """Where to go when it is done."""
        return self.target.page


def named[R](row: R | None, name: str) -> R:
    """The row that the action is about; raises InvalidRequest where none was named."""
    if row is None:
        raise InvalidRequest(f"Say which {name}.")
    return row


REGISTRY: dict[str, type[Action]] = {}


def register[A: type[Action]](action: A) -> A:
    """Offer the action under its slug."""
    REGISTRY[action.slug] = action
    return action


@dataclass(frozen=True, slots=True)
class Button:
    """A way to an action."""

    url: str
    title: str
    is_dangerous: bool


def allowed(user: User | AnonymousUser, action: type[Action]) -> bool:
    """May this member of staff do it, in this environment?"""
    if action.sandbox_only and settings.ENVIRONMENT == "live":
        return False
    may: bool = user.is_active and user.has_perm(f"billing.{action.permission}")
    return may


def link(slug: str, customer: Customer, **rows: Any) -> str:
    """The address of an action about these rows."""
    query = urlencode({name: row.pk for name, row in rows.items() if row is not None})
    return reverse("admin:act", args=[slug, customer.pk]) + (f"?{query}" if query else "")


def buttons(user: User | AnonymousUser, customer: Customer, *slugs: str, **rows: Any) -> list[Button]:
    """Ways to those of the actions that this member of staff may do."""
    found = [REGISTRY[slug] for slug in slugs]
    return [
        Button(link(action.slug, customer, **rows), action.title, action.is_dangerous)
        for action in found
        if allowed(user, action)
    ]


INPUT = " ".join(INPUT_CLASSES)


class Moment(forms.DateTimeField):
    """A time in the viewer's zone, asked for with the browser's own picker and a few buttons beside it.

    `presets` are names that admin.js knows; they count from the customer's present, or with `moves` from what is in
    the field, so that pressing twice goes twice as far.
    """

    def __init__(self, *, presets: tuple[str, ...], moves: bool = False, **kwargs: Any) -> None:
        attrs = {"type": "datetime-local", "class": INPUT, "data-presets": "|".join(presets)}
        if not moves:
            attrs["data-stays"] = "1"
        widget = forms.DateTimeInput(attrs=attrs, format="%Y-%m-%dT%H:%M")
        super().__init__(widget=widget, **kwargs)

    def count_from(self, at: datetime) -> None:
        """The present that the buttons count from."""
        self.widget.attrs["data-from"] = f"{timezone.localtime(at):%Y-%m-%dT%H:%M}"

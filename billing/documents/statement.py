"""An invoice in words and figures, for the page and the PDF alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.conf import settings

from billing.models import Invoice, InvoiceLine
from plans import wording

ZERO = Decimal(0)
Status = Invoice.Status


@dataclass(frozen=True, slots=True)
class Row:
    """A line: what it is for, the period in UTC, how many, and the amount with its currency."""

    text: str
    period: str
    quantity: str
    amount: str


@dataclass(frozen=True, slots=True)
class Section:
    """The lines of one holder, an entity or the account itself; `subtotal` is empty where there is only one."""

    holder: str
    rows: list[Row]
    subtotal: str


@dataclass(frozen=True, slots=True)
class Statement:
    """All that an invoice says, in the order it is read."""

    title: str
    status: str
    status_name: str
    issued_at: datetime
    seller: list[str]
    buyer: list[str]
    facts: list[tuple[str, str]]
    sections: list[Section]
    totals: list[tuple[str, str]]
    note: str
    is_sandbox: bool


def statement(invoice: Invoice) -> Statement:
    """What an invoice says; needs its customer, and lines with their entities."""
    lines = list(invoice.lines.all())
    return Statement(
        title=f"Invoice {invoice.number}" if invoice.number else "Draft invoice",
        status=invoice.status,
        status_name=_status(invoice),
        issued_at=invoice.created_at,
        seller=[settings.ORGANIZATION_NAME, *settings.ORGANIZATION_DETAILS.splitlines()],
        buyer=_buyer(invoice),
        facts=_facts(invoice),
        sections=_sections(lines, invoice.currency),
        totals=_totals(invoice, lines),
        note=_note(invoice),
        is_sandbox=settings.ENVIRONMENT != "live",
    )


def day(moment: datetime) -> str:
    """The day in UTC: 1 April 2026."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%B %Y}"


def _status(invoice: Invoice) -> str:
    if invoice.status == Status.PAID and invoice.total < 0:
        return "Credited"
    if invoice.refunded and invoice.status == Status.PAID:
        return "Refunded" if invoice.refunded >= invoice.total else "Partly refunded"
    return str(invoice.get_status_display())


def _buyer(invoice: Invoice) -> list[str]:
    customer = invoice.customer
    lines = [customer.name, customer.email or "", f"Customer {customer.external_id}" if customer.external_id else ""]
    return [line for line in lines if line]


def _facts(invoice: Invoice) -> list[tuple[str, str]]:
    facts = [("Number", invoice.number)] if invoice.number else []
    facts.append(("Issued", day(invoice.created_at)))
    if invoice.due_at is not None and invoice.status == Status.OPEN:
        facts.append(("Due", day(invoice.due_at)))
    if invoice.paid_at is not None and invoice.status == Status.PAID and invoice.total >= 0:
        facts.append(("Paid", day(invoice.paid_at)))
    if invoice.period_start is not None and invoice.period_end is not None:
        facts.append(("Period", _period(invoice.period_start, invoice.period_end)))
    return facts


def _sections(lines: Sequence[InvoiceLine], currency: str) -> list[Section]:
    """The account first, then entity by entity in the order their lines come."""
    groups: dict[int | None, list[InvoiceLine]] = {None: []}
    for line in lines:
        groups.setdefault(line.entity_id, []).append(line)
    found = [group for group in groups.values() if group]
    return [
        Section(
            holder=str(group[0].entity or "Account"),
            rows=[_row(line, currency) for line in group],
            subtotal=wording.amount(sum((line.amount for line in group), ZERO), currency) if len(found) > 1 else "",
        )
        for group in found
    ]


def _row(line: InvoiceLine, currency: str) -> Row:
    has_period = line.period_start is not None and line.period_end is not None
    return Row(
        text=_text(line),
        period=_period(line.period_start, line.period_end) if has_period else "",
        quantity=wording.number(line.quantity),
        amount=wording.amount(line.amount, currency),
    )


def _text(line: InvoiceLine) -> str:
    """The description without what stands beside it: the holder and the period."""
    text = line.description
    if line.entity is not None:
        text = text.removesuffix(f" ({line.entity})")
    if line.period_start is not None and line.period_end is not None:
        text = text.removesuffix(f" (from {_short(line.period_start)} to {_short(line.period_end)})")
    return text


def _totals(invoice: Invoice, lines: Sequence[InvoiceLine]) -> list[tuple[str, str]]:
    """The total last but for what became of it; what adds up to it only where there is more than charges."""
    discounts = sum((line.amount for line in lines if line.kind == InvoiceLine.Kind.DISCOUNT), ZERO)
    rest = [line for line in lines if line.kind != InvoiceLine.Kind.DISCOUNT]
    credits_ = sum((line.amount for line in rest if line.amount < 0), ZERO)
    charges = sum((line.amount for line in rest if line.amount >= 0), ZERO)
    parts = [part for part in (("Charges", charges), ("Credits", credits_), ("Discounts", discounts)) if part[1]]
    shown = parts if len(parts) > 1 else []
    shown.append(("Total", invoice.total))
    if invoice.refunded:
        shown += [("Refunded", -invoice.refunded), ("Total after refund", invoice.total - invoice.refunded)]
    if invoice.status == Status.OPEN:
        shown.append(("Amount due", invoice.total))
    return [(label, wording.amount(value, invoice.currency)) for label, value in shown]


def _note(invoice: Invoice) -> str:
    if invoice.status == Status.DRAFT:
        return "This is a draft. It has no number yet and nothing has to be paid."
    if invoice.status == Status.VOID:
        return "This invoice is void. Nothing has to be paid."
    if invoice.total < 0:
        return "The amount is kept as credit and pays for the invoices that follow."
    return ""


def _period(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None:
        return ""
    return f"{_short(start)} – {_short(end)}"


def _short(moment: datetime) -> str:
    """As invoice lines say it: 1 Apr 2026."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %Y}"

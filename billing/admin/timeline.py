"""Everything that happened to a customer or entity, newest first: ledger, operations, invoices, and what staff did."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from django.urls import reverse

from billing.admin import refusals
from billing.models import Invoice, LedgerEntry, Operation
from billing.templatetags.shown import money, quantity, signed
from config import journal
from entities.models import Customer, Entity
from plans import wording
from plans.models import Plan

MOST = 20
DONE = {
    Operation.Kind.ATTACH: "Plan attached:",
    Operation.Kind.UPDATE: "Plan changed",
    Operation.Kind.SEATS: "Seats changed",
    Operation.Kind.RENEWAL: "Renewed",
    Operation.Kind.DELETE_ENTITY: "Entity deleted",
    Operation.Kind.CLOCK: "Clock turned",
    Operation.Kind.REFUND: "Refunded",
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the timeline."""

    at: datetime
    text: str
    detail: str
    who: str
    url: str = ""
    request_id: str = ""


def of(row: Customer | Entity) -> list[Happening]:
    """The newest of each kind, together; six statements."""
    operations = list(_operations(row))
    # What staff did is told once: by ledger or operation, with the reason from the audit log, else by that log.
    done = list(_done(row))
    known = {happening.request_id: happening for happening in done if happening.request_id}
    # The audit log says in words what an operation keeps for machines, and how it is undone.
    operations = [replace(one, url=known[one.request_id].url) if one.request_id in known else one for one in operations]
    found = [*_entries(row), *operations, *_invoices(row)]
    found = [
        replace(happening, detail=known[happening.request_id].detail)
        if not happening.detail and happening.request_id in known
        else happening
        for happening in found
    ]
    told = {happening.request_id for happening in found if happening.request_id}
    found += [happening for happening in done if happening.request_id not in told]
    found += _refusals(row)
    return sorted(found, key=lambda happening: happening.at, reverse=True)[:MOST]


def describe(entry: LedgerEntry) -> str:
    """The deltas: `+50 granted`, `+5 used`, `−3 held, +3 used`; `no change` for a reset of what was full."""
    parts = [
        f"{signed(value)} {name}"
        for name, value in (
            ("granted", entry.granted),
            ("used", entry.usage),
            ("held", entry.held),
            ("expired", entry.expired),
        )
        if value
    ]
    return ", ".join(parts) or "no change"


def tell(entry: LedgerEntry, who: str) -> str:
    """The entry as a sentence: `Alice used 5 Meeting Summaries`."""
    feature, kind = entry.balance.feature, entry.kind
    plain = not entry.held and not entry.expired
    if kind == LedgerEntry.Kind.USAGE and plain and not entry.granted:
        return f"{who} used {quantity(entry.usage)} {wording.name(feature, entry.usage)}"
    if kind == LedgerEntry.Kind.GRANT and plain and not entry.usage:
        amount = f"{quantity(entry.granted)} {wording.name(feature, entry.granted)}"
        return f"{who} was granted {amount}" if entry.granted else f"{who} got {feature}"
    if kind == LedgerEntry.Kind.SEAT and entry.reason:
        return entry.reason
    if kind == LedgerEntry.Kind.EXPIRY and not entry.granted and not entry.usage and not entry.held:
        return f"{quantity(entry.expired)} {wording.name(feature, entry.expired)} of {who} expired"
    if kind == LedgerEntry.Kind.RESET:
        return f"{feature} of {who} was reset"
    return f"{feature} of {who}: {entry.get_kind_display().lower()}, {describe(entry)}"


def _entries(row: Customer | Entity) -> Iterable[Happening]:
    entries = LedgerEntry.objects.select_related("balance__feature", "balance__entity", "balance__customer")
    about = {"customer_id": row.pk} if isinstance(row, Customer) else {"balance__entity": row.pk}
    entries = entries.filter(**about)
    for entry in entries.order_by("-pk")[:MOST]:
        who = str(entry.balance.entity or entry.balance.customer)
        url = reverse("admin:billing_balance_change", args=[entry.balance_id])
        text = tell(entry, who)
        yield Happening(
            entry.at, text, "" if text == entry.reason else entry.reason, entry.actor, url, entry.request_id
        )


def _operations(row: Customer | Entity) -> Iterable[Happening]:
    operations = list(Operation.objects.filter(**_about(row)).select_related("entity").order_by("-pk")[:MOST])
    slugs = {operation.request.get("plan") or "" for operation in operations}
    names = dict(Plan.objects.filter(slug__in=slugs, is_latest=True).values_list("slug", "name"))
    for operation in operations:
        slug = operation.request.get("plan") or ""
        plan = names.get(slug, slug)
        holder = f" · {operation.entity}" if isinstance(row, Customer) and operation.entity else ""
        text = f"{_kind(operation)} {plan}".strip() + holder
        url = reverse("admin:billing_operation_change", args=[operation.pk])
        yield Happening(operation.at, text, operation.reason, operation.actor, url, operation.request_id)


def _kind(operation: Operation) -> str:
    """What was done, or what it waits for or failed with."""
    if operation.status == Operation.Status.DONE and operation.kind in DONE:
        return DONE[Operation.Kind(operation.kind)]
    return f"{operation.get_kind_display()} ({operation.get_status_display().lower()})"


def _invoices(row: Customer | Entity) -> Iterable[Happening]:
    for invoice in Invoice.objects.filter(**_about(row)).shown()[:MOST]:
        text = f"Invoice {invoice}: {money(invoice.total, invoice.currency)}. {invoice.get_status_display()}"
        url = reverse("admin:billing_invoice_change", args=[invoice.pk])
        yield Happening(invoice.created_at, text, invoice.get_cause_display(), "", url)


def _done(row: Customer | Entity) -> Iterable[Happening]:
    for done in journal.read([row], limit=MOST):
        detail = done.reason or "; ".join(map(str, done.movements))
        url = reverse("admin:admin_logentry_change", args=[done.pk])
        yield Happening(done.at, done.title, detail, f"staff:{done.staff}", url, done.request_id)


def _refusals(row: Customer | Entity) -> Iterable[Happening]:
    for one in refusals.of(row):
        who = one.entity or one.customer
        text = f"{who} was refused {one.feature} {refusals.often(one)}"
        url = reverse("admin:entities_entity_change", args=[one.entity_id]) if one.entity_id else ""
        yield Happening(one.last_at, text, f"The last time: {refusals.why(one)}", "", url)


def _about(row: Customer | Entity) -> dict[str, Customer | Entity]:
    return {"customer": row} if isinstance(row, Customer) else {"entity": row}

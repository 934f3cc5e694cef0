"""Invoices at Stripe: ours, line by line, and the drafts of renewals that are filled in before they are collected."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from billing.processors.failures import CardRefused, ProcessorRefused, ProcessorUnavailable, RenewalNotReady
from billing.processors.protocol import Collection, InvoiceItem, Problem, ProcessorInvoice, Renewal
from billing.processors.stripe import customers
from billing.processors.stripe.client import Client, Found, digest, seconds
from billing.processors.stripe.money import from_minor, to_minor

DEFAULT_TERMS_DAYS = 30
KEY = "subledger_key"
BELONGS_TO = "subledger_belongs_to"
REVERSED = "subledger_reversed"
_LINES_A_CALL = 100
_CLOCKS_DIFFER = timedelta(hours=1)  # by more than any server's clock and Stripe's
_CYCLE = "subscription_cycle"


def charge(
    client: Client,
    *,
    customer_id: str,
    currency: str,
    items: Sequence[InvoiceItem],
    collection: Collection,
    key: str,
    net_terms_days: int | None,
    tries_again: bool,
    since: datetime | None,
    belongs_to: str = "",
) -> ProcessorInvoice:
    """An invoice of our own: draft, lines, finalize, pay. Each step finds what an earlier try left."""
    if not items:
        # Nothing to say: Stripe has no use for it.
        return ProcessorInvoice(id="", status="paid", total=Decimal(0), currency=currency, url="")
    found = find(client, customer_id, key, since=since)
    if found is None:
        params: Found = {
            "customer": customer_id,
            "currency": currency,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "metadata": {KEY: key, **({BELONGS_TO: belongs_to} if belongs_to else {})},
        }
        if collection is not Collection.CARD:
            days = net_terms_days if net_terms_days is not None else DEFAULT_TERMS_DAYS
            params |= {"collection_method": "send_invoice", "days_until_due": days}
        found = client.call(client.api.v1.invoices.create, params=params, key=f"{key}-create")
        if found["_replayed"]:
            found = read(client, found["id"])
    if found["status"] == "draft":
        found = _fill(client, found, items, key=key)
    if collection is Collection.DRAFT:
        return shape(found)
    if found["status"] == "draft":
        found = _finalize(client, found, key=key, advances=tries_again or collection is Collection.SEND)
    if collection is Collection.SEND:
        if found["status"] == "open":
            found = client.call(client.api.v1.invoices.send_invoice, found["id"], key=f"{key}-send")
        return shape(found)
    return pay(client, found, key=f"{key}-pay")


def renew(
    client: Client,
    renewal: Renewal,
    *,
    customer_id: str,
    currency: str,
    items: Sequence[InvoiceItem],
    collection: Collection,
    key: str,
    net_terms_days: int | None,
    since: datetime | None,
) -> ProcessorInvoice:
    """Collect a renewal: in the draft that Stripe made for it where there is one, else as an invoice of our own."""
    cycle = cycle_invoice(client, renewal)
    if cycle is None:
        return charge(
            client,
            customer_id=customer_id,
            currency=currency,
            items=items,
            collection=collection,
            key=key,
            net_terms_days=net_terms_days,
            tries_again=True,
            since=since,
        )
    if cycle["status"] == "draft":
        cycle = _fill(client, cycle, items, key=key)
        cycle = _finalize(client, cycle, key=key, advances=True)
    elif (cycle.get("metadata") or {}).get(KEY) != key:
        # Stripe waited for us for three days and collected without our lines: the rest is an invoice of its own.
        rest = _difference(cycle, items)
        if rest:
            charge(
                client,
                customer_id=customer_id,
                currency=currency,
                items=rest,
                collection=collection,
                key=f"{key}-rest",
                net_terms_days=net_terms_days,
                tries_again=True,
                since=since,
                belongs_to=cycle["id"],
            )
    if collection is not Collection.CARD:
        return shape(cycle)
    return pay(client, cycle, key=f"{key}-pay")


def expect_renewal(client: Client, renewal: Renewal, *, goes_on: bool) -> None:
    """Raise RenewalNotReady while Stripe is about to open the renewal's draft, or ended what should go on."""
    if cycle_invoice(client, renewal) is not None:
        return
    found = client.call(client.api.v1.subscriptions.retrieve, renewal.subscription_id)
    at = seconds(renewal.boundary)
    if found["status"] in ("canceled", "incomplete_expired"):
        if goes_on:
            raise RenewalNotReady("Stripe ended the subscription; its plans end here as soon as that is processed.")
        return
    if found.get("cancel_at") and found["cancel_at"] <= at:
        return
    if min(item["current_period_end"] for item in found["items"]["data"]) <= at:
        raise RenewalNotReady("Stripe has yet to open the renewal's invoice. It is collected as soon as it is there.")


def cycle_invoice(client: Client, renewal: Renewal) -> Found | None:
    """The invoice that Stripe opened at a boundary, in whatever state it is now."""
    if not renewal.subscription_id:
        return None
    at = seconds(renewal.boundary)
    params = {"subscription": renewal.subscription_id, "created": {"gte": at}}
    for row in client.each(client.api.v1.invoices.list, params=params):
        if is_cycle(row) and row["period_end"] == at:
            return row
    return None


def mark_of(found: Found) -> str:
    """Whose an invoice is, as we marked it: "" none of ours, "ours", "reversed", or "belongs to <id>"."""
    marks = found.get("metadata") or {}
    if REVERSED in marks:
        return "reversed"
    if BELONGS_TO in marks:
        return f"belongs to {marks[BELONGS_TO]}"
    return "ours" if KEY in marks or is_cycle(found) else ""


def is_cycle(found: Found) -> bool:
    """Whether Stripe opened it for a renewal."""
    return bool(found["billing_reason"] == _CYCLE)


def pay(client: Client, found: Found, *, key: str) -> ProcessorInvoice:
    """Try the card on file for an open invoice."""
    if found["status"] != "open":
        return shape(found)
    if customers.payment_method(customers.read(client, found["customer"])) is None:
        return shape(found, Problem.NO_CARD)
    try:
        paid = client.call(client.api.v1.invoices.pay, found["id"], params={"off_session": True}, key=key)
    except CardRefused as problem:
        why = Problem.AUTHENTICATION if problem.asks_customer else Problem.DECLINED
        return shape(read(client, found["id"]), why)
    except ProcessorRefused:
        # Paid meanwhile, on its page or by Stripe's own try?
        again = read(client, found["id"])
        if again["status"] != "paid":
            raise
        return shape(again)
    return shape(paid)


def read(client: Client, invoice_id: str) -> Found:
    return client.call(client.api.v1.invoices.retrieve, invoice_id)


def find(client: Client, customer_id: str, key: str, *, since: datetime | None) -> Found | None:
    """The invoice that was made under a key, `since` then. Keys at Stripe last a day; the mark on the invoice stays."""
    if not customer_id:
        return None
    params: Found = {"customer": customer_id}
    if since is not None:
        params["created"] = {"gte": seconds(since - _CLOCKS_DIFFER)}
    rows = client.each(client.api.v1.invoices.list, params=params)
    return next((row for row in rows if (row.get("metadata") or {}).get(KEY) == key), None)


def finalize(client: Client, invoice_id: str, *, key: str) -> ProcessorInvoice:
    found = read(client, invoice_id)
    if found["status"] == "draft":
        found = _finalize(client, found, key=key, advances=True)
    return shape(found)


def void(client: Client, invoice_id: str, *, key: str) -> ProcessorInvoice:
    """Take back what isn't paid; what was paid meanwhile comes back as paid."""
    found = read(client, invoice_id)
    if found["status"] == "draft":
        if found.get("parent") is None:
            client.call(client.api.v1.invoices.delete, invoice_id)
            return shape({**found, "status": "void"})
        found = _finalize(client, found, key=key, advances=False)
    if found["status"] in ("open", "uncollectible"):
        try:
            found = client.call(client.api.v1.invoices.void_invoice, invoice_id, key=key)
        except ProcessorRefused:
            found = read(client, invoice_id)
    return shape(found)


def shape(found: Found, problem: Problem | None = None) -> ProcessorInvoice:
    """An invoice in our words; what the processor wrote off counts as void."""
    status = {"uncollectible": "void"}.get(found["status"], found["status"])
    return ProcessorInvoice(
        id=found["id"],
        status=str(status),
        total=from_minor(found["total"], found["currency"]),
        currency=found["currency"],
        url=found.get("hosted_invoice_url") or "",
        problem=problem if status == "open" else None,
    )


def _fill(client: Client, found: Found, items: Sequence[InvoiceItem], *, key: str) -> Found:
    """Add the lines that a draft lacks, so that it comes to what we computed; raises when it does not."""
    currency = found["currency"]
    wanted = sum(to_minor(item.amount, currency) for item in items)
    marked = (found.get("metadata") or {}).get(KEY) == key
    if not (marked and found["lines"]["data"] and found["total"] == wanted):
        missing = _difference(found, items)
        for start in range(0, max(len(missing), 1), _LINES_A_CALL):
            part = missing[start : start + _LINES_A_CALL]
            if not part and marked:
                break
            found = _add(client, found, part, key=key)
    if found["total"] != wanted:
        raise ProcessorUnavailable(
            f"Stripe's invoice {found['id']} comes to {found['total']} instead of {wanted}. Nothing was collected."
        )
    return found


def _add(client: Client, found: Found, part: Sequence[InvoiceItem], *, key: str) -> Found:
    if not part:
        # Nothing to add: only say whose it is. A renewal's lines can be exactly Stripe's own.
        params: Found = {"metadata": {KEY: key}}
        return client.call(client.api.v1.invoices.update, found["id"], params=params, key=f"{key}-mark")
    params = {"lines": [_line(item, found["currency"]) for item in part], "invoice_metadata": {KEY: key}}
    step = f"{key}-lines-{digest([found['id'], found['total'], params])}"
    return client.call(client.api.v1.invoices.add_lines, found["id"], params=params, key=step)


def _difference(found: Found, items: Iterable[InvoiceItem]) -> list[InvoiceItem]:
    """What has to be added to the lines of an invoice so that it says what `items` say.

    A line of Stripe's that is one of ours stays; one that we don't charge is taken off again.
    """
    currency = found["currency"]
    there: list[tuple[int, str]] = [(row["amount"], row["description"] or "") for row in found["lines"]["data"]]
    missing = []
    for item in items:
        amount = to_minor(item.amount, currency)
        same = next((line for line in there if line[0] == amount), None)
        if same is not None:
            there.remove(same)
        else:
            missing.append(item)
    for amount, description in there:
        if amount:
            missing.append(InvoiceItem(f"Not charged: {description}"[:500], from_minor(-amount, currency)))
    return missing


def _line(item: InvoiceItem, currency: str) -> Found:
    line: Found = {"amount": to_minor(item.amount, currency), "description": item.description[:500]}
    if item.period_start is not None and item.period_end is not None:
        line["period"] = {"start": seconds(item.period_start), "end": seconds(item.period_end)}
    return line


def _finalize(client: Client, found: Found, *, key: str, advances: bool) -> Found:
    params = {"auto_advance": advances}
    done = client.call(client.api.v1.invoices.finalize_invoice, found["id"], params=params, key=f"{key}-finalize")
    return read(client, done["id"]) if done["_replayed"] else done

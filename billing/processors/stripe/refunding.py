"""Money going back: refunds to cards, invoices undone, and what was refunded on Stripe's dashboard."""

from decimal import Decimal

from billing.processors.stripe import invoicing
from billing.processors.stripe.client import Client, Found
from billing.processors.stripe.money import from_minor, to_minor


def refund(client: Client, invoice_id: str, amount: Decimal, *, key: str) -> Decimal:
    """Give back up to `amount` of what cards paid; what credit paid stays credit."""
    if not invoice_id or amount <= 0:
        return Decimal(0)
    found = client.call(client.api.v1.invoices.retrieve, invoice_id, params={"expand": ["payments"]})
    left, given = to_minor(amount, found["currency"]), 0
    for payment in found["payments"]["data"]:
        intent = (payment.get("payment") or {}).get("payment_intent")
        if intent is None or payment["status"] != "paid":
            continue
        given += _refund_payment(client, intent, payment["amount_paid"] or 0, left - given, key=key)
    return from_minor(given, found["currency"])


def refunds(client: Client, customer_id: str) -> dict[str, Decimal]:
    """What cards were given back, by whomever, by the invoice that they had paid."""
    given: dict[str, Decimal] = {}
    for charge in client.each(client.api.v1.charges.list, params={"customer": customer_id}):
        if not charge["amount_refunded"] or not charge.get("payment_intent"):
            continue
        payment = {"type": "payment_intent", "payment_intent": charge["payment_intent"]}
        for row in client.each(client.api.v1.invoice_payments.list, params={"payment": payment}):
            amount = from_minor(charge["amount_refunded"], charge["currency"])
            given[row["invoice"]] = given.get(row["invoice"], Decimal(0)) + amount
    return given


def reverse(client: Client, invoice_id: str, *, key: str) -> None:
    """Undo a paid invoice: cards get back what they paid, the balance what it paid or was given."""
    found = invoicing.read(client, invoice_id)
    currency = found["currency"]
    paid = from_minor(found["amount_paid"], currency)
    refund(client, invoice_id, paid, key=key)
    moved = (found.get("ending_balance") or 0) - found["starting_balance"]
    if moved and not _balanced(client, found, key):
        params: Found = {"amount": -moved, "currency": currency, "metadata": {invoicing.KEY: key}}
        transactions = client.api.v1.customers.balance_transactions
        client.call(transactions.create, found["customer"], params=params, key=f"{key}-balance")
    params = {"metadata": {invoicing.REVERSED: key}}
    client.call(client.api.v1.invoices.update, invoice_id, params=params, key=f"{key}-mark")


def _balanced(client: Client, found: Found, key: str) -> bool:
    rows = client.each(client.api.v1.customers.balance_transactions.list, found["customer"], params={})
    return any((row.get("metadata") or {}).get(invoicing.KEY) == key for row in rows)


def _refund_payment(client: Client, intent: str, paid: int, wanted: int, *, key: str) -> int:
    """Refund one payment; what was refunded before under the key counts, what else was refunded is not there."""
    given = 0
    for row in client.each(client.api.v1.refunds.list, params={"payment_intent": intent}):
        if row["status"] in ("failed", "canceled"):
            continue
        if (row.get("metadata") or {}).get(invoicing.KEY) == key:
            return int(row["amount"])
        given += row["amount"]
    amount = min(wanted, paid - given)
    if amount <= 0:
        return 0
    params = {"payment_intent": intent, "amount": amount, "metadata": {invoicing.KEY: key}}
    client.call(client.api.v1.refunds.create, params=params, key=f"{key}-{intent}")
    return amount

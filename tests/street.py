"""Customers without a clock of their own: the day is everybody's, and what is due waits for cron to come by."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any

from django.core.management import call_command

from billing.models import Invoice
from config import clock
from tests.client import Api


class Street:
    """Customers whose time is everybody's; `on` goes to a day, `run` lets cron come by."""

    def __init__(self, api: Api, since: str = "2026-01-31") -> None:
        self.api = api
        self.on(since)

    def on(self, day: str) -> None:
        self.day = datetime.fromisoformat(day).replace(tzinfo=UTC)

    def call(self, path: str, customer: str = "acme", **body: Any) -> Any:
        with clock.frozen(self.day):
            return self.api.post(path, customer_id=customer, **body)

    def opens(self, customer: str = "acme", plan: str = "pro") -> None:
        self.call("customers.get_or_create", customer)
        self.call("sandbox.set_payment_method", customer, payment_method="success")
        self.call("billing.attach", customer, plan_id=plan)

    def run(self, **options: Any) -> str:
        said = StringIO()
        with clock.frozen(self.day):
            call_command("run_due", stdout=said, stderr=StringIO(), **options)
        return said.getvalue()

    def invoices(self, customer: str = "acme") -> list[tuple[Any, str]]:
        found = Invoice.objects.shown().filter(customer__external_id=customer).order_by("pk")
        return [(invoice.total, f"{invoice.created_at:%Y-%m-%d}") for invoice in found]

    def balance(self, customer: str = "acme") -> Any:
        return self.call("customers.get", customer)["balances"]["messages"]

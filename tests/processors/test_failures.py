"""What goes wrong with Stripe, told so that staff know what to do; and how the client is set up."""

import re
from decimal import Decimal
from typing import Any

import pytest
import stripe as sdk
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction

from billing.models import Operation
from billing.processors import Collection, InvoiceItem
from billing.processors.failures import CardRefused, MissingAtProcessor, ProcessorRefused
from billing.processors.stripe import StripeProcessor
from billing.processors.stripe.money import from_minor, to_minor
from config import clock
from entities.models import Customer
from tests.processors.fake_stripe import FakeStripe, Fault, invoices
from tests.processors.fake_stripe.stand_in import StandIn
from tests.processors.test_stripe_billing import charged
from tests.selling import CUSTOMER, Shop


@pytest.mark.parametrize(
    ("fault", "status", "code", "says"),
    [
        (Fault.UNAUTHORIZED, 502, "processor_misconfigured", "STRIPE_SECRET_KEY"),
        (Fault.FORBIDDEN, 502, "processor_misconfigured", "permission"),
        (Fault.RATE_LIMIT, 503, "processor_unavailable", "busy"),
        (Fault.LOCKED, 503, "processor_unavailable", "busy"),
        (Fault.KEY_IN_USE, 503, "processor_unavailable", "still at work"),
        (Fault.SERVER_ERROR, 503, "processor_unavailable", "try again"),
        (Fault.TIMEOUT, 503, "processor_unavailable", "try again"),
    ],
)
def test_each_failure_says_what_to_do_and_leaves_nothing_behind(
    shop: Shop, fake: FakeStripe, fault: Fault, status: int, code: str, says: str
) -> None:
    shop.opens()
    fake.faults.order(fault, times=None, call="POST /v1/invoices")
    answer = shop.api.refused(status, "billing.attach", customer_id=CUSTOMER, plan_id="pro")
    assert answer["code"] == code
    assert says in answer["message"]
    fake.faults.clear()
    assert shop.plans() == {}
    assert charged(fake) == 0
    shop.attach("pro")
    assert charged(fake) == 20
    assert not Operation.objects.filter(status="pending").exists()


# What is asked of Stripe, and the right that a restricted key needs for it.
RIGHTS = {
    "customers": "Customers",
    "payment_methods": "PaymentMethods",
    "products": "Products",
    "subscriptions": "Subscriptions",
    "invoices": "Invoices",
    "invoice_payments": "Invoices",
    "checkout": "Checkout Sessions",
    "billing_portal": "Customer portal",
    "refunds": "Charges and Refunds",
    "charges": "Charges and Refunds",
    "webhook_endpoints": "Webhook Endpoints",
    "test_helpers": "Test clocks",
}


def test_the_readme_names_every_right_that_a_restricted_key_needs() -> None:
    sources = "".join(path.read_text() for path in (settings.BASE_DIR / "billing/processors/stripe").glob("*.py"))
    assert set(re.findall(r"api\.v1\.(\w+)", sources)) == RIGHTS.keys()
    told = (settings.BASE_DIR / "README.md").read_text().split("Make a restricted key")[1].split("2. Confirm")[0]
    assert [right for right in RIGHTS.values() if right not in " ".join(told.split())] == []


def test_other_contents_under_a_used_key_are_refused(stripe: StandIn, db: None) -> None:
    create = stripe.client.api.v1.customers.create
    stripe.client.call(create, params={"name": "Alice"}, key="k")
    with pytest.raises(ProcessorRefused, match="other contents"):
        stripe.client.call(create, params={"name": "Bob"}, key="k")


def test_what_stripe_does_not_know_is_told(stripe: StandIn, db: None) -> None:
    with pytest.raises(MissingAtProcessor, match="No such invoice"):
        stripe.invoice("in_nowhere")


def test_a_card_that_the_bank_refuses_elsewhere_than_at_an_invoice_is_told_as_such(stripe: StandIn, db: None) -> None:
    problem = sdk.CardError("Your card was declined.", None, "card_declined", http_status=402)  # type: ignore[no-untyped-call]

    def refuse(**_: Any) -> None:
        raise problem

    with pytest.raises(CardRefused, match="The bank refused the card: Your card was declined") as told:
        stripe.client.call(refuse)
    assert (told.value.status, told.value.asks_customer) == (402, False)


def test_what_was_made_under_a_key_is_found_among_many_later_invoices_when_stripe_forgot_the_key(
    stripe: StandIn, db: None
) -> None:
    customer = stripe.ensure_customer(ref="x", email="", name="", clock_at=None, key="x")
    stripe.set_card(customer, "success")

    def charge() -> str:
        return stripe.charge_invoice(
            customer_id=customer,
            currency="usd",
            items=[InvoiceItem("Pro", Decimal(20))],
            collection=Collection.CARD,
            key="once",
            since=clock.now(),
        ).id

    first = charge()
    for _ in range(120):
        invoices.create(stripe.fake.world, {"customer": customer})
    stripe.fake.forget_keys()
    assert charge() == first
    assert stripe.fake.paid(customer) == 2000


def test_no_call_is_made_inside_a_transaction(stripe: StandIn, db: None) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a database transaction"):
        stripe.payment_method("cus_1")
    assert stripe.fake.calls == []


def test_the_client_retries_twice_waits_half_a_minute_and_tells_nobody() -> None:
    made = StripeProcessor("sk_test_x").client.api
    assert made._requestor._options.max_network_retries == 2
    client = made._requestor._client
    assert isinstance(client, sdk.RequestsClient)
    assert client._timeout == (5, 30)
    assert sdk.enable_telemetry is False


def test_seats_tracked_under_a_key_are_charged_once_outside_the_transaction(shop: Shop, fake: FakeStripe) -> None:
    shop.opens("2027-04-01", "a")
    shop.buys("team")
    body = {"customer_id": CUSTOMER, "feature_id": "seats", "value": 2}
    for _ in range(2):
        assert shop.api.send("balances.track", body, Idempotency_Key="once").status_code == 200
    assert charged(fake) == 20 + 20
    batch = shop.api.send("balances.batch_track", [body])
    assert batch.status_code == 400
    assert "Track them alone" in batch.content.decode()


def test_a_customer_created_under_a_key_gets_a_paid_plan_that_starts_by_itself(shop: Shop, fake: FakeStripe) -> None:
    trial = {"duration_length": 14, "duration_type": "day", "card_required": False}
    shop.plan("starter", 20, group="starter", auto_enable=True, free_trial=trial)
    for _ in range(2):
        answer = shop.api.send("customers.get_or_create", {"customer_id": "new"}, Idempotency_Key="once")
        assert answer.status_code == 200
    assert [row["status"] for row in fake.world.all("subscription")] == ["trialing"]


def test_products_are_made_once_and_found_again(shop: Shop, fake: FakeStripe, stripe: StandIn) -> None:
    shop.opens("2027-04-01", "a", "b")
    shop.buys("pro", "a")
    stripe.products.known.clear()  # another process
    shop.buys("pro", "b")
    assert [row["id"] for row in fake.world.all("product")] == ["subledger_pro"]
    assert [path for method, path, _ in fake.calls if (method, path) == ("POST", "/v1/products")] == ["/v1/products"]


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.345", "usd", 1235),
        ("1234.5", "jpy", 1235),
        ("1.234", "kwd", 1230),
        ("5", "ugx", 500),
        ("-0.005", "eur", -1),
    ],
)
def test_amounts_in_minor_units(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(1235, "usd", "12.35"), (1235, "jpy", "1235"), (1230, "kwd", "1.23"), (500, "isk", "5")],
)
def test_amounts_in_major_units(minor: int, currency: str, amount: str) -> None:
    assert from_minor(minor, currency) == Decimal(amount)


def test_the_webhook_endpoint_is_made_once_for_our_api_version(
    stripe: StandIn, fake: FakeStripe, db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="https"):
        call_command("create_stripe_webhook", url="http://127.0.0.1:8000")
    call_command("create_stripe_webhook", url="https://billing.example.com")
    (made,) = fake.world.all("webhook_endpoint")
    assert f"STRIPE_WEBHOOK_SECRET={made['secret']}" in capsys.readouterr().out
    assert made["url"] == "https://billing.example.com/v1/webhooks/stripe"
    with pytest.raises(CommandError, match="already"):
        call_command("create_stripe_webhook", url="https://billing.example.com")


def test_reconcile_finds_what_differs_and_repairs_what_moves_no_money(
    shop: Shop, stripe: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.opens("2027-04-01", "a")
    shop.buys("pro", "a")
    call_command("reconcile")
    assert "1 customers, found 0 differences" in capsys.readouterr().out
    (held,) = stripe.subscriptions(Customer.objects.get().processor_id)
    item: Any = stripe.fake.world.get("subscription", held.id)["items"]["data"][0]
    item["price"]["unit_amount"] = 100
    item["metadata"]["amount"] = "1"
    stripe.fake.cancel(held.id, at_period_end=True)
    with pytest.raises(CommandError, match="agrees"):
        call_command("reconcile", customer=CUSTOMER)
    shown = capsys.readouterr().out
    assert "pro base price: here 1 for 20, at Stripe 1 for 1" in shown
    assert "cancel_at: here None" in shown
    call_command("reconcile", customer=CUSTOMER, repair=True)
    assert "found 0 differences" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no customer"):
        call_command("reconcile", customer="nobody")

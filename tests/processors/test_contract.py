"""What every payment processor promises the engine: one suite, run on each; on Stripe itself with STRIPE_TEST_KEY."""

import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from billing.processors import Collection, InvoiceItem, Problem, ProcessorInvoice, SubscriptionItemState
from billing.processors.protocol import Controls, PaymentProcessor, SubscriptionTerms
from billing.processors.sandbox import SandboxProcessor
from billing.processors.stripe import StripeProcessor
from plans.intervals import Interval, IntervalUnit

pytestmark = pytest.mark.django_db

AT = datetime(2027, 4, 1, tzinfo=UTC)
MONTH = Interval(IntervalUnit.MONTH)
STRIPE_KEY = os.environ.get("STRIPE_TEST_KEY", "")
WITH_KEY = pytest.mark.skipif("_test_" not in STRIPE_KEY, reason="STRIPE_TEST_KEY is not set to a test key")


def _on_stripe_itself() -> PaymentProcessor:
    return StripeProcessor(STRIPE_KEY)


def _on_stripe() -> PaymentProcessor:
    stand_in = pytest.importorskip("tests.processors.fake_stripe.stand_in")
    processor: PaymentProcessor = stand_in.StandIn(stand_in.FakeStripe())
    return processor


class Till:
    """A processor with one customer, and keys that are never the same."""

    def __init__(self, processor: PaymentProcessor, card: str | None = "success") -> None:
        self.processor = processor
        self.controls: Controls = processor  # type: ignore[assignment]  # each of ours can play the customer too
        self.mark = uuid4().hex
        self.keys = map(self.key, itertools.count())
        self.customer = processor.ensure_customer(
            ref="acme", email="alice@example.com", name="Alice", clock_at=AT, key=self.key("customer")
        )
        self.card(card)

    def key(self, name: object) -> str:
        """The same for the same name, and nobody else's: Stripe remembers them for a day."""
        return f"{self.mark}-{name}"

    def card(self, behavior: str | None) -> None:
        self.controls.set_card(self.customer, behavior)

    def charge(self, *amounts: str, how: Collection = Collection.CARD, key: str = "") -> ProcessorInvoice:
        items = [InvoiceItem(f"Line {amount}", Decimal(amount), AT, AT + timedelta(days=30)) for amount in amounts]
        return self.processor.charge_invoice(
            customer_id=self.customer, currency="usd", items=items, collection=how, key=key or next(self.keys)
        )

    def terms(self, **changed: object) -> SubscriptionTerms:
        given = {
            "ref": "acme-a",
            "customer_id": self.customer,
            "entity_id": "a",
            "currency": "usd",
            "items": [SubscriptionItemState("pro", None, Decimal(1), Decimal(20), MONTH, "Pro")],
            "interval": MONTH,
            "anchor": AT,
            "period_start": AT,
            "period_end": datetime(2027, 5, 1, tzinfo=UTC),
            "status": "active",
            **changed,
        }
        return SubscriptionTerms(**given)  # type: ignore[arg-type]


@pytest.fixture(
    params=[
        pytest.param(SandboxProcessor, id="sandbox"),
        pytest.param(_on_stripe, id="stripe on the fake"),
        pytest.param(_on_stripe_itself, id="stripe", marks=WITH_KEY),
    ]
)
def till(request: pytest.FixtureRequest) -> Till:
    make: Callable[[], PaymentProcessor] = request.param
    return Till(make())


def test_a_card_that_pays_pays_the_sum_of_the_lines(till: Till) -> None:
    paid = till.charge("20", "-5.25", "0.33")
    assert (paid.status, paid.total, paid.currency, paid.problem) == ("paid", Decimal("15.08"), "usd", None)
    assert till.processor.invoice(paid.id) == paid


def test_the_same_key_charges_once(till: Till) -> None:
    first = till.charge("20", key=till.key("once"))
    assert till.charge("20", key=till.key("once")).id == first.id
    found = till.processor.invoice_by_key(till.key("once"), customer_id=till.customer)
    assert found is not None
    assert found.id == first.id
    assert till.processor.invoice_by_key(till.key("never"), customer_id=till.customer) is None


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        ("declines", Problem.DECLINED),
        ("requires_authentication", Problem.AUTHENTICATION),
        (None, Problem.NO_CARD),
    ],
)
def test_what_cannot_be_collected_stays_open_and_says_why(till: Till, card: str | None, problem: Problem) -> None:
    till.card(card)
    left = till.charge("20")
    assert (left.status, left.problem) == ("open", problem)
    assert left.url
    paid = till.controls.settle_invoice(left.id)
    assert (paid.status, paid.id) == ("paid", left.id)


def test_an_open_invoice_is_paid_by_a_better_card(till: Till) -> None:
    till.card("declines")
    left = till.charge("20")
    assert till.processor.pay_invoice(left.id, key=next(till.keys)).status == "open"
    till.card("success")
    assert till.processor.pay_invoice(left.id, key=next(till.keys)).status == "paid"


def test_what_is_void_is_not_paid_and_what_is_paid_is_not_void(till: Till) -> None:
    paid = till.charge("20")
    till.card("declines")
    left = till.charge("20")
    assert till.processor.void_invoice(left.id, key=next(till.keys)).status == "void"
    assert till.processor.invoice(paid.id).status == "paid"


def test_a_negative_invoice_is_paid_and_its_amount_pays_later_ones(till: Till) -> None:
    assert till.charge("-30").status == "paid"
    assert till.processor.credit(till.customer, "usd") == 30
    till.card("declines")
    assert till.charge("20").status == "paid"
    assert till.processor.credit(till.customer, "usd") == 10
    assert till.charge("20").status == "open"


def test_nothing_to_pay_is_paid(till: Till) -> None:
    till.card(None)
    assert till.charge("20", "-20").status == "paid"
    assert till.charge().status == "paid"


def test_invoices_can_be_sent_or_kept_as_drafts(till: Till) -> None:
    sent = till.charge("20", how=Collection.SEND)
    assert (sent.status, sent.problem) == ("open", None)
    draft = till.charge("20", how=Collection.DRAFT)
    assert draft.status == "draft"
    assert till.processor.finalize_invoice(draft.id, key=next(till.keys)).status == "open"


def test_a_refund_gives_back_once_and_no_more_than_was_paid(till: Till) -> None:
    paid = till.charge("20")
    assert till.processor.refund(paid.id, Decimal(5), key=till.key("first")) == 5
    assert till.processor.refund(paid.id, Decimal(5), key=till.key("first")) == 5
    assert till.processor.refund(paid.id, Decimal(100), key=till.key("second")) == 15


def test_the_card_on_file_is_known(till: Till) -> None:
    assert till.processor.payment_method(till.customer) is not None
    till.card(None)
    assert till.processor.payment_method(till.customer) is None


def test_a_checkout_is_open_until_it_is_completed_or_closed(till: Till) -> None:
    def checkout(key: str) -> str:
        return till.processor.checkout(
            customer_id=till.customer,
            currency="usd",
            items=[InvoiceItem("Pro", Decimal(20))],
            return_url="https://app.example.com/done",
            expires_at=AT + timedelta(hours=1),
            key=key,
        ).id

    session = checkout(till.key("c1"))
    assert checkout(till.key("c1")) == session
    assert till.processor.session(session).status == "open"
    assert till.processor.expire_session(session)
    assert till.processor.session(session).status == "expired"


def test_subscriptions_are_opened_once_changed_in_place_and_ended(till: Till) -> None:
    opened = till.processor.put_subscription("", till.terms(), key=till.key("s1"))
    assert till.processor.put_subscription("", till.terms(), key=till.key("s1")) == opened
    (shown,) = [row for row in till.processor.subscriptions(till.customer) if row.status != "canceled"]
    assert (shown.id, shown.entity_id) == (opened, "a")
    assert [(item.plan_id, item.quantity, item.amount) for item in shown.items] == [("pro", Decimal(1), Decimal(20))]
    more = [
        SubscriptionItemState("premium", None, Decimal(1), Decimal(50), MONTH, "Premium"),
        SubscriptionItemState("premium", "seats", Decimal(3), Decimal(20), MONTH, "Seats"),
    ]
    kept = till.processor.put_subscription(opened, till.terms(items=more), key=till.key("s2"))
    (shown,) = [row for row in till.processor.subscriptions(till.customer) if row.status != "canceled"]
    assert shown.id == kept
    assert sorted((item.feature_id or "", item.quantity) for item in shown.items) == [
        ("", Decimal(1)),
        ("seats", Decimal(3)),
    ]
    till.processor.cancel_subscription(kept, key=till.key("s3"))
    assert all(row.status == "canceled" for row in till.processor.subscriptions(till.customer))

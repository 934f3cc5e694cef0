"""Facts about Stripe that only Stripe can confirm. Runs with STRIPE_TEST_KEY in the environment, else is skipped.

It makes customers on test clocks in that account's test mode and leaves them there (Stripe deletes them after a month).
Each test names what depends on the fact; when one fails, read that before going live.
"""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from billing.processors import Collection, InvoiceItem, Renewal, SubscriptionItemState, SubscriptionTerms
from billing.processors.failures import ProcessorFailure
from billing.processors.stripe import StripeProcessor
from plans.intervals import Interval, IntervalUnit

KEY = os.environ.get("STRIPE_TEST_KEY", "")
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("_test_" not in KEY, reason="STRIPE_TEST_KEY is not set to a test key"),
]
MONTH = Interval(IntervalUnit.MONTH)
WEEK = Interval(IntervalUnit.WEEK)


class Alice:
    """A customer on a test clock with a card that pays."""

    def __init__(self, opened: datetime | None) -> None:
        self.processor = StripeProcessor(KEY)
        self.mark = uuid4().hex
        self.customer = self.processor.ensure_customer(
            ref=self.mark, email="alice@example.com", name="Alice", clock_at=opened, key=self.mark
        )
        self.processor.set_card(self.customer, "success")

    def terms(self, anchor: datetime, start: datetime, end: datetime, **changed: object) -> SubscriptionTerms:
        given = {
            "ref": self.mark,
            "customer_id": self.customer,
            "entity_id": None,
            "currency": "usd",
            "items": [SubscriptionItemState("pro", None, Decimal(1), Decimal(20), MONTH, "Pro")],
            "interval": MONTH,
            "anchor": anchor,
            "period_start": start,
            "period_end": end,
            "status": "active",
            **changed,
        }
        return SubscriptionTerms(**given)  # type: ignore[arg-type]

    def put(self, terms: SubscriptionTerms, of: str = "") -> str:
        return self.processor.put_subscription(of, terms, key=uuid4().hex)

    def until(self, moment: datetime) -> None:
        self.processor.turn_clock(self.customer, moment)

    def paid(self) -> list[Decimal]:
        """Totals other than 0, oldest first."""
        rows = list(self.processor.invoices_with_marks(self.customer))[::-1]
        return [row.total for row, _ in rows if row.status == "paid" and row.total]

    def charge(self, *amounts: int, renewal: Renewal | None = None) -> str:
        return self.processor.charge_invoice(
            customer_id=self.customer,
            currency="usd",
            items=[InvoiceItem(f"Line {amount}", Decimal(amount)) for amount in amounts],
            collection=Collection.CARD,
            key=uuid4().hex,
            renewal=renewal,
        ).status


def at(month: int, day: int, year: int = 2027) -> datetime:
    return datetime(year, month, day, 10, 20, 30, tzinfo=UTC)


def test_an_anchor_of_the_31st_in_february_comes_back_in_march() -> None:
    boundaries = [at(2, 28), at(3, 31), at(4, 30)]
    alice = Alice(at(2, 10))
    held = alice.put(alice.terms(at(1, 31), at(2, 10), boundaries[0]))
    for boundary in boundaries:
        found = alice.processor.subscription(held)
        assert found is not None
        assert found.current_period_end == boundary
        alice.until(boundary + timedelta(minutes=5))


def test_a_subscription_whose_first_period_is_paid_charges_nothing_when_it_opens() -> None:
    alice = Alice(at(4, 1))
    alice.put(alice.terms(at(4, 1), at(4, 1), at(5, 1)))
    assert alice.paid() == []


def test_at_the_boundary_there_is_a_draft_that_takes_our_lines_and_is_paid() -> None:
    alice = Alice(at(4, 1))
    held = alice.put(alice.terms(at(4, 1), at(4, 1), at(5, 1)))
    alice.until(at(5, 1) + timedelta(minutes=5))
    renewal = Renewal(held, at(5, 1))
    alice.processor.expect_renewal(renewal, goes_on=True)
    assert alice.charge(20, 7, renewal=renewal) == "paid"
    assert alice.paid() == [Decimal(27)]


def test_a_lower_price_without_proration_leaves_no_credit() -> None:
    alice = Alice(at(4, 1))
    held = alice.put(alice.terms(at(4, 1), at(4, 1), at(5, 1)))
    lower = [SubscriptionItemState("basic", None, Decimal(1), Decimal(5), MONTH, "Basic")]
    assert alice.put(alice.terms(at(4, 1), at(4, 1), at(5, 1), items=lower), of=held) == held
    assert alice.processor.credit(alice.customer, "usd") == 0
    assert alice.paid() == []


def test_another_interval_opens_another_subscription_and_charges_nothing() -> None:
    alice = Alice(at(4, 1))
    held = alice.put(alice.terms(at(4, 1), at(4, 1), at(5, 1)))
    weekly = [SubscriptionItemState("weekly", None, Decimal(1), Decimal(5), WEEK, "Weekly")]
    end = at(4, 8)
    other = alice.put(alice.terms(at(4, 1), at(4, 1), end, items=weekly, interval=WEEK), of=held)
    assert other != held
    assert alice.paid() == []


def test_a_trial_without_a_card_ends_the_subscription() -> None:
    alice = Alice(at(4, 1))
    alice.processor.set_card(alice.customer, None)
    end = at(4, 15)
    trial = alice.terms(end, at(4, 1), end, status="trialing", trial_ends_at=end, ends_without_card=True)
    held = alice.put(trial)
    alice.until(end + timedelta(minutes=5))
    found = alice.processor.subscription(held)
    assert found is not None
    assert found.status == "canceled"


def test_declines_and_3ds_are_told_apart_and_a_better_card_pays() -> None:
    alice = Alice(at(4, 1))
    for card, expected in (("declines", "declined"), ("requires_authentication", "authentication")):
        alice.processor.set_card(alice.customer, card)
        left = alice.processor.charge_invoice(
            customer_id=alice.customer,
            currency="usd",
            items=[InvoiceItem("Pro", Decimal(20))],
            collection=Collection.CARD,
            key=uuid4().hex,
        )
        assert (left.status, left.problem) == ("open", expected)
        assert alice.processor.settle_invoice(left.id).status == "paid"


def test_credit_is_used_up_and_a_refund_goes_to_the_card() -> None:
    alice = Alice(at(4, 1))
    assert alice.charge(-15) == "paid"
    assert alice.processor.credit(alice.customer, "usd") == 15
    assert alice.charge(20) == "paid"
    newest = next(iter(alice.processor.invoices_with_marks(alice.customer)))[0]
    assert alice.processor.refund(newest.id, Decimal(20), key=uuid4().hex) == 5
    assert alice.processor.refunds(alice.customer) == {newest.id: 5}


def test_a_customer_from_before_can_be_put_on_a_test_clock() -> None:
    alice = Alice(None)
    alice.until(at(4, 1))
    alice.put(alice.terms(at(4, 1), at(4, 1), at(5, 1)))
    alice.until(at(4, 2))
    assert alice.paid() == []


def test_a_page_is_made_and_closed() -> None:
    alice = Alice(at(4, 1))
    page = alice.processor.checkout(
        customer_id=alice.customer,
        currency="usd",
        items=[InvoiceItem("Pro", Decimal(20))],
        return_url="https://example.com/done",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        key=uuid4().hex,
    )
    assert page.url.startswith("https://")
    assert alice.processor.expire_session(page.id)


def test_a_key_without_rights_is_told_as_such() -> None:
    with pytest.raises(ProcessorFailure, match="STRIPE_SECRET_KEY"):
        StripeProcessor("sk_test_wrong").payment_method("cus_1")

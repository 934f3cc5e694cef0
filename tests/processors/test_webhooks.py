"""Stripe's word: signed, written down, looked up again; in any order, late, doubled or never."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from billing.models import Invoice, Operation, ProcessorEvent, Subscription
from billing.services.collection import processor_events
from config import clock
from entities.models import Customer
from tests.processors.fake_stripe import FakeStripe, Fault, charges
from tests.processors.fake_stripe.stand_in import StandIn
from tests.processors.test_stripe_billing import acme, charged, differences
from tests.selling import CUSTOMER, Shop

type Endpoint = Callable[[bytes, str], int]

START = datetime(2027, 4, 1, 10, 20, 30, tzinfo=UTC)


@pytest.fixture
def wall_shop(shop: Shop) -> Shop:
    """Acme lives on the wall clock, with a card."""
    with clock.frozen(START):
        shop.api.post("customers.get_or_create", customer_id=CUSTOMER)
        shop.card("success")
    return shop


def test_a_body_that_stripe_did_not_sign_is_turned_away(shop: Shop, fake: FakeStripe, endpoint: Endpoint) -> None:
    shop.opens()
    statuses = fake.webhooks.deliver(endpoint, secret="whsec_of_somebody_else")
    assert set(statuses) == {400}
    assert endpoint(b"{}", "") == 400
    assert not ProcessorEvent.objects.exists()


def test_each_event_is_written_down_once_however_often_it_comes(
    shop: Shop, fake: FakeStripe, endpoint: Endpoint
) -> None:
    shop.opens()
    shop.buys("pro")
    told = len(fake.webhooks.waiting)
    statuses = fake.webhooks.deliver(endpoint, doubled=True)
    assert len(statuses) == 2 * told
    assert set(statuses) == {200}
    assert ProcessorEvent.objects.count() == told
    assert charged(fake) == 20


def test_the_draft_of_a_renewal_is_filled_in_and_collected_when_stripe_tells(
    wall_shop: Shop, fake: FakeStripe, endpoint: Endpoint
) -> None:
    with clock.frozen(START):
        wall_shop.buys("pro")
        wall_shop.uses("words", 150)
    with clock.frozen(START + timedelta(days=30, minutes=1)):
        fake.webhooks.deliver(endpoint)
        assert [row["status"] for row in fake.world.all("invoice", billing_reason="subscription_cycle")] == ["paid"]
        assert wall_shop.invoices() == [25, 20]
    assert charged(fake) == 45


def test_run_due_waits_for_stripes_draft_and_collects_it_without_any_webhook(wall_shop: Shop, fake: FakeStripe) -> None:
    with clock.frozen(START):
        wall_shop.buys("pro")
        wall_shop.uses("words", 150)
    later = START + timedelta(days=30, minutes=1)
    fake.late = 3_600
    with clock.frozen(later):
        call_command("run_due")
        assert wall_shop.invoices() == [20]
        assert not Operation.objects.filter(kind="renewal").exists()
    fake.late = 0
    with clock.frozen(later + timedelta(minutes=1)):
        call_command("run_due")
        assert wall_shop.invoices() == [25, 20]
    assert charged(fake) == 45


def test_a_renewal_that_stripe_collected_without_us_is_completed_by_an_invoice_of_its_own(
    wall_shop: Shop, fake: FakeStripe
) -> None:
    with clock.frozen(START):
        wall_shop.buys("pro")
        wall_shop.uses("words", 150)
    with clock.frozen(START + timedelta(days=34)):
        call_command("run_due")
        assert wall_shop.invoices() == [25, 20]
        assert differences() == []
    assert charged(fake) == 45


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_events_does_not_matter(shop: Shop, fake: FakeStripe, endpoint: Endpoint, seed: int) -> None:
    shop.opens("2027-04-01", "a")
    shop.buys("pro", "a")
    shop.on("2027-04-11")
    shop.buys("premium", "a")
    shop.on("2027-06-02")
    before = (shop.invoices(), shop.plans("a"))
    assert set(fake.webhooks.deliver(endpoint, shuffled=random.Random(seed), doubled=True)) == {200}
    assert (shop.invoices(), shop.plans("a")) == before
    assert charged(fake) == sum(shop.invoices())
    assert differences() == []


def test_what_is_cancelled_on_the_dashboard_ends_here(shop: Shop, fake: FakeStripe, endpoint: Endpoint) -> None:
    shop.opens("2027-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("premium", "b")
    (of_a, of_b) = Subscription.objects.order_by("pk")
    fake.cancel(of_a.processor_subscription_id)
    fake.cancel(of_b.processor_subscription_id, at_period_end=True)
    fake.webhooks.deliver(endpoint)
    assert (shop.plans("a"), shop.plans("b")) == ({}, {"premium": "canceling"})
    assert differences() == []
    fake.webhooks.deliver(endpoint)
    shop.on("2027-05-02")
    assert shop.plans("b") == {}
    assert charged(fake) == 70


def test_a_cancellation_taken_back_on_the_dashboard_is_taken_back_here(
    shop: Shop, stripe: StandIn, endpoint: Endpoint
) -> None:
    shop.opens("2027-04-01")
    shop.buys("pro")
    shop.update("pro", cancel_action="cancel_end_of_cycle")
    stripe.fake.webhooks.deliver(endpoint)
    assert shop.plans() == {"pro": "canceling"}
    key = Subscription.objects.get(plan__slug="pro").processor_subscription_id
    stripe.client.api.v1.subscriptions.update(key, {"cancel_at_period_end": False, "proration_behavior": "none"})
    stripe.fake.webhooks.deliver(endpoint)
    assert shop.plans() == {"pro": "active"}


def test_an_invoice_paid_on_its_page_does_what_waited_for_it(shop: Shop, fake: FakeStripe, endpoint: Endpoint) -> None:
    shop.opens("2027-04-01", card="requires_authentication")
    answer = shop.attach("pro")
    assert answer["required_action"]["code"] == "3ds_required"
    assert shop.plans() == {}
    fake.settle(Invoice.objects.get().processor_id)
    fake.webhooks.deliver(endpoint)
    assert shop.plans() == {"pro": "active"}
    assert charged(fake) == 20
    assert shop.invoices() == [20]
    assert differences() == []


def test_a_completed_checkout_starts_the_plan_once(shop: Shop, fake: FakeStripe, endpoint: Endpoint) -> None:
    shop.opens("2027-04-01", card=None)
    shop.attach("pro")
    fake.complete_session(Operation.objects.get().outcome["session_id"])
    fake.webhooks.deliver(endpoint, doubled=True)
    assert shop.plans() == {"pro": "active"}
    assert charged(fake) == 20
    assert shop.invoices() == [20]
    shop.on("2027-05-02")
    assert charged(fake) == 40
    assert differences() == []


def test_a_checkout_paid_after_the_plan_was_got_otherwise_is_given_back(
    shop: Shop, fake: FakeStripe, endpoint: Endpoint
) -> None:
    shop.opens("2027-04-01", card=None)
    shop.attach("pro")
    session = Operation.objects.get().outcome["session_id"]
    fake.complete_session(session)
    shop.card("success")
    shop.attach("pro", redirect_mode="never")
    fake.webhooks.deliver(endpoint)
    assert shop.plans() == {"pro": "active"}
    assert charged(fake) == 20
    assert Operation.objects.filter(status="failed").count() == 1


@pytest.mark.parametrize("told", ["by a webhook", "by the sweep"])
def test_what_no_webhook_told_is_found(shop: Shop, fake: FakeStripe, endpoint: Endpoint, told: str) -> None:
    shop.opens("2027-04-01", "a")
    shop.buys("premium", "a")
    shop.card(None)
    shop.attach("pro", redirect_mode="always")
    fake.complete_session(Operation.objects.latest("pk").outcome["session_id"])
    if told == "by the sweep":
        fake.webhooks.drop()
        processor_events.sweep(at=clock.now())
    fake.webhooks.deliver(endpoint)
    assert shop.plans() == {"pro": "active"}
    fake.cancel(Subscription.objects.get(entity__external_id="a").processor_subscription_id)
    if told == "by the sweep":
        fake.webhooks.drop()
    fake.webhooks.deliver(endpoint)
    assert not any(processor_events.sweep(at=clock.now()))
    assert shop.plans("a") == {}
    assert differences() == []


def test_an_event_that_fails_is_tried_again_ever_more_slowly_and_shown_when_it_is_stuck(
    shop: Shop, fake: FakeStripe, endpoint: Endpoint
) -> None:
    shop.opens("2027-04-01", card="requires_authentication")
    shop.attach("pro")
    fake.webhooks.deliver(endpoint)
    fake.settle(Invoice.objects.get().processor_id)
    fake.faults.order(Fault.SERVER_ERROR, call="GET /v1/invoices", times=None)
    assert 503 in fake.webhooks.deliver(endpoint, only="invoice.paid")
    event = ProcessorEvent.objects.get(status="failed")
    assert "Stripe can't be reached" in event.error
    now = event.received_at
    with clock.frozen(now + timedelta(seconds=30)):
        assert processor_events.process_due(at=clock.now()) == (0, 0)
    for hours in range(1, 200, 7):
        processor_events.process_due(at=now + timedelta(hours=hours))
    event.refresh_from_db()
    assert event.attempts == processor_events.MOST_TRIES
    with pytest.raises(CommandError, match="1 events are stuck"):
        call_command("process_stripe_events", "--no-sweep")
    fake.faults.clear()
    assert processor_events.process(event, at=now)
    assert shop.plans() == {"pro": "active"}
    call_command("process_stripe_events")


def test_an_address_changed_at_stripe_is_copied(shop: Shop, stripe: StandIn, endpoint: Endpoint) -> None:
    shop.opens()
    customer = Customer.objects.get()
    stripe.client.api.v1.customers.update(customer.processor_id, {"email": "billing@acme.example"})
    stripe.fake.webhooks.deliver(endpoint)
    assert acme().email == "billing@acme.example"


def test_an_endpoint_of_another_api_version_is_refused_and_says_what_to_do(
    shop: Shop, fake: FakeStripe, endpoint: Endpoint
) -> None:
    shop.opens()
    for row in fake.webhooks.waiting:
        row["event"]["api_version"] = "2020-08-27"
    assert set(fake.webhooks.deliver(endpoint)) == {400}
    told = ProcessorEvent.objects.first()
    assert told is not None
    assert (told.status, "create_stripe_webhook" in told.error) == ("ignored", True)


def test_what_is_given_back_on_the_dashboard_is_copied(shop: Shop, fake: FakeStripe, endpoint: Endpoint) -> None:
    shop.opens("2027-04-01")
    shop.buys("pro")
    (intent,) = fake.world.all("payment_intent")
    charges.refund(fake.world, {"payment_intent": intent["id"], "amount": 550})
    assert [line.split(": here ")[1] for line in differences()] == ["0.0000, at Stripe 5.50"]
    fake.webhooks.deliver(endpoint, doubled=True)
    assert Invoice.objects.get().refunded == Decimal("5.5")
    assert differences() == []


def test_a_page_that_expires_gives_the_change_up(shop: Shop, fake: FakeStripe, endpoint: Endpoint) -> None:
    shop.opens("2027-04-01", card=None)
    shop.attach("pro")
    fake.set_wall(int(clock.now().timestamp()))
    fake.set_wall(int(clock.now().timestamp()) + 86_400)
    fake.webhooks.deliver(endpoint)
    assert Operation.objects.get().status == "expired"
    assert charged(fake) == Decimal(0)

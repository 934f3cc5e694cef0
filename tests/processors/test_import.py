"""billing.import: people who come from plain Stripe keep their subscriptions, and pay on as before."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from billing.models import Subscription
from config import clock
from entities.models import Customer
from tests.processors.fake_stripe import FakeStripe
from tests.processors.fake_stripe.stand_in import StandIn
from tests.processors.test_stripe_billing import charged, differences
from tests.selling import CUSTOMER, Shop, ms

START = datetime(2027, 4, 1, 10, 20, 30, tzinfo=UTC)
LATER = START + timedelta(days=9)


@pytest.fixture
def foreign(stripe: StandIn) -> Any:
    """A subscription over 20 a month that Alice bought at Stripe, before there was Subledger."""
    v1: Any = stripe.client.api.v1
    with clock.frozen(START):
        customer = v1.customers.create({"email": "alice@example.com"})
        stripe.fake.give_card(customer.id, "pm_card_visa")
        product = v1.products.create({"name": "Old Pro"})
        price = {"product": product.id, "currency": "usd", "unit_amount": 2000, "recurring": {"interval": "month"}}
        made = v1.subscriptions.create({"customer": customer.id, "items": [{"price_data": price}]})
    stripe.fake.webhooks.drop()
    return made


def body(foreign: Any, **plan: Any) -> dict[str, Any]:
    link = {"subscription_id": foreign.id}
    return {
        "customer_id": CUSTOMER,
        "customer_data": {"name": "Acme", "email": "alice@example.com"},
        "processors": [{"type": "stripe", "id": foreign.customer}],
        "billables": [{"processor": "stripe", "link": link, "plan": {"plan_id": "pro", **plan}}],
    }


def test_the_plan_is_held_as_it_is_paid_and_renews_in_the_same_subscription(
    shop: Shop, fake: FakeStripe, foreign: Any
) -> None:
    with clock.frozen(LATER):
        balances = [{"feature_id": "messages", "usage": 30}, {"feature_id": "words", "balance": 40}]
        answer = shop.api.post("billing.import", **body(foreign, balances=balances))
        (row,) = answer["flashed"]
        assert (row["plan_id"], row["status"], row["skipped"]) == ("pro", "active", False)
        shown = answer["customer"]["subscriptions"][0]
        assert shown["current_period_end"] == ms("2027-05-01T10:20:30")
        assert (shop.left("messages"), shop.left("words")) == (470, 40)
        assert shop.api.post("billing.import", **body(foreign))["flashed"][0]["skipped"] is True
        assert len(differences()) == 3  # neither the subscription there nor its price has our names yet
        call_command("reconcile", repair=True)
        assert differences() == []
        shop.uses("words", 60)
    assert charged(fake) == 20
    with clock.frozen(START + timedelta(days=30, minutes=5)):
        call_command("run_due")
        assert shop.invoices() == [22]
        assert differences() == []
    assert charged(fake) == 42
    assert Subscription.objects.get().processor_subscription_id == foreign.id


def test_a_dry_run_checks_everything_and_writes_nothing(shop: Shop, foreign: Any) -> None:
    with clock.frozen(LATER):
        answer = shop.api.post("billing.import", **body(foreign), dry_run=True)
    assert answer["flashed"][0]["customer_product_id"] is None
    assert not Customer.objects.exists()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"plan_id": "weekly"}, "Choose the plan with its interval"),
        ({"balances": [{"feature_id": "seats", "usage": 1}]}, "grants no seats"),
        ({"balances": [{"feature_id": "words", "usage": 1, "balance": 1}]}, "Send one"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_plan(
    shop: Shop, foreign: Any, changed: dict[str, Any], says: str
) -> None:
    shop.plan("weekly", 5, every="week")
    with clock.frozen(LATER):
        assert says in shop.api.refused(400, "billing.import", **body(foreign, **changed))["message"]
    assert not Subscription.objects.exists()


def test_another_customers_subscription_is_refused(shop: Shop, foreign: Any) -> None:
    given = body(foreign)
    given["processors"] = [{"type": "stripe", "id": "cus_of_bob"}]
    with clock.frozen(LATER):
        assert "belongs to" in shop.api.refused(400, "billing.import", **given)["message"]
    given["processors"] = [{"type": "revenuecat", "id": "x"}]
    assert "only stripe" in shop.api.refused(400, "billing.import", **given)["message"]

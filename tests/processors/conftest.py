from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from billing.processors import registry
from tests.client import Api
from tests.processors.fake_stripe import FakeStripe
from tests.processors.fake_stripe.stand_in import StandIn
from tests.processors.fake_stripe.webhooks import SECRET
from tests.selling import Shop, monthly, prepaid, seats


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch, settings: Any) -> StandIn:
    """Stripe collects; the fake is at the other end."""
    found = StandIn(FakeStripe())
    monkeypatch.setattr(registry, "stripe", lambda: found)
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    return found


@pytest.fixture
def fake(stripe: StandIn) -> FakeStripe:
    return stripe.fake


@pytest.fixture(scope="module")
def sold(stage: Api) -> Shop:
    """Free, Pro at 20, Premium at 50, Team with seats at 10, Packs bought in advance; words are billed by use, metered
    has no base price."""
    shop = Shop(stage)
    shop.plan("free", None, monthly("messages", 100))
    shop.plan("pro", 20, monthly("messages", 500), monthly("words", 100, amount=1, billing_units=10))
    shop.plan("premium", 50, monthly("messages", 1000))
    shop.plan("yearly", 200, monthly("words", 100, amount=1, billing_units=10), every="year")
    shop.plan("metered", None, monthly("words", 0, amount=1, billing_units=10), group="metered")
    shop.plan("team", 20, seats(1, 10, "prorate_immediately", "prorate_immediately"), group="team")
    shop.plan("packs", 20, prepaid("messages", 0, 5, 100), monthly("words", 100), group="packs")
    return shop


@pytest.fixture
def shop(sold: Shop, db: None, stripe: StandIn) -> Shop:
    """What is sold, for Stripe to collect."""
    return sold


@pytest.fixture
def endpoint(db: None) -> Callable[[bytes, str], int]:
    """Our webhook address, as Stripe reaches it."""

    def take(body: bytes, signature: str) -> int:
        headers = {"Stripe-Signature": signature}
        return Client().post("/v1/webhooks/stripe", body, content_type="application/json", headers=headers).status_code

    return take

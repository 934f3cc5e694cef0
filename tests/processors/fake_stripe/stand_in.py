"""The Stripe processor with the fake behind it: for tests, and for a server with DEBUG and STRIPE_STAND_IN set.

    STRIPE_STAND_IN=tests.processors.fake_stripe.stand_in.processor STRIPE_WEBHOOK_SECRET=whsec_fake \
      .uv/bin/uv run manage.py demo --data /tmp/on_stripe

The account lives in the server's memory, so the database has to start with it: a new --data each time. The demo then
loads no customers, and webhooks arrive as from Stripe.
"""

import threading
import time
import urllib.error
import urllib.request

from django.conf import settings

from billing.errors import PaymentDeclined
from billing.processors.protocol import ProcessorInvoice, Session
from billing.processors.stripe import StripeProcessor
from billing.processors.stripe.customers import TEST_CARDS
from tests.processors.fake_stripe import webhooks
from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.server import KEY, FakeStripe
from tests.processors.fake_stripe.transport import Transport


class StandIn(StripeProcessor):
    """What customers do in a browser is done by the fake."""

    def __init__(self, fake: FakeStripe) -> None:
        super().__init__(KEY, http_client=Transport(fake))
        self.client.pause = 0
        self.fake = fake

    def complete_session(self, session_id: str, behavior: str) -> Session:
        try:
            self.fake.complete_session(session_id, TEST_CARDS[behavior])
        except Refused as refused:
            raise PaymentDeclined(str(refused)) from refused
        return self.session(session_id)

    def settle_invoice(self, invoice_id: str) -> ProcessorInvoice:
        self.fake.settle(invoice_id)
        return self.invoice(invoice_id)


def deliver_for_ever(fake: FakeStripe, address: str) -> None:
    """Send webhooks as Stripe does: soon, from another thread, again when they aren't taken, a few times."""

    def endpoint(body: bytes, signature: str) -> int:
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        request = urllib.request.Request(address, data=body, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as problem:
            return problem.code
        except OSError:
            return 0

    while True:
        time.sleep(0.2)
        for row in [row for row in fake.webhooks.waiting if row["attempts"] < 5]:
            fake.webhooks.send(row, endpoint)


processor = StandIn(FakeStripe())
if settings.DEBUG and settings.STRIPE_STAND_IN and settings.STRIPE_WEBHOOK_SECRET == webhooks.SECRET:
    threading.Thread(
        target=deliver_for_ever, args=[processor.fake, f"{settings.BASE_URL}/v1/webhooks/stripe"], daemon=True
    ).start()

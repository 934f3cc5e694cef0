"""The Stripe processor with the fake behind it: for tests, and for a server with DEBUG and STRIPE_STAND_IN set.

DEBUG=true STRIPE_STAND_IN=tests.processors.fake_stripe.stand_in.processor python manage.py runserver
"""

from billing.errors import PaymentDeclined
from billing.processors.protocol import ProcessorInvoice, Session
from billing.processors.stripe import StripeProcessor
from billing.processors.stripe.customers import TEST_CARDS
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


processor = StandIn(FakeStripe())

"""A Stripe of our own for tests, behind the SDK's `http_client=`: the wire of the pinned API version, and no network.

It shares no calendar and no arithmetic with the engine. Parameters are checked against the SDK's own TypedDicts, clocks
are turned by hand, webhooks are delivered when a test says so, and faults are ordered in advance.
"""

from tests.processors.fake_stripe.faults import Fault
from tests.processors.fake_stripe.server import FakeStripe
from tests.processors.fake_stripe.transport import Transport

__all__ = ["FakeStripe", "Fault", "Transport"]

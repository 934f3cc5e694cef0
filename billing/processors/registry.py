"""Which processor collects."""

import functools

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from billing.processors.protocol import Controls, PaymentProcessor
from billing.processors.sandbox import SandboxProcessor
from billing.processors.stripe import StripeProcessor

_sandbox = SandboxProcessor()


def get_processor() -> PaymentProcessor:
    """The processor of this deployment: Stripe with a key, else the built-in sandbox (decisions 11)."""
    return stripe() or sandbox()


def stripe() -> StripeProcessor | None:
    """The Stripe processor, when there is a key."""
    if settings.DEBUG and settings.STRIPE_STAND_IN:
        found: StripeProcessor = import_string(settings.STRIPE_STAND_IN)
        return found
    return _stripe(settings.STRIPE_SECRET_KEY) if settings.STRIPE_SECRET_KEY else None


def sandbox() -> SandboxProcessor:
    """The built-in processor; raises ImproperlyConfigured when the environment is live."""
    if settings.ENVIRONMENT == "live":
        raise ImproperlyConfigured("ENVIRONMENT is live, but no payment processor is set up. Set STRIPE_SECRET_KEY.")
    return _sandbox


def controls() -> Controls:
    """What stands in for a customer's doings on hosted pages; with Stripe it needs a test key."""
    return stripe() or sandbox()


@functools.cache
def _stripe(api_key: str) -> StripeProcessor:
    return StripeProcessor(api_key)

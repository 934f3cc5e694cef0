"""Which processor collects."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from billing.processors.protocol import PaymentProcessor
from billing.processors.sandbox import SandboxProcessor

_sandbox = SandboxProcessor()


def get_processor() -> PaymentProcessor:
    """The processor of this deployment: the built-in sandbox, which never serves a live environment (decisions 11)."""
    return sandbox()


def sandbox() -> SandboxProcessor:
    """The built-in processor; raises ImproperlyConfigured when the environment is live."""
    if settings.ENVIRONMENT == "live":
        raise ImproperlyConfigured("ENVIRONMENT is live, but no payment processor is set up. Set STRIPE_SECRET_KEY.")
    return _sandbox

"""The Stripe processor: the only package that imports `stripe`. Minor units and Unix seconds exist in here only."""

from billing.processors.stripe.processor import StripeProcessor

__all__ = ["StripeProcessor"]

"""The payment processor behind one interface: the engine computes, the processor collects (decisions 10).

Amounts are in major units, times aware. Operations that change something take an idempotency key made from our own
operation and its step: asked again with the same key, they answer what they answered first and do nothing.
"""

from billing.processors.protocol import (
    Charge,
    Collection,
    InvoiceItem,
    PaymentMethod,
    PaymentProcessor,
    Problem,
    ProcessorInvoice,
    ProcessorSubscription,
    Put,
    Renewal,
    Session,
    SubscriptionItemState,
    SubscriptionTerms,
)
from billing.processors.registry import get_processor

__all__ = [
    "Charge",
    "Collection",
    "InvoiceItem",
    "PaymentMethod",
    "PaymentProcessor",
    "Problem",
    "ProcessorInvoice",
    "ProcessorSubscription",
    "Put",
    "Renewal",
    "Session",
    "SubscriptionItemState",
    "SubscriptionTerms",
    "get_processor",
]

from billing.models.approvals import Approval
from billing.models.balances import Balance, LedgerEntry, Overage, UsageCounter, UsageEvent
from billing.models.bulk import BulkJob, BulkRow
from billing.models.holds import Hold, HoldPart
from billing.models.invoices import Invoice, InvoiceLine, InvoiceNumber, PendingLine
from billing.models.operations import Operation, ProcessorEvent
from billing.models.rewards import Discount, Reward, RewardCode, RewardGrant, RewardRedemption
from billing.models.sandbox import SandboxCard, SandboxInvoice, SandboxSession, SandboxSubscription
from billing.models.subscriptions import Subscription, SubscriptionItem, VacatedSeat
from billing.models.tallies import BalanceTally
from billing.models.traffic import CheckTally, Refusal
from billing.models.webhooks import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
    WebhookType,
)

__all__ = [
    "Approval",
    "Balance",
    "BalanceTally",
    "BulkJob",
    "BulkRow",
    "CheckTally",
    "Discount",
    "Hold",
    "HoldPart",
    "Invoice",
    "InvoiceLine",
    "InvoiceNumber",
    "LedgerEntry",
    "Operation",
    "Overage",
    "PendingLine",
    "ProcessorEvent",
    "Refusal",
    "Reward",
    "RewardCode",
    "RewardGrant",
    "RewardRedemption",
    "SandboxCard",
    "SandboxInvoice",
    "SandboxSession",
    "SandboxSubscription",
    "Subscription",
    "SubscriptionItem",
    "UsageCounter",
    "UsageEvent",
    "VacatedSeat",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookMessage",
    "WebhookType",
]

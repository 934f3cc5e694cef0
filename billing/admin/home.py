"""The first page: what needs a person, then how things go. Every statement is bounded."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import NullIf, TruncDate, TruncMonth
from django.http import HttpRequest
from django.urls import reverse

from billing.admin import bars, charts, refusals
from billing.models import (
    Approval,
    Balance,
    BulkJob,
    CheckTally,
    Hold,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Operation,
    ProcessorEvent,
    Subscription,
    UsageEvent,
    WebhookDelivery,
    WebhookEndpoint,
)
from billing.services import audit, jobs
from billing.templatetags.shown import money, quantity
from config import clock
from config.access.models import ApiKey
from entities.models import Customer, Entity
from plans.models import Feature, Plan

MOST = 1000
NEWEST_EVENTS = 200_000
NEWEST_ENTRIES = 2_000
NEWEST_BALANCES = 200
NEARLY = Decimal("0.1")  # of the grant
PATIENCE = timedelta(hours=1)
FORGOTTEN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for a person."""

    text: str
    url: str
    is_urgent: bool


@dataclass(frozen=True, slots=True)
class Tile:
    """A number."""

    label: str
    value: str
    url: str


@dataclass(frozen=True, slots=True)
class Step:
    """What to do first in an empty deployment."""

    text: str
    url: str
    is_done: bool


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the home page shows to those who may see billing."""
    if not request.user.has_perm("entities.view_customer"):
        return context
    now = clock.now()
    steps = _steps()
    context |= {
        "needs": list(_needs(now)),
        "out": [(row, bars.bars([row])[0]) for row in _blocked(now)],
        "refused": [(one, refusals.often(one), refusals.why(one)) for one in refusals.lately(now)],
        "tiles": _tiles(now),
        "revenue": _revenue(now),
        "plans": _revenue_by_plan(now),
        "usage": [_checks(now), _usage(now)],
        "steps": [] if all(step.is_done for step in steps) else steps,
    }
    return context


def _count(rows: Any) -> int:
    return int(rows.order_by()[:MOST].count())


def _shown(count: int) -> str:
    return f"{MOST} or more" if count >= MOST else quantity(count)


def _needs(now: datetime) -> Iterable[Need]:
    unpaid = Invoice.objects.payable()
    if count := _count(unpaid):
        owed = unpaid.values("currency").annotate(sum=Sum("total")).order_by("currency")
        sums = " and ".join(money(row["sum"], row["currency"]) for row in owed)
        noun = "invoice is" if count == 1 else "invoices are"
        url = f"{reverse('admin:billing_invoice_changelist')}?status__exact=open"
        yield Need(f"{_shown(count)} {noun} unpaid: {sums}", url, True)
    if count := _count(Subscription.objects.filter(status=Subscription.Status.PAST_DUE)):
        noun = "plan is" if count == 1 else "plans are"
        url = f"{reverse('admin:billing_subscription_changelist')}?status__exact=past_due"
        yield Need(f"{_shown(count)} {noun} past due", url, True)
    pending = Operation.objects.filter(status=Operation.Status.PENDING, customer__clock_at=None, at__lt=now - PATIENCE)
    if count := _count(pending):
        url = f"{reverse('admin:billing_operation_changelist')}?status__exact=pending"
        yield Need(f"{_shown(count)} billing changes were begun and not finished. Does run_due run?", url, True)
    left = BulkJob.objects.filter(status__in=jobs.UNDER_WAY, leased_until__lt=now - jobs.LEASE)
    if count := _count(left):
        noun = "bulk job was" if count == 1 else "bulk jobs were"
        url = reverse("admin:billing_bulkjob_changelist")
        yield Need(f"{_shown(count)} {noun} begun and nobody goes on. Does run_due run?", url, True)
    stuck = Hold.objects.filter(status=Hold.Status.HELD).filter(
        Q(expires_at__lt=now - PATIENCE, customer__clock_at=None) | Q(expires_at=None, created_at__lt=now - FORGOTTEN)
    )
    if count := _count(stuck):
        noun = "hold is" if count == 1 else "holds are"
        yield Need(
            f"{_shown(count)} {noun} stuck", f"{reverse('admin:billing_hold_changelist')}?status__exact=held", False
        )
    late = Balance.objects.due(now - PATIENCE).filter(customer__clock_at=None)
    if count := _count(late):
        noun = "balance is" if count == 1 else "balances are"
        text = f"{_shown(count)} {noun} more than an hour late for a reset. Does run_due run?"
        yield Need(text, reverse("admin:billing_balance_changelist"), False)
    if count := len(audit.newest(balances=NEWEST_BALANCES)):
        noun = "number disagrees" if count == 1 else "numbers disagree"
        text = f"{_shown(count)} {noun} with the ledger among the newest balances. Run the verify command, then repair"
        yield Need(text, reverse("admin:billing_balance_changelist"), True)
    if count := _count(Approval.objects.filter(status=Approval.Status.WAITING)):
        noun = "change waits" if count == 1 else "changes wait"
        url = f"{reverse('admin:billing_approval_changelist')}?status__exact=waiting"
        yield Need(f"{_shown(count)} {noun} for a second person", url, False)
    if count := _count(ProcessorEvent.objects.filter(status=ProcessorEvent.Status.FAILED)):
        noun = "event" if count == 1 else "events"
        url = f"{reverse('admin:billing_processorevent_changelist')}?status__exact=failed"
        yield Need(f"{_shown(count)} {noun} of the payment processor failed", url, True)

    failing = WebhookEndpoint.objects.listening().filter(failing_since__lt=now - PATIENCE)
    if count := _count(failing):
        noun = "webhook endpoint has" if count == 1 else "webhook endpoints have"
        url = reverse("admin:billing_webhookendpoint_changelist")
        yield Need(f"{_shown(count)} {noun} been failing for more than an hour", url, True)
    lost = WebhookDelivery.objects.filter(status="failed", endpoint__in=WebhookEndpoint.objects.listening())
    if count := _count(lost):
        noun = "webhook delivery was" if count == 1 else "webhook deliveries were"
        url = f"{reverse('admin:billing_webhookdelivery_changelist')}?status__exact=failed"
        yield Need(f"{_shown(count)} {noun} given up. Send again what is still wanted", url, False)


def _blocked(now: datetime) -> list[Balance]:
    """Of those in use lately, the ones with nothing or nearly nothing left; pools that may help are not looked at."""
    lately = LedgerEntry.objects.order_by("-pk").values("balance_id")[:NEWEST_ENTRIES]
    rows = (
        Balance.objects.live(now)
        .filter(pk__in=lately, unlimited=False, allows_overage=False, feature__consumable=True)
        .filter(customer__deleted_at=None, granted__gt=0)
        .annotate(part=(F("granted") - F("usage") - F("held") - F("expired")) / NullIf(F("granted"), Decimal(0)))
        .filter(part__lte=NEARLY)
    )
    return list(rows.select_related("feature", "entity", "customer").order_by("part", "-pk")[:8])


def _tiles(now: datetime) -> list[Tile]:
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    customers = Customer.objects.live().order_by()[:10_000].count()
    entities = Entity.objects.live().order_by()[:100_000].count()
    billed = Invoice.objects.filter(is_internal=False, created_at__gte=month, created_at__lte=now)
    total = billed.exclude(status=Invoice.Status.VOID).aggregate(sum=Sum("total"))["sum"] or Decimal(0)
    return [
        Tile("Customers", quantity(customers), reverse("admin:entities_customer_changelist")),
        Tile("Seats, workspaces …", quantity(entities), reverse("admin:entities_entity_changelist")),
        Tile("Plans on sale", quantity(Plan.objects.live().count()), reverse("admin:plans_plan_changelist")),
        Tile(f"Billed in {month:%B}", money(total, settings.CURRENCY), reverse("admin:billing_invoice_changelist")),
    ]


def _revenue(now: datetime) -> charts.Chart:
    """What was billed in each of the last twelve months."""
    months = _months(now)
    rows = (
        Invoice.objects.filter(is_internal=False, created_at__gte=months[0], created_at__lte=now)
        .exclude(status=Invoice.Status.VOID)
        .annotate(month=TruncMonth("created_at", tzinfo=UTC))
        .values_list("month")
        .annotate(sum=Sum("total"))
        .order_by()
    )
    found = {(month.year, month.month): total for month, total in rows}
    values = [(f"{month:%b %Y}", found.get((month.year, month.month), Decimal(0))) for month in months]
    return charts.bars("Billed by month", values, told=lambda value: money(value, settings.CURRENCY))


def _months(now: datetime) -> list[datetime]:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    numbers = [first.year * 12 + first.month - 1 - back for back in range(11, -1, -1)]
    return [first.replace(year=number // 12, month=number % 12 + 1) for number in numbers]


def _revenue_by_plan(now: datetime) -> list[tuple[str, str, int]]:
    """This month's lines by plan: name, sum, number of lines."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    lines = InvoiceLine.objects.filter(
        invoice__is_internal=False, invoice__created_at__gte=month, invoice__created_at__lte=now
    ).exclude(invoice__status=Invoice.Status.VOID)
    rows = lines.values_list("plan__name").annotate(sum=Sum("amount"), count=Count("pk")).order_by("-sum")[:8]
    return [(name or "Other", money(total, settings.CURRENCY), count) for name, total, count in rows]


def _usage(now: datetime) -> charts.Chart:
    """Tracks per day, from the newest events."""
    since = (now - timedelta(days=29)).replace(hour=0, minute=0, second=0, microsecond=0)
    newest = UsageEvent.objects.filter(at__gte=since, at__lte=now).order_by("-at", "-pk").values("pk")[:NEWEST_EVENTS]
    rows = UsageEvent.objects.filter(pk__in=newest).annotate(day=TruncDate("at", tzinfo=UTC)).values_list("day")
    found: dict[date, Decimal] = {day: Decimal(count) for day, count in rows.annotate(count=Count("pk")).order_by()}
    return charts.days("Tracks per day", found, until=now.date())


def _checks(now: datetime) -> charts.Chart:
    """Checks per day, and how many of them were refused."""
    since = (now - timedelta(days=29)).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = CheckTally.objects.filter(hour__gte=since, hour__lte=now).annotate(day=TruncDate("hour", tzinfo=UTC))
    found: dict[date, Decimal] = {}
    refused: dict[date, Decimal] = {}
    for day, allowed, count in rows.values_list("day", "allowed").annotate(sum=Sum("count")).order_by():
        found[day] = found.get(day, Decimal(0)) + count
        if not allowed:
            refused[day] = Decimal(count)
    return charts.days("Checks per day", found, until=now.date(), marked=refused, mark="refused")


def _steps() -> list[Step]:
    return [
        Step(
            "Define a feature: seats, summaries, requests …",
            reverse("admin:plans_feature_add"),
            Feature.objects.exists(),
        ),
        Step("Make a plan that grants it", reverse("admin:plans_plan_add"), Plan.objects.exists()),
        Step("Add a customer", reverse("admin:entities_customer_add"), Customer.objects.exists()),
        Step("Make an API key for your application", reverse("admin:access_apikey_add"), ApiKey.objects.exists()),
    ]

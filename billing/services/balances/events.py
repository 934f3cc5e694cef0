"""Reading usage events: pages of them, and sums over time."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from billing.models import Hold, LedgerEntry, UsageEvent
from config.errors import InvalidInput

MOST_BINS = 5_000
_BINS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1), "month": timedelta(days=28)}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events: of a customer and entity by their public ids, of features, within [start, end), with properties.

    A hold that is given back leaves two events that cancel out; `without_released` leaves both out.
    """

    customer_id: str | None = None
    entity_id: str | None = None
    features: Sequence[str] = ()
    start: datetime | None = None
    end: datetime | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    without_released: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Events newest first, what each took from which balance, and where the next page begins (None: there is none)."""

    events: list[UsageEvent]
    deductions: dict[int, list[LedgerEntry]]
    next_cursor: str | None


def page(wanted: Filter, *, cursor: str, limit: int, offset: int = 0) -> Page:
    """One page, newest first, found by keyset; `offset` is for the older clients only."""
    events = _events(wanted).select_related("customer", "entity", "feature").order_by("-at", "-pk")
    if cursor:
        at, pk = _read_cursor(cursor)
        events = events.filter(Q(at__lt=at) | Q(at=at, pk__lt=pk))
    found = list(events[offset : offset + limit + 1])
    shown = found[:limit]
    more = len(found) > limit
    return Page(shown, _deductions(shown), _cursor(shown[-1]) if more and shown else None)


def aggregate(
    wanted: Filter, *, bin_size: str, group_by: str | None
) -> list[tuple[datetime, str, str | None, int, Decimal]]:
    """Sums per bin, feature and group: (start of the bin, feature, group, how many events, sum of their values).

    `group_by` is "properties.<name>", "$customer_id", "$entity_id" or "$plan_id" (of the first balance that paid).
    Bins are calendar hours, days, weeks (from Monday) or months in UTC. Raises InvalidInput when the range holds too
    many bins.
    """
    if wanted.start and wanted.end and (wanted.end - wanted.start) / _BINS[bin_size] > MOST_BINS:
        raise InvalidInput(
            f"custom_range spans more than {MOST_BINS} bins of one {bin_size}. Choose a larger bin_size."
        )
    query, parameters = _events(wanted).values_list("pk").query.sql_with_params()
    group, group_parameters = _group(group_by)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT date_trunc(%s::text, e.at, 'UTC') AS bin, f.slug, {group} AS grp, count(*), sum(e.value)
            FROM billing_usageevent e
            JOIN plans_feature f ON f.id = e.feature_id
            JOIN entities_customer c ON c.id = e.customer_id
            LEFT JOIN entities_entity n ON n.id = e.entity_id
            WHERE e.id IN ({query})
            GROUP BY bin, f.slug, grp ORDER BY bin, f.slug, grp""",
            [bin_size, *group_parameters, *parameters],
        )
        rows: list[tuple[datetime, str, str | None, int, Decimal]] = cursor.fetchall()
        return rows


def _events(wanted: Filter) -> QuerySet[UsageEvent]:
    events = UsageEvent.objects.all()
    if wanted.customer_id is not None:
        events = events.filter(customer__external_id=wanted.customer_id, customer__deleted_at=None)
    if wanted.entity_id is not None:
        events = events.filter(entity__external_id=wanted.entity_id)
    if wanted.features:
        events = events.filter(feature__slug__in=wanted.features)
    if wanted.start is not None:
        events = events.filter(at__gte=wanted.start)
    if wanted.end is not None:
        events = events.filter(at__lt=wanted.end)
    if wanted.without_released:
        came_to_nothing = Hold.objects.filter(status__in=[Hold.Status.RELEASED, Hold.Status.EXPIRED])
        events = events.exclude(Exists(came_to_nothing.filter(pk=OuterRef("hold_id"))))
    for name, value in wanted.properties.items():
        events = events.filter(properties__contains={name: value})
    return events


_FIRST_PLAN = """COALESCE((
  SELECT p.slug FROM billing_ledgerentry l JOIN billing_balance b ON b.id = l.balance_id
  JOIN billing_subscription s ON s.id = b.subscription_id JOIN plans_plan p ON p.id = s.plan_id
  WHERE l.event_id = e.id ORDER BY l.id LIMIT 1
), '')"""


def _group(group_by: str | None) -> tuple[str, list[str]]:
    if group_by is None:
        return "NULL::text", []
    if group_by == "$customer_id":
        return "c.external_id", []
    if group_by == "$entity_id":
        return "COALESCE(n.external_id, '')", []
    if group_by == "$plan_id":
        return _FIRST_PLAN, []
    name = group_by.removeprefix("properties.")
    if not name or name == group_by:
        raise InvalidInput("group_by must be properties.<name>, $customer_id, $entity_id or $plan_id.")
    return "COALESCE(e.properties ->> %s::text, '')", [name]


def _deductions(events: Sequence[UsageEvent]) -> dict[int, list[LedgerEntry]]:
    found: dict[int, list[LedgerEntry]] = {}
    entries = LedgerEntry.objects.filter(event_id__in=[event.pk for event in events]).select_related(
        "balance__feature", "balance__subscription__plan"
    )
    for entry in entries.order_by("pk"):
        found.setdefault(entry.event_id or 0, []).append(entry)
    return found


def _cursor(event: UsageEvent) -> str:
    return base64.urlsafe_b64encode(f"{event.at.isoformat()}|{event.pk}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        at, _, pk = base64.urlsafe_b64decode(cursor).decode().partition("|")
        return datetime.fromisoformat(at), int(pk)
    except (ValueError, binascii.Error) as problem:
        raise InvalidInput("start_cursor is not one that this server gave; start again with an empty one.") from problem

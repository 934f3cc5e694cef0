"""events.*: what was reported, in pages and summed over time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from rest_framework import serializers

from billing.models import LedgerEntry, UsageEvent
from billing.services.balances import events
from billing.services.balances.events import Filter
from config import clock
from config.access.models import Scope
from config.api import Endpoint, IdField, TimestampField, milliseconds
from config.errors import InvalidInput
from entities.models import Customer
from entities.subject import Subject
from plans.api.fields import CountField, MetadataField, OneOfField, Shape
from plans.intervals import Interval, IntervalUnit, boundary, period_around

ZERO = Decimal(0)
_RANGES = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30), "90d": timedelta(days=90)}
_CYCLES = {"last_cycle": 1, "1bc": 1, "3bc": 3}


class FeaturesField(serializers.Field[list[str], Any, Any, Any]):
    """One feature id, or a list of them."""

    def to_internal_value(self, data: Any) -> list[str]:
        given = data if isinstance(data, list) else [data]
        return [IdField().run_validation(value) for value in given]


class RangeInput(Shape):
    start = TimestampField(required=False)
    end = TimestampField(required=False)


class EventsInput(Shape):
    customer_id = IdField(required=False)
    entity_id = IdField(required=False)
    feature_id = FeaturesField(required=False)
    custom_range = RangeInput(required=False)
    start_cursor = serializers.CharField(required=False, allow_blank=True, max_length=500)
    limit = CountField(least=1, most=5000, required=False)
    offset = CountField(least=0, most=1_000_000, required=False)


class ListEvents(Endpoint):
    """Events newest first.

    The log has every event. Clients that name an API version get it as the peer's clients expect it: a released lock
    is as if it had never been taken.
    """

    Input = EventsInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        custom = data.get("custom_range") or {}
        limit = data.get("limit", 50)
        page = events.page(
            Filter(
                data.get("customer_id"),
                data.get("entity_id"),
                data.get("feature_id", []),
                custom.get("start"),
                custom.get("end"),
                without_released=self.version.named,
            ),
            cursor=data.get("start_cursor", ""),
            limit=limit,
            offset=data.get("offset", 0),
        )
        return {
            "list": [event_shape(event, page.deductions.get(event.pk)) for event in page.events],
            "next_cursor": page.next_cursor,
            **_offset_keys(data, len(page.events), page.next_cursor),
        }


class AggregateInput(Shape):
    customer_id = IdField(required=False)
    entity_id = IdField(required=False)
    feature_id = FeaturesField()
    group_by = serializers.CharField(required=False, max_length=100)
    range = OneOfField(choices=[*_RANGES, *_CYCLES], required=False)
    bin_size = OneOfField(choices=["hour", "day", "week", "month"], required=False)
    custom_range = RangeInput(required=False)
    filter_by = MetadataField(required=False)
    max_groups = CountField(least=1, most=250, required=False)


class AggregateEvents(Endpoint):
    """Counts and sums of events per feature, in bins over a range."""

    Input = AggregateInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = Subject.get(data["customer_id"]).customer if "customer_id" in data else None
        now = customer.now(clock.now()) if customer else clock.now()
        start, end = _range(data, customer, now)
        bin_size = data.get("bin_size") or ("hour" if data.get("range") == "24h" else "day")
        rows = events.aggregate(
            Filter(
                data.get("customer_id"),
                data.get("entity_id"),
                data["feature_id"],
                start,
                end,
                data.get("filter_by") or {},
                without_released=self.version.named,
            ),
            bin_size=bin_size,
            group_by=data.get("group_by"),
        )
        return _aggregated(rows, data["feature_id"], start, end, bin_size, data)


def event_shape(event: UsageEvent, entries: Sequence[LedgerEntry] | None) -> dict[str, Any]:
    """An event, with what it took from which balance."""
    return {
        "id": event.public_id,
        "timestamp": milliseconds(event.at),
        "feature_id": event.feature.slug,
        "event_name": event.event_name or None,
        "customer_id": event.customer.external_id,
        "entity_id": event.entity.external_id if event.entity else None,
        "value": event.value,
        "properties": event.properties,
        "deductions": [_deduction(entry) for entry in entries or []],
    }


def _deduction(entry: LedgerEntry) -> dict[str, Any]:
    balance = entry.balance
    interval = balance.reset_every
    return {
        "balance_id": balance.public_id or f"bal_{balance.pk}",
        "feature_id": balance.feature.slug,
        "plan_id": balance.subscription.plan.slug if balance.subscription else None,
        "reset": {
            "interval": interval.unit.value,
            "interval_count": interval.count,
            "resets_at": milliseconds(balance.next_reset_at),
        }
        if interval
        else None,
        "value": entry.usage + entry.held,
    }


def _offset_keys(data: dict[str, Any], shown: int, next_cursor: str | None) -> dict[str, Any]:
    """What the older clients page by."""
    if "offset" not in data:
        return {}
    return {
        "offset": data["offset"],
        "limit": data.get("limit", 50),
        "total": shown,
        "has_more": next_cursor is not None,
    }


def _range(data: dict[str, Any], customer: Customer | None, now: datetime) -> tuple[datetime, datetime]:
    """The instants asked for; billing cycles are those of the customer, counted back from the present one."""
    custom = data.get("custom_range")
    if custom and "range" in data:
        raise InvalidInput("Send either range or custom_range.")
    if custom:
        if "start" not in custom or "end" not in custom or custom["start"] >= custom["end"]:
            raise InvalidInput("custom_range needs start before end.")
        return custom["start"], custom["end"]
    name = data.get("range", "30d")
    latest = now + timedelta(milliseconds=1)
    if name in _RANGES:
        return now - _RANGES[name], latest
    month = Interval(IntervalUnit.MONTH)
    anchor = (
        (customer.billing_cycle_anchor or customer.created_at) if customer else now.replace(day=1, hour=0, minute=0)
    )
    start, end = period_around(anchor, month, now)
    if name == "last_cycle":
        return boundary(start, month, -1), start
    return boundary(end, month, -_CYCLES[name]), latest


def _aggregated(
    rows: Sequence[tuple[datetime, str, str | None, int, Decimal]],
    features: Sequence[str],
    start: datetime,
    end: datetime,
    bin_size: str,
    data: dict[str, Any],
) -> dict[str, Any]:
    bins: dict[datetime, dict[str, Any]] = {}
    totals: dict[str, dict[str, Any]] = {feature: {"count": 0, "sum": ZERO} for feature in features}
    top = _top_groups(rows, data.get("max_groups", 50))
    for at, feature, group, count, value in rows:
        entry = bins.setdefault(at, {"period": milliseconds(at), "values": {}, "grouped_values": {}})
        entry["values"][feature] = entry["values"].get(feature, ZERO) + value
        if group is not None:
            groups = entry["grouped_values"].setdefault(feature, {})
            name = group if group in top else "Other"
            groups[name] = groups.get(name, ZERO) + value
        total = totals.setdefault(feature, {"count": 0, "sum": ZERO})
        total["count"], total["sum"] = total["count"] + count, total["sum"] + value
    listed = []
    for at in _bins(start, end, bin_size):
        entry = bins.get(at, {"period": milliseconds(at), "values": {}, "grouped_values": {}})
        entry["values"] = {feature: entry["values"].get(feature, ZERO) for feature in features}
        if not data.get("group_by"):
            entry["grouped_values"] = None
        listed.append(entry)
    return {"list": listed, "total": totals, "deductions": None}


def _top_groups(rows: Sequence[tuple[datetime, str, str | None, int, Decimal]], most: int) -> set[str]:
    """The groups with the largest sums; the rest is shown as "Other"."""
    sums: dict[str, Decimal] = {}
    for _, _, group, _, value in rows:
        if group is not None:
            sums[group] = sums.get(group, ZERO) + value
    return set(sorted(sums, key=lambda name: -sums[name])[:most])


def _bins(start: datetime, end: datetime, bin_size: str) -> list[datetime]:
    """The starts of all bins that the range touches, empty ones included, in UTC."""
    at = start.replace(minute=0, second=0, microsecond=0)
    if bin_size != "hour":
        at = at.replace(hour=0)
    if bin_size == "week":
        at -= timedelta(days=at.weekday())
    if bin_size == "month":
        at = at.replace(day=1)
    interval = Interval(IntervalUnit(bin_size))
    found: list[datetime] = []
    while (bin_start := boundary(at, interval, len(found))) < end:
        found.append(bin_start)
    return found

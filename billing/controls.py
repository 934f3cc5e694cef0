"""Billing controls: who may overdraw, and what usage and spend limits leave. Pure (spec/balances.md 11).

Stored form of controls, on a plan, customer or entity: `{"overage_allowed": [...], "usage_limits": [...],
"spend_limits": [...], …}`, each entry naming its `feature_id` (the slug), decimals as text. The entity's entry for a
feature wins over the customer's, the customer's over those of its plans.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Literal

from plans.intervals import Interval, IntervalUnit, period_around

Controls = Mapping[str, list[dict[str, Any]]]
Owner = Literal["entity", "customer"]
_DAYS = {"day": Decimal(1), "week": Decimal(7), "month": Decimal(30), "year": Decimal(365)}


@dataclass(frozen=True, slots=True)
class UsageLimit:
    """A cap on tracked units per window; `owner` says whose counter it is: the entity's own, or the shared one."""

    feature: str
    limit: Decimal
    interval: str
    anchor: str
    properties: Mapping[str, Any]
    owner: Owner

    @property
    def key(self) -> str:
        """Names the counter: another interval, alignment or filter counts from 0."""
        filtered = sha256(json.dumps(self.properties, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return f"{self.interval}:{self.anchor}:{filtered if self.properties else ''}"

    def counts(self, properties: Mapping[str, Any]) -> bool:
        """Whether an event with these properties counts against this limit."""
        return all(name in properties and _text(properties[name]) == _text(v) for name, v in self.properties.items())

    def window(self, at: datetime, cycle_anchor: datetime) -> tuple[datetime, datetime]:
        """The window around `at`: phased to the customer's billing cycle, or to the calendar in UTC."""
        interval = Interval(IntervalUnit(self.interval))
        return period_around(_calendar_start(at) if self.anchor == "utc" else cycle_anchor, interval, at)


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """A cap on usage beyond the grant: in units, or as a percentage of the grant."""

    overage_limit: Decimal
    is_percentage: bool

    def most_overage(self, granted: Decimal) -> Decimal:
        """How far below 0 a feature with this grant may be taken in all."""
        if not self.is_percentage:
            return self.overage_limit
        return max(granted * (self.overage_limit - 100) / 100, Decimal(0))


def overage_allowed(feature: str, *, entity: Controls, customer: Controls, plans: Iterable[Controls]) -> bool | None:
    """What the overage_allowed control in force says; None when there is none. Among several plans false wins."""
    for controls in (entity, customer):
        entry = _entry(controls, "overage_allowed", feature)
        if entry is not None:
            return bool(entry.get("enabled", False))
    of_plans = [e for e in (_entry(plan, "overage_allowed", feature) for plan in plans) if e is not None]
    return all(e.get("enabled", False) for e in of_plans) if of_plans else None


def usage_limits(feature: str, *, entity: Controls, customer: Controls, plans: Iterable[Controls]) -> list[UsageLimit]:
    """The usage limits in force, all of which bind: a feature may be capped per day as well as per month.

    The entity's entries for a feature replace the customer's, those its plans'; of several plans the strictest by
    daily rate counts. A disabled entry stands for no limit.
    """
    of_entity, of_customer = _entries(entity, feature), _entries(customer, feature)
    if of_entity:
        return _in_force(of_entity, "entity")
    if of_customer:
        return _in_force(of_customer, "customer")
    by_plan = [_in_force(_entries(plan, feature), "customer") for plan in plans]
    return min(filter(None, by_plan), key=lambda limits: min(map(_daily, limits)), default=[])


def usage_limits_of(controls: Controls, owner: Owner) -> list[UsageLimit | None]:
    """The limits that one layer of controls sets, entry by entry; None where one is disabled."""
    return [_usage_limit(entry, owner) for entry in controls.get("usage_limits", ())]


def spend_limit(feature: str, *, entity: Controls, customer: Controls, plans: Iterable[Controls]) -> SpendLimit | None:
    """The spend limit in force; a customer's binds each of its entities separately (unlike a usage limit)."""
    for controls in (entity, customer, *plans):
        entry = _entry(controls, "spend_limits", feature)
        if entry is None:
            continue
        if not entry.get("enabled", False) or entry.get("overage_limit") is None:
            return None
        return SpendLimit(Decimal(entry["overage_limit"]), entry.get("limit_type") == "usage_percentage")
    return None


def _entry(controls: Controls, name: str, feature: str) -> dict[str, Any] | None:
    return next((entry for entry in controls.get(name, ()) if entry.get("feature_id") == feature), None)


def _entries(controls: Controls, feature: str) -> list[dict[str, Any]]:
    return [entry for entry in controls.get("usage_limits", ()) if entry.get("feature_id") == feature]


def _in_force(entries: Iterable[dict[str, Any]], owner: Owner) -> list[UsageLimit]:
    return [limit for limit in (_usage_limit(entry, owner) for entry in entries) if limit is not None]


def _daily(limit: UsageLimit) -> Decimal:
    return limit.limit / _DAYS[limit.interval]


def _usage_limit(entry: dict[str, Any], owner: Owner) -> UsageLimit | None:
    if not entry.get("enabled", True):
        return None
    properties = (entry.get("filter") or {}).get("properties") or {}
    return UsageLimit(
        entry["feature_id"],
        Decimal(entry["limit"]),
        entry["interval"],
        entry.get("anchor") or "billing_cycle",
        properties,
        owner,
    )


def _text(value: Any) -> str:
    """A property as filters compare it: numbers are stored as text, so 5, 5.0 and "5" are the same."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float | Decimal):
        return f"{Decimal(str(value)).normalize():f}"
    return str(value)


def _calendar_start(at: datetime) -> datetime:
    """A Monday that is also the first of a month and of a year: every calendar window can be counted from it."""
    return datetime(2001, 1, 1, tzinfo=at.tzinfo)

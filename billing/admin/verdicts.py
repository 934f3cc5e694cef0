"""What `check` would say, and from which balances: read as it stands, without refilling anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.services.balances import deciding, sources
from billing.services.balances.sources import BalanceRow
from billing.templatetags.shown import quantity
from config import zones
from config.errors import DomainError
from entities.subject import Subject
from plans.models import Feature

LEVELS = {"pool": "shared", "slice": "its share", "own": "its own"}


@dataclass(frozen=True, slots=True)
class Source:
    """A balance that a track would draw on, in its turn."""

    pk: int
    text: str
    remaining: str
    due_at: datetime | None  # set where a refill is due and comes with the next call


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one feature, with a sentence on why."""

    feature: str
    allowed: bool
    why: str
    sources: list[Source]


def of(
    subject: Subject,
    feature: Feature,
    *,
    wall: datetime,
    plans: Mapping[int, str],
    required: Decimal = Decimal(1),
) -> Verdict:
    """May the subject use this much of the feature now? `plans` names the plans of balances, by their keys."""
    try:
        found = sources.read(
            customer_id=subject.customer_id, entity_id=subject.entity_id, feature=feature.slug, wall=wall
        )
    except DomainError as refusal:
        return Verdict(str(feature), False, refusal.message, [])
    verdict = deciding.decide(found, required, {})
    at = found.scope.at
    rows = [_source(row, at, plans) for row in found.rows]
    due = [row for row in rows if row.due_at is not None]
    return Verdict(
        str(feature), verdict.allowed, _why(subject, feature, verdict, found.rows, bool(due), required), rows
    )


def _source(row: BalanceRow, at: datetime, plans: Mapping[int, str]) -> Source:
    origin = plans.get(row.id) or row.plan_slug or "granted by hand"
    rollover = ", rolled over" if row.is_rollover else ""
    text = f"{origin}, {LEVELS.get(row.level, row.level)}{rollover}"
    left = "Unlimited" if row.unlimited else f"{quantity(row.left)} of {quantity(row.granted)}"
    is_due = row.next_reset_at is not None and row.next_reset_at <= at
    return Source(row.id, text, left, row.next_reset_at if is_due else None)


def _why(
    subject: Subject,
    feature: Feature,
    verdict: deciding.Verdict,
    rows: list[BalanceRow],
    is_due: bool,
    required: Decimal,
) -> str:
    if is_due and not verdict.allowed:
        return "Its refill is due and happens with the next check or track: then it is allowed again."
    if not rows:
        return f"{subject.entity or subject.customer} has no plan or grant with {feature}."
    if feature.type == Feature.Type.BOOLEAN:
        return f"{feature} is switched on."
    if any(row.unlimited for row in rows):
        return f"{feature} is unlimited here."
    left = sum((row.left for row in rows if row.left > 0), Decimal(0))
    if verdict.allowed:
        extra = "" if left > 0 else " The grant is used up; more is sold."
        return f"{quantity(left)} left.{extra}"
    nexts = [row.next_reset_at for row in rows if row.next_reset_at is not None]
    refill = f" It refills on {zones.told(min(nexts))}." if nexts else " It does not refill by itself."
    if 0 < left < required:
        return f"Only {quantity(left)} left, {quantity(required)} were asked for.{refill}"
    if left > 0:
        return f"{quantity(left)} left, and a limit stops it. See the billing controls of customer, plan and entity."
    return f"All {quantity(sum((row.granted for row in rows), Decimal(0)))} are used.{refill}"

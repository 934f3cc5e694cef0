"""Why a balance shows what it shows, and why a check would say what it says: in figures and in words.

The sources stand in the order in which a track would use them. Each comes with the ledger entries behind its present
number, those since its last reset, and what was carried into them, so that both always sum to what it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction

from billing import deduction
from billing.controls import UsageLimit
from billing.deduction import OverageBehavior
from billing.models import LedgerEntry
from billing.services.balances import counters, deciding, metering, posting, sources
from billing.services.balances.deciding import Verdict
from billing.services.balances.sources import BalanceRow, SourceFeature, Sources
from entities.models import Entity

ZERO = Decimal(0)
NUMBERS = ("granted", "usage", "held", "expired")
MOST_SOURCES = 100
MOST_ENTRIES = 50
_LEVELS = {"pool": "shared", "slice": "a share of the customer's plan", "own": "the entity's own"}


@dataclass(frozen=True, slots=True)
class Source:
    """One balance in its turn: the entries listed (oldest first) and `carried`, the deltas of all before them.

    `overage` says how far below 0 a track may take it (0: not at all, None: without bound).
    """

    row: BalanceRow
    feature: SourceFeature
    entity_id: str | None
    overage: Decimal | None
    carried: Mapping[str, Decimal]
    entries: Sequence[LedgerEntry]
    left_out: int  # entries since the reset that are too many to list

    @property
    def summary(self) -> str:
        row = self.row
        origin = f"of plan {row.plan_slug}" if row.plan_slug else "granted by hand"
        what = f"{_LEVELS[row.level]}, {origin}{', rolled over' if row.is_rollover else ''}".capitalize()
        if row.unlimited:
            return f"{what}: unlimited, {plain(row.used)} used."
        taken = "".join(
            f" − {plain(value)} {name}"
            for name, value in (("used", row.usage), ("held", row.held), ("expired", row.expired))
            if value
        )
        return f"{what}: {plain(row.granted)} granted{taken} = {plain(row.left)} left."


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict with its reasons, and the sources it rests on; `more` are those left out of the list."""

    verdict: Verdict
    reasons: list[str]
    sources: list[Source]
    more: int
    at: datetime = field(kw_only=True)


def explain(*, customer_id: str, entity_id: str | None, feature: str, required: Decimal, wall: datetime) -> Explanation:
    """Explain what a check of `required` would say. Changes nothing, except that what is due is caught up first.

    Raises for unknown ids. The sources are locked while their entries are read, so figures and entries agree.
    """
    metering.find(customer_id=customer_id, entity_id=entity_id, feature=feature, wall=wall)
    with transaction.atomic():
        each = sources.lock(customer_id=customer_id, entity_id=entity_id, feature=feature, wall=wall)
        found = sources.read(customer_id=customer_id, entity_id=entity_id, feature=feature, wall=wall)
        verdict = deciding.decide(found, required, {})
        ordered = _in_order(each)
        shown = ordered[:MOST_SOURCES]
        behind = _entries([row.id for row in shown])
        members = Entity.objects.in_bulk({row.entity_id for row in shown if row.entity_id is not None})
        return Explanation(
            verdict=verdict,
            reasons=_reasons(verdict, each, required),
            sources=[_source(each, row, behind, members) for row in shown],
            more=len(ordered) - len(shown),
            at=each.scope.at,
        )


def told(entry: LedgerEntry) -> str:
    """An entry in words: `Used: +5 used`, `Reset: −30 used (30 used was cleared)`."""
    names = {"granted": "granted", "usage": "used", "held": "held", "expired": "expired"}
    moved = [
        f"{'+' if value > 0 else '−'}{plain(abs(value))} {names[number]}"
        for number in NUMBERS
        if (value := getattr(entry, number))
    ]
    what = f"{entry.get_kind_display()}: {', '.join(moved) or 'nothing moved'}"
    return f"{what} ({entry.reason})" if entry.reason else what


def plain(quantity: Decimal) -> str:
    """A quantity as people write it: `50`, not `50.0000000000`."""
    return f"{quantity.normalize():f}" if quantity else "0"


def _in_order(each: Sources) -> list[BalanceRow]:
    by_id = {row.id: row for row in each.rows}
    found = (posting.source(each, row, OverageBehavior.CAP) for row in each.rows)
    return [by_id[one.id] for one in deduction.in_order(found, for_entity=each.scope.entity_pk is not None)]


def _source(
    each: Sources,
    row: BalanceRow,
    behind: Mapping[int, tuple[int, list[LedgerEntry]]],
    members: Mapping[int, Entity],
) -> Source:
    count, entries = behind.get(row.id, (0, []))
    carried = {
        number: getattr(row, number) - sum((getattr(entry, number) for entry in entries), ZERO) for number in NUMBERS
    }
    return Source(
        row=row,
        feature=posting.feature_of(each, row),
        entity_id=members[row.entity_id].external_id if row.entity_id is not None else None,
        overage=posting.source(each, row, OverageBehavior.CAP).overage,
        carried=carried,
        entries=entries,
        left_out=count - len(entries),
    )


# The newest entries of each balance, not going back beyond its last reset, and how many there are.
_BEHIND = """
SELECT b.id, n.count, e.id
FROM unnest(%(balances)s::bigint[]) AS b(id)
CROSS JOIN LATERAL (
  SELECT COALESCE(max(id), 0) AS id FROM billing_ledgerentry WHERE balance_id = b.id AND kind = 'reset'
) reset
CROSS JOIN LATERAL (
  SELECT count(*) FROM billing_ledgerentry WHERE balance_id = b.id AND id >= reset.id
) n
CROSS JOIN LATERAL (
  SELECT id FROM billing_ledgerentry WHERE balance_id = b.id AND id >= reset.id ORDER BY id DESC LIMIT %(most)s
) e
"""


def _entries(balance_pks: Sequence[int]) -> dict[int, tuple[int, list[LedgerEntry]]]:
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND, {"balances": list(balance_pks), "most": MOST_ENTRIES})
        rows = cursor.fetchall()
    entries = LedgerEntry.objects.in_bulk([entry for _, _, entry in rows])
    counts = {balance: count for balance, count, _ in rows}
    found: dict[int, tuple[int, list[LedgerEntry]]] = {balance: (count, []) for balance, count in counts.items()}
    for pk in sorted(entries):
        found[entries[pk].balance_id][1].append(entries[pk])
    return found


def _reasons(verdict: Verdict, each: Sources, required: Decimal) -> list[str]:
    """Why the verdict is what it is, the deciding sentence first (spec balances 6.5)."""
    own, decided_on = each.feature, verdict.decided_on
    if own.is_boolean:
        return [f"{own.slug} is switched on." if verdict.allowed else f"Nothing switches {own.slug} on."]
    if decided_on is None:
        return [f"There is no balance of {own.slug}, nor of credits that cover it."]
    reasons = [_deciding(verdict, each, decided_on, required)]
    if not decided_on.is_own:
        reasons.append(
            f"{decided_on.slug} pays at {plain(decided_on.cost)} a unit: {plain(required)} of {own.slug} need "
            f"{plain(verdict.required)}."
        )
    owned = sum((row.remaining for row in verdict.found.of(decided_on) if row.level == "own"), ZERO)
    if each.scope.entity_pk is None and owned:
        reasons.append(f"{plain(owned)} more belong to single entities and count only for them.")
    return reasons


def _deciding(verdict: Verdict, each: Sources, decided_on: SourceFeature, required: Decimal) -> str:
    rows = each.of(decided_on)
    needed, left = verdict.required, sum((row.remaining for row in rows), ZERO)
    slug = decided_on.slug
    if any(row.unlimited for row in rows):
        return f"{slug} is unlimited here."
    if needed < 0:
        return "Giving back is always allowed."
    stopping = _stopping_limit(each, decided_on, required=required, needed=needed)
    if stopping is not None and not verdict.allowed:
        limit, room = stopping
        asked = needed if limit.feature == slug else required
        cap = f"The usage limit of {plain(limit.limit)} {limit.feature} a {limit.interval}"
        return f"{cap} leaves {plain(max(room, ZERO))}, less than {plain(asked)}."
    if verdict.allowed and left >= needed:
        return f"{plain(left)} {slug} are left, which covers {plain(needed)}."
    if verdict.allowed:
        return f"{plain(left)} {slug} are left; the rest of {plain(needed)} may be used beyond the grant."
    beyond = "and no more may be used beyond the grant" if any(row.allows_overage for row in rows) else "and no more"
    resets = [row.next_reset_at for row in rows if row.next_reset_at is not None]
    until = f" until the reset on {min(resets):%Y-%m-%d %H:%M} UTC" if resets else ""
    return f"{plain(left)} {slug} are left, {beyond}{until}; {plain(needed)} are asked for."


def _stopping_limit(
    each: Sources, decided_on: SourceFeature, *, required: Decimal, needed: Decimal
) -> tuple[UsageLimit, Decimal] | None:
    """The usage limit that leaves less than is asked for, with what it leaves."""
    for feature_id, limit in counters.limits(each.scope, each.features):
        asked = required if feature_id == each.feature.id else needed
        if limit.properties or feature_id not in (each.feature.id, decided_on.id):
            continue
        room = limit.limit - counters.used(each.scope, feature_id, limit)
        if room < asked:
            return limit, room
    return None

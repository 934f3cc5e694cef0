"""How balances look on the wire: one per feature, with the sources it is made of (spec/balances.md 9)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from billing import controls
from billing.deduction import NEVER
from billing.services.balances.deciding import Verdict
from billing.services.balances.metering import Tracked
from billing.services.balances.posting import PaidBy
from billing.services.balances.sources import BalanceRow, SourceFeature, Sources, totals
from billing.services.balances.terms import Terms
from config.api import milliseconds

ZERO = Decimal(0)
# The clients' schemas want a number where a rollover never expires.
NEVER_MS = 32_503_680_000_000


def balance(found: Sources, feature: SourceFeature) -> dict[str, Any] | None:
    """The balance of one feature, None when the subject holds none.

    granted, remaining and usage sum over all sources, each floored on its own; unlimited ones show usage only.
    """
    rows = found.of(feature)
    if not rows or feature.is_boolean:
        return None
    granted, used, remaining, unlimited = totals(rows)
    main = [row for row in rows if not row.is_rollover]
    most = [row.max_overage for row in main if row.max_overage is not None]
    resets = [row.next_reset_at for row in main if row.next_reset_at is not None]
    return {
        "feature_id": feature.slug,
        "feature": None,  # filled in where it is expanded
        "granted": ZERO if unlimited else granted,
        "remaining": ZERO if unlimited else remaining,
        "usage": used,
        "unlimited": unlimited,
        "overage_allowed": _overage_allowed(found, feature, main),
        "max_purchase": sum(most, ZERO) if most else None,
        "next_reset_at": milliseconds(min(resets)) if resets else None,
        "breakdown": [_breakdown(row) for row in main if _is_listed(found, row)],
        "rollovers": _rollovers(rows) if len(main) < len(rows) else [],
    }


def _overage_allowed(found: Sources, feature: SourceFeature, main: Sequence[BalanceRow]) -> bool:
    """What a control says, else whether any balance sells overage."""
    said = controls.overage_allowed(feature.slug, **found.scope.controls()) if found.scope.has_controls else None
    return any(row.allows_overage for row in main) if said is None else said


def flag(found: Sources, feature: SourceFeature) -> dict[str, Any] | None:
    """The flag of a boolean feature, None when it is off. At customer level an entity's own flag does not show."""
    rows = [row for row in found.of(feature) if found.scope.entity_pk is not None or row.level != "own"]
    if not feature.is_boolean or not rows:
        return None
    row = rows[0]
    return {
        "id": _id(row),
        "feature_id": feature.slug,
        "feature": None,
        "plan_id": row.plan_slug,
        "expires_at": milliseconds(row.expires_at),
    }


def balances(found: Sources) -> dict[str, Any]:
    """Every balance of the subject, by feature; licences are shown apart."""
    shown = {feature.slug: balance(found, feature) for feature in found.features if not feature.counts_licenses}
    return {slug: value for slug, value in shown.items() if value is not None}


def flags(found: Sources) -> dict[str, Any]:
    """Every flag of the subject that is on, by feature."""
    shown = {feature.slug: flag(found, feature) for feature in found.features}
    return {slug: value for slug, value in shown.items() if value is not None}


def check(verdict: Verdict, preview: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answer to balances.check."""
    found, decided_on = verdict.found, verdict.decided_on
    # With credit systems that cover the feature all of them are shown.
    shown = [decided_on] if decided_on else []
    if len(found.features) > 1:
        shown = [feature for feature in found.features if found.of(feature)]
    related = {feature.slug: balance(found, feature) for feature in shown}
    return {
        "allowed": verdict.allowed,
        "customer_id": found.scope.customer_id,
        "entity_id": found.scope.entity_id,
        "required_balance": verdict.required,
        "balance": related[decided_on.slug] if decided_on else None,
        "balances": related if len(found.features) > 1 and related else None,
        "flag": flag(found, found.feature),
        "preview": preview,
    }


def track(tracked: Tracked) -> dict[str, Any]:
    """The answer to balances.track of one feature: its own balance where the subject holds it, else the credits'."""
    found = tracked.found
    moved = list({part.feature.id: part.feature for part in tracked.paid}.values())
    shown = found.feature if found.of(found.feature) else (moved[0] if moved else None)
    return {
        "customer_id": found.scope.customer_id,
        "entity_id": found.scope.entity_id,
        "event_name": None,
        "value": tracked.value,
        "balance": balance(found, shown) if shown else None,
        "balances": {feature.slug: balance(found, feature) for feature in moved} if len(moved) > 1 else None,
        "deductions": [deduction(part) for part in tracked.paid],
    }


def untracked(verdict: Verdict, value: Decimal) -> dict[str, Any]:
    """The answer to a track with a lock that was not granted: nothing was taken."""
    found, decided_on = verdict.found, verdict.decided_on
    return {
        "customer_id": found.scope.customer_id,
        "entity_id": found.scope.entity_id,
        "event_name": None,
        "value": value,
        "balance": balance(found, decided_on) if decided_on else None,
        "balances": None,
        "deductions": [],
    }


def track_event(tracked: Sequence[Tracked], event_name: str) -> dict[str, Any]:
    """The answer to a track of an event name, which may have moved several features."""
    scope = tracked[0].found.scope
    moved = {
        feature.slug: balance(one.found, feature)
        for one in tracked
        for feature in one.found.features
        if one.found.of(feature)
    }
    return {
        "customer_id": scope.customer_id,
        "entity_id": scope.entity_id,
        "event_name": event_name,
        "value": tracked[0].value,
        "balance": next(iter(moved.values())) if len(moved) == 1 else None,
        "balances": moved or None,
        "deductions": [deduction(part) for one in tracked for part in one.paid],
    }


def deduction(part: PaidBy) -> dict[str, Any]:
    """What one balance gave."""
    return {
        "balance_id": _id(part.row),
        "feature_id": part.feature.slug,
        "plan_id": part.row.plan_slug,
        "reset": reset(part.row),
        "value": part.amount,
    }


def reset(row: BalanceRow) -> dict[str, Any] | None:
    interval = row.reset_every
    if interval is None:
        return None
    return {
        "interval": interval.unit.value,
        "interval_count": interval.count,
        "resets_at": milliseconds(row.next_reset_at),
    }


def _is_listed(found: Sources, row: BalanceRow) -> bool:
    """What entities own is in a customer's totals, without rows of its own (spec balances 9.4)."""
    return found.scope.entity_pk is not None or row.level != "own"


def _breakdown(row: BalanceRow) -> dict[str, Any]:
    return {
        "id": _id(row),
        "plan_id": row.plan_slug,
        "included_grant": ZERO if row.unlimited else row.granted - row.prepaid,
        "prepaid_grant": row.prepaid,
        "remaining": ZERO if row.unlimited else row.remaining,
        "usage": row.used,
        "unlimited": row.unlimited,
        "reset": reset(row),
        "price": _price(row.terms),
        "expires_at": milliseconds(row.expires_at),
        "overage": -row.left if row.left < 0 and not row.unlimited else ZERO,
    }


def _price(terms: Terms) -> dict[str, Any] | None:
    if not terms.price_billing_method:
        return None
    tiers = [
        {
            "to": tier["to"] if tier["to"] == "inf" else Decimal(tier["to"]),
            "amount": Decimal(tier.get("amount") or 0),
            "flat_amount": Decimal(tier.get("flat_amount") or 0),
        }
        for tier in terms.price_tiers
    ]
    return {
        "amount": None if tiers else terms.price_amount,
        "tiers": tiers or None,
        "tier_behavior": (terms.price_tier_behavior or "graduated") if tiers else None,
        "billing_units": terms.price_billing_units,
        "billing_method": terms.price_billing_method,
        "max_purchase": terms.price_max_purchase,
    }


def _rollovers(rows: Sequence[BalanceRow]) -> list[dict[str, Any]]:
    """What rolled over at each reset, in the order in which it is used; the entities' is summed for a customer."""
    ordered = sorted((row for row in rows if row.is_rollover), key=lambda row: (row.expires_at or NEVER, row.id))
    return [
        {
            "granted": row.granted - row.expired,
            "balance": row.remaining,
            "expires_at": milliseconds(row.expires_at) if row.expires_at else NEVER_MS,
        }
        for row in ordered
    ]


def _id(row: BalanceRow) -> str:
    return row.public_id or f"bal_{abs(row.id)}"

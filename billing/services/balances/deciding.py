"""What a check says of balances that were read: allowed or not, and what refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.alerts import Limit
from billing.deduction import OverageBehavior
from billing.services.balances import counters, posting
from billing.services.balances.sources import BalanceRow, SourceFeature, Sources

ZERO = Decimal(0)


@dataclass(slots=True)
class Verdict:
    """The answer to a check: decided on the asked feature or on a credit system covering it (None: nothing is held),
    whose `required` quantity this is; `found` are the balances it was decided on."""

    allowed: bool
    required: Decimal
    found: Sources
    decided_on: SourceFeature | None
    refused_by: Limit | None = None


def decide(found: Sources, required: Decimal, properties: Mapping[str, Any]) -> Verdict:
    """The verdict on balances already read.

    The feature's own balances decide if they suffice, else a credit system that covers it: the first held that allows,
    else the first held (spec balances 6.5, 6.9).
    """
    own = found.feature
    if not found.rows or own.is_boolean:
        held = counting(found, own)
        return Verdict(own.is_boolean and bool(held), required, found, own if held else None)
    left = counters.headroom(found.scope, found.features, properties)
    candidates = [feature for feature in found.features if found.of(feature)]
    over_limit = left.get(own.id) is not None and left[own.id] < required
    refusals = []
    for feature in candidates:
        is_capped = over_limit and not feature.is_own
        refused_by = Limit.USAGE_LIMIT if is_capped else refusal(found, feature, required * feature.cost, left)
        if refused_by is None:
            return Verdict(True, required * feature.cost, found, feature)
        refusals.append(refused_by)
    # What would have to be topped up is what covers for the feature, so a refusal is shown on that.
    last = next((n for n, feature in enumerate(candidates) if not feature.is_own), 0)
    return Verdict(False, required * candidates[last].cost, found, candidates[last], refusals[last])


def refusal(found: Sources, feature: SourceFeature, required: Decimal, left: Mapping[int, Decimal]) -> Limit | None:
    """What refuses `required` of one feature's balances, None: nothing does; `left` is what usage limits leave."""
    rows = counting(found, feature)
    if any(row.unlimited for row in rows):
        return None
    if not rows:
        return Limit.INCLUDED
    if required < 0:
        return None
    limit = left.get(feature.id)
    if limit is not None and limit < required:
        return Limit.USAGE_LIMIT
    remaining = sum((row.remaining for row in rows), ZERO)
    return None if remaining >= required else _overage_refusal(found, feature, rows, required - remaining)


def counting(found: Sources, feature: SourceFeature) -> list[BalanceRow]:
    """A customer-level check does not count what only entities own, though it shows it (decisions 12)."""
    return [row for row in found.of(feature) if row.count and (found.scope.entity_pk is not None or row.level != "own")]


def _overage_refusal(
    found: Sources, feature: SourceFeature, rows: Sequence[BalanceRow], missing: Decimal
) -> Limit | None:
    """What refuses `missing` beyond what is left; None where a control allows it, or it is sold and within bounds."""
    bounds = [(row, posting.source(found, row, OverageBehavior.REJECT).overage) for row in rows if not row.is_rollover]
    if all(bound is not None and bound <= 0 for _, bound in bounds):
        return Limit.INCLUDED
    headroom = posting.overage_headroom(found, feature)
    if headroom is not None and headroom < missing:
        return Limit.SPEND_LIMIT
    if any(bound is None for _, bound in bounds):
        return None
    sold = sum((bound + min(row.left, ZERO) for row, bound in bounds if bound), ZERO)
    return None if sold >= missing else Limit.MAX_PURCHASE

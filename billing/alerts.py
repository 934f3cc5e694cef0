"""Usage alerts and limits: when a threshold is crossed, and when a limit is reached. Pure (spec balances 11.4, 11.5).

Both compare how a feature stands before and after one change, and remember nothing. So each is told once per crossing,
and again only after things went back: usage was refunded, more was granted, or a new period began.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing.controls import Controls


class ThresholdType(StrEnum):
    """What a threshold is compared with; the percentages are of the grant."""

    USAGE = "usage"
    USAGE_PERCENTAGE = "usage_percentage"
    REMAINING = "remaining"
    REMAINING_PERCENTAGE = "remaining_percentage"


class Limit(StrEnum):
    """What a check is refused by."""

    INCLUDED = "included"
    MAX_PURCHASE = "max_purchase"
    SPEND_LIMIT = "spend_limit"
    USAGE_LIMIT = "usage_limit"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a feature stands for a customer or an entity: its quantities as reads show them, and what would refuse one
    unit more (None: nothing would)."""

    granted: Decimal
    usage: Decimal
    remaining: Decimal
    unlimited: bool = False
    refused_by: Limit | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold that somebody wants to be told of."""

    feature: str
    threshold: Decimal
    type: ThresholdType
    name: str = ""

    def is_beyond(self, standing: Standing) -> bool:
        """Whether the threshold is reached or passed. A percentage of no grant never is, nor anything unlimited."""
        if standing.unlimited:
            return False
        if self.type is ThresholdType.USAGE:
            return standing.usage >= self.threshold
        if self.type is ThresholdType.REMAINING:
            return standing.remaining <= self.threshold
        part = self.threshold * standing.granted
        if standing.granted <= 0:
            return False
        if self.type is ThresholdType.USAGE_PERCENTAGE:
            return standing.usage * 100 >= part
        return standing.remaining * 100 <= part


def in_force(feature: str, own: Controls, plans: Iterable[Controls]) -> list[Alert]:
    """The alerts that a customer or an entity has for a feature: those it was given itself, disabled ones included,
    stand in for those of its plans; several plans add up. No alert stands in for that of another scope."""
    given = _of(feature, own)
    entries = given or [entry for plan in plans for entry in _of(feature, plan)]
    enabled = (entry for entry in entries if entry.get("enabled", True))
    alerts = (
        Alert(feature, Decimal(e["threshold"]), ThresholdType(e["threshold_type"]), e.get("name") or "")
        for e in enabled
    )
    return list(dict.fromkeys(alerts))


def crossed(alerts: Iterable[Alert], before: Standing, after: Standing) -> list[Alert]:
    """The alerts whose threshold lies between the two; none where either is unlimited."""
    if before.unlimited or after.unlimited:
        return []
    return [alert for alert in alerts if alert.is_beyond(after) and not alert.is_beyond(before)]


def limit_reached(before: Standing, after: Standing) -> Limit | None:
    """What refuses one unit more now, if nothing did before."""
    return after.refused_by if before.refused_by is None else None


def _of(feature: str, controls: Controls) -> Sequence[dict[str, str]]:
    return [entry for entry in controls.get("usage_alerts", ()) if entry.get("feature_id") == feature]

"""What is left of balances, as bars."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from billing.models import Balance
from plans.models import Feature

ZERO = Decimal(0)
LOW = 20  # per cent


@dataclass(frozen=True, slots=True)
class Bar:
    """What is left of one feature, summed over its balances."""

    feature: Feature
    granted: Decimal
    used: Decimal
    remaining: Decimal
    is_unlimited: bool
    allows_overage: bool
    next_reset_at: datetime | None
    balance_pk: int  # of the only balance; 0 when there are several

    @property
    def is_flag(self) -> bool:
        return self.feature.type == Feature.Type.BOOLEAN

    @property
    def is_count(self) -> bool:
        return self.feature.is_allocated

    @property
    def percent(self) -> int:
        """What is left, in whole per cent."""
        if self.granted <= 0:
            return 0
        part = (max(self.remaining, ZERO) / self.granted * 100).to_integral_value(ROUND_CEILING)
        return int(min(part, Decimal(100)))

    @property
    def tone(self) -> str:
        """The colour's class."""
        if self.remaining <= 0 and not self.is_count:
            return "sl-out"
        return "sl-low" if self.percent < LOW and not self.is_count else ""


def bars(balances: Iterable[Balance]) -> list[Bar]:
    """One bar per feature, in order of appearance."""
    grouped: dict[int, list[Balance]] = {}
    for balance in balances:
        grouped.setdefault(balance.feature_id, []).append(balance)
    return [_bar(group) for group in grouped.values()]


def _bar(group: list[Balance]) -> Bar:
    return Bar(
        feature=group[0].feature,
        granted=sum((balance.granted for balance in group), ZERO),
        used=sum((balance.usage + balance.held for balance in group), ZERO),
        remaining=sum((balance.remaining for balance in group), ZERO),
        is_unlimited=any(balance.unlimited for balance in group),
        allows_overage=any(balance.allows_overage for balance in group),
        next_reset_at=min((balance.next_reset_at for balance in group if balance.next_reset_at), default=None),
        balance_pk=group[0].pk if len(group) == 1 else 0,
    )

"""Refilling balances: when a command sweeps, and on the spot when a call meets one that is due."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, QuerySet

from billing import refill
from billing.models import Balance, HoldPart, Overage
from billing.services.balances import ledger, plain_resets
from config.actor import Actor
from plans.intervals import next_boundary

ZERO = Decimal(0)
Kind = ledger.Kind
_AT_ONCE = 5000


def sweep(*, at: datetime, actor: Actor, limit: int) -> int:
    """Refill up to `limit` balances whose reset is due at `at`, of all customers in wall time; returns how many.

    Several sweeps may run side by side, and any may be killed: rows that somebody else holds are left for later, and
    waited for when there are no others.
    """
    return _sweep(at=at, actor=actor, limit=limit, wait=False) or _sweep(at=at, actor=actor, limit=limit, wait=True)


def _sweep(*, at: datetime, actor: Actor, limit: int, wait: bool) -> int:
    done = plain_resets.sweep(at=at, actor=actor, limit=limit, wait=wait)
    if done == limit:
        return done
    others = Balance.objects.due(at).filter(customer__clock_at=None)
    locked = others.select_for_update(of=("self",), no_key=True, skip_locked=not wait)
    return done + _reset_first(locked, at=at, actor=actor, limit=limit - done)


def count_from(anchor: datetime, subscriptions: Collection[int], *, at: datetime) -> None:
    """Count the resets of these plans' balances from another anchor, each by its own interval (spec billing 4.4)."""
    balances = list(Balance.objects.filter(subscription__in=subscriptions, ended_at=None, next_reset_at__isnull=False))
    for balance in balances:
        interval = balance.reset_every
        balance.reset_anchor = anchor
        balance.next_reset_at = next_boundary(anchor, interval, at) if interval is not None else None
    Balance.objects.bulk_update(balances, ["reset_anchor", "next_reset_at"])


def reset_due(
    *,
    at: datetime,
    actor: Actor,
    customer_pk: int,
    balance_pks: Sequence[int] | None = None,
    limit: int = 1000,
) -> int:
    """Refill a customer's balances (or only these) whose reset is due at `at`, at most `limit`; returns how many.

    Each is refilled once however many boundaries it missed, on the grid of its anchor, and an entry tells (unique per
    balance and boundary, so it can't be done twice). What was overdrawn on a sold feature is put aside as Overage for
    the renewal to bill.
    """
    # Two transactions, unless the caller has one: in each, rows are locked in the order of their ids.
    done = plain_resets.reset(at=at, actor=actor, limit=limit, customer_pk=customer_pk, balance_pks=balance_pks)
    if done == limit or (balance_pks is not None and done == len(balance_pks)):
        return done
    others = Balance.objects.due(at).filter(customer_id=customer_pk).select_for_update(of=("self",), no_key=True)
    if balance_pks is not None:
        others = others.filter(pk__in=balance_pks)
    return done + _reset_first(others, at=at, actor=actor, limit=limit - done)


def reset_customers(moments: Mapping[int, datetime], *, actor: Actor) -> None:
    """Refill all that is due for these customers (by key), each up to its own instant."""
    while plain_resets.reset_customers(moments, actor=actor, limit=_AT_ONCE) == _AT_ONCE:
        pass
    others = Balance.objects.due(max(moments.values())).filter(customer__in=moments)
    for key in sorted(set(others.values_list("customer", flat=True))):
        while reset_due(at=moments[key], actor=actor, customer_pk=key):
            pass


def reset_now(balances: Sequence[Balance], *, at: datetime, actor: Actor) -> None:
    """Refill these locked balances because somebody asks for it: on the grid of their anchor, but for no boundary, so
    that it can be asked for again."""
    _reset(balances, at=at, actor=actor, is_due=False)


def _reset_first(rows: QuerySet[Balance], *, at: datetime, actor: Actor, limit: int) -> int:
    with transaction.atomic():
        due = list(rows.order_by("pk")[:limit])
        over = [balance for balance in due if _is_over(balance)]
        end_expired(over, at=at, actor=actor)
        live = [balance for balance in due if not _is_over(balance)]
        if live:
            _reset(live, at=at, actor=actor)
        return len(due)


def end_expired(balances: Sequence[Balance], *, at: datetime, actor: Actor) -> None:
    """End balances that have expired, and what rolled over from them; reads leave them out in any case."""
    pks = [balance.pk for balance in balances]
    if not pks:
        return
    rows = Balance.objects.filter(Q(pk__in=pks) | Q(rolled_over_from__in=pks), ended_at=None)
    ending = list(rows.select_for_update(no_key=True).order_by("pk"))
    ledger.record(
        [
            ledger.Change(row.pk, Kind.EXPIRY, expired=row.remaining, reason="Expired")
            for row in ending
            if row.remaining > 0
        ],
        at=at,
        actor=actor,
    )
    for row in ending:
        row.ended_at = row.expires_at or at
    Balance.objects.bulk_update(ending, ["ended_at"], batch_size=1000)


def _is_over(balance: Balance) -> bool:
    """Expired before the reset that is due: nothing is refilled any more."""
    return (
        balance.expires_at is not None
        and balance.next_reset_at is not None
        and balance.expires_at <= balance.next_reset_at
    )


def _reset(balances: Sequence[Balance], *, at: datetime, actor: Actor, is_due: bool = True) -> None:
    changes: list[ledger.Change] = []
    overages: list[Overage] = []
    rolled: list[Balance] = []
    gone: list[int] = []
    rollovers = _rollovers_of([balance for balance in balances if _rolls(balance)], at=at)
    for balance in balances:
        interval, anchor, due_at = balance.reset_every, balance.reset_anchor, balance.next_reset_at
        if interval is None or anchor is None or due_at is None:
            continue
        # Boundaries that lie after its expiry are no longer its own, however late the reset runs.
        until = at if balance.expires_at is None else min(at, balance.expires_at - timedelta(microseconds=1))
        outcome = refill.refill(
            anchor=anchor, interval=interval, due_at=due_at, at=until, left=balance.remaining, rolls=_rolls(balance)
        )
        if _rolls(balance):
            older = rollovers.get(balance.pk, [])
            made, trimmed, trimmed_away = _roll_over(balance, outcome, older)
            rolled.extend(made)
            changes.extend(trimmed)
            gone.extend(trimmed_away)
        if outcome.overage and balance.allows_overage and balance.item_id is not None:
            until = outcome.boundary_at if is_due else at
            overages.append(
                Overage(item_id=balance.item_id, balance=balance, boundary_at=until, quantity=outcome.overage)
            )
        changes.append(
            ledger.Change(
                balance.pk,
                Kind.RESET,
                granted=balance.included + balance.prepaid - balance.granted,
                usage=-balance.usage,
                held=-balance.held,
                expired=-balance.expired,
                boundary_at=outcome.boundary_at if is_due else None,
                reason=f"{_plain(balance.usage + balance.held)} used was cleared"
                + (f", {_plain(outcome.rolled_over)} left rolls over" if outcome.rolled_over else ""),
            )
        )
        balance.next_reset_at = outcome.next_reset_at
    ledger.record(changes, at=at, actor=actor)
    Balance.objects.bulk_update(balances, ["next_reset_at"], batch_size=1000)
    Overage.objects.bulk_create(overages, ignore_conflicts=True)
    if any(balance.held for balance in balances):
        HoldPart.objects.filter(balance__in=balances, hold__status="held", cleared_at=None).update(cleared_at=at)
    if gone:
        Balance.objects.filter(pk__in=gone).update(ended_at=at)
    ledger.open_balances(rolled, at=at, actor=actor, kind=Kind.ROLLOVER, reason="Left over from the period before")


def _rolls(balance: Balance) -> bool:
    return balance.rolls_over and not balance.unlimited


def _rollovers_of(balances: Sequence[Balance], *, at: datetime) -> dict[int, list[Balance]]:
    """The live rollovers of each balance, oldest first."""
    found: dict[int, list[Balance]] = {}
    if balances:
        rows = (
            Balance.objects.live(at).filter(rolled_over_from__in=balances).select_for_update(no_key=True).order_by("pk")
        )
        for row in rows:
            found.setdefault(row.rolled_over_from_id or 0, []).append(row)
    return found


def _roll_over(
    balance: Balance, outcome: refill.Refill, older: Sequence[Balance]
) -> tuple[list[Balance], list[ledger.Change], list[int]]:
    """The rollover that a reset makes of what is left, what the cap takes off the older ones, and which of these go."""
    cap = refill.rollover_cap(
        balance.included + balance.prepaid, most=balance.rollover_max, percentage=balance.rollover_max_percentage
    )
    cuts = refill.trim([*(row.remaining for row in older), outcome.rolled_over], cap)
    trimmed = [
        ledger.Change(row.pk, Kind.EXPIRY, expired=cut, reason="Over the rollover's maximum")
        for row, cut in zip(older, cuts, strict=False)
        if cut
    ]
    # As far as the trimming reaches, those that nothing is left of go, the used up ones too.
    reached = max((position for position, cut in enumerate(cuts) if cut), default=-1)
    gone = [row.pk for row, cut in zip(older[: reached + 1], cuts, strict=False) if row.remaining - cut <= 0]
    kept = outcome.rolled_over - cuts[-1]
    if kept <= 0:
        return [], trimmed, gone
    expiry = refill.rollover_expiry(balance.reset_anchor, outcome.boundary_at, balance.rollover_months)
    made = Balance(
        customer_id=balance.customer_id,
        entity_id=balance.entity_id,
        feature_id=balance.feature_id,
        level=balance.level,
        subscription_id=balance.subscription_id,
        item_id=balance.item_id,
        rolled_over_from=balance,
        granted=kept,
        is_add_on=balance.is_add_on,
        expires_at=min(filter(None, (expiry, balance.expires_at)), default=None),
        created_at=outcome.boundary_at,
    )
    return [made], trimmed, gone


def _plain(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"

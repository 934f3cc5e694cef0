"""Holds: taken by a check with a lock, then confirmed, released, or released by themselves when they expire.

While it lasts, what a hold took counts as used everywhere; in the ledger it is `held` (spec balances 12).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from billing import deduction
from billing.deduction import OverageBehavior
from billing.errors import LockAlreadyExists, LockAlreadyFinalized, LockNotFound
from billing.models import Balance, Hold, HoldPart, UsageEvent
from billing.services.balances import counters, ledger, posting, sources, watching
from billing.services.balances.posting import PaidBy, Posting
from billing.services.balances.sources import Sources
from config.actor import Actor
from config.api import encode
from config.errors import InvalidInput, InvalidRequest

ZERO = Decimal(0)
LONGEST = timedelta(hours=24)
Kind = ledger.Kind


@dataclass(frozen=True, slots=True)
class LockTerms:
    """Under which id to hold, and until when at most."""

    lock_id: str
    expires_at: datetime | None = None


def check_terms(lock: LockTerms, found: Sources) -> None:
    """Refuse what cannot be held: a feature that is not spent, or an expiry more than 24 hours ahead."""
    feature = found.feature
    if feature.is_boolean or feature.is_allocated:
        raise InvalidRequest(f"Feature {feature.slug} is not consumable: only what is spent can be locked.")
    if lock.expires_at is not None and not found.scope.at < lock.expires_at <= found.scope.at + LONGEST:
        raise InvalidRequest("lock.expires_at must lie ahead, by at most 24 hours.")


def open_hold(lock: LockTerms, found: Sources, value: Decimal, properties: Mapping[str, Any]) -> int:
    """Claim the lock id; raises LockAlreadyExists when it was ever used. Returns the hold's key."""
    try:
        with transaction.atomic():
            hold = Hold.objects.create(
                lock_id=lock.lock_id,
                customer_id=found.scope.customer_pk,
                entity_id=found.scope.entity_pk,
                feature_id=found.feature.id,
                value=value,
                properties=_storable(properties),
                created_at=found.scope.at,
                expires_at=lock.expires_at,
            )
    except IntegrityError as taken:
        raise LockAlreadyExists(lock.lock_id) from taken
    return hold.pk


def keep_parts(hold_pk: int, paid: Sequence[PaidBy]) -> None:
    """Remember what came from which balance, in the order taken."""
    HoldPart.objects.bulk_create(
        HoldPart(hold_id=hold_pk, balance_id=part.row.id, position=position, amount=part.amount, units=part.units)
        for position, part in enumerate(paid)
    )


def finalize(
    *,
    lock_id: str,
    confirm: bool,
    override: Decimal | None,
    properties: Mapping[str, Any] | None,
    wall: datetime,
    actor: Actor,
) -> Hold:
    """Settle a hold at its value or another, or give all of it back. Raises for unknown or finalized locks."""
    if not confirm and override is not None:
        raise InvalidInput("override_value goes with action confirm; a release gives everything back.")
    with transaction.atomic():
        hold = (
            Hold.objects.select_related("customer", "entity", "feature")
            .select_for_update(of=("self",))
            .filter(lock_id=lock_id)
            .first()
        )
        if hold is None:
            raise LockNotFound(lock_id)
        at = hold.customer.now(wall)
        if hold.status == Hold.Status.HELD and hold.expires_at is not None and hold.expires_at <= at:
            _settle(hold, ZERO, Hold.Status.EXPIRED, at=at, wall=wall, actor=actor, properties=properties)
        elif hold.status == Hold.Status.HELD:
            final = ZERO if not confirm else hold.value if override is None else override
            status = Hold.Status.CONFIRMED if confirm else Hold.Status.RELEASED
            _settle(hold, final, status, at=at, wall=wall, actor=actor, properties=properties)
            return hold
    raise LockAlreadyFinalized(lock_id, hold.get_status_display().lower())


def expire_due(
    *,
    at: datetime,
    wall: datetime,
    actor: Actor,
    customer_pk: int | None = None,
    only: Q | None = None,
    limit: int = 1000,
) -> int:
    """Release holds whose time is up, as a release would; returns how many."""
    with transaction.atomic():
        due = Hold.objects.filter(status=Hold.Status.HELD, expires_at__lte=at)
        if customer_pk is not None:
            due = due.filter(customer=customer_pk)
        if only is not None:
            due = due.filter(only)
        holds = list(
            due.select_related("customer", "entity", "feature")
            .select_for_update(of=("self",), skip_locked=True)
            .order_by("expires_at")[:limit]
        )
        for hold in holds:
            _settle(hold, ZERO, Hold.Status.EXPIRED, at=at, wall=wall, actor=actor, properties=None)
        return len(holds)


def _settle(
    hold: Hold,
    final: Decimal,
    status: Hold.Status,
    *,
    at: datetime,
    wall: datetime,
    actor: Actor,
    properties: Mapping[str, Any] | None,
) -> None:
    """Turn what is held into `final` used, recording the difference as one event.

    Less: the rest goes back last in, first out. More, or of the other sign: deducted in the normal order, as is what
    can't go back where it came from because a reset cleared it or its plan ended. Of a hold below 0 only what found
    usage to give back was ever carried out, so no more is taken again.
    """
    carried_out = hold.value if hold.value > 0 else sum((part.units for part in hold.parts.all()), ZERO)
    kept = min(max(final, min(hold.value, ZERO)), carried_out)
    event = _record_difference(hold, final - hold.value, at=at, wall=wall, actor=actor, properties=properties)
    found = _locked(hold, wall)
    watch = watching.begin(found, hold.properties) if found is not None else None
    homeless = _give_back(hold, max(hold.value, ZERO) - max(kept, ZERO), found, at=at, actor=actor)
    for value, counts in ((-homeless, False), (final - kept, True)):
        if value and found is not None:
            found = _locked(hold, wall) or found
            result = posting.spread(found, value, behavior=OverageBehavior.CAP, properties=hold.properties)
            event_pk = event.pk if event else None
            post = Posting(value, at, properties=hold.properties, event_pk=event_pk, counts=counts)
            posting.post(found, result, post, wall=wall, actor=actor)
    watching.end(watch, cause=f"hold:{hold.pk}")
    hold.status, hold.finalized_at, hold.final_value = status, at, final
    hold.save(update_fields=["status", "finalized_at", "final_value"])


def _record_difference(
    hold: Hold, difference: Decimal, *, at: datetime, wall: datetime, actor: Actor, properties: Mapping[str, Any] | None
) -> UsageEvent | None:
    if not difference:
        return None
    return UsageEvent.objects.create(
        customer_id=hold.customer_id,
        entity_id=hold.entity_id,
        feature_id=hold.feature_id,
        value=difference,
        properties=hold.properties if properties is None else _storable(properties),
        at=at,
        hold_id=hold.pk,
        recorded_at=wall,
        actor=actor.name,
        request_id=actor.request_id,
    )


def _locked(hold: Hold, wall: datetime) -> Sources | None:
    """The balances in the scope the hold was taken in; None when its entity is gone, and its balances with it."""
    if hold.entity is not None and hold.entity.deleted_at is not None:
        return None
    return sources.lock(
        customer_id=hold.customer.external_id,
        entity_id=hold.entity.external_id if hold.entity else None,
        feature=hold.feature.slug,
        wall=wall,
    )


def _give_back(hold: Hold, units: Decimal, found: Sources | None, *, at: datetime, actor: Actor) -> Decimal:
    """Release `units` of the hold, last part first, and settle the rest; returns what has no balance to go back to.

    Usage limits get back all that is released, wherever it goes, in the window in which it was taken.
    """
    parts = list(hold.parts.order_by("-position"))
    locked = Balance.objects.filter(pk__in=[part.balance_id for part in parts]).select_for_update(no_key=True)
    balances = {balance.pk: balance for balance in locked.order_by("pk")}
    changes, homeless, freed = [], ZERO, []
    for part in parts:
        balance = balances[part.balance_id]
        back_units = max(min(units, part.units), ZERO)
        back = part.amount if back_units == part.units else part.amount * back_units / part.units
        back = back.quantize(deduction.PLACES, ROUND_HALF_UP)
        units -= back_units
        freed.append(counters.Counted(balance.feature_id, -back, -back_units, balance.unlimited))
        if part.amount <= 0 or part.cleared_at is not None:
            homeless += back_units
            continue
        if balance.ended_at is not None:
            homeless += back_units
            back = ZERO
        reason = f"Lock {hold.lock_id}"
        if back:
            changes.append(ledger.Change(balance.pk, Kind.RELEASE, held=-back, hold_id=hold.pk, reason=reason))
        if part.amount - back:
            settled = part.amount - back
            changes.append(
                ledger.Change(balance.pk, Kind.SETTLE, usage=settled, held=-settled, hold_id=hold.pk, reason=reason)
            )
    ledger.record(changes, at=at, actor=actor)
    if found is not None:
        when_taken = replace(found.scope, at=hold.created_at)
        counters.count(when_taken, found.features, freed, hold.properties)
    return homeless


def _storable(properties: Mapping[str, Any]) -> Any:
    """The same as JSON that the columns take: numbers with a point are Decimals where they come from."""
    return json.loads(encode(dict(properties)))

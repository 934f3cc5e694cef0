"""check and track: may she, and she did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.deduction import OverageBehavior
from billing.errors import InsufficientBalance
from billing.services.balances import deciding, holds, plain, posting, resets, sources, traffic, watching
from billing.services.balances.deciding import Verdict
from billing.services.balances.posting import PaidBy, Posting
from billing.services.balances.sources import SourceFeature, Sources
from config.actor import Actor
from config.errors import InvalidInput, InvalidRequest
from plans.models import Feature

ZERO = Decimal(0)
LAZY = Actor("reset")


@dataclass(frozen=True, slots=True)
class Usage:
    """What an application reports: `value` of one feature, used by a customer or one of its entities."""

    customer_id: str
    feature: str
    value: Decimal
    entity_id: str | None = None
    behavior: OverageBehavior = OverageBehavior.CAP
    properties: Mapping[str, Any] = field(default_factory=dict)
    event_name: str = ""
    timestamp: datetime | None = None


@dataclass(slots=True)
class Tracked:
    """The outcome of a track: the balances after it, what each gave, and the event that recorded it."""

    value: Decimal
    found: Sources
    paid: list[PaidBy]
    event_id: int


def find(*, customer_id: str, entity_id: str | None, feature: str | None, wall: datetime) -> Sources:
    """The balances a subject has, refilled and freed of expired holds first: a late command is never visible."""
    found = sources.read(customer_id=customer_id, entity_id=entity_id, feature=feature, wall=wall)
    if _catch_up(found, wall=wall):
        found = sources.read(customer_id=customer_id, entity_id=entity_id, feature=feature, wall=wall)
    return found


def find_many(*, wall: datetime, customers: Sequence[int] = (), entities: Sequence[int] = ()) -> list[Sources]:
    """The same for a page of customers or of entities (keys), in one statement when nothing is due."""
    found = sources.read_many(customers=customers, entities=entities, wall=wall)
    behind = [one for one in found if _catch_up(one, wall=wall)]
    if behind:
        found = sources.read_many(customers=customers, entities=entities, wall=wall)
    return found


def check(
    *,
    customer_id: str,
    entity_id: str | None,
    feature: str,
    required: Decimal,
    wall: datetime,
    properties: Mapping[str, Any] | None = None,
) -> Verdict:
    """Whether the subject may use `required` of a feature; deducts nothing. Raises for unknown ids."""
    found = find(customer_id=customer_id, entity_id=entity_id, feature=feature, wall=wall)
    return _noted(deciding.decide(found, required, properties or {}), required, wall)


def track(usage: Usage, *, wall: datetime, actor: Actor, seats_are_paid: bool = False) -> Tracked:
    """Deduct a quantity and record the event, in one transaction; nothing acknowledged is ever lost.

    Balances are locked by one statement and written together with event and ledger entries by another. Raises
    InsufficientBalance (reject), SeatsAreBilled where the change has a price that is not yet paid, and the errors of
    unknown ids; then nothing is written.
    """
    plain_one = None if seats_are_paid else _track_plainly(usage, wall=wall, actor=actor)
    if plain_one is not None:
        return plain_one
    if usage.entity_id is None and usage.value > 0:
        with transaction.atomic():
            found = sources.lock(
                customer_id=usage.customer_id, entity_id=None, feature=usage.feature, wall=wall, only_first=True
            )
            if _first_suffice(found, usage.value):
                return _deduct(found, usage, wall=wall, actor=actor, seats_are_paid=seats_are_paid)
            # The locks are given up, or taking all in the order of their ids could end in a deadlock.
            transaction.set_rollback(True)
    with transaction.atomic():
        return _deduct(_lock(usage, wall), usage, wall=wall, actor=actor, seats_are_paid=seats_are_paid)


def _deduct(found: Sources, usage: Usage, *, wall: datetime, actor: Actor, seats_are_paid: bool) -> Tracked:
    """Spread the usage over balances that are locked, and post it."""
    at = _moment(usage, found.scope.at)
    result = posting.spread(found, usage.value, behavior=usage.behavior, properties=usage.properties)
    if usage.behavior is OverageBehavior.REJECT and not result.complete:
        _note_refusal(found, usage.value, found.feature, wall)
        raise InsufficientBalance(usage.feature, usage.value)
    watch = watching.begin(found, usage.properties)
    event_id, paid = posting.post(
        found,
        result,
        Posting(
            usage.value, at, properties=usage.properties, event_name=usage.event_name, seats_are_paid=seats_are_paid
        ),
        wall=wall,
        actor=actor,
    )
    after = _as_read(found, usage, wall)
    watching.end(watch, after, cause=f"event:{event_id}")
    return Tracked(usage.value, after, paid, event_id)


def _first_suffice(found: Sources, value: Decimal) -> bool:
    """Whether the rules would come to the same with all balances locked as with the first that pay: these have enough
    left, and no control, credit system, hold or reset has a say, nor is anybody to be told that nothing is left."""
    scope = found.scope
    if scope.customer_controls or scope.plan_controls or len(found.features) > 1 or found.due():
        return False
    if any(row.held for row in found.rows):
        return False
    left = sum((max(row.left, ZERO) for row in found.rows), ZERO)
    kept = 1 if found.hears.limits else 0
    return bool(found.rows) and (left >= value + kept or any(row.unlimited for row in found.rows))


def _track_plainly(usage: Usage, *, wall: datetime, actor: Actor) -> Tracked | None:
    """The track in one statement, if it is plain."""
    done = plain.track(
        customer_id=usage.customer_id,
        entity_id=usage.entity_id,
        feature=usage.feature,
        value=usage.value,
        properties=usage.properties,
        event_name=usage.event_name,
        happened=usage.timestamp,
        wall=wall,
        actor=actor,
    )
    if done is None:
        return None
    found, event_id = done
    return Tracked(usage.value, found, [PaidBy(found.rows[0], found.feature, usage.value, usage.value)], event_id)


def track_event(
    usages: Sequence[Usage], *, wall: datetime, actor: Actor, seats_are_paid: bool = False
) -> list[Tracked]:
    """Track the same event on every feature that listens to it, all or none."""
    first = usages[0]
    if len(usages) == 1:
        return [track(first, wall=wall, actor=actor, seats_are_paid=seats_are_paid)]
    with transaction.atomic():
        # Features may share credits: locking all at once keeps the order that prevents deadlocks.
        sources.lock_all(
            customer_id=first.customer_id,
            entity_id=first.entity_id,
            features=[usage.feature for usage in usages],
            wall=wall,
        )
        return [track(usage, wall=wall, actor=actor, seats_are_paid=seats_are_paid) for usage in usages]


def check_and_deduct(
    usage: Usage, *, wall: datetime, actor: Actor, lock: holds.LockTerms | None = None
) -> tuple[Verdict, Tracked | None]:
    """A check that takes what it allows, atomically: exactly as many pass as fit (spec balances 6.10, 12.1).

    With `lock` what it takes is held under the lock's id until it is finalized or expires.
    """
    with transaction.atomic():
        found = _lock(usage, wall)
        if lock is not None:
            holds.check_terms(lock, found)
        elif found.feature.is_boolean:
            raise InvalidRequest(
                f"Feature {usage.feature} is boolean: there is nothing to deduct. Leave send_event out."
            )
        result = posting.spread(found, usage.value, behavior=OverageBehavior.REJECT, properties=usage.properties)
        if not result.complete or (lock is not None and not found.rows):
            refused = deciding.decide(_as_read(found, usage, wall), usage.value, usage.properties)
            verdict = Verdict(False, refused.required, refused.found, refused.decided_on)
            return _noted(verdict, usage.value, wall), None
        watch = watching.begin(found, usage.properties)
        hold_pk = holds.open_hold(lock, found, usage.value, usage.properties) if lock is not None else None
        event_id, paid = posting.post(
            found,
            result,
            Posting(usage.value, _moment(usage, found.scope.at), properties=usage.properties, hold_pk=hold_pk),
            wall=wall,
            actor=actor,
        )
        if hold_pk is not None:
            holds.keep_parts(hold_pk, paid)
        after = _as_read(found, usage, wall)
        watching.end(watch, after, cause=f"event:{event_id}")
        held = [feature for feature in after.features if after.of(feature)]
        decided_on = next((part.feature for part in paid), held[0] if held else None)
        required = usage.value * (decided_on.cost if decided_on else 1)
        verdict = _noted(Verdict(True, required, after, decided_on), usage.value, wall)
        return verdict, Tracked(usage.value, after, paid, event_id)


def _noted(verdict: Verdict, asked: Decimal, wall: datetime) -> Verdict:
    """Count the verdict for those who watch."""
    traffic.checked(verdict.found.feature.id, verdict.allowed, wall)
    if not verdict.allowed:
        _note_refusal(verdict.found, asked, verdict.decided_on, wall)
    return verdict


def _note_refusal(found: Sources, asked: Decimal, decided_on: SourceFeature | None, wall: datetime) -> None:
    rows = deciding.counting(found, decided_on) if decided_on else []
    traffic.refused(
        customer_pk=found.scope.customer_pk,
        entity_pk=found.scope.entity_pk,
        feature_id=found.feature.id,
        wall=wall,
        required=asked,
        remaining=sum((row.remaining for row in rows), ZERO) if rows else None,
        paid_by=decided_on.id if decided_on and rows else None,
    )


def listeners(event_name: str) -> list[str]:
    """The features that an event name fans out to; raises when there are none."""
    slugs = list(Feature.objects.listening_to(event_name).order_by("pk").values_list("slug", flat=True))
    if not slugs:
        raise InvalidRequest(
            f"No feature listens to the event {event_name!r}. Add it to a feature's event_names, or send feature_id.",
            status=404,
        )
    return slugs


def _lock(usage: Usage, wall: datetime) -> Sources:
    found = sources.lock(customer_id=usage.customer_id, entity_id=usage.entity_id, feature=usage.feature, wall=wall)
    if _catch_up(found, wall=wall):
        found = sources.lock(customer_id=usage.customer_id, entity_id=usage.entity_id, feature=usage.feature, wall=wall)
    return found


def _catch_up(found: Sources, *, wall: datetime) -> bool:
    """Carry out what has come due on these balances; says whether anything may have changed."""
    caught_up = False
    if any(row.held for row in found.rows):
        caught_up = holds.expire_due(at=found.scope.at, customer_pk=found.scope.customer_pk, wall=wall, actor=LAZY) > 0
    if found.due():
        pks = [row.id for row in found.rows] if found.rows and all(row.count == 1 for row in found.rows) else None
        reset = resets.reset_due(
            at=found.scope.at, actor=LAZY, customer_pk=found.scope.customer_pk, balance_pks=pks, limit=100_000
        )
        caught_up = caught_up or reset > 0
    return caught_up


def _moment(usage: Usage, now: datetime) -> datetime:
    if usage.timestamp is None:
        return now
    if usage.timestamp > now:
        raise InvalidInput("timestamp is in the future; send the time at which it happened, or leave it out.")
    return usage.timestamp


def _as_read(found: Sources, usage: Usage, wall: datetime) -> Sources:
    """The balances as a read shows them: an entity's were all locked, a customer's include what its entities own."""
    if found.scope.entity_pk is not None:
        return found
    return sources.read(customer_id=usage.customer_id, entity_id=None, feature=usage.feature, wall=wall)

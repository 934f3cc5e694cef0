"""Balances granted, set and taken by hand: balances.create, update, delete and recalculate (spec/balances.md 13)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.db.models import Q

from billing import deduction
from billing.deduction import OverageBehavior
from billing.errors import BalanceConflict, BalanceNotFound
from billing.models import Balance
from billing.models.balances import BalanceQuerySet
from billing.services.balances import ledger, resets, watching
from config.actor import Actor
from config.errors import InvalidInput, InvalidRequest
from entities.subject import Subject
from plans.errors import FeatureNotFound
from plans.intervals import Interval, next_boundary
from plans.models import Feature

ZERO = Decimal(0)
Kind = ledger.Kind
Level = Balance.Level


@dataclass(frozen=True, slots=True)
class Rollover:
    """How much of a hand-granted balance rolls over at a reset, and for how many months (None: for ever)."""

    most: Decimal | None
    percentage: Decimal | None
    months: int | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A balance to be granted by hand: a quantity, or unlimited, or neither for a boolean feature."""

    feature: str
    included: Decimal | None = None
    unlimited: bool = False
    public_id: str = ""
    reset: Interval | None = None
    next_reset_at: datetime | None = None
    expires_at: datetime | None = None
    rollover: Rollover | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which balances of a subject: of a feature, and if given with that id or that reset interval ("one_off": none)."""

    feature: str | None
    public_id: str | None = None
    interval: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What to set: at most one of remaining, usage and an addition; the grant; and dates. None: leave as it is."""

    remaining: Decimal | None = None
    usage: Decimal | None = None
    add: Decimal | None = None
    included: Decimal | None = None
    next_reset_at: datetime | None = None
    expires_at: datetime | None = None


def create(*, subject: Subject, grant: Grant, at: datetime, actor: Actor, reason: str = "") -> Balance:
    """Grant a balance that belongs to no plan; raises for what makes no sense or is there already."""
    feature = Feature.objects.filter(slug=grant.feature).first()
    if feature is None:
        raise FeatureNotFound(grant.feature)
    _check_grant(grant, feature, subject, at)
    anchor, next_reset_at = _first_reset(grant, at)
    rollover = grant.rollover
    balance = Balance(
        public_id=grant.public_id,
        customer=subject.customer,
        entity=subject.entity,
        feature=feature,
        level=Level.OWN if subject.entity else Level.POOL,
        included=grant.included or ZERO,
        granted=grant.included or ZERO,
        unlimited=grant.unlimited,
        reset_interval=grant.reset.unit if grant.reset else "",
        reset_interval_count=grant.reset.count if grant.reset else 1,
        reset_anchor=anchor,
        next_reset_at=next_reset_at,
        rolls_over=rollover is not None,
        rollover_max=rollover.most if rollover else None,
        rollover_max_percentage=rollover.percentage if rollover else None,
        rollover_months=rollover.months if rollover else None,
        expires_at=grant.expires_at,
        created_at=at,
    )
    try:
        with transaction.atomic():
            type(subject.customer).objects.locked().get(pk=subject.customer.pk)
            if feature.type == Feature.Type.BOOLEAN and _live(subject, feature.slug, at).exists():
                raise BalanceConflict(f"Feature {feature.slug} is granted already; a flag is on or off.")
            if grant.public_id:
                same = Balance.objects.filter(customer=subject.customer, public_id=grant.public_id, ended_at=None)
                resets.end_expired(list(same.filter(expires_at__lte=at)), at=at, actor=actor)
            return ledger.open_balances([balance], at=at, actor=actor, reason=reason or "Granted by hand")[0]
    except IntegrityError as clash:
        raise BalanceConflict(f"This customer already has a balance with the id {grant.public_id}.") from clash


def update(
    *, subject: Subject, selection: Selection, setting: Setting, at: datetime, actor: Actor, reason: str = ""
) -> None:
    """Set balances by hand; no event is written and no limit counts it. Raises BalanceNotFound.

    At customer level a setting is spread over the balances one after another: what has to go is taken in deduction
    order, what is added goes to the first. With an entity only its own balances move.
    """
    _check_setting(setting, at)
    with transaction.atomic():
        balances = _selected(subject, selection, at, actor)
        reason = reason or "Set by hand"
        watch = watching.look(subject, balances[0].feature.slug, at=at)
        if setting.included is not None:
            _set_included(balances, setting.included, at=at, actor=actor, reason=reason)
        target = _target_usage(balances, setting)
        if target is not None:
            _move_usage(balances, target, subject=subject, at=at, actor=actor, reason=reason)
        _set_dates(balances, setting)
        if setting.next_reset_at is not None and setting.next_reset_at <= at:
            resets.reset_now(balances, at=at, actor=actor)
        watching.end(watch, cause=f"update:{secrets.token_hex(8)}")  # each is a change of its own


def delete(
    *, subject: Subject, selection: Selection, at: datetime, actor: Actor, recalculate: bool = False, reason: str = ""
) -> None:
    """End balances; those that are paid for are refused. With `recalculate` their usage moves to the ones that stay.

    With an entity only that entity's balances end, never those of all entities.
    """
    if recalculate and selection.feature is None:
        raise InvalidRequest("recalculate_balances needs a feature_id.")
    with transaction.atomic():
        balances = _selected(subject, selection, at, actor)
        paid = next((b for b in balances if b.item is not None and b.item.is_priced), None)
        if paid is not None:
            raise BalanceConflict(
                f"The balance {paid.public_id or paid.pk} of {paid.feature.slug} is paid for. Change its plan instead."
            )
        pks = [balance.pk for balance in balances]
        carried = sum((balance.usage for balance in balances), ZERO)
        rollovers = list(Balance.objects.filter(rolled_over_from__in=pks, ended_at=None).exclude(pk__in=pks))
        ledger.record(
            [
                ledger.Change(balance.pk, Kind.EXPIRY, expired=balance.remaining, reason=reason or "Deleted by hand")
                for balance in [*balances, *rollovers]
                if balance.remaining > 0
            ],
            at=at,
            actor=actor,
        )
        Balance.objects.filter(Q(pk__in=pks) | Q(rolled_over_from__in=pks), ended_at=None).update(ended_at=at)
        if recalculate and carried > 0 and selection.feature is not None:
            _carry_usage(subject, selection.feature, carried, deleted=balances[0], at=at, actor=actor)


def recalculate(*, subject: Subject, feature: str, at: datetime, actor: Actor) -> None:
    """Apply the total usage of a feature afresh, in deduction order; the sum does not change."""
    with transaction.atomic():
        balances = _selected(subject, Selection(feature), at, actor)
        total = sum((balance.usage for balance in balances), ZERO)
        _respread(balances, total, subject=subject, at=at, actor=actor, reason="Recalculated")


def _check_grant(grant: Grant, feature: Feature, subject: Subject, at: datetime) -> None:
    if feature.type == Feature.Type.BOOLEAN:
        if grant.included is not None or grant.unlimited or grant.reset:
            raise InvalidRequest(f"Feature {feature.slug} is boolean: leave included_grant, unlimited and reset out.")
    elif (grant.included is None) == (not grant.unlimited):
        raise InvalidRequest("Send either included_grant or unlimited: true.")
    if subject.entity is not None and subject.entity.feature_id == feature.pk:
        raise InvalidRequest(f"The entity itself counts as {feature.slug}; grant it to the customer.")
    if feature.is_allocated and grant.reset:
        raise InvalidRequest(f"Feature {feature.slug} is a standing count and never resets. Leave reset out.")
    if grant.rollover and (feature.is_allocated or not grant.reset):
        raise InvalidRequest("A rollover needs a consumable feature and a reset.")
    _check_dates(grant, at)


def _check_dates(grant: Grant, at: datetime) -> None:
    if grant.expires_at is not None and grant.expires_at <= at:
        raise InvalidRequest("expires_at must lie ahead.")
    if grant.next_reset_at is not None:
        if not grant.reset:
            raise InvalidRequest("next_reset_at needs a reset.")
        if grant.next_reset_at <= at:
            raise InvalidRequest("next_reset_at must lie ahead.")
        if grant.expires_at is not None and grant.next_reset_at >= grant.expires_at:
            raise InvalidRequest("next_reset_at must lie before expires_at.")
    first = _first_reset(grant, at)[1]
    if grant.rollover and grant.expires_at is not None and first is not None and first >= grant.expires_at:
        raise InvalidRequest("expires_at must lie after the first reset, or nothing can roll over.")


def _first_reset(grant: Grant, at: datetime) -> tuple[datetime | None, datetime | None]:
    """The anchor of the resets and the first of them: as asked for, or one interval from now."""
    if grant.reset is None:
        return None, None
    if grant.next_reset_at is not None:
        return grant.next_reset_at, grant.next_reset_at
    return at, next_boundary(at, grant.reset, at)


def _check_setting(setting: Setting, at: datetime) -> None:
    if sum(value is not None for value in (setting.remaining, setting.usage, setting.add)) > 1:
        raise InvalidInput("Send only one of remaining, usage and add_to_balance.")
    if all(value is None for value in (setting.remaining, setting.usage, setting.add, setting.included,
                                       setting.next_reset_at, setting.expires_at)):  # fmt: skip
        raise InvalidInput("Nothing to update: send remaining, usage, add_to_balance, included_grant or a date.")
    if setting.expires_at is not None and setting.expires_at <= at:
        raise InvalidRequest("expires_at must lie ahead. To end a balance now, delete it.")


def _live(subject: Subject, feature: str | None, at: datetime) -> BalanceQuerySet:
    rows = Balance.objects.live(at).filter(customer=subject.customer)
    if feature is not None:
        rows = rows.filter(feature__slug=feature)
    if subject.entity is not None:
        return rows.filter(entity=subject.entity)
    return rows.exclude(level=Level.OWN)


def _selected(subject: Subject, selection: Selection, at: datetime, actor: Actor) -> list[Balance]:
    """The balances meant, locked, refilled if due, in deduction order: an entity's own, or the customer's and its
    entities' slices, never what an entity owns. Raises BalanceNotFound when there are none.

    All of the feature are locked first, in the order of their ids, as a track does it.
    """
    if selection.feature is not None and not Feature.objects.filter(slug=selection.feature).exists():
        raise FeatureNotFound(selection.feature)
    all_of_it = _live(subject, selection.feature, at)
    if selection.feature is None and selection.public_id is not None:
        all_of_it = all_of_it.filter(_by_public_id(selection.public_id))
    locked = [balance.pk for balance in all_of_it.select_for_update(of=("self",), no_key=True).order_by("pk")]
    resets.reset_due(at=at, actor=actor, customer_pk=subject.customer.pk, balance_pks=locked, limit=len(locked) + 1)
    rows = _live(subject, selection.feature, at).filter(rolled_over_from=None)
    if selection.public_id is not None:
        rows = rows.filter(_by_public_id(selection.public_id))
    if selection.interval is not None:
        rows = rows.filter(reset_interval="" if selection.interval == "one_off" else selection.interval)
    found = list(
        rows.select_related("feature", "item", "item__feature")
        .select_for_update(of=("self",), no_key=True)
        .order_by("pk")
    )
    if not found:
        raise BalanceNotFound(selection.feature or selection.public_id or "that feature")
    by_pk = {balance.pk: balance for balance in found}
    return [
        by_pk[source.id] for source in deduction.in_order(map(_source, found), for_entity=subject.entity is not None)
    ]


def _by_public_id(public_id: str) -> Q:
    matches = Q(public_id=public_id)
    number = public_id.removeprefix("bal_")
    if number != public_id and number.isdecimal() and len(number) < 19:
        matches |= Q(public_id="", pk=int(number))
    return matches


def _source(balance: Balance, behavior: OverageBehavior = OverageBehavior.CAP) -> deduction.Source:
    return deduction.Source(
        id=balance.pk,
        left=balance.remaining,
        usage=balance.usage,
        feature_id=balance.feature_id,
        unlimited=balance.unlimited,
        overage=None if behavior is OverageBehavior.OVERFLOW else ZERO,
        is_pool=balance.level == Level.POOL,
        interval=balance.reset_every,
        expires_at=balance.expires_at,
        is_add_on=balance.is_add_on,
        is_prepaid=balance.is_prepaid,
        item_id=balance.item_id or 0,
        entity_id=balance.entity_id or 0,
    )


def _target_usage(balances: Sequence[Balance], setting: Setting) -> Decimal | None:
    """The total usage that a setting comes to: what is set are sums over the balances meant."""
    granted = sum((balance.granted - balance.held - balance.expired for balance in balances), ZERO)
    if setting.remaining is not None:
        return granted - setting.remaining
    if setting.usage is not None:
        return setting.usage
    if setting.add is not None:
        return sum((balance.usage for balance in balances), ZERO) - setting.add
    return None


def _move_usage(
    balances: Sequence[Balance], target: Decimal, *, subject: Subject, at: datetime, actor: Actor, reason: str
) -> None:
    """Move the usage of the balances, in order, until it sums to `target`.

    More usage drains one after another and then overdraws the first; less gives back one after another up to each
    grant, and what is beyond all grants lifts the first above its own (spec balances 13.3).
    """
    by = target - sum((balance.usage for balance in balances), ZERO)
    if not by:
        return
    if by < 0 and subject.entity is None and len(balances) > 1:
        changes = {balances[0].pk: by}
    else:
        sources = [_source(balance, OverageBehavior.OVERFLOW) for balance in balances]
        result = deduction.deduct(sources, by, behavior=OverageBehavior.OVERFLOW)
        changes = {part.source_id: part.amount for part in result.parts}
    _adjust(balances, changes, at=at, actor=actor, reason=reason)


def _respread(
    balances: Sequence[Balance], total: Decimal, *, subject: Subject, at: datetime, actor: Actor, reason: str
) -> None:
    fresh = [
        replace(_source(balance, OverageBehavior.OVERFLOW), left=balance.remaining + balance.usage, usage=ZERO)
        for balance in balances
    ]
    result = deduction.deduct(fresh, total, behavior=OverageBehavior.OVERFLOW)
    wanted = {part.source_id: part.amount for part in result.parts}
    _adjust(
        balances,
        {balance.pk: wanted.get(balance.pk, ZERO) - balance.usage for balance in balances},
        at=at,
        actor=actor,
        reason=reason,
    )


def _adjust(
    balances: Sequence[Balance], changes: Mapping[int, Decimal], *, at: datetime, actor: Actor, reason: str
) -> None:
    ledger.record(
        [ledger.Change(pk, Kind.ADJUSTMENT, usage=by, reason=reason) for pk, by in changes.items() if by],
        at=at,
        actor=actor,
    )
    for balance in balances:
        balance.usage += changes.get(balance.pk, ZERO)


def _set_included(balances: Sequence[Balance], included: Decimal, *, at: datetime, actor: Actor, reason: str) -> None:
    """Set the grant of each balance meant, until its next reset brings the plan's own back (spec balances 10.2)."""
    changes = []
    for balance in balances:
        by = included + balance.prepaid - balance.granted
        changes.append(ledger.Change(balance.pk, Kind.ADJUSTMENT, granted=by, reason=reason))
        balance.granted += by
    ledger.record([change for change in changes if change.granted], at=at, actor=actor)


def _set_dates(balances: Sequence[Balance], setting: Setting) -> None:
    if setting.next_reset_at is not None and any(balance.reset_every is None for balance in balances):
        raise InvalidRequest("A balance that never resets has no next_reset_at. Name one that does with interval.")
    for balance in balances:
        if setting.next_reset_at is not None:
            balance.next_reset_at = balance.reset_anchor = setting.next_reset_at
        if setting.expires_at is not None:
            balance.expires_at = setting.expires_at
    Balance.objects.bulk_update(balances, ["next_reset_at", "reset_anchor", "expires_at"], batch_size=1000)


def _carry_usage(
    subject: Subject, feature: str, usage: Decimal, *, deleted: Balance, at: datetime, actor: Actor
) -> None:
    """Put usage on the balances that stay; without any it stays as overage on a balance of 0 (spec balances 13.4)."""
    rows = _live(subject, feature, at).filter(rolled_over_from=None)
    stay = list(rows.select_related("feature", "item").select_for_update(of=("self",), no_key=True).order_by("pk"))
    if not stay:
        rest = Balance(
            customer_id=deleted.customer_id,
            entity_id=deleted.entity_id,
            feature_id=deleted.feature_id,
            level=Level.OWN if deleted.entity_id else Level.POOL,
            usage=usage,
            created_at=at,
        )
        ledger.open_balances([rest], at=at, actor=actor, kind=Kind.TRANSFER, reason="Usage of a deleted balance")
        return
    total = sum((balance.usage for balance in stay), ZERO) + usage
    _respread(stay, total, subject=subject, at=at, actor=actor, reason="Usage of a deleted balance")

"""The catalogue of rewards: coupons and granted features with their codes, and redeeming them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from django.db import IntegrityError, transaction

from billing.errors import CodeTaken, RewardExists, RewardNotFound, RewardRedeemed
from billing.models import Discount, Reward, RewardCode, RewardGrant, RewardRedemption
from billing.services.balances import grants
from billing.services.balances.grants import Grant
from billing.services.execution import queue
from billing.services.plan_changes import discounts
from config.actor import Actor
from config.errors import InvalidInput, InvalidRequest
from entities.models import Customer
from entities.subject import Subject
from plans.errors import FeatureNotFound, PlanNotFound
from plans.intervals import Interval, IntervalUnit, boundary
from plans.models import Feature, Plan

Type = Reward.Type
Duration = Reward.Duration
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Code:
    """A code, and how often and by whom it may be used."""

    code: str
    most_redemptions: int | None = None
    is_for_first_purchase: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """So much of a feature (None: a switch), for so long (None: for good)."""

    feature: str
    included: Decimal | None = None
    expiry: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A reward as a value."""

    slug: str
    name: str
    type: str
    value: Decimal = Decimal(0)
    duration: str = Duration.ONE_OFF
    months: int | None = None
    plan_ids: tuple[str, ...] = ()
    codes: tuple[Code, ...] = ()
    grants: tuple[Granted, ...] = ()

    @classmethod
    def of(cls, row: Reward) -> "Spec":
        """A stored reward; its codes and grants should be prefetched."""
        return cls(
            slug=row.slug,
            name=row.name,
            type=row.type,
            value=row.value,
            duration=row.duration,
            months=row.duration_months,
            plan_ids=tuple(row.plan_ids),
            codes=tuple(Code(one.code, one.most_redemptions, one.is_for_first_purchase) for one in row.codes.all()),
            grants=tuple(
                Granted(one.feature.slug, one.included, Interval.of(one.expiry_unit, one.expiry_count))
                for one in row.grants.all()
            ),
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to change of a reward; None: as it is."""

    name: str | None = None
    plan_ids: tuple[str, ...] | None = None
    codes: tuple[Code, ...] | None = None
    grants: tuple[Granted, ...] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a push of the catalogue does to one reward."""

    slug: str
    action: Literal["created", "updated", "deleted", "none"]
    spec: Spec | None = None


@dataclass(slots=True)
class Redeemed:
    """What a code gave: a discount, or features with their quantities."""

    reward: Reward
    granted: list[tuple[Feature, Decimal]] = field(default_factory=list)


def create(*, spec: Spec, at: datetime) -> Reward:
    """Add a reward; raises RewardExists, CodeTaken, PlanNotFound, FeatureNotFound, and InvalidInput."""
    with transaction.atomic():
        if Reward.objects.live().filter(slug=spec.slug).exists():
            raise RewardExists(spec.slug)
        row = Reward(slug=spec.slug, created_at=at)
        _write(row, spec)
    return get(spec.slug)


def get(slug: str) -> Reward:
    """The reward with its codes and grants; raises RewardNotFound."""
    row = Reward.objects.live().with_parts().filter(slug=slug).first()
    if row is None:
        raise RewardNotFound(f"Reward {slug}")
    return row


def update(*, slug: str, changes: Changes) -> Reward:
    """Change a reward; what customers have of it already stays as it was. Codes that stay keep their count."""
    with transaction.atomic():
        row = Reward.objects.live().select_for_update().filter(slug=slug).first()
        if row is None:
            raise RewardNotFound(f"Reward {slug}")
        before = Spec.of(row)
        given = {name: value for name in Changes.__slots__ if (value := getattr(changes, name)) is not None}
        _write(row, replace(before, **given))
    return get(slug)


def delete(*, slug: str, at: datetime) -> None:
    """Delete a reward and free its codes; what customers have of it stays."""
    with transaction.atomic():
        row = get(slug)
        row.deleted_at = at
        row.save(update_fields=["deleted_at"])
        row.codes.all().delete()
        row.grants.all().delete()


def plan_push(specs: Sequence[Spec], *, keeps_others: bool) -> list[Change]:
    """What making the catalogue's rewards exactly these would change, in their order; deletions follow."""
    slugs = [spec.slug for spec in specs]
    if len(set(slugs)) < len(slugs):
        raise InvalidInput("rewards names an id twice. Keep one.")
    if not specs and keeps_others:
        return []
    known = {row.slug: Spec.of(row) for row in Reward.objects.live().with_parts()}
    changes = [
        Change(spec.slug, "created" if spec.slug not in known else _changed(known[spec.slug], spec), spec)
        for spec in specs
    ]
    gone = [] if keeps_others else [slug for slug in known if slug not in set(slugs)]
    return [*changes, *(Change(slug, "deleted") for slug in gone)]


def push(changes: Iterable[Change], *, at: datetime) -> None:
    """Carry a planned push out, in the caller's transaction."""
    for change in changes:
        if change.action == "deleted":
            delete(slug=change.slug, at=at)
        elif change.action == "created" and change.spec is not None:
            create(spec=change.spec, at=at)
        elif change.action == "updated" and change.spec is not None:
            with transaction.atomic():
                _write(Reward.objects.live().select_for_update().get(slug=change.slug), change.spec)


def redeem(*, customer: Customer, code: str, at: datetime, actor: Actor) -> Redeemed:
    """Give a customer what a code stands for: granted features, or a discount on all its plans and its entities'.

    Raises RewardNotFound, CodeRefused, and RewardRedeemed where the customer has it.
    """
    with queue.still_there(customer), transaction.atomic():
        found = discounts.find_code(code)
        reward = found.reward
        discounts.check_code(found, customer)
        if reward.is_coupon:
            running = discounts.of(customer, at=at)
            if any(row.reward_slug == reward.slug and row.covers_entities for row in running):
                raise RewardRedeemed(reward.slug)
            discounts.take_code(found)
            Discount.given(
                reward, customer=customer, entity=None, starts_at=at, code=found, covers_entities=True
            ).save()
            return Redeemed(reward)
        if RewardRedemption.objects.filter(reward=reward, customer=customer).exists():
            raise RewardRedeemed(reward.slug)
        discounts.take_code(found)
        RewardRedemption.objects.create(reward=reward, code=found, customer=customer, at=at)
        return Redeemed(reward, [_grant(one, customer, at, actor) for one in reward.grants.select_related("feature")])


def _grant(grant: RewardGrant, customer: Customer, at: datetime, actor: Actor) -> tuple[Feature, Decimal]:
    expiry = Interval.of(grant.expiry_unit, grant.expiry_count)
    wanted = Grant(
        grant.feature.slug,
        included=grant.included,
        expires_at=boundary(at, expiry, 1) if expiry is not None else None,
    )
    grants.create(subject=Subject(customer), grant=wanted, at=at, actor=actor, reason=f"Reward {grant.reward.slug}")
    return grant.feature, grant.included or Decimal(0)


def _changed(before: Spec, after: Spec) -> Literal["updated", "none"]:
    if before.type != after.type and Type.FEATURES in (before.type, after.type):
        raise InvalidRequest(f"rewards: {after.slug} can't turn from a coupon into granted features. Use another id.")
    return "none" if before == after else "updated"


def _write(row: Reward, spec: Spec) -> None:
    _check(spec)
    row.name, row.type, row.value = spec.name, spec.type, spec.value
    row.duration, row.duration_months = spec.duration, spec.months
    row.plan_ids = list(spec.plan_ids)
    try:
        with transaction.atomic():
            row.save()
            _write_codes(row, spec.codes)
    except IntegrityError as clash:
        codes = ", ".join(one.code for one in spec.codes)[:100]
        raise (CodeTaken(codes) if "reward_code_once" in str(clash) else RewardExists(spec.slug)) from clash
    _write_grants(row, spec.grants)


def _write_codes(row: Reward, codes: Sequence[Code]) -> None:
    kept = {one.code.upper(): one for one in row.codes.all()}
    wanted = {one.code.upper() for one in codes}
    RewardCode.objects.filter(pk__in=[one.pk for code, one in kept.items() if code not in wanted]).delete()
    for one in codes:
        held = kept.get(one.code.upper()) or RewardCode(reward=row)
        held.code, held.is_for_first_purchase = one.code, one.is_for_first_purchase
        held.most_redemptions = one.most_redemptions
        if held.most_redemptions is not None and held.redeemed > held.most_redemptions:
            raise InvalidRequest(
                f"promo_codes: {one.code} was redeemed {held.redeemed} times already, which is the least it can allow."
            )
        taken = RewardCode.objects.filter(code__iexact=one.code).exclude(reward=row)
        if taken.exists():
            raise CodeTaken(one.code)
        held.save()


def _write_grants(row: Reward, granted: Sequence[Granted]) -> None:
    features = {feature.slug: feature for feature in Feature.objects.filter(slug__in=[one.feature for one in granted])}
    row.grants.all().delete()
    for one in granted:
        feature = features.get(one.feature)
        if feature is None:
            raise FeatureNotFound(one.feature)
        if (feature.type == Feature.Type.BOOLEAN) != (one.included is None):
            raise InvalidInput(f"grants: {one.feature} needs included, or null for a boolean feature.")
        RewardGrant.objects.create(
            reward=row,
            feature=feature,
            included=one.included,
            expiry_unit=one.expiry.unit if one.expiry else "",
            expiry_count=one.expiry.count if one.expiry else 1,
        )


def _check(spec: Spec) -> None:
    _check_once("promo_codes", [code.code.upper() for code in spec.codes])
    _check_once("plan_ids", spec.plan_ids)
    _check_once("grants", [grant.feature for grant in spec.grants])
    if spec.type == Type.FEATURES:
        if not spec.grants or not spec.codes:
            raise InvalidInput("feature_grant needs at least one of grants and one of promo_codes.")
        return
    if spec.value <= 0 or (spec.type == Type.PERCENTAGE and spec.value > HUNDRED):
        raise InvalidInput("value must be above 0, and at most 100 for a percentage_discount.")
    if (spec.duration == Duration.MONTHS) != (spec.months is not None):
        raise InvalidInput("duration.length must be given for months, and null for one_off or forever.")
    known = set(Plan.objects.filter(slug__in=spec.plan_ids).values_list("slug", flat=True))
    for slug in spec.plan_ids:
        if slug not in known:
            raise PlanNotFound(slug)


def _check_once(name: str, values: Sequence[str]) -> None:
    if len(set(values)) < len(values):
        raise InvalidInput(f"{name} names one twice. Keep one.")


def expiry(unit: str, count: int) -> Interval:
    """How long a granted feature lasts."""
    return Interval(IntervalUnit(unit), count)

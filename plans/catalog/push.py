"""A whole catalogue at once: what a push would change, and the push itself, computed by the same function."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, cast

from django.db import transaction

from config.errors import InvalidInput
from plans.catalog import features as singles
from plans.catalog import rules, store, versions
from plans.catalog.features import Users
from plans.catalog.specs import FeatureSpec, PlanSpec
from plans.catalog.store import Catalogue, Holdings, InUse
from plans.catalog.versions import Change, Editing
from plans.models import Feature, Plan


@dataclass(frozen=True, slots=True)
class FeatureWish:
    """A feature as wanted; fields that are left out stay as they are."""

    slug: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlanWish:
    """A plan, or one version of it, as wanted; fields that are left out stay as they are."""

    slug: str
    changes: Mapping[str, Any]
    editing: Editing = field(default_factory=Editing)


@dataclass(frozen=True, slots=True)
class Wishes:
    """A catalogue as wanted. What isn't in it goes, unless it is kept as a whole or skipped by id."""

    features: Sequence[FeatureWish] = ()
    plans: Sequence[PlanWish] = ()
    keep_other_features: bool = False
    keep_other_plans: bool = False
    skip_feature_ids: frozenset[str] = frozenset()
    skip_plan_ids: frozenset[str] = frozenset()

    def offered(self, features: Mapping[str, FeatureSpec]) -> dict[str, FeatureSpec]:
        """`features`, with those that are pushed taken for live: `atmn` brings them back between preview and push."""
        pushed = {wish.slug for wish in self.features}
        return {slug: replace(spec, archived=spec.archived and slug not in pushed) for slug, spec in features.items()}


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """What a push does to one feature; `blocked` says why it doesn't."""

    action: Literal["create", "update", "remove", "skipped", "none"]
    slug: str
    before: FeatureSpec | None = None
    after: FeatureSpec | None = None
    blocked: str | None = None
    will_archive: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """All that a push does: the wishes in their order, then what goes; and the features as they will be."""

    features: Sequence[FeatureChange]
    plans: Sequence[Change]
    known: Mapping[str, FeatureSpec]


def preview(*, wishes: Wishes, holdings: Holdings) -> Push:
    """What `push` would do now; raises what it would raise."""
    return _compute(wishes, Catalogue.load(), holdings)


@transaction.atomic
def push(*, wishes: Wishes, holdings: Holdings, at: datetime) -> Push:
    """Make the catalogue what is wished, all of it or nothing; two pushes at once go one after the other.

    Raises FeatureNotFound, PlanNotFound, InvalidInput, InvalidRequest.
    """
    store.lock()
    catalogue = Catalogue.load()
    result = _compute(wishes, catalogue, holdings)
    for feature in sorted(
        result.features, key=lambda change: change.after is not None and bool(change.after.credit_costs)
    ):
        if feature.blocked or feature.after is None:
            continue
        if feature.action == "create":
            store.add_feature(feature.after, catalogue.features, at=at)
        elif feature.action == "update":
            store.write_feature(catalogue.features[feature.slug], feature.after, catalogue.features, at=at)
    for plan in result.plans:
        versions.apply(plan, catalogue, at=at)
        if plan.action == "deleted":
            _remove_plan(catalogue.plans[plan.slug], archive=plan.will_archive, at=at)
    _remove_features(result.features, catalogue, at)
    return result


def _remove_plan(rows: Sequence[Plan], *, archive: bool, at: datetime) -> None:
    if archive:
        Plan.objects.filter(slug=rows[0].slug).update(archived_at=at)
    else:
        versions.remove(rows, at=at)


def _remove_features(changes: Iterable[FeatureChange], catalogue: Catalogue, at: datetime) -> None:
    """Credit systems go first: they protect the features that they pay for."""
    going = [change for change in changes if change.action == "remove"]
    for change in sorted(going, key=lambda change: change.before is not None and not change.before.credit_costs):
        feature = catalogue.features[change.slug]
        if change.will_archive:
            Feature.objects.filter(pk=feature.pk).update(archived_at=at)
        else:
            singles.remove(feature, at=at)


def _compute(wishes: Wishes, catalogue: Catalogue, holdings: Holdings) -> Push:
    _check_repeats(wishes)
    in_use = holdings.of(catalogue.versions(), catalogue.features.values())
    wished = [_feature(wish, wishes, catalogue, in_use) for wish in wishes.features]
    specs = catalogue.specs()
    for change in wished:
        if change.after is not None and not change.blocked:
            specs[change.slug] = change.after
    features = [_settled(change, specs) for change in wished]
    specs.update((change.slug, change.after) for change in features if change.after is not None and not change.blocked)
    plans = [_plan(wish, wishes, catalogue, in_use, specs) for wish in wishes.plans]
    if not wishes.keep_other_plans:
        plans += _plans_to_go(wishes, catalogue, in_use)
    if not wishes.keep_other_features:
        features += _features_to_go(wishes, catalogue, in_use, plans, specs)
    final = _final(catalogue, plans)
    _check_auto_enable(final)
    rules.licenses(final, specs)
    return Push(features, plans, specs)


def _check_repeats(wishes: Wishes) -> None:
    seen: set[tuple[str, int | None]] = set()
    for name, ids in (
        ("features", [(wish.slug, None) for wish in wishes.features]),
        ("plans", [(wish.slug, wish.editing.version) for wish in wishes.plans]),
    ):
        seen.clear()
        for one in ids:
            if one in seen:
                raise InvalidInput(f"{name} has {one[0]} twice. Keep one.")
            seen.add(one)


def _feature(wish: FeatureWish, wishes: Wishes, catalogue: Catalogue, in_use: InUse) -> FeatureChange:
    if wish.slug in wishes.skip_feature_ids:
        return FeatureChange("skipped", wish.slug)
    current = catalogue.features.get(wish.slug)
    if current is None:
        return FeatureChange(
            "create", wish.slug, after=FeatureSpec(slug=wish.slug, **{"name": wish.slug, **wish.changes})
        )
    before = FeatureSpec.of(current)
    after = replace(before, **wish.changes)
    # Plans that go with this push need no regard; those that stay are checked against the features as they will be.
    going = set() if wishes.keep_other_plans else set(catalogue.plans) - wishes.skip_plan_ids
    rewritten = {plan.slug for plan in wishes.plans} | going
    blocked = Users(catalogue, in_use, frozenset(rewritten)).forbid(before, after)
    return FeatureChange("update", wish.slug, before=before, after=after, blocked=blocked)


def _settled(change: FeatureChange, specs: Mapping[str, FeatureSpec]) -> FeatureChange:
    if change.after is None:
        return change
    after = rules.feature(change.after, specs)
    return replace(change, after=after, action="none" if after == change.before else change.action)


def _plan(
    wish: PlanWish, wishes: Wishes, catalogue: Catalogue, in_use: InUse, specs: Mapping[str, FeatureSpec]
) -> Change:
    if wish.slug in wishes.skip_plan_ids:
        return Change("skipped", wish.slug)
    rows = catalogue.plans.get(wish.slug)
    version = wish.editing.version
    if rows is None:
        spec = rules.plan(PlanSpec(wish.slug, wish.slug).patched(wish.changes), specs)
        versions.check_archived_features(spec, None, wishes.offered(specs))
        return Change("created", wish.slug, after=spec, new_version=version or 1)
    if version == rows[0].version + 1:  # the next one, told in full
        before = PlanSpec.of(rows[0])
        after = rules.plan(before.patched(wish.changes), specs)
        return Change("updated", wish.slug, before=before, after=after, new_version=version)
    change = versions.decide(rows, wish.changes, wish.editing, in_use, lambda spec: rules.plan(spec, specs))
    versions.check_archived_features(cast(PlanSpec, change.after), change.before, wishes.offered(specs))
    if change.before == change.after:  # force_version is for what differs
        return replace(change, action="none", new_version=None, rewrites=())
    return change


def _plans_to_go(wishes: Wishes, catalogue: Catalogue, in_use: InUse) -> list[Change]:
    stay = {wish.slug for wish in wishes.plans} | wishes.skip_plan_ids
    changes = []
    for slug, rows in sorted(catalogue.plans.items()):
        if slug in stay or rows[0].archived_at is not None:
            continue
        is_held = any(row.pk in in_use.plans for row in rows)
        customers = sum(in_use.plans.get(row.pk, 0) for row in rows)
        before = PlanSpec.of(rows[0])
        changes.append(
            Change("deleted", slug, before=before, has_customers=is_held, customers=customers, will_archive=is_held)
        )
    # What is only archived, or not spoken of, still offers its licences.
    gone = {change.slug for change in changes if not change.will_archive} | {wish.slug for wish in wishes.plans}
    staying = (PlanSpec.of(row) for row in catalogue.versions() if row.slug not in gone)
    offered = {one.plan for spec in staying for one in spec.licenses}
    return [replace(change, will_archive=change.will_archive or change.slug in offered) for change in changes]


def _features_to_go(
    wishes: Wishes,
    catalogue: Catalogue,
    in_use: InUse,
    plans: Sequence[Change],
    specs: Mapping[str, FeatureSpec],
) -> list[FeatureChange]:
    stay = {wish.slug for wish in wishes.features} | wishes.skip_feature_ids
    going = [slug for slug, row in sorted(catalogue.features.items()) if slug not in stay and row.archived_at is None]
    needed = _named_by_plans(catalogue, plans)
    kept = {slug for slug in going if slug in needed or catalogue.features[slug].pk in in_use.features}
    # A credit system that stays, or is only archived, still names what it pays for.
    for slug, spec in specs.items():
        if slug not in going or slug in kept:
            kept |= {paid for paid, _ in spec.credit_costs if paid in going}
    return [FeatureChange("remove", slug, before=specs[slug], will_archive=slug in kept) for slug in going]


def _named_by_plans(catalogue: Catalogue, plans: Sequence[Change]) -> set[str]:
    """Ids of the features that items name once the push is through."""
    gone = {change.slug for change in plans if change.action == "deleted" and not change.will_archive}
    rewritten = {plan.pk: spec for change in plans for plan, spec in change.rewrites}
    specs = [change.after for change in plans if change.new_version is not None and change.after is not None]
    specs += [rewritten.get(row.pk) or PlanSpec.of(row) for row in catalogue.versions() if row.slug not in gone]
    return {slug for spec in specs for item in spec.items for slug in (item.feature, item.entity_feature) if slug}


def _final(catalogue: Catalogue, plans: Sequence[Change]) -> dict[str, PlanSpec]:
    """The newest version of each plan as it will be."""
    final = {slug: PlanSpec.of(rows[0]) for slug, rows in catalogue.plans.items()}
    for change in plans:
        if change.action == "deleted" and change.will_archive and change.before is not None:
            final[change.slug] = replace(change.before, archived=True)
        elif change.action == "deleted":
            final.pop(change.slug, None)
        elif change.after is not None and not _is_historical(change, catalogue):
            final[change.slug] = change.after
    return final


def _check_auto_enable(final: Mapping[str, PlanSpec]) -> None:
    enabled: dict[str, list[str]] = {}
    for slug, spec in sorted(final.items()):
        if spec.auto_enable and not spec.is_add_on and not spec.archived:
            enabled.setdefault(spec.group, []).append(slug)
    for group, slugs in enabled.items():
        if len(slugs) > 1:
            raise versions.both_enabled(slugs, group)


def _is_historical(change: Change, catalogue: Catalogue) -> bool:
    rows = catalogue.plans.get(change.slug, [])
    return bool(change.rewrites) and bool(rows) and all(plan.pk != rows[0].pk for plan, _ in change.rewrites)

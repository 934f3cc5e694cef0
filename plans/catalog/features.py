"""Features made, changed and removed one by one; each call locks the catalogue in a transaction of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError

from plans.catalog import rules, store
from plans.catalog.specs import FeatureSpec
from plans.catalog.store import Catalogue, Holdings, InUse
from plans.errors import FeatureExists, FeatureInUse, FeatureNotFound
from plans.models import Feature, Plan

# Why a feature can't change its nature, as catalog.preview_update names it, and as a person reads it.
REASONS = {
    "has_customers": "customers have balances, entities or usage of it. Make a new feature instead.",
    "used_in_products": "plans have items of it. Change those plans first, or push both together.",
    "used_in_credit_system": "a credit system pays for it. Take it out of credit_schema first.",
    "credit_system_type_change": "a credit system stays one. Make a new feature instead.",
}


def get(feature_id: str) -> Feature:
    """The feature with its credit costs; raises FeatureNotFound."""
    feature = Feature.objects.with_credit_costs().filter(slug=feature_id).first()
    if feature is None:
        raise FeatureNotFound(feature_id)
    return feature


@transaction.atomic
def create(*, spec: FeatureSpec, at: datetime) -> Feature:
    """A new feature; raises FeatureExists, InvalidInput."""
    store.lock()
    known = store.features()
    if spec.slug in known:
        raise FeatureExists(spec.slug)
    store.add_feature(rules.feature(spec, store.specs(known)), known, at=at)
    return get(spec.slug)


@transaction.atomic
def update(*, feature_id: str, changes: Mapping[str, Any], holdings: Holdings, at: datetime) -> Feature:
    """Change the given fields, `slug` among them; raises FeatureInUse for a new nature or id of what is in use."""
    store.lock()
    catalogue = Catalogue.load()
    feature = catalogue.features.get(feature_id)
    if feature is None:
        raise FeatureNotFound(feature_id)
    before, specs = FeatureSpec.of(feature), catalogue.specs()
    after = rules.feature(
        replace(before, **changes), {slug: spec for slug, spec in specs.items() if slug != feature_id}
    )
    in_use = holdings.of((), [feature])
    users = Users(catalogue, in_use)
    if (reason := users.forbid(before, after)) is not None:
        raise FeatureInUse(feature_id, REASONS[reason])
    if after.slug != before.slug:
        _check_new_id(after.slug, feature, catalogue, in_use)
    store.write_feature(feature, after, catalogue.features, at=at)
    return get(after.slug)


def _check_new_id(new_id: str, feature: Feature, catalogue: Catalogue, in_use: InUse) -> None:
    if new_id in catalogue.features:
        raise FeatureExists(new_id)
    if feature.pk in in_use.features:
        raise FeatureInUse(feature.slug, "customers have it, so its id stays. Make a new feature instead.")
    for plan in catalogue.versions():
        if any(entry["feature_id"] == feature.slug for entries in plan.billing_controls.values() for entry in entries):
            raise FeatureInUse(feature.slug, f"billing_controls of plan {plan.slug} name it. Take it out there first.")


@transaction.atomic
def delete(*, feature_id: str, holdings: Holdings, at: datetime) -> None:
    """Remove a feature that no customer, plan or credit system uses; raises FeatureInUse."""
    store.lock()
    feature = get(feature_id)
    archive = "Archive it instead with features.update archived true."
    if feature.pk in holdings.of((), [feature]).features:
        raise FeatureInUse(feature_id, f"customers have balances, entities or usage of it. {archive}")
    plans = Plan.objects.filter(items__feature=feature) | Plan.objects.filter(items__entity_feature=feature)
    if (plan := plans.order_by("slug").first()) is not None:
        raise FeatureInUse(
            feature_id, f"plan {plan.slug} has an item of it. Take it out there, or archive the feature."
        )
    if Feature.objects.filter(credit_costs__metered_feature=feature).exists():
        raise FeatureInUse(feature_id, f"a credit system pays for it. {archive}")
    remove(feature, at=at)


def remove(feature: Feature, *, at: datetime) -> None:
    """Delete a feature that nothing uses; what history still refers to is only marked as deleted."""
    try:
        feature.delete()
    except ProtectedError:
        Feature.objects.filter(pk=feature.pk).update(deleted_at=at)


@dataclass(frozen=True, slots=True)
class Users:
    """Who refers to a feature, for deciding what may happen to it.

    `rewritten` are ids of plans that are written anew in the same push, and checked against the features as they
    will be; unless customers hold them, they don't stand in the way.
    """

    catalogue: Catalogue
    in_use: InUse
    rewritten: frozenset[str] = frozenset()

    def forbid(self, before: FeatureSpec, after: FeatureSpec) -> str | None:
        """Why `before` can't become `after`; None when it can."""
        if (before.type, before.consumable) == (after.type, after.consumable):
            return None
        if before.type != after.type and Feature.Type.CREDIT_SYSTEM in (before.type, after.type):
            return "credit_system_type_change"
        if self.catalogue.features[before.slug].pk in self.in_use.features:
            return "has_customers"
        if before.type != after.type and self._is_paid_for(before.slug):
            return "used_in_credit_system"
        if any(not self._is_rewritten(plan) and before.slug in features_of(plan) for plan in self.catalogue.versions()):
            return "used_in_products"
        return None

    def _is_paid_for(self, slug: str) -> bool:
        systems = self.catalogue.features.values()
        return any(cost.metered_feature.slug == slug for system in systems for cost in system.credit_costs.all())

    def _is_rewritten(self, plan: Plan) -> bool:
        return plan.is_latest and plan.slug in self.rewritten and plan.pk not in self.in_use.plans


def features_of(plan: Plan) -> set[str]:
    """The ids of all features that a version's items name."""
    items = plan.items.all()
    return {item.feature.slug for item in items} | {item.entity_feature.slug for item in items if item.entity_feature}

"""The catalogue's rows: locked, loaded whole, and written from specs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from django.db import connection

from plans.catalog.specs import FeatureSpec, PlanSpec
from plans.models import CreditCost, Feature, Plan, PlanItem, PlanLicense


@dataclass(frozen=True, slots=True)
class InUse:
    """What customers hold, by primary key."""

    plans: Mapping[int, int]  # versions that were ever held, and how many customers hold them now
    features: Collection[int]  # features with a balance, an entity, an event or a subscription's item


class Holdings(Protocol):
    """Asks the apps above what customers hold; they know the catalogue, it doesn't know them."""

    def of(self, plans: Iterable[Plan], features: Iterable[Feature]) -> InUse:
        """What is held of these."""
        ...


@dataclass(slots=True)
class Catalogue:
    """Features by id, and the versions of each plan by its id, newest first."""

    features: dict[str, Feature]
    plans: dict[str, list[Plan]]

    @classmethod
    def load(cls, *, plan_ids: Collection[str] | None = None) -> Self:
        """All features, and all plans or those with the given ids; five queries."""
        rows = Plan.objects.with_items().order_by("slug", "-version")
        if plan_ids is not None:
            rows = rows.filter(slug__in=plan_ids)
        plans: dict[str, list[Plan]] = {}
        for plan in rows:
            plans.setdefault(plan.slug, []).append(plan)
        return cls(features(), plans)

    def specs(self) -> dict[str, FeatureSpec]:
        """The features as values."""
        return specs(self.features)

    def versions(self) -> list[Plan]:
        """Every version of every plan."""
        return [plan for versions in self.plans.values() for plan in versions]


def features() -> dict[str, Feature]:
    """All features by id, with their credit costs; two queries."""
    return {feature.slug: feature for feature in Feature.objects.with_credit_costs()}


def specs(features: Mapping[str, Feature]) -> dict[str, FeatureSpec]:
    """Features as values."""
    return {slug: FeatureSpec.of(feature) for slug, feature in features.items()}


def lock() -> None:
    """Hold off every other change of the catalogue until the transaction ends; reading goes on."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE plans_plan, plans_feature IN SHARE ROW EXCLUSIVE MODE")


def add_feature(spec: FeatureSpec, known: dict[str, Feature], *, at: datetime) -> Feature:
    """Save a new feature; `known` gains it."""
    feature = Feature(created_at=at)
    _fill_feature(feature, spec, at)
    feature.save(force_insert=True)
    known[spec.slug] = feature
    _add_credit_costs(feature, spec, known)
    return feature


def write_feature(feature: Feature, spec: FeatureSpec, known: dict[str, Feature], *, at: datetime) -> None:
    """Make a stored feature what `spec` says."""
    known.pop(feature.slug, None)
    _fill_feature(feature, spec, at)
    feature.save()
    known[spec.slug] = feature
    feature.credit_costs.exclude(metered_feature__slug__in=[slug for slug, _ in spec.credit_costs]).delete()
    _add_credit_costs(feature, spec, known)


def _fill_feature(feature: Feature, spec: FeatureSpec, at: datetime) -> None:
    for name, value in spec.columns().items():
        setattr(feature, name, value)
    feature.archived_at = (feature.archived_at or at) if spec.archived else None


def _add_credit_costs(feature: Feature, spec: FeatureSpec, known: Mapping[str, Feature]) -> None:
    rows = [
        CreditCost(credit_system=feature, metered_feature=known[slug], cost=cost) for slug, cost in spec.credit_costs
    ]
    CreditCost.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["credit_system", "metered_feature"], update_fields=["cost"]
    )


def add_version(spec: PlanSpec, version: int, known: Mapping[str, Feature], *, at: datetime) -> Plan:
    """Save a version of a plan; the highest one is what a new attach gets."""
    others = Plan.objects.filter(slug=spec.slug)
    is_latest = not others.filter(version__gt=version).exists()
    if is_latest:
        others.update(is_latest=False)
    plan = Plan(
        slug=spec.slug,
        version=version,
        is_latest=is_latest,
        created_at=at,
        archived_at=at if spec.archived else None,
        **spec.shared(),
        **spec.terms(),
    )
    plan.save(force_insert=True)
    _write_items(plan, spec, known)
    _write_licenses(plan, spec)
    return plan


def write_terms(plan: Plan, spec: PlanSpec, known: Mapping[str, Feature]) -> None:
    """Make the terms, items and licences of a stored version what `spec` says."""
    Plan.objects.filter(pk=plan.pk).update(**spec.terms())
    plan.items.all().delete()
    _write_items(plan, spec, known)
    plan.licenses.all().delete()
    _write_licenses(plan, spec)


def write_shared(spec: PlanSpec, *, at: datetime) -> None:
    """Give all versions of a plan the name, group and so on of `spec`."""
    versions = Plan.objects.filter(slug=spec.slug)
    versions.update(**spec.shared())
    if spec.archived:
        versions.filter(archived_at=None).update(archived_at=at)
    else:
        versions.update(archived_at=None)


def _write_items(plan: Plan, spec: PlanSpec, known: Mapping[str, Feature]) -> None:
    PlanItem.objects.bulk_create(
        PlanItem(
            plan=plan,
            position=position,
            feature=known[item.feature],
            entity_feature=known[item.entity_feature] if item.entity_feature else None,
            **item.columns(),
        )
        for position, item in enumerate(spec.items)
    )


def _write_licenses(plan: Plan, spec: PlanSpec) -> None:
    PlanLicense.objects.bulk_create(
        PlanLicense(plan=plan, position=position, **offered.columns()) for position, offered in enumerate(spec.licenses)
    )

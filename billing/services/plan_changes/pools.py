"""Pools of licences: the items of a customer's plan that other plans are assigned to entities from.

A pool is a prepaid item like any other, so it is priced, prorated, previewed and renewed by the same code; what it
counts is a feature that no catalogue knows. Its balance says how many there are and how many are assigned.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import Count

from billing.errors import LicenseNotFound, LicensesInUse
from billing.models import Subscription, SubscriptionItem
from billing.services.plan_changes.requests import Customize, LicenseQuantity
from config.errors import InvalidInput, InvalidRequest
from plans.catalog import rules
from plans.catalog.specs import FeatureSpec, LicenseSpec, LicenseTerms, PlanSpec
from plans.errors import PlanNotFound
from plans.models import Feature, Plan, PlanItem


def drafts(spec: PlanSpec, customize: Customize, *, position: int, at: datetime) -> list[SubscriptionItem]:
    """The pools of a plan as unsaved items, from `position` on, each with the newest version of its licence."""
    offered = _offered(spec, customize)
    if not offered:
        return []
    plans = {plan.slug: plan for plan in Plan.objects.newest().filter(slug__in=offered).with_items()}
    features = {feature.slug: FeatureSpec.of(feature) for feature in Feature.objects.with_credit_costs()}
    items: list[SubscriptionItem] = []
    for slug, license_spec in offered.items():
        if slug not in plans:
            raise PlanNotFound(slug)
        if plans[slug].archived_at is not None:
            raise InvalidRequest(f"Plan {slug}, offered as a licence, is archived. Unarchive it with plans.update.")
        licensed = rules.license_terms(license_spec, PlanSpec.of(plans[slug]), features)
        items.append(
            SubscriptionItem(
                feature=Feature.objects.counting(slug, plans[slug].name, at=at),
                position=position + len(items),
                included=Decimal(license_spec.included),
                license_plan=plans[slug],
                license_customize=license_spec.customize.written(),
                **_price(licensed),
            )
        )
    return items


def asked(items: Iterable[SubscriptionItem], quantities: Sequence[LicenseQuantity]) -> dict[str, Decimal]:
    """The quantities asked for, by the feature that counts each licence; raises LicenseNotFound, InvalidRequest."""
    return {item.feature.slug: quantity for item, quantity in wanted(items, quantities)}


def wanted(
    items: Iterable[SubscriptionItem], quantities: Sequence[LicenseQuantity]
) -> Iterator[tuple[SubscriptionItem, Decimal]]:
    """Each pool that a quantity is asked for, with that quantity, never below what is included or assigned."""
    pools = _by_plan(items)
    if len({quantity.plan for quantity in quantities}) < len(quantities):
        raise InvalidInput("license_quantities names a licence twice. Keep one.")
    assigned = _assigned(pools[quantity.plan] for quantity in quantities if quantity.plan in pools)
    for quantity in quantities:
        if quantity.plan not in pools:
            raise LicenseNotFound(quantity.plan)
        item, number = pools[quantity.plan], Decimal(quantity.quantity)
        if not item.is_prepaid and number > item.included:
            raise InvalidRequest(
                f"license_quantities: {quantity.plan} has no price: there are only the {item.included:f} included ones."
            )
        number = max(number, item.included)
        if number < assigned.get(item.pk, 0):
            raise LicensesInUse(quantity.plan, assigned[item.pk], int(number))
        if item.is_prepaid:
            yield item, number


def check_assigned(new: Iterable[SubscriptionItem], held: Iterable[SubscriptionItem], *, is_same: bool) -> None:
    """Refuse terms with fewer licences than are assigned; raises LicensesInUse.

    A licence that another plan does not offer ends with the plan; where only the terms change (`is_same`) it may not.
    """
    offered, pools = _by_plan(new), _by_plan(held)
    assigned = _assigned(pools.values())
    for slug, pool in pools.items():
        item = offered.get(slug)
        size = 0 if item is None else max(item.included, item.quantity)
        if (item is not None or is_same) and size < assigned.get(pool.pk, 0):
            raise LicensesInUse(slug, assigned[pool.pk], int(size))


def _by_plan(items: Iterable[SubscriptionItem]) -> dict[str, SubscriptionItem]:
    return {item.license_plan.slug: item for item in items if item.license_plan is not None}


def _assigned(pools: Iterable[SubscriptionItem]) -> dict[int, int]:
    keys = [item.pk for item in pools if not item._state.adding]
    if not keys:
        return {}
    rows = Subscription.objects.live().filter(license_item__in=keys).values_list("license_item")
    return dict(rows.annotate(number=Count("pk")).order_by())


def _offered(spec: PlanSpec, customize: Customize) -> dict[str, LicenseSpec]:
    """The licences of a plan with what a request changes about them, by the ids of their plans."""
    catalogue = {license_spec.plan: license_spec for license_spec in spec.licenses}
    offered = {slug: one for slug, one in catalogue.items() if slug not in customize.remove_licenses}
    for change in customize.upsert_licenses:
        known = catalogue.get(change.plan, LicenseSpec(change.plan))
        offered[change.plan] = LicenseSpec(
            plan=change.plan,
            included=known.included if change.included is None else change.included,
            customize=known.customize if change.customize is None else change.customize,
            metadata=known.metadata,
        )
    return offered


def terms(item: SubscriptionItem) -> LicenseTerms:
    """Where the licences of a pool differ from their plan."""
    return LicenseTerms.stored(item.license_customize)


def _price(licensed: PlanSpec) -> dict[str, object]:
    if not licensed.price_amount:
        return {}
    return {
        "price_amount": licensed.price_amount,
        "price_interval": licensed.price_interval,
        "price_interval_count": licensed.price_interval_count,
        "billing_method": PlanItem.BillingMethod.PREPAID,
    }

"""Subscriptions to be: a plan with what a request changes about it, as unsaved rows."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import msgspec

from billing import changes
from billing.models import Subscription, SubscriptionItem
from billing.proration import Holding
from billing.services.plan_changes import pools
from billing.services.plan_changes.requests import Customize, LicenseQuantity, Quantity, Trial
from config.errors import InvalidInput, InvalidRequest
from entities.subject import Subject
from plans import pricing
from plans.catalog import rules
from plans.catalog.specs import FeatureSpec, ItemSpec, PlanSpec
from plans.errors import PlanNotFound
from plans.models import Feature, Plan

ZERO = Decimal(0)


def plan(slug: str, version: int | None) -> Plan:
    """The version asked for, or the latest; raises PlanNotFound, or InvalidRequest for an archived plan."""
    plans = Plan.objects.filter(slug=slug).with_items()
    found = (plans.filter(version=version) if version is not None else plans.newest()).first()
    if found is None:
        raise PlanNotFound(slug, version)
    if found.archived_at is not None:
        raise InvalidRequest(f"Plan {slug} is archived and cannot be attached. Unarchive it with plans.update.")
    return found


def holding(
    subject: Subject,
    plan: Plan,
    *,
    customize: Customize,
    quantities: Sequence[Quantity],
    at: datetime,
    licenses: Sequence[LicenseQuantity] = (),
    carried: Holding | None = None,
) -> Holding:
    """The plan as it would be held from `at` on, customised, with its prepaid quantities.

    A recurring prepaid quantity that is not given is carried over from `carried`, else nothing beyond the included
    units is bought (spec billing 2.8). Cycle and trial are set by the caller.
    """
    if subject.entity is not None and licenses:
        raise InvalidRequest("license_quantities: licences are bought by the customer. Leave entity_id out.")
    spec = _customized(plan, customize)
    features = {
        feature.slug: feature
        for feature in Feature.objects.filter(
            slug__in={item.feature for item in spec.items} | {item.entity_feature for item in spec.items}
        )
    }
    items = [
        SubscriptionItem(
            **{
                **item.columns(),
                "feature": features[item.feature],
                "entity_feature": features.get(item.entity_feature),
                "position": position,
            }
        )
        for position, item in enumerate(spec.items)
    ]
    if subject.entity is None:
        items += pools.drafts(spec, customize, position=len(items), at=at)
    _set_quantities(items, quantities, licenses, carried)
    if carried is not None:
        pools.check_assigned(items, carried.items, is_same=carried.subscription.plan.slug == plan.slug)
    base = Subscription(
        price_amount=spec.price_amount,
        price_interval=spec.price_interval,
        price_interval_count=spec.price_interval_count,
    )
    terms = changes.terms_of(base, items)
    subscription = Subscription(
        public_id=f"sub_{secrets.token_urlsafe(16)}",
        customer=subject.customer,
        entity=subject.entity,
        plan=plan,
        group=plan.group,
        is_add_on=plan.is_add_on,
        is_one_off=terms.kind is changes.Kind.ONE_OFF,
        is_paid=terms.kind is changes.Kind.RECURRING,
        status=Subscription.Status.ACTIVE,
        started_at=at,
        price_amount=spec.price_amount,
        price_interval=spec.price_interval,
        price_interval_count=spec.price_interval_count,
        billing_controls=dict(
            customize.billing_controls if customize.billing_controls is not None else plan.billing_controls
        ),
        created_at=at,
    )
    return Holding(subscription, items)


def trial_of(plan: Plan, customize: Customize) -> Trial | None:
    """The trial that a request gives, or the plan's own; None for none."""
    if customize.free_trial is not msgspec.UNSET:
        return customize.free_trial
    if plan.trial_length is None:
        return None
    return Trial(
        length=plan.trial_length,
        unit=plan.trial_unit,
        card_required=plan.trial_card_required,
        on_end=plan.trial_on_end,
    )


def _customized(plan: Plan, customize: Customize) -> PlanSpec:
    spec = PlanSpec.of(plan)
    if not customize.changes_terms:
        return spec
    if customize.items is not None and (customize.add_items or customize.remove_items):
        raise InvalidInput("customize.items replaces all items: leave out add_items and remove_items.")
    items: tuple[ItemSpec, ...] = spec.items if customize.items is None else tuple(customize.items)
    for wanted in customize.remove_items:
        items = tuple(item for item in items if not wanted.matches(item))
    spec = replace(spec, items=(*items, *customize.add_items), auto_enable=False)
    price = customize.price
    if price is None:
        spec = replace(spec, price_amount=None, price_interval="", price_interval_count=1)
    elif price is not msgspec.UNSET:
        spec = replace(
            spec,
            price_amount=price.amount,
            price_interval=price.interval,
            price_interval_count=price.interval_count,
        )
    features = Feature.objects.with_credit_costs()
    return rules.plan(spec, {feature.slug: FeatureSpec.of(feature) for feature in features})


def _set_quantities(
    items: Sequence[SubscriptionItem],
    quantities: Sequence[Quantity],
    licenses: Sequence[LicenseQuantity],
    carried: Holding | None,
) -> None:
    asked = {quantity.feature: quantity.quantity for quantity in quantities}
    if len(asked) < len(quantities):
        raise InvalidInput("feature_quantities names a feature twice. Keep one.")
    asked |= pools.asked(items, licenses)
    held = {item.feature_id: item for item in carried.items if item.is_prepaid} if carried is not None else {}
    prepaid = [item for item in items if item.is_prepaid]
    for item in prepaid:
        wanted = asked.pop(item.feature.slug, None)
        before = held.get(item.feature_id)
        if wanted is None and before is not None and item.billed_every is not None and before.billed_every is not None:
            wanted = before.quantity if before.upcoming_quantity is None else before.upcoming_quantity
        item.quantity = whole_quantity(item, wanted if wanted is not None else item.included)
    for feature in asked:
        raise InvalidRequest(f"feature_quantities: the plan has no prepaid item for {feature}. Leave it out.")


def whole_quantity(item: SubscriptionItem, quantity: Decimal) -> Decimal:
    """A prepaid quantity in whole billing units beyond the included ones; raises InvalidRequest above the maximum."""
    beyond = pricing.round_up(max(ZERO, quantity - item.included), item.billing_units)
    if item.max_purchase is not None and beyond > item.max_purchase:
        most = f"{item.max_purchase.normalize():f}"
        raise InvalidRequest(f"feature_quantities: at most {most} of {item.feature.slug} can be bought on top.")
    return item.included + beyond

"""What a feature and a plan may be: each refusal names its field and says what to do. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from config.errors import InvalidInput
from plans.catalog.specs import FeatureSpec, ItemSpec, LicenseSpec, PlanSpec
from plans.errors import FeatureNotFound, PlanNotFound
from plans.intervals import IntervalUnit
from plans.models import Feature, PlanItem

MOST_INCLUDED = Decimal(10) ** 13
MOST_ITEMS = 200
MOST_LICENSES = 10**9

type Features = Mapping[str, FeatureSpec]


def feature(spec: FeatureSpec, features: Features) -> FeatureSpec:
    """`spec` in its settled form; raises InvalidInput or FeatureNotFound."""
    if spec.type == Feature.Type.AI_CREDIT_SYSTEM:
        raise InvalidInput("type: ai_credit_system features aren't offered here. Use credit_system.")
    if spec.type != Feature.Type.METERED and spec.event_names:
        raise InvalidInput("event_names: only metered features listen to events.")
    if spec.type == Feature.Type.CREDIT_SYSTEM:
        return replace(spec, consumable=True, credit_costs=_credit_costs(spec, features))
    if spec.credit_costs:
        raise InvalidInput("credit_schema is for features of the type credit_system only.")
    return replace(spec, consumable=False) if spec.type == Feature.Type.BOOLEAN else spec


def _credit_costs(spec: FeatureSpec, features: Features) -> tuple[tuple[str, Decimal], ...]:
    if not spec.credit_costs:
        raise InvalidInput("credit_schema is required for a credit system: which features it pays for, and their cost.")
    seen: set[str] = set()
    for slug, _ in spec.credit_costs:
        paid = features.get(slug)
        if paid is None:
            raise FeatureNotFound(slug)
        if paid.type != Feature.Type.METERED:
            raise InvalidInput(f"credit_schema: {slug} isn't a metered feature. Credits pay for metered features only.")
        if slug in seen:
            raise InvalidInput(f"credit_schema names {slug} twice. Keep one.")
        seen.add(slug)
    return tuple(sorted(spec.credit_costs))


def plan(spec: PlanSpec, features: Features) -> PlanSpec:
    """`spec` in its settled form, so that equal plans compare equal; raises InvalidInput or FeatureNotFound."""
    if len(spec.items) > MOST_ITEMS:
        raise InvalidInput(f"items: a plan has at most {MOST_ITEMS} items.")
    if spec.auto_enable and spec.price_amount and (spec.trial_length is None or spec.trial_card_required):
        raise InvalidInput(
            "auto_enable: a plan that starts by itself needs no card. Leave out its price, or give it a free_trial "
            "with card_required false."
        )
    items = tuple(_item(item, features, f"items[{index}]") for index, item in enumerate(spec.items))
    seen: set[tuple[object, ...]] = set()
    for index, item in enumerate(items):
        if item.identity in seen:
            raise InvalidInput(
                f"items[{index}] repeats feature {item.feature} with the same reset and price. Keep one."
            )
        seen.add(item.identity)
    offered = [license_spec.plan for license_spec in spec.licenses]
    if len(set(offered)) < len(offered):
        raise InvalidInput("licenses names a plan twice. Keep one.")
    controls = {kind: entries for kind, entries in spec.billing_controls.items() if entries}
    for entry in (entry for entries in controls.values() for entry in entries):
        if entry["feature_id"] not in features:
            raise FeatureNotFound(entry["feature_id"])
    return replace(spec, items=items, billing_controls=controls)


def licenses(plans: Mapping[str, PlanSpec], features: Features) -> None:
    """Check what plans offer as licences against the newest versions of all plans; raises InvalidInput, PlanNotFound.

    A licence is paid by its base price alone and offers no licences itself.
    """
    for spec in plans.values():
        for index, offered in enumerate(spec.licenses):
            path = f"licenses[{index}] of plan {spec.slug}"
            if offered.plan not in plans:
                raise PlanNotFound(offered.plan)
            if offered.plan == spec.slug:
                raise InvalidInput(f"{path}: a plan can't be its own licence. Make a plan of what one licence gives.")
            if plans[offered.plan].archived and not spec.archived:
                raise InvalidInput(f"{path}: plan {offered.plan} is archived. Bring it back, or take it out there.")
            license_terms(offered, plans[offered.plan], features)


def license_terms(offered: LicenseSpec, plan: PlanSpec, features: Features) -> PlanSpec:
    """What one licence gives and costs; raises InvalidInput for what no licence can be."""
    licensed = offered.customize.applied(plan)
    if licensed.licenses:
        raise InvalidInput(f"licenses: plan {plan.slug} offers licences itself, so it can't be one.")
    for item in licensed.items:
        if item.billing_method:
            raise InvalidInput(
                f"licenses: plan {plan.slug} sells {item.feature}, but a licence is paid by its base price alone. "
                "Take the price off that item, or attach the plan to entities directly."
            )
    items = tuple(_item(item, features, f"items[{index}]") for index, item in enumerate(licensed.items))
    return replace(licensed, items=items)


def _item(item: ItemSpec, features: Features, path: str) -> ItemSpec:
    granted = features.get(item.feature)
    if granted is None:
        raise FeatureNotFound(item.feature)
    if item.entity_feature:
        _check_entity_feature(item, features, path)
    if item.included > MOST_INCLUDED:
        raise InvalidInput(f"{path}.included must be at most {MOST_INCLUDED}.")
    if granted.type == Feature.Type.BOOLEAN:
        return _boolean(item, path)
    item = _with_reset(item, granted)
    if not item.tiers and item.tier_behavior == PlanItem.TierBehavior.GRADUATED:
        item = replace(item, tier_behavior="")
    for check in (_check_allocated, _check_unlimited, _check_price, _check_tiers, _check_rollover):
        check(item, granted, lambda field, problem: InvalidInput(f"{path}.{field} {problem}"))
    return item


def _check_entity_feature(item: ItemSpec, features: Features, path: str) -> None:
    counted = features.get(item.entity_feature)
    if counted is None:
        raise FeatureNotFound(item.entity_feature)
    if not counted.is_allocated:
        raise InvalidInput(
            f"{path}.entity_feature_id: {counted.slug} must be a metered feature with consumable false, such as seats."
        )
    if item.entity_feature == item.feature:
        raise InvalidInput(f"{path}.entity_feature_id must be another feature than {item.feature} itself.")


def _boolean(item: ItemSpec, path: str) -> ItemSpec:
    given = {
        "included": item.included,
        "reset": item.reset_interval,
        "price": item.billing_method,
        "rollover": item.has_rollover,
    }
    for name, value in given.items():
        if value:
            raise InvalidInput(
                f"{path}.{name}: {item.feature} is a boolean feature, it is on or off. Leave {name} out."
            )
    return replace(item, unlimited=False)


def _with_reset(item: ItemSpec, granted: FeatureSpec) -> ItemSpec:
    """A priced consumable resets as often as it is billed, unless it says otherwise: `atmn pull` relies on it."""
    unit, count = item.reset_interval, item.reset_interval_count
    if granted.consumable and not unit:
        unit, count = item.price_interval, item.price_interval_count
    if unit in ("", IntervalUnit.ONE_OFF):  # two ways to say never
        unit, count = "", 1
    return replace(item, reset_interval=unit, reset_interval_count=count)


type Problem = Callable[[str, str], InvalidInput]


def _check_allocated(item: ItemSpec, granted: FeatureSpec, problem: Problem) -> None:
    if granted.consumable:
        return
    for name, value in (("reset", item.reset_interval), ("rollover", item.has_rollover)):
        if value:
            raise problem(name, f"can't be set: {item.feature} isn't consumable, so it never resets. Leave {name} out.")


def _check_unlimited(item: ItemSpec, granted: FeatureSpec, problem: Problem) -> None:
    if not item.unlimited:
        return
    for name, value in (("included", item.included), ("price", item.billing_method), ("rollover", item.has_rollover)):
        if value:
            raise problem("unlimited", f"excludes {name}. Leave one of the two out.")


def _check_price(item: ItemSpec, granted: FeatureSpec, problem: Problem) -> None:
    if not item.billing_method:
        if item.on_increase or item.on_decrease:
            raise problem("proration", "needs a price: without one there is nothing to prorate.")
        return
    if (item.price_amount is None) is not bool(item.tiers):
        raise problem("price", "needs either amount or tiers, not both.")
    if item.billing_units <= 0:
        raise problem("price.billing_units", "must be above 0.")
    if item.billing_method == PlanItem.BillingMethod.PREPAID and item.included % item.billing_units:
        raise problem(
            "included", f"must be 0 or a multiple of billing_units ({item.billing_units}) of a prepaid price."
        )
    if item.billing_method == PlanItem.BillingMethod.USAGE_BASED and item.price_interval == IntervalUnit.ONE_OFF:
        raise problem("price.interval", "can't be one_off for usage_based: usage is billed at the end of an interval.")


def _check_tiers(item: ItemSpec, granted: FeatureSpec, problem: Problem) -> None:
    if not item.tiers:
        if item.tier_behavior == PlanItem.TierBehavior.VOLUME:
            raise problem("price.tier_behavior", "can't be volume without tiers.")
        return
    *closed, last = item.tiers
    if last.to is not None:
        raise problem("price.tiers", 'must end with a tier to "inf".')
    floor = Decimal(0)
    for index, tier in enumerate(closed):
        if tier.to is None or tier.to <= floor:
            raise problem(
                f"price.tiers[{index}].to", f'must be above {floor}: tiers ascend, and only the last is "inf".'
            )
        floor = tier.to


def _check_rollover(item: ItemSpec, granted: FeatureSpec, problem: Problem) -> None:
    if not item.has_rollover:
        return
    if not item.reset_interval:
        raise problem("rollover", "needs a reset: only what would lapse at a reset can roll over.")
    if item.rollover_max is not None and item.rollover_max_percentage is not None:
        raise problem("rollover", "takes max or max_percentage, not both.")
    if item.rollover_max_percentage is not None and not 0 < item.rollover_max_percentage <= 100:
        raise problem("rollover.max_percentage", "must be above 0 and at most 100.")

"""Features and plans as plain values: what is there and what is wanted, in a form that can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Self

import msgspec

from plans.models import Feature, Plan, PlanItem, PlanLicense

ZERO = Decimal(0)
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """A feature; `credit_costs` are pairs of a metered feature's id and its cost in credits."""

    slug: str
    name: str
    type: str = Feature.Type.METERED
    consumable: bool = False
    event_names: tuple[str, ...] = ()
    display_singular: str = ""
    display_plural: str = ""
    credit_costs: tuple[tuple[str, Decimal], ...] = ()
    archived: bool = False

    @classmethod
    def of(cls, feature: Feature) -> Self:
        """The feature as stored; its credit costs should be prefetched."""
        costs = sorted((row.metered_feature.slug, row.cost) for row in feature.credit_costs.all())
        return cls(
            slug=feature.slug,
            name=feature.name,
            type=feature.type,
            consumable=feature.consumable,
            event_names=tuple(feature.event_names),
            display_singular=feature.display_singular,
            display_plural=feature.display_plural,
            credit_costs=tuple(costs),
            archived=feature.archived_at is not None,
        )

    @property
    def is_allocated(self) -> bool:
        """A standing count, such as seats."""
        return self.type == Feature.Type.METERED and not self.consumable

    def columns(self) -> dict[str, Any]:
        """What goes into the feature's own row."""
        own = ("slug", "name", "type", "consumable", "display_singular", "display_plural")
        return {**{name: getattr(self, name) for name in own}, "event_names": list(self.event_names)}


@dataclass(frozen=True, slots=True)
class TierSpec:
    """A price band up to and with `to`, counted from the first unit; None is the open one at the end."""

    to: Decimal | None
    amount: Decimal = ZERO
    flat_amount: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class ItemSpec:
    """A plan item; names as in `ItemTerms`, features by their ids."""

    feature: str
    entity_feature: str = ""
    included: Decimal = ZERO
    unlimited: bool = False
    pooled: bool = False
    reset_interval: str = ""
    reset_interval_count: int = 1
    price_amount: Decimal | None = None
    tiers: tuple[TierSpec, ...] = ()
    tier_behavior: str = ""
    price_interval: str = ""
    price_interval_count: int = 1
    billing_units: Decimal = ONE
    billing_method: str = ""
    max_purchase: Decimal | None = None
    on_increase: str = ""
    on_decrease: str = ""
    has_rollover: bool = False
    rollover_max: Decimal | None = None
    rollover_max_percentage: Decimal | None = None
    rollover_expiry: str = ""
    rollover_expiry_length: int = 1

    @classmethod
    def of(cls, item: PlanItem) -> Self:
        """The item as stored."""
        values = {name: getattr(item, name) for name in _ITEM_COLUMNS}
        values["tiers"] = tuple(
            TierSpec(
                None if tier["to"] == "inf" else Decimal(tier["to"]),
                Decimal(tier["amount"]),
                Decimal(tier["flat_amount"]),
            )
            for tier in item.tiers
        )
        entity_feature = item.entity_feature.slug if item.entity_feature else ""
        return cls(feature=item.feature.slug, entity_feature=entity_feature, **values)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What no two items of a plan may share."""
        price = (self.billing_method, self.price_interval, self.price_interval_count)
        return (self.feature, self.entity_feature, self.reset_interval, self.reset_interval_count, *price)

    def columns(self) -> dict[str, Any]:
        """What goes into the item's row, its features apart."""
        tiers = [
            {
                "to": "inf" if tier.to is None else _text(tier.to),
                "amount": _text(tier.amount),
                "flat_amount": _text(tier.flat_amount),
            }
            for tier in self.tiers
        ]
        return {**{name: getattr(self, name) for name in _ITEM_COLUMNS}, "tiers": tiers}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Which items of a plan are meant; what is not given matches everything."""

    feature: str | None = None
    billing_method: str | None = None
    interval: str | None = None
    interval_count: int | None = None

    def matches(self, item: ItemSpec) -> bool:
        """Is this item meant? Either interval may be, that of its price or that of its reset."""
        intervals = {(item.price_interval, item.price_interval_count), (item.reset_interval, item.reset_interval_count)}
        return (
            self.feature in (None, item.feature)
            and self.billing_method in (None, item.billing_method)
            and (self.interval is None or any(unit == self.interval for unit, _ in intervals))
            and (self.interval_count is None or any(count == self.interval_count for _, count in intervals))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseTerms:
    """Where a licence differs from its plan; `price_amount` counts only when `has_price` says so (None: free)."""

    has_price: bool = False
    price_amount: Decimal | None = None
    price_interval: str = ""
    price_interval_count: int = 1
    add_items: tuple[ItemSpec, ...] = ()
    remove_items: tuple[ItemFilter, ...] = ()

    @classmethod
    def stored(cls, columns: Mapping[str, Any]) -> Self:
        """From what `written` gave."""
        return msgspec.convert(columns, cls)

    def written(self) -> dict[str, Any]:
        """As JSON can hold it, decimals as text; empty where nothing differs."""
        columns: dict[str, Any] = msgspec.to_builtins(self) if self != LicenseTerms() else {}
        return columns

    def applied(self, plan: "PlanSpec") -> "PlanSpec":
        """The licence as a plan of its own."""
        items = tuple(item for item in plan.items if not any(wanted.matches(item) for wanted in self.remove_items))
        plan = replace(plan, items=(*items, *self.add_items))
        if not self.has_price:
            return plan
        return replace(
            plan,
            price_amount=self.price_amount,
            price_interval=self.price_interval,
            price_interval_count=self.price_interval_count,
        )


@dataclass(frozen=True, slots=True)
class LicenseSpec:
    """A plan offered as a licence by another; names as in `PlanLicense`, the plan by its id."""

    plan: str
    included: int = 1
    customize: LicenseTerms = field(default_factory=LicenseTerms)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: PlanLicense) -> Self:
        """The licence as stored."""
        return cls(row.license_slug, row.included, LicenseTerms.stored(row.customize), row.metadata)

    def columns(self) -> dict[str, Any]:
        """What goes into its row."""
        return {
            "license_slug": self.plan,
            "included": self.included,
            "customize": self.customize.written(),
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """A plan, that is one version of it; names as in `Plan`."""

    slug: str
    name: str
    description: str = ""
    group: str = ""
    is_add_on: bool = False
    auto_enable: bool = False
    ignore_past_due: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    archived: bool = False
    price_amount: Decimal | None = None
    price_interval: str = ""
    price_interval_count: int = 1
    trial_length: int | None = None
    trial_unit: str = ""
    trial_card_required: bool = True
    trial_on_end: str = Plan.TrialEnd.BILL
    billing_controls: Mapping[str, Any] = field(default_factory=dict)
    items: tuple[ItemSpec, ...] = ()
    licenses: tuple[LicenseSpec, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The version as stored; its items and licences should be prefetched in order."""
        values = {name: getattr(plan, name) for name in (*_SHARED_COLUMNS, *_TERM_COLUMNS)}
        items = tuple(ItemSpec.of(item) for item in plan.items.all())
        licenses = tuple(LicenseSpec.of(row) for row in plan.licenses.all())
        return cls(slug=plan.slug, archived=plan.archived_at is not None, items=items, licenses=licenses, **values)

    def patched(self, changes: Mapping[str, Any]) -> Self:
        """The plan with `changes` made.

        A list of billing controls that isn't given stays. None for the price's interval count or the trial's end keeps
        what is there as long as the rest of the price or trial is the same kind: `atmn` can't express either.
        """
        values = dict(changes)
        if "billing_controls" in values:
            values["billing_controls"] = {**self.billing_controls, **values["billing_controls"]}
        if values.get("price_interval_count", 1) is None:
            is_same = values["price_interval"] == self.price_interval
            values["price_interval_count"] = self.price_interval_count if is_same else 1
        if values.get("trial_on_end", "") is None:
            values["trial_on_end"] = self.trial_on_end if self.trial_length is not None else Plan.TrialEnd.BILL
        return replace(self, **values)

    def shared(self) -> dict[str, Any]:
        """The columns that all versions of a plan have in common."""
        return {name: getattr(self, name) for name in _SHARED_COLUMNS}

    def terms(self) -> dict[str, Any]:
        """The columns that make up a version, its items apart."""
        return {name: getattr(self, name) for name in _TERM_COLUMNS}

    def has_terms_of(self, other: Self) -> bool:
        """Would a customer notice no difference between the two? The order of items and licences says nothing."""
        return (
            self.terms() == other.terms()
            and _unordered(self.items) == _unordered(other.items)
            and {offered.plan: offered for offered in self.licenses}
            == {offered.plan: offered for offered in other.licenses}
        )


def _unordered(items: tuple[ItemSpec, ...]) -> list[ItemSpec]:
    return sorted(items, key=lambda item: item.identity)


def _text(number: Decimal) -> str:
    digits = format(number, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


_ITEM_COLUMNS = tuple(spec.name for spec in fields(ItemSpec) if spec.name not in ("feature", "entity_feature"))
# Who the plan is, and how it is offered: the same for all versions, whoever holds them.
_SHARED_COLUMNS = ("name", "description", "group", "is_add_on", "auto_enable", "ignore_past_due", "metadata")
# What a customer agreed to; with customers on it, a change makes a new version.
_TERM_COLUMNS = (
    "price_amount", "price_interval", "price_interval_count",
    "trial_length", "trial_unit", "trial_card_required", "trial_on_end", "billing_controls",
)  # fmt: skip

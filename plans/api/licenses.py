"""What a licence looks like coming in: under a plan, or changed for one customer."""

from typing import Any

from rest_framework import serializers

from config.api import IdField
from plans.api.fields import CountField, ManyField, MetadataField, OneOfField, Shape, SwitchField
from plans.api.items import BasePriceInput, ItemInput
from plans.catalog.rules import MOST_ITEMS, MOST_LICENSES
from plans.catalog.specs import ItemFilter, LicenseSpec, LicenseTerms
from plans.intervals import IntervalUnit
from plans.models import ItemTerms


class FilterInput(Shape):
    """Which items of a plan are meant; gives an ItemFilter."""

    feature_id = IdField(max_length=100, required=False)
    billing_method = OneOfField(choices=ItemTerms.BillingMethod.values, required=False)
    interval = OneOfField(choices=IntervalUnit.values, required=False)
    interval_count = CountField(least=1, most=120, required=False)

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        return ItemFilter(
            feature=given.get("feature_id"),
            billing_method=given.get("billing_method"),
            interval=given.get("interval"),
            interval_count=given.get("interval_count"),
        )


class LicenseTermsInput(Shape):
    """Where a licence differs from its plan; gives LicenseTerms."""

    price = BasePriceInput(required=False, allow_null=True)
    add_items = ManyField(child=ItemInput(), most=MOST_ITEMS, default=list)
    remove_items = ManyField(child=FilterInput(), most=MOST_ITEMS, default=list)

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        price = given.get("price")
        return LicenseTerms(
            has_price="price" in given,
            price_amount=price["amount"] if price else None,
            price_interval=price["interval"] if price else "",
            price_interval_count=price.get("interval_count", 1) if price else 1,
            add_items=tuple(given["add_items"]),
            remove_items=tuple(given["remove_items"]),
        )


class PrepaidOnlyField(SwitchField):
    """Licences are assigned from a pool that was bought: true, the only way there is."""

    def to_internal_value(self, data: Any) -> bool:
        if not super().to_internal_value(data):
            raise serializers.ValidationError("must be true: licences beyond the pool aren't billed here.")
        return True


class LicenseInput(Shape):
    """A licence; `version` is taken and ignored, since a licence follows its plan."""

    license_plan_id = IdField(max_length=100)
    included = CountField(least=0, most=MOST_LICENSES, required=False)
    prepaid_only = PrepaidOnlyField(required=False)
    customize = LicenseTermsInput(required=False)
    metadata = MetadataField(required=False)


class LicenseQuantityInput(Shape):
    """How many of a licence are wanted in all, the included ones counted."""

    license_plan_id = IdField(max_length=100)
    quantity = CountField(least=0, most=MOST_LICENSES)


def license_spec(given: dict[str, Any]) -> LicenseSpec:
    """The licence behind validated data."""
    return LicenseSpec(
        plan=given["license_plan_id"],
        included=given.get("included", 1),
        customize=given.get("customize", LicenseTerms()),
        metadata=given.get("metadata", {}),
    )

from typing import Any

from rest_framework import serializers

from config.api import IdField, TimestampField
from config.errors import InvalidInput
from plans.api.controls import BillingControlsField
from plans.api.fields import CountField, MetadataField, OneOfField, Shape, SwitchField, TextField

# Request keys and the fields of Customer that they set.
_FIELDS = {
    "name": "name",
    "email": "email",
    "fingerprint": "fingerprint",
    "metadata": "metadata",
    "stripe_id": "processor_id",
    "send_email_receipts": "send_email_receipts",
    "currency": "currency",
    "billing_controls": "billing_controls",
}


class ConfigInput(Shape):
    disable_pooled_balance = SwitchField(required=False)
    disable_overage_billing = SwitchField(required=False)


class DetailsInput(Shape):
    """What may be said of a customer."""

    name = TextField(max_length=255, required=False)
    email = TextField(max_length=320, required=False)
    fingerprint = TextField(max_length=255, required=False)
    metadata = MetadataField(required=False)
    stripe_id = TextField(max_length=255, required=False)
    send_email_receipts = SwitchField(required=False)
    currency = TextField(max_length=3, required=False)
    billing_controls = BillingControlsField(required=False)
    config = ConfigInput(required=False)


def details(data: dict[str, Any]) -> dict[str, Any]:
    """The given details by field of Customer."""
    fields = {_FIELDS[key]: value for key, value in data.items() if key in _FIELDS}
    if "currency" in fields:
        fields["currency"] = fields["currency"].lower()
    return {**fields, **data.get("config", {})}


class CustomerInput(Shape):
    customer_id = IdField()
    expand = serializers.ListField(child=serializers.CharField(max_length=50), required=False)


class CreateCustomerInput(CustomerInput, DetailsInput):
    pass


class UpdateCustomerInput(CustomerInput, DetailsInput):
    new_customer_id = IdField(required=False)


class PlanFilterInput(Shape):
    id = IdField()
    versions = serializers.ListField(child=CountField(least=1, most=1_000_000), required=False)


class CreatedRangeInput(Shape):
    start = TimestampField(required=False)
    end = TimestampField(required=False)


class PageInput(Shape):
    start_cursor = TextField(max_length=500, required=False)
    limit = CountField(least=1, most=5000, required=False)
    offset = CountField(least=0, most=1_000_000, required=False)
    plans = serializers.ListField(child=PlanFilterInput(), required=False, max_length=100)
    subscription_status = OneOfField(choices=["active", "scheduled"], required=False)
    search = TextField(max_length=255, required=False)


class ListCustomersInput(PageInput):
    sort_order = OneOfField(choices=["asc", "desc"], required=False)
    created_at_range = CreatedRangeInput(required=False)


class ListEntitiesInput(PageInput):
    customer_id = IdField(required=False)


class CreateEntityInput(Shape):
    customer_id = IdField()
    entity_id = IdField()
    feature_id = IdField()
    name = TextField(max_length=255, required=False)
    billing_controls = BillingControlsField(required=False)
    customer_data = DetailsInput(required=False)


class EntityInput(Shape):
    customer_id = IdField(required=False)
    entity_id = IdField()
    expand = serializers.ListField(child=serializers.CharField(max_length=50), required=False)


class UpdateEntityInput(EntityInput):
    billing_controls = BillingControlsField(required=False)


class LegacyEntityInput(Shape):
    customer_id = IdField()
    id = IdField()
    feature_id = IdField()
    name = TextField(max_length=255, required=False)


def expected(data: dict[str, Any], *keys: str) -> None:
    """Refuse a request that lacks one of `keys`."""
    for key in keys:
        if key not in data:
            raise InvalidInput(f"{key} is required.")

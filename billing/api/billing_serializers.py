"""What billing.* takes, as it is on the wire. Keys that aren't known are ignored."""

from typing import Any

from rest_framework import serializers

from config.api import IdField, MoneyField, QuantityField, TimestampField
from plans.api.controls import BillingControlsField
from plans.api.fields import CountField, ManyField, MetadataField, OneOfField, Shape, SwitchField, TextField
from plans.api.items import BasePriceInput, ItemInput, TrialInput
from plans.api.licenses import FilterInput, LicenseInput, LicenseQuantityInput

MOST = 200
URL = 2000


class AnchorField(serializers.Field[Any, Any, Any, Any]):
    """A time in Unix milliseconds, or the word "now"; gives the instant or the word."""

    def to_internal_value(self, data: Any) -> Any:
        return "now" if data == "now" else TimestampField().to_internal_value(data)

    def to_representation(self, value: Any) -> Any:
        return value


class QuantityInput(Shape):
    feature_id = IdField(max_length=100)
    quantity = QuantityField(negative=False, required=False)


class RemovedLicenseInput(Shape):
    license_plan_id = IdField(max_length=100)


class CustomizeInput(Shape):
    price = BasePriceInput(required=False, allow_null=True)
    items = ManyField(child=ItemInput(), most=MOST, required=False)
    add_items = ManyField(child=ItemInput(), most=MOST, required=False)
    remove_items = ManyField(child=FilterInput(), most=MOST, required=False)
    free_trial = TrialInput(required=False, allow_null=True)
    billing_controls = BillingControlsField(required=False)
    upsert_licenses = ManyField(child=LicenseInput(), most=MOST, default=list)
    remove_licenses = ManyField(child=RemovedLicenseInput(), most=MOST, default=list)


class InvoiceModeInput(Shape):
    enabled = SwitchField()
    enable_plan_immediately = SwitchField(default=False)
    finalize = SwitchField(default=True)
    net_terms_days = CountField(least=0, most=365, required=False)


class CustomLineInput(Shape):
    amount = MoneyField()
    description = TextField(max_length=500, blank=False)


class CarryInput(Shape):
    enabled = SwitchField()
    feature_ids = ManyField(child=IdField(max_length=100), most=500, required=False)


class DiscountInput(Shape):
    reward_id = IdField(required=False)
    promotion_code = IdField(required=False)


class RemovedDiscountInput(Shape):
    reward_id = IdField()


class TermsInput(Shape):
    """What attaching and updating have in common."""

    feature_quantities = ManyField(child=QuantityInput(), most=MOST, required=False)
    license_quantities = ManyField(child=LicenseQuantityInput(), most=MOST, default=list)
    version = CountField(least=1, most=1_000_000, required=False)
    customize = CustomizeInput(required=False)
    free_trial = TrialInput(required=False, allow_null=True)
    invoice_mode = InvoiceModeInput(required=False)
    proration_behavior = OneOfField(choices=["prorate_immediately", "none"], required=False)
    redirect_mode = OneOfField(choices=["always", "if_required", "never"], default="if_required")
    subscription_id = IdField(required=False)
    discounts = ManyField(child=DiscountInput(), most=20, required=False)
    remove_discounts = ManyField(child=RemovedDiscountInput(), most=20, required=False)
    billing_cycle_anchor = AnchorField(required=False)
    no_billing_changes = SwitchField(default=False)
    carry_over_usages = CarryInput(required=False)
    fingerprint = TextField(max_length=64, default="")


class SubjectInput(Shape):
    customer_id = IdField()
    entity_id = IdField(required=False)


class PlanInput(TermsInput):
    """A plan to attach."""

    plan_id = IdField(max_length=100)
    success_url = TextField(max_length=URL, default="")
    new_billing_subscription = SwitchField(required=False)
    plan_schedule = OneOfField(choices=["immediate", "end_of_cycle"], required=False)
    starts_at = TimestampField(required=False)
    ends_at = TimestampField(required=False)
    custom_line_items = ManyField(child=CustomLineInput(), most=MOST, required=False)
    carry_over_balances = CarryInput(required=False)
    metadata = MetadataField(required=False)
    enable_plan_immediately = SwitchField(default=False)
    currency = TextField(max_length=3, required=False)
    remove_plan_ids = ManyField(child=IdField(max_length=100), most=MOST, required=False)


class AttachInput(SubjectInput, PlanInput):
    """billing.attach and billing.preview_attach."""


class SetupPaymentInput(AttachInput):
    plan_id = IdField(max_length=100, required=False)


class UpdateInput(SubjectInput, TermsInput):
    """billing.update and billing.preview_update."""

    plan_id = IdField(max_length=100, required=False)
    cancel_action = OneOfField(choices=["cancel_immediately", "cancel_end_of_cycle", "uncancel"], required=False)
    refund_last_payment = OneOfField(choices=["prorated", "full"], required=False)
    recalculate_balances = CarryInput(required=False)


class OneUpdateInput(Shape):
    plan_id = IdField(max_length=100, required=False)
    subscription_id = IdField(required=False)
    entity_id = IdField(required=False)
    cancel_action = OneOfField(choices=["cancel_immediately", "cancel_end_of_cycle", "uncancel"])
    proration_behavior = OneOfField(choices=["prorate_immediately", "none"], required=False)


class MultiUpdateInput(SubjectInput):
    updates = ManyField(child=OneUpdateInput(), most=50)


class OnePlanInput(Shape):
    """A plan among several; `entity_id` null is the customer, left out the scope of the request."""

    plan_id = IdField(max_length=100)
    entity_id = IdField(required=False, allow_null=True)
    version = CountField(least=1, most=1_000_000, required=False)
    customize = CustomizeInput(required=False)
    feature_quantities = ManyField(child=QuantityInput(), most=MOST, required=False)
    license_quantities = ManyField(child=LicenseQuantityInput(), most=MOST, default=list)
    subscription_id = IdField(required=False)


class MultiAttachInput(SubjectInput):
    plans = ManyField(child=OnePlanInput(), most=50)
    free_trial = TrialInput(required=False, allow_null=True)
    invoice_mode = InvoiceModeInput(required=False)
    discounts = ManyField(child=DiscountInput(), most=20, required=False)
    billing_behavior = OneOfField(choices=["prorate_immediately", "none"], required=False)
    redirect_mode = OneOfField(choices=["always", "if_required", "never"], default="if_required")
    new_billing_subscription = SwitchField(required=False)
    starts_at = TimestampField(required=False)
    success_url = TextField(max_length=URL, default="")
    currency = TextField(max_length=3, required=False)
    enable_plan_immediately = SwitchField(default=False)


class StartingAfterInput(Shape):
    duration_type = OneOfField(choices=["month", "year"])
    duration_count = CountField(least=1, most=120)


class PhaseInput(Shape):
    """When a phase starts: at an instant, or so long after the one before; the first is now unless it says."""

    starts_at = AnchorField(required=False)
    starting_after = StartingAfterInput(required=False)
    plans = ManyField(child=OnePlanInput(), most=50)
    billing_cycle_anchor = OneOfField(choices=["phase_start"], required=False)


class ScheduleInput(SubjectInput):
    """billing.create_schedule."""

    phases = ManyField(child=PhaseInput(), most=50)
    unscheduled_plans = ManyField(child=OnePlanInput(), most=50, required=False)
    free_trial = TrialInput(required=False, allow_null=True)
    currency = TextField(max_length=3, required=False)
    invoice_mode = InvoiceModeInput(required=False)
    discounts = ManyField(child=DiscountInput(), most=20, required=False)
    success_url = TextField(max_length=URL, default="")
    redirect_mode = OneOfField(choices=["always", "if_required", "never"], default="if_required")
    billing_behavior = OneOfField(choices=["prorate_immediately", "none"], required=False)
    no_billing_changes = SwitchField(default=False)
    billing_cycle_anchor = OneOfField(choices=["now"], required=False)
    enable_plan_immediately = SwitchField(default=False)


class PortalInput(SubjectInput):
    return_url = TextField(max_length=URL, default="")

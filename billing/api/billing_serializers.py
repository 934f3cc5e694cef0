"""What billing.* takes, read into the requests that the services carry out. Keys that aren't known are ignored."""

from datetime import datetime
from typing import Any

import msgspec
from rest_framework import serializers

from billing.services.plan_changes.requests import (
    Attach,
    BasePrice,
    Carry,
    Coupon,
    Customize,
    CustomLine,
    InvoiceMode,
    LicenseChange,
    LicenseQuantity,
    MultiAttach,
    Phase,
    Quantity,
    Schedule,
    ScopedAttach,
    ScopedUpdate,
    Trial,
    Update,
)
from config.api import IdField, MoneyField, QuantityField, TimestampField
from config.errors import InvalidInput
from entities.subject import Subject
from plans.api.controls import BillingControlsField
from plans.api.fields import CountField, ManyField, MetadataField, OneOfField, Shape, SwitchField, TextField
from plans.api.items import BasePriceInput, ItemInput, TrialInput
from plans.api.licenses import FilterInput, LicenseInput, LicenseQuantityInput
from plans.intervals import Interval, IntervalUnit, boundary

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


def attach_request(given: dict[str, Any], at: datetime) -> Attach:
    """The attachment behind validated data; `at` is what "now" means."""
    custom = given.get("custom_line_items")
    return Attach(
        plan=given["plan_id"],
        version=given.get("version"),
        quantities=_quantities(given),
        licenses=_licenses(given),
        customize=_customize(given),
        invoice_mode=_invoice_mode(given),
        prorates=given.get("proration_behavior") != "none",
        redirect_mode=given["redirect_mode"],
        subscription_id=given.get("subscription_id"),
        success_url=given.get("success_url", ""),
        new_billing_subscription=given.get("new_billing_subscription"),
        anchor=_anchor(given, at),
        schedule=given.get("plan_schedule"),
        starts_at=given.get("starts_at"),
        ends_at=given.get("ends_at"),
        custom_lines=None if custom is None else [CustomLine(**line) for line in custom],
        carry=Carry(balances=_carry(given, "carry_over_balances"), usages=_carry(given, "carry_over_usages")),
        metadata=given.get("metadata", {}),
        bills=not given["no_billing_changes"],
        enable_plan_immediately=given.get("enable_plan_immediately", False),
        currency=given.get("currency"),
        remove_plans=given.get("remove_plan_ids", []),
        fingerprint=given.get("fingerprint", ""),
        **_discounts(given),
    )


def multi_attach_request(given: dict[str, Any], subject: Subject, at: datetime) -> MultiAttach:
    """Several attachments with what they have in common; raises InvalidInput for none, EntityNotFound."""
    if not given["plans"]:
        raise InvalidInput("plans must name at least one plan.")
    shared = {key: value for key, value in given.items() if key not in ("plans", "customer_id", "entity_id")}
    shared["proration_behavior"] = shared.pop("billing_behavior", None)
    shared["no_billing_changes"] = False
    return MultiAttach(
        plans=[
            ScopedAttach(attach=attach_request({**shared, **plan}, at), entity_pk=_entity_pk(plan, subject))
            for plan in given["plans"]
        ]
    )


def schedule_request(given: dict[str, Any], subject: Subject, at: datetime) -> Schedule:
    """The schedule behind validated data; raises InvalidInput for phases out of order or without plans."""
    own = ("phases", "unscheduled_plans", "customer_id", "entity_id", "billing_behavior")
    shared = {key: value for key, value in given.items() if key not in own}
    shared |= {"proration_behavior": given.get("billing_behavior"), "plan_schedule": "immediate"}
    later = {"redirect_mode": "never", "no_billing_changes": given["no_billing_changes"]}
    if not given["phases"]:
        raise InvalidInput("phases must hold at least one phase.")
    starts = _phase_starts(given["phases"], at)
    phases = [
        Phase(
            starts_at=start,
            plans=[_scoped({**(shared if start <= at else later), **plan}, subject, at) for plan in phase["plans"]],
            resets_cycle="billing_cycle_anchor" in phase,
        )
        for phase, start in zip(given["phases"], starts, strict=True)
    ]
    others = [_scoped({**shared, **plan}, subject, at) for plan in given.get("unscheduled_plans", [])]
    if not phases[0].plans and not others:
        raise InvalidInput("phases: the first phase must name at least one plan.")
    entity_pk = subject.entity.pk if subject.entity else None
    return Schedule(phases=phases, others=others, entity_pk=entity_pk)


def _phase_starts(phases: list[dict[str, Any]], at: datetime) -> list[datetime]:
    """When the phases start. Months are counted from the last instant that was named, so month ends do not drift."""
    starts: list[datetime] = []
    named, months = at, 0
    for position, phase in enumerate(phases):
        after, given = phase.get("starting_after"), phase.get("starts_at")
        if after is not None and (given is not None or position == 0):
            why = "nothing goes before the first phase" if position == 0 else "starts_at says when it starts already"
            raise InvalidInput(f"phases[{position}].starting_after: {why}. Leave it out.")
        if after is not None:
            months += after["duration_count"] * (12 if after["duration_type"] == "year" else 1)
            starts.append(boundary(named, Interval(IntervalUnit.MONTH), months))
            continue
        if position == 0:
            named = at if given in (None, "now") else max(given, at)
        elif given in (None, "now") or given <= starts[-1]:
            raise InvalidInput(f"phases[{position}].starts_at must lie after the start of the phase before.")
        else:
            named = given
        months = 0
        starts.append(named)
    return starts


def _scoped(plan: dict[str, Any], subject: Subject, at: datetime) -> ScopedAttach:
    return ScopedAttach(attach=attach_request(plan, at), entity_pk=_entity_pk(plan, subject))


def scoped_updates(given: dict[str, Any], subject: Subject, at: datetime) -> list[ScopedUpdate]:
    """Several cancellations; raises InvalidInput for none, EntityNotFound."""
    if not given["updates"]:
        raise InvalidInput("updates must hold at least one update.")
    defaults = {"redirect_mode": "if_required", "no_billing_changes": False}
    return [
        ScopedUpdate(update=update_request({**defaults, **one}, at), entity_pk=_entity_pk(one, subject))
        for one in given["updates"]
    ]


def _entity_pk(given: dict[str, Any], subject: Subject) -> int | None:
    if "entity_id" not in given:
        return subject.entity.pk if subject.entity else None
    if given["entity_id"] is None:
        return None
    return Subject.get(subject.customer_id, given["entity_id"]).member.pk


def update_request(given: dict[str, Any], at: datetime) -> Update:
    """The update behind validated data; `at` is what "now" means."""
    behavior = given.get("proration_behavior")
    usages = given.get("carry_over_usages")
    recalculates = given.get("recalculate_balances")
    return Update(
        plan=given.get("plan_id"),
        subscription_id=given.get("subscription_id"),
        action=given.get("cancel_action"),
        version=given.get("version"),
        quantities=_quantities(given),
        licenses=_licenses(given),
        customize=_customize(given),
        invoice_mode=_invoice_mode(given),
        prorates=None if behavior is None else behavior != "none",
        redirect_mode=given["redirect_mode"],
        anchor=_anchor(given, at),
        bills=not given["no_billing_changes"],
        refund=given.get("refund_last_payment"),
        recalculates=bool(recalculates and recalculates["enabled"]),
        carry=None if usages is None else Carry(usages=_carry(given, "carry_over_usages")),
        fingerprint=given.get("fingerprint", ""),
        **_discounts(given),
    )


def _quantities(given: dict[str, Any]) -> list[Quantity]:
    return [
        Quantity(feature=entry["feature_id"], quantity=entry["quantity"])
        for entry in given.get("feature_quantities", [])
        if "quantity" in entry
    ]


def _licenses(given: dict[str, Any]) -> list[LicenseQuantity]:
    return [
        LicenseQuantity(plan=entry["license_plan_id"], quantity=entry["quantity"])
        for entry in given.get("license_quantities", [])
    ]


def _customize(given: dict[str, Any]) -> Customize:
    customize = given.get("customize", {})
    trial = customize["free_trial"] if "free_trial" in customize else given.get("free_trial", msgspec.UNSET)
    price = customize.get("price", msgspec.UNSET)
    return Customize(
        price=price if price is msgspec.UNSET or price is None else _base_price(price),
        items=customize.get("items"),
        add_items=customize.get("add_items", []),
        remove_items=customize.get("remove_items", []),
        upsert_licenses=[
            LicenseChange(
                plan=entry["license_plan_id"], included=entry.get("included"), customize=entry.get("customize")
            )
            for entry in customize.get("upsert_licenses", [])
        ],
        remove_licenses=[entry["license_plan_id"] for entry in customize.get("remove_licenses", [])],
        free_trial=trial if trial is msgspec.UNSET or trial is None else _trial(trial),
        billing_controls=customize.get("billing_controls"),
    )


def _base_price(given: dict[str, Any]) -> BasePrice:
    return BasePrice(amount=given["amount"], interval=given["interval"], interval_count=given.get("interval_count", 1))


def _trial(given: dict[str, Any]) -> Trial:
    return Trial(
        length=given["duration_length"],
        unit=given["duration_type"],
        card_required=given["card_required"],
        on_end=given.get("on_end") or "bill",
    )


def _invoice_mode(given: dict[str, Any]) -> InvoiceMode | None:
    mode = given.get("invoice_mode")
    return InvoiceMode(**mode) if mode and mode["enabled"] else None


def _anchor(given: dict[str, Any], at: datetime) -> datetime | None:
    anchor = given.get("billing_cycle_anchor")
    return at if anchor == "now" else anchor


def _carry(given: dict[str, Any], key: str) -> list[str] | None:
    carry = given.get(key)
    return list(carry.get("feature_ids", [])) if carry and carry["enabled"] else None


def _discounts(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "discounts": [
            Coupon(reward=one.get("reward_id"), code=one.get("promotion_code")) for one in given.get("discounts", [])
        ],
        "remove_discounts": [one["reward_id"] for one in given.get("remove_discounts", [])],
    }

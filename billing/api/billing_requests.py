"""What was sent to billing.*, read into the requests that the services carry out."""

from datetime import datetime
from typing import Any

import msgspec

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
from config.errors import InvalidInput
from entities.subject import Subject
from plans.intervals import Interval, IntervalUnit, boundary


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

"""Whatever is sent to billing's calls, in each field alone, the answer is 200 or a refusal that says why."""

import itertools
import json
import re
from typing import Any

import pytest
from django.db import transaction

from tests.api.test_bad_input import JUNK, assert_is_told, paths, written
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid, seats

PRICE = {"amount": 5, "interval": "month", "interval_count": 1, "additional_currencies": []}
# One at a time beside what a call needs, so that each is read and acted upon.
TERMS: dict[str, Any] = {
    "feature_quantities": [{"feature_id": "words", "quantity": 200}],
    "license_quantities": [{"license_plan_id": "seat", "quantity": 2}],
    "version": 1,
    "customize": {
        "price": PRICE,
        "items": [monthly("messages", 5), prepaid("words", 0, 5, 100)],
        "free_trial": {"duration_length": 7, "duration_type": "day", "card_required": True, "on_end": "bill"},
        "upsert_licenses": [{"license_plan_id": "seat", "included": 2}],
        "remove_licenses": [{"license_plan_id": "seat"}],
    },
    "free_trial": {"duration_length": 7},
    "invoice_mode": {"enabled": True, "finalize": False, "net_terms_days": 30},
    "proration_behavior": "none",
    "redirect_mode": "never",
    "subscription_id": "mine",
    "discounts": [{"reward_id": "spring"}, {"promotion_code": "SPRING"}],
    "remove_discounts": [{"reward_id": "spring"}],
    "billing_cycle_anchor": "now",
    "no_billing_changes": True,
    "carry_over_usages": {"enabled": True, "feature_ids": ["messages"]},
}
ATTACH: dict[str, Any] = {
    **TERMS,
    "entity_id": "a",
    "new_billing_subscription": True,
    "plan_schedule": "end_of_cycle",
    "starts_at": ms("2026-05-01"),
    "ends_at": ms("2026-06-01"),
    "custom_line_items": [{"amount": 5, "description": "Setup"}],
    "carry_over_balances": {"enabled": True, "feature_ids": ["messages"]},
    "currency": "usd",
    "remove_plan_ids": ["pro"],
    "success_url": "https://acme.example/",
}
UPDATE: dict[str, Any] = {
    **TERMS,
    "cancel_action": "cancel_immediately",
    "refund_last_payment": "full",
    "recalculate_balances": {"enabled": True},
}
PHASES = [
    {"starts_at": "now", "plans": [{"plan_id": "pack", "version": 1, "customize": {"price": PRICE}}]},
    {"starting_after": {"duration_type": "month", "duration_count": 1}, "plans": [{"plan_id": "pro"}]},
]
IMPORTED = {"plan_id": "pro", "status": "active", "quantity": 1, "started_at": ms("2026-03-01")}
LINK = {"subscription_id": "sub_1"}
COUPON = {
    "id": "s",
    "name": "S",
    "type": "percentage_discount",
    "value": 5,
    "duration": {"type": "months", "length": 2},
}
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "billing.preview_attach": ({"plan_id": "premium"}, ATTACH),
    # A plan without cycles, beside one that has some.
    "billing.attach": ({"plan_id": "pack"}, ATTACH),
    "billing.preview_update": ({"plan_id": "pro"}, UPDATE),
    "billing.preview_create_schedule": ({"phases": PHASES}, {"phases": PHASES, "billing_cycle_anchor": "now"}),
    "billing.preview_multi_attach": ({"plans": [{"plan_id": "pack"}]}, {"plans": [{"plan_id": "pro", **TERMS}]}),
    "billing.preview_multi_update": (
        {"updates": [{"plan_id": "pro", "cancel_action": "cancel_end_of_cycle"}]},
        {"updates": [{"plan_id": "pro", "cancel_action": "cancel_end_of_cycle", "proration_behavior": "none"}]},
    ),
    "billing.import": (
        {"billables": [{"plan": IMPORTED}]},
        {"billables": [{"plan": IMPORTED, "link": LINK, "billing_cycle_anchor": ms("2026-03-01")}], "dry_run": True},
    ),
    "billing.setup_payment": ({}, {"plan_id": "pro", "success_url": "https://acme.example/"}),
    "billing.open_customer_portal": ({}, {"return_url": "https://acme.example/"}),
    "licenses.attach": (
        {"plan_id": "seat", "entities": [{"entity_id": "a"}]},
        {"entities": [{"entity_id": "b", "feature_id": "seats", "name": "B"}]},
    ),
    "licenses.release": ({"entity_ids": ["a"]}, {"license_plan_id": "seat"}),
    "licenses.list_assignments": ({}, {"entity_id": "a", "plan_id": "seat", "active": False}),
    "rewards.create": ({"coupon": COUPON}, {"coupon": {**COUPON, "promo_codes": [{"code": "S"}], "plan_ids": ["pro"]}}),
    "sandbox.set_payment_method": ({"payment_method": "success"}, {"payment_method": "declines"}),
    "sandbox.cancel_subscription": ({}, {"entity_id": "a", "at_period_end": True}),
}


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    """Acme with a card and the entity a, on Pro; Premium has all kinds of items and licences, a pack is paid once."""
    shop = Shop(stage)
    shop.opens("2026-04-01", "a")
    shop.plan("seat", 30, monthly("messages", 50), group="licenses")
    shop.plan("pro", 20, monthly("messages", 100))
    items = (monthly("messages", 500), seats(1, 10, "prorate_immediately", "none"), prepaid("words", 0, 5, 100))
    shop.plan("premium", 50, *items, licenses=[{"license_plan_id": "seat", "included": 1}])
    shop.plan("pack", 5, every="one_off", add_on=True)
    shop.attach("pro")
    return shop


@pytest.mark.parametrize("call", CALLS)
def test_junk_in_any_field_is_told(shop: Shop, call: str) -> None:
    needed, optional = CALLS[call]
    junk = itertools.cycle(JUNK)  # each place gets some, and the next place the next
    for name, value in optional.items():
        body = {"customer_id": CUSTOMER, **needed, name: value}
        within = [path for path in paths(body) if re.split(r"[.[]", path)[0] == name]
        for sent in (json.dumps(body), *(written(body, "", path, next(junk)) for path in within for _ in range(2))):
            with transaction.atomic():
                assert_is_told(shop.api.send(call, sent.encode()), f"{call} {name}: {sent[:500]}")
                transaction.set_rollback(True)

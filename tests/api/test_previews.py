"""What previews say: lines, periods, the next cycle, what comes and goes; and that they change nothing."""

from decimal import Decimal
from typing import Any

import pytest

from billing.models import InvoiceLine, Operation
from entities.models import Customer
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid, seats

PREVIEW = {
    "customer_id", "line_items", "subtotal", "total", "currency", "next_cycle", "expand", "incoming", "outgoing", "tax",
    "invoice_credits", "fingerprint",
}  # fmt: skip


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("pro", 20, monthly("messages", 100, amount=0.1))
    shop.plan("premium", 50, monthly("messages", 500, amount=0.1), prepaid("words", 100, 10, 100))
    return shop


def preview(shop: Shop, plan: str, entity: str | None = None, **more: Any) -> Any:
    return shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id=plan, entity_id=entity, **more)


def test_a_preview_names_its_lines_in_order_with_their_periods(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    shop.uses("messages", 150, "a")
    shop.on("2026-04-16")
    shown = preview(shop, "premium", "a", feature_quantities=[{"feature_id": "words", "quantity": 300}])
    assert set(shown) == PREVIEW | {"redirect_to_checkout", "checkout_type"}
    assert [(line["description"], line["total"]) for line in shown["line_items"]] == [
        ("Pro - 50 Messages (from 1 Apr 2026 to 16 Apr 2026) (a)", 5),
        ("Unused Pro - Base Price (from 16 Apr 2026 to 1 May 2026) (a)", -10),
        ("Premium - Base Price (from 16 Apr 2026 to 1 May 2026) (a)", 25),
        ("Premium - 300 Words (from 16 Apr 2026 to 1 May 2026) (a)", 10),
    ]
    assert [line["feature_id"] for line in shown["line_items"]] == ["messages", None, None, "words"]
    assert shown["line_items"][2]["period"] == {"start": ms("2026-04-16"), "end": ms("2026-05-01")}
    assert (shown["subtotal"], shown["total"], shown["currency"]) == (30, 30, "usd")


def test_the_next_cycle_is_what_the_renewal_will_bill(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shown = preview(shop, "premium", feature_quantities=[{"feature_id": "words", "quantity": 300}])["next_cycle"]
    assert (shown["starts_at"], shown["total"]) == (ms("2026-05-01"), 70)
    assert [line["feature_id"] for line in shown["usage_line_items"]] == ["messages"]
    shop.buys("premium", feature_quantities=[{"feature_id": "words", "quantity": 300}])
    shop.on("2026-05-01")
    assert shop.invoices()[0] == shown["total"]


def test_what_comes_and_what_goes_is_named_with_its_time(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("premium", feature_quantities=[{"feature_id": "words", "quantity": 300}])
    shown = preview(shop, "pro")
    (incoming,), (outgoing,) = shown["incoming"], shown["outgoing"]
    assert (incoming["plan_id"], incoming["effective_at"]) == ("pro", ms("2026-05-01"))
    assert outgoing["plan_id"] == "premium"
    assert outgoing["feature_quantities"] == [{"feature_id": "words", "quantity": 300}]
    assert (outgoing["canceled_at"], outgoing["expires_at"]) == (ms("2026-04-01"), ms("2026-05-01"))
    assert (shown["total"], shown["next_cycle"]["total"]) == (0, 20)


@pytest.mark.parametrize(
    ("action", "intent", "total"),
    [
        ("cancel_end_of_cycle", "cancel_end_of_cycle", 0),
        ("cancel_immediately", "cancel_immediately", -20),
        ("uncancel", "uncancel", 0),
    ],
)
def test_an_update_says_what_it_is_about(shop: Shop, action: str, intent: str, total: int) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    body = {"customer_id": CUSTOMER, "plan_id": "pro", "cancel_action": action}
    shown = shop.api.post("billing.preview_update", **body)
    assert set(shown) == PREVIEW | {"intent"}
    assert (shown["intent"], shown["total"]) == (intent, total)


def test_a_preview_changes_nothing_not_even_at_the_processor(shop: Shop) -> None:
    shop.api.post("customers.get_or_create", customer_id=CUSTOMER)
    preview(shop, "premium")
    assert Customer.objects.get().processor_id == ""
    assert not Operation.objects.exists()


def test_an_action_given_the_fingerprint_of_a_preview_refuses_when_the_state_moved(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shown = preview(shop, "premium")
    shop.on("2026-04-02")
    assert preview(shop, "premium")["fingerprint"] == shown["fingerprint"]
    shop.uses("messages", 101)
    body = {"customer_id": CUSTOMER, "plan_id": "premium", "fingerprint": shown["fingerprint"]}
    assert shop.api.refused(409, "billing.attach", **body)["code"] == "state_moved"
    shop.attach("premium", fingerprint=preview(shop, "premium")["fingerprint"])
    cancel = {"customer_id": CUSTOMER, "plan_id": "premium", "cancel_action": "cancel_immediately"}
    shown = shop.api.post("billing.preview_update", **cancel)
    shop.update("premium", cancel_action="cancel_end_of_cycle")
    moved = {**cancel, "fingerprint": shown["fingerprint"]}
    assert shop.api.refused(409, "billing.update", **moved)["code"] == "state_moved"


def test_the_invoice_has_the_lines_of_the_preview(shop: Shop) -> None:
    shop.plan("team", 30, seats(1, 10, "prorate_immediately", "prorate_immediately"), group="t")
    shop.opens("2026-04-01", "a", "b", "c")
    shop.buys("pro")
    shop.uses("messages", 133)
    shop.on("2026-04-11T07:12:34.567")
    for plan in ("premium", "team"):
        shown = preview(shop, plan)
        shop.attach(plan)
        lines = InvoiceLine.objects.filter(invoice__customer__external_id=CUSTOMER).order_by("-invoice", "position")
        newest = [line for line in lines if line.invoice_id == lines[0].invoice_id]
        assert [(line["description"], line["total"]) for line in shown["line_items"]] == [
            (line.description, line.amount) for line in newest
        ]
        assert sum(Decimal(line["total"]) for line in shown["line_items"]) == shown["total"]

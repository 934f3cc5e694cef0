"""Cycles: each boundary once, in order, with what it bills, and what becomes of invoices that can't be collected."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from billing.models import Invoice, LedgerEntry, Operation
from config import clock
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid, seats

D = Decimal


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("pro", 20, monthly("messages", 100, amount=0.1))
    shop.plan("premium", 50, monthly("messages", 500, amount=0.1))
    return shop


def test_missed_boundaries_are_an_invoice_each_at_their_own_instants(shop: Shop) -> None:
    shop.opens("2026-01-31", "a")
    shop.buys("pro", "a")
    shop.uses("messages", 150, "a")
    shop.on("2026-05-15")
    listed = shop.customer("invoices")["invoices"]
    assert [invoice["total"] for invoice in listed] == [20, 20, 25, 20]
    days = ["2026-04-30", "2026-03-31", "2026-02-28", "2026-01-31"]
    assert [invoice["created_at"] for invoice in listed] == [ms(day) for day in days]


def test_a_leap_day_is_a_boundary_every_four_years(shop: Shop) -> None:
    shop.plan("yearly", 200, every="year", group="y")
    shop.opens("2028-02-29")
    shop.buys("yearly")
    ends = []
    for year in range(2029, 2033):
        shop.on(f"{year}-03-01")
        ends.append(shop.customer()["subscriptions"][0]["current_period_end"])
    assert ends == [ms("2030-02-28"), ms("2031-02-28"), ms("2032-02-29"), ms("2033-02-28")]
    assert shop.invoices() == [200] * 5


def test_usage_after_the_boundary_belongs_to_the_next_cycle(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.uses("messages", 300)
    shop.on("2026-05-01")
    shop.uses("messages", 130)
    shop.on("2026-06-01")
    assert shop.invoices() == [23, 40, 20]


def test_yearly_and_monthly_prices_of_a_plan_are_billed_each_in_its_own_interval(shop: Shop) -> None:
    shop.plan("mix", 200, prepaid("words", 0, 10, 100, reset={"interval": "month"}), every="year", group="m")
    shop.opens("2026-04-01")
    assert shop.buys("mix", feature_quantities=[{"feature_id": "words", "quantity": 100}]) == 210
    shop.on("2026-06-15")
    assert shop.invoices() == [10, 10, 210]
    shop.on("2027-04-02")
    assert shop.invoices()[0] == 210
    assert len(shop.invoices()) == 13


def test_a_scheduled_change_is_on_the_invoice_that_ends_the_cycle(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("premium")
    shop.uses("messages", 600)
    shop.attach("pro")
    shop.on("2026-05-02")
    assert shop.invoices() == [30, 50]
    assert shop.left("messages") == 100


def test_a_plan_of_usage_alone_leaves_an_invoice_of_nothing(shop: Shop) -> None:
    shop.plan("metered", None, monthly("words", 10, amount=1), group="m")
    shop.opens("2026-04-01")
    assert shop.buys("metered") == 0
    assert shop.invoices() == []
    shop.on("2026-05-02")
    shop.uses("words", 15)
    shop.on("2026-06-02")
    assert shop.invoices() == [5, 0]


def test_what_can_be_used_while_past_due_and_how_it_recovers(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.card("declines")
    shop.on("2026-05-02")
    assert shop.plans("a") == {"pro": "past_due"}
    assert shop.left("messages", "a") == 100
    assert shop.processor()[0]["status"] == "past_due"
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans("a") == {"pro": "active"}
    assert shop.processor()[0]["status"] == "active"
    refused = shop.api.refused(400, "sandbox.pay_invoice", customer_id=CUSTOMER)
    assert refused["code"] == "nothing_to_pay"


def test_what_is_included_in_a_plan_is_not_refilled_while_it_is_past_due_unless_the_plan_says_so(shop: Shop) -> None:
    shop.plan("strict", 5, monthly("messages", 10), monthly("words", 10, amount=1), group="strict")
    shop.plan("lenient", 5, monthly("messages", 20), group="lenient", config={"ignore_past_due": True})
    shop.opens("2026-04-01", "a", "b")
    shop.buys("strict", "a")
    shop.buys("lenient", "b")
    shop.card("declines")
    shop.on("2026-05-02")
    for entity, feature in [("a", "messages"), ("a", "words"), ("b", "messages")]:
        shop.uses(feature, 4, by=entity)
    shop.on("2026-07-02")
    assert (shop.left("messages", "a"), shop.left("words", "a"), shop.left("messages", "b")) == (6, 10, 20)
    for _ in range(6):
        shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans("a") == {"strict": "active"}
    assert shop.left("messages", "a") == 10
    assert shop.entity("a")["balances"]["messages"]["next_reset_at"] == ms("2026-08-01")


def test_it_stays_past_due_until_the_last_open_invoice_is_paid(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.card("declines")
    shop.on("2026-06-02")
    assert shop.invoices() == [20, 20, 20]
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans() == {"pro": "past_due"}
    shop.api.post("sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans() == {"pro": "active"}


def test_each_scope_renews_on_an_invoice_of_its_own_and_add_ons_share_it(shop: Shop) -> None:
    shop.plan("extra", 5, monthly("words", 10), add_on=True)
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro")
    shop.buys("extra")
    shop.buys("premium", "a")
    shop.buys("extra", "b")
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:3]) == [5, 25, 50]
    assert len(shop.invoices()) == 7


def test_a_subscription_of_its_own_has_a_cycle_of_its_own(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro")
    shop.on("2026-04-11")
    assert shop.buys("premium", "a", new_billing_subscription=True) == 50
    assert shop.entity("a")["subscriptions"][0]["current_period_end"] == ms("2026-05-11")
    shop.on("2026-05-05")
    assert shop.invoices() == [20, 50, 20]


def test_the_forecast_is_what_the_renewal_bills(shop: Shop) -> None:
    shop.plan("team", 30, seats(1, 30), monthly("words", 50, per="seats", amount=1), group="t")
    shop.opens("2026-04-01", "a", "b", "c")
    shop.buys("team")
    shop.uses("words", 60, "b")
    (forecast,) = shop.customer("invoice_previews")["invoice_previews"]
    assert forecast["total"] == 30 + 60 + 10
    assert forecast["invoice_at"] == ms("2026-05-01")
    shop.on("2026-05-01")
    assert shop.invoices()[0] == forecast["total"]


def test_the_clock_turns_forward_only(shop: Shop) -> None:
    shop.opens("2026-04-01")
    body = {"customer_id": CUSTOMER, "now": ms("2026-03-31")}
    assert shop.api.refused(400, "sandbox.set_clock", **body)["code"] == "invalid_request"
    shop.on("2026-04-01")


def test_invoices_are_numbered_without_gaps(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.on("2026-07-02")
    numbers = list(Invoice.objects.order_by("pk").values_list("number", flat=True))
    assert [int(number) for number in numbers] == list(range(1, 9))


def test_run_due_renews_customers_on_the_wall_clock_once(shop: Shop) -> None:
    start = datetime(2026, 1, 31, tzinfo=UTC)
    with clock.frozen(start):
        shop.card("success") if shop.api.post("customers.get_or_create", customer_id=CUSTOMER) else None
        shop.attach("pro")
    with clock.frozen(start + timedelta(days=70)):
        call_command("run_due", verbosity=0, at="2026-03-01T00:00:00+00:00")
        assert len(shop.invoices()) == 2
        for _ in range(2):
            call_command("run_due", verbosity=0)
            assert [invoice.created_at.date().isoformat() for invoice in Invoice.objects.order_by("pk")] == [
                "2026-01-31",
                "2026-02-28",
                "2026-03-31",
            ]
    with pytest.raises(CommandError, match="future"):
        call_command("run_due", at="2100-01-01T00:00:00+00:00")


def test_a_test_clock_keeps_a_customer_out_of_run_due(shop: Shop) -> None:
    shop.opens("2020-04-01")
    shop.buys("pro")
    call_command("run_due", verbosity=0)
    assert shop.invoices() == [20]


def test_every_step_has_its_operation_and_its_ledger_entries(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-05-02")
    assert list(Operation.objects.order_by("pk").values_list("kind", "status")) == [
        ("attach", "done"),
        ("renewal", "done"),
    ]
    assert LedgerEntry.objects.filter(kind="reset", boundary_at="2026-05-01T00:00:00Z").count() == 1

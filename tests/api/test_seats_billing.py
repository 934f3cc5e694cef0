"""What seats cost: in arrears, or when they change, in every way their plan can say."""

from decimal import Decimal

import pytest

from billing.models import SandboxInvoice, VacatedSeat
from tests.selling import CUSTOMER, Shop, monthly, seats

D = Decimal


def team(shop: Shop, up: str, down: str) -> None:
    """Team at 20 with one seat included and more for 50 each, billed when they change."""
    shop.plan("team", 20, seats(1, 50, up, down), monthly("words", 10, per="seats"))
    shop.opens("2026-04-01", "a")
    shop.buys("team")


def quantity(shop: Shop) -> Decimal:
    (subscription,) = shop.processor()
    return Decimal(next(item["quantity"] for item in subscription["items"] if item["feature_id"] == "seats"))


def test_seats_in_arrears_are_billed_by_how_many_there_are_at_the_end(shop: Shop) -> None:
    shop.plan("team", 30, seats(1, 10))
    shop.opens("2026-04-01", "a")
    assert shop.buys("team") == 30
    for entity in ("b", "c", "d"):
        shop.joins(entity)
    shop.leaves("a")
    assert shop.invoices() == [30]
    shop.on("2026-05-02")
    assert shop.invoices() == [50, 30]
    shop.plan("bigger", 60, seats(5, 10))
    assert shop.price("bigger") == D("29.03")
    shop.update("team", cancel_action="cancel_end_of_cycle")
    shop.on("2026-06-02")
    assert shop.invoices()[0] == 20


@pytest.mark.parametrize(
    ("up", "price", "renewal"),
    [
        ("bill_immediately", 50, 70),
        ("prorate_immediately", 25, 70),
        ("prorate_next_cycle", 0, 95),
        ("bill_next_cycle", 0, 70),
    ],
)
def test_one_seat_more_is_billed_as_the_plan_says(shop: Shop, up: str, price: int, renewal: int) -> None:
    team(shop, up, "prorate_immediately")
    shop.on("2026-04-16")
    shop.joins("b")
    assert shop.invoices() == ([price, 20] if price else [20])
    assert quantity(shop) == 2
    shop.on("2026-05-02")
    assert shop.invoices()[0] == renewal


@pytest.mark.parametrize(
    ("down", "price", "in_use", "renewal"),
    [
        ("prorate_immediately", -25, 1, 20),
        ("prorate", -25, 1, 20),
        ("prorate_next_cycle", 0, 1, -5),
        ("none", 0, 2, 20),
        ("no_prorations", 0, 1, 20),
    ],
)
def test_one_seat_less_is_credited_as_the_plan_says(
    shop: Shop, down: str, price: int, in_use: int, renewal: int
) -> None:
    team(shop, "bill_immediately", down)
    shop.joins("b")
    shop.on("2026-04-16")
    shop.leaves("b")
    assert shop.invoices() == ([price] if price else []) + [50, 20]
    assert shop.customer()["balances"]["seats"]["usage"] == in_use
    assert quantity(shop) == 1
    shop.on("2026-05-02")
    assert shop.invoices()[0] == renewal
    assert shop.customer()["balances"]["seats"]["usage"] == 1


def test_a_vacated_seat_is_taken_without_charge_with_what_was_left_of_it(shop: Shop) -> None:
    team(shop, "bill_immediately", "none")
    shop.joins("b")
    shop.uses("words", 4, "b")
    shop.leaves("b")
    shop.joins("c")
    assert shop.invoices() == [50, 20]
    assert shop.left("words", "c") == 6
    assert not VacatedSeat.objects.filter(closed_at=None).exists()
    shop.joins("d")
    assert shop.invoices() == [50, 50, 20]
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 120


def test_seats_that_come_and_go_before_an_invoice_exists_net_out(shop: Shop) -> None:
    team(shop, "prorate_next_cycle", "prorate_next_cycle")
    shop.on("2026-04-16")
    for entity in ("b", "c"):
        shop.joins(entity)
    shop.leaves("b")
    shop.on("2026-05-02")
    assert shop.invoices() == [20 + 50 + 25, 20]


def test_seats_go_along_with_an_upgrade_and_are_credited_with_the_plan(shop: Shop) -> None:
    team(shop, "prorate_immediately", "prorate_immediately")
    shop.plan("bigger", 60, seats(2, 40, "prorate_immediately", "prorate_immediately"))
    for entity in ("b", "c"):
        shop.joins(entity)
    shop.on("2026-04-16")
    assert shop.buys("bigger") == ((60 + 40) - (20 + 100)) / 2
    assert quantity(shop) == 3
    assert shop.changes("bigger", cancel_action="cancel_immediately") == -50


def test_a_vacated_seat_does_not_follow_into_the_next_plan(shop: Shop) -> None:
    team(shop, "bill_immediately", "none")
    shop.plan("bigger", 60, seats(1, 50, "bill_immediately", "none"))
    shop.joins("b")
    shop.joins("c")
    shop.leaves("c")
    assert shop.buys("bigger") == (60 + 50) - (20 + 100)
    assert shop.customer()["balances"]["seats"]["usage"] == 2


def test_a_declined_card_leaves_no_trace_of_the_seat(shop: Shop) -> None:
    team(shop, "bill_immediately", "none")
    shop.card("declines")
    before = shop.customer()
    body = {"customer_id": CUSTOMER, "entity_id": "b", "feature_id": "seats"}
    assert "declined" in shop.api.refused(402, "entities.create", **body)["message"]
    tracked = {"customer_id": CUSTOMER, "feature_id": "seats", "value": 2}
    assert "declined" in shop.api.refused(402, "balances.track", **tracked)["message"]
    assert shop.customer() == before
    assert shop.invoices() == [20]
    assert set(SandboxInvoice.objects.filter(total=50).values_list("status", flat=True)) == {"void"}
    shop.card("success")
    shop.joins("b")
    assert shop.invoices() == [50, 20]


def test_tracked_seats_are_billed_like_entities(shop: Shop) -> None:
    shop.plan("team", 20, seats(0, 10, "prorate_immediately", "prorate_immediately"))
    shop.opens("2026-04-01")
    shop.buys("team")
    shop.on("2026-04-16")
    shop.uses("seats", 8)
    assert shop.invoices() == [40, 20]
    shop.uses("seats", -3)
    assert shop.invoices() == [-15, 40, 20]
    assert quantity(shop) == 5
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 70


def test_seats_cost_nothing_during_a_trial(shop: Shop) -> None:
    trial = {"duration_length": 14, "duration_type": "day", "card_required": True}
    shop.plan("team", 20, seats(1, 50, "bill_immediately", "prorate_immediately"), free_trial=trial)
    shop.opens("2026-04-01", "a")
    shop.attach("team")
    shop.joins("b")
    shop.leaves("a")
    shop.joins("c")
    assert shop.invoices() == [0]
    shop.on("2026-04-16")
    assert shop.invoices() == [70, 0]


def test_deleting_an_entity_ends_its_plans_without_a_credit_and_its_siblings_stay(shop: Shop) -> None:
    shop.plan("pro", 20, monthly("messages", 100, amount=1))
    shop.plan("less", 10, monthly("messages", 10))
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.uses("messages", 300, "a")
    shop.attach("less", "a")
    shop.leaves("a")
    assert shop.invoices() == [20, 20]
    assert [row["entity_id"] for row in shop.processor()] == ["b"]
    shop.joins("a")
    assert shop.plans("a") == {}
    shop.on("2026-05-02")
    assert shop.invoices() == [20, 20, 20]

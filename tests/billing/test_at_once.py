"""Two calls at one moment, in threads with connections of their own: they queue, and each is carried out on its own."""

import threading
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from billing.models import Operation, SandboxInvoice, Subscription, VacatedSeat
from billing.services import audit, customers, multiple, subscriptions
from billing.services.plan_changes.requests import Attach, MultiAttach, ScopedAttach
from config import clock
from config.access import keys
from config.actor import Actor
from entities.errors import CustomerNotFound, EntityNotFound
from entities.subject import Subject
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, seats

PRORATED = ("prorate_immediately", "prorate_immediately")


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    _, secret = keys.create(name="Tests", at=clock.now())
    shop = Shop(Api(secret))
    shop.plan("pro", 20, monthly("messages", 500))
    shop.plan("premium", 50, monthly("messages", 1000))
    shop.plan("team", 20, seats(0, 30, *PRORATED), group="team")
    return shop


def at_once(shop: Shop, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[int]:
    """The statuses of calls about Acme that are all made at one moment."""
    gate, statuses = threading.Barrier(len(calls)), [0] * len(calls)
    secret = shop.api.headers["Authorization"].removeprefix("Bearer ")

    def make(number: int, path: str, body: dict[str, Any]) -> None:
        try:
            gate.wait(10)
            statuses[number] = Api(secret).send(path, {"customer_id": CUSTOMER, **body}).status_code
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=(n, *call)) for n, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return statuses


def books_balance(shop: Shop) -> None:
    """What was invoiced is what the processor took, nothing is left undone, every number is explained."""
    taken = sum((row.total for row in SandboxInvoice.objects.filter(status="paid")), Decimal(0))
    assert sum(shop.invoices()) == taken
    assert not Operation.objects.filter(status=Operation.Status.PENDING).exists()
    assert not [found for progress in audit.prove() for found in progress.found]


def test_twenty_seats_at_once_are_twenty_seats(shop: Shop) -> None:
    shop.opens()
    shop.buys("team")
    shop.on("2026-04-16")
    joining = [("entities.create", {"entity_id": f"e{n}", "feature_id": "seats"}) for n in range(20)]
    assert at_once(shop, joining) == [200] * 20
    assert shop.customer()["balances"]["seats"]["usage"] == 20
    assert Counter(shop.invoices()) == {15: 20, 20: 1}
    books_balance(shop)


def test_the_same_seat_twice_at_once_is_one_seat(shop: Shop) -> None:
    shop.opens()
    shop.buys("team")
    statuses = at_once(shop, [("entities.create", {"entity_id": "ada", "feature_id": "seats"})] * 4)
    assert Counter(statuses) == {200: 1, 409: 3}
    assert shop.invoices() == [30, 20]
    books_balance(shop)


def test_the_same_plan_twice_at_once_is_bought_once(shop: Shop) -> None:
    shop.opens()
    assert Counter(at_once(shop, [("billing.attach", {"plan_id": "pro"})] * 3)) == {200: 1, 409: 2}
    assert shop.invoices() == [20]
    books_balance(shop)


def test_two_plans_of_a_group_at_once_leave_one(shop: Shop) -> None:
    shop.opens()
    statuses = at_once(shop, [("billing.attach", {"plan_id": "pro"}), ("billing.attach", {"plan_id": "premium"})])
    assert statuses == [200, 200]
    assert shop.plans() in ({"premium": "active"}, {"premium": "canceling", "pro": "scheduled"})
    assert sum(shop.invoices()) == 50
    books_balance(shop)


def test_an_upgrade_and_a_cancellation_at_once_are_one_after_the_other(shop: Shop) -> None:
    shop.opens()
    shop.buys("pro")
    shop.on("2026-04-16")
    calls = [
        ("billing.attach", {"plan_id": "premium"}),
        ("billing.update", {"plan_id": "pro", "cancel_action": "cancel_immediately"}),
    ]
    statuses = at_once(shop, calls)
    if shop.plans():
        assert shop.plans() == {"premium": "active"}
    assert statuses[0] == 200
    assert statuses[1] in (200, 404)
    books_balance(shop)


def test_seats_tracked_at_once_are_all_invoiced(shop: Shop) -> None:
    shop.opens()
    shop.buys("team")
    shop.on("2026-04-16")
    statuses = at_once(shop, [("balances.track", {"feature_id": "seats", "value": 1})] * 5)
    assert set(statuses) == {200}
    assert shop.customer()["balances"]["seats"]["usage"] == 5
    assert Counter(shop.invoices()) == {15: 5, 20: 1}
    books_balance(shop)


def test_the_clock_turned_twice_at_once_renews_once(shop: Shop) -> None:
    shop.opens()
    shop.buys("pro")
    now = {"now": 1_777_680_000_000}  # 2 May
    assert at_once(shop, [("sandbox.set_clock", now)] * 3) == [200] * 3
    assert shop.invoices() == [20, 20]
    books_balance(shop)


@pytest.mark.parametrize(("settings", "credited"), [(PRORATED, [-15]), (("prorate_immediately", "none"), [])])
def test_the_same_seat_given_back_twice_at_once_is_given_back_once(
    shop: Shop, settings: tuple[str, str], credited: list[int]
) -> None:
    shop.plan("squad", 20, seats(0, 30, *settings), group="team")
    shop.opens()
    shop.buys("squad")
    shop.joins("ada")
    shop.joins("bob")
    shop.on("2026-04-16")
    before = len(shop.invoices())
    assert Counter(at_once(shop, [("entities.delete", {"entity_id": "ada"})] * 4)) == {200: 1, 404: 3}
    assert shop.invoices()[:-before] == credited
    assert VacatedSeat.objects.count() == 1 - len(credited)
    books_balance(shop)


def test_nothing_is_sold_to_who_left_while_the_call_waited(shop: Shop) -> None:
    shop.opens("2026-04-01", "ada")
    ada = Subject.get(CUSTOMER, "ada")
    acme, at, actor = ada.customer, ada.customer.now(clock.now()), Actor("test")
    shop.leaves("ada")
    with pytest.raises(EntityNotFound):
        subscriptions.attach(subject=ada, request=Attach(plan="pro"), at=at, actor=actor)
    several = MultiAttach(plans=[ScopedAttach(entity_pk=ada.member.pk, attach=Attach(plan="pro"))])
    with pytest.raises(EntityNotFound):
        multiple.attach(customer=acme, request=several, at=at, actor=actor)
    shop.api.post("customers.delete", customer_id=CUSTOMER)
    with pytest.raises(CustomerNotFound):
        subscriptions.attach(subject=Subject(acme), request=Attach(plan="pro"), at=at, actor=actor)
    with pytest.raises(CustomerNotFound):
        customers.delete(customer=acme, at=at, actor=actor)
    assert not Subscription.objects.exists()

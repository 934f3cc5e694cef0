"""Calls on one customer queue, across connections, and wait no longer than they may."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from billing.services.execution import queue
from config import clock
from config.access import keys
from entities.models import Customer
from tests.client import Api

pytestmark = pytest.mark.django_db(transaction=True)


def acme() -> Customer:
    return Customer.objects.create(external_id="acme", created_at=datetime(2026, 4, 1, tzinfo=UTC))


def in_thread(work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_second_call_waits_for_the_first_and_another_customer_does_not() -> None:
    customer, other = acme(), Customer.objects.create(external_id="bob", created_at=clock.now())
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with queue.customer(customer), queue.customer(customer):
            inside.set()
            go_on.wait(10)
            order.append("first")

    def second() -> None:
        with queue.customer(customer):
            order.append("second")

    def elsewhere() -> None:
        with queue.customer(other):
            order.append("elsewhere")

    threads = [in_thread(first)]
    inside.wait(10)
    threads.append(in_thread(second))
    in_thread(elsewhere).join(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert order == ["elsewhere", "first", "second"]


def test_a_call_that_waited_too_long_is_told_to_try_again() -> None:
    customer = acme()
    _, secret = keys.create(name="Tests", at=clock.now())
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with queue.customer(customer):
            inside.set()
            done.wait(10)

    holder = in_thread(hold)
    inside.wait(10)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '200ms'")
    try:
        response = Api(secret).send("sandbox.set_clock", {"customer_id": "acme", "now": 1_800_000_000_000})
    finally:
        done.set()
        holder.join(10)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '10s'")
    assert response.status_code == 429
    assert "lock_already_exists" in response.content.decode()
    assert response["Retry-After"] == "1"


def test_the_turn_is_given_up_when_the_work_fails_in_a_transaction_or_not() -> None:
    customer = acme()

    def fail(block: AbstractContextManager[object]) -> None:
        with block, queue.customer(customer):
            raise ZeroDivisionError

    for block in (transaction.atomic(), nullcontext()):
        with pytest.raises(ZeroDivisionError):
            fail(block)
    entered = threading.Event()

    def enter() -> None:
        with queue.customer(customer):
            entered.set()

    in_thread(enter).join(10)
    assert entered.is_set()

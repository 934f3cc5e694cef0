"""Licences under two calls at once, after a crash, and in any order of dealings."""

import threading
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Balance, Operation
from billing.services import audit
from billing.services.balances import ledger
from billing.services.execution import operations
from billing.services.plan_changes import requests
from billing.services.plan_changes.requests import Attach, Customize, LicenseChange, LicenseQuantity
from config import clock
from config.actor import Actor
from plans.catalog.specs import ItemFilter, ItemSpec, LicenseTerms
from tests.client import Api
from tests.effort import tries
from tests.selling import CUSTOMER, Shop, monthly, ms

SEATS_OF_TWO: dict[str, Any] = {"license_quantities": [{"license_plan_id": "seat", "quantity": 2}]}


def open_shop(api: Api) -> Shop:
    """Acme with two seats and four users."""
    shop = Shop(api)
    shop.opens("2026-04-01", *"abcd")
    shop.plan("seat", 30, monthly("messages", 50), group="licenses")
    shop.plan("team", None, licenses=[{"license_plan_id": "seat", "included": 1}])
    shop.attach("team", **SEATS_OF_TWO)
    return shop


def at_once(api: Api, *calls: tuple[str, dict[str, Any]]) -> list[int]:
    """The statuses of calls made together, in their order."""
    start, statuses = threading.Barrier(len(calls)), [0] * len(calls)

    def run(position: int, call: str, body: dict[str, Any]) -> None:
        try:
            start.wait(10)
            statuses[position] = api.send(call, {"customer_id": CUSTOMER, **body}).status_code
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(position, *call)) for position, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return statuses


def assign(*entities: str) -> tuple[str, dict[str, Any]]:
    return "licenses.attach", {"plan_id": "seat", "entities": [{"entity_id": entity} for entity in entities]}


def numbers() -> tuple[int, int]:
    """(granted, used) of the one live pool."""
    balance = Balance.objects.get(feature__type="license", ended_at=None)
    return int(balance.granted), int(balance.usage)


@pytest.mark.django_db(transaction=True)
def test_the_last_licence_goes_to_one_of_those_who_want_it_at_once(api: Api) -> None:
    open_shop(api)
    api.post("licenses.attach", customer_id=CUSTOMER, plan_id="seat", entities=[{"entity_id": "a"}])
    assert sorted(at_once(api, assign("b"), assign("c"), assign("d"))) == [200, 400, 400]
    assert numbers() == (2, 2)


@pytest.mark.django_db(transaction=True)
def test_an_entity_asked_for_twice_at_once_gets_one(api: Api) -> None:
    open_shop(api)
    assert at_once(api, assign("a"), assign("a")) == [200, 200]
    assert numbers() == (2, 1)


@pytest.mark.django_db(transaction=True)
def test_shrinking_and_assigning_at_once_never_leave_more_assigned_than_there_are(api: Api) -> None:
    open_shop(api)
    shrink = {"plan_id": "team", "license_quantities": [{"license_plan_id": "seat", "quantity": 1}]}
    statuses = at_once(api, assign("a", "b"), ("billing.update", shrink))
    assert statuses in ([200, 409], [400, 200])
    granted, used = numbers()
    assert used <= granted


@pytest.mark.django_db(transaction=True)
def test_releasing_twice_at_once_gives_back_one(api: Api) -> None:
    open_shop(api)
    api.post("licenses.attach", customer_id=CUSTOMER, plan_id="seat", entities=[{"entity_id": "a"}])
    release = ("licenses.release", {"entity_ids": ["a"]})
    assert sorted(at_once(api, release, release)) == [200, 404]
    assert numbers() == (2, 0)


def test_licences_that_were_paid_for_are_there_after_a_crash(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop(api)

    def crash(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(operations, "record", crash)
        with pytest.raises(KeyboardInterrupt):
            shop.update("team", license_quantities=[{"license_plan_id": "seat", "quantity": 5}])
    assert numbers() == (2, 0)
    api.post("licenses.attach", customer_id=CUSTOMER, plan_id="seat", entities=[{"entity_id": one} for one in "abcd"])
    assert numbers() == (5, 4)
    assert shop.invoices() == [90, 30]
    assert not Operation.objects.filter(status=Operation.Status.PENDING).exists()


def test_a_request_with_licences_is_read_back_as_it_was_written() -> None:
    item = ItemSpec(feature="messages", included=Decimal("0.5"), reset_interval="month")
    terms = LicenseTerms(
        has_price=True,
        price_amount=Decimal("12.50"),
        price_interval="month",
        add_items=(item,),
        remove_items=(ItemFilter(feature="words"),),
    )
    request = Attach(
        plan="team",
        licenses=[LicenseQuantity(plan="seat", quantity=5)],
        customize=Customize(upsert_licenses=[LicenseChange(plan="seat", customize=terms)], remove_licenses=["guest"]),
    )
    assert requests.read(requests.written(request), Attach) == request
    assert LicenseTerms.stored(terms.written()) == terms


def test_a_pool_that_says_something_else_than_is_assigned_is_found_and_repaired(api: Api) -> None:
    open_shop(api)
    api.post("licenses.attach", customer_id=CUSTOMER, plan_id="seat", entities=[{"entity_id": "a"}])
    pool = Balance.objects.get(feature__type="license")
    ledger.record([ledger.Change(pool.pk, ledger.Kind.SEAT, usage=Decimal(1))], at=clock.now(), actor=Actor("test"))
    [found] = [one for progress in audit.prove() for one in progress.found]
    assert (found.kind, int(found.shown), int(found.expected)) == (audit.LICENSES, 2, 1)
    audit.repair(found, actor=Actor("repair"))
    assert numbers() == (2, 1)
    assert [one for progress in audit.prove() for one in progress.found] == []


@st.composite
def dealings(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What a customer does: buys and gives up, assigns and releases, lets days pass, loses and regains people."""
    people = st.sampled_from("abcd")
    one = st.one_of(
        st.tuples(st.just("buy"), st.integers(0, 6)),
        st.tuples(st.just("assign"), people),
        st.tuples(st.just("release"), people),
        st.tuples(st.just("leave"), people),
        st.tuples(st.just("join"), people),
        st.tuples(st.just("days"), st.integers(1, 40)),
    )
    return draw(st.lists(one, min_size=4, max_size=12))


@pytest.mark.django_db
@settings(max_examples=tries(6, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dealings())
def test_a_pool_is_what_was_bought_less_what_is_assigned(api: Api, steps: list[tuple[str, Any]]) -> None:
    with transaction.atomic():
        shop = open_shop(api)
        size, held, people, today = 2, set[str](), set("abcd"), date(2026, 4, 1)
        for what, value in steps:
            if what == "buy":
                status = 409 if max(value, 1) < len(held) else 200
                if status == 200:
                    size = max(value, 1)
                wanted = [{"license_plan_id": "seat", "quantity": value}]
                answer = _send(api, "billing.update", plan_id="team", license_quantities=wanted)
            elif what == "assign":
                fits = value in held or len(held) < size
                status = 404 if value not in people else 200 if fits else 400
                call, body = assign(value)
                answer = _send(api, call, **body)
                held |= {value} if status == 200 else set()
            elif what == "release":
                status = 200 if value in held else 404
                answer = _send(api, "licenses.release", entity_ids=[value])
                held -= {value}
            elif what == "leave":
                status = 200 if value in people else 404
                answer = _send(api, "entities.delete", entity_id=value)
                people, held = people - {value}, held - {value}
            elif what == "join":
                status = 409 if value in people else 200
                answer = _send(api, "entities.create", entity_id=value, feature_id="seats")
                people |= {value}
            else:
                today += timedelta(days=value)
                status, answer = 200, _send(api, "sandbox.set_clock", now=ms(today.isoformat()))
            assert answer == status, (what, value)
            assert numbers() == (size, len(held))
        holders = api.post("licenses.list_assignments", customer_id=CUSTOMER)["list"]
        assert {row["entity_id"] for row in holders} == held
        assert [one for progress in audit.prove() for one in progress.found] == []
        assert shop.customer()["licenses"][0]["remaining"] == size - len(held)
        transaction.set_rollback(True)


def _send(api: Api, call: str, **body: Any) -> int:
    status: int = api.send(call, {"customer_id": CUSTOMER, **body}).status_code
    return status

"""Alerts and limits when many use at once, and in any order: exactly once per crossing, as reads show it."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import alerts
from billing.alerts import Alert, Standing, ThresholdType
from billing.models import WebhookMessage
from billing.services.balances import plain
from billing.services.webhooks import endpoints
from billing.services.webhooks.endpoints import Terms
from config import clock
from config.api import decode
from tests.builders import Account, item
from tests.client import Api
from tests.conftest import client
from tests.effort import tries
from tests.webhooks.test_alerts import alert

ALERT, LIMIT = "balances.usage_alert_triggered", "balances.limit_reached"


def listen() -> None:
    endpoints.create("app", Terms("http://127.0.0.1:9/"), at=clock.now())


def at_once(acts: list[Callable[[], Any]]) -> None:
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> None:
        try:
            start.wait()
            act()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def told(kind: str) -> list[Any]:
    bodies = WebhookMessage.objects.filter(type=kind).order_by("pk").values_list("body", flat=True)
    return [decode(body.encode())["data"] for body in bodies]


@pytest.mark.django_db(transaction=True)
def test_entities_that_cross_their_customers_threshold_together_tell_it_once() -> None:
    acme = Account(client())
    members = [f"user_{number}" for number in range(8)]
    acme.join(*members)
    acme.hold(item("summaries", 50, per="seats"))
    listen()
    acme.control(alert(8))
    at_once([lambda member=member: acme.track(1, "summaries", by=member) for member in members])  # type: ignore[misc]
    assert acme.numbers("summaries") == (400, 392, 8)
    assert len(told(ALERT)) == 1


@pytest.mark.django_db(transaction=True)
def test_the_last_unit_of_a_pool_is_told_by_whoever_took_it() -> None:
    acme = Account(client())
    members = [f"user_{number}" for number in range(8)]
    acme.join(*members)
    acme.hold(item("messages", 6))
    listen()
    at_once([lambda member=member: acme.track(1, by=member) for member in members])  # type: ignore[misc]
    assert len(told(LIMIT)) == 1


steps = st.lists(
    st.tuples(
        st.sampled_from(["track", "track", "refund", "set", "lock", "settle", "release"]),
        st.sampled_from(["alice", "bob", ""]),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=8,
)
watched = st.lists(
    st.tuples(st.sampled_from(["alice", ""]), st.integers(0, 40), st.sampled_from(list(ThresholdType))),
    max_size=3,
    unique=True,
)


@pytest.mark.django_db
@settings(max_examples=tries(6, 60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, watched=watched)
def test_whatever_happens_is_told_as_reads_show_it(
    api: Api, steps: list[tuple[str, str, int]], watched: list[tuple[str, int, ThresholdType]]
) -> None:
    plain.forget()
    with transaction.atomic():
        acme = Account(api)
        acme.join("alice", "bob")
        acme.hold(item("messages", 10), item("messages", 10, per="seats"))
        listen()
        for owner in ("alice", ""):
            mine = [alert(most, kind.value)["usage_alerts"][0] for who, most, kind in watched if who == owner]
            acme.control({"usage_alerts": [one | {"feature_id": "messages"} for one in mine]}, of=owner)
        held: list[tuple[str, str]] = []
        for what, who, value in steps:
            before = seen(acme)
            WebhookMessage.objects.all().delete()
            by = act(acme, held, what, who, value)
            assert sorted(map(str, told(ALERT))) == sorted(map(str, expected(watched, before, seen(acme), by)))
        transaction.set_rollback(True)


def act(acme: Account, held: list[tuple[str, str]], what: str, who: str, value: int) -> str:
    """One step; returns who it was for. `held` are the locks that are open, with who took each."""
    if what in ("track", "refund"):
        acme.track(value if what == "track" else -value, by=who)
    elif what == "set":
        acme.set("messages", of=who, usage=value)
    elif what == "lock":
        lock_id = uuid4().hex
        if acme.lock(value, lock_id, by=who)["allowed"]:
            held.append((lock_id, who))
    elif held:
        lock_id, who = held.pop(0)
        more = {"override_value": value} if what == "settle" else {}
        acme.settle(lock_id, "confirm" if what == "settle" else "release", **more)
    return who


def seen(acme: Account) -> dict[str, Standing]:
    return {who: Standing(*stands(acme.balance(of=who))) for who in ("alice", "bob", "")}


def stands(balance: Any) -> tuple[Decimal, Decimal, Decimal]:
    return Decimal(balance["granted"]), Decimal(balance["usage"]), Decimal(balance["remaining"])


def expected(
    watched: list[tuple[str, int, ThresholdType]], before: dict[str, Standing], after: dict[str, Standing], by: str
) -> list[dict[str, Any]]:
    found = []
    for who, most, kind in watched:
        if who in ("", by) and alerts.crossed([Alert("messages", Decimal(most), kind)], before[who], after[who]):
            entity = {"entity_id": who} if who else {}
            told = {"threshold": most, "threshold_type": kind.value}
            found.append({"customer_id": "acme", **entity, "feature_id": "messages", "usage_alert": told})
    return found

"""Many calls at once on the same balances: no unit is lost, doubled or taken below 0, and the books prove it."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from billing.models import Balance, LedgerEntry, UsageEvent
from billing.services import audit, tracking
from billing.services.balances import provisioning
from config import clock
from config.access import keys
from tests.builders import Account, item, limit, ms
from tests.client import Api

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 6


@pytest.fixture
def acme(transactional_db: None) -> Account:
    """Acme, in a database that all threads see."""
    _, secret = keys.create(name="Tests", at=clock.now())
    return Account(Api(secret))


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls give, all started together, each in a thread with a connection of its own."""
    ready = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            ready.wait(timeout=30)
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(timeout=120) for future in [pool.submit(run, call) for call in calls]]


def sent(acme: Account, call: str, body: Any, **headers: str) -> Callable[[], tuple[int, Any]]:
    """A call to be made later; gives status and JSON."""
    secret = acme.api.headers["Authorization"].removeprefix("Bearer ")

    def send() -> tuple[int, Any]:
        response = Api(secret).send(call, body, **headers)
        return response.status_code, response.json()

    return send


def track(acme: Account, value: int = 1, by: str = "", **more: Any) -> Callable[[], tuple[int, Any]]:
    return sent(acme, "balances.track", {"feature_id": "messages", "value": value, **acme.whom(by), **more})


def assert_the_books_are_right(*, floor: bool = True) -> None:
    found = [disagreement for progress in audit.prove() for disagreement in progress.found]
    assert found == [], "\n".join(map(str, found))
    if floor:
        below = [balance for balance in Balance.objects.filter(feature__consumable=True) if balance.remaining < 0]
        assert below == []


def test_calls_on_one_entity_take_exactly_what_there_is(acme: Account) -> None:
    acme.join("alice")
    acme.hold(item("messages", 30), item("messages", 20, per="seats"))
    answers = at_once(*[lambda: [track(acme, 1, "alice")() for _ in range(12)] for _ in range(THREADS)])
    given = sum(part["value"] for answer in answers for status, body in answer for part in body["deductions"])
    assert (given, acme.numbers(of="alice")) == (50, (50, 0, 50))
    assert UsageEvent.objects.count() == THREADS * 12
    assert_the_books_are_right()


def test_of_six_that_want_ten_of_fifty_five_get_it(acme: Account) -> None:
    acme.hold(item("messages", 50))
    answers = at_once(*[track(acme, 10, overage_behavior="reject") for _ in range(6)])
    assert Counter(status for status, _ in answers) == {200: 5, 400: 1}
    assert acme.numbers() == (50, 0, 50)
    assert_the_books_are_right()


def test_checks_that_take_what_they_allow_allow_exactly_what_fits(acme: Account) -> None:
    acme.hold(item("messages", 40))
    body = {"customer_id": "acme", "feature_id": "messages", "required_balance": 2, "send_event": True}
    answers = at_once(*[lambda: [sent(acme, "balances.check", body)() for _ in range(5)] for _ in range(THREADS)])
    allowed = sum(body["allowed"] for answer in answers for _, body in answer)
    assert (allowed, acme.numbers()) == (20, (40, 0, 40))


def test_entities_and_their_customer_drain_shares_and_pool_to_the_last_unit(acme: Account) -> None:
    names = [f"seat-{number}" for number in range(4)]
    acme.join(*names)
    acme.hold(item("messages", 40), item("messages", 10, per="seats"))
    calls = [lambda who=who: [track(acme, 3, who)() for _ in range(10)] for who in (*names, "", "")]
    answers = at_once(*calls)
    assert {status for answer in answers for status, _ in answer} == {200}
    given = sum(part["value"] for answer in answers for _, body in answer for part in body["deductions"])
    assert (given, acme.numbers()) == (80, (80, 0, 80))
    assert_the_books_are_right()


@pytest.mark.parametrize("by", ["", "alice"])
def test_a_track_that_waits_for_a_plan_change_lands_on_the_new_plan(
    acme: Account, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan_id, included in (("small", 10), ("large", 50)):
        acme.plan(plan_id, item("messages", included), item("messages", 5, per="seats"), group="main")
    acme.join("alice")
    acme.attach("small")
    is_stopped, goes_on, start = threading.Event(), threading.Event(), provisioning.start

    def slow_start(**terms: Any) -> Any:
        is_stopped.set()
        goes_on.wait(timeout=10)
        return start(**terms)

    def late_track() -> tuple[int, Any]:
        is_stopped.wait(timeout=10)
        threading.Timer(0.3, goes_on.set).start()
        return track(acme, 12, by)()

    monkeypatch.setattr(provisioning, "start", slow_start)
    change = sent(acme, "billing.attach", {"customer_id": "acme", "plan_id": "large"})
    answers = at_once(change, late_track)
    assert [status for status, _ in answers] == [200, 200]
    assert [part["plan_id"] for part in answers[1][1]["deductions"]] == ["large"] * (2 if by else 1)
    assert acme.numbers() == (55, 43, 12)
    assert_the_books_are_right()


def test_a_usage_limit_is_one_counter_for_all_who_come_at_once(acme: Account) -> None:
    names = [f"seat-{number}" for number in range(THREADS)]
    acme.join(*names)
    acme.hold(item("messages", 50, per="seats"))
    acme.control(limit(25))
    at_once(*[lambda who=who: [track(acme, 2, who)() for _ in range(5)] for who in names])
    assert acme.numbers() == (300, 275, 25)
    assert acme.get()["billing_controls"]["usage_limits"][0]["usage"] == 25


def test_a_reset_that_is_due_happens_once(acme: Account) -> None:
    acme.hold(item("messages", 100, rollover={"max": 1000, "expiry_duration_type": "forever"}))
    acme.track(40)
    acme.set(next_reset_at=ms("2026-01-05"))
    at_once(*[track(acme, 5) for _ in range(THREADS)])
    balance = acme.balance()
    assert (balance["granted"], balance["usage"]) == (160, 5 * THREADS)
    assert [row["granted"] for row in balance["rollovers"]] == [60]
    assert LedgerEntry.objects.filter(kind="reset").count() == 1
    assert_the_books_are_right()


def test_a_hold_is_settled_once(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.lock(30, "call")
    body = {"lock_id": "call", "action": "confirm", "override_value": 50}
    answers = at_once(*[sent(acme, "balances.finalize", body) for _ in range(THREADS)])
    assert Counter(status for status, _ in answers) == {200: 1, 409: THREADS - 1}
    assert acme.numbers() == (100, 50, 50)
    assert_the_books_are_right()


def test_one_lock_id_is_taken_once(acme: Account) -> None:
    acme.hold(item("messages", 100))
    lock = {"enabled": True, "lock_id": "call"}
    body = {"customer_id": "acme", "feature_id": "messages", "required_balance": 10, "lock": lock}
    answers = at_once(*[sent(acme, "balances.check", body) for _ in range(THREADS)])
    assert Counter(status for status, _ in answers) == {200: 1, 409: THREADS - 1}
    assert acme.numbers() == (100, 90, 10)


def test_seats_created_at_once_are_all_there(acme: Account) -> None:
    acme.hold(item("seats", 20), item("messages", 10, per="seats"))
    bodies = [{"customer_id": "acme", "entity_id": f"seat-{n % 8}", "feature_id": "seats"} for n in range(10)]
    answers = at_once(*[sent(acme, "entities.create", body) for body in bodies])
    assert Counter(status for status, _ in answers) == {200: 8, 409: 2}
    assert (acme.numbers("seats"), acme.numbers()) == ((20, 12, 8), (80, 80, 0))
    assert_the_books_are_right()


def test_a_customer_asked_for_at_once_is_created_once(acme: Account) -> None:
    acme.plan("starter", item("messages", 10), auto_enable=True)
    answers = at_once(*[sent(acme, "customers.get_or_create", {"customer_id": "bobs"}) for _ in range(THREADS)])
    assert {status for status, _ in answers} == {200}
    assert Account(acme.api, "bobs").numbers() == (10, 10, 0)


def test_copies_of_one_keyed_call_count_once_alone_and_in_batches(acme: Account) -> None:
    acme.hold(item("messages", 100))
    alone = [track(acme, 5, idempotency_key="k") for _ in range(3)]
    line = {"customer_id": "acme", "feature_id": "messages", "value": 7, "idempotency_key": "b"}
    batches = [sent(acme, "balances.batch_track", [line, line]) for _ in range(3)]
    answers = at_once(*alone, *batches)
    assert {status for status, _ in answers} <= {200, 202, 409}
    assert acme.numbers() == (100, 88, 12)


def test_batches_that_name_the_same_entities_in_another_order_both_count(
    acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.join("alice", "bob")
    acme.hold(item("messages", 100, per="seats"))
    both_have_one, track_item, waited = threading.Barrier(2), tracking._track_item, threading.local()

    def slow_track_item(*args: Any, **terms: Any) -> None:
        track_item(*args, **terms)
        if not hasattr(waited, "once"):
            waited.once = True
            both_have_one.wait(timeout=10)

    monkeypatch.setattr(tracking, "_track_item", slow_track_item)
    lines = [{**acme.whom(who), "feature_id": "messages", "value": 7} for who in ("alice", "bob")]
    answers = at_once(*[sent(acme, "balances.batch_track", some) for some in (lines, lines[::-1])])
    assert [status for status, _ in answers] == [202, 202]
    assert [acme.numbers(of=who) for who in ("alice", "bob")] == [(100, 86, 14)] * 2
    assert_the_books_are_right()


def test_controls_set_at_once_do_not_undo_each_other(acme: Account) -> None:
    acme.offer("messages")
    allowed = {"overage_allowed": [{"feature_id": "messages", "enabled": True}]}
    bodies = [{"customer_id": "acme", "billing_controls": controls} for controls in (limit(5), allowed)]
    at_once(*[sent(acme, "customers.update", body) for body in bodies])
    assert {name for name, entries in acme.get()["billing_controls"].items() if entries} == {
        "usage_limits", "overage_allowed",
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_everything_leaves_the_books_right(acme: Account, seed: int) -> None:
    """Tracks, holds, settings, resets, people coming and going and plans changing, all on one customer."""
    acme.plan("small", item("messages", 60), item("messages", 10, per="seats"), item("seats", 3), group="main")
    acme.plan("large", item("messages", 90), item("credits", 50), item("seats", 9), group="main")
    acme.offer("action3")
    acme.attach("small")
    acme.join("zoe", "adam", "mia")
    acme.control(limit(5000))

    def act(worker: int) -> list[tuple[str, int, Any]]:
        chance, done = random.Random(seed * 100 + worker), []
        for step in range(14):
            call, body = _something(acme, chance, f"{worker}-{step}")
            done.append((call, *sent(acme, call, body)()))
        return done

    answers = [one for done in at_once(*[lambda n=n: act(n) for n in range(THREADS)]) for one in done]
    wrong = [one for one in answers if one[1] >= 500 or one[1] == 429]
    assert wrong == [], f"seed {seed}"
    assert_the_books_are_right(floor=False)
    given = sum(Decimal(str(part["value"])) for _, status, body in answers if status == 200 and "deductions" in body
                for part in body["deductions"])  # fmt: skip
    entries = LedgerEntry.objects.filter(kind__in=["usage", "refund"], event_id__isnull=False, hold_id=None)
    tracked = {event.pk for event in UsageEvent.objects.filter(hold_id=None)}
    assert sum((entry.usage for entry in entries if entry.event_id in tracked), Decimal(0)) == given


def _something(acme: Account, chance: random.Random, name: str) -> tuple[str, Any]:
    who = acme.whom(chance.choice(["", "zoe", "adam", "mia"]))
    choices: Sequence[tuple[str, Any]] = [
        *[("balances.track", {**who, "feature_id": "messages", "value": chance.choice([1, 5, -2])})] * 6,
        ("balances.track", {**who, "event_name": "acted", "value": 2}),
        ("balances.check", {**who, "feature_id": "messages", "required_balance": 3, "lock": {"lock_id": name}}),
        ("balances.finalize", {"lock_id": name.partition("-")[0] + "-0", "action": "release"}),
        ("balances.update", {**who, "feature_id": "messages", "usage": chance.randint(0, 30)}),
        ("balances.update", {**who, "feature_id": "messages", "next_reset_at": ms("2026-01-05")}),
        ("entities.create", {"customer_id": "acme", "entity_id": chance.choice(["zoe", "mia"]), "feature_id": "seats"}),
        ("entities.delete", {"customer_id": "acme", "entity_id": chance.choice(["zoe", "mia"])}),
        ("billing.attach", {"customer_id": "acme", "plan_id": chance.choice(["small", "large"])}),
        ("customers.get", {"customer_id": "acme"}),
    ]
    return chance.choice(choices)

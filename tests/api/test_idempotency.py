"""The same request twice does its work once, however the two come."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpRequest
from django.urls import path
from rest_framework import serializers

from config import api as wire
from config import clock
from config.access import idempotency, keys
from config.access.models import ApiKey, IdempotentResponse
from config.errors import InvalidRequest
from config.urls import urlpatterns as real_urls
from tests.client import Api, read

# The work of these calls is a key made in the database, so that a rollback shows.
_while_working: Callable[[], None] = lambda: None  # noqa: E731


class Work(wire.Endpoint):
    def handle(self, data: Any, request: HttpRequest) -> Any:
        key = ApiKey.objects.create(name="work", hash=str(ApiKey.objects.count()).encode(), created_at=clock.now())
        _while_working()
        if data.get("fail"):
            raise InvalidRequest("It can't be done.")
        if data.get("decline"):
            return wire.reply({"declined": True}, status=402)
        return {"value": data.get("value"), "made": key.pk}


class OrderSerializer(serializers.Serializer[Any]):
    value = wire.QuantityField()


class CheckedWork(Work):
    Input = OrderSerializer


class LongWork(Work):
    keyed = wire.Keyed.LEASE


urlpatterns = [
    path("v1/test.work", Work.as_view()),
    path("v1/test.checked_work", CheckedWork.as_view()),
    path("v1/test.long_work", LongWork.as_view()),
    *real_urls,
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

both_ways = pytest.mark.parametrize("call", ["test.work", "test.long_work"])


def works_done() -> int:
    return ApiKey.objects.filter(name="work").count()


@pytest.fixture
def working() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Sets what happens in the middle of the work."""

    def set_(action: Callable[[], None]) -> None:
        globals()["_while_working"] = action

    yield set_
    set_(lambda: None)


@both_ways
def test_a_repeated_request_gets_the_first_answer_to_the_byte(api: Api, call: str) -> None:
    first = api.send(call, b'{"value": 1.50}', idempotency_key="k1")
    again = api.send(call, b'{ "value" : 1.50 }', idempotency_key="k1")
    assert read(first, 200)["value"] == read(again, 200)["value"]
    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert works_done() == 1


@pytest.mark.parametrize("call", ["test.work", "test.checked_work", "test.long_work"])
def test_the_key_may_come_in_the_body(api: Api, call: str) -> None:
    first = api.post(call, value=1, idempotency_key="k1")
    assert api.post(call, idempotency_key="k1", value=1) == first
    assert works_done() == 1


@both_ways
def test_keys_in_header_and_body_have_nothing_to_do_with_each_other(api: Api, call: str) -> None:
    first = api.post(call, idempotency_key="k1")
    assert read(api.send(call, {}, idempotency_key="k1"), 200) != first
    assert works_done() == 2


@both_ways
def test_with_two_keys_each_holds_for_itself(api: Api, call: str) -> None:
    body = {"value": 1, "idempotency_key": "usage"}
    first = read(api.send(call, body, idempotency_key="attempt-1"), 200)
    for attempt in ("attempt-1", "attempt-2", "attempt-2", ""):
        assert read(api.send(call, body, idempotency_key=attempt), 200) == first
    other = {"value": 2, "idempotency_key": "usage"}
    for attempt in ("attempt-2", "attempt-3"):
        assert read(api.send(call, other, idempotency_key=attempt), 409)["code"] == "idempotency_key_reused"
    # What the second refused has freed the first.
    assert read(api.send(call, {"value": 3}, idempotency_key="attempt-3"), 200) != first
    assert works_done() == 2


@both_ways
@pytest.mark.parametrize(("body", "other"), [({"value": 1}, {"value": 2}), ({}, {"value": None})])
def test_the_same_key_with_another_body_is_refused(api: Api, call: str, body: Any, other: Any) -> None:
    read(api.send(call, body, idempotency_key="k1"), 200)
    assert read(api.send(call, other, idempotency_key="k1"), 409)["code"] == "idempotency_key_reused"
    assert works_done() == 1


def test_the_same_key_on_another_call_is_refused(api: Api) -> None:
    read(api.send("test.work", {}, idempotency_key="k1"), 200)
    assert read(api.send("test.long_work", {}, idempotency_key="k1"), 409)["code"] == "idempotency_key_reused"


def test_keys_of_other_callers_do_not_meet(api: Api) -> None:
    _, secret = keys.create(name="Other", at=clock.now())
    first = read(api.send("test.work", {}, idempotency_key="k1"), 200)
    assert read(Api(secret).send("test.work", {}, idempotency_key="k1"), 200) != first


@both_ways
@pytest.mark.parametrize(("body", "status"), [({"fail": True}, 400), ({"decline": True}, 402)])
def test_a_request_that_failed_frees_its_key(api: Api, call: str, body: Any, status: int) -> None:
    read(api.send(call, body, idempotency_key="k1"), status)
    assert not IdempotentResponse.objects.exists()
    read(api.send(call, {}, idempotency_key="k1"), 200)


def test_work_that_failed_in_its_transaction_is_undone(api: Api) -> None:
    read(api.send("test.work", {"fail": True}, idempotency_key="k1"), 400)
    read(api.send("test.work", {"decline": True}, idempotency_key="k1"), 402)
    assert works_done() == 0


@both_ways
def test_a_client_that_names_a_version_gets_its_documented_conflict(api: Api, call: str) -> None:
    first = api.send(call, {"value": 7}, idempotency_key="k1", x_api_version="2.3.0")
    answer = read(api.send(call, {"value": 7}, idempotency_key="k1", x_api_version="2.3.0"), 409)
    assert answer["code"] == "duplicate_idempotency_key"
    assert answer["env"] == "sandbox"
    assert answer["first_answer"] == {"status": 200, "body": read(first, 200)}


@both_ways
def test_a_key_lives_for_a_day(api: Api, call: str) -> None:
    start = clock.now()
    with clock.frozen(start):
        first = read(api.send(call, {}, idempotency_key="k1"), 200)
    with clock.frozen(start + timedelta(hours=23, minutes=59)):
        assert read(api.send(call, {}, idempotency_key="k1"), 200) == first
    with clock.frozen(start + timedelta(hours=24)):
        assert read(api.send(call, {"value": 1}, idempotency_key="k1"), 200) != first


def test_expired_answers_are_pruned(api: Api) -> None:
    start = clock.now()
    for hours, key in ((0, "old"), (1, "young")):
        with clock.frozen(start + timedelta(hours=hours)):
            read(api.send("test.work", {}, idempotency_key=key), 200)
    assert idempotency.prune(at=start + timedelta(hours=24)) == 1
    assert IdempotentResponse.objects.get().key == "young"


@pytest.mark.parametrize("key", [7, [], {"a": 1}, "x" * 256])
def test_a_key_that_is_none_is_refused(api: Api, key: Any) -> None:
    assert api.refused(400, "test.work", idempotency_key=key)["code"] == "invalid_inputs"


@pytest.mark.parametrize("key", [None, ""])
def test_an_empty_key_is_no_key(api: Api, key: Any) -> None:
    api.post("test.work", idempotency_key=key)
    api.post("test.work", idempotency_key=key)
    assert works_done() == 2


def pausing(started: threading.Event, go_on: threading.Event) -> Callable[[], None]:
    def pause() -> None:
        started.set()
        go_on.wait(10)

    return pause


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


@pytest.mark.django_db(transaction=True)
def test_twenty_copies_at_once_do_the_work_once(api: Api) -> None:
    api.post("test.work")  # warm
    done = works_done()
    threads = [in_thread(lambda: api.send("test.work", {"value": 1}, idempotency_key="k1")) for _ in range(20)]
    for thread, _ in threads:
        thread.join()
    answers = [result[0] for _, result in threads]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in answers) == 1
    assert works_done() == done + 1


@pytest.mark.django_db(transaction=True)
def test_a_copy_waits_for_the_first_and_gives_its_answer(api: Api, working: Any) -> None:
    started, go_on = threading.Event(), threading.Event()
    working(pausing(started, go_on))
    first_thread, first = in_thread(lambda: api.send("test.work", {}, idempotency_key="k1"))
    assert started.wait(10)
    second_thread, second = in_thread(lambda: api.send("test.work", {}, idempotency_key="k1"))
    second_thread.join(0.3)
    assert second_thread.is_alive()
    go_on.set()
    first_thread.join()
    second_thread.join()
    assert second[0].content == first[0].content
    assert works_done() == 1


@pytest.mark.django_db(transaction=True)
def test_a_copy_of_one_that_fails_does_the_work_itself(api: Api, working: Any) -> None:
    started, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def middle() -> None:
        calls.append(1)
        if len(calls) == 1:
            started.set()
            go_on.wait(10)
            raise InvalidRequest("The first one failed.")

    working(middle)
    first_thread, first = in_thread(lambda: api.send("test.work", {}, idempotency_key="k1"))
    assert started.wait(10)
    second_thread, second = in_thread(lambda: api.send("test.work", {}, idempotency_key="k1"))
    go_on.set()
    first_thread.join()
    second_thread.join()
    assert first[0].status_code == 400
    assert second[0].status_code == 200
    assert "Idempotent-Replayed" not in second[0]
    assert works_done() == 1


@pytest.mark.django_db(transaction=True)
def test_a_copy_waits_no_longer_than_the_lock_timeout(api: Api, working: Any) -> None:
    started, go_on = threading.Event(), threading.Event()
    working(pausing(started, go_on))
    thread, _ = in_thread(lambda: api.send("test.work", {}, idempotency_key="k1"))
    assert started.wait(10)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    response = api.send("test.work", {}, idempotency_key="k1")
    assert read(response, 409)["code"] == "idempotency_in_progress"
    assert response["Retry-After"] == "1"
    go_on.set()
    thread.join()
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_copy_of_long_work_is_told_that_it_is_running(api: Api, working: Any) -> None:
    started, go_on = threading.Event(), threading.Event()
    working(pausing(started, go_on))
    thread, first = in_thread(lambda: api.send("test.long_work", {}, idempotency_key="k1"))
    assert started.wait(10)
    assert read(api.send("test.long_work", {}, idempotency_key="k1"), 409)["code"] == "idempotency_in_progress"
    go_on.set()
    thread.join()
    assert api.send("test.long_work", {}, idempotency_key="k1").content == first[0].content
    assert works_done() == 1


def test_long_work_runs_outside_of_a_transaction(api: Api, working: Any, transactional_db: None) -> None:
    seen: list[bool] = []
    working(lambda: seen.append(connection.in_atomic_block))
    read(api.send("test.long_work", {}, idempotency_key="k1"), 200)
    read(api.send("test.work", {}, idempotency_key="k2"), 200)
    assert seen == [False, True]


def test_the_key_of_long_work_that_died_is_free_after_its_lease(api: Api) -> None:
    start = clock.now()
    caller = keys.holder(api.headers["Authorization"].split()[1], at=start)
    assert caller is not None
    body = {"value": 1}
    request_id = idempotency.fingerprint("POST", "/v1/test.long_work", b'{"value":1}')
    with clock.frozen(start):
        idempotency._claim(
            idempotency.Key("k1", idempotency.Place.HEADER), caller, request_id, leased_until=start + idempotency.LEASE
        )
    with clock.frozen(start + idempotency.LEASE - timedelta(seconds=1)):
        refused = read(api.send("test.long_work", body, idempotency_key="k1"), 409)
        assert refused["code"] == "idempotency_in_progress"
    with clock.frozen(start + idempotency.LEASE):
        assert read(api.send("test.long_work", {}, idempotency_key="k1"), 409)["code"] == "idempotency_key_reused"
        read(api.send("test.long_work", body, idempotency_key="k1"), 200)
    assert works_done() == 1


def test_one_that_outlived_its_lease_does_not_overwrite_the_answer_of_its_successor(api: Api, working: Any) -> None:
    start = clock.now()
    answers: list[Any] = []

    def middle() -> None:
        working(lambda: None)
        with clock.frozen(start + idempotency.LEASE * 2):
            answers.append(api.send("test.long_work", {}, idempotency_key="k1"))

    working(middle)
    with clock.frozen(start):
        late = api.send("test.long_work", {}, idempotency_key="k1")
    replay = api.send("test.long_work", {}, idempotency_key="k1")
    assert replay.content == answers[0].content
    assert replay.content != late.content


@pytest.mark.django_db(transaction=True)
def test_an_answer_is_stored_in_the_transaction_of_its_work(api: Api) -> None:
    api.http.raise_request_exception = False
    original = idempotency._keep
    try:
        idempotency._keep = lambda *_: 1 / 0  # type: ignore[assignment]
        read(api.send("test.work", {}, idempotency_key="k1"), 500)
    finally:
        idempotency._keep = original
    assert works_done() == 0
    assert not transaction.get_connection().in_atomic_block
    read(api.send("test.work", {}, idempotency_key="k1"), 200)

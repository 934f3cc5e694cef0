"""Messages on their way: signed, sent at least once, tried again for three days, and never twice at once."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from standardwebhooks import Webhook

from billing.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookMessage, WebhookType
from billing.services import background
from billing.services.webhooks import endpoints, outbox, schedule, sending
from billing.services.webhooks.endpoints import Terms
from billing.services.webhooks.transport import Answer
from config import clock
from tests.webhooks.receiver import Receiver, receiving

pytestmark = pytest.mark.django_db
Status = WebhookDelivery.Status


def tell(cause: str = "one", **data: Any) -> int:
    return outbox.write(WebhookType.LIMIT_REACHED, data, cause=cause, at=clock.now())


def delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.order_by("-pk")[0]


def states() -> list[str]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("status", flat=True))


def test_what_comes_is_signed_by_the_endpoints_secret_and_says_what_was_written_down(receiver: Receiver) -> None:
    receiver.listen()  # verifies with its library
    tell(feature_id="summaries")
    assert sending.deliver_due() == sending.Sent(delivered=1)
    (message,) = receiver.came
    assert (message["type"], message["data"]) == ("balances.limit_reached", {"feature_id": "summaries"})
    assert receiver.paths == ["/hooks?from=us"]
    assert receiver.headers[0]["content-type"] == "application/json"
    assert receiver.ids == [WebhookMessage.objects.get().public_id]
    attempt = WebhookAttempt.objects.get()
    assert attempt.status_code == 200
    assert attempt.answer.startswith("as you say")
    assert len(attempt.answer) <= 1000
    assert sending.deliver_due() == sending.Sent()


def test_a_cause_is_told_once_whoever_tells_it_again(receiver: Receiver) -> None:
    receiver.listen()
    assert [tell("one"), tell("one"), tell("two")] == [1, 0, 1]


def test_a_failed_attempt_is_made_again_ever_later_for_three_days_and_then_given_up(receiver: Receiver) -> None:
    receiver.listen()
    receiver.answers = [500] * 99
    tell()
    began = at = clock.now()
    times: list[datetime] = []
    while states() == [Status.PENDING]:
        times.append(at)
        with clock.frozen(at):
            sending.deliver_due()
            assert len(receiver.came) == len(times)
        due = delivery().next_attempt_at
        at = due + timedelta(milliseconds=1) if due else at
        with clock.frozen(at - timedelta(milliseconds=2)):
            assert sending.deliver_due() == sending.Sent()
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert timedelta(days=3) < at - began < timedelta(days=4)
    assert set(receiver.ids) == {WebhookMessage.objects.get().public_id}
    assert states() == [Status.FAILED]
    assert WebhookEndpoint.objects.get().failing_since == began


def test_the_waits_of_many_are_spread(receiver: Receiver) -> None:
    for attempts, wait in enumerate(schedule.WAITS, 1):
        assert schedule.wait(attempts, 0.0) == wait
        assert wait < (schedule.wait(attempts, 1.0) or wait) <= wait * 1.2
    assert schedule.wait(len(schedule.WAITS) + 1, 0.0) is None


def test_an_endpoint_that_answers_again_is_not_failing_any_more(receiver: Receiver) -> None:
    receiver.listen()
    receiver.answers = [503]
    tell()
    sending.deliver_due()
    assert WebhookEndpoint.objects.get().failing_since is not None
    with clock.frozen(clock.now() + timedelta(minutes=1)):
        sending.deliver_due()
    assert states() == [Status.DELIVERED]
    assert WebhookEndpoint.objects.get().failing_since is None


@pytest.mark.parametrize(("status", "state"), [(204, Status.DELIVERED), (410, Status.FAILED), (302, Status.PENDING)])
def test_gone_is_not_tried_again_and_redirects_are_not_followed(receiver: Receiver, status: int, state: str) -> None:
    receiver.listen()
    receiver.answers = [status]
    tell()
    sending.deliver_due()
    assert states() == [state]
    assert len(receiver.came) == 1


def test_nobody_there_is_a_failed_attempt_with_its_reason(receiver: Receiver) -> None:
    endpoints.create("gone", Terms("http://127.0.0.1:9/"), at=clock.now())
    tell()
    sending.deliver_due()
    assert "refused" in WebhookAttempt.objects.get().error


def test_who_dies_between_sending_and_noting_it_sends_it_again_under_the_same_id(receiver: Receiver) -> None:
    receiver.listen()
    tell()
    with patch.object(sending, "_note", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        sending.deliver_due()
    assert sending.deliver_due() == sending.Sent()  # somebody may still be at it
    with clock.frozen(clock.now() + sending.LEASE):
        assert sending.deliver_due() == sending.Sent(delivered=1)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    assert states() == [Status.DELIVERED]


def test_who_took_longer_than_its_lease_leaves_the_delivery_to_the_next(receiver: Receiver) -> None:
    receiver.listen()
    tell()
    (held,) = sending._claim(clock.now())
    with clock.frozen(clock.now() + sending.LEASE):
        (_,) = sending._claim(clock.now())
    sending._note(held, Answer(1, error="too late"), at=clock.now())
    assert delivery().leased_until is not None
    assert WebhookAttempt.objects.count() == 1


def test_a_slow_endpoint_leaves_room_for_the_others(receiver: Receiver) -> None:
    receiver.listen(public_id="slow")
    for number in range(20):
        tell(str(number))
    receiver.listen(public_id="quick")
    tell("last")
    claimed = sending._claim(clock.now())
    assert sorted(one.endpoint.public_id for one in claimed) == ["quick"] + ["slow"] * sending.AT_ONCE_TO_ONE


def test_after_a_roll_both_secrets_verify_for_a_day(receiver: Receiver) -> None:
    old = receiver.listen().secret
    new = endpoints.roll_secret("app", at=clock.now()).secret
    receiver.secret = ""
    tell()
    sending.deliver_due()
    body = WebhookMessage.objects.get().body
    for secret in (old, new):
        assert Webhook(secret).verify(body, receiver.headers[0])
    assert WebhookEndpoint.objects.get().secrets(clock.now() + timedelta(days=1)) == [new]


def test_what_was_delivered_or_given_up_can_be_sent_again(receiver: Receiver) -> None:
    receiver.listen()
    receiver.answers = [200, 410]
    tell("one")
    tell("two")
    sending.deliver_due()
    assert sorted(states()) == [Status.DELIVERED, Status.FAILED]
    assert sending.send_again(list(WebhookDelivery.objects.all()), at=clock.now()) == 2
    sending.deliver_due()
    assert states() == [Status.DELIVERED] * 2
    assert len(receiver.ids) == 4
    endpoints.update("app", Terms(disabled=True), at=clock.now())
    assert sending.send_again(list(WebhookDelivery.objects.all()), at=clock.now()) == 0


def test_what_waits_for_an_endpoint_that_is_disabled_goes_when_it_is_enabled(receiver: Receiver) -> None:
    receiver.listen()
    tell()
    endpoints.update("app", Terms(disabled=True), at=clock.now())
    assert sending.deliver_due() == sending.Sent()
    endpoints.update("app", Terms(disabled=False), at=clock.now())
    assert sending.deliver_due() == sending.Sent(delivered=1)


@pytest.mark.parametrize("command", ["run_due", "deliver_webhooks"])
def test_cron_sends_what_is_due(receiver: Receiver, command: str) -> None:
    receiver.listen()
    tell()
    call_command(command, stdout=StringIO())
    assert states() == [Status.DELIVERED]


@pytest.fixture
def server(transactional_db: None) -> Iterator[Receiver]:
    """A receiver for a process that serves requests; what it does beside them is over when the test is."""
    with receiving() as receiver, patch.object(background, "is_server", True):
        yield receiver
        for thread in threading.enumerate():
            if thread.name == "webhooks":
                thread.join(10)


def test_a_server_sends_at_once_beside_its_requests(server: Receiver) -> None:
    server.listen()
    with transaction.atomic():
        tell()
        assert server.came == []
    for thread in threading.enumerate():
        if thread.name == "webhooks":
            thread.join(10)
    assert len(server.came) == 1
    assert states() == [Status.DELIVERED]


def test_many_messages_of_one_transaction_wake_one_sender(server: Receiver) -> None:
    server.listen()
    with patch.object(background, "start") as start, transaction.atomic():
        for number in range(5):
            tell(str(number))
    assert start.call_count == 1
    sending._work()
    assert len(server.came) == 5
    assert not sending._wanted.is_set()


@pytest.mark.django_db(transaction=True)
def test_two_senders_never_send_the_same_at_once() -> None:
    with receiving() as receiver:
        receiver.listen()
        for number in range(24):
            tell(str(number))
        start = threading.Barrier(3)

        def send() -> None:
            try:
                start.wait()
                sending.deliver_due()
            finally:
                connection.close()

        senders = [threading.Thread(target=send) for _ in range(3)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(30)
        assert len(receiver.ids) == len(set(receiver.ids)) == 24
        assert states() == [Status.DELIVERED] * 24

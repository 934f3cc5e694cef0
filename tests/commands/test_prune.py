"""The books are append-only, and what is old goes only with the prune command."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import InternalError, OperationalError, connection, transaction
from django.db.utils import IntegrityError

from billing.models import (
    Approval,
    Balance,
    BulkJob,
    BulkRow,
    LedgerEntry,
    ProcessorEvent,
    UsageCounter,
    UsageEvent,
    WebhookDelivery,
    WebhookMessage,
    WebhookType,
)
from billing.services import audit
from billing.services.webhooks import endpoints, outbox
from billing.services.webhooks.endpoints import Terms
from config import clock
from config.access.models import IdempotentResponse
from entities.models import Customer
from tests.builders import Account, item, limit

REFUSALS = (IntegrityError, InternalError, OperationalError)
TODAY = datetime(2028, 6, 15, 12, tzinfo=UTC)


def prune(**options: Any) -> str:
    out = StringIO()
    call_command("prune", stdout=out, **options)
    return out.getvalue()


def books(acme: Account) -> list[Any]:
    return [acme.get(), *(acme.get(who) for who in ("alice", "bob"))]


def disagreements() -> list[audit.Disagreement]:
    return [found for progress in audit.prove() for found in progress.found]


@pytest.fixture
def old(acme: Account) -> Account:
    """Acme, whose people used messages for two years and moved in and out."""
    with clock.frozen(TODAY - timedelta(days=800)):
        acme.join("alice")
        acme.hold(item("messages", 100), item("messages", 50, per="seats"), item("seats", 5))
        acme.control(limit(1000))
        acme.join("bob", "carol")
        acme.set("seats", add_to_balance=-1)
        acme.leave("carol")
    for days in (790, 600, 500, 420, 100, 1):
        with clock.frozen(TODAY - timedelta(days=days)):
            acme.track(7, by="alice")
            acme.track(60, by="bob")
            acme.track(2, "seats")
            acme.track(-1, "seats")
    return acme


@pytest.mark.parametrize("table", ["billing_ledgerentry", "billing_usageevent"])
@pytest.mark.parametrize("statement", ["DELETE FROM {table}", "UPDATE {table} SET actor = 'me'"])
def test_the_database_refuses_to_edit_the_books(acme: Account, table: str, statement: str) -> None:
    acme.hold(item("messages", 10))
    acme.track(3)
    with pytest.raises(REFUSALS, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table=table))
    assert (LedgerEntry.objects.count(), UsageEvent.objects.count()) == (2, 1)


@pytest.mark.parametrize("number", ["granted", "usage", "held", "expired"])
def test_the_database_refuses_to_move_a_balance_without_an_entry(acme: Account, number: str) -> None:
    acme.hold(item("messages", 10))
    # Neither by itself, nor in a transaction in which something else was explained.
    with transaction.atomic():
        acme.track(3)
        with pytest.raises(REFUSALS, match="only together with a ledger entry"), transaction.atomic():
            Balance.objects.update(**{number: 1})
    # What is no number moves freely.
    assert Balance.objects.update(expires_at=None) == 1
    assert acme.numbers() == (10, 7, 3)


def test_the_database_refuses_to_open_a_balance_without_an_entry(acme: Account) -> None:
    acme.hold(item("messages", 10))
    stray = Balance.objects.get()
    stray.pk, stray.granted = None, Decimal(5)
    with transaction.atomic():
        stray.save()
        with pytest.raises(REFUSALS, match="without ledger entries"), transaction.atomic():
            connection.check_constraints()
        transaction.set_rollback(True)
    assert acme.numbers() == (10, 10, 0)


def test_what_is_old_goes_and_every_number_stays(old: Account) -> None:
    with clock.frozen(TODAY):
        before, events = books(old), UsageEvent.objects.count()
        assert disagreements() == []
        told = prune()
        assert books(old) == before
        assert disagreements() == []
        assert UsageEvent.objects.count() == 8
        assert f"Removed {events - 8} events" in told
        assert LedgerEntry.objects.filter(kind="closing").exists()
        # What it did once it does not do again.
        assert "Removed 0 events, 0 ledger entries" in prune()
        # Life goes on.
        old.track(5, by="bob")
        old.leave("bob")
        assert disagreements() == []


def test_entries_are_folded_one_batch_after_another_with_the_same_outcome(old: Account) -> None:
    with clock.frozen(TODAY):
        before = books(old)
        prune(batch=1)
        assert books(old) == before
        assert disagreements() == []
        oldest = TODAY - timedelta(days=400)
        for balance in Balance.objects.all():
            assert LedgerEntry.objects.filter(balance=balance, at__lt=oldest).count() <= 2


def test_a_dry_run_counts_and_changes_nothing(old: Account) -> None:
    with clock.frozen(TODAY):
        entries, events = LedgerEntry.objects.count(), UsageEvent.objects.count()
        told = prune(dry_run=True)
        assert told.startswith("Would remove 16 events, ")
        assert (LedgerEntry.objects.count(), UsageEvent.objects.count()) == (entries, events)


def test_answers_counters_what_processors_sent_and_files_go_too(old: Account) -> None:
    with clock.frozen(TODAY - timedelta(days=2)):
        old.track(1, idempotency_key="k")
    ProcessorEvent.objects.create(
        event_id="evt_1", type="x", body="{}", status="done", received_at=TODAY - timedelta(days=91)
    )
    ProcessorEvent.objects.create(
        event_id="evt_2", type="x", body="{}", status="received", received_at=TODAY - timedelta(days=91)
    )
    long_ago = TODAY - timedelta(days=91)
    for status in ("done", "ready", "running"):
        job = BulkJob.objects.create(kind="customers", status=status, request_id=status, started_at=long_ago)
        BulkRow.objects.create(job=job, number=2, cells={"customer_id": "bob"})
    with clock.frozen(TODAY):
        counters = UsageCounter.objects.count()
        told = prune()
    assert "of 1 processor events and 2 rows of jobs" in told
    assert list(BulkJob.objects.order_by("pk").values_list("status", flat=True)) == ["done", "stopped", "running"]
    assert BulkRow.objects.get().job.status == "running"
    assert "Removed 1 answers to idempotency keys." in told
    assert IdempotentResponse.objects.count() == 0
    assert UsageCounter.objects.count() < counters
    assert list(ProcessorEvent.objects.order_by("pk").values_list("event_id", "body")) == [
        ("evt_1", ""),
        ("evt_2", "{}"),
    ]


def test_what_a_second_person_was_asked_goes_in_the_end(acme: Account) -> None:
    anna, customer = User.objects.create_user("anna"), Customer.objects.get()
    for days, status in ((401, "waiting"), (401, "declined"), (399, "waiting")):
        asked_at = TODAY - timedelta(days=days)
        Approval.objects.create(action="grant", customer=customer, status=status, asked_by=anna, asked_at=asked_at)
    with clock.frozen(TODAY):
        assert " 2 approvals" in prune(dry_run=True)
        assert Approval.objects.count() == 3
        assert " 2 approvals" in prune()
    assert Approval.objects.get().asked_at == TODAY - timedelta(days=399)


def test_old_webhooks_go_unless_they_wait(db: None) -> None:
    app = endpoints.create("app", Terms("http://127.0.0.1:9/"), at=TODAY)
    for days, status in ((91, "delivered"), (91, "failed"), (91, "pending"), (89, "delivered")):
        with clock.frozen(TODAY - timedelta(days=days)):
            outbox.write(WebhookType.TEST, {}, cause=f"{days} {status}", at=TODAY, endpoint_pk=app.pk)
        if status != "pending":
            newest = WebhookDelivery.objects.latest("pk")
            WebhookDelivery.objects.filter(pk=newest.pk).update(status=status, next_attempt_at=None)
    with clock.frozen(TODAY):
        assert "and 2 webhooks" in prune(batch=1)
    assert list(WebhookMessage.objects.order_by("pk").values_list("cause", flat=True)) == ["91 pending", "89 delivered"]


@pytest.mark.parametrize("options", [{"events": 30}, {"entries": 0}, {"bodies": -1}, {"approvals": 30}, {"batch": 0}])
def test_what_is_still_needed_cannot_be_pruned(db: None, options: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="at least"):
        prune(**options)

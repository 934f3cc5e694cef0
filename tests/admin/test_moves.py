"""Holders moved to a version: looked at first, each moved once, whoever dies, disagrees or changes in between."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from psycopg.errors import LockNotAvailable

from billing.models import BulkJob, Invoice, Operation, SandboxInvoice, Subscription
from billing.services import bulk, jobs, subscriptions
from billing.services.collection import payments
from billing.services.due import clock as clocks
from billing.services.plan_changes.requests import Update
from config import clock
from entities.models import Customer
from entities.subject import Subject
from plans.api import in_use
from plans.catalog import versions
from plans.catalog.versions import Editing
from plans.models import Plan
from tests.admin import stories
from tests.admin.stories import NOVEMBER, Staff
from tests.billing.mortality import again, doomed

NAMES = ("acme", "beta", "coda")
DEARER = Decimal(26)


@pytest.fixture(autouse=True)
def holders(db: None, settings: Any) -> list[Customer]:
    """Three customers on Workspace Pro at $20, of which a version at $26 was made since."""
    stories.catalogue()
    made = [stories.customer(name, name.title()) for name in NAMES]
    for customer in made:
        stories.attach(Subject(customer), "workspace_pro")
    edit(DEARER)
    return made


def edit(price: Decimal, *, version: int | None = None) -> None:
    editing = Editing(version=version, disable_version=version is not None)
    versions.update(
        plan_id="workspace_pro", changes={"price_amount": price}, editing=editing, holdings=in_use, at=NOVEMBER
    )


def look(staff: Staff) -> BulkJob:
    """The dry run."""
    url = reverse("admin:plans_plan_move", args=[Plan.objects.get(slug="workspace_pro", version=1).pk])
    assert "v1: 3 on it" in staff.get(url)
    return look_again(staff)


def look_again(staff: Staff) -> BulkJob:
    url = reverse("admin:plans_plan_move", args=[Plan.objects.get(slug="workspace_pro", version=1).pk])
    staff.post(url, status=302, versions=["1"])
    return BulkJob.objects.latest("pk")


def page_of(job: BulkJob) -> str:
    return reverse("admin:job", args=[job.pk])


def confirm(staff: Staff, job: BulkJob, reason: str = "New prices") -> BulkJob:
    staff.post(page_of(job), status=302, confirm="1", reason=reason)
    job.refresh_from_db()
    return job


def held() -> list[int]:
    """The version that each customer holds, in the order of their names."""
    rows = Subscription.objects.live().order_by("customer__external_id")
    return list(rows.values_list("plan__version", flat=True))


def updates() -> int:
    return Operation.objects.filter(kind="update", status="done").count()


def left_out(job: BulkJob) -> dict[str, str]:
    return {row.get("customer_id"): row.why for row in job.rows.filter(state="left_out")}


def test_holders_are_looked_at_then_moved_and_moved_back(staff: Staff) -> None:
    job = look(staff)
    shown = staff.get(page_of(job))
    assert (job.status, held()) == ("ready", [1, 1, 1])
    for text in ("3 hold version 1", "Charged at once: $18.00", "API Requests: 0 of 10,000 used → 10,000 API Requests"):
        assert text in shown
    assert "This field is required" in staff.post(page_of(job), confirm="1", reason=" ")
    confirm(staff, job)
    assert (job.status, job.done, job.failed, held()) == ("done", 3, 0, [2, 2, 2])
    assert {op.reason for op in Operation.objects.filter(kind="update")} == {"New prices"}
    assert "New prices" in LogEntry.objects.latest("pk").change_message
    lines = b"".join(staff.client.get(reverse("admin:job-rows", args=[job.pk])).streaming_content)  # type: ignore[attr-defined]
    assert lines.decode().splitlines()[1].endswith(",6,usd,Done,")
    staff.post(page_of(job), status=302, undo="1")
    back = BulkJob.objects.latest("pk")
    assert (back.undoes, held()) == (job, [2, 2, 2])
    confirm(staff, back, "Too early")
    assert held() == [1, 1, 1]
    assert "Taken back by" in staff.get(page_of(job))
    assert staff.client.post(page_of(job), {"undo": "1"})["Location"] == page_of(back)


@pytest.mark.parametrize("dies_in", ["move", "note"])
def test_who_dies_in_between_leaves_each_holder_moved_once(staff: Staff, monkeypatch: Any, dies_in: str) -> None:
    job = look(staff)
    whole: dict[str, tuple[Any, str]] = {"move": (subscriptions, "update"), "note": (jobs, "_note")}
    owner, name = whole[dies_in]
    call: Callable[..., Any] = getattr(owner, name)
    calls = iter(range(9))

    def dies(*args: Any, **kwargs: Any) -> Any:
        is_second = next(calls) == 1
        answer = call(*args, **kwargs) if not is_second or dies_in == "move" else None
        if is_second:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(owner, name, dies)
    with pytest.raises(KeyboardInterrupt):
        staff.client.post(page_of(job), {"confirm": "1", "reason": "New prices"})
    monkeypatch.setattr(owner, name, call)
    assert held() == [2, 2, 1]
    assert bulk.resume() == 0  # still leased to the one that died
    with clock.frozen(clock.now() + timedelta(minutes=3)):
        assert "Its process died" in staff.get(page_of(job))
        assert bulk.resume() == 1
    job.refresh_from_db()
    assert (job.status, job.done, job.failed, held(), updates()) == ("done", 3, 0, [2, 2, 2], 3)
    assert Invoice.objects.filter(cause="update", total=6).count() == 3


def test_a_move_killed_at_any_step_is_made_once_and_paid_once(staff: Staff) -> None:
    job = look(staff)
    job.rows.exclude(cells__customer_id="acme").delete()
    BulkJob.objects.update(total=1, looked=1)
    jobs.let_run(job, reason="New prices")
    with again(), doomed(None) as life:
        bulk.work(job)
    assert {"after charge_invoice", "after put_subscriptions", "after a commit"} <= set(life.steps)
    for at, step in enumerate(life.steps):
        with again():
            with doomed(at):
                bulk.work(job)
            with clock.frozen(clock.now() + timedelta(minutes=3)):
                bulk.resume()
            job.refresh_from_db()
            assert (job.status, job.done, job.failed, held(), updates()) == ("done", 1, 0, [2, 1, 1], 1), step
            assert list(SandboxInvoice.objects.filter(total=6).values_list("status", flat=True)) == ["paid"], step
            assert Invoice.objects.filter(cause="update", total=6).count() == 1, step


def test_who_changed_since_the_look_is_left_alone_and_listed(staff: Staff, holders: list[Customer]) -> None:
    job = look(staff)
    acme, beta, _ = holders
    clocks.set(customer=acme, at=NOVEMBER + timedelta(days=31), actor=stories.TESTS)  # renewed meanwhile
    payments.set_card(beta, "declines")
    confirm(staff, job)
    assert held() == [1, 1, 2]
    told = left_out(job)
    assert told["acme"] == jobs.MOVED
    assert "waits for the customer" in told["beta"]
    page = staff.get(page_of(job))
    assert jobs.MOVED in page
    assert page.count(jobs.MOVED) == 1


def test_a_version_that_was_edited_since_the_look_moves_nobody(staff: Staff) -> None:
    job = look(staff)
    edit(Decimal(90), version=2)
    confirm(staff, job)
    assert (held(), set(left_out(job).values())) == ([1, 1, 1], {jobs.MOVED})


def test_who_cannot_be_moved_is_told_by_the_look(staff: Staff, holders: list[Customer]) -> None:
    job = jobs.begin(
        kind=jobs.Kind.MOVES,
        title="Move",
        status=jobs.Status.LOOKING,
        rows=[(1, {"subscription": "gone", "customer_id": "x", "from": 1, "to": 2})],
        actor=stories.TESTS,
        at=NOVEMBER,
    )
    bulk.work(job)
    job.refresh_from_db()
    assert (job.status, job.failed, job.done) == ("ready", 1, 1)
    page = staff.get(page_of(job))
    assert "gone" in left_out(job)["x"]
    assert 'name="confirm"' not in page


def test_what_is_much_in_all_waits_for_a_second_person(staff: Staff, member: Any, settings: Any) -> None:
    settings.APPROVAL_ABOVE_AMOUNT = Decimal(17)
    job = confirm(staff, look(staff))
    assert (job.status, held()) == ("waiting", [1, 1, 1])
    member("Billing").post(page_of(job), status=302, approve="1", reason="Agreed")
    job.refresh_from_db()
    assert (job.status, held()) == ("done", [2, 2, 2])


def test_it_is_stopped_after_the_row_at_hand(staff: Staff, monkeypatch: Any) -> None:
    job = look(staff)
    update = subscriptions.update

    def stopped(*args: Any, **kwargs: Any) -> Any:
        assert 'data-live="running"' in staff.get(page_of(job))
        staff.post(page_of(job), status=302, stop="1")
        return update(*args, **kwargs)

    monkeypatch.setattr(subscriptions, "update", stopped)
    confirm(staff, job)
    assert (job.status, job.done, held()) == ("stopped", 1, [2, 1, 1])
    assert "2 not reached" in staff.get(page_of(job))
    assert bulk.resume() == 0
    monkeypatch.setattr(subscriptions, "update", update)
    rest = look_again(staff)
    confirm(staff, rest)
    assert (rest.total, held()) == (2, [2, 2, 2])


def test_a_way_back_that_was_stopped_is_gone_again_without_those_who_went(staff: Staff) -> None:
    job = confirm(staff, look(staff))
    staff.post(page_of(job), status=302, undo="1")
    back = BulkJob.objects.latest("pk")
    staff.post(page_of(back), status=302, stop="1")
    acme = Subscription.objects.live().get(customer__external_id="acme")
    update = Update(subscription_id=acme.public_id, version=1)
    subscriptions.update(subject=acme.subject, request=update, at=NOVEMBER, actor=stories.TESTS)
    assert "Take it back" in staff.get(page_of(job))
    staff.post(page_of(job), status=302, undo="1")
    again = BulkJob.objects.latest("pk")
    assert left_out(again) == {"acme": "It is on that version already."}
    confirm(staff, again)
    assert held() == [1, 1, 1]


def test_whose_customer_is_busy_is_tried_again_later(staff: Staff, monkeypatch: Any) -> None:
    job, update, calls = look(staff), subscriptions.update, iter(range(9))

    def busy(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == 1:
            raise OperationalError("lock timeout") from LockNotAvailable()
        return update(*args, **kwargs)

    monkeypatch.setattr(subscriptions, "update", busy)
    confirm(staff, job)
    assert (job.status, job.done, job.failed, held()) == ("running", 1, 0, [2, 1, 1])
    assert bulk.resume() == 1
    assert held() == [2, 2, 2]


@pytest.mark.parametrize(("group", "status"), [("Read only", 403), ("Support", 403), ("Billing", 302)])
def test_only_billing_moves_holders(staff: Staff, member: Any, group: str, status: int) -> None:
    job, other = look(staff), member(group)
    url = reverse("admin:plans_plan_move", args=[Plan.objects.get(slug="workspace_pro", version=1).pk])
    assert other.client.post(url, {"versions": ["1"]}).status_code == status
    other.get(page_of(job))
    assert other.client.get(reverse("admin:job-rows", args=[job.pk])).status_code == 200
    for verb in ("stop", "confirm", "undo"):
        answer = other.client.post(page_of(job), {verb: "1", "reason": "x"})
        assert (answer.status_code == 403) == (status == 403), verb


def test_a_page_takes_as_many_statements_for_many_rows_as_for_few(staff: Staff) -> None:
    few = look(staff)
    rows = ((n, {"subscription": f"s{n}", "from": 1, "to": 2}) for n in range(1, 3001))
    many = jobs.begin(
        kind=jobs.Kind.MOVES, title="Many", status=jobs.Status.READY, rows=rows, actor=stories.TESTS, at=NOVEMBER
    )
    counts = []
    for job in (few, many):
        with CaptureQueriesContext(connection) as statements:
            staff.get(page_of(job))
        counts.append(len(statements))
    assert counts[0] == counts[1] < 20

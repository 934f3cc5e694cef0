"""Files brought in: every row looked at before, each exactly once, whoever dies in between."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError
from django.urls import reverse

from billing.models import Approval, Balance, BulkJob, LedgerEntry, UsageEvent
from billing.services import bulk, jobs
from billing.services.balances import metering
from billing.services.imports import csv_rows
from config import clock
from config.errors import InvalidInput
from entities.models import Customer, Entity
from entities.subject import Subject
from tests.admin import stories
from tests.admin.stories import Staff

URL = "admin:import"


def bring(staff: Staff, kind: str, content: str) -> BulkJob:
    assert "What will happen" in staff.post(reverse(URL), kind=kind, content=content)
    staff.post(reverse(URL), status=302, kind=kind, content=content, confirm="1", reason="Moving over")
    job = BulkJob.objects.latest("pk")
    if job.status == "ready":  # what costs money is looked at first
        staff.post(reverse("admin:job", args=[job.pk]), status=302, confirm="1", reason="Moving over")
        job.refresh_from_db()
    return job


def left_out(job: BulkJob) -> list[tuple[int, str]]:
    return list(job.rows.filter(state="left_out").order_by("number").values_list("number", "why"))


def test_customers_and_their_seats_are_brought_in_once(staff: Staff) -> None:
    stories.team()
    bring(staff, "customers", "customer_id,name,email\nacme,Other,\nhooli,Hooli,pay@hooli.example\n")
    hooli = Customer.objects.get(external_id="hooli")
    assert (hooli.name, hooli.email, Customer.objects.get(external_id="acme").name) == (
        "Hooli",
        "pay@hooli.example",
        "Acme",
    )
    seats = "customer_id,entity_id,feature_id,name\nacme,alice,seats,A\nacme,carol,seats,Carol\nnone,x,seats,X\n"
    page = staff.post(reverse(URL), kind="entities", content=seats)
    assert "there is no customer none" in page
    assert "1 can't" in page
    job = bring(staff, "entities", seats)
    assert (job.done, job.skipped, job.failed) == (3, 1, 1)
    assert left_out(job) == [(4, "Customer none not found. Create it with customers.get_or_create.")]
    assert Entity.objects.get(external_id="carol").name == "Carol"
    shown = staff.get(reverse("admin:job", args=[job.pk]))
    assert "3 of 3 rows, done" in shown
    assert "1 done, 1 with nothing to do, 1 left out" in shown
    assert "acme · carol · Carol · seats" in shown


def test_usage_and_grants_are_brought_in(staff: Staff) -> None:
    stories.team()
    bring(staff, "usage", "customer_id,entity_id,feature_id,value\nacme,bob,summaries,7\nacme,bob,summaries,0.5\n")
    bob = Entity.objects.get(external_id="bob")
    assert Balance.objects.get(entity=bob).usage == 7.5
    assert UsageEvent.objects.latest("pk").actor == "staff:anna"
    bring(
        staff, "grants", "customer_id,entity_id,feature_id,amount,expires_at\nacme,bob,summaries,20,2026-12-04T18:00Z\n"
    )
    granted = Balance.objects.get(entity=bob, item=None)
    assert granted.granted == 20
    assert f"{granted.expires_at:%d %H:%M}" == "04 18:00"
    assert LedgerEntry.objects.get(balance=granted).reason == "Moving over"


def test_who_dies_in_between_leaves_every_row_counted_once(staff: Staff, monkeypatch: Any) -> None:
    stories.team()
    content = "customer_id,entity_id,feature_id,value\n" + "acme,bob,summaries,1\n" * 5
    monkeypatch.setattr(bulk, "start", lambda job: None)
    job = bring(staff, "usage", content)
    track, calls = metering.track, iter(range(9))

    def dies(*args: Any, **kwargs: Any) -> Any:
        track(*args, **kwargs)
        if next(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(metering, "track", dies)
    with pytest.raises(KeyboardInterrupt):
        bulk.work(job)
    monkeypatch.setattr(metering, "track", track)
    assert UsageEvent.objects.filter(entity__external_id="bob").count() == 2
    assert bulk.resume() == 0  # still leased to the one that died
    with clock.frozen(clock.now() + timedelta(minutes=3)):
        assert bulk.resume() == 1
        assert bulk.resume() == 0
    job.refresh_from_db()
    assert (job.done, job.failed, job.finished_at is None) == (5, 0, False)
    assert UsageEvent.objects.filter(entity__external_id="bob").count() == 5


def test_who_stalls_until_another_took_over_counts_nothing_twice(staff: Staff, monkeypatch: Any) -> None:
    stories.team()
    content = "customer_id,entity_id,feature_id,value\n" + "acme,bob,summaries,1\n" * 5
    monkeypatch.setattr(bulk, "start", lambda job: None)
    job = bring(staff, "usage", content)
    go_through = jobs._go_through

    def stalls(*args: Any) -> None:
        monkeypatch.setattr(jobs, "_go_through", go_through)
        with clock.frozen(clock.now() + timedelta(minutes=3)):
            assert bulk.resume() == 1
        go_through(*args)

    monkeypatch.setattr(jobs, "_go_through", stalls)
    bulk.work(job)
    job.refresh_from_db()
    assert (job.done, job.failed, job.finished_at is None) == (5, 0, False)
    assert UsageEvent.objects.filter(entity__external_id="bob").count() == 5


def test_a_row_whose_commit_fails_is_told_and_the_next_is_not_left_out(staff: Staff, monkeypatch: Any) -> None:
    stories.team()
    content = "customer_id,entity_id,feature_id,value\n" + "acme,bob,summaries,1\n" * 3
    monkeypatch.setattr(bulk, "start", lambda job: None)
    job = bring(staff, "usage", content)
    note, calls = jobs._note, iter(range(9))

    def fails(*args: Any) -> None:
        note(*args)
        if next(calls) == 0:
            raise OperationalError("the commit failed")

    monkeypatch.setattr(jobs, "_note", fails)
    bulk.work(job)
    job.refresh_from_db()
    assert (job.done, job.failed, [line for line, _ in left_out(job)]) == (3, 1, [2])
    assert UsageEvent.objects.filter(entity__external_id="bob").count() == 2


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("customers", "name\nAcme", "customer_id is missing"),
        ("customers", "customer_id,colour\na,red", "The column colour is unknown"),
        ("customers", "customer_id\na,b", "Line 2 has more cells"),
        ("customers", "customer_id\n\n", "no rows"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_line(
    staff: Staff, kind: str, content: str, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        csv_rows.read(kind, content)
    assert problem in staff.post(reverse(URL), status=409, kind=kind, content=content)


@pytest.mark.parametrize(
    ("kind", "cells", "problem"),
    [
        ("usage", "acme,bob,summaries,many", "value is no number"),
        ("usage", "acme,bob,summaries,-1", "more than 0"),
        ("usage", "acme,bob,summaries,NaN", "more than 0"),
        ("usage", "acme,nobody,summaries,1", "there is no entity nobody"),
        ("usage", "acme,bob,nothing,1", "there is no feature nothing"),
        ("usage", "acme,,seats,1", "standing count"),
        ("grants", "acme,bob,summaries,0", "more than 0"),
    ],
)
def test_a_row_that_makes_no_sense_is_left_out_and_told(staff: Staff, kind: str, cells: str, problem: str) -> None:
    stories.team()
    column = "amount" if kind == "grants" else "value"
    content = f"customer_id,entity_id,feature_id,{column}\n{cells}\nacme,bob,summaries,1\n"
    if "standing" not in problem:
        assert problem in staff.post(reverse(URL), kind=kind, content=content)
    job = bring(staff, kind, content)
    assert (job.done, job.failed) == (2, 1)


def test_grants_that_are_much_together_wait_for_a_second_person(staff: Staff, member: Any, settings: Any) -> None:
    settings.APPROVAL_ABOVE_UNITS = 100
    stories.team()
    job = bring(
        staff, "grants", "customer_id,entity_id,feature_id,amount\nacme,bob,summaries,60\nacme,alice,summaries,60\n"
    )
    url = reverse("admin:job", args=[job.pk])
    assert (job.status, Balance.objects.filter(item=None).count()) == ("waiting", 0)
    assert "Somebody else has to look" in staff.get(url)
    assert "asked for this yourself" in staff.post(url, status=409, approve="1", reason="Me")
    bert = member("Billing")
    assert "1 change waits for a second person" in bert.get(reverse("admin:index"))
    answer = bert.client.get(reverse("admin:billing_approval_change", args=[Approval.objects.get().pk]))
    assert answer["Location"] == url
    assert "120 units are given in all" in bert.get(url)
    bert.post(url, status=302, approve="1", reason="Fine")
    bert.post(url, status=409, approve="1", reason="Again")
    assert [row.granted for row in Balance.objects.filter(item=None)] == [60, 60]
    assert LedgerEntry.objects.latest("pk").reason == "Fine (asked by anna: Moving over)"


def test_seats_that_come_and_leave_show_their_price_before_and_wait_where_it_is_much(
    staff: Staff, settings: Any
) -> None:
    stories.catalogue()
    acme = stories.customer()
    stories.attach(Subject(acme), "team")  # one seat is included, each further one costs $30
    content = "customer_id,entity_id,feature_id,name\nacme,carol,seats,Carol\nacme,dave,seats,Dave\nacme,erin,seats,E\n"
    fields: dict[str, Any] = {"kind": "entities", "content": content}
    assert "See what it costs" in staff.post(reverse(URL), **fields)
    staff.post(reverse(URL), status=302, confirm="1", **fields)
    job = BulkJob.objects.latest("pk")
    page = staff.get(reverse("admin:job", args=[job.pk]))
    assert (job.status, Entity.objects.count()) == ("ready", 0)
    assert "Charged at once: $60.00" in page
    settings.APPROVAL_ABOVE_AMOUNT = Decimal(59)
    staff.post(reverse("admin:job", args=[job.pk]), status=302, confirm="1", reason="Moving over")
    job.refresh_from_db()
    assert (job.status, Entity.objects.count()) == ("waiting", 0)
    settings.APPROVAL_ABOVE_AMOUNT = None
    bring(staff, "entities", content)
    job = bring(staff, "removals", "customer_id,entity_id\nacme,carol\nacme,dave\nacme,nobody\n")
    assert [row.amount for row in job.rows.order_by("number")] == [-30, -30, 0]
    assert (job.done, job.skipped, job.failed) == (3, 1, 0)
    assert list(Entity.objects.live().values_list("external_id", flat=True)) == ["erin"]


def test_what_is_declined_gives_nothing(staff: Staff, member: Any, settings: Any) -> None:
    settings.APPROVAL_ABOVE_UNITS = 100
    stories.team()
    job = bring(staff, "grants", "customer_id,entity_id,feature_id,amount\nacme,bob,summaries,600\n")
    url = reverse("admin:job", args=[job.pk])
    member("Support").post(url, status=403, approve="1", reason="x")
    staff.post(url, status=302, decline="1")
    job.refresh_from_db()
    assert (job.status, Approval.objects.get().status) == ("stopped", "declined")
    staff.post(url, status=409, confirm="1", reason="Still")
    assert not Balance.objects.filter(item=None).exists()


@pytest.mark.parametrize(("group", "status"), [("Read only", 403), ("Support", 403), ("Billing", 200)])
def test_only_billing_imports(member: Any, group: str, status: int) -> None:
    staff = member(group)
    staff.get(reverse(URL), status=status)
    staff.post(reverse(URL), status=status, kind="customers", content="customer_id\na")

"""Each group may do what it is for, and nothing else; each action is tried by each group."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.admin.actions.base import REGISTRY, link
from billing.models import BulkJob, Hold, Invoice, LedgerEntry
from billing.services import jobs
from entities.models import Customer
from plans.models import Feature
from tests.admin import stories

SUPPORT = {
    "add-seat", "remove-seat", "rename", "grant", "end-balance", "adjust", "refill", "undo", "finalize-hold",
    "turn-clock", "set-card", "add-seats", "remove-seats", "set-limit", "restore-limit", "transfer",
}  # fmt: skip
MAY: dict[str, set[str]] = {"Read only": set(), "Support": SUPPORT, "Billing": set(REGISTRY)}


def rows(acme: Customer) -> dict[str, Any]:
    alice = stories.entity(acme, "alice")
    hold = Hold.objects.create(
        lock_id="a", customer=acme, feature=Feature.objects.get(slug="summaries"), value=1, created_at=stories.NOVEMBER
    )
    balance = stories.balance(acme, "alice")
    return {
        "entity": alice,
        "subscription": stories.plan_of(acme),
        "balance": balance,
        "hold": hold,
        "invoice": Invoice.objects.filter(customer=acme).first(),
        "entry": LedgerEntry.objects.filter(balance=balance).first(),
    }


@pytest.mark.parametrize("group", list(MAY))
def test_each_action_is_allowed_to_its_groups_only(member: Any, group: str, acme: Customer) -> None:
    found, staff = rows(acme), member(group)
    allowed = set()
    for slug, action in REGISTRY.items():
        url = link(slug, acme, **{name: found[name] for name in action.needs})
        answers = {staff.client.get(url).status_code, staff.client.post(url, {"confirm": "1"}).status_code}
        assert answers <= {200, 409} or answers == {403}, (slug, answers)
        if answers != {403}:
            allowed.add(slug)
    assert allowed == MAY[group]


JOBS: dict[str, set[str]] = {
    "Read only": set(),
    "Support": {"entities", "removals", "grants"},
    "Billing": set(BulkJob.Kind.values),
}


@pytest.mark.parametrize("group", list(JOBS))
def test_each_kind_of_bulk_job_is_let_run_and_stopped_by_its_groups_only(member: Any, group: str) -> None:
    staff, may = member(group), set[str]()
    for kind in jobs.Kind:
        job = jobs.begin(
            kind=kind, title="Many", status=jobs.Status.READY, rows=(), actor=stories.TESTS, at=stories.NOVEMBER
        )
        url = reverse("admin:job", args=[job.pk])
        page, asked = staff.get(url), {"reason": "Because"}
        answers = {
            verb: staff.client.post(url, {verb: "1", **asked}).status_code for verb in ("confirm", "stop", "undo")
        }
        assert "All rows as CSV" in page
        assert set(answers.values()) == {403} or 403 not in answers.values(), (kind, answers)
        if 403 not in answers.values():
            may.add(kind.value)
    assert may == JOBS[group]


@pytest.mark.parametrize("group", list(MAY))
def test_each_group_sees_customers_and_only_the_buttons_it_may_press(member: Any, group: str, acme: Customer) -> None:
    staff = member(group)
    page = staff.get(reverse("admin:entities_customer_change", args=[acme.pk]))
    assert "Alice" in page
    assert ("Attach or change plan" in page) == (group == "Billing")
    assert ("Add a seat" in page) == (group != "Read only")
    assert ("/edit/" in page) == (group != "Read only")
    staff.get(reverse("admin:index"))
    staff.get(reverse("admin:billing_ledgerentry_changelist"))
    staff.get(reverse("admin:find") + "?q=nobody")


@pytest.mark.parametrize(("group", "status"), [("Read only", 403), ("Support", 403), ("Billing", 200)])
def test_plans_are_edited_by_billing_only(member: Any, group: str, status: int) -> None:
    stories.catalogue()
    member(group).get(reverse("admin:plans_plan_add"), status=status)


@pytest.mark.parametrize("group", list(MAY))
def test_no_group_makes_keys_or_staff(member: Any, group: str) -> None:
    staff = member(group)
    staff.get(reverse("admin:access_apikey_add"), status=403)
    staff.get(reverse("admin:auth_user_add"), status=403)


def test_a_stranger_is_asked_to_log_in(db: None, acme: Customer) -> None:
    client = Client(headers={"host": "localhost"})
    for url in (reverse("admin:index"), link("add-seat", acme), reverse("admin:find") + "?q=acme"):
        answer = client.get(url)
        assert answer.status_code == 302
        assert "/login/" in answer["Location"]


def test_staff_without_a_group_are_told_and_find_nothing(member: Any, db: None, acme: Customer) -> None:
    staff = member("Read only")
    answer = staff.client.get(reverse("admin:index"))
    answer.wsgi_request.user.groups.clear()
    assert "no group yet" in staff.get(reverse("admin:index"))
    assert "Nothing matches" in staff.get(reverse("admin:find") + "?q=acme")

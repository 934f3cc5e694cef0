"""Undo with one click: what was just done is made up for by a compensating action, unless things have moved."""

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import Balance, LedgerEntry, Subscription
from billing.services import customers
from billing.services.customers import Details
from entities.models import Customer, Entity
from plans.models import Feature, Plan
from tests.admin import stories
from tests.admin.stories import Staff


def undo_form(staff: Staff, page: str) -> tuple[str, dict[str, str]]:
    """The button that the message on the page offers: where it leads, and what it carries."""
    text = staff.client.get(page).content.decode()
    form = re.search(r'action="([^"]+)" class="sl-inline">(.*?)</form>', text, re.DOTALL)
    assert form, page
    fields = re.findall(r'name="([^"]+)" value="([^"]*)"', form.group(2))
    return unescape(form.group(1)), {name: unescape(value) for name, value in fields}


def undo(staff: Staff, page: str) -> None:
    """Press it."""
    url, fields = undo_form(staff, page)
    answer = staff.client.post(url, fields, follow=True)
    assert answer.redirect_chain, answer.content


def test_a_grant_is_undone(staff: Staff, acme: Customer) -> None:
    alice, summaries = stories.entity(acme, "alice"), Feature.objects.get(slug="summaries")
    fields: dict[str, Any] = {"feature": summaries.pk, "amount": "20", "every": "never"}
    seen = staff.act(link("grant", acme, entity=alice), reason="Pilot", **fields)
    granted = Balance.objects.get(entity=alice, item=None)
    undo(staff, seen.page_after)
    granted.refresh_from_db()
    assert granted.ended_at is not None
    assert LedgerEntry.objects.filter(balance=granted).latest("pk").reason == "Taken back: Pilot"


@pytest.mark.parametrize("answers", [{"how": "add", "amount": "7"}, {"how": "usage", "amount": "0"}, {}])
def test_an_adjustment_and_a_refill_are_undone(staff: Staff, acme: Customer, answers: dict[str, str]) -> None:
    balance = stories.balance(acme, "alice")
    seen = staff.act(link("adjust" if answers else "refill", acme, balance=balance), **answers)
    assert stories.balance(acme, "alice").remaining > 0
    undo(staff, seen.page_after)
    assert stories.balance(acme, "alice").remaining == 0


def test_a_name_a_seat_and_a_cancellation_are_undone(staff: Staff, acme: Customer) -> None:
    bob, held = stories.entity(acme, "bob"), stories.plan_of(acme)
    undo(staff, staff.act(link("rename", acme, entity=bob), name="Robert").page_after)
    assert stories.entity(acme, "bob").name == "Bob"
    seat = {"feature": str(bob.feature_id), "entity_id": "carol", "name": "Carol"}
    undo(staff, staff.act(link("add-seat", acme), **seat).page_after)
    assert not Entity.objects.live().filter(external_id="carol").exists()
    undo(staff, staff.act(link("cancel-plan", acme, subscription=held), when="cancel_end_of_cycle").page_after)
    held.refresh_from_db()
    assert held.ends_at is None


def test_limits_go_back_to_what_they_were(staff: Staff, acme: Customer) -> None:
    summaries = Feature.objects.get(slug="summaries").pk
    for row in (acme, stories.entity(acme, "bob")):
        url = link("set-limit", acme, entity=row if isinstance(row, Entity) else None)
        staff.act(url, feature=summaries, kind="usage", amount="10", window="day")
        staff.act(url, feature=summaries, kind="overage", amount="5")
        row.refresh_from_db()
        before = row.billing_controls
        undo(staff, staff.act(url, feature=summaries, kind="usage", amount="20", window="week").page_after)
        row.refresh_from_db()
        assert row.billing_controls == before
        undo(staff, staff.act(url, feature=summaries, kind="none").page_after)
        row.refresh_from_db()
        assert row.billing_controls == before


def test_limits_that_were_set_anew_meanwhile_stay(staff: Staff, acme: Customer) -> None:
    url = link("set-limit", acme)
    asked = {"feature": str(Feature.objects.get(slug="summaries").pk), "kind": "usage"}
    undo_url, fields = undo_form(staff, staff.act(url, **asked, amount="10", window="day").page_after)
    staff.act(url, **asked, amount="12", window="day")
    assert b"set anew meanwhile" in staff.client.post(undo_url, fields).content
    junk = {**fields, "restored": '{"usage_limits": [5]}', "replaced": fields["replaced"]}
    assert staff.client.post(undo_url, junk).status_code == 409


def test_what_an_application_sets_while_staff_set_a_limit_stays(
    staff: Staff, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = [{"feature_id": "summaries", "enabled": True}]
    update = customers.update

    def after_the_application(**asked: Any) -> Customer:
        details = Details({"billing_controls": {"overage_allowed": allowed}})
        update(customer=acme, details=details, new_id=None)
        return update(**asked)

    acme.billing_controls = {"overage_allowed": []}
    acme.save(update_fields=["billing_controls"])
    monkeypatch.setattr(customers, "update", after_the_application)
    asked = {"feature": str(Feature.objects.get(slug="summaries").pk), "kind": "usage"}
    staff.act(link("set-limit", acme), **asked, amount="10", window="day")
    acme.refresh_from_db()
    assert acme.billing_controls["overage_allowed"] == allowed
    assert acme.billing_controls["usage_limits"]


def test_a_free_plan_is_undone_in_one_click(staff: Staff) -> None:
    globex = stories.workspaces()
    lab = stories.member_of(globex, "lab", "workspaces")
    free = Plan.objects.get(slug="workspace_free").pk
    undo(staff, staff.act(link("attach-plan", globex, entity=lab), plan=free).page_after)
    assert not Subscription.objects.live().filter(entity=lab).exists()


def test_a_plan_that_waits_is_undone_and_the_one_before_goes_on(staff: Staff) -> None:
    globex = stories.workspaces()
    held = stories.plan_of(globex, "workspace_b")
    free, url = Plan.objects.get(slug="workspace_free").pk, link("attach-plan", globex, entity=held.entity)
    undo(staff, staff.act(url, plan=free).page_after)
    held.refresh_from_db()
    assert held.ends_at is None
    assert Subscription.objects.current_or_scheduled().filter(entity=held.entity).get() == held


def test_a_paid_plan_is_put_right_with_credit_shown_in_money_first(staff: Staff) -> None:
    globex = stories.workspaces()
    entity = stories.entity(globex, "workspace_a")
    pro, url = Plan.objects.get(slug="workspace_pro").pk, link("attach-plan", globex, entity=entity)
    seen = staff.act(url, plan=pro)
    assert "Cancel Workspace Pro now: what is paid and not used is credited." in seen.text
    assert "Then attach Workspace Free again: it starts fresh." in seen.text
    undo_url, fields = undo_form(staff, seen.page_after)
    shown = staff.client.post(undo_url, fields).content.decode()
    assert "Credited now" in shown
    assert "−$20.00" in shown
    assert stories.plan_of(globex, "workspace_a").plan.slug == "workspace_pro"


def test_what_was_done_earlier_is_undone_from_the_audit_log(staff: Staff, acme: Customer) -> None:
    staff.act(link("adjust", acme, balance=stories.balance(acme, "bob")), how="take", amount="10")
    stories.use(acme, "bob", "summaries", 1)
    url, fields = undo_form(staff, reverse("admin:admin_logentry_change", args=[LogEntry.objects.latest("pk").pk]))
    shown = staff.client.post(url, {**fields, "preview": "1"}).content.decode()
    assert '<ins class="sl-is">49</ins>' in shown
    staff.act(url)
    assert stories.balance(acme, "bob").remaining == 49


def test_what_has_moved_meanwhile_is_shown_instead_of_undone(staff: Staff, acme: Customer) -> None:
    seen = staff.act(link("adjust", acme, balance=stories.balance(acme, "bob")), how="take", amount="10")
    url, fields = undo_form(staff, seen.page_after)
    stories.use(acme, "bob", "summaries", 1)
    assert b"Things have moved" in staff.client.post(url, fields).content
    assert stories.balance(acme, "bob").remaining == 39

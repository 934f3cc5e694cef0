"""What forms change is told before and after, in the audit log and beneath the form; secrets never."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import Operation
from config import journal
from config.access.models import ApiKey
from plans.models import Feature, Plan
from tests.admin import stories
from tests.admin.stories import Staff
from tests.admin.test_catalogue import as_posted

AUDIT = "admin:admin_logentry_changelist"


def newest() -> journal.Done:
    return journal.told(LogEntry.objects.latest("pk"))


def told() -> list[str]:
    return [str(one) for one in newest().movements]


def test_who_changed_a_plans_price_and_what_it_was_before(staff: Staff) -> None:
    stories.team()
    held = Plan.objects.get(slug="team")
    summaries = Feature.objects.get(slug="summaries").pk
    changes: dict[str, Any] = {"price_amount": "35", f"item_{summaries}": {"included": "60"}}
    staff.post(reverse("admin:plans_plan_change", args=[held.pk]), status=302, **as_posted(held, **changes))
    assert told() == ["Price amount: 30 → 35", "Team: Meeting Summaries, included: 50 → 60"]
    assert (newest().title, newest().staff) == ("Plan changed", "anna")
    assert "Price amount: 30 → 35" in staff.get(reverse(AUDIT))
    for version in Plan.objects.filter(slug="team"):
        page = staff.get(reverse("admin:plans_plan_change", args=[version.pk]))
        assert 'Price amount: <del class="sl-was">30</del> → <ins class="sl-is">35</ins>' in page


def test_items_that_come_and_go_are_told(staff: Staff) -> None:
    stories.catalogue()
    row = Plan.objects.get(slug="workspace_pro")
    fields = as_posted(row, name=row.name) | {"items-0-DELETE": "on"}
    staff.post(reverse("admin:plans_plan_change", args=[row.pk]), status=302, **fields)
    assert "Workspace Pro: API Requests: there → removed" in told()


def test_a_customers_name_is_told_on_its_page_too(staff: Staff) -> None:
    acme = stories.customer()
    fields = {"external_id": "acme", "name": "Acme Inc", "email": acme.email, "metadata": '{"crm": "77"}'}
    staff.post(reverse("admin:entities_customer_edit", args=[acme.pk]), status=302, **fields)
    assert "Name: Acme → Acme Inc" in told()
    assert "Metadata: – → crm: 77" in told()
    assert "Name: Acme → Acme Inc" in staff.get(reverse("admin:entities_customer_change", args=[acme.pk]))


def test_what_is_archived_and_revoked_is_told(staff: Staff) -> None:
    stories.catalogue()
    plan = Plan.objects.get(slug="team")
    for verb, change in (("archive", "Live → Archived"), ("bring_back", "Archived → Live")):
        fields: dict[str, Any] = {"action": verb, "_selected_action": plan.pk}
        staff.post(reverse("admin:plans_plan_changelist"), status=302, **fields)
        assert told() == [f"Status: {change}"]
    staff.post(reverse("admin:access_apikey_add"), status=302, name="shop", scope="write")
    fields = {"action": "revoke", "_selected_action": ApiKey.objects.get().pk}
    staff.post(reverse("admin:access_apikey_changelist"), status=302, **fields)
    assert told() == ["Status: In use → Revoked"]


def test_rights_are_told_and_passwords_never(staff: Staff) -> None:
    fields = {
        "username": "bert",
        "password1": "correct horse 9",
        "password2": "correct horse 9",
        "usable_password": "true",
    }
    staff.post(reverse("admin:auth_user_add"), status=302, **fields)
    assert "correct horse 9" not in LogEntry.objects.latest("pk").change_message
    bert, billing = User.objects.get(username="bert"), Group.objects.get(name="Billing")
    rights = {"username": "bert", "is_active": "on", "is_staff": "on", "groups": billing.pk}
    joined = {"date_joined_0": "2026-11-01", "date_joined_1": "00:00:00"}
    staff.post(reverse("admin:auth_user_change", args=[bert.pk]), status=302, **rights, **joined)
    assert "Groups: – → Billing" in told()
    assert "Staff status: no → yes" in told()
    assert bert.password not in "".join(LogEntry.objects.values_list("change_message", flat=True))


@pytest.mark.parametrize("junk", ["", "no JSON", "[]", '[{"changed": {"fields": ["Name"]}}]', "{}", "5"])
def test_entries_of_any_origin_can_be_read(staff: Staff, junk: str) -> None:
    user = User.objects.get()
    entry = LogEntry.objects.create(user=user, object_repr="x", action_flag=2, change_message=junk)
    staff.get(reverse(AUDIT))
    staff.get(reverse("admin:admin_logentry_change", args=[entry.pk]))


def test_what_machines_keep_is_shown_without_their_punctuation(staff: Staff) -> None:
    acme = stories.team()
    operation = Operation.objects.filter(customer=acme, kind="attach").latest("pk")
    page = staff.get(reverse("admin:billing_operation_change", args=[operation.pk])).split("<main")[-1]
    assert "<dt>Plan</dt><dd>team</dd>" in page
    assert '{"' not in page.split('id="content-main"')[-1].split("<script")[0]


def test_an_operation_by_hand_leads_to_its_entry_in_the_audit_log(staff: Staff) -> None:
    globex = stories.workspaces()
    entity = stories.entity(globex, "workspace_a")
    pro = str(Plan.objects.get(slug="workspace_pro").pk)
    staff.act(link("attach-plan", globex, entity=entity), plan=pro)
    entry = LogEntry.objects.latest("pk")
    page = staff.get(reverse("admin:entities_entity_change", args=[entity.pk]))
    assert f'{reverse("admin:admin_logentry_change", args=[entry.pk])}">Plan attached: Workspace Pro' in page

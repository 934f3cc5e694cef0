"""What concerns many at once: seats from a list, holders moved to a version, exports, usage over time."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import Approval, Invoice, ProcessorEvent, Subscription
from billing.services.collection import payments
from config import clock
from config.admin import Exported
from entities.models import Customer, Entity
from plans.models import Feature, Plan
from tests.admin import stories
from tests.admin.stories import NOVEMBER, Staff


def crowd(lines: str) -> dict[str, Any]:
    return {"feature": Feature.objects.get(slug="seats").pk, "lines": lines}


def test_many_seats_are_added_from_a_list(staff: Staff, acme: Customer) -> None:
    seen = staff.act(link("add-seats", acme), **crowd('carol,Carol\nalice,Alice\n\n"dave","Dave, the second"\n'))
    assert "2 added to Acme; 1 there already" in seen.text
    assert "is there already" in seen.text
    assert "Each is billed" in seen.text
    names = Entity.objects.live().filter(customer=acme).values_list("name", flat=True)
    assert set(names) == {"Alice", "Bob", "Carol", "Dave, the second"}


def test_many_seats_are_removed_from_a_list(staff: Staff, acme: Customer) -> None:
    url = link("remove-seats", acme)
    seen = staff.act(url, lines="bob\nnobody")
    assert "1 removed from Acme" in seen.text
    assert "name nobody who is there" in seen.text
    assert [row.external_id for row in Entity.objects.live().filter(customer=acme)] == ["alice"]
    assert "None of them is there" in staff.post(url, status=409, lines="bob")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (",Nobody", "Line 1 has no id"),
        ("carol\ncarol", "Line 2 repeats the id carol"),
        ("x" * 256, "Line 1 is too long"),
        ("\n".join(f"seat_{n}" for n in range(10_001)), "at most 10,000 at once"),
    ],
)
def test_a_list_with_a_mistake_is_refused_by_its_line(staff: Staff, lines: str, problem: str, acme: Customer) -> None:
    assert problem in staff.post(link("add-seats", acme), **crowd(lines))


def test_a_card_that_is_declined_leaves_those_out_and_says_so(staff: Staff, acme: Customer) -> None:
    payments.set_card(acme, "declines")
    page = staff.get(staff.act(link("add-seats", acme), **crowd("carol\ndave")).page_after)
    assert "0 done, 0 with nothing to do, 2 left out" in page
    assert "declined" in page


def test_what_was_added_from_a_list_is_taken_back_and_added_again(staff: Staff, acme: Customer) -> None:
    url = staff.act(link("add-seats", acme), **crowd("carol,Carol\ndave,Dave")).page_after
    for there in ({"alice", "bob"}, {"alice", "bob", "carol", "dave"}):
        back = staff.client.post(url, {"undo": "1"})["Location"]
        assert "credited: $60.00" in staff.get(back) or "Charged at once: $60.00" in staff.get(back)
        staff.post(back, status=302, confirm="1", reason="Not yet")
        assert set(Entity.objects.live().filter(customer=acme).values_list("external_id", flat=True)) == there
        url = back
    assert Entity.objects.live().get(external_id="dave").name == "Dave"


def test_many_seats_that_cost_much_together_wait_for_a_second_person(
    staff: Staff, settings: Any, acme: Customer
) -> None:
    settings.APPROVAL_ABOVE_AMOUNT = 50
    staff.act(link("add-seats", acme), **crowd("carol\ndave"))
    assert Approval.objects.get().action == "add-seats"
    assert not Entity.objects.filter(external_id="carol").exists()


def test_lists_are_taken_along_as_csv(staff: Staff, acme: Customer) -> None:
    acme.name = "=HYPERLINK()"
    acme.save()
    exported = [model for model, page in admin.site._registry.items() if isinstance(page, Exported)]
    assert len(exported) == 8
    for model in exported:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        keys = list(model._default_manager.values_list("pk", flat=True))
        answer = staff.client.post(
            reverse(f"admin:{name}_changelist"), {"action": "export", "_selected_action": keys, "select_across": "1"}
        )
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        assert answer["Content-Type"] == "text/csv"
        assert len(text.splitlines()) >= 2, name
        assert ("acme" in text) == (model._meta.app_label != "plans"), name
        assert ",=" not in text


def test_usage_is_drawn_and_broken_down(staff: Staff, acme: Customer) -> None:
    stories.use(acme, "bob", "summaries", 3)
    url = reverse("admin:usage")
    with clock.frozen(NOVEMBER + timedelta(days=2)):
        page = staff.get(f"{url}?feature=summaries&days=30&customer=acme&by=$entity_id")
    assert "53 in all" in page
    assert "<td>bob</td>" in page
    assert "no feature is metered" not in page
    assert "must be properties" in staff.get(f"{url}?feature=summaries&days=30&by=nonsense")
    staff.get(f"{url}?feature=nothing&days=abc")


def test_an_invoice_that_waits_for_3d_secure_is_voided(staff: Staff) -> None:
    globex = stories.workspaces()
    payments.set_card(globex, "requires_authentication")
    url = link("attach-plan", globex, entity=stories.entity(globex, "workspace_a"))
    staff.act(url, plan=Plan.objects.get(slug="workspace_pro").pk)
    invoice = Invoice.objects.filter(customer=globex).payable().get()
    assert stories.plan_of(globex, "workspace_a").plan.slug == "workspace_free"
    assert "Void" in staff.get(reverse("admin:billing_invoice_change", args=[invoice.pk]))
    staff.act(link("void-invoice", globex, invoice=invoice))
    invoice.refresh_from_db()
    assert invoice.status == Invoice.Status.VOID
    assert "This invoice is void" in staff.get(link("void-invoice", globex, invoice=invoice), status=409)


def test_the_invoice_of_a_renewal_is_not_voided(staff: Staff, acme: Customer) -> None:
    payments.set_card(acme, "declines")
    staff.act(link("turn-clock", acme), to="2026-12-02T00:00")
    invoice = Invoice.objects.filter(customer=acme).payable().get()
    assert "granted already" in staff.get(link("void-invoice", acme, invoice=invoice), status=409)
    assert Subscription.objects.get(customer=acme).status == Subscription.Status.PAST_DUE


def test_a_limit_is_set_replaced_and_taken_away(staff: Staff, acme: Customer) -> None:
    bob = stories.entity(acme, "bob")
    url = link("set-limit", acme, entity=bob)
    summaries = Feature.objects.get(slug="summaries").pk
    fields: dict[str, Any] = {"feature": summaries, "kind": "usage", "amount": "10", "window": "day"}
    seen = staff.act(url, **fields)
    assert "at most 10 a day" in seen.text
    stories.use(acme, "bob", "summaries", 10)
    page = staff.get(reverse("admin:entities_entity_change", args=[bob.pk]))
    assert "a limit stops it" in page
    staff.act(url, **{**fields, "amount": "20"})
    bob.refresh_from_db()
    assert [entry["limit"] for entry in bob.billing_controls["usage_limits"]] == ["20"]
    staff.act(url, feature=summaries, kind="overage", amount="5")
    staff.act(url, feature=summaries, kind="none")
    bob.refresh_from_db()
    assert (bob.billing_controls["usage_limits"], bob.billing_controls["spend_limits"]) == ([], [])
    assert "changes nothing" in staff.post(url, status=409, feature=summaries, kind="none")
    assert "Say how much" in staff.post(url, status=409, feature=summaries, kind="usage")


def test_a_limit_of_the_customer_is_set(staff: Staff, acme: Customer) -> None:
    summaries = Feature.objects.get(slug="summaries").pk
    staff.act(link("set-limit", acme), feature=summaries, kind="usage", amount="99", window="month")
    acme.refresh_from_db()
    assert acme.billing_controls["usage_limits"][0]["limit"] == "99"


def test_events_of_the_processor_that_failed_are_tried_again(staff: Staff, member: Any) -> None:
    failed = ProcessorEvent.objects.create(
        event_id="evt_1", type="invoice.paid", body="{}", status=ProcessorEvent.Status.FAILED, received_at=NOVEMBER
    )
    url, fields = reverse("admin:billing_processorevent_changelist"), {"action": "process_again"}
    answer = staff.client.post(url, {**fields, "_selected_action": failed.pk}, follow=True)
    assert "0 done, 0 with nothing to do, 1 left out" in answer.content.decode()
    failed.refresh_from_db()
    assert failed.attempts == 1
    assert "Process again" in staff.get(url)
    assert "Process again" not in member("Support").get(url)

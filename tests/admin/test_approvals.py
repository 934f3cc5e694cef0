"""What is large waits for a second person, who sees it as it would be now; refunds and transfers can be large."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import Approval, Balance, Invoice, LedgerEntry, Operation
from config import journal
from entities.models import Customer
from plans.models import Feature
from tests.admin import stories
from tests.admin.stories import Staff


@pytest.fixture(autouse=True)
def _limits(settings: Any) -> None:
    settings.APPROVAL_ABOVE_UNITS, settings.APPROVAL_ABOVE_AMOUNT = Decimal(100), Decimal(20)


def ask(staff: Staff, acme: Customer, amount: str) -> None:
    fields: dict[str, Any] = {"feature": Feature.objects.get(slug="summaries").pk, "amount": amount,
                              "expires_at": "2026-11-06T23:59"}  # fmt: skip
    staff.client.cookies["zone"] = "Asia/Tokyo"
    staff.act(link("grant", acme, entity=stories.entity(acme, "alice")), reason="Pilot", **fields)


def granted() -> int:
    return Balance.objects.filter(item=None).count()


def test_a_large_grant_waits_for_a_second_person_and_a_small_one_does_not(
    staff: Staff, member: Any, acme: Customer
) -> None:
    ask(staff, acme, "100")
    assert (granted(), Approval.objects.count()) == (1, 0)
    ask(staff, acme, "500")
    assert granted() == 1
    asked = Approval.objects.get()
    url = reverse("admin:decide", args=[asked.pk])
    bert = member("Billing")
    assert "1 change waits for a second person" in bert.get(reverse("admin:index"))
    seen = bert.preview(url)
    assert "anna asked for this" in seen.text
    assert "gets 500 Meeting Summaries more until 6 November 2026, 14:59 UTC" in seen.text
    bert.act(url, reason="Agreed with sales")
    assert Balance.objects.latest("pk").granted == 500
    entry = LedgerEntry.objects.latest("pk")
    assert (entry.actor, entry.reason) == ("staff:billing", "Agreed with sales (asked by anna)")
    assert journal.read([stories.entity(acme, "alice")], limit=1)[0].staff == "billing"
    answer = bert.client.get(url, follow=True)
    assert b"decided by somebody else" in answer.content
    assert granted() == 2


def test_nobody_approves_their_own(staff: Staff, acme: Customer) -> None:
    ask(staff, acme, "500")
    asked = Approval.objects.get()
    url = reverse("admin:decide", args=[asked.pk])
    seen = staff.preview(url)
    assert "Somebody else has to look" in seen.text
    assert "Approve:" not in seen.text
    assert "asked for this yourself" in staff.post(
        url, status=409, confirm="1", reason="Me again", fingerprint=seen.fingerprint
    )
    anna = User.objects.get(username="anna").pk
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.update(status="approved", decided_by=anna)
    staff.post(url, status=302, decline="1")
    asked.refresh_from_db()
    assert (asked.status, granted()) == ("declined", 0)


@pytest.mark.parametrize("group", ["Read only", "Support"])
def test_only_who_may_approve_approves(staff: Staff, member: Any, acme: Customer, group: str) -> None:
    ask(staff, acme, "500")
    url = reverse("admin:decide", args=[Approval.objects.get().pk])
    other = member(group)
    other.get(url, status=403)
    other.post(url, status=403, confirm="1", reason="x")
    other.get(reverse("admin:billing_approval_changelist"))


def test_what_was_refused_after_all_waits_on(staff: Staff, member: Any, acme: Customer) -> None:
    invoice = Invoice.objects.filter(customer=acme, total=30).first()
    staff.act(link("refund-invoice", acme, invoice=invoice), amount="30")
    url, bert = reverse("admin:decide", args=[Approval.objects.get().pk]), member("Billing")
    seen = bert.preview(url)
    Invoice.objects.filter(pk=invoice.pk if invoice else 0).update(refunded=Decimal(10))
    page = bert.post(url, status=409, confirm="1", reason="Fine", fingerprint=seen.fingerprint)
    assert "Choose an amount from $0.01 to $20.00" in page
    assert Approval.objects.get().status == "waiting"


def test_a_paid_invoice_is_refunded_in_parts_and_never_beyond(staff: Staff, acme: Customer) -> None:
    invoice = Invoice.objects.filter(customer=acme, total=30).latest("pk")
    url = link("refund-invoice", acme, invoice=invoice)
    assert "Refund" in staff.get(reverse("admin:billing_invoice_change", args=[invoice.pk]))
    seen = staff.act(url, amount="12.50", reason="Half a month down")
    assert "Given back now" in seen.text
    assert "−$12.50" in seen.text
    assert "No money moves" not in seen.text
    invoice.refresh_from_db()
    assert invoice.refunded == Decimal("12.5")
    operation = Operation.objects.latest("pk")
    assert (operation.kind, operation.status, operation.reason) == ("refund", "done", "Half a month down")
    assert "from $0.01 to $17.50" in staff.post(url, status=409, amount="17.51")
    assert "a multiple of $0.01" in staff.post(url, status=409, amount="0.001")
    staff.act(url, amount="17.5")
    assert "Refund" not in staff.get(reverse("admin:billing_invoice_change", args=[invoice.pk])).split("</nav>")[-1]


def test_what_is_left_is_moved_to_another_seat(staff: Staff, acme: Customer) -> None:
    url = link("transfer", acme, balance=stories.balance(acme, "bob"))
    assert '<option value="alice">Alice</option>' in staff.get(url)
    seen = staff.act(url, to="alice", amount="20", reason="Bob is on leave")
    assert "Both keep their own grant" in seen.text
    assert [stories.balance(acme, name).remaining for name in ("bob", "alice")] == [30, 20]
    assert {entry.reason for entry in LedgerEntry.objects.filter(kind="transfer")} == {"Bob is on leave"}
    assert "Choose an amount up to the 30" in staff.post(url, status=409, to="alice", amount="31")
    assert "has no balance of Meeting Summaries" in staff.post(url, status=409, to="nobody", amount="1")
    assert "has no balance" in staff.post(url, status=409, to="bob", amount="1")

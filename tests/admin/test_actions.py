"""What staff do: shown before, with a reason, through the services, and never on what has moved meanwhile."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import reverse

from billing.admin.actions.base import REGISTRY, link
from billing.models import Balance, Hold, Invoice, LedgerEntry, Operation, SandboxCard, Subscription
from billing.services.collection import payments
from config import clock, journal
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.models import Feature, Plan
from tests.admin import stories
from tests.admin.stories import NOVEMBER, Staff


def seat(**fields: Any) -> dict[str, Any]:
    return {"feature": Feature.objects.get(slug="seats").pk, "entity_id": "carol", "name": "Carol", **fields}


def test_a_seat_is_added_with_its_price_shown_before(staff: Staff, acme: Customer) -> None:
    seen = staff.act(link("add-seat", acme), reason="New colleague", **seat())
    assert "Carol is added to Acme." in seen.text
    assert "Charged now" in seen.text
    assert "$30.00" in seen.text
    carol = stories.entity(acme, "carol")
    assert stories.balance(acme, "carol").remaining == 50
    entry = LedgerEntry.objects.filter(balance__entity=carol).get()
    assert entry.actor == "staff:anna"
    assert entry.request_id.startswith("admin-")
    done = journal.read([acme], limit=5)[0]
    assert (done.staff, done.reason, done.request_id) == ("anna", "New colleague", entry.request_id)
    assert "Charged now: $30.00" in done.what


def test_looking_at_an_action_changes_nothing(staff: Staff, acme: Customer) -> None:
    before = (Entity.objects.count(), LedgerEntry.objects.count(), Operation.objects.count())
    alice, balance = stories.entity(acme, "alice"), stories.balance(acme, "alice")
    staff.preview(link("add-seat", acme), **seat())
    staff.preview(link("remove-seat", acme, entity=alice))
    staff.preview(link("refill", acme, balance=balance))
    staff.preview(link("cancel-plan", acme, subscription=stories.plan_of(acme)), when="cancel_immediately")
    assert (Entity.objects.count(), LedgerEntry.objects.count(), Operation.objects.count()) == before


def test_nothing_is_done_without_a_reason(staff: Staff, acme: Customer) -> None:
    url = link("add-seat", acme)
    seen = staff.preview(url, **seat())
    page = staff.post(url, confirm="1", reason=" ", fingerprint=seen.fingerprint, **seat())
    assert "This field is required" in page
    assert not Entity.objects.filter(external_id="carol").exists()


def test_nothing_is_done_when_things_have_moved_since_the_preview(staff: Staff, acme: Customer) -> None:
    url = link("add-seat", acme)
    seen = staff.preview(url, **seat())
    stories.member_of(acme, "dave", "seats")
    page = staff.post(url, confirm="1", reason="Late", fingerprint=seen.fingerprint, **seat())
    assert "Things have moved" in page
    assert not Entity.objects.filter(external_id="carol").exists()


def test_a_preview_of_other_answers_is_no_consent(staff: Staff, acme: Customer) -> None:
    url = link("add-seat", acme)
    seen = staff.preview(url, **seat())
    changed = seat(entity_id="mallory", name="Mallory")
    page = staff.post(url, confirm="1", reason="Why", fingerprint=seen.fingerprint, **changed)
    assert "Things have moved" in page
    assert not Entity.objects.filter(external_id="mallory").exists()


def test_a_refusal_is_a_sentence(staff: Staff, acme: Customer) -> None:
    page = staff.post(link("add-seat", acme), status=409, **seat(entity_id="alice"))
    assert "alice" in page
    assert "Traceback" not in page


def test_a_declined_card_leaves_no_seat(staff: Staff, acme: Customer) -> None:
    payments.set_card(acme, "declines")
    url = link("add-seat", acme)
    seen = staff.preview(url, **seat())
    page = staff.post(url, status=409, confirm="1", reason="Why", fingerprint=seen.fingerprint, **seat())
    assert 'role="alert"' in page
    assert not Entity.objects.filter(external_id="carol").exists()


def test_a_seat_is_removed_with_what_it_had(staff: Staff, acme: Customer) -> None:
    seen = staff.act(link("remove-seat", acme, entity=stories.entity(acme, "bob")))
    assert "Bob is removed" in seen.text
    assert "50 left" in seen.text
    assert Entity.objects.get(external_id="bob").deleted_at is not None


def test_a_seat_is_renamed(staff: Staff, acme: Customer) -> None:
    staff.act(link("rename", acme, entity=stories.entity(acme, "bob")), name="Robert")
    assert Entity.objects.get(external_id="bob").name == "Robert"


def test_a_workspace_is_moved_to_pro(staff: Staff) -> None:
    globex = stories.workspaces()
    pro = Plan.objects.get(slug="workspace_pro")
    url = link("attach-plan", globex, entity=stories.entity(globex, "workspace_a"))
    seen = staff.act(url, plan=pro.pk, reason="They outgrew it")
    assert "Workspace Pro starts now." in seen.text
    assert "Workspace Free for Workspace_A ends now." in seen.text
    assert "$20.00" in seen.text
    assert stories.plan_of(globex, "workspace_a").plan == pro
    page = staff.get(reverse("admin:entities_entity_change", args=[stories.entity(globex, "workspace_a").pk]))
    assert re.search(r"Plan attached: Workspace Pro</a>\s+<br>They outgrew it", page)


def test_a_plan_is_canceled_at_the_cycles_end_and_kept_after_all(staff: Staff) -> None:
    globex = stories.workspaces()
    row = stories.plan_of(globex, "workspace_b")
    seen = staff.act(link("cancel-plan", globex, subscription=row), when="cancel_end_of_cycle")
    assert "ends on 1 December 2026" in seen.text
    row.refresh_from_db()
    assert row.ends_at is not None
    staff.act(link("uncancel-plan", globex, subscription=row))
    row.refresh_from_db()
    assert row.ends_at is None


def test_a_plan_is_canceled_now(staff: Staff) -> None:
    globex = stories.workspaces()
    row = stories.plan_of(globex, "workspace_b")
    seen = staff.act(link("cancel-plan", globex, subscription=row), when="cancel_immediately")
    assert "ends now" in seen.text
    row.refresh_from_db()
    assert row.status == Subscription.Status.EXPIRED


def test_twenty_more_until_friday(staff: Staff, acme: Customer) -> None:
    alice = stories.entity(acme, "alice")
    fields = {"feature": Feature.objects.get(slug="summaries").pk, "amount": "20", "every": "never",
              "expires_at": (NOVEMBER + timedelta(days=5)).strftime("%Y-%m-%dT%H:%M")}  # fmt: skip
    seen = staff.act(link("grant", acme, entity=alice), reason="Pilot", **fields)
    assert "Alice gets 20 Meeting Summaries more until 6 November 2026" in seen.text
    granted = Balance.objects.get(entity=alice, item=None)
    assert (granted.granted, granted.expires_at) == (Decimal(20), NOVEMBER + timedelta(days=5))
    assert LedgerEntry.objects.get(balance=granted).reason == "Pilot"
    page = staff.get(reverse("admin:entities_entity_change", args=[alice.pk]))
    assert "20 left" in page
    staff.act(link("end-balance", acme, balance=granted))
    granted.refresh_from_db()
    assert granted.ended_at is not None


@pytest.mark.parametrize(
    ("how", "amount", "remaining"), [("add", "7", 7), ("take", "3", -3), ("remaining", "9", 9), ("usage", "10", 40)]
)
def test_a_balance_is_adjusted_and_that_is_undone(
    staff: Staff, acme: Customer, how: str, amount: str, remaining: int
) -> None:
    balance = stories.balance(acme, "alice")
    staff.act(link("adjust", acme, balance=balance), how=how, amount=amount, reason="Goodwill")
    balance.refresh_from_db()
    assert balance.remaining == remaining
    entry = LedgerEntry.objects.filter(balance=balance, kind=LedgerEntry.Kind.ADJUSTMENT).get()
    assert (entry.reason, entry.actor) == ("Goodwill", "staff:anna")
    undo = link("undo", acme, balance=balance, entry=entry)
    page = reverse("admin:billing_balance_change", args=[balance.pk])
    assert undo in staff.get(page)
    staff.act(undo)
    balance.refresh_from_db()
    assert balance.remaining == 0
    assert "undone already" in staff.get(undo, status=409)
    assert f"entry={entry.pk}" not in staff.get(page)


def test_only_what_was_done_by_hand_is_undone(staff: Staff, acme: Customer) -> None:
    balance = stories.balance(acme, "alice")
    entry = LedgerEntry.objects.filter(balance=balance, kind=LedgerEntry.Kind.USAGE).get()
    assert "made by hand" in staff.get(link("undo", acme, balance=balance, entry=entry), status=409)


def test_a_balance_is_refilled_without_moving_its_reset(staff: Staff, acme: Customer) -> None:
    balance = stories.balance(acme, "alice")
    staff.act(link("refill", acme, balance=balance))
    after = stories.balance(acme, "alice")
    assert (after.remaining, after.next_reset_at) == (Decimal(50), balance.next_reset_at)


def test_use_between_preview_and_confirmation_stops_an_adjustment(staff: Staff, acme: Customer) -> None:
    url = link("adjust", acme, balance=stories.balance(acme, "bob"))
    seen = staff.preview(url, how="remaining", amount="10")
    stories.use(acme, "bob", "summaries", 1)
    page = staff.post(url, confirm="1", reason="x", fingerprint=seen.fingerprint, how="remaining", amount="10")
    assert "Things have moved" in page
    assert stories.balance(acme, "bob").remaining == 49


def test_the_clock_is_turned_and_what_falls_due_happens(staff: Staff, acme: Customer) -> None:
    seen = staff.act(link("turn-clock", acme), to="2026-12-02T00:00")
    assert "First due: 1 December 2026" in seen.text
    assert "Team" in seen.text
    assert stories.balance(acme, "alice").remaining == 50
    assert Invoice.objects.filter(customer=acme, cause=Invoice.Cause.RENEWAL).exists()
    assert "only turns forward" in staff.post(link("turn-clock", acme), status=409, to="2026-11-02T00:00")


def test_the_card_is_set(staff: Staff, acme: Customer) -> None:
    staff.act(link("set-card", acme), card="declines")
    assert SandboxCard.objects.get(customer_id=acme.processor_id).behavior == "declines"


def test_an_unpaid_renewal_is_paid(staff: Staff, acme: Customer) -> None:
    payments.set_card(acme, "declines")
    staff.act(link("turn-clock", acme), to="2026-12-02T00:00")
    invoice = Invoice.objects.filter(customer=acme).payable().get()
    assert stories.plan_of(acme).status == Subscription.Status.PAST_DUE
    staff.act(link("pay-invoice", acme, invoice=invoice))
    invoice.refresh_from_db()
    assert invoice.status == Invoice.Status.PAID
    assert stories.plan_of(acme).status == Subscription.Status.ACTIVE


@pytest.mark.parametrize(("how", "amount", "used"), [("release", "", 0), ("confirm", "", 5), ("confirm", "3", 3)])
def test_a_forgotten_hold_is_settled(staff: Staff, api: Any, acme: Customer, how: str, amount: str, used: int) -> None:
    api.post("balances.check", customer_id="acme", entity_id="bob", feature_id="summaries", required_balance=5,
             lock={"enabled": True, "lock_id": "forgotten"})  # fmt: skip
    hold = Hold.objects.get()
    assert "Release or confirm it" in staff.get(reverse("admin:billing_hold_change", args=[hold.pk]))
    staff.act(link("finalize-hold", acme, hold=hold), how=how, amount=amount)
    bob = stories.balance(acme, "bob")
    assert bob.usage == used
    assert not bob.held


def test_what_the_sandbox_has_is_not_there_live(staff: Staff, acme: Customer, settings: Any) -> None:
    settings.ENVIRONMENT = "live"
    staff.get(link("turn-clock", acme), status=403)
    staff.get(link("set-card", acme), status=403)
    page = staff.get(reverse("admin:entities_customer_change", args=[acme.pk]))
    assert "Turn the clock" not in page


@pytest.mark.parametrize("query", ["", "?entity=x", "?entity=999999999", "?entity=99999999999999999999999"])
def test_an_action_on_nothing_is_not_found(staff: Staff, acme: Customer, query: str) -> None:
    staff.get(reverse("admin:act", args=["remove-seat", acme.pk]) + query, status=404)


def test_an_action_reaches_no_other_customers_rows(staff: Staff, acme: Customer) -> None:
    globex = stories.workspaces()
    foreign = stories.entity(globex, "workspace_a")
    staff.get(link("remove-seat", acme, entity=foreign), status=404)
    staff.get(link("cancel-plan", acme, subscription=stories.plan_of(globex, "workspace_a")), status=404)
    entry = LedgerEntry.objects.filter(customer_id=globex.pk).first()
    staff.get(link("undo", acme, balance=stories.balance(acme, "alice"), entry=entry), status=404)


def test_what_was_done_is_in_the_audit_log(staff: Staff, acme: Customer) -> None:
    staff.act(link("refill", acme, balance=stories.balance(acme, "alice")), reason="Her webhook ran wild")
    entry = LogEntry.objects.get()
    assert "Her webhook ran wild" in staff.get(reverse("admin:admin_logentry_changelist"))
    assert "Left: 0 → 50" in staff.get(reverse("admin:admin_logentry_changelist"))
    page = staff.get(reverse("admin:admin_logentry_change", args=[entry.pk]))
    assert '<del class="sl-was">0</del>' in page
    assert '<ins class="sl-is">50</ins>' in page
    alice = stories.entity(acme, "alice")
    assert "Her webhook ran wild" in staff.get(reverse("admin:entities_entity_change", args=[alice.pk]))


def test_every_action_has_a_permission_that_exists(db: None) -> None:
    migrated = set(stories.permissions())
    assert {action.permission for action in REGISTRY.values()} <= migrated


def test_grants_that_make_no_sense_are_refused(staff: Staff, acme: Customer) -> None:
    url, summaries = link("grant", acme, entity=stories.entity(acme, "bob")), Feature.objects.get(slug="summaries")
    assert "Say how much" in staff.post(url, status=409, feature=summaries.pk, every="never")
    past = {"feature": summaries.pk, "amount": "5", "every": "never", "expires_at": "2026-10-01T00:00"}
    assert "expired already" in staff.post(url, status=409, **past)
    assert "Enter a number" in staff.post(url, feature=summaries.pk, amount="five", every="never")
    assert not Balance.objects.filter(item=None).exists()


def test_a_trial_is_extended(staff: Staff) -> None:
    globex = stories.workspaces()
    Plan.objects.filter(slug="workspace_pro").update(trial_length=7, trial_unit="day", trial_card_required=False)
    lab = stories.member_of(globex, "lab", "workspaces")
    stories.attach(Subject(globex, lab), "workspace_pro")
    row = stories.plan_of(globex, "lab")
    assert row.trial_ends_at == NOVEMBER + timedelta(days=7)
    assert "trial until <time" in staff.get(reverse("admin:entities_entity_change", args=[lab.pk]))
    seen = staff.act(link("extend-trial", globex, subscription=row), days="20")
    assert "stays free until 21 November 2026" in seen.text
    assert stories.plan_of(globex, "lab").trial_ends_at == NOVEMBER + timedelta(days=20)
    assert not Invoice.objects.filter(entity=lab, total__gt=0).exists()


def test_only_what_makes_sense_is_offered_for_a_plans_end(staff: Staff) -> None:
    globex = stories.workspaces()
    free, paid = (stories.plan_of(globex, f"workspace_{one}") for one in "ab")
    at_end = "At the end of the cycle"
    assert at_end in staff.get(link("cancel-plan", globex, subscription=paid))
    assert at_end not in staff.get(link("cancel-plan", globex, subscription=free))
    staff.act(link("attach-plan", globex, entity=paid.entity), plan=str(free.plan_id))
    waits = Subscription.objects.get(entity=paid.entity, status=Subscription.Status.SCHEDULED)
    url = link("cancel-plan", globex, subscription=waits)
    assert at_end not in staff.get(url)
    seen = staff.act(url, when="cancel_immediately")
    assert "will not start." in staff.get(seen.page_after)


def test_what_is_no_trial_is_not_extended(staff: Staff, acme: Customer) -> None:
    url = link("extend-trial", acme, subscription=stories.plan_of(acme))
    assert "not in a trial" in staff.post(url, status=409, days="5")


def test_what_is_dangerous_asks_for_the_password_when_the_login_is_old(staff: Staff, acme: Customer) -> None:
    User.objects.update(last_login=clock.now() - timedelta(hours=2))
    url = link("remove-seat", acme, entity=stories.entity(acme, "bob"))
    seen = staff.preview(url)
    assert "Your password, once more" in seen.text
    fields: dict[str, Any] = {"confirm": "1", "reason": "He left", "fingerprint": seen.fingerprint}
    assert "This field is required" in staff.post(url, **fields)
    assert "not your password" in staff.post(url, **fields, password="guess")
    assert Entity.objects.get(external_id="bob").deleted_at is None
    staff.post(url, status=302, **fields, password="secret")
    assert Entity.objects.get(external_id="bob").deleted_at is not None
    again = link("cancel-plan", acme, subscription=stories.plan_of(acme))
    assert "Your password" not in staff.preview(again, when="cancel_immediately").text


def test_what_is_harmless_never_asks_for_the_password(staff: Staff, acme: Customer) -> None:
    User.objects.update(last_login=clock.now() - timedelta(hours=2))
    assert "Your password" not in staff.preview(link("refill", acme, balance=stories.balance(acme, "alice"))).text

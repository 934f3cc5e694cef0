"""Undo with one click: what was just done is made up for by a compensating action, unless things have moved."""

import re
from typing import Any

import pytest

from billing.admin.actions.base import link
from billing.models import Balance, LedgerEntry
from entities.models import Customer, Entity
from plans.models import Feature
from tests.admin import stories
from tests.admin.stories import Staff


@pytest.fixture
def acme(db: None) -> Customer:
    return stories.team()


def undo_form(staff: Staff, page: str) -> tuple[str, dict[str, str]]:
    """The button that the message on the page offers: where it leads, and what it carries."""
    form = re.search(r'action="([^"]+)" class="sl-inline">(.*?)</form>', staff.get(page), re.DOTALL)
    assert form, page
    return form.group(1), dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form.group(2)))


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


def test_what_has_moved_meanwhile_is_shown_instead_of_undone(staff: Staff, acme: Customer) -> None:
    seen = staff.act(link("adjust", acme, balance=stories.balance(acme, "bob")), how="take", amount="10")
    url, fields = undo_form(staff, seen.page_after)
    stories.use(acme, "bob", "summaries", 1)
    assert b"Things have moved" in staff.client.post(url, fields).content
    assert stories.balance(acme, "bob").remaining == 39

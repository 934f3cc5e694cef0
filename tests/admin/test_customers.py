"""Customers made and edited by hand, and what is found."""

import re

import pytest
from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import Invoice
from config import clock
from config.access import keys
from config.actor import told
from entities.models import Customer
from entities.subject import Subject
from plans.models import Plan
from tests.admin import stories
from tests.admin.stories import Staff

ADD = "admin:entities_customer_add"


def test_a_customer_is_made_and_plans_that_start_by_themselves_start(staff: Staff) -> None:
    stories.catalogue()
    Plan.objects.filter(slug="workspace_free").update(auto_enable=True)
    staff.post(reverse(ADD), status=302, external_id="initech", name="Initech", email="bill@initech.example")
    made = Customer.objects.get()
    assert made.name == "Initech"
    assert stories.plan_of(made).plan.slug == "workspace_free"


def test_a_customer_is_not_made_twice(staff: Staff) -> None:
    stories.catalogue()
    stories.customer()
    assert "There is a customer acme already" in staff.post(reverse(ADD), external_id="acme")
    assert "required" in staff.post(reverse(ADD), external_id=" ")
    assert "Null characters" in staff.post(reverse(ADD), external_id="a\x00b")


def test_a_customer_is_edited(staff: Staff) -> None:
    stories.catalogue()
    acme = stories.customer()
    url = reverse("admin:entities_customer_edit", args=[acme.pk])
    fields = {"external_id": "acme", "name": "Acme & Sons", "email": "new@acme.example", "metadata": '{"tier": "gold"}'}
    staff.post(url, status=302, **fields)
    acme.refresh_from_db()
    assert (acme.name, acme.email, acme.metadata) == ("Acme & Sons", "new@acme.example", {"tier": "gold"})


def test_the_id_of_a_customer_cannot_become_anothers(staff: Staff) -> None:
    stories.catalogue()
    acme, globex = stories.customer(), stories.customer("globex", "Globex")
    url = reverse("admin:entities_customer_edit", args=[globex.pk])
    page = staff.post(url, external_id="acme", name="Globex", email="", metadata="{}")
    assert "acme" in page
    globex.refresh_from_db()
    assert (acme.external_id, globex.external_id) == ("acme", "globex")


@pytest.mark.parametrize("text", ["acme", "Acm", "acme@example.com", "alice", "Alic"])
def test_people_are_found_by_whatever_is_known_of_them(staff: Staff, text: str) -> None:
    stories.team()
    answer = staff.client.get(reverse("admin:find"), {"q": text}, follow=True)
    assert "cme" in answer.content.decode()
    assert answer.redirect_chain or "Alice" in answer.content.decode()


def test_invoices_and_keys_are_found(staff: Staff) -> None:
    acme = stories.team()
    invoice = Invoice.objects.filter(customer=acme).shown().first()
    assert invoice is not None
    for text in (invoice.number, invoice.number.lstrip("0")):
        page = staff.client.get(reverse("admin:find"), {"q": text}, follow=True).content.decode()
        assert f"Invoice {invoice.number}" in page
    key, _ = keys.create(name="Website", at=clock.now())
    page = staff.client.get(reverse("admin:find"), {"q": key.prefix}, follow=True).content.decode()
    assert "Website" in page


@pytest.mark.parametrize("text", ["", "\x00", "%", "_", "'; --", "x" * 5000])
def test_odd_searches_are_harmless(staff: Staff, text: str) -> None:
    stories.team()
    assert staff.client.get(reverse("admin:find"), {"q": text}).status_code in (200, 302)


def test_the_command_palette_finds_the_same(staff: Staff) -> None:
    stories.team()
    page = staff.get(reverse("admin:search") + "?s=alice")
    assert "Alice" in page
    assert "Acme" in page


@pytest.mark.parametrize(
    ("actor", "shown"),
    [
        ("staff:anna", "anna"),
        ("key:sl_test_ab", "API key sl_test_ab…"),
        ("run_due", "schedule"),
        ("create_api_key", "create api key"),
        ("", ""),
        ("staff:", "staff:"),
    ],
)
def test_actors_are_told_as_people_say_it(actor: str, shown: str) -> None:
    assert told(actor) == shown


def test_people_read_names_where_machines_have_ids(staff: Staff) -> None:
    globex = stories.workspaces()
    entity = stories.entity(globex, "workspace_a")
    page = staff.get(reverse("admin:entities_entity_change", args=[entity.pk]))
    assert "Workspace Free, its own" in page
    assert "Plan attached: Workspace Free" in page
    assert "Plan attached: workspace_free" not in page
    choice = staff.get(link("attach-plan", globex, entity=entity))
    assert "Workspace Free · no base price · held now" in choice
    # Whoever is on a tier comes for another of its group.
    assert re.search(r"selected[^>]*>\s*Workspace Pro · \$20 per month", choice)


def test_what_is_to_come_is_summed_over_all_who_pay(staff: Staff) -> None:
    globex = stories.workspaces()
    stories.attach(Subject(globex, stories.member_of(globex, "lab", "workspaces")), "workspace_pro")
    page = staff.get(reverse("admin:entities_customer_change", args=[globex.pk]))
    assert re.search(r'sl-big">\$40\.00 <small[^>]*>in 2 invoices', page)

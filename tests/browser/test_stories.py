"""Both seed stories, played by a member of staff who clicks, from an empty database."""

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from billing.models import Invoice
from billing.services.balances import metering
from billing.services.balances.metering import Usage
from config import clock
from config.actor import Actor

pytestmark = pytest.mark.django_db(transaction=True)


def go(page: Page, name: str) -> None:
    """By the menu."""
    page.locator("#nav-sidebar a").get_by_text(name, exact=True).click()


def add(page: Page) -> None:
    """The plus in the corner."""
    page.locator("a[href$='/add/']").first.click()


def feature(page: Page, name: str, slug: str, *, consumable: bool) -> None:
    go(page, "Features")
    add(page)
    page.locator("#id_name").fill(name)
    page.locator("#id_slug").fill(slug)
    if consumable:
        page.locator("#id_consumable").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(slug, exact=True).first).to_be_visible()


def plan(page: Page, name: str, slug: str, *, group: str = "", price: str = "") -> None:
    """Begin a plan; its items follow."""
    go(page, "Plans")
    add(page)
    page.locator("#id_name").fill(name)
    page.locator("#id_slug").fill(slug)
    page.locator("#id_group").fill(group)
    if price:
        page.locator("#id_price_amount").fill(price)
        page.locator("#id_price_interval").select_option("month")


def item(page: Page, number: int, feature: str, included: str, **selects: str) -> None:
    page.get_by_role("link", name="Add another Item").click()
    page.locator(f"#id_items-{number}-feature").select_option(label=feature)
    page.locator(f"#id_items-{number}-included").fill(included)
    for field, value in selects.items():
        box = page.locator(f"#id_items-{number}-{field}")
        if field == "price_amount":
            box.fill(value)
        elif field == "entity_feature":
            box.select_option(label=value)
        else:
            box.select_option(value)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_load_state()


def customer(page: Page, customer_id: str, name: str) -> None:
    go(page, "Customers")
    add(page)
    page.get_by_label("Customer id").fill(customer_id)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("E-mail").fill("billing@example.com")
    save(page)
    expect(page.get_by_role("heading", name="Who pays")).to_be_visible()


def press(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()


def preview(page: Page) -> Locator:
    """See what will happen."""
    page.get_by_role("button", name="Show what will happen").click()
    shown = page.locator("#preview")
    expect(shown).to_be_visible()
    return shown


def confirm(page: Page, button: str, why: str) -> None:
    page.get_by_label("Why?").fill(why)
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_load_state()
    expect(page.get_by_role("button", name=button, exact=True)).to_have_count(0)


def card(page: Page) -> None:
    press(page, "Set card")
    page.get_by_label("A card that pays").check()
    preview(page)
    confirm(page, "Set the card", "They called it in")


def turn_clock(page: Page, to: str) -> None:
    press(page, "Turn the clock")
    page.get_by_label("Turn the clock to").fill(to)
    preview(page)
    confirm(page, "Turn the clock", "To see the next month")


def entity(page: Page, name: str, entity_id: str, what: str) -> None:
    press(page, "Add a seat or workspace")
    page.get_by_label("What is added").select_option(label=what)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Id", exact=False).last.fill(entity_id)
    expect(preview(page)).to_contain_text(f"{name} is added")
    confirm(page, "Add it", "They asked for it")
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def test_five_seats_with_fifty_summaries_each(anna: Page) -> None:
    feature(anna, "Seats", "seats", consumable=False)
    feature(anna, "Meeting Summaries", "summaries", consumable=True)
    plan(anna, "Team", "team", price="30")
    item(anna, 0, "Seats", "1", billing_method="usage_based", price_amount="30", price_interval="month")
    item(anna, 1, "Meeting Summaries", "50", entity_feature="Seats", reset_interval="month")
    save(anna)
    expect(anna.get_by_text("$30 per month")).to_be_visible()
    customer(anna, "org_123", "Acme")
    card(anna)
    press(anna, "Attach or change plan")
    anna.get_by_label("Plan", exact=False).select_option(label="Team · $30 per month")
    expect(preview(anna)).to_contain_text("Team starts now")
    confirm(anna, "Attach it", "They signed")
    for name in ("Alice", "Bob", "Carol", "Dave", "Erin"):
        entity(anna, name, f"user_{name.lower()}", "Seats")
    expect(anna.get_by_text("50 of 50 left")).to_have_count(5)

    usage = Usage("org_123", "summaries", Decimal(50), "user_alice")
    metering.track(usage, wall=clock.now(), actor=Actor("key:test"))
    anna.reload()
    expect(anna.locator("#entities tbody tr").first).to_contain_text("0 of 50 left")
    press(anna, "Alice")
    expect(anna.get_by_text("Refused")).to_be_visible()
    press(anna, "Grant more")
    anna.get_by_label("Amount").fill("20")
    expect(preview(anna)).to_contain_text("Alice gets 20 Meeting Summaries more")
    confirm(anna, "Grant it", "She has a deadline")
    expect(anna.get_by_text("Allowed")).to_be_visible()
    press(anna, "Acme")

    press(anna, "Bob")
    press(anna, "Remove")
    expect(anna.locator("#preview")).to_contain_text("Bob is removed")
    confirm(anna, "Remove it", "He left")
    expect(anna.get_by_role("link", name="Bob", exact=True)).to_have_count(0)
    expect(anna.locator("#entities tbody tr")).to_have_count(4)
    expect(anna.get_by_text(re.compile("4 in all"))).to_be_visible()


def test_two_workspaces_on_two_tiers(anna: Page) -> None:
    feature(anna, "Workspaces", "workspaces", consumable=False)
    feature(anna, "API Requests", "requests", consumable=True)
    plan(anna, "Workspace Free", "workspace_free", group="workspace")
    item(anna, 0, "API Requests", "100", reset_interval="month")
    save(anna)
    plan(anna, "Workspace Pro", "workspace_pro", group="workspace", price="20")
    item(anna, 0, "API Requests", "10000", reset_interval="month")
    save(anna)
    customer(anna, "globex", "Globex")
    turn_clock(anna, "2027-01-01T00:00")
    card(anna)
    for name, tier in (
        ("Workspace A", "Workspace Free · no base price"),
        ("Workspace B", "Workspace Pro · $20 per month"),
    ):
        entity(anna, name, name.lower().replace(" ", "_"), "Workspaces")
        press(anna, name)
        press(anna, "Attach or change plan")
        anna.get_by_label("Plan", exact=False).select_option(label=tier)
        preview(anna)
        confirm(anna, "Attach it", "As ordered")
        press(anna, "Globex")

    press(anna, "Workspace A")
    press(anna, "Attach or change plan")
    anna.get_by_label("Plan", exact=False).select_option(label="Workspace Pro · $20 per month")
    shown = preview(anna)
    expect(shown).to_contain_text("Workspace Pro starts now")
    expect(shown).to_contain_text("$20.00")
    confirm(anna, "Attach it", "They outgrew it")
    expect(anna.get_by_text("10,000 of 10,000 left")).to_be_visible()
    press(anna, "Globex")

    press(anna, "Workspace B")
    press(anna, "Cancel plan")
    anna.get_by_label(re.compile("At the end of the cycle")).check()
    expect(preview(anna)).to_contain_text("ends on 1 February 2027")
    confirm(anna, "Cancel the plan", "The project is over")
    expect(anna.get_by_text("ends 1 Feb 2027")).to_be_visible()
    press(anna, "Globex")

    turn_clock(anna, "2027-02-02T00:00")
    renewal = Invoice.objects.filter(cause=Invoice.Cause.RENEWAL).shown().get()
    press(anna, renewal.number)
    expect(anna.get_by_text("Workspace Pro").first).to_be_visible()
    expect(anna.get_by_text("$20.00").first).to_be_visible()
    press(anna, "Globex")
    press(anna, "Workspace B")
    expect(anna.get_by_text("None of its own: it lives from its customer's.")).to_be_visible()

"""The ten main pages, light and dark: `SCREENSHOTS=folder pytest tests/browser/test_screenshots.py` writes them."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from billing.admin.actions.base import link
from billing.models import Invoice
from plans.models import Plan
from tests.admin import stories

FOLDER = os.environ.get("SCREENSHOTS", "")

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not FOLDER, reason="Set SCREENSHOTS to the folder that the pictures go to."),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_main_pages_are_pictured(anna: Page, live_server: Any, scheme: Any) -> None:
    acme = stories.team()
    stories.use(acme, "bob", "summaries", 12)
    globex = stories.workspaces()
    alice, balance = stories.entity(acme, "alice"), stories.balance(acme, "alice")
    invoice = Invoice.objects.filter(customer=acme).shown().first()
    assert invoice is not None
    pages = {
        "home": reverse("admin:index"),
        "customers": reverse("admin:entities_customer_changelist"),
        "customer": reverse("admin:entities_customer_change", args=[acme.pk]),
        "seat": reverse("admin:entities_entity_change", args=[alice.pk]),
        "balance": reverse("admin:billing_balance_change", args=[balance.pk]),
        "cancel": link("cancel-plan", globex, subscription=stories.plan_of(globex, "workspace_b")),
        "remove": link("remove-seat", acme, entity=alice),
        "invoice": reverse("admin:billing_invoice_change", args=[invoice.pk]),
        "plan": reverse("admin:plans_plan_change", args=[Plan.objects.get(slug="team").pk]),
        "usage": reverse("admin:usage"),
    }
    anna.emulate_media(color_scheme=scheme)
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    for name, address in pages.items():
        anna.goto(f"{live_server.url}{address}")
        anna.locator("#content").wait_for()
        anna.screenshot(path=folder / f"{name}-{scheme}.png")
    assert len(list(folder.glob(f"*-{scheme}.png"))) >= len(pages)

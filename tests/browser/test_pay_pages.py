"""The hosted pages as a customer meets them, on a phone and on a desk, light and dark.

`SCREENSHOTS=folder pytest tests/browser/test_pay_pages.py` writes pictures of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page

from tests.client import Api
from tests.effort import tries
from tests.selling import CUSTOMER, Shop, monthly, prepaid, seats

FOLDER = os.environ.get("SCREENSHOTS", "")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(api: Api) -> Shop:
    shop = Shop(api)
    shop.plan("free", None, monthly("messages", 100))
    shop.plan("pro", 20, monthly("messages", 500, amount=1, billing_units=100))
    shop.plan("premium", 50, monthly("messages", 1000))
    shop.plan("team", 40, seats(1, 30, "prorate_immediately", "prorate_immediately"), prepaid("words", 0, 10, 1000))
    coupon = {"id": "spring", "name": "Spring sale", "type": "percentage_discount", "value": 20, "plan_ids": None}
    coupon |= {"duration": {"type": "months", "length": 3}, "promo_codes": [{"code": "SPRING20"}]}
    api.post("rewards.create", coupon=coupon)
    return shop


# What is light or dark doesn't depend on the width, nor the layout on that.
LOOKS = [(1366, "light"), (390, "dark"), (390, "light"), (1366, "dark")]


@pytest.fixture(params=LOOKS[: tries(2, 4)], ids=lambda look: f"{look[0]}-{look[1]}")
def visitor(request: pytest.FixtureRequest, page: Page, live_server: Any, settings: Any) -> Iterator[Page]:
    """A browser of that width and scheme; whatever it complains about fails the test."""
    width, scheme = request.param
    settings.BASE_URL = live_server.url
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A refusal is answered with a status of its own, which the browser mentions.
        if message.type in ("error", "warning") and "the server responded with a status of 4" not in message.text:
            complaints.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_viewport_size({"width": width, "height": 844 if width < 500 else 900})
    page.emulate_media(color_scheme=scheme)
    page.set_default_timeout(20_000)
    yield page
    assert complaints == []


def look(page: Page, name: str) -> None:
    """Nothing may stick out sideways; a picture where one is wanted."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    if FOLDER:
        Path(FOLDER).mkdir(parents=True, exist_ok=True)
        size, scheme = (
            page.viewport_size,
            "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light",
        )
        assert size is not None
        page.screenshot(path=Path(FOLDER) / f"{name}-{size['width']}-{scheme}.png", full_page=True)


def test_a_checkout_is_lowered_by_a_code_and_paid(visitor: Page, shop: Shop) -> None:
    shop.opens("2026-04-01", "design", "a-workspace-with-a-rather-long-name-that-has-to-go-somewhere", card=None)
    asked = [{"feature_id": "words", "quantity": 3000}]
    visitor.goto(shop.attach("team", feature_quantities=asked)["payment_url"])
    look(visitor, "checkout")
    visitor.get_by_text("Enter a promotion code").click()
    visitor.get_by_label("Promotion code").fill("nope")
    visitor.get_by_role("button", name="Apply").click()
    visitor.get_by_text("There is no code nope").wait_for()
    look(visitor, "checkout-wrong-code")
    visitor.get_by_label("Promotion code").fill("spring20")
    visitor.get_by_role("button", name="Apply").click()
    visitor.get_by_role("row", name="Spring sale (20% off)").first.wait_for()
    look(visitor, "checkout-lowered")
    visitor.get_by_label("Is declined").check()
    visitor.get_by_role("button", name="Pay 80.00 USD").click()
    visitor.get_by_role("alert").get_by_text("declined").wait_for()
    look(visitor, "checkout-declined")
    visitor.get_by_label("Pays").check()
    visitor.get_by_role("button", name="Pay 80.00 USD").click()
    visitor.get_by_role("heading", name="Thank you").wait_for()
    look(visitor, "checkout-done")
    assert shop.invoices() == [80]


def test_an_invoice_asks_for_3d_secure_and_is_paid(visitor: Page, shop: Shop) -> None:
    shop.opens("2026-04-01", card="requires_authentication")
    visitor.goto(shop.attach("pro")["payment_url"])
    look(visitor, "invoice-3ds")
    visitor.get_by_role("button", name="No, that isn't me").click()
    visitor.get_by_role("alert").wait_for()
    look(visitor, "invoice-refused")
    visitor.get_by_role("button", name="Yes, pay 20.00 USD").click()
    visitor.get_by_text("Paid").first.wait_for()
    look(visitor, "invoice-paid")
    assert shop.plans() == {"pro": "active"}


def test_a_card_is_added(visitor: Page, shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    visitor.goto(shop.api.post("billing.setup_payment", customer_id=CUSTOMER)["url"])
    look(visitor, "card")
    visitor.get_by_role("button", name="Save the card").click()
    visitor.get_by_role("heading", name="Card saved").wait_for()
    look(visitor, "card-saved")


def test_the_portal_shows_plans_by_entity_invoices_and_a_card_to_replace(visitor: Page, shop: Shop) -> None:
    shop.opens("2026-02-01", "design", "research")
    shop.attach("premium", discounts=[{"promotion_code": "SPRING20"}])
    shop.attach("pro", "design")
    shop.attach("free", "research")
    shop.on("2026-03-10")
    shop.attach("pro")
    shop.card("declines")
    shop.on("2026-04-02")
    visitor.goto(
        shop.api.post("billing.open_customer_portal", customer_id=CUSTOMER, return_url="https://example.com")["url"]
    )
    for name in ("Whole account", "design", "research"):
        visitor.get_by_role("heading", name=name).wait_for()
    visitor.get_by_text("Spring sale").first.wait_for()
    look(visitor, "portal")
    visitor.get_by_text("Replace the card").first.click()
    look(visitor, "portal-card")
    visitor.get_by_role("button", name="Replace the card").click()
    visitor.get_by_text("•••• 4242").first.wait_for()
    visitor.get_by_role("link", name="Pay", exact=True).first.click()
    visitor.get_by_role("button", name="Pay").click()
    visitor.get_by_text("Paid").first.wait_for()

"""What axe finds on the main pages, on a wide light screen and on a phone in the dark; and that nothing sticks out."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser import main_pages

pytestmark = pytest.mark.django_db(transaction=True)
SERIOUS = ("serious", "critical")


def test_axe_finds_nothing_serious_and_nothing_sticks_out(anna: Page, live_server: Any) -> None:
    pages = main_pages.addresses()
    axe = Axe()
    for width, height, scheme in ((1366, 900, "light"), (390, 844, "dark")):
        anna.set_viewport_size({"width": width, "height": height})
        anna.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for name, address in pages.items():
            anna.goto(f"{live_server.url}{address}")
            found = axe.run(anna).response["violations"]
            serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS]
            assert serious == [], (name, width)
            wide = anna.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (name, width)


def test_support_works_with_the_keyboard_alone(anna: Page, live_server: Any) -> None:
    main_pages.addresses()
    anna.goto(f"{live_server.url}/admin/")
    anna.locator("#find").focus()
    anna.keyboard.type("alice")
    anna.keyboard.press("Enter")
    anna.get_by_text("All 50 are used.").wait_for()
    anna.get_by_role("link", name="Grant more").first.focus()
    anna.keyboard.press("Enter")
    anna.get_by_label("Amount").focus()
    anna.keyboard.type("20")
    anna.get_by_role("button", name="Friday").focus()
    anna.keyboard.press("Enter")
    assert anna.get_by_label("Until").input_value().endswith("T23:59")
    anna.get_by_role("button", name="Show what will happen").focus()
    anna.keyboard.press("Enter")
    anna.get_by_label("Why?").focus()
    anna.keyboard.type("She has a deadline")
    anna.keyboard.press("Tab")
    anna.keyboard.press("Enter")
    anna.get_by_text("20 Meeting Summaries granted.").wait_for()
    anna.get_by_text("Allowed").wait_for()
    anna.get_by_role("button", name="Undo").focus()
    anna.keyboard.press("Enter")
    anna.get_by_text("Refused").wait_for()

"""The main pages, light and dark: `SCREENSHOTS=folder pytest tests/browser/test_screenshots.py` writes them."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser import main_pages

FOLDER = os.environ.get("SCREENSHOTS", "")
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not FOLDER, reason="Set SCREENSHOTS to the folder that the pictures go to."),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_main_pages_are_pictured(anna: Page, live_server: Any, scheme: Any) -> None:
    anna.emulate_media(color_scheme=scheme)
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    pages = main_pages.addresses()
    for name, address in pages.items():
        anna.goto(f"{live_server.url}{address}")
        anna.locator("#content").wait_for()
        anna.screenshot(path=folder / f"{name}-{scheme}.png")
    assert len(list(folder.glob(f"*-{scheme}.png"))) >= len(pages)

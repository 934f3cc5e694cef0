"""A plugin that lets any tests run with the Stripe processor on the fake: `pytest -p tests.processors.on_stripe`."""

from importlib import import_module
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def on_stripe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imported late: plugins are loaded before Django is set up."""
    stand_in = import_module("tests.processors.fake_stripe.stand_in")
    processor = stand_in.StandIn(stand_in.FakeStripe())
    monkeypatch.setattr(import_module("billing.processors.registry"), "stripe", lambda: processor)
    return processor.fake

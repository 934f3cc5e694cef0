"""reset_balances does in one sweep what calls would do one by one, and leaves customers with a test clock alone."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.models import LedgerEntry
from billing.services import audit
from config import clock
from tests.builders import Account, item, overage
from tests.client import Api

APRIL, MAY, AUGUST = (datetime(2026, month, 10, 12, tzinfo=UTC) for month in (4, 5, 8))


def reset(**options: Any) -> str:
    out = StringIO()
    call_command("reset_balances", stdout=out, **options)
    return out.getvalue()


def use(account: Account) -> None:
    """A month's work: some left, nothing left, overdrawn, held, set by hand."""
    account.join("alice", "bob", "carol")
    account.attach("team")
    account.track(30, by="alice")
    account.track(90, by="bob")
    account.control(overage(True))
    account.track(500, by="carol")
    account.lock(5, "call-" + account.id, by="alice")
    account.set(of="bob", included_grant=80)
    account.grant("requests", 20, reset={"interval": "week"})
    account.track(7, "requests")


def seen(account: Account) -> list[Any]:
    return [account.get(who)["balances"] for who in ("", "alice", "bob", "carol")]


def without_ids(shown: Any) -> Any:
    if isinstance(shown, dict):
        return {key: without_ids(value) for key, value in shown.items() if key != "id"}
    return [without_ids(value) for value in shown] if isinstance(shown, list) else shown


@pytest.fixture
def twins(api: Api) -> list[Account]:
    """Two customers who did the same in April."""
    with clock.frozen(APRIL):
        acme = Account(api)
        acme.plan(
            "team",
            item("seats", 9),
            item("messages", 100),
            item("messages", 50, per="seats", rollover={"max": 60, "expiry_duration_type": "forever"}),
        )
        found = [acme, Account(api, "bobs")]
        for account in found:
            use(account)
    return found


@pytest.mark.parametrize("at", [MAY, AUGUST])
@pytest.mark.parametrize("batch", [3, 1000])
def test_a_sweep_does_what_calls_would_have_done(twins: list[Account], at: datetime, batch: int) -> None:
    swept, lazy = twins
    with clock.frozen(at):
        lazily = seen(lazy)
        assert "balances reset" in reset(batch=batch)
        assert without_ids(seen(swept)) == without_ids(lazily)
        entries = LedgerEntry.objects.count()
        assert reset().startswith("0 balances reset")
        assert LedgerEntry.objects.count() == entries
        assert [found for progress in audit.prove() for found in progress.found] == []


def test_a_dry_run_says_how_many_and_changes_nothing(twins: list[Account]) -> None:
    entries = LedgerEntry.objects.count()
    # A pool, three shares and a weekly grant each.
    assert reset(dry_run=True, at=MAY.isoformat()).startswith("10 balances are due")
    assert LedgerEntry.objects.count() == entries


def test_a_customer_with_a_test_clock_keeps_its_own_time(api: Api) -> None:
    acme = Account(api, since="2026-04-01")
    acme.hold(item("messages", 100))
    acme.track(40)
    assert reset(at=AUGUST.isoformat()).startswith("0 balances reset")
    assert acme.numbers() == (100, 60, 40)


@pytest.mark.parametrize("at", ["tomorrow", "2026-05-01", "2026-05-01T00:00:00"])
def test_an_instant_needs_to_be_one_with_a_zone(db: None, at: str) -> None:
    with pytest.raises(CommandError, match="--at"):
        reset(at=at)

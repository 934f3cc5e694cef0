"""verify says what does not add up, and repair brings it back by adding entries only."""

from io import StringIO

import pytest
from django.core.management import call_command

from billing.models import Balance, BalanceTally, HoldPart, LedgerEntry
from tests.builders import Account, item
from tests.tampering import go_astray


def verify() -> tuple[int, str]:
    """Exit code and what was said."""
    out = StringIO()
    try:
        call_command("verify", stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def busy(acme: Account) -> Account:
    """Acme with people, seats, a hold, a reset behind it and a change of plan."""
    acme.plan("large", item("messages", 500), item("seats", 9), group="main")
    acme.hold(item("messages", 100), item("messages", 50, per="seats"), item("seats", 5), plan_id="small", group="main")
    acme.join("alice", "bob", "carol")
    acme.track(70, by="alice")
    acme.track(-5)
    acme.lock(20, "call", by="bob")
    acme.set(of="bob", add_to_balance=7)
    acme.track(2, "seats")
    acme.leave("carol")
    acme.attach("large")
    acme.lock(30, "next")
    return acme


def test_books_that_agree_are_said_to_agree(busy: Account) -> None:
    assert verify() == (0, "The ledger explains every balance, hold and seat.\n")


@pytest.mark.parametrize("number", ["granted", "usage", "expired"])
def test_a_number_that_no_entry_explains_is_found_and_explained(busy: Account, number: str) -> None:
    balance = Balance.objects.get(feature__slug="messages", level="pool", ended_at=None)
    shown = getattr(balance, number) + 3
    go_astray(balance, **{number: shown})
    code, said = verify()
    assert (code, f"balance {balance.pk} (messages of acme) shows {number}" in said) == (1, True)
    entries = LedgerEntry.objects.count()
    call_command("repair", "--yes", stdout=StringIO())
    assert verify()[0] == 0
    balance.refresh_from_db()
    # The row is what was shown and acted on, so it stays; the entry is new.
    assert (getattr(balance, number), LedgerEntry.objects.count()) == (shown, entries + 1)


def test_a_hold_that_is_nowhere_held_is_given_back(busy: Account) -> None:
    HoldPart.objects.filter(hold__lock_id="next").delete()
    code, said = verify()
    assert (code, "holds: " in said) == (1, True)
    assert busy.numbers() == (500, 470, 30)
    call_command("repair", "--yes", stdout=StringIO())
    assert (verify()[0], busy.numbers()) == (0, (500, 500, 0))


def test_a_seat_too_many_is_found_and_taken_back(busy: Account) -> None:
    seats = Balance.objects.get(feature__slug="seats", ended_at=None)
    go_astray(seats, usage=seats.usage + 1)
    LedgerEntry.objects.create(balance=seats, customer_id=seats.customer_id, kind="seat", at=seats.created_at, usage=1)
    code, said = verify()
    assert (code, said.startswith("seats: ")) == (1, True)
    call_command("repair", "--yes", stdout=StringIO())
    assert verify()[0] == 0
    assert busy.balance("seats")["usage"] == seats.usage


def test_a_sum_over_entities_that_went_astray_is_found_and_made_up(busy: Account) -> None:
    busy.grant("messages", 9, to="bob")
    assert busy.numbers() == (509, 479, 30)
    BalanceTally.objects.filter(level="own").delete()
    assert busy.numbers() == (500, 470, 30)
    code, said = verify()
    assert (code, "tallies: " in said, "shows remaining 0, should be 9" in said) == (1, True, True)
    call_command("repair", "--yes", stdout=StringIO())
    assert (verify()[0], busy.numbers()) == (0, (509, 479, 30))


def test_repair_asks_before_it_adds_anything(busy: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    go_astray(Balance.objects.get(feature__slug="messages", ended_at=None, level="pool"), granted=1)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    out = StringIO()
    call_command("repair", stdout=out)
    assert out.getvalue().endswith("Nothing was changed.\n")
    assert verify()[0] == 1


def test_there_may_be_nothing_to_repair(busy: Account) -> None:
    out = StringIO()
    call_command("repair", stdout=out)
    assert out.getvalue() == "Nothing to repair.\n"

"""The first story: a team pays for its seats, and each seat has summaries of its own. Told in dates, over HTTP."""

from typing import Any

import pytest

from tests.builders import MONTHLY, Account, item, ms
from tests.client import Api

SEAT = {"amount": 30, "interval": "month", "billing_units": 1, "billing_method": "usage_based"}


@pytest.fixture
def acme(api: Api) -> Account:
    """Acme, on the first of April, about to buy the team plan: one seat included, 50 summaries for each."""
    acme = Account(api, since="2026-04-01", name="Acme")
    api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.plan(
        "team",
        item("seats", 1, price=SEAT),
        item("summaries", 50, per="seats"),
        price={"amount": 30, "interval": "month"},
    )
    return acme


def left(acme: Account, *members: str) -> list[Any]:
    return [acme.balance("summaries", of=member)["remaining"] for member in members]


def bills(acme: Account) -> list[Any]:
    """Totals of the invoices, oldest first."""
    return [invoice["total"] for invoice in reversed(acme.get(expand=["invoices"])["invoices"])]


def test_five_people_share_a_team_and_nobody_uses_anothers_summaries(acme: Account) -> None:
    # 1 April. The team starts with Alice; four more join.
    acme.attach("team")
    acme.join("alice", "bob", "carol", "dave", "erin")
    assert acme.numbers("seats") == (1, 0, 5)
    assert acme.numbers("summaries") == (250, 250, 0)
    assert acme.numbers("summaries", of="alice") == (50, 50, 0)

    # 3 April. Alice summarises everything she has; then she has to wait, the others do not.
    acme.turn_clock("2026-04-03")
    acme.track(50, "summaries", by="alice")
    assert not acme.allows(feature="summaries", by="alice")
    assert acme.allows(50, "summaries", by="bob")
    assert acme.track(1, "summaries", by="alice")["balance"]["remaining"] == 0
    assert left(acme, "bob", "carol", "dave", "erin") == [50] * 4

    # 4 April. A report of the whole company names nobody: it comes off the seat created first that has some left.
    acme.turn_clock("2026-04-04")
    assert acme.allows(200, "summaries")
    assert not acme.allows(201, "summaries")
    acme.track(60, "summaries")
    assert left(acme, "alice", "bob", "carol") == [0, 0, 40]

    # 10 April. Dave leaves: his seat and his summaries go, used or not; his name can be used again.
    acme.turn_clock("2026-04-10")
    acme.track(10, "summaries", by="dave")
    acme.leave("dave")
    assert acme.numbers("seats") == (1, 0, 4)
    assert acme.numbers("summaries") == (200, 90, 110)
    assert acme.refused(404, "balances.check", feature_id="summaries", by="dave") == "entity_not_found"

    # 20 April. Frank joins in the middle of the month with a full share, refilled with everybody else's.
    acme.turn_clock("2026-04-20")
    acme.join("frank")
    assert left(acme, "frank") == [50]
    assert acme.balance("summaries", of="frank")["next_reset_at"] == ms("2026-05-01")

    # 1 May. Everybody starts afresh; the seats stay as they are.
    acme.turn_clock("2026-05-01T00:00:01")
    assert left(acme, "alice", "bob", "carol", "erin", "frank") == [50] * 5
    assert acme.numbers("seats") == (1, 0, 5)


def test_seats_beyond_the_included_one_are_billed_with_the_renewal(acme: Account) -> None:
    acme.attach("team")
    assert bills(acme) == [30]
    acme.join("alice", "bob", "carol")
    assert bills(acme) == [30]
    # 1 May: the team, and two seats more than the one included.
    acme.turn_clock("2026-05-01T00:00:01")
    assert bills(acme) == [30, 90]
    acme.leave("carol")
    acme.turn_clock("2026-06-01T00:00:01")
    assert bills(acme) == [30, 90, 60]


def test_the_story_can_be_told_of_two_companies_side_by_side(acme: Account) -> None:
    globex = Account(acme.api, "globex", since="2026-04-15")
    acme.api.post("sandbox.set_payment_method", customer_id="globex", payment_method="success")
    for company in (acme, globex):
        company.attach("team")
        company.join("alice")
        company.track(20, "summaries", by="alice")
    acme.turn_clock("2026-05-01T00:00:01")
    assert (left(acme, "alice"), left(globex, "alice")) == ([50], [30])
    globex.turn_clock("2026-05-15T00:00:01")
    assert left(globex, "alice") == [50]


def test_a_gift_for_one_seat_is_that_seats_alone(acme: Account) -> None:
    acme.attach("team")
    acme.join("alice", "bob")
    acme.grant("summaries", 5, to="alice", balance_id="thanks", reset=MONTHLY)
    assert left(acme, "alice", "bob") == [55, 50]
    acme.track(60, "summaries", by="alice")
    assert left(acme, "alice", "bob") == [0, 50]

"""How many checks there were and who was refused: counted beside the calls, added to the tables now and then."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.models import CheckTally, Refusal
from billing.services.balances import traffic
from config import clock
from tests.builders import Account, item
from tests.commands.test_prune import prune

TWO = datetime(2026, 11, 12, 14, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_left_of_other_tests() -> None:
    traffic._page = traffic._Page()


def counted() -> list[tuple[datetime, str, bool, int]]:
    traffic.write()
    rows = CheckTally.objects.order_by("hour", "feature", "allowed")
    return [(row.hour, row.feature.slug, row.allowed, row.count) for row in rows]


def refused() -> list[tuple[Any, ...]]:
    traffic.write()
    rows = Refusal.objects.order_by("hour", "pk").select_related("customer", "entity", "feature")
    return [
        (str(row.entity or row.customer), row.feature.slug, row.count, row.last_at, row.required, row.remaining)
        for row in rows
    ]


def test_checks_are_counted_by_the_hour_and_by_their_answer(acme: Account) -> None:
    acme.hold(item("messages", 2), item("summaries", 1))
    for minutes, required, feature in (
        (0, 1, "messages"),
        (3, 1, "messages"),
        (5, 3, "messages"),
        (58, 1, "summaries"),
    ):
        with clock.frozen(TWO + timedelta(minutes=minutes)):
            acme.check(required, feature)
    hour = TWO.replace(minute=0)
    assert counted() == [
        (hour, "messages", False, 1),
        (hour, "messages", True, 2),
        (hour + timedelta(hours=1), "summaries", True, 1),
    ]
    with clock.frozen(TWO):
        acme.check(1)
    assert counted()[1] == (hour, "messages", True, 3)
    assert counted()[1] == (hour, "messages", True, 3)  # nothing is added twice


def test_who_is_refused_is_told_once_an_hour_with_what_was_left_the_last_time(acme: Account) -> None:
    acme.join("alice", "bob")
    acme.hold(item("messages", 5, per="seats"))
    with clock.frozen(TWO):
        acme.track(4, by="alice")
        acme.check(6, by="bob")
        acme.check(2, by="alice")
    with clock.frozen(TWO + timedelta(minutes=9)):
        acme.track(1, by="alice")
        acme.check(1, by="alice", send_event=True)
    later = TWO + timedelta(minutes=9)
    assert refused() == [("alice", "messages", 2, later, 1, 0), ("bob", "messages", 1, TWO, 6, 5)]


def test_a_track_that_insists_is_a_refusal_and_one_that_is_capped_is_none(acme: Account) -> None:
    acme.hold(item("messages", 5))
    with clock.frozen(TWO):
        acme.track(9, overage_behavior="cap")
        acme.refused(400, "balances.track", feature_id="messages", value=3, overage_behavior="reject")
    assert refused() == [("acme", "messages", 1, TWO, 3, 0)]
    assert counted() == []


def test_without_anything_that_gives_the_feature_nothing_is_said_to_be_left(acme: Account) -> None:
    acme.offer("messages")
    with clock.frozen(TWO):
        acme.check(1)
    assert refused() == [("acme", "messages", 1, TWO, 1, None)]


def test_credits_that_did_not_suffice_are_named(acme: Account) -> None:
    acme.hold(item("credits", 10))
    with clock.frozen(TWO):
        acme.check(100, "action1")
    assert refused() == [("acme", "action1", 1, TWO, 100, 10)]
    paid_by = Refusal.objects.get().paid_by
    assert paid_by
    assert paid_by.slug == "credits"


def test_pictures_that_cannot_be_written_are_left_out_and_hold_nobody_up(
    acme: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    acme.hold(item("messages", 5))
    acme.check(1)

    def fails(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(traffic, "_add", fails)
        broken.setattr(traffic, "close_old_connections", lambda: None)
        traffic._write_once()
    assert "left out" in caplog.text
    with clock.frozen(TWO):
        acme.check(1)
    assert counted() == [(TWO.replace(minute=0), "messages", True, 1)]


def test_there_is_a_bound_to_what_is_kept_in_memory(acme: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MOST_REFUSALS", 1)
    acme.hold(item("messages", 0), item("summaries", 0))
    with clock.frozen(TWO):
        for feature in ("messages", "summaries", "messages"):
            acme.check(1, feature)
    assert [(who, feature, count) for who, feature, count, *_ in refused()] == [("acme", "messages", 2)]
    assert sum(count for *_, count in counted()) == 3


def test_old_counts_go_with_old_events(acme: Account) -> None:
    acme.hold(item("messages", 0))
    for day in (TWO, TWO + timedelta(days=500)):
        with clock.frozen(day):
            acme.check(1)
            traffic.write()
    with clock.frozen(TWO + timedelta(days=501)):
        assert "2 counts of checks and refusals" in prune()
    assert [row.last_at for row in Refusal.objects.all()] == [TWO + timedelta(days=500)]
    assert CheckTally.objects.count() == 1

"""events.list and events.aggregate (spec/balances.md 14)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import Account, item, ms
from tests.client import Api, read


@pytest.fixture
def april(api: Api) -> Account:
    """Acme with Alice and Bob, who used messages in the first days of April."""
    acme = Account(api, since="2026-04-10")
    acme.hold(item("messages", 1000))
    acme.join("alice", "bob")
    for day, who, value, model in [
        (1, "alice", 10, "small"),
        (2, "bob", 20, "large"),
        (2, "alice", 5, "large"),
        (4, "", 1, "small"),
    ]:
        acme.track(value, by=who, timestamp=ms(f"2026-04-{day:02}T12:00"), properties={"model": model})
    return acme


def aggregate(acme: Account, **wanted: Any) -> Any:
    body = {"customer_id": "acme", "feature_id": "messages", **wanted}
    return acme.api.post("events.aggregate", **body)


def test_events_are_listed_newest_first_with_all_that_was_said(april: Account) -> None:
    events = april.events()
    assert [event["value"] for event in events] == [1, 5, 20, 10]
    first = events[-1]
    assert (first["customer_id"], first["entity_id"], first["feature_id"], first["properties"]) == (
        "acme", "alice", "messages", {"model": "small"},
    )  # fmt: skip
    assert first["timestamp"] == ms("2026-04-01T12:00")
    assert first["id"].startswith("evt_")
    assert [(part["feature_id"], part["value"], part["plan_id"]) for part in first["deductions"]] == [
        ("messages", 10, "free")
    ]


def test_events_are_filtered_by_entity_feature_and_time(april: Account) -> None:
    april.offer("requests")
    april.track(3, "requests")
    assert [event["value"] for event in april.events(entity_id="alice")] == [5, 10]
    assert [event["value"] for event in april.events(feature_id="requests")] == [3]
    assert len(april.events(feature_id=["requests", "messages"])) == 5
    day = {"start": ms("2026-04-02"), "end": ms("2026-04-03")}
    assert [event["value"] for event in april.events(custom_range=day)] == [5, 20]
    assert april.events(feature_id="nope") == []
    assert april.api.post("events.list", customer_id="ghost")["list"] == []


def test_pages_hold_every_event_once_also_at_one_instant(april: Account) -> None:
    for value in range(5):
        april.track(100 + value, timestamp=ms("2026-04-03"))
    seen, cursor = [], ""
    while True:
        page = april.api.post("events.list", customer_id="acme", limit=2, start_cursor=cursor)
        seen += [event["value"] for event in page["list"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == [1, 104, 103, 102, 101, 100, 5, 20, 10]
    for made_up in ("nonsense", "bm9uc2Vuc2U=", "MjAyNnwx"):
        refused = april.api.refused(400, "events.list", customer_id="acme", start_cursor=made_up)
        assert refused["code"] == "invalid_inputs"


def test_an_event_shows_each_balance_it_took_from(acme: Account) -> None:
    acme.hold(item("messages", 10), item("messages", 5, per="seats"))
    acme.join("alice")
    acme.track(8, by="alice")
    (event,) = acme.events()
    assert sorted(part["value"] for part in event["deductions"]) == [3, 5]


def test_sums_per_day_include_the_empty_days(april: Account) -> None:
    span = {"start": ms("2026-04-01"), "end": ms("2026-04-05")}
    answer = aggregate(april, custom_range=span, bin_size="day")
    assert [(row["period"], row["values"]["messages"]) for row in answer["list"]] == [
        (ms("2026-04-01"), 10), (ms("2026-04-02"), 25), (ms("2026-04-03"), 0), (ms("2026-04-04"), 1),
    ]  # fmt: skip
    assert answer["total"] == {"messages": {"count": 4, "sum": 36}}


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        ("properties.model", {"large": 25, "small": 11}),
        ("$entity_id", {"alice": 15, "bob": 20, "": 1}),
        ("$customer_id", {"acme": 36}),
        ("$plan_id", {"free": 36}),
        ("properties.nothing", {"": 36}),
    ],
)
def test_sums_can_be_split(april: Account, group_by: str, expected: dict[str, int]) -> None:
    answer = aggregate(april, range="30d", bin_size="month", group_by=group_by)
    found: dict[str, Any] = {}
    for row in answer["list"]:
        for name, value in row["grouped_values"].get("messages", {}).items():
            found[name] = found.get(name, 0) + value
    assert found == expected


def test_the_smallest_groups_are_summed_up_as_other(april: Account) -> None:
    answer = aggregate(april, range="30d", bin_size="month", group_by="$entity_id", max_groups=1)
    assert answer["list"][-1]["grouped_values"] == {"messages": {"bob": 20, "Other": 16}}


@pytest.mark.parametrize("name", ["24h", "7d", "30d", "90d", "last_cycle", "1bc", "3bc"])
def test_every_range_is_known(april: Account, name: str) -> None:
    answer = aggregate(april, range=name)
    # Acme came on the tenth: all of it was before its present cycle.
    expected = {"24h": 0, "7d": 1, "30d": 36, "90d": 36, "last_cycle": 36, "1bc": 0, "3bc": 36}
    assert answer["total"]["messages"]["sum"] == expected[name]


def test_events_can_be_summed_for_some_properties_only(april: Account) -> None:
    answer = aggregate(april, range="30d", filter_by={"model": "large"})
    assert answer["total"]["messages"] == {"count": 2, "sum": 25}


@pytest.mark.parametrize(
    "wanted",
    [
        {"range": "1y"},
        {"bin_size": "minute"},
        {"group_by": "model"},
        {"group_by": "properties."},
        {"custom_range": {"start": ms("2026-04-02"), "end": ms("2026-04-01")}},
        {"custom_range": {"start": ms("2026-04-02")}},
        {"range": "7d", "custom_range": {"start": ms("2026-04-01"), "end": ms("2026-04-02")}},
        {"custom_range": {"start": 0, "end": ms("2026-04-02")}, "bin_size": "hour"},
        {"feature_id": [7]},
        {"max_groups": 0},
        {"filter_by": "model"},
    ],
)
def test_a_sum_that_makes_no_sense_is_refused(april: Account, wanted: dict[str, Any]) -> None:
    body = {"customer_id": "acme", "feature_id": "messages", **wanted}
    assert april.api.refused(400, "events.aggregate", **body)["code"] == "invalid_inputs"


def test_the_sum_of_an_unknown_customer_is_not_found(api: Api) -> None:
    refused = api.refused(404, "events.aggregate", customer_id="ghost", feature_id="messages")
    assert refused["code"] == "customer_not_found"


def test_clients_that_name_a_version_see_a_released_lock_as_if_it_had_never_been(acme: Account) -> None:
    acme.hold(item("messages", 100))
    acme.lock(30, "call")
    acme.settle("call", "release")
    assert [event["value"] for event in acme.events()] == [-30, 30]
    named = read(acme.api.send("events.list", {"customer_id": "acme"}, x_api_version="2.3.0"), 200)
    assert named["list"] == []


def test_the_older_address_pages_by_offset(april: Account) -> None:
    page = april.api.post("events/list", customer_id="acme", offset=1, limit=2)
    assert ([event["value"] for event in page["list"]], page["has_more"]) == ([5, 20], True)


def test_an_event_name_is_kept_with_each_event_it_made(acme: Account) -> None:
    acme.hold(item("action1", 10), item("action3", 10))
    acme.api.post("balances.track", customer_id="acme", event_name="acted", value=2)
    assert [(event["feature_id"], event["event_name"]) for event in acme.events()] == [
        ("action3", "acted"), ("action1", "acted"),
    ]  # fmt: skip


def test_the_clock_of_the_events_is_the_customers(api: Api) -> None:
    acme = Account(api, since="2031-01-01")
    acme.hold(item("messages", 10))
    acme.track()
    assert acme.events()[0]["timestamp"] == ms("2031-01-01")
    assert datetime.now(UTC).year < 2031

"""balances.batch_track: all items are read before any is carried out (spec/balances.md 14.1, 14.2)."""

from typing import Any

import pytest

from tests.builders import Account, item
from tests.client import Api, read

CALL = "balances.batch_track"


def one(value: Any = 1, feature: str = "messages", **more: Any) -> dict[str, Any]:
    return {"customer_id": "acme", "feature_id": feature, "value": value, **more}


def batch(api: Api, *items: Any) -> None:
    assert read(api.send(CALL, list(items)), 202) == {"success": True}


def test_every_item_is_tracked(acme: Account) -> None:
    acme.hold(item("messages", 100), item("messages", 50, per="seats"))
    acme.join("alice")
    batch(acme.api, one(3), one(4, entity_id="alice"), one(-1), {"customer_id": "acme", "feature_id": "messages"})
    assert acme.numbers() == (150, 143, 7)
    assert [event["value"] for event in acme.events()] == [1, -1, 4, 3]


def test_one_bad_item_refuses_the_whole_batch_and_says_which(acme: Account) -> None:
    acme.hold(item("messages", 100))
    for bad, word in [
        (one(value="5"), "value"),
        (one(feature="nope"), "nope"),
        ({"customer_id": "ghost", "feature_id": "messages"}, "ghost"),
        (one(entity_id="ghost"), "ghost"),
        ({"customer_id": "acme"}, "feature_id"),
        ({"feature_id": "messages"}, "customer_id"),
        ("text", ""),
        (None, ""),
        ([], ""),
        (one(overage_behavior="none"), "overage_behavior"),
        (one(timestamp=10**15), "timestamp"),
        (one(timestamp=32_503_680_000_000), "timestamp"),
        (one(idempotency_key="k" * 256), "idempotency_key"),
        (one(idempotency_key=5), "idempotency_key"),
        (one(lock={"enabled": True, "lock_id": "call"}), "lock"),
    ]:
        answer = read(acme.api.send(CALL, [one(3), bad]), 400)
        assert answer["code"] == "invalid_inputs", bad
        assert "1" in answer["message"], answer
        assert word in answer["message"], answer
    assert (acme.numbers(), acme.events()) == ((100, 100, 0), [])


@pytest.mark.parametrize("body", [[], {}, "text", None, [one()] * 1001])
def test_a_batch_holds_one_to_a_thousand_items(acme: Account, body: Any) -> None:
    acme.hold(item("messages", 100))
    assert read(acme.api.send(CALL, body), 400)["code"] == "invalid_inputs"
    assert acme.numbers() == (100, 100, 0)


def test_a_thousand_items_are_tracked(acme: Account) -> None:
    acme.hold(item("messages", 5000))
    batch(acme.api, *[one()] * 1000)
    assert acme.numbers() == (5000, 4000, 1000)


def test_a_key_that_comes_twice_counts_once_here_and_in_the_next_batch(acme: Account) -> None:
    acme.hold(item("messages", 20))
    batch(acme.api, one(3, idempotency_key="k"), one(3, idempotency_key="k"), one(2, idempotency_key="l"))
    assert acme.numbers() == (20, 15, 5)
    batch(acme.api, one(3, idempotency_key="k"), one(1, idempotency_key="q"))
    assert acme.numbers() == (20, 14, 6)


def test_what_a_balance_rejects_is_left_out_and_the_rest_counts(acme: Account) -> None:
    acme.hold(item("messages", 10))
    batch(acme.api, one(8), one(5, overage_behavior="reject"), one(2, overage_behavior="reject"))
    assert acme.numbers() == (10, 0, 10)


def test_an_event_name_works_in_a_batch(acme: Account) -> None:
    acme.hold(item("action1", 10), item("action3", 10))
    batch(acme.api, {"customer_id": "acme", "event_name": "acted", "value": 4})
    assert (acme.numbers("action1"), acme.numbers("action3")) == ((10, 6, 4), (10, 6, 4))


def test_items_of_several_customers_go_together(acme: Account) -> None:
    acme.hold(item("messages", 10))
    bobs = Account(acme.api, "bobs")
    bobs.attach("free")
    batch(acme.api, one(1), {**one(2), "customer_id": "bobs"}, one(3))
    assert (acme.numbers(), bobs.numbers()) == ((10, 6, 4), (10, 8, 2))

"""What applications are told of usage: alerts when a threshold is crossed, and limits when they are reached."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing.models import WebhookDelivery, WebhookMessage
from billing.services.webhooks import sending
from config.api import decode
from tests.builders import Account, item, limit, overage
from tests.client import Api
from tests.selling import Shop
from tests.webhooks.receiver import Receiver

ALERT, LIMIT = "balances.usage_alert_triggered", "balances.limit_reached"


def alert(threshold: Any, kind: str = "usage", feature: str = "summaries", **more: Any) -> dict[str, Any]:
    """Billing controls with one alert."""
    entry = {"feature_id": feature, "threshold": threshold, "threshold_type": kind, "enabled": True, **more}
    return {"usage_alerts": [entry]}


def told() -> list[tuple[str, dict[str, Any]]]:
    """What was written down since it was last asked, oldest first."""
    found = [decode(body.encode()) for body in WebhookMessage.objects.order_by("pk").values_list("body", flat=True)]
    WebhookMessage.objects.all().delete()
    return [(message["type"], message["data"]) for message in found]


def limits() -> list[Any]:
    return [(data.get("entity_id"), data["feature_id"], data["limit_type"]) for kind, data in told() if kind == LIMIT]


@pytest.fixture
def team(acme: Account) -> Account:
    """Alice and Bob, with 50 summaries each."""
    acme.join("alice", "bob")
    acme.hold(item("summaries", 50, per="seats"))
    return acme


def test_alice_is_told_at_40_of_her_50_and_again_next_month(api: Api, receiver: Receiver) -> None:
    acme = Account(api, since="2026-11-01")
    acme.join("alice", "bob")
    acme.hold(item("summaries", 50, per="seats"))
    receiver.listen(ALERT, LIMIT)
    acme.control(alert(80, "usage_percentage", name="Nearly there"), of="alice")

    acme.track(39, "summaries", by="alice")
    acme.track(50, "summaries", by="bob")
    sending.deliver_due()
    assert [message["data"].get("entity_id") for message in receiver.came] == ["bob"]  # his limit, and nobody's alert

    acme.track(1, "summaries", by="alice")
    acme.track(1, "summaries", by="alice")
    sending.deliver_due()
    (message,) = receiver.came[1:]
    assert message == {
        "type": ALERT,
        "timestamp": "2026-11-01T00:00:00.000Z",
        "data": {
            "customer_id": "acme",
            "entity_id": "alice",
            "feature_id": "summaries",
            "usage_alert": {"name": "Nearly there", "threshold": 80, "threshold_type": "usage_percentage"},
        },
    }

    acme.turn_clock("2026-12-01T00:00:01")
    acme.track(45, "summaries", by="alice")
    sending.deliver_due()
    assert [message["timestamp"][:10] for message in receiver.came[2:]] == ["2026-12-01"]


def test_a_customers_alert_counts_what_all_its_entities_use(team: Account, receiver: Receiver) -> None:
    receiver.listen(ALERT)
    team.control(alert(60))
    team.track(30, "summaries", by="alice")
    team.track(29, "summaries", by="bob")
    assert told() == []
    team.track(1, "summaries", by="bob")
    ((_, data),) = told()
    assert data["usage_alert"] == {"threshold": 60, "threshold_type": "usage"}
    assert "entity_id" not in data
    team.track(-1, "summaries", by="bob")
    team.track(1, "summaries")  # a customer's track crosses as well
    assert len(told()) == 1


def test_a_plans_alerts_are_its_holders(acme: Account, receiver: Receiver) -> None:
    receiver.listen()
    acme.join("alice", "bob")
    acme.hold(item("messages", 10), plan_id="pool", billing_controls=alert(5, feature="messages"), group="a")
    acme.hold(
        item("messages", 10), plan_id="own", by="alice", billing_controls=alert(15, feature="messages"), group="b"
    )
    told()
    acme.track(6, by="alice")  # off her own; in all 6 of 20
    acme.track(9, by="alice")
    found = [(data.get("entity_id"), data["usage_alert"]["threshold"]) for kind, data in told() if kind == ALERT]
    assert found == [(None, 5), ("alice", 15)]


def test_what_is_unlimited_tells_nothing(acme: Account, receiver: Receiver) -> None:
    receiver.listen()
    acme.hold(item("messages", unlimited=True))
    acme.control(alert(5, feature="messages"))
    told()
    acme.track(100)
    assert told() == []


def test_a_limit_is_told_once_when_it_is_reached_and_again_after_it_was_lifted(
    team: Account, receiver: Receiver
) -> None:
    receiver.listen(LIMIT)
    team.track(49, "summaries", by="alice")
    assert limits() == []
    team.track(1, "summaries", by="alice")
    assert limits() == [("alice", "summaries", "included")]
    team.track(5, "summaries", by="alice")
    assert limits() == []
    team.track(-1, "summaries", by="alice")
    team.track(5, "summaries", by="alice")  # capped
    assert limits() == [("alice", "summaries", "included")]
    team.track(50, "summaries")
    assert limits() == [(None, "summaries", "included")]


def test_what_goes_on_being_sold_reaches_no_limit_before_its_last_unit(shop: Shop, receiver: Receiver) -> None:
    acme = Account(shop.api, "sold")
    receiver.listen(LIMIT)
    price = {"interval": "month", "amount": 1, "billing_method": "usage_based"}
    shop.api.post("sandbox.set_payment_method", customer_id="sold", payment_method="success")
    acme.hold(item("messages", 10, price={**price, "max_purchase": 5}))
    acme.track(10)
    assert limits() == []
    acme.track(5)
    assert limits() == [(None, "messages", "max_purchase")]
    acme.track(-15)
    acme.control({"spend_limits": [{"feature_id": "messages", "enabled": True, "overage_limit": 2}]})
    acme.track(12)
    assert limits() == [(None, "messages", "spend_limit")]


def test_a_usage_limit_is_named_as_such(acme: Account, receiver: Receiver) -> None:
    receiver.listen(LIMIT)
    acme.hold(item("messages", 100))
    acme.control(limit(20))
    acme.track(19)
    acme.track(1)
    assert limits() == [(None, "messages", "usage_limit")]


def test_credits_that_paid_are_told_of_in_credits(acme: Account, receiver: Receiver) -> None:
    receiver.listen()
    acme.hold(item("credits", 10))
    acme.control(alert(5, feature="credits"))
    told()
    acme.track(25, "action1")
    assert [data["feature_id"] for kind, data in told() if kind == ALERT] == ["credits"]
    acme.track(25, "action1")
    assert limits() == [(None, "credits", "included")]


def test_locks_settlements_checks_that_deduct_and_settings_tell_as_tracks_do(team: Account, receiver: Receiver) -> None:
    receiver.listen()
    team.control(alert(40), of="alice")
    team.lock(45, "one", "summaries", by="alice")
    assert len(told()) == 1
    team.settle("one", "release")
    assert told() == []
    team.lock(30, "two", "summaries", by="alice")
    team.settle("two", override_value=50)
    assert [kind for kind, _ in told()] == [LIMIT, ALERT]
    team.set("summaries", of="alice", usage=10)
    assert told() == []
    team.set("summaries", of="alice", usage=40)
    assert [kind for kind, _ in told()] == [ALERT]
    team.check(10, "summaries", by="alice", send_event=True)
    assert limits() == [("alice", "summaries", "included")]
    team.check(10, "summaries", by="alice", send_event=True)
    assert limits() == []


def test_an_entity_that_comes_uses_a_seat(acme: Account, receiver: Receiver) -> None:
    acme.hold(item("seats", 3))
    receiver.listen()
    acme.control(alert(2, feature="seats"))
    acme.join("alice")
    assert told() == []
    acme.join("bob")
    assert [(kind, data["feature_id"]) for kind, data in told()] == [(ALERT, "seats")]
    acme.join("carol")
    assert limits() == [(None, "seats", "included")]


def test_what_is_rolled_back_is_not_told(team: Account, receiver: Receiver) -> None:
    receiver.listen()
    with transaction.atomic():
        team.track(50, "summaries", by="alice")
        transaction.set_rollback(True)
    assert told() == []
    team.refused(400, "balances.track", by="alice", feature_id="summaries", value=51, overage_behavior="reject")
    assert told() == []


def test_who_is_disabled_removed_or_listens_to_something_else_gets_nothing(team: Account, receiver: Receiver) -> None:
    for name, events in (("one", [ALERT]), ("two", []), ("three", [LIMIT])):
        endpoint = receiver.listen(*events, public_id=name)
        endpoint.disabled_at = endpoint.created_at if name == "two" else None
        endpoint.save()
    team.track(50, "summaries", by="alice")
    assert [delivery.endpoint.public_id for delivery in WebhookDelivery.objects.all()] == ["three"]


@pytest.mark.parametrize(("controls", "most"), [({}, 1), (overage(False, feature="summaries"), 3)])
def test_where_nobody_listens_a_track_takes_the_statements_it_took(
    team: Account, controls: dict[str, Any], most: int
) -> None:
    team.control(controls, of="alice")
    with CaptureQueriesContext(connection) as captured:
        team.track(1, "summaries", by="alice")
    statements = [query["sql"] for query in captured if "billing_" in query["sql"]]
    assert len(statements) == most, statements
    assert not any(statement.startswith("SELECT") and "webhook" in statement for statement in statements)

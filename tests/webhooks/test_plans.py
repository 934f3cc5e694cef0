"""What applications are told of plans: once for each change, with what happened to each plan."""

from typing import Any

import pytest

from billing.models import WebhookMessage
from config.api import decode
from tests.builders import Account, item, ms
from tests.client import Api
from tests.selling import Shop
from tests.street import Street
from tests.webhooks.receiver import Receiver

UPDATED = "billing.updated"


def told() -> list[Any]:
    """What was told since it was last asked: entity, then action and plan of each change, and the tags."""
    bodies = list(WebhookMessage.objects.filter(type=UPDATED).order_by("pk").values_list("body", flat=True))
    WebhookMessage.objects.all().delete()
    found = []
    for body in bodies:
        data = decode(body.encode())["data"]
        changes = [
            (change["action"], (change.get("subscription") or change.get("purchase"))["plan_id"])
            for change in data["plan_changes"]
        ]
        found.append((data["entity_id"], sorted(changes), data["tags"]))
    return found


@pytest.fixture
def acme(shop: Shop, receiver: Receiver) -> Account:
    """Acme, since January, with a card; somebody listens."""
    acme = Account(shop.api, since="2026-01-15")
    shop.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    for plan_id, amount in (("basic", 10), ("pro", 30)):
        acme.plan(plan_id, item("messages", 10), price={"amount": amount, "interval": "month"}, group="main")
    receiver.listen(UPDATED)
    return acme


def test_a_plan_that_is_attached_is_told_as_the_contract_has_it(acme: Account) -> None:
    acme.attach("basic")
    message = decode(WebhookMessage.objects.get().body.encode())
    assert message == {
        "type": UPDATED,
        "timestamp": "2026-01-15T00:00:00.000Z",
        "data": {
            "object": UPDATED,
            "customer_id": "acme",
            "entity_id": None,
            "plan_changes": [
                {
                    "action": "activated",
                    "subscription": {
                        "plan_id": "basic",
                        "status": "active",
                        "past_due": False,
                        "started_at": ms("2026-01-15"),
                        "canceled_at": None,
                        "expires_at": None,
                        "trial_ends_at": None,
                        "current_period_start": ms("2026-01-15"),
                        "current_period_end": ms("2026-02-15"),
                    },
                    "previous_attributes": None,
                    "item_changes": [],
                }
            ],
            "tags": [],
        },
    }


def test_upgrades_downgrades_cancellations_and_renewals_tell_what_became_of_each_plan(acme: Account) -> None:
    acme.attach("basic")
    told()
    acme.attach("pro")
    assert told() == [(None, [("activated", "pro"), ("expired", "basic")], [])]
    acme.attach("basic")  # from the next cycle on
    assert told() == [(None, [("scheduled", "basic"), ("updated", "pro")], [])]
    acme.turn_clock("2026-02-15T00:00:01")
    assert told() == [(None, [("activated", "basic"), ("expired", "pro")], [])]
    acme.turn_clock("2026-03-15T00:00:01")
    assert told() == []  # it renews as ever
    acme.api.post("billing.update", customer_id="acme", plan_id="basic", cancel_action="cancel_end_of_cycle")
    assert told() == [(None, [("updated", "basic")], [])]
    acme.turn_clock("2026-04-15T00:00:01")
    assert told() == [(None, [("expired", "basic")], [])]


def test_a_renewal_that_is_not_paid_is_told_and_so_is_its_payment(acme: Account) -> None:
    acme.attach("basic")
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="declines")
    told()
    acme.turn_clock("2026-02-15T00:00:01")
    assert told() == [(None, [("updated", "basic")], [])]
    acme.api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    acme.api.post("sandbox.pay_invoice", customer_id="acme")
    assert told() == [(None, [("updated", "basic")], [])]


def test_many_renewals_at_once_tell_of_those_that_were_not_paid(acme: Account, api: Api) -> None:
    street = Street(api, "2026-01-31")
    for customer in ("one", "two"):
        street.opens(customer, "basic")
    street.call("sandbox.set_payment_method", "two", payment_method="declines")
    told()
    street.on("2026-02-28")
    street.run()
    ((_, changes, _),) = told()
    assert changes == [("updated", "basic")]


def test_an_entitys_plans_are_told_with_its_id_and_end_with_it(acme: Account) -> None:
    acme.join("a", feature="workspaces")
    acme.attach("basic", by="a")
    assert told() == [("a", [("activated", "basic")], [])]
    acme.leave("a")
    assert told() == [("a", [("expired", "basic")], [])]


def test_a_trial_that_is_over_says_so(acme: Account) -> None:
    trial = {"duration_length": 7, "duration_type": "day", "card_required": True}
    acme.plan("tried", item("messages", 5), price={"amount": 5, "interval": "month"}, group="x", free_trial=trial)
    acme.attach("tried")
    told()
    acme.turn_clock("2026-01-22T00:00:01")
    assert told() == [(None, [("updated", "tried")], ["trial_ended"])]


def test_a_preview_tells_nothing_and_neither_does_who_does_not_listen(api: Api, acme: Account) -> None:
    api.post("billing.preview_attach", customer_id="acme", plan_id="basic")
    assert told() == []

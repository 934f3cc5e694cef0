"""What is done at the processor is believed here: cancellations, resumptions, payments."""

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms


@pytest.fixture
def default(api: Api) -> Shop:
    shop = Shop(api)
    shop.plan("free", None, monthly("messages", 100), auto_enable=True)
    shop.plan("pro", 20, monthly("messages", 500, amount=0.1))
    shop.plan("premium", 50, monthly("messages", 1000))
    return shop


def canceled(shop: Shop, entity: str | None = None, **more: bool) -> None:
    shop.api.post("sandbox.cancel_subscription", customer_id=CUSTOMER, entity_id=entity, **more)


def test_canceled_there_the_default_takes_over_without_credit_or_bill(default: Shop) -> None:
    default.opens("2026-04-01")
    default.buys("pro")
    default.uses("messages", 700)
    default.on("2026-04-16")
    canceled(default)
    assert default.plans() == {"free": "active"}
    assert default.left("messages") == 100
    assert default.processor() == []
    assert default.invoices() == [20]
    default.on("2026-06-02")
    assert default.invoices() == [20]


def test_canceled_there_for_a_workspace_nothing_follows_and_the_others_stay(default: Shop) -> None:
    default.opens("2026-04-01", "a", "b")
    default.buys("pro", "a")
    default.buys("pro", "b")
    canceled(default, "a")
    assert (default.plans("a"), default.plans("b")) == ({}, {"pro": "active"})
    assert [row["entity_id"] for row in default.processor()] == ["b"]


def test_canceled_there_at_the_end_and_resumed(default: Shop) -> None:
    default.opens("2026-04-01")
    default.buys("pro")
    default.on("2026-04-10")
    canceled(default, at_period_end=True)
    assert default.plans() == {"pro": "canceling", "free": "scheduled"}
    row = next(row for row in default.customer()["subscriptions"] if row["plan_id"] == "pro")
    assert (row["canceled_at"], row["expires_at"]) == (ms("2026-04-10"), ms("2026-05-01"))
    canceled(default, at_period_end=True)
    assert default.plans() == {"pro": "canceling", "free": "scheduled"}
    default.api.post("sandbox.resume_subscription", customer_id=CUSTOMER)
    assert default.plans() == {"pro": "active"}
    default.on("2026-05-02")
    assert default.plans() == {"pro": "active"}
    canceled(default, at_period_end=True)
    default.uses("messages", 600)
    default.on("2026-06-02")
    assert default.plans() == {"free": "active"}
    assert default.invoices() == [10, 20, 20]


def test_a_paid_successor_goes_with_what_is_canceled_there_and_a_free_one_starts(default: Shop) -> None:
    default.opens("2026-04-01", "a", "b")
    default.buys("premium", "a")
    default.buys("pro", "a")
    default.buys("pro", "b")
    default.buys("free", "b")
    canceled(default, "a")
    canceled(default, "b")
    assert (default.plans("a"), default.plans("b")) == ({}, {"free": "active"})


def test_everything_of_the_scope_ends_with_its_subscription(default: Shop) -> None:
    default.plan("extra", 10, monthly("words", 5), add_on=True)
    default.opens("2026-04-01")
    default.buys("pro")
    default.buys("extra")
    canceled(default)
    assert default.plans() == {"free": "active"}
    assert default.left("words") is None


def test_what_the_processor_holds_follows_every_change(default: Shop) -> None:
    default.opens("2026-04-01", "a")
    default.buys("pro", "a")

    def held() -> list[tuple[str, int, int]]:
        rows = default.processor()
        return [(i["plan_id"], i["quantity"], i["amount"]) for row in rows for i in row["items"] if not i["feature_id"]]

    assert held() == [("pro", 1, 20)]
    default.on("2026-04-16")
    default.buys("premium", "a")
    assert held() == [("premium", 1, 50)]
    assert len(default.api.post("sandbox.processor_state", customer_id=CUSTOMER)["subscriptions"]) == 1
    default.buys("pro", "a")
    assert held() == [("pro", 1, 20)]  # what the processor will charge next
    default.on("2026-05-02")
    assert held() == [("pro", 1, 20)]
    row = default.processor()[0]
    assert (row["current_period_start"], row["current_period_end"]) == (ms("2026-05-01"), ms("2026-06-01"))
    default.update("pro", "a", cancel_action="cancel_end_of_cycle")
    assert default.processor()[0]["cancel_at"] == ms("2026-06-01")
    default.update("pro", "a", cancel_action="uncancel")
    assert default.processor()[0]["cancel_at"] is None
    default.update("pro", "a", cancel_action="cancel_immediately")
    assert held() == []


def test_without_a_subscription_there_is_nothing_to_cancel(default: Shop) -> None:
    default.opens("2026-04-01")
    default.api.refused(400, "sandbox.cancel_subscription", customer_id=CUSTOMER)

"""What is done at the processor is believed here: cancellations, resumptions, payments."""

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("free", None, monthly("messages", 100), auto_enable=True)
    shop.plan("pro", 20, monthly("messages", 500, amount=0.1))
    shop.plan("premium", 50, monthly("messages", 1000))
    return shop


def canceled(shop: Shop, entity: str | None = None, **more: bool) -> None:
    shop.api.post("sandbox.cancel_subscription", customer_id=CUSTOMER, entity_id=entity, **more)


def test_canceled_there_the_default_takes_over_without_credit_or_bill(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.uses("messages", 700)
    shop.on("2026-04-16")
    canceled(shop)
    assert shop.plans() == {"free": "active"}
    assert shop.left("messages") == 100
    assert shop.processor() == []
    assert shop.invoices() == [20]
    shop.on("2026-06-02")
    assert shop.invoices() == [20]


def test_canceled_there_for_a_workspace_nothing_follows_and_the_others_stay(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    canceled(shop, "a")
    assert (shop.plans("a"), shop.plans("b")) == ({}, {"pro": "active"})
    assert [row["entity_id"] for row in shop.processor()] == ["b"]


def test_canceled_there_at_the_end_and_resumed(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.on("2026-04-10")
    canceled(shop, at_period_end=True)
    assert shop.plans() == {"pro": "canceling", "free": "scheduled"}
    row = next(row for row in shop.customer()["subscriptions"] if row["plan_id"] == "pro")
    assert (row["canceled_at"], row["expires_at"]) == (ms("2026-04-10"), ms("2026-05-01"))
    canceled(shop, at_period_end=True)
    assert shop.plans() == {"pro": "canceling", "free": "scheduled"}
    shop.api.post("sandbox.resume_subscription", customer_id=CUSTOMER)
    assert shop.plans() == {"pro": "active"}
    shop.on("2026-05-02")
    assert shop.plans() == {"pro": "active"}
    canceled(shop, at_period_end=True)
    shop.uses("messages", 600)
    shop.on("2026-06-02")
    assert shop.plans() == {"free": "active"}
    assert shop.invoices() == [10, 20, 20]


def test_a_paid_successor_goes_with_what_is_canceled_there_and_a_free_one_starts(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("premium", "a")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    shop.buys("free", "b")
    canceled(shop, "a")
    canceled(shop, "b")
    assert (shop.plans("a"), shop.plans("b")) == ({}, {"free": "active"})


def test_everything_of_the_scope_ends_with_its_subscription(shop: Shop) -> None:
    shop.plan("extra", 10, monthly("words", 5), add_on=True)
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.buys("extra")
    canceled(shop)
    assert shop.plans() == {"free": "active"}
    assert shop.left("words") is None


def test_what_the_processor_holds_follows_every_change(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")

    def held() -> list[tuple[str, int, int]]:
        rows = shop.processor()
        return [(i["plan_id"], i["quantity"], i["amount"]) for row in rows for i in row["items"] if not i["feature_id"]]

    assert held() == [("pro", 1, 20)]
    shop.on("2026-04-16")
    shop.buys("premium", "a")
    assert held() == [("premium", 1, 50)]
    assert len(shop.api.post("sandbox.processor_state", customer_id=CUSTOMER)["subscriptions"]) == 1
    shop.buys("pro", "a")
    assert held() == [("pro", 1, 20)]  # what the processor will charge next
    shop.on("2026-05-02")
    assert held() == [("pro", 1, 20)]
    row = shop.processor()[0]
    assert (row["current_period_start"], row["current_period_end"]) == (ms("2026-05-01"), ms("2026-06-01"))
    shop.update("pro", "a", cancel_action="cancel_end_of_cycle")
    assert shop.processor()[0]["cancel_at"] == ms("2026-06-01")
    shop.update("pro", "a", cancel_action="uncancel")
    assert shop.processor()[0]["cancel_at"] is None
    shop.update("pro", "a", cancel_action="cancel_immediately")
    assert held() == []


def test_without_a_subscription_there_is_nothing_to_cancel(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.api.refused(400, "sandbox.cancel_subscription", customer_id=CUSTOMER)

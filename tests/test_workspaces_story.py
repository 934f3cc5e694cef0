"""The seeds' second story over a year: workspaces on tiers of their own, one payer, one cycle, told in dates.

Globex has workspaces. Free has 100 requests a month, Pro 10 000 for 20. The first Pro is bought on the last of August,
so months end on the last day, through a leap day.
"""

from decimal import Decimal

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, ms

D = Decimal


@pytest.fixture
def globex(api: Api) -> Shop:
    shop = Shop(api)
    for feature, consumable in [("workspaces", False), ("requests", True)]:
        api.post("features.create", feature_id=feature, name=feature.title(), type="metered", consumable=consumable)
    shop.plan("workspace_free", None, monthly("requests", 100), group="workspace")
    shop.plan("workspace_pro", 20, monthly("requests", 10_000), group="workspace")
    return shop


def opens(globex: Shop, workspace: str) -> None:
    globex.api.post("entities.create", customer_id=CUSTOMER, entity_id=workspace, feature_id="workspaces")


def allowed(globex: Shop, workspace: str, requests: int = 1) -> bool:
    body = {"customer_id": CUSTOMER, "entity_id": workspace, "feature_id": "requests", "required_balance": requests}
    return bool(globex.api.post("balances.check", **body)["allowed"])


def test_a_year_of_workspaces(globex: Shop) -> None:
    globex.opens("2027-08-31")
    for workspace in ("a", "b"):
        opens(globex, workspace)
    assert globex.buys("workspace_free", "a") == 0
    assert globex.buys("workspace_pro", "b") == 20
    assert (allowed(globex, "a", 101), allowed(globex, "b", 10_000)) == (False, True)

    # September: each workspace uses its own.
    globex.uses("requests", 100, "a")
    globex.uses("requests", 4_000, "b")
    assert (allowed(globex, "a"), allowed(globex, "b")) == (False, True)
    assert (globex.left("requests", "a"), globex.left("requests", "b")) == (0, 6_000)

    # A third workspace joins in mid-cycle: half the price, the full allowance.
    globex.on("2027-09-15")
    opens(globex, "c")
    assert globex.buys("workspace_pro", "c") == 10
    assert globex.left("requests", "c") == 10_000

    # Boundaries are counted from 31 August, and everybody's is the same.
    globex.on("2027-10-01")
    assert globex.invoices() == [20, 20, 10, 20]
    assert [globex.left("requests", of) for of in "abc"] == [100, 10_000, 10_000]
    ends = {globex.entity(of)["subscriptions"][0]["current_period_end"] for of in "bc"}
    assert ends == {ms("2027-10-31")}

    # Cron sleeps for two months: each boundary is an invoice of its own.
    globex.on("2027-12-10")
    assert len(globex.invoices()) == 8
    created = [row["created_at"] for row in globex.customer("invoices")["invoices"][:4]]
    assert created == [ms("2027-11-30")] * 2 + [ms("2027-10-31")] * 2

    # January: the free workspace moves up in mid-cycle and joins the others; 21 of 31 days are left.
    globex.on("2028-01-10")
    assert globex.buys("workspace_pro", "a") == D("13.55")
    assert globex.left("requests", "a") == 10_000

    # February has a 29th. One workspace leaves for Free with it, and comes back before that.
    globex.on("2028-02-14")
    globex.update("workspace_pro", "b", cancel_action="cancel_end_of_cycle")
    assert globex.plans("b") == {"workspace_pro": "canceling"}
    assert globex.plans("c") == {"workspace_pro": "active"}
    globex.update("workspace_pro", "b", cancel_action="uncancel")
    assert globex.buys("workspace_free", "b") == 0
    assert globex.plans("b") == {"workspace_pro": "canceling", "workspace_free": "scheduled"}
    globex.on("2028-02-28T23:59:59")
    assert globex.plans("b") == {"workspace_pro": "canceling", "workspace_free": "scheduled"}
    globex.on("2028-02-29")
    assert globex.plans("b") == {"workspace_free": "active"}
    assert globex.left("requests", "b") == 100
    assert globex.invoices()[:2] == [20, 20]

    # In March a workspace is deleted: no credit, no bill, and its id is free again.
    globex.on("2028-03-10")
    before = globex.invoices()
    globex.leaves("c")
    assert globex.invoices() == before
    assert [row["entity_id"] for row in globex.processor()] == ["a"]
    opens(globex, "c")
    assert globex.plans("c") == {}
    assert not allowed(globex, "c")

    # From 29 February to 31 March there are 31 days, and 21 are left on the 10th.
    assert globex.buys("workspace_pro", "c") == D("13.55")
    globex.on("2028-03-31")
    assert globex.invoices()[:2] == [20, 20]

    # The company takes Pro for itself: it stands beside its workspaces' plans and belongs to all of them.
    globex.on("2028-04-15")
    assert globex.buys("workspace_pro") == 10
    assert globex.left("requests", "a") == 20_000
    globex.uses("requests", 12_000, "a")
    assert (globex.left("requests", "a"), globex.left("requests", "c")) == (8_000, 18_000)

    # A year later everything is still on the last of the month, one invoice a scope.
    globex.on("2028-09-01")
    assert {row["entity_id"]: row["current_period_end"] for row in globex.processor()} == {
        "a": ms("2028-09-30"),
        "c": ms("2028-09-30"),
        None: ms("2028-09-30"),
    }
    assert globex.invoices()[:3] == [20, 20, 20]
    paid = {invoice["status"] for invoice in globex.customer("invoices")["invoices"]}
    assert paid == {"paid"}

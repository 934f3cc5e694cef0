"""invoices.list: what was charged, over all customers or of one, in pages."""

from typing import Any

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    """Acme's own plan, renewed once, and one of its entity a; Umbrella bought the same, and its card was declined."""
    shop = Shop(stage)
    shop.opens("2026-04-01", "a")
    shop.plan("pro", 20, monthly("messages", 100))
    shop.attach("pro")
    shop.attach("pro", "a")
    stage.post("customers.get_or_create", customer_id="umbrella")
    stage.post("sandbox.set_payment_method", customer_id="umbrella", payment_method="declines")
    stage.post("billing.attach", customer_id="umbrella", plan_id="pro")
    shop.on("2026-05-02")
    return shop


def listed(shop: Shop, **wanted: Any) -> list[tuple[Any, ...]]:
    rows = shop.api.post("invoices.list", **wanted)["list"]
    return [(row["customer_id"], row["entity_id"], row["status"], row["total"], row["amount_paid"]) for row in rows]


OWN, OF_A = (CUSTOMER, None, "paid", 20, 20), (CUSTOMER, "a", "paid", 20, 20)
DECLINED = ("umbrella", None, "open", 20, 0)


def test_invoices_are_listed_newest_first(shop: Shop) -> None:
    everything = listed(shop)
    assert sorted(everything[:2], key=str) == [OF_A, OWN]
    assert everything[2:] == [DECLINED, OF_A, OWN]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"customer_id": "umbrella"}, [DECLINED]),
        ({"customer_id": CUSTOMER, "entity_id": "a"}, [OF_A, OF_A]),
        ({"status": ["open", "void"]}, [DECLINED]),
        ({"processor_types": ["revenuecat"]}, []),
        ({"processor_types": ["stripe"], "status": ["draft"]}, []),
    ],
)
def test_they_can_be_narrowed_down(shop: Shop, wanted: dict[str, Any], expected: list[Any]) -> None:
    assert listed(shop, **wanted) == expected


def test_those_of_an_entity_that_has_left_stay(shop: Shop) -> None:
    shop.leaves("a")
    assert listed(shop, customer_id=CUSTOMER, entity_id="a").count(OF_A) == 2


def test_pages_hold_every_invoice_once(shop: Shop) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        page = shop.api.post("invoices.list", limit=2, start_cursor=cursor)
        seen += [row["id"] for row in page["list"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 5


def test_what_cannot_be_meant_is_refused(shop: Shop) -> None:
    assert shop.api.refused(404, "invoices.list", customer_id="nobody")["code"] == "customer_not_found"
    for wanted in ({"entity_id": "a"}, {"status": ["late"]}, {"limit": 0}, {"start_cursor": "?"}):
        [name] = wanted
        assert name in shop.api.refused(400, "invoices.list", **wanted)["message"]

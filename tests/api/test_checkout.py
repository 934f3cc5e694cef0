"""Money that needs the customer: no card, declined, 3D Secure; pages that work in a browser without scripts."""

from typing import Any

import pytest
from django.test import Client, override_settings

from billing.models import Operation
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, prepaid


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("pro", 20, monthly("messages", 100))
    shop.plan("premium", 50, monthly("messages", 500))
    return shop


def path(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def test_without_a_card_nothing_is_granted_until_the_checkout_is_paid(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b", card=None)
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro", entity_id="a")
    assert (preview["redirect_to_checkout"], preview["checkout_type"]) == (True, "stripe_checkout")
    answer = shop.attach("pro", "a")
    assert (answer["invoice"], answer["required_action"]) == (None, None)
    assert shop.plans("a") == {}
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.plans("a") == {"pro": "active"}
    assert shop.invoices() == [20]
    assert shop.buys("pro", "b") == 20


def test_the_same_request_gets_the_same_page_and_another_one_closes_it(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    first = shop.attach("pro")["payment_url"]
    assert shop.attach("pro")["payment_url"] == first
    second = shop.attach("premium")["payment_url"]
    assert second != first
    assert "expired" in Client().get(path(first)).content.decode()
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.plans() == {"premium": "active"}


def test_a_page_sells_what_recurs_at_one_interval(shop: Shop) -> None:
    shop.plan("mixed", 200, prepaid("words", 0, 10, 100, reset={"interval": "month"}), every="year")
    shop.opens("2026-04-01", card=None)
    body = {"customer_id": CUSTOMER, "plan_id": "mixed"}
    bought = {**body, "feature_quantities": [{"feature_id": "words", "quantity": 100}]}
    for call in ("billing.preview_attach", "billing.attach"):
        assert shop.api.refused(400, call, **bought)["code"] == "invalid_request"
    assert shop.api.post("billing.attach", **body)["payment_url"]


def test_a_checkout_page_expires(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    shop.attach("pro")
    shop.on("2026-04-01T02:00:00")
    refused = shop.api.refused(400, "sandbox.complete_checkout", customer_id=CUSTOMER)
    assert refused["code"] == "nothing_to_pay"
    assert Operation.objects.get().status == "expired"


def test_a_free_plan_and_a_trial_that_asks_for_no_card_need_no_page(shop: Shop) -> None:
    shop.plan("free", None, monthly("words", 1), group="f")
    shop.opens("2026-04-01", card=None)
    assert shop.attach("free")["payment_url"] is None


def test_never_redirected_the_invoice_stays_open_for_a_while(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    answer = shop.attach("pro", redirect_mode="never")
    assert answer["required_action"]["code"] == "payment_method_required"
    assert answer["invoice"]["status"] == "open"
    shop.on("2026-04-01T00:30:00")
    assert [invoice["status"] for invoice in shop.customer("invoices")["invoices"]] == ["void"]
    shop.api.refused(400, "sandbox.pay_invoice", customer_id=CUSTOMER)
    assert shop.plans() == {}


@pytest.mark.parametrize(
    ("card", "code"), [("declines", "payment_failed"), ("requires_authentication", "3ds_required")]
)
def test_an_upgrade_that_is_not_paid_leaves_everything_as_it_was(shop: Shop, card: str, code: str) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.uses("messages", 40)
    shop.card(card)
    answer = shop.attach("premium")
    assert answer["required_action"]["code"] == code
    assert shop.plans() == {"pro": "active"}
    assert shop.left("messages") == 60
    shop.api.post("sandbox.authenticate_payment", customer_id=CUSTOMER)
    assert shop.plans() == {"premium": "active"}
    assert shop.left("messages") == 500
    assert shop.invoices() == [30, 20]
    assert shop.changes("premium", cancel_action="cancel_immediately") == -50


def test_a_later_change_takes_the_place_of_one_that_waits(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pro")
    shop.card("declines")
    shop.attach("premium")
    shop.card("success")
    shop.buys("premium")
    statuses = [invoice["status"] for invoice in shop.customer("invoices")["invoices"]]
    assert sorted(statuses) == ["paid", "paid", "void"]
    shop.api.refused(400, "sandbox.pay_invoice", customer_id=CUSTOMER)


def test_the_checkout_page_takes_a_card_and_goes_back(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    page = path(shop.attach("pro", success_url="https://app.example.com/done")["payment_url"])
    browser = Client()
    shown = browser.get(page).content.decode()
    assert "Pay 20" in shown
    assert "Pro - Base Price" in shown
    refused = browser.post(page, {"card": "declines"})
    assert refused.status_code == 402
    assert "declined" in refused.content.decode()
    assert shop.plans() == {}
    paid: Any = browser.post(page, {"card": "success"})
    assert (paid.status_code, paid["Location"]) == (302, "https://app.example.com/done")
    assert shop.plans() == {"pro": "active"}
    assert "Thank you" in browser.get(page).content.decode()


def test_the_invoice_page_is_paid_or_refused(shop: Shop) -> None:
    shop.opens("2026-04-01", card="requires_authentication")
    page = path(shop.attach("pro")["payment_url"])
    browser = Client()
    assert "3D Secure" in browser.get(page).content.decode()
    browser.post(page, {"answer": "refuse"})
    assert shop.plans() == {}
    browser.post(page, {"answer": "confirm"})
    assert shop.plans() == {"pro": "active"}
    assert "Paid" in browser.get(page).content.decode()


def test_the_portal_shows_plans_by_entity_invoices_and_the_card(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pro", "a")
    page = path(shop.api.post("billing.open_customer_portal", customer_id=CUSTOMER, return_url="javascript:x")["url"])
    browser = Client()
    shown = browser.get(page).content.decode()
    assert all(text in shown for text in ("Pro", "renews 1 May 2026", "20.00 USD", "4242"))
    assert "javascript:" not in shown
    browser.post(page, {"card": "declines"})
    assert "0002" in browser.get(page).content.decode()


def test_a_card_can_be_added_alone_or_with_a_plan(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    page = path(shop.api.post("billing.setup_payment", customer_id=CUSTOMER)["url"])
    Client().post(page, {"card": "success"})
    assert shop.buys("pro") == 20
    url = shop.api.post("billing.setup_payment", customer_id=CUSTOMER, plan_id="premium")["url"]
    assert "/pay/checkout/" in url


def test_pages_are_found_by_their_addresses_only_and_never_in_a_live_environment(shop: Shop) -> None:
    shop.opens("2026-04-01", card=None)
    page = path(shop.attach("pro")["payment_url"])
    for address in ("/pay/checkout/cs_guess", "/pay/invoice/in_guess", page.replace("checkout", "portal")):
        assert Client().get(address).status_code == 404
    with override_settings(ENVIRONMENT="live"):
        assert Client().get(page).status_code == 404

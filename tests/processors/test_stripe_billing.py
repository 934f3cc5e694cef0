"""Plans collected by Stripe: what is charged, what its subscriptions hold, and that both books agree."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from billing.models import Invoice
from billing.processors import Collection, InvoiceItem
from billing.processors.stripe import StripeProcessor
from billing.services.collection import reconciliation
from config import clock
from entities.models import Customer
from tests.processors.fake_stripe import FakeStripe
from tests.processors.fake_stripe.stand_in import StandIn
from tests.selling import CUSTOMER, Shop, ms, prepaid

type Endpoint = Callable[[bytes, str], int]


def acme() -> Customer:
    return Customer.objects.get(external_id=CUSTOMER)


def differences() -> list[str]:
    return [str(difference) for difference in reconciliation.compare(acme(), at=clock.now())]


def charged(fake: FakeStripe) -> Decimal:
    return Decimal(fake.paid(acme().processor_id)) / 100


def lines(fake: FakeStripe, invoice: Invoice) -> list[tuple[str, int]]:
    found = fake.world.get("invoice", invoice.processor_id)
    return [(line["description"], line["amount"]) for line in found["lines"]["data"]]


def test_each_scope_has_a_subscription_of_its_own_and_all_renew_at_the_shared_boundary(
    shop: Shop, fake: FakeStripe
) -> None:
    shop.opens("2027-01-31T10:20:30", "a", "b")
    assert shop.buys("pro", "a") == 20
    shop.on("2027-02-10")
    assert shop.buys("premium", "b") > 0
    assert {row["current_period_end"] for row in shop.processor()} == {ms("2027-02-28T10:20:30")}
    shop.on("2027-05-01")
    ends = [row["period_end"] for row in fake.world.all("invoice") if row["billing_reason"] == "subscription_cycle"]
    assert [datetime.fromtimestamp(end, UTC).strftime("%m-%d") for end in ends] == ["02-28"] * 2 + ["03-31"] * 2 + [
        "04-30"
    ] * 2
    assert charged(fake) == sum(shop.invoices())
    assert differences() == []


def test_a_customer_known_to_stripe_before_gets_a_test_clock_and_renews_on_it(shop: Shop, fake: FakeStripe) -> None:
    shop.api.post("customers.get_or_create", customer_id=CUSTOMER)
    shop.card("success")
    shop.on("2027-04-01")
    shop.buys("pro")
    shop.on("2027-05-02")
    assert charged(fake) == 40
    assert fake.world.get("customer", acme().processor_id)["test_clock"] is not None
    assert differences() == []


def test_more_prices_than_stripe_takes_are_billed_all_the_same(shop: Shop, fake: FakeStripe) -> None:
    for n in range(24):
        shop.api.post("features.create", feature_id=f"pack_{n}", name=f"Pack {n}", type="metered", consumable=True)
    shop.plan("wide", 20, *[prepaid(f"pack_{n}", 0, n + 1, 10) for n in range(24)], group="wide")
    shop.opens("2027-04-01")
    wanted = [{"feature_id": f"pack_{n}", "quantity": 10} for n in range(24)]
    assert shop.buys("wide", feature_quantities=wanted) == 20 + 300
    (held,) = fake.world.all("subscription")
    prices = [item["price"]["unit_amount"] for item in held["items"]["data"]]
    assert (len(prices), sum(prices)) == (20, 32000)
    assert differences() == []
    shop.on("2027-05-02")
    assert charged(fake) == 640
    assert differences() == []


def test_overage_is_a_line_on_the_draft_that_stripe_opened(shop: Shop, fake: FakeStripe) -> None:
    shop.opens("2027-04-01", "a")
    shop.buys("pro", "a")
    shop.uses("words", 177, "a")
    shop.on("2027-05-01")
    assert shop.invoices() == [28, 20]
    renewal = Invoice.objects.latest("pk")
    assert [amount for _, amount in lines(fake, renewal)] == [2000, 800]
    assert charged(fake) == 48
    assert differences() == []


def test_a_plan_billed_by_use_alone_renews_with_a_line_at_nothing(shop: Shop, fake: FakeStripe) -> None:
    shop.opens("2027-04-01")
    shop.buys("metered")
    shop.uses("words", 95)
    shop.on("2027-05-02")
    shop.on("2027-06-02")
    assert shop.invoices() == [0, 10]
    assert charged(fake) == 10
    assert differences() == []


def test_a_year_in_advance_with_months_in_arrears_is_charged_as_computed(shop: Shop, fake: FakeStripe) -> None:
    shop.opens("2027-04-01")
    assert shop.buys("yearly") == 200
    shop.uses("words", 150)
    shop.on("2027-05-02")
    for month in range(6, 13):
        shop.on(f"2027-{month:02}-02")
    for month in range(1, 5):
        shop.on(f"2028-{month:02}-02")
    assert charged(fake) == 200 + 5 + 200
    assert differences() == []


def test_a_downgrade_bills_the_lower_price_at_the_boundary_and_leaves_no_credit(shop: Shop, fake: FakeStripe) -> None:
    shop.opens("2027-04-01")
    shop.buys("premium")
    shop.on("2027-04-10")
    shop.attach("pro")
    shop.on("2027-05-01")
    assert shop.plans() == {"pro": "active"}
    assert charged(fake) == 70
    assert [line for line in lines(fake, Invoice.objects.latest("pk")) if "Not charged" in line[0]] == []
    assert fake.world.get("customer", acme().processor_id)["balance"] == 0
    assert differences() == []


def test_another_interval_is_another_subscription_and_nothing_is_charged_twice(shop: Shop, fake: FakeStripe) -> None:
    shop.opens("2027-04-01")
    shop.buys("pro")
    shop.on("2027-05-16")
    before = charged(fake)
    cost = shop.buys("yearly")
    assert charged(fake) == before + cost
    assert len(shop.processor()) == 1
    shop.on("2027-06-02")
    assert charged(fake) == before + cost
    assert differences() == []


def test_a_quantity_in_yen_is_whole_and_one_in_dinars_a_multiple_of_ten(stripe: StandIn, db: None) -> None:
    customer = stripe.ensure_customer(ref="x", email="", name="", clock_at=None, key="x")
    stripe.set_card(customer, "success")
    for currency, amount, expected in [("jpy", "1234", 1234), ("usd", "12.34", 1234)]:
        stripe.fake.world.things["customer"][customer]["currency"] = None
        stripe.fake.world.things["payment_intent"].clear()
        paid = _charge(stripe, customer, currency, amount)
        assert (stripe.fake.paid(customer), paid) == (expected, Decimal(amount))
    stripe.fake.world.things["customer"][customer]["currency"] = None
    stripe.fake.world.things["payment_intent"].clear()
    assert _charge(stripe, customer, "kwd", "1.234") == Decimal("1.23")
    assert stripe.fake.paid(customer) == 1230


def _charge(processor: StripeProcessor, customer: str, currency: str, amount: str) -> Decimal:
    return processor.charge_invoice(
        customer_id=customer,
        currency=currency,
        items=[InvoiceItem("x", Decimal(amount))],
        collection=Collection.CARD,
        key=f"{currency}-{amount}",
    ).total

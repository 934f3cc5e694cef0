"""The fake held to what Stripe documents, so that it can hold us."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.processors.fake_stripe import FakeStripe, Fault, Transport
from tests.processors.fake_stripe.server import KEY

V1 = Any


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


class Account:
    """A fake account with a customer whose card pays."""

    def __init__(self, opened: str = "2027-01-31T10:20:30") -> None:
        self.fake = FakeStripe()
        self.fake.set_wall(at(opened))
        client = stripe.StripeClient(KEY, http_client=Transport(self.fake), max_network_retries=2)
        self.v1: V1 = client.v1
        self.customer = self.v1.customers.create({"email": "alice@example.com"}).id
        self.fake.give_card(self.customer, "pm_card_visa")
        self.v1.products.create({"id": "pro", "name": "Pro"})

    def price(self, amount: int, interval: str = "month", count: int = 1) -> dict[str, Any]:
        recurring = {"interval": interval, "interval_count": count}
        return {"product": "pro", "currency": "usd", "unit_amount": amount, "recurring": recurring}

    def subscribe(self, amount: int = 1000, interval: str = "month", **more: Any) -> Any:
        items = [{"price_data": self.price(amount, interval)}]
        return self.v1.subscriptions.create({"customer": self.customer, "items": items, **more})

    def boundaries(self, subscription: str, until: str) -> Iterator[str]:
        self.fake.set_wall(at(until))
        rows = self.v1.invoices.list({"customer": self.customer, "subscription": subscription, "limit": 100}).data
        for row in reversed(rows):
            if row.billing_reason == "subscription_cycle":
                yield day(row.period_end)


@pytest.fixture
def account() -> Account:
    return Account()


def test_a_monthly_subscription_from_31_january_bills_at_the_ends_of_months(account: Account) -> None:
    made = account.subscribe()
    assert list(account.boundaries(made.id, "2027-06-05")) == ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]


def test_an_anchor_config_keeps_the_day_that_a_timestamp_loses(account: Account) -> None:
    account.fake.set_wall(at("2027-02-10"))
    config = {"day_of_month": 31, "hour": 10, "minute": 20, "second": 30}
    kept = account.subscribe(billing_cycle_anchor_config=config, proration_behavior="none")
    lost = account.subscribe(billing_cycle_anchor=at("2027-02-28T10:20:30"), proration_behavior="none")
    ends = [row["items"].data[0].current_period_end for row in (kept, lost)]
    assert ends == [at("2027-02-28T10:20:30")] * 2
    assert list(account.boundaries(kept.id, "2027-05-05")) == ["2027-02-28", "2027-03-31", "2027-04-30"]
    assert list(account.boundaries(lost.id, "2027-05-05")) == ["2027-02-28", "2027-03-28", "2027-04-28"]
    assert account.fake.paid(account.customer) == 6 * 1000


def test_an_upgrade_from_10_to_20_in_mid_month_prorates_to_minus_5_and_plus_10() -> None:
    account = Account("2027-04-01")
    made = account.subscribe(1000)
    account.fake.set_wall(at("2027-04-16"))
    changed = [{"id": made["items"].data[0].id, "price_data": account.price(2000)}]
    account.v1.subscriptions.update(made.id, {"items": changed})
    account.fake.set_wall(at("2027-05-01"))
    renewal = account.v1.invoices.list({"subscription": made.id}).data[0]
    assert sorted(line.amount for line in renewal.lines.data) == [-500, 1000, 2000]


def test_changing_the_interval_or_a_first_price_bills_at_once_even_without_proration(account: Account) -> None:
    monthly = account.subscribe(1000)
    item = {"id": monthly["items"].data[0].id, "price_data": account.price(9000, "year")}
    account.v1.subscriptions.update(monthly.id, {"items": [item], "proration_behavior": "none"})
    free = account.subscribe(0)
    item = {"id": free["items"].data[0].id, "price_data": account.price(500)}
    account.v1.subscriptions.update(free.id, {"items": [item], "proration_behavior": "none"})
    assert account.fake.paid(account.customer) == 1000 + 9000 + 500


def test_an_anchor_may_not_lie_beyond_the_next_natural_billing_date(account: Account) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="next natural billing date"):
        account.subscribe(billing_cycle_anchor=at("2027-03-05"))


@pytest.mark.parametrize(
    "params",
    [
        {"itemz": "1"},
        {"items": [{"price_data": {"product": "pro"}}]},
        {"items": [], "collection_method": "by_dove"},
        {"billing_cycle_anchor": {"type": "now"}},
    ],
)
def test_what_the_sdk_does_not_type_is_refused(account: Account, params: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        account.v1.subscriptions.create({"customer": account.customer, **params})


def test_a_key_replays_and_other_parameters_under_it_are_refused(account: Account) -> None:
    def make(name: str) -> Any:
        return account.v1.customers.create({"name": name}, {"idempotency_key": "k"})

    assert make("Alice").id == make("Alice").id
    with pytest.raises(stripe.IdempotencyError):
        make("Bob")


def test_a_lost_reply_is_asked_for_again_and_done_once(account: Account) -> None:
    account.fake.faults.order(Fault.LOST_REPLY, call="POST /v1/customers")
    account.v1.customers.create({"name": "Alice"})
    assert len([row for row in account.fake.world.all("customer") if row["name"] == "Alice"]) == 1


def test_a_renewal_is_a_draft_for_an_hour_and_three_days_when_nobody_takes_the_event(account: Account) -> None:
    taken, ignored = account.subscribe(), account.subscribe()

    def renewal(subscription: Any) -> Any:
        return account.v1.invoices.list({"subscription": subscription.id}).data[0]

    account.fake.set_wall(at("2027-02-28T10:20:30"))
    account.fake.webhooks.deliver(lambda body, _: 200 if renewal(taken).id in body.decode() else 503)
    account.fake.set_wall(at("2027-02-28T11:20:29"))
    assert (renewal(taken).status, renewal(ignored).status) == ("draft", "draft")
    account.fake.set_wall(at("2027-02-28T11:20:30"))
    assert (renewal(taken).status, renewal(ignored).status) == ("paid", "draft")
    account.fake.set_wall(at("2027-03-03T10:20:30"))
    assert renewal(ignored).status == "paid"


def test_a_declined_renewal_makes_the_subscription_past_due_until_a_card_pays(account: Account) -> None:
    made = account.subscribe()
    account.fake.give_card(account.customer, "pm_card_chargeCustomerFail")
    account.fake.set_wall(at("2027-03-04"))
    assert account.v1.subscriptions.retrieve(made.id).status == "past_due"
    account.fake.give_card(account.customer, "pm_card_visa")
    account.fake.set_wall(at("2027-03-20"))
    assert account.v1.subscriptions.retrieve(made.id).status == "active"


def test_too_little_to_charge_is_kept_on_the_balance(account: Account) -> None:
    made = account.v1.invoices.create({"customer": account.customer, "currency": "usd"})
    account.v1.invoices.add_lines(made.id, {"lines": [{"amount": 30, "description": "Little"}]})
    assert account.v1.invoices.finalize_invoice(made.id).status == "paid"
    assert (account.fake.paid(account.customer), account.v1.customers.retrieve(account.customer).balance) == (0, 30)


def test_a_test_clock_turns_forward_two_intervals_at_most() -> None:
    account = Account()
    frozen = account.v1.test_helpers.test_clocks.create({"frozen_time": at("2030-01-31")})
    customer = account.v1.customers.create({"test_clock": frozen.id}).id
    account.fake.give_card(customer, "pm_card_visa")
    account.v1.subscriptions.create({"customer": customer, "items": [{"price_data": account.price(1000)}]})
    clocks = account.v1.test_helpers.test_clocks
    with pytest.raises(stripe.InvalidRequestError, match="two intervals"):
        clocks.advance(frozen.id, {"frozen_time": at("2030-05-01")})
    assert clocks.advance(frozen.id, {"frozen_time": at("2030-03-01")}).status == "advancing"
    assert clocks.retrieve(frozen.id).status == "ready"
    assert [row.total for row in account.v1.invoices.list({"customer": customer}).data] == [1000, 1000]

"""The one line for cron: what is due is done once, in order, however late cron comes."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError

from billing.models import Invoice, Operation
from billing.services import audit
from billing.services.due import cycles
from config import clock
from config.access.models import IdempotentResponse
from entities.models import Customer
from tests.client import Api
from tests.selling import monthly, ms
from tests.street import Street


@pytest.fixture
def street(api: Api) -> Street:
    """Pro at 20 a month and Free, from the last of January on."""
    for feature, consumable in [("seats", False), ("messages", True)]:
        api.post("features.create", feature_id=feature, name=feature, type="metered", consumable=consumable)
    price = {"amount": 20, "interval": "month"}
    item = monthly("messages", 100, amount=0.1)
    api.post("plans.create", plan_id="pro", name="Pro", price=price, items=[item])
    api.post("plans.create", plan_id="free", name="Free", items=[monthly("messages", 10)])
    return Street(api)


def test_missed_boundaries_are_an_invoice_each_at_their_own_instants(street: Street) -> None:
    street.opens()
    street.call("balances.track", feature_id="messages", value=150)
    street.on("2026-06-15")
    assert "for 1 customers, in 4 steps" in street.run()
    assert street.invoices() == [
        (20, "2026-01-31"),
        (25, "2026-02-28"),
        (20, "2026-03-31"),
        (20, "2026-04-30"),
        (20, "2026-05-31"),
    ]
    assert "for 0 customers" in street.run()
    assert len(street.invoices()) == 5
    numbers = list(Invoice.objects.order_by("pk").values_list("number", flat=True))
    assert [int(number) for number in numbers] == [1, 2, 3, 4, 5]


def test_a_cycle_is_counted_anew_when_its_instant_comes(street: Street) -> None:
    street.opens()
    street.on("2026-02-15")
    street.call("billing.update", plan_id="pro", billing_cycle_anchor=ms("2026-02-21"))
    street.on("2026-04-01")
    street.run()
    # 20 x 21 / 28: of the cycle from 21 February to 21 March a week was paid for
    assert street.invoices() == [(20, "2026-01-31"), (15, "2026-02-21"), (20, "2026-03-21")]


def test_what_was_used_late_belongs_to_the_cycle_that_runs(street: Street) -> None:
    street.opens()
    street.on("2026-03-15")
    street.call("balances.track", feature_id="messages", value=130)
    street.run()
    street.on("2026-04-01")
    street.run()
    assert [total for total, _ in street.invoices()] == [20, 20, 23]


def test_up_to_an_instant_that_has_passed(street: Street) -> None:
    street.opens()
    street.on("2026-06-15")
    street.run(at="2026-03-31T00:00:00+00:00")
    assert len(street.invoices()) == 3
    for wrong in ("2026-07-01T00:00:00+00:00", "2026-03-31", "soon"):
        with pytest.raises(CommandError):
            street.run(at=wrong)


def test_a_dry_run_changes_nothing(street: Street) -> None:
    street.opens()
    street.opens("bob")
    street.on("2026-03-01")
    assert "due for 2 customers" in street.run(dry_run=True)
    assert len(street.invoices()) == 1


def test_free_plans_and_grants_by_hand_are_refilled_although_nothing_renews(street: Street) -> None:
    street.opens(plan="free")
    street.call("customers.get_or_create", "bob")
    street.call("balances.create", "bob", feature_id="messages", included_grant=5, reset={"interval": "month"})
    for customer in ("acme", "bob"):
        street.call("balances.track", customer, feature_id="messages", value=3)
    street.on("2026-03-01")
    assert "2 balances reset" in street.run()
    assert "0 balances reset" in street.run()
    assert (street.balance()["usage"], street.balance("bob")["usage"]) == (0, 0)
    assert not [found for progress in audit.prove() for found in progress.found]


def test_locks_that_nobody_settled_give_back_what_they_held(street: Street) -> None:
    street.opens(plan="free")
    lock = {"enabled": True, "lock_id": "l1", "expires_at": ms("2026-02-01")}
    street.call("balances.check", feature_id="messages", required_balance=7, lock=lock)
    assert street.balance()["remaining"] == 3
    street.on("2026-02-02")
    assert "1 locks expired" in street.run()
    assert street.balance()["remaining"] == 10


def test_answers_that_were_remembered_long_enough_are_forgotten(street: Street) -> None:
    street.opens(plan="free")
    with clock.frozen(street.day):
        track = {"customer_id": "acme", "feature_id": "messages", "value": 1}
        street.api.send("balances.track", track, idempotency_key="once")
    assert IdempotentResponse.objects.count() == 1
    street.on("2026-02-05")
    assert "1 remembered answers" in street.run()
    assert not IdempotentResponse.objects.exists()


def test_customers_with_a_test_clock_are_left_to_it(street: Street) -> None:
    street.call("sandbox.set_clock", "clocked", now=ms("2026-01-31"))
    street.call("sandbox.set_payment_method", "clocked", payment_method="success")
    street.call("billing.attach", "clocked", plan_id="pro")
    lock = {"enabled": True, "lock_id": "l2", "expires_at": ms("2026-02-01")}
    street.call("balances.check", "clocked", feature_id="messages", required_balance=7, lock=lock)
    street.on("2026-06-15")
    said = street.run()
    assert "for 0 customers" in said
    assert "0 balances reset" in said
    assert "0 locks expired" in said
    assert len(street.invoices("clocked")) == 1


def test_a_change_left_pending_by_a_dead_process_is_settled_whatever_clock(street: Street) -> None:
    street.call("sandbox.set_clock", "clocked", now=ms("2026-01-31"))
    Operation.objects.create(
        customer=Customer.objects.get(external_id="clocked"),
        kind=Operation.Kind.ATTACH,
        status=Operation.Status.PENDING,
        outcome={"total": "20", "currency": "usd"},
        at=street.day,
    )
    assert "for 1 customers" in street.run()
    assert Operation.objects.get().status == Operation.Status.FAILED


def test_trouble_with_one_customer_is_told_and_spares_the_others(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    for customer in ("acme", "bob", "carol"):
        street.opens(customer)
    street.on("2026-03-01")
    compute: Callable[..., Any] = cycles.renewal

    def sometimes(group: Any, **more: Any) -> Any:
        if group.customer.external_id == "bob":
            raise RuntimeError("no")
        return compute(group, **more)

    monkeypatch.setattr(cycles, "renewal", sometimes)
    with pytest.raises(CommandError, match="1 customers could not"):
        street.run()
    assert [len(street.invoices(customer)) for customer in ("acme", "bob", "carol")] == [2, 1, 2]
    monkeypatch.undo()
    assert "for 1 customers" in street.run()
    assert len(street.invoices("bob")) == 2

"""Renewing many customers at once: the same rows as one by one, once, whatever happens in between."""

import random
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from billing.models import (
    Balance,
    Invoice,
    LedgerEntry,
    Operation,
    Overage,
    SandboxInvoice,
    SandboxSubscription,
    Subscription,
)
from billing.services import audit
from billing.services.due import clock as clocks
from billing.services.due import cycles, rounds
from billing.services.execution import applying, queue
from config import clock
from config.access import keys
from config.actor import Actor
from entities.models import Customer
from tests.billing.mortality import again, doomed
from tests.client import Api
from tests.effort import tries
from tests.selling import Shop, monthly, prepaid, seats

ACTOR = Actor("run_due")
WORLDS = tries(3, 60)
START = datetime(2026, 1, 30, 10, tzinfo=UTC)
LATER = datetime(2026, 4, 15, tzinfo=UTC)  # two or three boundaries on, for whoever starts by mid-February
TRIAL = {"duration_length": 14, "duration_type": "day", "card_required": True}
PACKS = {"feature_quantities": [{"feature_id": "words", "quantity": 300}]}
LESS = {"feature_quantities": [{"feature_id": "words", "quantity": 100}]}
MAIN = ("pro", "premium", "metered", "pack", "trial", "yearly")


def sell(api: Api) -> None:
    shop = Shop(api)
    shop.plan("free", None, monthly("messages", 10), group="g", auto_enable=True)
    shop.plan("pro", 20, monthly("messages", 100, amount=Decimal("0.1")), group="g")
    shop.plan("premium", 50, monthly("messages", 500), monthly("words", 50), group="g")
    shop.plan("metered", None, monthly("messages", 0, amount=1), group="g")
    shop.plan("pack", 10, prepaid("words", 0, 5, 100), group="g")
    shop.plan("trial", 30, monthly("messages", 5), group="g", free_trial=TRIAL)
    shop.plan("yearly", 200, monthly("messages", 20, amount=1), every="year", group="g")
    shop.plan("extra", 7, monthly("words", 10, amount=1), add_on=True)
    shop.plan("team", 40, seats(1, 9), group="t")
    shop.plan("kept", 40, seats(1, 9, "prorate_immediately", "none"), group="t")


def settle_in(api: Api, dice: random.Random, customer: str) -> None:
    """A customer's first weeks, as the dice say."""

    def ask(call: str, **body: Any) -> None:
        api.send(call, {"customer_id": customer, **body})  # what is refused is left

    members = [None, *(f"{customer}-{number}" for number in range(dice.randint(1, 3)))]
    with clock.frozen(START):
        api.post("customers.get_or_create", customer_id=customer)
        ask("sandbox.set_payment_method", payment_method="success")
        for member in members[1:]:
            ask("entities.create", entity_id=member, feature_id="seats")
        if dice.random() < 0.6:
            ask("billing.attach", plan_id=dice.choice(["team", "kept"]))
    for member in members:
        with clock.frozen(datetime(2026, dice.choice([1, 2]), dice.randint(1, 28), 12, tzinfo=UTC)):
            if dice.random() < 0.85:
                plan = dice.choice(MAIN)
                own = {"new_billing_subscription": True} if dice.random() < 0.2 else {}
                ask("billing.attach", plan_id=plan, entity_id=member, **own, **(PACKS if plan == "pack" else {}))
            if dice.random() < 0.3:
                ask("billing.attach", plan_id="extra", entity_id=member)
    with clock.frozen(datetime(2026, 2, 28, 13, tzinfo=UTC)):
        for member in members:
            ask("balances.track", entity_id=member, feature_id="messages", value=dice.choice([3, 150, 700]))
            if dice.random() < 0.4:
                moves: list[tuple[str, dict[str, Any]]] = [
                    ("billing.attach", {"plan_id": "metered"}),
                    ("billing.update", {"plan_id": "pro", "cancel_action": "cancel_end_of_cycle"}),
                    ("billing.update", {"plan_id": "extra", "cancel_action": "cancel_end_of_cycle"}),
                    ("billing.update", {"plan_id": "pack", **LESS}),
                ]
                call, body = dice.choice(moves)
                ask(call, entity_id=member, **body)
        if dice.random() < 0.3:
            ask("entities.delete", entity_id=members[-1])
        ask("sandbox.set_payment_method", payment_method=dice.choice(["success", "success", "declines", None]))


def rows() -> dict[str, list[Any]]:
    """All that renewals write, told without keys; what customers share (numbers) is looked at apart."""
    known = dict(Customer.objects.values_list("processor_id", "external_id"))
    return {
        "subscriptions": _sorted(
            Subscription.objects.values_list(
                "customer__external_id", "entity__external_id", "plan__slug", "status", "started_at", "ends_at",
                "canceled_at", "billing_cycle_anchor", "current_period_start", "current_period_end",
            )
        ),
        "balances": _sorted(
            Balance.objects.values_list(
                "customer__external_id", "entity__external_id", "feature__slug", "subscription__plan__slug", "level",
                "granted", "usage", "held", "expired", "next_reset_at", "ended_at", "created_at",
            )
        ),
        "entries": _sorted(
            LedgerEntry.objects.values_list(
                "balance__customer__external_id", "balance__entity__external_id", "balance__feature__slug", "kind",
                "at", "granted", "usage", "held", "expired", "boundary_at", "reason", "actor",
            )
        ),
        "overages": _sorted(
            Overage.objects.values_list("balance__customer__external_id", "boundary_at", "quantity", "settled_at",
                                        "line__description", "line__amount", "line__invoice__created_at")
        ),
        "operations": _sorted(
            Operation.objects.values_list("customer__external_id", "entity__external_id", "kind", "status", "at",
                                          "finished_at", "reason", "outcome__total", "outcome__applied", "actor")
        ),
        "invoices": _sorted(
            (
                invoice.customer.external_id, invoice.entity and invoice.entity.external_id, invoice.created_at,
                invoice.cause, invoice.status, invoice.total, invoice.is_internal, invoice.period_start,
                invoice.period_end, invoice.paid_at, invoice.due_at, bool(invoice.processor_id),
                *(
                    (line.kind, line.amount, line.quantity, line.description, line.period_start, line.period_end)
                    for line in invoice.lines.all()
                ),
            )
            for invoice in Invoice.objects.select_related("customer", "entity").prefetch_related("lines")
        ),
        "order": [
            [
                (invoice.entity_id, invoice.created_at, invoice.total)
                for invoice in Invoice.objects.filter(customer=customer).exclude(number="").order_by("number")
            ]
            for customer in Customer.objects.order_by("external_id")
        ],
        "charges": _sorted(
            (known[owner], *more)
            for owner, *more in SandboxInvoice.objects.values_list(
                "customer_id", "status", "total", "credit_used", "problem", "lines"
            )
        ),
        "at the processor": _sorted(
            (known[owner], *more)
            for owner, *more in SandboxSubscription.objects.values_list(
                "customer_id", "entity_id", "status", "items", "current_period_start", "current_period_end", "cancel_at"
            )
        ),
        "customers": _sorted(Customer.objects.values_list("external_id", "billing_cycle_anchor", "currency")),
    }  # fmt: skip


def _sorted(found: Iterable[Any]) -> list[Any]:
    return sorted(map(repr, found))


def numbers() -> list[int]:
    return sorted(int(number) for number in Invoice.objects.exclude(number="").values_list("number", flat=True))


def balance_out() -> None:
    assert [found for progress in audit.prove() for found in progress.found] == []
    assert numbers() == list(range(1, len(numbers()) + 1))
    taken = SandboxInvoice.objects.exclude(status="void").values_list("invoice_id", "total")
    assert set(taken) == set(Invoice.objects.exclude(processor_id="").values_list("processor_id", "total"))


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(WORLDS))
def test_many_at_once_are_what_they_are_one_by_one(api: Api, seed: int) -> None:
    dice = random.Random(seed)
    sell(api)
    customers = [f"customer-{number}" for number in range(3)]
    for customer in customers:
        settle_in(api, dice, customer)

    class Undone(Exception):
        pass

    alone: dict[str, list[Any]] = {}
    with clock.frozen(LATER):
        try:
            with transaction.atomic():
                for account in Customer.objects.order_by("pk"):
                    clocks.advance(customer=account, until=LATER, actor=ACTOR)
                alone = rows()
                raise Undone
        except Undone:
            pass
        before = Invoice.objects.filter(cause="renewal").count()
        run = rounds.advance_all(Customer.objects.values_list("pk", flat=True), until=LATER, actor=ACTOR)
    together = rows()
    assert (run.busy, run.failed) == ([], {})
    for table, found in alone.items():
        assert together[table] == found, table
    assert Invoice.objects.filter(cause="renewal").count() > before
    balance_out()


@pytest.fixture
def town(transactional_db: None) -> Api:
    """A catalogue, committed."""
    _, secret = keys.create(name="Tests", at=clock.now())
    api = Api(secret)
    sell(api)
    return api


def settle(api: Api, name: str, card: str = "success") -> set[str]:
    """Three customers whose names begin so, on plans for themselves and for an entity."""
    for plan in ("pro", "metered", "premium"):
        with clock.frozen(START):
            customer = {"customer_id": f"{name}-{plan}"}
            api.post("customers.get_or_create", **customer)
            api.post("sandbox.set_payment_method", payment_method="success", **customer)
            api.post("entities.create", entity_id="a", feature_id="seats", **customer)
            api.post("billing.attach", plan_id="team", **customer)
            api.post("billing.attach", plan_id=plan, entity_id="a", **customer)
            api.post("balances.track", entity_id="a", feature_id="messages", value=150, **customer)
            api.post("sandbox.set_payment_method", payment_method=card, **customer)
    return {f"{name}-{plan}" for plan in ("pro", "metered", "premium")}


def told_of(name: str) -> dict[str, list[str]]:
    """The rows of these customers, under no name."""
    tables = {table: found for table, found in rows().items() if table not in ("order", "operations")}
    return {table: [row.replace(name, "") for row in found if f"'{name}-" in row] for table, found in tables.items()}


def run_due() -> str:
    out = StringIO()
    with clock.frozen(LATER):
        call_command("run_due", stdout=out)
    return out.getvalue()


def renewals(name: str) -> list[tuple[str, str]]:
    found = Invoice.objects.filter(cause="renewal", customer__external_id__startswith=name)
    return sorted((str(row.customer), f"{row.created_at:%Y-%m-%d} {row.entity}") for row in found)


BOUNDARIES = [f"2026-{day} {scope}" for day in ("02-28", "03-30") for scope in ("None", "a")]


def test_a_run_that_dies_anywhere_is_completed_by_the_next(api: Api) -> None:
    sell(api)
    settle(api, "a")
    with again():
        with doomed(None) as life:
            run_due()
        expected = told_of("a")
        assert renewals("a-metered") == [("a-metered", boundary) for boundary in BOUNDARIES]
        balance_out()
    assert len(life.steps) >= 10, life.steps
    for number, step in enumerate(life.steps):
        with again():
            with doomed(number) as doom:
                run_due()
            assert doom.is_dead, (step, doom.steps, life.steps)
            run_due()
            assert told_of("a") == expected, f"killed {step} ({number})"
            assert not Operation.objects.filter(status=Operation.Status.PENDING).exists()
            balance_out()


def test_two_runs_side_by_side_do_each_boundary_once(town: Api) -> None:
    names = ["crowd", "queue"]
    for name in names:
        settle(town, name)
    together = threading.Barrier(2)
    spoken: list[str] = []

    def run() -> None:
        try:
            together.wait(10)
            spoken.append(run_due())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(spoken) == 2
    for name in names:
        assert renewals(f"{name}-pro") == [(f"{name}-pro", boundary) for boundary in BOUNDARIES]
        assert told_of(name) == told_of(names[0])
    balance_out()


def test_whoever_is_busy_is_left_alone_and_done_later(town: Api) -> None:
    settle(town, "a")
    busy = Customer.objects.get(external_id="a-pro")
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with queue.customer(busy):
                inside.set()
                go_on.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    try:
        keys_ = set(Customer.objects.values_list("pk", flat=True))
        run = rounds.advance_all(keys_, until=LATER, actor=ACTOR)
        assert (run.busy, run.failed) == ([busy.pk], {})
        assert renewals("a-pro") == []
        assert len(renewals("a-metered")) == 4
    finally:
        go_on.set()
        thread.join(10)
    run_due()
    assert len(renewals("a-pro")) == 4
    assert len(renewals("a")) == 12
    balance_out()


def test_one_customer_who_cannot_be_renewed_does_not_stop_the_others(
    town: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(town, "a")
    compute = cycles.renewal

    def failing(group: cycles.Group, **more: Any) -> Any:
        if group.customer.external_id == "a-metered":
            raise ZeroDivisionError("a price of nothing")
        return compute(group, **more)

    with monkeypatch.context() as patch:
        patch.setattr(cycles, "renewal", failing)
        with pytest.raises(CommandError, match="1 customers could not"):
            run_due()
    assert renewals("a-metered") == []
    assert len(renewals("a-pro")) == len(renewals("a-premium")) == 4
    run_due()
    assert len(renewals("a-metered")) == 4
    balance_out()


def test_what_fails_while_it_is_written_is_charged_once(town: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(town, "a")

    def failing(*_: Any) -> None:
        raise ZeroDivisionError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(applying, "go_on", failing)
        with pytest.raises(CommandError, match="3 customers could not"):
            run_due()
    assert renewals("a") == []
    assert SandboxInvoice.objects.filter(idempotency_key__startswith="renewal-").exists()
    run_due()
    assert len(renewals("a")) == 12
    balance_out()


def test_cards_that_fail_leave_plans_past_due_here_and_at_the_processor(town: Api) -> None:
    settle(town, "a", card="declines")
    run_due()
    paid = Subscription.objects.filter(is_paid=True)
    assert set(paid.values_list("status", flat=True)) == {"past_due"}
    assert set(SandboxSubscription.objects.values_list("status", flat=True)) == {"past_due"}
    assert {row.status for row in Invoice.objects.filter(cause="renewal", total__gt=0)} == {"open"}


def test_a_run_takes_few_statements_for_many_renewals(town: Api, django_assert_max_num_queries: Any) -> None:
    for number in range(4):
        settle(town, f"a{number}")
    with django_assert_max_num_queries(260):
        run_due()
    assert Invoice.objects.filter(cause="renewal").count() == 48

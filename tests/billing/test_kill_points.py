"""A process killed between any two steps: never a double charge, a plan without its money, or money without its plan.

Each change is first carried out undisturbed. Then, from where it began, it is killed at every step in turn; what is
found afterwards must be the state before or the state after, money included, and asking again must lead to the state
after.
"""

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from billing.models import Balance, Invoice, Operation, SandboxInvoice, SandboxSubscription, Subscription
from billing.services import audit
from entities.models import Customer
from tests.billing.mortality import again, doomed
from tests.client import Api
from tests.effort import THOROUGH
from tests.selling import monthly, ms, prepaid, seats

Call = tuple[str, dict[str, Any]]
TRIAL = {"duration_length": 14, "duration_type": "day", "card_required": True}
PACKS = {"feature_quantities": [{"feature_id": "words", "quantity": 300}]}
PRO_FOR_A = {"plan_id": "pro", "entity_id": "a"}
DEARER = {"customize": {"price": {"amount": 30, "interval": "month"}}}
MORE = {"feature_quantities": [{"feature_id": "words", "quantity": 500}]}
LESS = {"feature_quantities": [{"feature_id": "words", "quantity": 100}]}
PRORATED = ("prorate_immediately", "prorate_immediately")
# Done at the processor by the customer, whose word is the next call.
SETTLED_THERE: list[Call] = [("sandbox.authenticate_payment", {}), ("sandbox.pay_invoice", {})]
MIDDLE, NEXT, LATER = "2026-04-16", "2026-05-02", "2026-06-02"


def attach(plan: str, **more: Any) -> Call:
    return "billing.attach", {"plan_id": plan, **more}


def update(plan: str, **more: Any) -> Call:
    return "billing.update", {"plan_id": plan, **more}


def turn(day: str) -> Call:
    return "sandbox.set_clock", {"now": ms(day)}


def card(behavior: str | None) -> Call:
    return "sandbox.set_payment_method", {"payment_method": behavior}


def joins(entity: str) -> Call:
    return "entities.create", {"entity_id": entity, "feature_id": "seats"}


def leaves(entity: str) -> Call:
    return "entities.delete", {"entity_id": entity}


def uses(feature: str, value: int) -> Call:
    return "balances.track", {"feature_id": feature, "value": value}


ANEW = update("pro", billing_cycle_anchor=ms("2026-04-11"))
NOW, END = {"cancel_action": "cancel_immediately"}, {"cancel_action": "cancel_end_of_cycle"}
# What comes before, and the change that is killed.
CHANGES: dict[str, tuple[list[Call], Call]] = {
    "attach": ([], attach("pro")),
    "attach to an entity": ([joins("a")], attach("pro", entity_id="a")),
    "attach with packs": ([], attach("pack", **PACKS)),
    "start a trial": ([], attach("trial")),
    "buy once": ([], attach("lifetime")),
    "upgrade": ([attach("metered"), uses("words", 150), turn(MIDDLE)], attach("premium")),
    "downgrade at once": ([attach("premium"), turn(MIDDLE)], attach("pro", plan_schedule="immediate")),
    "downgrade": ([attach("premium"), turn(MIDDLE)], attach("pro")),
    "several": ([joins("a")], ("billing.multi_attach", {"plans": [{"plan_id": "pro"}, PRO_FOR_A]})),
    "cancel": ([attach("pro"), turn(MIDDLE)], update("pro", **NOW)),
    "cancel at the end": ([attach("pro")], update("pro", **END)),
    "refund": ([attach("pro"), turn(MIDDLE)], update("pro", **NOW, refund_last_payment="prorated")),
    "more packs": ([attach("pack", **PACKS), turn(MIDDLE)], update("pack", **MORE)),
    "fewer packs": ([attach("pack", **PACKS), turn(MIDDLE)], update("pack", **LESS)),
    "new terms": ([attach("pro"), turn(MIDDLE)], update("pro", **DEARER)),
    "a seat more": ([attach("team"), turn(MIDDLE)], joins("bob")),
    "a seat less": ([attach("team"), joins("bob"), turn(MIDDLE)], leaves("bob")),
    "a seat kept": ([attach("kept"), joins("bob"), turn(MIDDLE)], leaves("bob")),
    "seats tracked": ([attach("team"), turn(MIDDLE)], uses("seats", 2)),
    "seats given back": ([attach("team"), uses("seats", 2), turn(MIDDLE)], uses("seats", -1)),
    "an entity with a plan": ([joins("a"), attach("pro", entity_id="a"), turn(MIDDLE)], leaves("a")),
    "renew": ([attach("metered"), uses("words", 150)], turn(NEXT)),
    "renew twice": ([attach("metered"), uses("words", 150)], turn(LATER)),
    "renew with a failing card": ([attach("metered"), uses("words", 150), card("declines")], turn(NEXT)),
    "renew into the lower plan": ([attach("premium"), attach("pro")], turn(NEXT)),
    "renew with seats": ([joins("a"), joins("b"), attach("arrears")], turn(NEXT)),
    "end": ([attach("metered"), uses("words", 150), update("metered", **END)], turn(NEXT)),
    "end a trial": ([attach("trial")], turn(NEXT)),
    "count anew": ([attach("pro"), turn("2026-04-06"), ANEW], turn(MIDDLE)),
    "come back": ([attach("pro"), attach("taste")], turn(NEXT)),
    "start as scheduled": ([attach("pro", starts_at=ms("2026-04-10"))], turn(MIDDLE)),
    "end as agreed": ([attach("metered", ends_at=ms("2026-04-10")), uses("words", 150)], turn(MIDDLE)),
    "complete a checkout": ([card(None), attach("pro")], ("sandbox.complete_checkout", {})),
    "open a checkout": ([card(None)], attach("pro")),
    "authenticate": ([card("requires_authentication"), attach("pro")], ("sandbox.authenticate_payment", {})),
    "ask for authentication": ([card("requires_authentication")], attach("pro")),
    "pay what is past due": (
        [attach("pro"), card("declines"), turn(NEXT)],
        ("sandbox.pay_invoice", {}),
    ),
    "send an invoice": ([card(None)], attach("pro", invoice_mode={"enabled": True, "enable_plan_immediately": True})),
    "end at the processor": ([attach("pro"), turn(MIDDLE)], ("sandbox.cancel_subscription", {})),
}  # fmt: skip


@pytest.fixture(scope="module")
def plans(stage: Api) -> Api:
    for feature, consumable in [("seats", False), ("messages", True), ("words", True)]:
        stage.post("features.create", feature_id=feature, name=feature, type="metered", consumable=consumable)
    sold: list[tuple[str, int, list[Any], dict[str, Any]]] = [
        ("pro", 20, [monthly("messages", 500)], {}),
        ("metered", 20, [monthly("words", 100, amount=0.1)], {}),
        ("premium", 50, [monthly("messages", 1000)], {}),
        ("trial", 20, [monthly("messages", 100)], {"free_trial": TRIAL, "group": "trial"}),
        ("taste", 50, [monthly("messages", 100)], {"free_trial": {**TRIAL, "on_end": "revert"}}),
        ("pack", 20, [prepaid("words", 0, 10, 100, reset={"interval": "month"})], {"group": "pack"}),
        ("team", 20, [seats(0, 50, *PRORATED)], {"group": "team"}),
        ("kept", 20, [seats(0, 50, "prorate_immediately", "none")], {"group": "team"}),
        ("arrears", 20, [seats(0, 50)], {"group": "team"}),
    ]
    for plan, amount, items, more in sold:
        price = {"amount": amount, "interval": "month"}
        stage.post("plans.create", plan_id=plan, name=plan, price=price, items=items, **more)
    once = {"amount": 99, "interval": "one_off"}
    stage.post(
        "plans.create", plan_id="lifetime", name="lifetime", price=once, items=[{"feature_id": "words", "included": 1}]
    )
    return stage


@pytest.fixture
def catalogue(plans: Api, db: None) -> Api:
    return plans


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_killed_anywhere_is_done_or_not_and_asking_again_does_it(catalogue: Api, change: str) -> None:
    before, call = CHANGES[change]
    customer = prepare(catalogue, before)
    start = state(customer)
    with again():
        with doomed(None) as undisturbed:
            assert ask(catalogue, customer, call) == 200
        done = state(customer)
    assert undisturbed.steps
    # At every step with both ways to recover, or by turns, which is quicker.
    ways = (by_run_due, by_asking_again)
    for at, step in enumerate(undisturbed.steps):
        for recover in ways if THOROUGH else [ways[(at + len(change)) % 2]]:
            with again():
                with doomed(at) as doom:
                    ask(catalogue, customer, call)
                assert doom.is_dead, (step, doom.steps, undisturbed.steps)
                recover(catalogue, customer, call, (start, done), f"{change}, killed {step} ({at})")
                assert state(customer) == done, f"{change}, killed {step} ({at}), {recover.__name__}"
                balance_out()


def balance_out() -> None:
    """Nothing is left to finish, the ledger explains every balance, and invoices are numbered without a gap."""
    assert not Operation.objects.filter(status=Operation.Status.PENDING).exists()
    assert not [found for progress in audit.prove() for found in progress.found]
    numbers = Invoice.objects.exclude(number="").order_by("number").values_list("number", flat=True)
    assert sorted(map(int, numbers)) == list(range(1, len(numbers) + 1))


def by_asking_again(api: Api, customer: Customer, call: Call, states: Any, what: str) -> None:
    """The client, whose reply was lost, asks again: done now, or told that it is done already."""
    if change_adds_up(call):  # asking again asks for more, so it looks first
        by_run_due(api, customer, call, states, what)
        return
    if ask(api, customer, call) != 200:
        call_command("run_due", stdout=StringIO())


def by_run_due(api: Api, customer: Customer, call: Call, states: Any, what: str) -> None:
    """Nobody asks again, but cron comes by: the change is done by then or not, and never by halves."""
    call_command("run_due", stdout=StringIO())
    found = state(customer)
    if call not in SETTLED_THERE and call[0] != "sandbox.set_clock":  # which does one thing after the other
        assert found in states, what
    if found != states[1]:
        ask(api, customer, call)


def change_adds_up(call: Call) -> bool:
    """Whether doing it twice is more than doing it once."""
    return call[0] == "balances.track" or call[1].get("plan_id") == "lifetime"


def prepare(api: Api, calls: list[Call]) -> Customer:
    api.post("sandbox.set_clock", customer_id="acme", now=ms("2026-04-01"))
    api.post("sandbox.set_payment_method", customer_id="acme", payment_method="success")
    customer = Customer.objects.get(external_id="acme")
    for call in calls:
        assert ask(api, customer, call) == 200
    return customer


def ask(api: Api, customer: Customer, call: Call) -> int:
    path, body = call
    status: int = api.send(path, {"customer_id": customer.external_id, **body}).status_code
    return status


def state(customer: Customer) -> dict[str, Any]:
    """Plans, balances and money of a customer, here and at the processor, without what differs from run to run."""
    customer.refresh_from_db()
    subscriptions = Subscription.objects.filter(customer=customer).exclude(status="expired")
    shown = Invoice.objects.shown().filter(customer=customer)
    at_processor = SandboxInvoice.objects.filter(customer_id=customer.processor_id)
    paid = at_processor.filter(status="paid")
    held = SandboxSubscription.objects.filter(customer_id=customer.processor_id)
    balances = Balance.objects.filter(customer=customer, ended_at=None)
    return {
        "clock": customer.clock_at,
        "plans": sorted(
            (s.plan.slug, str(s.entity), s.status, s.canceled_at, s.ends_at, s.current_period_end)
            for s in subscriptions.select_related("plan", "entity")
        ),
        "entities": sorted(customer.entities.filter(deleted_at=None).values_list("external_id", flat=True)),
        "balances": sorted(balances.values_list("feature__slug", "granted", "usage", "held")),
        "invoices": sorted((i.total, i.refunded) for i in shown.filter(status="paid")),
        "unpaid": sorted(i.total for i in shown.filter(status__in=["open", "draft"])),
        "money": sum((i.total - i.refunded for i in paid), Decimal(0)),
        "owed": sum((i.total for i in at_processor.filter(status__in=["open", "draft"])), Decimal(0)),
        "subscriptions": sorted(
            (row.entity_id, row.status, str(row.cancel_at), [(*item.values(),) for item in row.items])
            for row in held.exclude(status="canceled")
        ),
    }  # fmt: skip

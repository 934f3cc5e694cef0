"""A year of renewals, month by month."""

import argparse
import cProfile
import io
import pstats
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum

from billing.models import Invoice, InvoiceLine, Operation, SandboxInvoice, Subscription
from billing.services import audit
from billing.services.balances import ledger
from config import clock, embedded
from config.access import keys
from tests.bench import clones
from tests.bench.runs import dsn
from tests.bench.servers import Database
from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, prepaid, seats

START = datetime(2026, 1, 1, tzinfo=UTC)
# Anchors lie in the first days of January, so that a month has the same number of renewals as any other.
SPREAD = timedelta(days=27)
OVER = 10  # units beyond the grant that are used up each month, wherever they are sold


def run(options: argparse.Namespace) -> None:
    """Print a table for each number of customers, and what the books say."""
    try:
        for customers in options.customers:
            _prepare(customers, options.entities)
            _months(options.months, profile=options.profile)
            _prove()
    finally:
        connection.close()
        if settings.IS_EMBEDDED:
            embedded.stop_if_unused(settings.SUBLEDGER_DATA)


def _prepare(customers: int, entities: int) -> None:
    with connection.cursor() as cursor:
        if settings.IS_EMBEDDED:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        elif connection.introspection.table_names(cursor):
            raise SystemExit("The bench fills the database with customers of its own: give it an empty one.")
    call_command("migrate", verbosity=0)
    with clock.frozen(START):
        _first(entities)
    with connection.cursor() as cursor:
        # Nothing is looked up while rows are copied, but the entities' balances are counted all the same.
        cursor.execute("ALTER TABLE billing_balance ENABLE ALWAYS TRIGGER billing_tally_came")
        cursor.execute("SET session_replication_role = replica")
        clones.copy(customers - 1, apart=SPREAD / customers)
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("ALTER TABLE billing_balance ENABLE TRIGGER billing_tally_came")
        cursor.execute("VACUUM ANALYZE")
    held = Subscription.objects.live().filter(is_paid=True).count()
    _say(f"\n## {customers} customers × {entities} entities: {held} subscriptions\n")


def _first(entities: int) -> None:
    _, secret = keys.create(name="Bench", at=clock.now())
    api = Api(secret)
    shop = Shop(api)
    shop.plan("starter", 10, monthly("messages", 100, amount=Decimal("0.1")), group="g")
    shop.plan("pro", 30, monthly("messages", 1000), prepaid("words", 100, 5, 100), group="g")
    tiers = [{"to": 10_000, "amount": Decimal("0.05")}, {"to": "inf", "amount": Decimal("0.02")}]
    shop.plan("scale", 80, monthly("messages", 5000, tiers=tiers), monthly("words", 500), group="g")
    shop.plan("yearly", 300, monthly("messages", 2000), every="year", group="g")
    shop.plan("metered", None, monthly("messages", 0, amount=Decimal("0.05")), group="g")
    shop.plan("extra", 5, monthly("words", 10), add_on=True)
    shop.plan("team", 50, seats(1, 8), group="t")
    members = [f"e{number}" for number in range(entities)]
    api.post("customers.get_or_create", customer_id=CUSTOMER)
    shop.card("success")
    for member in members:
        shop.joins(member)
    shop.attach("team")
    for number, member in enumerate(members):
        plan = ("starter", "pro", "scale", "starter", "metered", "pro", "starter", "yearly", "scale", "pro")[
            number % 10
        ]
        bought = {"feature_quantities": [{"feature_id": "words", "quantity": 300}]} if plan == "pro" else {}
        shop.attach(plan, member, **bought)
        if number % 5 == 0:
            shop.attach("extra", member)


def _months(months: int, *, profile: bool) -> None:
    database = Database(dsn())
    counter = _Counter()
    _say("| month | renewals | seconds | renewals/s | ms app | ms PostgreSQL | renewals/CPU s | statements |")
    _say("| --- | --- | --- | --- | --- | --- | --- | --- |")
    profiler = cProfile.Profile() if profile else None
    made, spent = Invoice.objects.filter(cause="renewal").count(), [0.0, 0.0, 0.0, 0]
    total = 0
    for month in range(1, months + 1):
        _use_up()
        at = datetime(2026 + month // 12, month % 12 + 1, 28, 12, tzinfo=UTC)
        before, cpu, base = time.monotonic(), time.process_time(), database.cpu()
        with clock.frozen(at), connection.execute_wrapper(counter):
            if profiler:
                profiler.enable()
            call_command("run_due", verbosity=0, stdout=io.StringIO())
            if profiler:
                profiler.disable()
        costs = (time.monotonic() - before, time.process_time() - cpu, database.cpu() - base, counter.take())
        now = Invoice.objects.filter(cause="renewal").count()
        _row(str(month), now - made, *costs)
        total, made, spent = total + now - made, now, [a + b for a, b in zip(spent, costs, strict=True)]
    _row("all", total, *spent)
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def _row(month: str, count: int, seconds: float, app: float, database: float, statements: float) -> None:
    _say(
        f"| {month} | {count} | {seconds:.1f} | {count / seconds:.0f} | {app / count * 1e3:.2f} "
        f"| {database / count * 1e3:.2f} | {count / (app + database):.0f} | {statements / count:.2f} |"
    )


def _use_up() -> None:
    """Everything that is sold by usage is used up, and a little more."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH used AS (
              UPDATE billing_balance b SET usage = b.granted + %(over)s
              FROM plans_feature f
              WHERE b.allows_overage AND b.ended_at IS NULL AND f.id = b.feature_id AND f.consumable
                AND {ledger.EXPLAINED}
              RETURNING b.id, b.customer_id, b.entity_id, b.granted + %(over)s AS value
            )
            INSERT INTO billing_ledgerentry (balance_id, customer_id, entity_id, kind, at, granted, usage, held,
              expired, actor, request_id, reason)
            SELECT id, customer_id, entity_id, 'usage', %(at)s, 0, value, 0, 0, 'bench', '', '' FROM used
            """,
            {"over": OVER, "at": START},
        )


def _prove() -> None:
    disagreements = [found for progress in audit.prove() for found in progress.found]
    lines = InvoiceLine.objects.filter(invoice__cause="renewal", invoice__status="paid")
    charged = lines.aggregate(sum=Sum("amount"))["sum"]
    billed = Invoice.objects.filter(cause="renewal", status="paid").aggregate(sum=Sum("total"))["sum"]
    taken = SandboxInvoice.objects.filter(status="paid").aggregate(sum=Sum("total"))["sum"]
    owed = Invoice.objects.filter(status="paid").aggregate(sum=Sum("total"))["sum"]
    expected = _expected()
    numbers = [
        int(number)
        for number in Invoice.objects.exclude(number="").values_list("number", flat=True)
        if "~" not in number
    ]
    unfinished = Operation.objects.exclude(status="done").count()
    _say(f"\nbalances that disagree with the ledger: {len(disagreements)}")
    same = "equal" if charged == billed == expected else "NOT EQUAL"
    _say(f"lines {charged}, invoices {billed}, to be charged {expected}: {same}")
    _say(f"invoices {owed}, taken by the processor {taken}: {'equal' if owed == taken else 'NOT EQUAL'}")
    gapless = sorted(numbers) == list(range(1, len(numbers) + 1))
    _say(f"numbers without gaps: {gapless}, unfinished operations: {unfinished}")


def _expected() -> Decimal:
    """What the renewals so far come to, counted from the subscriptions and their periods alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH held AS (
              SELECT u.id, p.slug,
                round((extract(year FROM age(u.current_period_start, u.started_at)) * 12
                  + extract(month FROM age(u.current_period_start, u.started_at)))::numeric, 0) AS months,
                (SELECT count(*) FROM entities_entity e WHERE e.customer_id = u.customer_id) AS members
              FROM billing_subscription u JOIN plans_plan p ON p.id = u.plan_id
            )
            SELECT sum(CASE slug
              WHEN 'starter' THEN months * (10 + 0.1 * %(over)s)
              WHEN 'pro' THEN months * (30 + 10)
              WHEN 'scale' THEN months * (80 + 0.05 * %(over)s)
              WHEN 'yearly' THEN months / 12 * 300
              WHEN 'metered' THEN months * 0.05 * %(over)s
              WHEN 'extra' THEN months * 5
              WHEN 'team' THEN months * (50 + 8 * (members - 1)) END)
            FROM held
            """,
            {"over": OVER},
        )
        (expected,) = cursor.fetchone()
    return Decimal(expected)


class _Counter:
    """Counts statements."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)

    def take(self) -> int:
        count, self.count = self.count, 0
        return count


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201

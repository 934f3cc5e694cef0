from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.services import pruning
from config import clock
from config.access import idempotency

LEAST_DAYS = 31  # the present month's usage must stay explicable


class Command(BaseCommand):
    """Let go of what is old: events, counts of checks, ledger entries (folded into one per balance), answers to
    idempotency keys, texts of processor events, rows of jobs, webhooks, counters of limits. Balances and invoices never
    change, verify stays clean.

    Once a day is enough. Safe to kill and to run again; it works in batches and blocks nobody for long.
    """

    help = "Remove old events and fold old ledger entries; balances and invoices never change."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--events", type=int, default=400, metavar="DAYS", help="keep events this long (400)")
        parser.add_argument("--entries", type=int, default=400, metavar="DAYS", help="keep ledger entries apart (400)")
        kept = "keep what processors sent, what applications were told, and the rows of jobs (90)"
        parser.add_argument("--bodies", type=int, default=90, metavar="DAYS", help=kept)
        parser.add_argument(
            "--approvals", type=int, default=400, metavar="DAYS", help="keep what a second person was asked (400)"
        )
        parser.add_argument("--batch", type=int, default=pruning.BATCH, help="rows, or balances, per transaction")
        parser.add_argument("--dry-run", action="store_true", help="say what would go and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        ages = ("events", "entries", "bodies", "approvals")
        for name in ages:
            if options[name] < LEAST_DAYS:
                raise CommandError(f"--{name} {options[name]} is too short: keep at least {LEAST_DAYS} days.")
        if options["batch"] < 1:
            raise CommandError("--batch must be at least 1.")
        events, entries, bodies, approvals = (now - timedelta(days=options[name]) for name in ages)
        if options["dry_run"]:
            found = pruning.count(
                events_before=events, entries_before=entries, bodies_before=bodies, approvals_before=approvals, at=now
            )
            self._tell("Would remove", found)
            return
        batch = options["batch"]
        found = pruning.Pruned(
            events=sum(pruning.prune_events(before=events, batch=batch)),
            entries=sum(pruning.fold_entries(before=entries, batch=batch)),
            counters=pruning.prune_counters(at=now),
            bodies=pruning.empty_bodies(before=bodies),
            rows=sum(pruning.remove_rows(before=bodies, batch=batch)),
            checks=pruning.prune_traffic(before=events),
            approvals=pruning.prune_approvals(before=approvals),
            webhooks=sum(pruning.prune_webhooks(before=bodies, batch=batch)),
        )
        self._tell("Removed", found)
        self.stdout.write(f"Removed {idempotency.prune(at=now)} answers to idempotency keys.")

    def _tell(self, verb: str, found: pruning.Pruned) -> None:
        self.stdout.write(
            f"{verb} {found.events} events, {found.entries} ledger entries, {found.counters} counters, "
            f"{found.checks} counts of checks and refusals, {found.approvals} approvals, the texts of {found.bodies} "
            f"processor events and {found.rows} rows of jobs, and {found.webhooks} webhooks."
        )

"""Everything that is due: the one line for cron."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from billing.services import bulk
from billing.services.balances import holds, resets
from billing.services.due import rounds
from billing.services.webhooks import sending
from config import clock
from config.access import idempotency
from config.actor import Actor

RUN_DUE = Actor("run_due")
# Those with a test clock have a time of their own, and everything of theirs happens when it is turned.
ON_WALL = Q(customer__clock_at=None)


class Command(BaseCommand):
    help = "Renew, start, end and reset what is due, for each customer in order. Safe to run twice and side by side."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--at", help="Up to this past instant (ISO 8601 with zone) instead of now.")
        parser.add_argument("--dry-run", action="store_true", help="Say for how many customers something is due.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        at = _instant(options["at"]) if options["at"] else now
        if at > now:
            raise CommandError("--at lies in the future. Give an instant that has passed.")
        if options["dry_run"]:
            due = sum(1 for _ in rounds.due_customers(at))
            self.stdout.write(f"Something is due for {due} customers.")
            return
        run = rounds.Run()
        for run in rounds.run(at=at, actor=RUN_DUE):
            if sys.stderr.isatty():
                self.stderr.write(f"\r{run.done} of {run.total} customers, {run.steps} steps", ending="")
        for customer, why in run.failed.items():
            self.stderr.write(f"{customer}: {why}")
        self.stdout.write(f"Did what was due for {run.total - len(run.failed)} customers, in {run.steps} steps.")
        # What no plan has to be renewed for: grants that refill by themselves, locks that nobody settled.
        self._sweep("balances reset", lambda: resets.sweep(at=at, actor=RUN_DUE, limit=5000))
        self._sweep("locks expired", lambda: holds.expire_due(at=at, wall=at, actor=RUN_DUE, only=ON_WALL))
        self.stdout.write(f"{bulk.resume()} jobs gone on with.")
        self.stdout.write(f"{sending.deliver_due().delivered} webhooks delivered.")
        self.stdout.write(f"{idempotency.prune(at=now)} remembered answers forgotten.")
        if run.failed:
            raise CommandError(f"{len(run.failed)} customers could not be brought up to date. Run it again.")

    def _sweep(self, what: str, sweep: Callable[[], int]) -> None:
        total = 0
        while swept := sweep():
            total += swept
        self.stdout.write(f"{total} {what}.")


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as problem:
        raise CommandError(f"--at {text!r} is no instant, such as 2026-04-01T00:00:00Z.") from problem
    if at.tzinfo is None:
        raise CommandError("--at needs a zone, such as 2026-04-01T00:00:00Z.")
    return at

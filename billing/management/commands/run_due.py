"""Everything that is due: the one line for cron."""

import logging
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import batched
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from billing.services import clock as clocks
from billing.services import holds, resets
from config import clock
from config.access import idempotency
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer

logger = logging.getLogger(__name__)
RUN_DUE = Actor("run_due")
# Those with a test clock have a time of their own, and everything of theirs happens when it is turned.
ON_WALL = Q(customer__clock_at=None)
_BATCH = 500


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
        due = list(clocks.due_customers(at))
        if options["dry_run"]:
            self.stdout.write(f"Something is due for {len(due)} customers.")
            return
        steps, failed = self._advance(due, at)
        self.stdout.write(f"Did what was due for {len(due) - failed} customers, in {steps} steps.")
        # What no plan has to be renewed for: grants that refill by themselves, locks that nobody settled.
        self._sweep("balances reset", lambda: resets.reset_due(at=at, actor=RUN_DUE, only=ON_WALL, skip_locked=True))
        self._sweep("locks expired", lambda: holds.expire_due(at=at, wall=at, actor=RUN_DUE, only=ON_WALL))
        self.stdout.write(f"{idempotency.prune(at=now)} remembered answers forgotten.")
        if failed:
            raise CommandError(f"{failed} customers could not be brought up to date. Run it again.")

    def _advance(self, due: list[int], at: datetime) -> tuple[int, int]:
        """Bring customers up to date one by one; what goes wrong for one is told, and is not the others' concern."""
        steps, failed, done = 0, 0, 0
        for keys in batched(due, _BATCH):
            for customer in Customer.objects.filter(pk__in=keys).order_by("pk"):
                try:
                    steps += clocks.advance(customer=customer, until=customer.now(at), actor=RUN_DUE)
                except DomainError as problem:
                    failed += 1
                    self.stderr.write(f"{customer.external_id}: {problem.message}")
                except Exception:
                    failed += 1
                    logger.exception("customer %s could not be brought up to date", customer.pk)
                    self.stderr.write(f"{customer.external_id}: failed, see the log")
            done += len(keys)
            if sys.stderr.isatty():
                self.stderr.write(f"\r{done} of {len(due)} customers", ending="")
        return steps, failed

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

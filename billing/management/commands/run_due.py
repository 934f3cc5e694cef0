"""Everything that is due: the one line for cron."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.services import clock as clocks
from config import clock
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer


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
        steps, failed = 0, 0
        for customer in Customer.objects.filter(pk__in=due).order_by("pk").iterator(chunk_size=500):
            try:
                steps += clocks.advance(customer=customer, until=customer.now(at), actor=Actor("run_due"))
            except DomainError as problem:
                failed += 1
                self.stderr.write(f"{customer.external_id}: {problem.message}")
        self.stdout.write(f"Did what was due for {len(due) - failed} customers, in {steps} steps.")
        if failed:
            raise CommandError(f"{failed} customers could not be brought up to date. Run it again.")


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as problem:
        raise CommandError(f"--at {text!r} is no instant, such as 2026-04-01T00:00:00Z.") from problem
    if at.tzinfo is None:
        raise CommandError("--at needs a zone, such as 2026-04-01T00:00:00Z.")
    return at

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.models import Balance
from billing.services.balances import resets
from config import clock
from config.actor import Actor


class Command(BaseCommand):
    """Refill every balance whose reset is due, in batches; several may run side by side, and any may be killed.

    Customers with a test clock are left to it.
    """

    help = "Refill the balances whose reset is due."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--at", help="as if it were then: an instant like 2026-05-01T00:00:00+00:00")
        parser.add_argument("--dry-run", action="store_true", help="say how many are due and change nothing")
        parser.add_argument("--batch", type=int, default=5000, help="balances per transaction")

    def handle(self, *args: Any, **options: Any) -> None:
        at = _instant(options["at"]) if options["at"] else clock.now()
        if options["dry_run"]:
            due = Balance.objects.due(at).filter(customer__clock_at=None).count()
            self.stdout.write(f"{due} balances are due at {at.isoformat()}.")
            return
        total = 0
        while done := resets.sweep(at=at, actor=Actor("reset_balances"), limit=options["batch"]):
            total += done
            if total % 10_000 < done:
                self.stdout.write(f"{total} balances reset …")
        self.stdout.write(f"{total} balances reset at {at.isoformat()}.")


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as problem:
        raise CommandError(f"--at {text} is not an instant; write 2026-05-01T00:00:00+00:00.") from problem
    if at.tzinfo is None:
        raise CommandError(f"--at {text} needs a time zone: {text}+00:00 for UTC.")
    return at

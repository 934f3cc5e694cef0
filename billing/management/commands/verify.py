import sys
from typing import Any

from django.core.management.base import BaseCommand

from billing.services import audit


class Command(BaseCommand):
    """Prove that every balance, hold and seat count is what the ledger says; exits with 1 if anything disagrees."""

    help = "Recompute every balance from the ledger and say what disagrees."

    def handle(self, *args: Any, **options: Any) -> None:
        disagreements = 0
        for progress in audit.prove():
            if sys.stderr.isatty():
                self.stderr.write(f"\r{progress.done * 100 // max(progress.last, 1):3d} %", ending="")
            for found in progress.found:
                disagreements += 1
                self.stdout.write(str(found))
        if disagreements:
            self.stdout.write(f"{disagreements} disagreements. Look at them, then run: manage.py repair")
            raise SystemExit(1)
        self.stdout.write("The ledger explains every balance, hold and seat.")

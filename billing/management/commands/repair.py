from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.services import audit
from config.actor import Actor


class Command(BaseCommand):
    """Bring what `verify` found back into agreement, by compensating entries only; shows them and asks first."""

    help = "Add the ledger entries that bring back into agreement what verify found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do it without asking")

    def handle(self, *args: Any, **options: Any) -> None:
        found = [disagreement for progress in audit.prove() for disagreement in progress.found]
        if not found:
            self.stdout.write("Nothing to repair.")
            return
        for disagreement in found:
            self.stdout.write(str(disagreement))
        if not options["yes"] and input(f"Add {len(found)} entries? [y/N] ").strip().lower() != "y":
            self.stdout.write("Nothing was changed.")
            return
        for disagreement in found:
            audit.repair(disagreement, actor=Actor("repair"))
        self.stdout.write(f"{len(found)} entries added. Run verify to see that the books agree.")

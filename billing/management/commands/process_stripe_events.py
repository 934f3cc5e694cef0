"""Stripe's word, once more: failed events again, what never arrived, what is stuck."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.processors.failures import ProcessorFailure
from billing.services.collection import processor_events
from config import clock


class Command(BaseCommand):
    help = "Process Stripe's events that failed, look for what no webhook told, and list what is stuck. For cron."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-sweep", action="store_true", help="Only events; don't ask Stripe what it never told.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        try:
            done, failed = processor_events.process_due(at=now)
            odd = [] if options["no_sweep"] else processor_events.sweep(at=now)
        except ProcessorFailure as problem:
            raise CommandError(problem.message) from problem
        self.stdout.write(f"{done} events done, {failed} failed again.")
        for line in odd:
            self.stderr.write(line)
        stuck = processor_events.stuck()
        for event in stuck:
            self.stderr.write(f"stuck: {event} after {event.attempts} tries: {event.error}")
        if stuck:
            raise CommandError(
                f"{len(stuck)} events are stuck. Repair the cause, then set them to received in the admin."
            )

"""Webhooks that are due: sent now, for those that no server process sent."""

from typing import Any

from django.core.management.base import BaseCommand

from billing.services.webhooks import sending


class Command(BaseCommand):
    help = "Send the webhooks that are due; run_due does so too. Safe to run side by side."

    def handle(self, *args: Any, **options: Any) -> None:
        sent = sending.deliver_due()
        self.stdout.write(f"{sent.delivered} webhooks delivered, {sent.failed} attempts failed.")

"""The webhook endpoint at Stripe."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.processors import registry
from billing.processors.failures import ProcessorFailure


class Command(BaseCommand):
    help = "Ask Stripe for webhooks, in the API version that is spoken here, and print their signing secret once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", help="Where Stripe reaches this server (default: BASE_URL).")

    def handle(self, *args: Any, **options: Any) -> None:
        processor = registry.stripe()
        if processor is None:
            raise CommandError("Set STRIPE_SECRET_KEY first.")
        base = (options["url"] or settings.BASE_URL).rstrip("/")
        if not base.startswith("https://"):
            raise CommandError(f"Stripe needs an https address, not {base}. Set BASE_URL or give --url.")
        try:
            secret = processor.create_endpoint(f"{base}/v1/webhooks/stripe")
        except ProcessorFailure as problem:
            raise CommandError(problem.message) from problem
        self.stdout.write(f"STRIPE_WEBHOOK_SECRET={secret}")

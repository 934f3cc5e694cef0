"""Our books against Stripe's."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.processors.failures import ProcessorFailure
from billing.services.collection import reconciliation
from config import clock
from config.errors import DomainError
from entities.models import Customer


class Command(BaseCommand):
    help = "Compare plans, subscriptions and invoices with Stripe's, field by field. Changes nothing unless told to."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--customer", default="", help="The id of one customer (default: all).")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="Say again at Stripe what the subscriptions are to be. Moves no money.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        customers = Customer.objects.live().order_by("pk")
        if options["customer"]:
            customers = customers.filter(external_id=options["customer"])
            if not customers.exists():
                raise CommandError(f"There is no customer {options['customer']}.")
        compared, differences = 0, 0
        for customer in customers.iterator(chunk_size=500):
            try:
                found = reconciliation.compare(customer, at=clock.now())
                if found and options["repair"]:
                    reconciliation.repair(customer, at=clock.now())
                    found = reconciliation.compare(customer, at=clock.now())
            except ProcessorFailure as problem:
                raise CommandError(problem.message) from problem
            except DomainError as problem:
                self.stderr.write(f"{customer.external_id}: {problem.message}")
                differences += 1
                continue
            compared += 1
            differences += len(found)
            for difference in found:
                self.stdout.write(str(difference))
        self.stdout.write(f"Compared {compared} customers, found {differences} differences.")
        if differences:
            raise CommandError("Not everything agrees.")

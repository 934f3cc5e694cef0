from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import clock
from config.access import keys
from config.access.models import Scope
from config.errors import DomainError


class Command(BaseCommand):
    """Make an API key and print it, this once."""

    help = "Make an API key and print it; it can't be read again later."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True, help="who or what will use it")
        parser.add_argument("--scope", choices=Scope.values, default=Scope.WRITE)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _, secret = keys.create(name=options["name"], scope=options["scope"], at=clock.now())
        except DomainError as problem:
            raise CommandError(problem.message) from problem
        self.stdout.write(secret)

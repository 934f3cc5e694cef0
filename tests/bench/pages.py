"""What the back-office's pages take with a thousand customers and one of 10 000 entities: time and statements."""

import random
import time
from decimal import Decimal
from statistics import median

from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import Balance
from billing.services.balances import metering
from billing.services.balances.metering import Usage
from config import clock
from entities.models import Customer, Entity
from tests.bench.shapes import BENCH, SCATTERED, WIDE

MOST_SECONDS = 1.0
TRACKS = 2_000


def run(*, rounds: int) -> None:
    """Print each page with the median of its server time; those of a second and more are marked."""
    _use()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    user = User.objects.create_superuser("bench", password="bench")
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    print("\nPages of the back-office, server time in ms\n")  # noqa: T201
    print("| page | ms | statements |\n| --- | --- | --- |")  # noqa: T201
    for name, url in _pages().items():
        seen = []
        for turn in range(rounds + 1):
            before = time.perf_counter()
            status = client.get(url).status_code
            if turn:
                seen.append(time.perf_counter() - before)
        with CaptureQueriesContext(connection) as statements:
            client.get(url)
        mark = "" if median(seen) < MOST_SECONDS and status == 200 else f" ({status}) !"
        print(f"| {name} | {median(seen) * 1e3:.0f}{mark} | {len(statements)} |", flush=True)  # noqa: T201


def _use() -> None:
    chosen = random.Random(1)
    for _ in range(TRACKS):
        if chosen.random() < 0.5:
            who = ("wide", f"member_{chosen.randrange(WIDE)}")
        else:
            who = (f"scattered_{chosen.randrange(SCATTERED)}", f"member_{chosen.randrange(10)}")
        metering.track(
            Usage(who[0], "messages", Decimal(chosen.randrange(1, 9)), who[1]), wall=clock.now(), actor=BENCH
        )


def _pages() -> dict[str, str]:
    wide = Customer.objects.get(external_id="wide")
    entity = Entity.objects.filter(customer=wide).order_by("-pk")[:1].get()
    customer = reverse("admin:entities_customer_change", args=[wide.pk])
    balance = Balance.objects.filter(entity=entity).order_by("pk")[:1].get()
    pages = {
        "home": reverse("admin:index"),
        "customer of 10 000": customer,
        "customer of 10 000, last page": f"{customer}?p=400",
        "customer of 10 000, searched": f"{customer}?q=member_99",
        "one of the 10 000": reverse("admin:entities_entity_change", args=[entity.pk]),
        "its balance": reverse("admin:billing_balance_change", args=[balance.pk]),
        "find wide": reverse("admin:find") + "?q=member_77",
        "find by command": reverse("admin:search") + "?s=scattered_9",
        "usage by customer": reverse("admin:usage") + "?feature=messages&days=30&by=$customer_id",
        "remove, of the 10 000": link("remove-seat", wide, entity=entity),
        "grant": link("grant", wide, entity=entity),
        "import": reverse("admin:import"),
    }
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        pages[f"list of {model._meta.verbose_name_plural}"] = reverse(f"admin:{name}_changelist")
    return pages

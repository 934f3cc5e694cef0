"""Every page opens, with and without data, with a number of statements that does not grow with the data."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import Balance, CheckTally, Invoice, LedgerEntry
from billing.services.balances import metering, traffic
from config import clock
from config.access import keys
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.models import Feature
from tests.admin import stories
from tests.admin.stories import NOVEMBER, Staff
from tests.tampering import go_astray

NAMES = sorted(f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry)
MOST_STATEMENTS = 14


def address(name: str, *arguments: Any) -> str:
    return reverse(f"admin:{name}", args=arguments)


def statements(staff: Staff, url: str) -> int:
    staff.get(url)  # what is cached is cached
    with CaptureQueriesContext(connection) as captured:
        staff.get(url)
    return len(captured)


def test_the_home_page_of_an_empty_deployment_says_what_to_do_first(staff: Staff) -> None:
    page = staff.get(address("index"))
    assert "Start here" in page
    assert "Make a plan" in page


def test_home_draws_the_checks_and_leads_from_a_refusal_to_the_seat(staff: Staff) -> None:
    stories.team()
    traffic.write()  # what tests before this one counted is none of ours
    CheckTally.objects.all().delete()
    for required in (1, 1, 2, 0):
        metering.check(
            customer_id="acme", entity_id="alice", feature="summaries", required=Decimal(required), wall=clock.now()
        )
    traffic.write()
    page = staff.get(address("index"))
    assert "Checks per day: 4 in all" in page
    assert "3 refused" in page
    assert "3 times within the hour: 2 asked for, 0 left" in page
    alice = address("entities_entity_change", Entity.objects.get(external_id="alice").pk)
    assert alice in page
    assert "Alice was refused Meeting Summaries 3 times within the hour" in staff.get(alice)


@pytest.mark.parametrize("name", NAMES)
def test_every_list_opens_without_data_and_says_what_to_do(staff: Staff, name: str) -> None:
    page = staff.get(address(f"{name}_changelist"))
    rows = next(a for m, a in admin.site._registry.items() if f"{m._meta.app_label}_{m._meta.model_name}" == name)
    assert getattr(rows, "when_empty", "") in page
    assert "Nothing matches" in staff.get(address(f"{name}_changelist") + "?q=nothing-like-it")


def test_every_list_opens_with_data_in_few_statements_and_every_row_has_a_page(staff: Staff) -> None:
    stories.team()
    stories.workspaces()
    keys.create(name="Website", at=clock.now())
    taken = {name: statements(staff, address(f"{name}_changelist")) for name in NAMES}
    assert max(taken.values()) <= MOST_STATEMENTS, taken
    for model in admin.site._registry:
        row = model._default_manager.order_by("-pk").first()
        if row is not None:
            staff.get(address(f"{model._meta.app_label}_{model._meta.model_name}_change", row.pk))


@pytest.mark.parametrize("name", ["entities_customer_add", "plans_plan_add", "plans_feature_add"])
def test_what_staff_make_has_a_form(staff: Staff, name: str) -> None:
    staff.get(address(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_is_not_there_is_told_and_not_an_error(staff: Staff, name: str) -> None:
    assert staff.client.get(address(f"{name}_change", 999_999)).status_code == 302


def crowd(customer: Customer, number: int) -> None:
    """Seats with balances, straight into the tables."""
    seats, summaries = Feature.objects.get(slug="seats"), Feature.objects.get(slug="summaries")
    made = Entity.objects.bulk_create(
        Entity(customer=customer, external_id=f"seat_{n}", feature=seats, created_at=NOVEMBER) for n in range(number)
    )
    rows = Balance.objects.bulk_create(
        Balance(
            customer=customer, entity=entity, feature=summaries, level=Balance.Level.OWN, granted=Decimal(50),
            usage=Decimal(n % 50), created_at=NOVEMBER,
        )
        for n, entity in enumerate(made)
    )  # fmt: skip
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            balance=row, customer_id=customer.pk, entity_id=row.entity_id, kind=LedgerEntry.Kind.USAGE, at=NOVEMBER,
            granted=row.granted, usage=row.usage,
        )
        for row in rows
    )  # fmt: skip


def test_the_explorer_of_an_empty_deployment_opens(staff: Staff) -> None:
    assert "no feature is metered" in staff.get(reverse("admin:usage"))


def test_the_customers_page_takes_as_many_statements_for_a_thousand_seats(staff: Staff) -> None:
    stories.catalogue()
    small, large = stories.customer(), stories.customer("globex", "Globex")
    for customer, number in ((small, 30), (large, 1000)):
        stories.attach(Subject(customer), "team")
        crowd(customer, number)
    few = statements(staff, address("entities_customer_change", small.pk))
    assert statements(staff, address("entities_customer_change", large.pk)) == few <= 40


def test_the_seat_that_is_blocked_comes_first(staff: Staff) -> None:
    acme = stories.team()
    crowd(acme, 60)
    page = staff.get(address("entities_customer_change", acme.pk))
    assert "62 in all" in page
    assert page.index("Alice</a>") < page.index("seat_49</a>")
    assert "blocked" in page
    assert "Page 1 of 3" in page
    assert "Bob</a>" in staff.get(address("entities_customer_change", acme.pk) + "?p=3")


def test_seats_are_found_by_name_on_their_customers_page(staff: Staff) -> None:
    acme = stories.team()
    page = staff.get(address("entities_customer_change", acme.pk) + "?q=ali")
    assert "Alice</a>" in page
    assert "Bob</a>" not in page
    assert "Nothing matches" in staff.get(address("entities_customer_change", acme.pk) + "?q=100%25")


@pytest.mark.parametrize("query", ["?p=0", "?p=-1", "?p=x", "?p=99999999999999999999", "?q=%00", "?q=%27%22"])
def test_odd_pages_and_searches_are_harmless(staff: Staff, query: str) -> None:
    acme = stories.team()
    staff.get(address("entities_customer_change", acme.pk) + query)


def test_an_entitys_page_says_why_it_is_refused(staff: Staff) -> None:
    acme = stories.team()
    page = staff.get(address("entities_entity_change", stories.entity(acme, "alice").pk))
    assert "Refused" in page
    assert "All 50 are used. It refills on 1 December 2026" in page
    assert "Allowed" in staff.get(address("entities_entity_change", stories.entity(acme, "bob").pk))


def test_a_balances_page_adds_up(staff: Staff) -> None:
    acme = stories.team()
    balance = stories.balance(acme, "alice")
    page = staff.get(address("billing_balance_change", balance.pk))
    assert "50 granted − 50 used − 0 held − 0 expired" in page
    assert "do not add up" not in page
    go_astray(balance, usage=49)
    assert "do not add up" in staff.get(address("billing_balance_change", balance.pk))


def test_a_long_ledger_is_paged_by_keyset(staff: Staff) -> None:
    acme = stories.team()
    for _ in range(51):
        stories.use(acme, "bob", "summaries", 1)
    url = address("billing_balance_change", stories.balance(acme, "bob").pk)
    page = staff.get(url)
    assert "Older" in page
    assert "Bob was created" not in page
    before = page.split("?before=")[1].split('"')[0]
    assert "Bob was created" in staff.get(f"{url}?before={before}")


def test_an_invoice_lists_its_lines_and_total(staff: Staff) -> None:
    acme = stories.team()
    invoice = Invoice.objects.filter(customer=acme).shown().last()
    assert invoice is not None
    page = staff.get(address("billing_invoice_change", invoice.pk))
    assert "$30.00" in page
    assert "Paid" in page


def test_a_get_of_a_customer_whose_reset_is_due_changes_nothing(staff: Staff) -> None:
    acme = stories.team()
    Customer.objects.filter(pk=acme.pk).update(clock_at=NOVEMBER + timedelta(days=40))
    entries = LedgerEntry.objects.count()
    staff.get(address("entities_customer_change", acme.pk))
    page = staff.get(address("entities_entity_change", stories.entity(acme, "alice").pk))
    assert "refill is due" in page
    assert LedgerEntry.objects.count() == entries


def test_the_home_page_tells_what_needs_a_person(staff: Staff) -> None:
    acme = stories.team()
    page = staff.get(address("index"))
    assert "All well" in page
    assert "Blocked, or about to be" in page
    assert "0 of 50 left" in page
    Invoice.objects.filter(customer=acme).shown().update(status=Invoice.Status.OPEN)
    assert "unpaid: $" in staff.get(address("index"))


@pytest.mark.parametrize("environment", ["live", "sandbox"])
def test_the_environment_cannot_be_mistaken(staff: Staff, settings: Any, environment: str) -> None:
    settings.ENVIRONMENT = environment
    page = staff.get(address("index"))
    assert bool(re.search(r">\s*LIVE\s*<", page)) == (environment == "live")
    assert bool(re.search(r">\s*SANDBOX\s*<", page)) == (environment == "sandbox")


def test_logs_and_balances_can_be_neither_added_nor_changed_nor_deleted(staff: Staff) -> None:
    acme = stories.team()
    for kind in ("ledgerentry", "usageevent", "balance", "invoice", "operation"):
        name = f"billing_{kind}"
        staff.get(address(f"{name}_add"), status=403)
        model = next(m for m in admin.site._registry if f"{m._meta.app_label}_{m._meta.model_name}" == name)
        row = model._default_manager.filter().first()
        assert row is not None
        staff.get(address(f"{name}_delete", row.pk), status=403)
        answer = staff.client.post(address(f"{name}_change", row.pk), {"reason": "x"})
        assert answer.status_code in (200, 403)
    assert stories.balance(acme, "alice").usage == 50


def test_times_are_the_viewers_with_utc_on_hover(staff: Staff) -> None:
    acme = stories.team()
    alice = stories.entity(acme, "alice")
    staff.client.cookies["zone"] = "Asia/Tokyo"
    page = staff.get(address("entities_entity_change", alice.pk))
    assert "It refills on 1 December 2026, 09:00 JST." in page
    assert 'title="Sunday, 1 November 2026, 00:00:00 UTC">1 Nov 2026, 09:00</time>' in page
    assert 'UTC">1 Nov 2026, 09:00</time>' in staff.get(address("billing_ledgerentry_changelist"))
    summaries = Feature.objects.get(slug="summaries")
    fields: dict[str, Any] = {"feature": summaries.pk, "amount": "20", "expires_at": "2026-11-06T23:59"}
    staff.act(link("grant", acme, entity=alice), **fields)
    assert Balance.objects.get(entity=alice, item=None).expires_at == datetime(2026, 11, 6, 14, 59, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "x" * 300, "é"])
def test_a_zone_that_is_none_is_utc(staff: Staff, zone: str) -> None:
    acme = stories.team()
    staff.client.cookies["zone"] = zone
    page = staff.get(address("entities_entity_change", stories.entity(acme, "alice").pk))
    assert "It refills on 1 December 2026, 00:00 UTC." in page

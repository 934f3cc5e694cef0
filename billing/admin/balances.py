"""Balances, each as its ledger: the number on top is the sum of the entries below."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.http import HttpRequest
from unfold.decorators import display

from billing.admin.actions import base
from billing.admin.actions.balances import is_undoable
from billing.admin.bars import bars
from billing.models import Balance, LedgerEntry
from billing.templatetags.shown import quantity
from config import clock
from config.admin import Paged, ReadOnlyAdmin

PER_PAGE = 50
COLUMNS = ("granted", "usage", "held", "expired")


@admin.register(Balance)
class BalanceAdmin(ReadOnlyAdmin, Paged):
    """Changed by actions only, each with an entry."""

    page_template = "billing/balance.html"
    when_empty = "Balances come with plans. Attach one to a customer, or grant a balance by hand on its page."
    list_display = ("feature", "holder", "customer", "level", "left", "next_reset_at", "expires_at", "is_live")
    list_display_links = ("feature", "holder")
    list_select_related = ("feature", "customer", "entity")
    list_filter = (("ended_at", admin.EmptyFieldListFilter), "level", "feature")
    search_fields = ("=public_id", "=customer__external_id", "=entity__external_id")
    search_help_text = "Exact id of the balance, the customer or the entity"
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Balance]:
        """With names."""
        rows: QuerySet[Balance] = super().get_queryset(request)
        return rows.select_related("feature", "customer", "entity", "subscription__plan", "item")

    @display(description="Holder")
    def holder(self, balance: Balance) -> str:
        """Whose it is."""
        return str(balance.entity) if balance.entity else "shared"

    @display(description="Left")
    def left(self, balance: Balance) -> str:
        """Of what is granted."""
        return "unlimited" if balance.unlimited else f"{quantity(balance.remaining)} of {quantity(balance.granted)}"

    @display(description="Status", label={"Live": "success", "Ended": "warning"})
    def is_live(self, balance: Balance) -> str:
        """Does it count?"""
        return "Live" if balance.ended_at is None else "Ended"

    def page(self, request: HttpRequest, balance: Balance) -> dict[str, Any]:
        """The balance and its ledger."""
        return page(request, balance)


def page(request: HttpRequest, balance: Balance) -> dict[str, Any]:
    """The sums, and a page of entries found by keyset."""
    entries = LedgerEntry.objects.filter(balance=balance)
    sums = entries.aggregate(**{name: Sum(name) for name in COLUMNS})
    asked = request.GET.get("before", "")
    shown = entries.filter(pk__lt=int(asked)) if asked.isdecimal() and len(asked) < 19 else entries
    rows = list(shown.order_by("-pk")[: PER_PAGE + 1])
    undone = {_undone(row) for row in rows}
    live = balance.ended_at is None
    can_undo = live and base.allowed(request.user, base.REGISTRY["undo"])
    return {
        "balance": balance,
        "customer": balance.customer,
        "at": balance.customer.now(clock.now()),
        "bar": bars([balance])[0],
        "columns": [(name, getattr(balance, name), sums[name] or 0) for name in COLUMNS],
        "adds_up": all((sums[name] or 0) == getattr(balance, name) for name in COLUMNS),
        "entries": [
            (
                row,
                base.link("undo", balance.customer, balance=balance, entry=row)
                if can_undo and is_undoable(row) and row.pk not in undone
                else "",
            )
            for row in rows[:PER_PAGE]
        ],
        "next_before": rows[PER_PAGE - 1].pk if len(rows) > PER_PAGE else 0,
        "buttons": base.buttons(request.user, balance.customer, *ways(balance), balance=balance) if live else [],
    }


def ways(balance: Balance) -> list[str]:
    """The actions that make sense for a live balance."""
    by_hand = balance.item_id is None and balance.rolled_over_from_id is None
    is_spent = balance.feature.consumable and not balance.unlimited
    can_move = is_spent and balance.entity_id is not None and balance.remaining > 0
    return [
        *(["adjust", "refill"] if is_spent else []),
        *(["transfer"] if can_move else []),
        *(["end-balance"] if by_hand else []),
    ]


def _undone(entry: LedgerEntry) -> int:
    """Which entry this one undid; 0 for none."""
    number = entry.reason.removeprefix("Undoes entry ").partition(":")[0]
    return int(number) if number != entry.reason and number.isdecimal() else 0

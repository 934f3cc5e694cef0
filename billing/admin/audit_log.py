"""The audit log: what staff did and why, what was so before and is after, and the way to undo it."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from billing.admin.actions import undoing
from config import journal
from config.admin import Paged, ReadOnlyAdmin
from entities.models import Customer, Entity

MOST = 3  # movements of an entry in the list


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin, Paged):
    """Written with everything that staff do here."""

    page_template = "billing/audit_entry.html"
    heading = "Audit log"
    when_empty = "What staff do, and why, is written down here."
    list_display = ("when", "who", "about", "what", "changed", "why")
    list_display_links = ("when", "what")
    list_select_related = ("user", "content_type")
    list_filter = ("action_flag", ("user", admin.RelatedOnlyFieldListFilter))
    search_fields = ("object_repr", "=user__username", "change_message")
    search_help_text = "Customer, seat, plan, member of staff, field or value"
    ordering = ("-id",)
    sortable_by = ()

    @display(description="When")
    def when(self, entry: LogEntry) -> Any:
        """In the viewer's zone."""
        return self._shown("action_time")(entry)

    @display(description="Who")
    def who(self, entry: LogEntry) -> str:
        """The member of staff."""
        return entry.user.get_username()

    @display(description="To what")
    def about(self, entry: LogEntry) -> str:
        """What it was done to."""
        return entry.object_repr

    @display(description="What was done")
    def what(self, entry: LogEntry) -> str:
        """In words."""
        return journal.told(entry).title

    @display(description="Before → after")
    def changed(self, entry: LogEntry) -> str:
        """The first few."""
        movements = journal.told(entry).movements
        more = f" and {len(movements) - MOST} more" if len(movements) > MOST else ""
        return "; ".join(map(str, movements[:MOST])) + more or journal.NOTHING

    @display(description="Why")
    def why(self, entry: LogEntry) -> str:
        """The reason given."""
        return journal.told(entry).reason or journal.NOTHING

    def page(self, request: HttpRequest, entry: LogEntry) -> dict[str, Any]:
        """One thing that was done, whole."""
        done = journal.told(entry)
        return {
            "title": done.title,
            "entry": entry,
            "done": done,
            "url": entry.get_admin_url() if entry.content_type_id else None,
            "undo": _undo(request, entry, done),
        }


def _undo(request: HttpRequest, entry: LogEntry, done: journal.Done) -> SafeString:
    row = entry.get_edited_object() if done.undo and entry.content_type else None
    return undoing.later(request, row, done.undo) if isinstance(row, Customer | Entity) else SafeString()

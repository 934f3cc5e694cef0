"""Forms that save through plans.catalog: rehearsed while they are validated, so that refusals appear in the form."""

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.decorators import action

from config import csv_stream
from config.admin import Exported
from config.errors import DomainError
from config.journal import Movement
from plans.admin.sheets import SHEETS


class _Rehearsed(Exception):
    """Takes back what a rehearsal did."""


def rehearse(call: Callable[[], Any]) -> None:
    """Do it and take it back; raises a ValidationError with the reason where it can't be done."""
    try:
        with transaction.atomic():
            call()
            raise _Rehearsed
    except _Rehearsed:
        pass
    except DomainError as refusal:
        raise forms.ValidationError(refusal.message) from refusal


class CatalogAdmin(Exported):
    """A page whose whole content, rows below included, is handed to the catalogue as one value."""

    kind: ClassVar[str]  # of the table that it is exported as
    actions_list: ClassVar[Any] = ("bring_in",)

    @action(description="Import from CSV", url_path="bring-in", permissions=("add",))
    def bring_in(self, request: HttpRequest) -> HttpResponse:
        """The page for it."""
        return redirect(f"{reverse('admin:catalogue-import')}?kind={self.kind}")

    @admin.action(description="Export as CSV", permissions=("view",))
    def export(self, request: HttpRequest, queryset: QuerySet[Any]) -> StreamingHttpResponse:
        """The newest versions, as a table that can be brought in again."""
        sheet = SHEETS[self.kind]()
        table = sheet.export(sheet.rows_of(queryset))
        return csv_stream.download(f"{self.kind}.csv", [table.headers, *table])

    def save_through(self, request: HttpRequest, form: Any, formsets: Any, *, change: bool) -> models.Model:
        """Hand the content to the catalogue; returns the row that now has it."""
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The catalogue saves, once the rows below are known."""

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """The catalogue saves."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Everything is known now: save it."""
        saved = self.save_through(request, form, formsets, change=change)
        form.instance.pk = saved.pk
        for formset in formsets:
            formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []

    def note_archived(self, request: HttpRequest, row: Any, *, archived: bool) -> None:
        """In the audit log: put away, or brought back; nothing where it was so before."""
        if archived != (row.archived_at is not None):
            states = ("Live", "Archived") if archived else ("Archived", "Live")
            what = "archived" if archived else "brought back"
            self.log_change(request, row, self.noted(what, [Movement("Status", *states)]))


def told_archived(noun: str, count: int, *, archived: bool) -> str:
    """`1 plan was archived.`"""
    done = "archived" if archived else "brought back"
    return f"1 {noun} was {done}." if count == 1 else f"{count} {noun}s were {done}."


def kept_forms(formset: Any) -> list[Any]:
    """The rows of a formset that are neither empty nor to be deleted."""
    return [
        form
        for form in formset.forms
        if hasattr(form, "cleaned_data")
        and not form.cleaned_data.get("DELETE")
        and (form.instance.pk is not None or form.has_changed())
    ]

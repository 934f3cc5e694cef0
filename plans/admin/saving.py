"""Forms that save through plans.catalog: rehearsed while they are validated, so that refusals appear in the form."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.db import models, transaction
from django.http import HttpRequest

from config.admin import Exported
from config.errors import DomainError


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


def kept_forms(formset: Any) -> list[Any]:
    """The rows of a formset that are neither empty nor to be deleted."""
    return [
        form
        for form in formset.forms
        if hasattr(form, "cleaned_data")
        and not form.cleaned_data.get("DELETE")
        and (form.instance.pk is not None or form.has_changed())
    ]

"""Bringing in a table of the catalogue: what becomes of every row first, then all of it or nothing."""

import csv
import secrets
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views import View
from import_export.results import Result, RowResult
from tablib import Dataset
from tablib.exceptions import TablibException
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextareaWidget

from billing.admin.actions.views import MOVED, ReasonForm, confirmed, reason_form
from config import clock, journal
from config.errors import DomainError
from config.journal import Done
from plans.admin.sheets import SHEETS, Sheet
from plans.models import Feature, Plan

MOST_SHOWN = 200
MODELS: dict[str, type[Feature] | type[Plan]] = {"features": Feature, "plans": Plan}


class SheetForm(forms.Form):
    """Which table."""

    kind = forms.ChoiceField(
        label="What",
        choices=[("features", "Features"), ("plans", "Plans with their items and prices")],
        initial="plans",
        widget=UnfoldAdminRadioSelectWidget,
    )
    content = forms.CharField(
        label="The file",
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "data-file": ".csv,text/csv", "spellcheck": "false"}),
        help_text="CSV as “Export as CSV” on the lists of features and plans writes it. What it does not name stays.",
    )


class ImportCatalogue(View):
    """GET asks, POST shows what would become of each row, POST with a reason pushes."""

    admin_site: Any = None

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form."""
        kind = request.GET.get("kind", "plans")
        _check(request, kind if kind in SHEETS else "plans")
        return self._page(request, SheetForm(initial={"kind": kind}))

    def post(self, request: HttpRequest) -> HttpResponse:
        """The preview, or the push."""
        form = SheetForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        kind = form.cleaned_data["kind"]
        _check(request, kind)
        try:
            table = Dataset().load(form.cleaned_data["content"].lstrip("\ufeff"), format="csv")
        except (TablibException, ValueError, csv.Error):
            return self._page(request, form, refusal="This is no table: every line has to have as many cells.")
        if not table.headers or not len(table):
            return self._page(request, form, refusal="The file has no rows beneath its header.")
        sheet = SHEETS[kind]()
        looked = _refusing(sheet.import_data(table, dry_run=True))
        reason = reason_form(request, request.POST if "confirm" in request.POST else None, is_dangerous=True)
        shown = {"looked": looked, "table": table, "sheet": sheet, "reason": reason}
        if looked.has_errors() or "confirm" not in request.POST or not confirmed(request, reason):
            return self._page(request, form, **shown)
        if request.POST.get("fingerprint") != sheet.fingerprint:
            return self._page(request, form, **shown, refusal=MOVED)
        done = SHEETS[kind]()
        result = _refusing(done.import_data(table, dry_run=False))
        if result.has_errors():
            return self._page(request, form, looked=result, table=table, sheet=done, reason=reason)
        _keep(request, kind, done, reason.cleaned_data["reason"], table)
        return redirect(f"admin:plans_{kind[:-1]}_changelist")

    def _page(
        self,
        request: HttpRequest,
        form: SheetForm,
        *,
        looked: Result | None = None,
        table: Dataset | None = None,
        sheet: Sheet | None = None,
        reason: ReasonForm | None = None,
        refusal: str = "",
    ) -> HttpResponse:
        problems = [str(error.error) for error in looked.base_errors] if looked is not None else []
        rows = [] if looked is None or table is None or problems else _rows(looked, table)
        context = {
            **self.admin_site.each_context(request),
            "title": "Import features and plans",
            "form": form,
            "refusal": refusal or " ".join(problems),
            "rows": sorted(rows, key=lambda row: row["kind"] != RowResult.IMPORT_TYPE_ERROR)[:MOST_SHOWN],
            "count": len(rows),
            "can": bool(rows) and looked is not None and not looked.has_errors(),
            "fingerprint": sheet.fingerprint if sheet is not None else "",
            "reason": reason,
        }
        return TemplateResponse(request, "plans/import.html", context, status=409 if context["refusal"] else 200)


def _refusing(result: Result) -> Result:
    """The library keeps every exception for the page; those that are no refusals are mistakes of ours."""
    for problem in result.base_errors:
        if not isinstance(problem.error, DomainError):
            raise problem.error
    return result


def _check(request: HttpRequest, kind: str) -> None:
    model = MODELS[kind]._meta.model_name
    if not request.user.has_perms([f"plans.add_{model}", f"plans.change_{model}"]):
        raise PermissionDenied


def _rows(looked: Result, table: Dataset) -> list[dict[str, Any]]:
    """Each row with its number, its first cells and what becomes of it."""
    return [
        {
            "number": number,
            "cells": " · ".join(str(cell) for cell in cells if cell)[:200],
            "kind": row.import_type,
            "fate": row.diff[0],
        }
        for number, (row, cells) in enumerate(zip(looked.rows, table, strict=False), start=1)
    ]


def _keep(request: HttpRequest, kind: str, sheet: Sheet, why: str, table: Dataset) -> None:
    """What became of each, in the audit log."""
    names = table[sheet.key]
    fates = {names[number - 1]: fate.text for number, fate in sheet.fates.items() if fate.kind in ("new", "update")}
    model = MODELS[kind]
    newest = model.objects.filter(slug__in=fates, **({"is_latest": True} if model is Plan else {}))
    request_id, at = f"admin-{secrets.token_hex(8)}", clock.now()
    for row in newest:
        title, what = f"Import: {row}", [fates[row.slug]]
        journal.write(request, row, str(row), Done(at, title, why, what, request_id=request_id))

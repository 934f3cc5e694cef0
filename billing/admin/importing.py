"""Bringing in CSV files: columns explained, every row looked at before, then in the background with its progress."""

import secrets
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views import View
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextareaWidget

from billing.admin.actions.views import ReasonForm, reason_form
from billing.models import CsvImport
from billing.services import background
from billing.services.imports import csv_imports, csv_rows
from config import clock
from config.errors import DomainError

MOST_SHOWN = 200
EXAMPLES = {
    "customers": "customer_id,name,email\norg_123,Acme,billing@acme.example",
    "entities": "customer_id,entity_id,feature_id,name\norg_123,user_alice,seats,Alice",
    "usage": "customer_id,entity_id,feature_id,value\norg_123,user_alice,summaries,3",
    "grants": "customer_id,entity_id,feature_id,amount,expires_at\norg_123,user_alice,summaries,20,2026-12-04T18:00Z",
}


class FileForm(forms.Form):
    """What is brought in."""

    kind = forms.ChoiceField(
        label="What", choices=CsvImport.Kind.choices, initial="customers", widget=UnfoldAdminRadioSelectWidget
    )
    content = forms.CharField(
        label="The file",
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "data-file": ".csv,text/csv", "spellcheck": "false"}),
        help_text=f"Pasted or chosen below; its first line names the columns; at most {csv_rows.MOST_ROWS:,} rows.",
    )


class Import(View):
    """GET explains, POST shows what would become of each row, POST with a reason begins."""

    admin_site: Any = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """For those who may."""
        if not request.user.has_perm("billing.can_import"):
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form."""
        return self._page(request, FileForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        """The preview, or the beginning."""
        form = FileForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        kind, content = form.cleaned_data["kind"], form.cleaned_data["content"]
        try:
            rows = csv_imports.forecast(kind, csv_rows.read(kind, content))
        except DomainError as refusal:
            return self._page(request, form, refusal=refusal.message)
        reason = reason_form(request, request.POST if "confirm" in request.POST else None, is_dangerous=True)
        if "confirm" not in request.POST or not reason.is_valid():
            return self._page(request, form, rows=rows, reason=reason)
        user: Any = request.user
        job = csv_imports.begin(
            kind=kind,
            content=content,
            reason=reason.cleaned_data["reason"],
            by=user,
            request_id=f"admin-{secrets.token_hex(8)}",
            at=clock.now(),
        )
        start(job)
        return redirect("admin:import-progress", job.pk)

    def _page(
        self,
        request: HttpRequest,
        form: FileForm,
        *,
        rows: list[csv_imports.Forecast] | None = None,
        reason: ReasonForm | None = None,
        refusal: str = "",
    ) -> HttpResponse:
        problems = [row for row in rows or [] if row.is_problem]
        context = {
            **self.admin_site.each_context(request),
            "title": "Import from CSV",
            "form": form,
            "refusal": refusal,
            "rows": [*problems, *(row for row in rows or [] if not row.is_problem)][:MOST_SHOWN],
            "count": len(rows or []),
            "coming": sum(row.verdict == "comes in" for row in rows or []),
            "problems": len(problems),
            "reason": reason,
            "examples": [(label, EXAMPLES[kind]) for kind, label in CsvImport.Kind.choices],
            "earlier": CsvImport.objects.select_related("started_by").defer("content", "problems").order_by("-pk")[:8],
        }
        return TemplateResponse(request, "billing/import.html", context, status=409 if refusal else 200)


class Progress(View):
    """How far a file has come; the page looks again by itself until it is through."""

    admin_site: Any = None

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Only reads."""
        if not request.user.has_perm("billing.view_csvimport"):
            raise PermissionDenied
        job = get_object_or_404(CsvImport.objects.select_related("started_by").defer("content"), pk=pk)
        is_stuck = job.finished_at is None and (job.leased_until or job.started_at) < clock.now() - csv_imports.LEASE
        if is_stuck:
            messages.warning(request, "Its process died. run_due goes on with it: is the cron line there?")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Import: {job}",
            "job": job,
            "brought": job.done - job.skipped - job.failed,
        }
        return TemplateResponse(request, "billing/import_progress.html", context)


def start(job: CsvImport) -> None:
    """Go to work beside the request. Nothing is lost when the process ends: `run_due` goes on."""
    background.start(f"import-{job.pk}", partial(csv_imports.work, job))

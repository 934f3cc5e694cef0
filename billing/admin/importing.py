"""Bringing in CSV files: columns explained, every row looked at before, then in the background with its progress."""

import secrets
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views import View
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextareaWidget

from billing.admin.actions.views import ReasonForm, confirmed, reason_form
from billing.admin.jobs import NEEDS
from billing.models import BulkJob
from billing.services import bulk
from billing.services.imports import csv_imports, csv_rows
from config import clock
from config.admin import actor
from config.errors import DomainError

MOST_SHOWN = 200
EXAMPLES = {
    "customers": "customer_id,name,email\norg_123,Acme,billing@acme.example",
    "entities": "customer_id,entity_id,feature_id,name\norg_123,user_alice,seats,Alice",
    "usage": "customer_id,entity_id,feature_id,value\norg_123,user_alice,summaries,3",
    "removals": "customer_id,entity_id\norg_123,user_alice",
    "grants": "customer_id,entity_id,feature_id,amount,expires_at\norg_123,user_alice,summaries,20,2026-12-04T18:00Z",
}


KINDS = [(kind.value, kind.label) for kind in csv_rows.COLUMNS]


class FileForm(forms.Form):
    """What is brought in."""

    kind = forms.ChoiceField(label="What", choices=KINDS, initial="customers", widget=UnfoldAdminRadioSelectWidget)
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
        if "confirm" not in request.POST:
            return self._page(request, form, rows=rows)
        looks_first = bulk.WORKS[BulkJob.Kind(kind)].look is not None
        reason = reason_form(request, request.POST, is_dangerous=True)
        if not looks_first and not confirmed(request, reason):
            return self._page(request, form, rows=rows, reason=reason)
        if not request.user.has_perm(NEEDS[BulkJob.Kind(kind)]):
            raise PermissionDenied
        job = self._begin(request, BulkJob.Kind(kind), [row.row for row in rows])
        if looks_first or bulk.confirm(job, reason=reason.cleaned_data["reason"], by=_user(request), at=clock.now()):
            bulk.start(job)
        return redirect("admin:job", job.pk)

    def _begin(self, request: HttpRequest, kind: BulkJob.Kind, rows: list[csv_rows.Row]) -> BulkJob:
        by, title = actor(request, f"admin-{secrets.token_hex(8)}"), f"{kind.label}, {len(rows)} rows"
        return csv_imports.begin(kind=kind, title=title, rows=rows, actor=by, at=clock.now())

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
            "coming": sum(not row.verdict for row in rows or []),
            "problems": len(problems),
            "fate": "leaves" if form.data.get("kind") == "removals" else "comes in",
            "verb": "leave" if form.data.get("kind") == "removals" else "come in",
            "reason": reason or reason_form(request, is_dangerous=True),
            "looks_first": form.data.get("kind") in (BulkJob.Kind.ENTITIES, BulkJob.Kind.REMOVALS),
            "examples": [(label, EXAMPLES[kind]) for kind, label in KINDS],
            "earlier": BulkJob.objects.filter(kind__in=EXAMPLES).order_by("-pk")[:8],
        }
        return TemplateResponse(request, "billing/import.html", context, status=409 if refusal else 200)


def _user(request: HttpRequest) -> Any:
    return request.user

"""Moving those who hold older versions of a plan to the newest: a job that looks first, then moves them one by one."""

import secrets
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from billing.services import bulk, moves
from billing.templatetags.shown import quantity
from config import clock
from config.admin import actor
from plans.models import Plan


class VersionsForm(forms.Form):
    """Whose holders are moved."""

    versions = forms.TypedMultipleChoiceField(
        coerce=int, label="Who is moved", widget=UnfoldAdminCheckboxSelectMultipleWidget
    )


def move_view(request: HttpRequest, pk: int, context: dict[str, Any]) -> HttpResponse:
    """GET asks whose, POST begins the dry run; nobody is moved before somebody has seen it and said why."""
    if not request.user.has_perm("billing.can_attach_plan"):
        raise PermissionDenied
    old = get_object_or_404(Plan, pk=pk)
    new = get_object_or_404(Plan, slug=old.slug, is_latest=True)
    form = VersionsForm(request.POST or None)
    field: Any = form.fields["versions"]
    held = moves.holders(new)
    field.choices = [(version, f"v{version}: {quantity(count)} on it") for version, count in held.items()]
    field.initial = [old.version] if old != new else list(held)
    if held and request.method == "POST" and form.is_valid():
        by = actor(request, f"admin-{secrets.token_hex(8)}")
        job = moves.begin(plan=new, versions=form.cleaned_data["versions"], actor=by, at=clock.now())
        bulk.start(job)
        return redirect("admin:job", job.pk)
    context |= {"title": f"Move holders of {new.name} to v{new.version}", "old": old, "new": new, "form": form}
    return TemplateResponse(request, "plans/move.html", context)

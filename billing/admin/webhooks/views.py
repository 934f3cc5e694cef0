"""The one page behind what staff do about endpoints: what will happen, the reason, and the doing of it."""

import secrets
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache

from billing.admin.actions.views import CONFIRMED, MOVED, GuardedReasonForm, ReasonForm, reason_form
from billing.admin.webhooks.steps import STEPS, Step, allowed
from billing.models import WebhookEndpoint
from config import clock, journal
from config.errors import DomainError
from config.journal import Done


@method_decorator(never_cache, name="dispatch")
class Act(View):
    """GET says what will happen, POST with a reason does it; secrets are shown in the answer and kept nowhere."""

    admin_site: Any = None

    def get(self, request: HttpRequest, slug: str, pk: int | None = None) -> HttpResponse:
        """The page."""
        step = self._step(request, slug, pk)
        return self._page(request, step, step.form(), reason_form(request, is_dangerous=step.is_dangerous))

    def post(self, request: HttpRequest, slug: str, pk: int | None = None) -> HttpResponse:
        """The doing of it."""
        step = self._step(request, slug, pk)
        form = step.form(request.POST)
        reason = reason_form(request, request.POST, is_dangerous=step.is_dangerous)
        # Both, so that all that is missing is told at once.
        if not all([form.is_valid(), reason.is_valid()]):
            return self._page(request, step, form, reason)
        if isinstance(reason, GuardedReasonForm):
            request.session[CONFIRMED] = clock.now().isoformat()
        if step.endpoint is not None and request.POST.get("state") != _state(step.endpoint):
            return self._page(request, step, form, reason, refusal=MOVED)
        at, request_id = clock.now(), f"admin-{secrets.token_hex(8)}"
        try:
            done = step.run(form, at)
        except DomainError as refusal:
            return self._page(request, step, form, reason, refusal=refusal.message)
        title, why = f"{step.title}: {step.named}", reason.cleaned_data["reason"]
        told = Done(at, title, why, step.says(), request_id=request_id)
        journal.write(request, step.named, str(step.named), told)
        if step.shows_secret:
            context = {**self.admin_site.each_context(request), "title": step.title, "row": step.named, "done": done}
            return TemplateResponse(request, "billing/webhook_secret.html", context)
        messages.success(request, done)
        return redirect(_address(step))

    def _step(self, request: HttpRequest, slug: str, pk: int | None) -> Step:
        kind = STEPS.get(slug)
        if kind is None or (pk is None) != (slug == "add"):
            raise Http404
        if not allowed(request.user, kind):
            raise PermissionDenied
        return kind(None if pk is None else get_object_or_404(WebhookEndpoint.objects.present(), pk=pk))

    def _page(
        self, request: HttpRequest, step: Step, form: forms.Form, reason: ReasonForm, *, refusal: str = ""
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": step.title if step.endpoint is None else f"{step.title}: {step.endpoint}",
            "step": step,
            "form": form,
            "reason": reason,
            "refusal": refusal,
            "state": _state(step.endpoint) if step.endpoint else "",
            "back": _address(step),
        }
        return TemplateResponse(request, "billing/webhook_step.html", context, status=409 if refusal else 200)


def _address(step: Step) -> str:
    if step.endpoint is None or step.endpoint.deleted_at is not None or step.slug == "remove":
        return reverse("admin:billing_webhookendpoint_changelist")
    return reverse("admin:billing_webhookendpoint_change", args=[step.endpoint.pk])


def _state(endpoint: WebhookEndpoint) -> str:
    """The same as long as nobody has changed it."""
    return endpoint.updated_at.isoformat()

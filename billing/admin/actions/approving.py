"""A second person for what is large: the change waits, somebody else looks at it as it would be now, and decides."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from billing.admin import journal
from billing.admin.actions.base import ROWS, Action, Preview
from billing.admin.actions.views import Act
from billing.models import Approval
from billing.services import approvals
from billing.templatetags.shown import quantity
from config import clock, zones
from config.actor import Actor
from config.errors import InvalidRequest

PERMISSION = "billing.can_approve"
STALE = "What was asked for makes no sense any more: what it names is gone. Decline it."


class Propose(Act):
    """The page of all actions; what is larger than the settings allow one person is asked for instead of done."""

    def carry_out(
        self, request: HttpRequest, action: Action, form: forms.Form, preview: Preview, *, actor: Actor, why: str
    ) -> str:
        """Do it, or write down that it is asked for."""
        if not approvals.is_needed(amount=preview.amount, units=preview.units):
            return super().carry_out(request, action, form, preview, actor=actor, why=why)
        self.is_done = False
        rows = {name: row.pk for name in ROWS if (row := getattr(action.target, name)) is not None}
        asked = Approval.objects.create(
            action=action.slug,
            customer=action.target.customer,
            rows=rows,
            answers={name: _answer(form, name) for name in form.fields},
            title=action.heading[:300],
            reason=why,
            asked_by_id=request.user.pk or 0,
            asked_at=clock.now(),
        )
        journal.write(request, action.target, title=f"Asked for: {asked}"[:300], reason=why, preview=preview)
        return f"Nothing was done yet: “{asked}” is above what one person may do, and waits for a second one."


class Decide(Act):
    """What was asked for, as it would be now: approved and done, or declined, by somebody else."""

    approval: Approval
    asked: Mapping[str, str] = {}  # the answers in words

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Which one."""
        super().setup(request, *args, **kwargs)
        rows = Approval.objects.select_related("customer", "asked_by")
        self.approval = get_object_or_404(rows.exclude(customer=None), pk=kwargs["pk"])

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """What would happen."""
        action = self._asked(request)
        if self.approval.status != Approval.Status.WAITING:
            messages.info(request, approvals.DECIDED)
            return redirect(action.target.page)
        form = action.form(self.approval.answers)
        if not form.is_valid():
            return self.page(request, action, form, refusal=STALE)
        return self.previewed(request, action, form, values=form.cleaned_data)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Approve or decline."""
        action = self._asked(request)
        if "decline" in request.POST:
            try:
                self._decide(request, Approval.Status.DECLINED)
                title = f"Declined: {self.approval}"[:300]
                journal.write(request, action.target, title=title, reason="", preview=Preview())
                messages.success(request, f"“{self.approval}” was declined. Nothing has changed.")
            except InvalidRequest as refusal:
                messages.warning(request, refusal.message)
            return redirect("admin:billing_approval_changelist")
        form = action.form(self.approval.answers)
        if not form.is_valid():
            return self.page(request, action, form, refusal=STALE)
        return self.reasoned(request, action, form)

    def anew(self, request: HttpRequest, action: Action) -> Action:
        """The same rows, read again."""
        return type(action)(self.target(type(action), self.approval.customer_id or 0, self.approval.rows))

    def carry_out(
        self, request: HttpRequest, action: Action, form: forms.Form, preview: Preview, *, actor: Actor, why: str
    ) -> str:
        """Claimed first: who dies in between leaves something approved and not done, never something done twice."""
        self._decide(request, Approval.Status.APPROVED)
        asker = self.approval.asked_by.get_username()
        try:
            return super().carry_out(request, action, form, preview, actor=actor, why=f"{why} (asked by {asker})"[:400])
        except Exception:
            Approval.objects.filter(pk=self.approval.pk).update(
                status=Approval.Status.WAITING, decided_by=None, decided_at=None
            )
            raise

    def previewed(self, request: HttpRequest, action: Action, form: forms.Form, **kwargs: Any) -> HttpResponse:
        """With the answers in words."""
        self.asked = {name: _told(value) for name, value in form.cleaned_data.items()}
        return super().previewed(request, action, form, **kwargs)

    def beside(self, request: HttpRequest) -> dict[str, Any]:
        """Who asked, and why."""
        is_own = self.approval.asked_by_id == request.user.pk
        return {"approval": self.approval, "is_own": is_own, "own": approvals.OWN, "asked": self.asked}

    def _asked(self, request: HttpRequest) -> Action:
        kind = self.kind(request, self.approval.action)
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        return kind(self.target(kind, self.approval.customer_id or 0, self.approval.rows))

    def _decide(self, request: HttpRequest, status: Approval.Status) -> None:
        user: Any = request.user
        approvals.decide(self.approval, status, by=user, at=clock.now())


def address(approval: Approval) -> str:
    """Where it is decided."""
    if approval.job_id is not None:
        return reverse("admin:job", args=[approval.job_id])
    return reverse("admin:decide", args=[approval.pk])


def _told(value: Any) -> str:
    if isinstance(value, datetime):
        return zones.told(value)
    if isinstance(value, list):
        return f"{len(value)} lines"
    return quantity(value) if isinstance(value, Decimal) else str(value or "")


def _answer(form: forms.Form, name: str) -> Any:
    """As it was posted; a time as an instant, since the second person may sit in another zone."""
    value = form.cleaned_data.get(name)
    return value.isoformat() if isinstance(value, datetime) else form.data.get(name, "")

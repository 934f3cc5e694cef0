"""The one page behind all actions: questions, then what will happen, then the reason and the doing of it."""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.views import View
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from billing.admin import journal
from billing.admin.actions import undoing
from billing.admin.actions.base import REGISTRY, ROWS, Action, Preview, Target, allowed
from billing.services.execution import queue
from config import clock
from config.actor import Actor
from config.admin import actor
from config.errors import DomainError
from entities.models import Customer

MOVED = "Things have moved since you looked. Below is what would happen now; nothing was done yet."
BUSY = "Another change of this customer is still under way. Wait a moment and try again; nothing was done."


# How long a member of staff is known to be sitting there, after a login or a password asked for again.
RECENT = timedelta(minutes=15)
CONFIRMED = "confirmed_at"


class ReasonForm(forms.Form):
    """Why it is done."""

    reason = forms.CharField(
        max_length=400,
        label="Why?",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "For the next person who wonders"}),
    )


class GuardedReasonForm(ReasonForm):
    """The same, and the password once more."""

    password = forms.CharField(
        label="Your password, once more",
        help_text="This can't be taken back as it was, and you logged in a while ago.",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        """It has to be theirs."""
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise forms.ValidationError("That is not your password.")
        return password


def reason_form(request: HttpRequest, data: Any = None, *, is_dangerous: bool) -> ReasonForm:
    """Asks for the reason; where it is dangerous and the login is old, for the password too."""
    user = request.user
    if not is_dangerous or not isinstance(user, User) or is_fresh(request, user):
        return ReasonForm(data)
    return GuardedReasonForm(data, user=user)


def confirmed(request: HttpRequest, reason: ReasonForm) -> bool:
    """Was the reason given, and the password where it was asked for? That is then good for a while."""
    if not reason.is_valid():
        return False
    if isinstance(reason, GuardedReasonForm):
        request.session[CONFIRMED] = clock.now().isoformat()
    return True


def is_fresh(request: HttpRequest, user: User) -> bool:
    """Has this member of staff shown lately that it is them?"""
    since = clock.now() - RECENT
    told = request.session.get(CONFIRMED)
    confirmed = datetime.fromisoformat(told) if told else None
    return any(at is not None and at > since for at in (user.last_login, confirmed))


class Act(View):
    """GET asks and shows, POST with a reason does; nothing else changes anything."""

    admin_site: Any = None
    is_done = True  # False where it was only asked for

    def get(self, request: HttpRequest, slug: str, customer: int) -> HttpResponse:
        """The questions; where there are none, what will happen."""
        action = self._action(request, slug, customer)
        form = action.form()
        if form.fields:
            return self.page(request, action, form)
        return self.previewed(request, action, form, values={})

    def post(self, request: HttpRequest, slug: str, customer: int) -> HttpResponse:
        """What will happen, or, confirmed, the doing of it."""
        action = self._action(request, slug, customer)
        form = action.form(request.POST)
        if not form.is_valid():
            return self.page(request, action, form)
        if "confirm" not in request.POST:
            return self.previewed(request, action, form, values=form.cleaned_data)
        return self.reasoned(request, action, form)

    def reasoned(self, request: HttpRequest, action: Action, form: forms.Form) -> HttpResponse:
        """Confirmed: with a reason, and the password where it is asked for, it is done."""
        reason = reason_form(request, request.POST, is_dangerous=action.is_dangerous)
        if not confirmed(request, reason):
            return self.previewed(request, action, form, values=form.cleaned_data, reason=reason)
        return self._confirmed(request, action, form, reason)

    def _confirmed(self, request: HttpRequest, action: Action, form: forms.Form, reason: ReasonForm) -> HttpResponse:
        values, why = form.cleaned_data, reason.cleaned_data["reason"]
        request_id = f"admin-{secrets.token_hex(8)}"
        try:
            with queue.customer(action.target.customer):
                # Anew: whoever had the turn before may have turned the clock or removed what this is about.
                action = self.anew(request, action)
                preview = action.preview(values)
                if preview.fingerprint() != request.POST.get("fingerprint"):
                    messages.warning(request, MOVED)
                    return self.page(request, action, form, preview=preview, reason=reason)
                done = self.carry_out(request, action, form, preview, actor=actor(request, request_id), why=why)
        except DomainError as refusal:
            return self.page(request, action, form, refusal=refusal.message)
        except OperationalError as busy:
            if "lock" not in str(busy):
                raise
            return self.page(request, action, form, refusal=BUSY)
        if not self.is_done:
            messages.warning(request, done)
            return redirect(action.target.page)
        target, title = action.target, action.heading
        counter = action.counter(values, request_id)
        undo = counter.kept() if counter is not None else {}
        journal.write(request, target, title=title, reason=why, preview=preview, request_id=request_id, undo=undo)
        button = undoing.button(request, target, counter, why) if counter is not None else ""
        hint = f"To undo: {preview.undo}" if preview.undo and (counter is None or counter.instead or not button) else ""
        messages.success(request, format_html("{} {} {}", done, hint, button))
        return redirect(action.page_after())

    def carry_out(
        self, request: HttpRequest, action: Action, form: forms.Form, preview: Preview, *, actor: Actor, why: str
    ) -> str:
        """Do what was shown and confirmed; returns a sentence on it."""
        return action.run(form.cleaned_data, actor, why)

    def anew(self, request: HttpRequest, action: Action) -> Action:
        """The action on its rows as they are now."""
        return type(action)(self.target(type(action), action.target.customer.pk, request.GET.dict()))

    def previewed(
        self,
        request: HttpRequest,
        action: Action,
        form: forms.Form,
        *,
        values: dict[str, Any],
        reason: ReasonForm | None = None,
    ) -> HttpResponse:
        """The page with what will happen, or with the sentence why it can't."""
        try:
            preview = action.preview(values)
        except DomainError as refusal:
            return self.page(request, action, form, refusal=refusal.message)
        return self.page(request, action, form, preview=preview, reason=reason)

    def page(
        self,
        request: HttpRequest,
        action: Action,
        form: forms.Form,
        *,
        preview: Preview | None = None,
        reason: ReasonForm | None = None,
        refusal: str = "",
    ) -> HttpResponse:
        """The questions, the preview and the reason, as far as they are known."""
        context = {
            **self.admin_site.each_context(request),
            "title": action.heading,
            "action": action,
            "form": form,
            "preview": preview,
            "fingerprint": preview.fingerprint() if preview else "",
            "reason": reason or reason_form(request, is_dangerous=action.is_dangerous),
            "refusal": refusal,
            **self.beside(request),
        }
        status = 409 if refusal else 200
        return TemplateResponse(request, "billing/action.html", context, status=status)

    def beside(self, request: HttpRequest) -> dict[str, Any]:
        """What else the page shows."""
        return {}

    def kind(self, request: HttpRequest, slug: str) -> type[Action]:
        """The action, if this member of staff may do it."""
        kind = REGISTRY.get(slug)
        if kind is None:
            raise Http404(f"There is no action {slug}.")
        if not allowed(request.user, kind):
            raise PermissionDenied
        return kind

    def _action(self, request: HttpRequest, slug: str, customer_pk: int) -> Action:
        kind = self.kind(request, slug)
        return kind(self.target(kind, customer_pk, request.GET.dict()))

    def target(self, kind: type[Action], customer_pk: int, asked: Mapping[str, Any]) -> Target:
        """The rows that it is about, all of that customer."""
        customer = get_object_or_404(Customer, pk=customer_pk)
        rows: dict[str, Any] = {}
        for name, model in ROWS.items():
            given = str(asked.get(name, ""))
            if not given and name in kind.needs:
                raise Http404(f"{kind.title} needs {name}.")
            if given:
                if not given.isdecimal() or len(given) > 18:
                    raise Http404(f"{name} is no number.")
                rows[name] = get_object_or_404(model, pk=int(given), **_of(name, customer))
        for name in ("subscription", "balance", "hold", "invoice"):
            if name in rows and rows[name].entity_id is not None and "entity" not in rows:
                rows["entity"] = rows[name].entity
        wall = clock.now()
        return Target(customer=customer, at=customer.now(wall), wall=wall, **rows)


def _of(name: str, customer: Customer) -> dict[str, Any]:
    return {"customer_id": customer.pk} if name == "entry" else {"customer": customer}

"""Undo: the action that makes up for one just done, offered as a button where it was done and in the audit log.

Right away one click does it: previewed then and there, the button carries the preview's fingerprint like any
confirmation, so it refuses once things have moved. What does not come back as it was, and what is undone later from
the audit log, is shown first.
"""

from dataclasses import replace
from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.actions.base import REGISTRY, ROWS, Counter, Target, allowed, link
from config.errors import DomainError
from entities.models import Customer, Entity


def button(request: HttpRequest, target: Target, counter: Counter, reason: str) -> SafeString:
    """A form of one button; empty where this member of staff may not, or it can't be done."""
    kind = REGISTRY[counter.slug]
    if not allowed(request.user, kind):
        return SafeString()
    customer = Customer.objects.get(pk=target.customer.pk)
    undoing = kind(replace(target, customer=customer, **counter.rows))
    form = undoing.form(counter.answers)
    if not form.is_valid():
        return SafeString()
    try:
        preview = undoing.preview(form.cleaned_data)
    except DomainError:
        return SafeString()
    if counter.instead:
        return _form(request, customer, counter, {"preview": "1"})
    return _form(request, customer, counter, {"fingerprint": preview.fingerprint(), "reason": _why(reason)})


def later(request: HttpRequest, row: Customer | Entity, kept: dict[str, Any]) -> SafeString:
    """The same for what the audit log kept, led through its preview; empty where its rows are gone."""
    kind = REGISTRY.get(kept["slug"])
    if kind is None or not allowed(request.user, kind):
        return SafeString()
    rows = {name: ROWS[name].objects.filter(pk=pk).first() for name, pk in kept["rows"].items()}
    if any(found is None for found in rows.values()):
        return SafeString()
    customer = row.customer if isinstance(row, Entity) else row
    counter = Counter(kept["slug"], rows, kept["answers"], kept["instead"] or "Undo …")
    return _form(request, customer, counter, {"preview": "1"})


def _why(reason: str) -> str:
    return f"Taken back: {reason}"[:400]


def _form(request: HttpRequest, customer: Customer, counter: Counter, carried: dict[str, str]) -> SafeString:
    carried = {**counter.answers, "csrfmiddlewaretoken": get_token(request), **carried}
    return format_html(
        '<form method="post" action="{}" class="sl-inline">{}<button type="submit" name="{}" value="1"'
        ' class="sl-button sl-small">{}</button></form>',
        link(counter.slug, customer, **counter.rows),
        format_html_join("", '<input type="hidden" name="{}" value="{}">', carried.items()),
        "preview" if "preview" in carried else "confirm",
        counter.instead or "Undo",
    )

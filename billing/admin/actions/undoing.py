"""Undo with one click: the action that makes up for one just done, previewed then and there and offered as a button.

The button carries the preview's fingerprint like any confirmation, so it refuses once things have moved.
"""

from dataclasses import replace

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.actions.base import REGISTRY, Action, Counter, allowed, link
from config.errors import DomainError
from entities.models import Customer


def button(request: HttpRequest, action: Action, counter: Counter, reason: str) -> SafeString:
    """A form of one button; empty where this member of staff may not, or it can't be done."""
    kind = REGISTRY[counter.slug]
    if not allowed(request.user, kind):
        return SafeString()
    customer = Customer.objects.get(pk=action.target.customer.pk)
    undoing = kind(replace(action.target, customer=customer, **counter.rows))
    form = undoing.form(counter.answers)
    if not form.is_valid():
        return SafeString()
    try:
        preview = undoing.preview(form.cleaned_data)
    except DomainError:
        return SafeString()
    carried = {
        **counter.answers,
        "csrfmiddlewaretoken": get_token(request),
        "fingerprint": preview.fingerprint(),
        "reason": f"Taken back: {reason}"[:400],
    }
    return format_html(
        '<form method="post" action="{}" class="sl-inline">{}<button type="submit" name="confirm" value="1"'
        ' class="sl-button sl-small">Undo</button></form>',
        link(counter.slug, customer, **counter.rows),
        format_html_join("", '<input type="hidden" name="{}" value="{}">', carried.items()),
    )

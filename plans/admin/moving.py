"""Moving those who hold an old version of a plan to the newest: a dry run for each, then a reason, then the moves."""

import hashlib
import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse

from billing.admin import journal
from billing.admin.actions import outcomes
from billing.admin.actions.base import Preview, Target
from billing.admin.actions.views import ReasonForm
from billing.models import Subscription
from billing.services import subscriptions
from billing.services.plan_changes.requests import Update
from config import clock
from config.admin import actor
from config.errors import DomainError
from plans.models import Plan

MOST = 50


@dataclass(frozen=True, slots=True)
class Move:
    """What the move of one holder comes to; `refusal` says why it can't be."""

    subscription: Subscription
    preview: Preview
    total: Decimal
    currency: str
    refusal: str = ""


def move_view(request: HttpRequest, pk: int, context: dict[str, Any]) -> HttpResponse:
    """GET shows the dry run, POST with a reason moves; at most `MOST` at a time."""
    if not request.user.has_perm("billing.can_attach_plan"):
        raise PermissionDenied
    old = get_object_or_404(Plan, pk=pk)
    new = get_object_or_404(Plan, slug=old.slug, is_latest=True)
    held = Subscription.objects.live().filter(plan=old).select_related("customer", "entity", "plan").order_by("pk")
    moves = [_dry_run(row, new) for row in held[:MOST]] if new.pk != old.pk else []
    fingerprint = _fingerprint(moves)
    reason = ReasonForm(request.POST or None)
    if request.method == "POST" and reason.is_valid():
        if request.POST.get("fingerprint") == fingerprint:
            _carry_out(request, [move for move in moves if not move.refusal], new, reason.cleaned_data["reason"])
            return redirect("admin:plans_plan_change", new.pk)
        messages.warning(request, "Things have moved since you looked. Below is what would happen now.")
    context |= {
        "title": f"Move holders of {old.name} v{old.version} to v{new.version}",
        "old": old,
        "new": new,
        "moves": moves,
        "held": held.count(),
        "most": MOST,
        "fingerprint": fingerprint,
        "reason": reason,
    }
    return TemplateResponse(request, "plans/move.html", context)


def _dry_run(row: Subscription, new: Plan) -> Move:
    request = Update(subscription_id=row.public_id, version=new.version)
    at = row.customer.now(clock.now())
    try:
        outcome = subscriptions.preview_update(subject=row.subject, request=request, at=at)
    except DomainError as refusal:
        return Move(row, Preview(), Decimal(0), "", refusal.message)
    return Move(row, outcomes.preview(outcome), outcome.total, outcome.currency)


def _fingerprint(moves: list[Move]) -> str:
    shown = [(move.subscription.pk, move.total, move.refusal) for move in moves]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:32]


def _carry_out(request: HttpRequest, moves: list[Move], new: Plan, why: str) -> None:
    request_id, moved = f"admin-{secrets.token_hex(8)}", 0
    for move in moves:
        row, wall = move.subscription, clock.now()
        at = row.customer.now(wall)
        update = Update(subscription_id=row.public_id, version=new.version)
        try:
            subscriptions.update(subject=row.subject, request=update, at=at, actor=actor(request, request_id))
        except DomainError as refusal:
            messages.error(request, f"{row}: {refusal.message}")
            continue
        target = Target(customer=row.customer, at=at, wall=wall, entity=row.entity)
        title = f"Move to {new}"
        journal.write(request, target, title=title, reason=why, preview=move.preview, request_id=request_id)
        moved += 1
    messages.success(request, f"{moved} of {len(moves)} were moved to version {new.version}.")

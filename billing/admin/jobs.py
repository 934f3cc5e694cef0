"""Jobs in the background: what would happen, the reason for it, how far it has come, and the way back."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views import View
from unfold.decorators import display

from billing.admin.actions.approving import PERMISSION
from billing.admin.actions.views import ReasonForm, confirmed, reason_form
from billing.models import Approval, BulkJob, BulkRow
from billing.services import approvals, bulk, jobs
from billing.services.jobs import UNDER_WAY, Kind, State, Status
from billing.templatetags.shown import money, quantity
from config import clock, csv_stream, journal
from config.admin import ReadOnlyAdmin, actor
from config.errors import DomainError
from config.journal import Done

MOST_SHOWN = 25
# Which permission each kind of work takes.
NEEDS = {
    Kind.CUSTOMERS: "billing.can_import",
    Kind.ENTITIES: "billing.can_add_seat",
    Kind.USAGE: "billing.can_import",
    Kind.GRANTS: "billing.can_grant_balance",
    Kind.REMOVALS: "billing.can_remove_seat",
    Kind.MOVES: "billing.can_attach_plan",
    Kind.EVENTS: "billing.can_settle_invoice",
}
BY_HAND = {
    Kind.CUSTOMERS: "Customers stay; delete those that should not be there through the API.",
    Kind.USAGE: "Usage is adjusted on each balance's page.",
    Kind.GRANTS: "Each grant is taken back on its balance's page.",
    Kind.EVENTS: "What the payment processor said is so; refunds and voids are made on each invoice's page.",
}
ABOVE = "Nothing was done yet: it is above what one person may do, and waits for a second one."
# In this order, whatever order the database keeps them in; others follow.
COLUMNS = (
    "customer_id",
    "entity_id",
    "name",
    "email",
    "feature_id",
    "value",
    "amount",
    "expires_at",
    "type",
    "event_id",
)
# What the work needs and a reader does not.
UNTOLD = ("subscription", "from", "to", "ahead", "event")
VERBS = {Kind.MOVES: "Move them", Kind.REMOVALS: "Remove them", Kind.GRANTS: "Grant them"}


def may(request: HttpRequest, kind: str) -> bool:
    """May this member of staff do such work?"""
    return bool(request.user.has_perm(NEEDS[Kind(kind)]))


def sums(job: BulkJob) -> list[str]:
    """How many, from which versions, and the money that moves at once."""
    told = [f"{quantity(job.total - job.failed)} of {quantity(job.total)} can be done."]
    if job.kind == Kind.MOVES:
        versions = job.rows.values_list("cells__from").annotate(count=Count("pk")).order_by("cells__from")
        told = [f"{quantity(count)} hold version {version}." for version, count in versions] + told
        told.append("What was used of a feature stays used; what a version ends or starts to grant is named below.")
    if units := bulk.units(job):
        told.append(f"{quantity(units)} units are given in all.")
    looked = job.rows.exclude(state=State.LEFT_OUT).exclude(amount=None).exclude(currency="")
    totals = looked.values_list("currency").annotate(
        charged=Sum("amount", filter=Q(amount__gt=0)), credited=Sum("amount", filter=Q(amount__lt=0))
    )
    for currency, charged, credited in totals.order_by("currency"):
        zero = Decimal(0)
        told.append(
            f"Charged at once: {money(charged or zero, currency)}; credited: {money(-(credited or zero), currency)}."
        )
    return told


class JobPage(View):
    """GET shows how things stand; POST lets it run, approves, declines, stops it, or begins the way back."""

    admin_site: Any = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """For those who may see them."""
        if not request.user.has_perm("billing.view_bulkjob"):
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Only reads."""
        return self._page(request, get_object_or_404(BulkJob, pk=pk))

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The one thing whose button was pressed."""
        job = get_object_or_404(BulkJob, pk=pk)
        doings = {"confirm": self._confirm, "approve": self._approve, "decline": self._decline, "stop": self._stop,
                  "undo": self._undo}  # fmt: skip
        doing = next((doings[name] for name in doings if name in request.POST), None)
        if doing is None:
            raise Http404("There is no such button.")
        if not may(request, job.kind):
            raise PermissionDenied
        try:
            return doing(request, job)
        except DomainError as refusal:
            job.refresh_from_db()
            return self._page(request, job, refusal=refusal.message)

    def _confirm(self, request: HttpRequest, job: BulkJob) -> HttpResponse:
        reason = reason_form(request, request.POST, is_dangerous=True)
        if not confirmed(request, reason):
            return self._page(request, job, reason=reason)
        why, user = reason.cleaned_data["reason"], _user(request)
        runs = bulk.confirm(job, reason=why, by=user, at=clock.now())
        _keep(request, job, job.title if runs else f"Asked for: {job.title}", why)
        if runs:
            bulk.start(job)
        else:
            messages.warning(request, ABOVE)
        return redirect("admin:job", job.pk)

    def _approve(self, request: HttpRequest, job: BulkJob) -> HttpResponse:
        approval = self._waiting(request, job)
        reason = reason_form(request, request.POST, is_dangerous=True)
        if not confirmed(request, reason):
            return self._page(request, job, reason=reason)
        why = reason.cleaned_data["reason"]
        bulk.approve(job, approval=approval, reason=why, by=_user(request), at=clock.now())
        _keep(request, job, f"Approved: {job.title}", why)
        bulk.start(job)
        return redirect("admin:job", job.pk)

    def _decline(self, request: HttpRequest, job: BulkJob) -> HttpResponse:
        bulk.decline(job, approval=self._waiting(request, job), by=_user(request), at=clock.now())
        messages.success(request, f"“{job}” was declined. Nothing has changed.")
        return redirect("admin:job", job.pk)

    def _waiting(self, request: HttpRequest, job: BulkJob) -> Approval:
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        return get_object_or_404(Approval.objects.select_related("asked_by"), job=job)

    def _stop(self, request: HttpRequest, job: BulkJob) -> HttpResponse:
        if job.status == Status.WAITING:
            return self._decline(request, job)
        jobs.stop(job)
        _keep(request, job, f"Stopped: {job.title}", job.reason)
        return redirect("admin:job", job.pk)

    def _undo(self, request: HttpRequest, job: BulkJob) -> HttpResponse:
        undoing = job.undone_by.exclude(status=Status.STOPPED).first()
        if undoing is None:
            kind = bulk.WORKS[Kind(job.kind)].undo_kind
            if kind is not None and not may(request, kind):
                raise PermissionDenied
            undoing = bulk.undo(job, actor=actor(request), at=clock.now())
            bulk.start(undoing)
        return redirect("admin:job", undoing.pk)

    def _page(
        self, request: HttpRequest, job: BulkJob, *, reason: ReasonForm | None = None, refusal: str = ""
    ) -> HttpResponse:
        is_under_way = job.status in UNDER_WAY
        is_open = job.status in (Status.READY, Status.WAITING)
        if jobs.is_left(job):
            messages.warning(request, "Its process died. run_due goes on with it: is the cron line there?")
        approval = Approval.objects.filter(job=job, status="waiting").select_related("asked_by").first()
        may_do = may(request, job.kind)
        works, undone_by = bulk.WORKS[Kind(job.kind)], job.undone_by.order_by("-pk").first()
        context = {
            **self.admin_site.each_context(request),
            "title": job.title,
            "job": job,
            "is_looking": job.status == Status.LOOKING,
            "is_under_way": is_under_way,
            "is_open": is_open,
            "is_looked": job.looked > 0,
            "sums": sums(job) if is_open else [],
            "changed": job.done - job.skipped - job.failed,
            "left": job.total - job.done,
            "out": _sample(job.rows.filter(state=State.LEFT_OUT)),
            "sample": [] if is_under_way else _sample(job.rows.exclude(state=State.LEFT_OUT)),
            "reason": reason or reason_form(request, is_dangerous=True),
            "refusal": refusal,
            "approval": approval,
            "is_own": approval is not None and approval.asked_by_id == request.user.pk,
            "own": approvals.OWN,
            "verb": VERBS.get(Kind(job.kind), "Bring them in"),
            "may_confirm": may_do and job.status == Status.READY and job.total > job.failed,
            "may_approve": may_do and approval is not None and request.user.has_perm(PERMISSION),
            "may_stop": may_do and job.status in (Status.LOOKING, Status.RUNNING),
            "may_undo": works.undo_kind is not None and may(request, works.undo_kind) and _has_done(job),
            "by_hand": BY_HAND.get(Kind(job.kind), ""),
            "undone_by": undone_by,
            "is_undone": undone_by is not None and undone_by.status != Status.STOPPED,
        }
        return TemplateResponse(request, "billing/job.html", context, status=409 if refusal else 200)


class Rows(View):
    """All rows with what would become, or became, of them."""

    admin_site: Any = None

    def get(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """Streamed."""
        if not request.user.has_perm("billing.view_bulkjob"):
            raise PermissionDenied
        job = get_object_or_404(BulkJob, pk=pk)
        return csv_stream.download(f"job-{job.pk}.csv", _rows(job))


def _rows(job: BulkJob) -> Iterator[Sequence[Any]]:
    first = job.rows.order_by("number").first()
    columns = _in_order(first.cells) if first is not None else []
    yield ["row", *columns, "what", "amount", "currency", "state", "why"]
    last = -1
    while chunk := list(job.rows.filter(number__gt=last).order_by("number")[:2000]):
        for row in chunk:
            cells = [row.get(column) for column in columns]
            yield [row.number, *cells, row.what, row.amount, row.currency, row.get_state_display(), row.why]
        last = chunk[-1].number


def _in_order(cells: dict[str, Any]) -> list[str]:
    return sorted(cells, key=lambda name: COLUMNS.index(name) if name in COLUMNS else len(COLUMNS))


def _sample(rows: QuerySet[BulkRow]) -> list[tuple[BulkRow, str]]:
    """The first rows, each with its cells on one line."""
    return [
        (row, " · ".join(row.get(name) for name in _in_order(row.cells) if name not in UNTOLD and row.get(name)))
        for row in rows.order_by("number")[:MOST_SHOWN]
    ]


def _has_done(job: BulkJob) -> bool:
    is_over = job.status in (Status.DONE, Status.STOPPED)
    return is_over and job.rows.filter(state=State.DONE).exists()


def _keep(request: HttpRequest, job: BulkJob, title: str, why: str) -> None:
    at, what = clock.now(), sums(job)
    journal.write(request, job, str(job), Done(at, title, why, what, request_id=job.request_id))


def _user(request: HttpRequest) -> Any:
    return request.user


@admin.register(BulkJob)
class BulkJobAdmin(ReadOnlyAdmin):
    """What was done, or is being done, to many at once."""

    when_empty = "Imports from CSV, seats added or removed from a list, and holders moved to a version are listed here."
    list_display = ("started_at", "title", "state", "progress", "actor", "reason")
    list_display_links = ("title",)
    list_filter = ("status", "kind")
    search_fields = ("title", "actor")
    ordering = ("-id",)

    @display(description="Status", ordering="status", label={"Done": "success", "Stopped": "warning"})
    def state(self, job: BulkJob) -> str:
        """In words."""
        return job.get_status_display()

    @display(description="Rows")
    def progress(self, job: BulkJob) -> str:
        """How far it came."""
        out = f", {quantity(job.failed)} left out" if job.failed else ""
        return f"{quantity(job.done)} of {quantity(job.total)}{out}"

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """Each has a page of its own."""
        row = self.get_object(request, object_id)
        return redirect("admin:job", row.pk) if row is not None else self.not_there(request, object_id)

"""Many seats at once, added or removed from lines as a spreadsheet writes them, each looked at before."""

import csv
from decimal import Decimal
from typing import Any

from django import forms
from django.db import transaction
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from billing.admin.actions import outcomes
from billing.admin.actions.base import Action, Bill, Preview, Target, register
from billing.admin.actions.seats import countable, later
from billing.models import BulkJob
from billing.outcomes import Outcome
from billing.services import bulk, jobs, seats
from billing.services.imports import csv_imports, csv_rows
from billing.services.jobs import Kind
from billing.templatetags.shown import money, quantity
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from entities.models import Customer, Entity
from plans.models import Feature

MOST = 10_000
MOST_SHOWN = 200


class LinesForm(forms.Form):
    """Lines of `id, name`."""

    lines = forms.CharField(
        max_length=2_000_000,
        label="One a line: id, name",
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 10, "placeholder": "user_alice, Alice", "data-file": ".csv,text/csv"}
        ),
        help_text=f"At most {MOST:,} lines; a CSV file can be pasted or chosen. The name may be left out.",
    )

    def clean_lines(self) -> list[tuple[str, str]]:
        """Ids with names; the first problem is told with its line."""
        found: dict[str, str] = {}
        for number, row in enumerate(csv.reader(self.cleaned_data["lines"].splitlines()), start=1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            entity_id, name = cells[0], cells[1] if len(cells) > 1 else ""
            if not entity_id:
                raise forms.ValidationError(f"Line {number} has no id.")
            if max(len(entity_id), len(name)) > 255:
                raise forms.ValidationError(f"Line {number} is too long: ids and names have at most 255 characters.")
            if entity_id in found:
                raise forms.ValidationError(f"Line {number} repeats the id {entity_id}.")
            found[entity_id] = name
        if len(found) > MOST:
            raise forms.ValidationError(f"These are {len(found)} lines. Do at most {MOST:,} at once.")
        return list(found.items())


class CrowdForm(LinesForm):
    """The same, and what they are."""

    feature = forms.ModelChoiceField(
        Feature.objects.none(), label="What is added", empty_label=None, widget=UnfoldAdminSelectWidget
    )
    field_order = ("feature", "lines")

    def __init__(self, *args: Any, customer_pk: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: Any = self.fields["feature"]
        choice.queryset = countable(customer_pk)


@register
class AddCrowd(Action):
    """Seats from a list; those that are there already are left alone."""

    slug = "add-seats"
    title = "Add many"
    verb = "Add them"
    permission = "can_add_seat"

    def form(self, data: Any = None) -> forms.Form:
        """The list."""
        return CrowdForm(data, customer_pk=self.target.customer.pk)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What becomes of every line, and what the first costs: each is billed like one that comes alone."""
        customer, feature = self.target.customer, values["feature"]
        there = self._there(values)
        new = [(entity_id, name) for entity_id, name in values["lines"] if entity_id not in there]
        if not new:
            raise InvalidRequest("All of them are there already.")
        first, last = (
            seats.preview_create(customer=customer, feature=feature, at=self.target.at, ahead=ahead)
            for ahead in (0, len(new) - 1)
        )
        count = Entity.objects.live().filter(customer=customer, feature=feature).count()
        shown = Preview(
            sentences=[_counted(len(new), customer, len(there)), *later(customer.pk, feature, first)],
            movements=[Movement(f"{feature} of {customer}", quantity(count), quantity(count + len(new)))],
            undo="Press “Take it back” on the job's page when it is done.",
            amount=_amount(first, last, len(new)),
        )
        shown.bills = _bills("Charged", first, last)
        if shown.bills:
            shown.warnings.append(
                f"Each is billed as the plan says, the last with {money(last.total, last.currency)}. "
                "If a payment fails, that one is left out and listed."
            )
        for entity_id, name in values["lines"][:MOST_SHOWN]:
            state = "is there already" if entity_id in there else "added"
            shown.movements.append(Movement(f"{entity_id} {name}".strip(), "–", state))
        return _shortened(shown, values)

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Have them created in the order of the lines, in the background."""
        there, customer, feature = self._there(values), self.target.customer, values["feature"]
        new = [
            {"customer_id": customer.external_id, "entity_id": entity_id, "feature_id": feature.slug, "name": name}
            for entity_id, name in values["lines"]
            if entity_id not in there
        ]
        self.job = _begin(Kind.ENTITIES, f"Add {quantity(len(new))} to {customer}", new, actor, reason, self.target)
        return f"{quantity(len(new))} are being added."

    def page_after(self) -> str:
        """The page of the job."""
        return reverse("admin:job", args=[self.job.pk])

    def _there(self, values: dict[str, Any]) -> set[str]:
        ids = [entity_id for entity_id, _ in values["lines"]]
        live = Entity.objects.live().filter(customer=self.target.customer, external_id__in=ids)
        return set(live.values_list("external_id", flat=True))


@register
class RemoveCrowd(Action):
    """Seats from a list that leave; those that are not there are left alone."""

    slug = "remove-seats"
    title = "Remove many"
    verb = "Remove them"
    permission = "can_remove_seat"
    form_class = LinesForm
    is_dangerous = True

    def preview(self, values: dict[str, Any]) -> Preview:
        """What becomes of every line; each is credited like one that leaves alone."""
        there = self._there(values)
        if not there:
            raise InvalidRequest("None of them is there. Look at the ids on the customer's page.")
        missing = len(values["lines"]) - len(there)
        shown = Preview(
            sentences=[f"{len(there)} removed from {self.target.customer}; their history stays."],
            undo="Press “Take it back” on the job's page. They start fresh: what they had left does not come back.",
        )
        if missing:
            shown.warnings.append(f"{missing} of the lines name nobody who is there. Nothing happens to those.")
        entity = next(iter(there.values()))
        first, last = (
            seats.preview_delete(entity=entity, at=self.target.at, ahead=ahead) for ahead in (0, len(there) - 1)
        )
        shown.amount, shown.bills = _amount(first, last, len(there)), _bills("Credited", first, last)
        shown.movements = [
            Movement(
                f"{entity_id} {name}".strip(), "there" if entity_id in there else "–", self._after(entity_id, there)
            )
            for entity_id, name in values["lines"][:MOST_SHOWN]
        ]
        return _shortened(shown, values)

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Have them removed in the order of the lines, in the background."""
        customer = self.target.customer
        rows = [{"customer_id": customer.external_id, "entity_id": entity_id} for entity_id in self._there(values)]
        title = f"Remove {quantity(len(rows))} from {customer}"
        self.job = _begin(Kind.REMOVALS, title, rows, actor, reason, self.target)
        return f"{quantity(len(rows))} are being removed."

    def page_after(self) -> str:
        """The page of the job."""
        return reverse("admin:job", args=[self.job.pk])

    def _there(self, values: dict[str, Any]) -> dict[str, Entity]:
        ids = [entity_id for entity_id, _ in values["lines"]]
        rows = Entity.objects.live().select_related("customer", "feature").filter(customer=self.target.customer)
        return {row.external_id: row for row in rows.filter(external_id__in=ids).order_by("pk")}

    def _after(self, entity_id: str, there: dict[str, Entity]) -> str:
        return "removed" if entity_id in there else "not there"


def _counted(count: int, customer: Customer, there: int) -> str:
    rest = f"; {there} there already, left as they are" if there else ""
    return f"{count} added to {customer}{rest}."


def _begin(kind: Kind, title: str, rows: list[dict[str, str]], actor: Actor, reason: str, target: Target) -> BulkJob:
    """The job, at work: what it comes to was looked at on the action's page."""
    lines = (csv_rows.Row(number, cells) for number, cells in enumerate(rows, start=1))
    with transaction.atomic():
        job = csv_imports.begin(kind=kind, title=title, rows=lines, actor=actor, at=target.wall, is_known=True)
        jobs.let_run(job, reason=reason)
    bulk.start(job)
    return job


def _amount(first: Outcome, last: Outcome, count: int) -> Decimal:
    """How much money moves in all, at most: later ones may cost more, or nothing may be included for them."""
    return max(abs(first.total), abs(last.total)) * count


def _bills(verb: str, first: Outcome, last: Outcome) -> list[Bill]:
    """What the first comes to and, where that differs, the last."""
    told = [("first", first), *([("last", last)] if last.total != first.total else [])]
    return [outcomes.bill(f"{verb} for the {which}", one.lines, one.currency) for which, one in told if one.lines]


def _shortened(shown: Preview, values: dict[str, Any]) -> Preview:
    """With a word on the lines that are not listed; they count for the fingerprint all the same."""
    if len(values["lines"]) > MOST_SHOWN:
        shown.warnings.append(f"The first {MOST_SHOWN} of {quantity(len(values['lines']))} lines are listed below.")
        shown.state = (*shown.state, values["lines"])
    return shown

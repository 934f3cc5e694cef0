"""What staff did, why, and what was so before and is after: one kind of entry, in Django's own log of the admin.

Forms write one with every save, actions write theirs, and whoever reads them back gets the same `Done` of both.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from django.http import HttpRequest

MARK = "subledger"
NOTHING = "–"
# What names a secret is told to have changed, and never what it was or is.
SECRETS = ("password", "secret", "token", "hash")


@dataclass(frozen=True, slots=True)
class Movement:
    """Something before and after, in words."""

    label: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.label}: {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that a member of staff did; `at` is the customer's time where it was done to a customer."""

    at: datetime
    title: str
    reason: str = ""
    what: list[str] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    staff: str = ""
    request_id: str = ""
    pk: int = 0  # of the entry, once it is written
    undo: dict[str, Any] = field(default_factory=dict)  # what billing.admin.actions.undoing makes of it


def message(done: Done) -> list[dict[str, Any]]:
    """The entry as Django's log keeps it."""
    told: dict[str, Any] = {"title": done.title, "reason": done.reason, "what": done.what, "at": done.at.isoformat()}
    told["movements"] = [[one.label, one.before, one.after] for one in done.movements]
    return [{MARK: told | {"request_id": done.request_id, "undo": done.undo}}]


def write(request: HttpRequest, row: Model, about: str, done: Done) -> None:
    """Keep what was done to a row."""
    LogEntry.objects.create(
        user_id=request.user.pk or 0,
        content_type=ContentType.objects.get_for_model(row),
        object_id=str(row.pk),
        object_repr=about[:200],
        action_flag=CHANGE,
        change_message=json.dumps(message(done)),
    )


def read(rows: Iterable[Model], *, limit: int) -> list[Done]:
    """What was done to these rows of one table, newest first; one statement."""
    wanted = list(rows)
    if not wanted:
        return []
    entries: QuerySet[LogEntry] = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(wanted[0]), object_id__in=[str(row.pk) for row in wanted]
    ).select_related("user")
    return [told(entry) for entry in entries.order_by("-pk")[:limit]]


def told(entry: LogEntry) -> Done:
    """An entry as it was written; of those that Django wrote by itself, its sentence."""
    staff = entry.user.get_username()
    try:
        parts = json.loads(entry.change_message or "[]")
    except ValueError:
        parts = []
    parts = parts if isinstance(parts, list) else []
    found: dict[str, Any] = next((part[MARK] for part in parts if isinstance(part, dict) and MARK in part), {})
    if not found:
        return Done(
            entry.action_time, entry.get_change_message() or entry.get_action_flag_display(), staff=staff, pk=entry.pk
        )
    return Done(
        at=datetime.fromisoformat(found["at"]).astimezone(UTC),
        title=found["title"],
        reason=found["reason"],
        what=found["what"],
        movements=[Movement(*one) for one in found.get("movements", [])],
        staff=staff,
        request_id=found["request_id"],
        pk=entry.pk,
        undo=found.get("undo", {}),
    )


def changes(form: forms.BaseForm, formsets: Iterable[Any] = ()) -> list[Movement]:
    """What a valid form changes, field by field, and the rows below it: `Team: Seats, included: 1 → 5`."""
    found = _fields(form)
    for formset in formsets:
        gone = formset.deleted_forms if formset.can_delete else []
        for row in formset.initial_forms:
            name = str(row.instance)
            found += [Movement(name, "there", "removed")] if row in gone else _fields(row, f"{name}, ")
        for row in formset.extra_forms:
            if row.has_changed() and row not in gone:
                found += _fields(row, f"{row.instance}, ")
    return found


def _fields(form: forms.BaseForm, prefix: str = "") -> list[Movement]:
    found = []
    for name in form.changed_data:
        bound = form[name]
        label = f"{prefix}{bound.label.lower() if prefix else bound.label}"
        if any(secret in name.lower() for secret in SECRETS):
            found.append(Movement(label, "not shown", "changed"))
            continue
        before, after = text(bound.initial, bound.field), text(form.cleaned_data.get(name), bound.field)
        if before != after:
            found.append(Movement(label, before, after))
    return found


def text(value: Any, asked: Any = None) -> str:
    """A value as people read it: `yes`, `30`, `Seats`, `colour: red, size: 5`; a dash for nothing."""
    if isinstance(asked, forms.ModelMultipleChoiceField):
        return ", ".join(str(row) for row in value or ()) or NOTHING
    if value is None or value == "" or value == [] or value == {}:
        return NOTHING
    if isinstance(asked, forms.ModelChoiceField) and not isinstance(value, Model):
        return str(asked.to_python(value))
    if isinstance(asked, forms.ChoiceField):
        labels: dict[Any, Any] = {
            str(one): label for one, label in cast("Any", asked).choices if not isinstance(label, list | tuple)
        }
        return str(labels.get(str(value), value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        digits = format(value, "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%-d %B %Y, %H:%M} UTC"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple | set):
        return "; ".join(text(one) for one in value)
    return str(value)

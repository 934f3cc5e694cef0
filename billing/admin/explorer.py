"""Usage over time, by feature and by customer or property; the same figures as events.aggregate."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views import View
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing.admin import charts
from billing.admin.actions.transferring import Suggesting
from billing.services.balances import events
from billing.templatetags.shown import quantity
from config import clock
from config.errors import DomainError
from plans.models import Feature

SPANS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "12 months"}
MOST_GROUPS = 12


class ExploreForm(forms.Form):
    """What to draw."""

    feature = forms.ModelChoiceField(
        Feature.objects.filter(type=Feature.Type.METERED).order_by("-consumable", "name"),
        empty_label=None,
        to_field_name="slug",
        widget=UnfoldAdminSelectWidget,
    )
    days = forms.ChoiceField(label="Of the last", choices=list(SPANS.items()), widget=UnfoldAdminSelectWidget)
    customer = forms.CharField(
        required=False, max_length=255, label="Customer id (empty: all)", widget=UnfoldAdminTextInputWidget
    )
    entity = forms.CharField(
        required=False, max_length=255, label="Entity id (empty: all)", widget=UnfoldAdminTextInputWidget
    )
    by = forms.CharField(
        required=False,
        max_length=100,
        label="Break down by",
        widget=Suggesting(attrs={"placeholder": "Choose, or properties.…"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        widget: Any = self.fields["by"].widget
        widget.suggestions = [("$customer_id", "Customer"), ("$entity_id", "Seat, workspace …")]


class Explore(View):
    """A chart and a table; only reads."""

    admin_site: Any = None

    def get(self, request: HttpRequest) -> HttpResponse:
        """As asked for in the address, so that it can be passed on."""
        if not request.user.has_perm("billing.view_usageevent"):
            raise PermissionDenied
        first = Feature.objects.filter(type=Feature.Type.METERED).order_by("-consumable", "name").first()
        asked = {"feature": first.slug if first else "", "days": "30", **request.GET.dict()}
        form = ExploreForm(asked)
        context = {**self.admin_site.each_context(request), "title": "Usage explorer", "form": form}
        context["is_empty"] = first is None
        if first is not None and form.is_valid():
            try:
                context |= _found(form.cleaned_data)
            except DomainError as refusal:
                context["refusal"] = refusal.message
        return TemplateResponse(request, "billing/explorer.html", context)


def _found(values: dict[str, Any]) -> dict[str, Any]:
    now = clock.now()
    count = int(values["days"])
    since = (now - timedelta(days=count - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = events.Filter(
        customer_id=values["customer"] or None,
        entity_id=values["entity"] or None,
        features=[values["feature"].slug],
        start=since,
        end=now,
    )
    rows = events.aggregate(wanted, bin_size="day", group_by=values["by"] or None)
    per_day: dict[Any, Decimal] = {}
    groups: dict[str, tuple[Decimal, int]] = {}
    for at, _, group, number, total in rows:
        per_day[at.date()] = per_day.get(at.date(), Decimal(0)) + total
        before = groups.get(group or "", (Decimal(0), 0))
        groups[group or ""] = (before[0] + total, before[1] + number)
    ranked = sorted(groups.items(), key=lambda entry: -entry[1][0])
    return {
        "chart": charts.days(f"{values['feature']}, per day", per_day, until=now.date(), count=count),
        "groups": [(name or "–", quantity(total), number) for name, (total, number) in ranked[:MOST_GROUPS]]
        if values["by"]
        else [],
        "more": max(len(ranked) - MOST_GROUPS, 0),
    }

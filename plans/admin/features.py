"""Features with the credit costs of credit systems."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import DecimalField, QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from config import clock
from config.admin import QuantityInput
from plans.admin.saving import CatalogAdmin, kept_forms, rehearse, told_archived
from plans.api import in_use
from plans.catalog import features
from plans.catalog.specs import FeatureSpec
from plans.models import CreditCost, Feature


class CostFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """Validated together with the feature, by trying."""

    def clean(self) -> None:
        """What the catalogue would refuse."""
        super().clean()
        if not any(self.errors):
            rehearse(lambda: save(self.instance, self))


class CostInline(TabularInline):
    """What the credit system pays for."""

    model = CreditCost
    fk_name = "credit_system"
    formset = CostFormSet
    extra = 0
    formfield_overrides: ClassVar[Any] = {DecimalField: {"widget": QuantityInput}}
    verbose_name_plural = "Credit costs (credit systems only): what one unit costs in credits"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditCost]:
        """With the names."""
        rows: QuerySet[CreditCost] = super().get_queryset(request).select_related("metered_feature", "credit_system")
        return rows


def save(feature: Feature, costs: Any) -> Feature:
    """The feature with its costs, through the catalogue."""
    values = FeatureSpec(
        slug=feature.slug,
        name=feature.name,
        type=feature.type,
        consumable=feature.consumable,
        event_names=tuple(feature.event_names or ()),
        display_singular=feature.display_singular,
        display_plural=feature.display_plural,
        credit_costs=tuple((form.instance.metered_feature.slug, form.instance.cost) for form in kept_forms(costs)),
        archived=feature.archived_at is not None,
    )
    if feature.pk is None:
        return features.create(spec=values, at=clock.now())
    stored = Feature.objects.get(pk=feature.pk).slug
    names = ("slug", "name", "type", "consumable", "event_names", "display_singular", "display_plural", "credit_costs")
    changes = {name: getattr(values, name) for name in names}
    return features.update(feature_id=stored, changes=changes, holdings=in_use, at=clock.now())


@admin.register(Feature)
class FeatureAdmin(CatalogAdmin):
    """What plans grant: switches, metered quantities, credits."""

    when_empty = "Define what plans grant: seats (a standing count), summaries or requests (spent), or a switch."
    list_display = ("name", "slug", "shown_type", "events", "is_live")
    list_filter = ("type", "consumable", ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("slug", "name")
    fields = ("name", "slug", "type", "consumable", "event_names", "display_singular", "display_plural")
    inlines = (CostInline,)
    ordering = ("name",)
    sortable_by = ("slug", "shown_type")
    actions = ("archive", "bring_back", "export")
    kind = "features"

    @display(description="Type", ordering="type")
    def shown_type(self, feature: Feature) -> str:
        """As people say it."""
        if feature.type != Feature.Type.METERED:
            return feature.get_type_display()
        return "Metered, spent" if feature.consumable else "Metered, a standing count"

    @display(description="Events")
    def events(self, feature: Feature) -> str:
        """Names of the events that count."""
        return ", ".join(feature.event_names) or "–"

    @display(description="Status", label={"Live": "success", "Archived": "warning"})
    def is_live(self, feature: Feature) -> str:
        """May new plans have it?"""
        return "Live" if feature.archived_at is None else "Archived"

    def get_readonly_fields(self, request: HttpRequest, obj: Feature | None = None) -> tuple[str, ...]:
        """The id of a feature stays: applications use it."""
        return () if obj is None else ("slug",)

    def has_delete_permission(self, request: HttpRequest, obj: Feature | None = None) -> bool:
        """Features are archived."""
        return False

    def save_through(self, request: HttpRequest, form: Any, formsets: Any, *, change: bool) -> Feature:
        """Create or change the feature."""
        return save(form.instance, formsets[0])

    @admin.action(description="Archive", permissions=("change",))
    def archive(self, request: HttpRequest, queryset: QuerySet[Feature]) -> None:
        """Hide from new plans; balances live on."""
        self._set_archived(request, queryset, archived=True)

    @admin.action(description="Bring back from the archive", permissions=("change",))
    def bring_back(self, request: HttpRequest, queryset: QuerySet[Feature]) -> None:
        """Let new plans have it again."""
        self._set_archived(request, queryset, archived=False)

    def _set_archived(self, request: HttpRequest, queryset: QuerySet[Feature], *, archived: bool) -> None:
        rows = list(queryset)
        for feature in rows:
            changes = {"archived": archived}
            features.update(feature_id=feature.slug, changes=changes, holdings=in_use, at=clock.now())
            self.note_archived(request, feature, archived=archived)
        self.message_user(request, told_archived("feature", len(rows), archived=archived))

"""Plans with their items; editing a plan that somebody has held makes its next version."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, DecimalField, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect
from unfold.admin import StackedInline
from unfold.decorators import display

from billing.models import Subscription
from config import clock
from config.admin import QuantityInput
from plans import wording
from plans.admin import moving
from plans.admin.saving import CatalogAdmin, kept_forms, rehearse, told_archived
from plans.api import in_use
from plans.catalog import versions
from plans.catalog.specs import ItemSpec, PlanSpec
from plans.catalog.versions import Editing
from plans.models import Plan, PlanItem

LIVE = Q(subscriptions__status__in=[Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE])
FIELDS = (
    "name", "description", "group", "is_add_on", "auto_enable", "price_amount", "price_interval",
    "price_interval_count", "trial_length", "trial_unit", "trial_card_required", "trial_on_end", "ignore_past_due",
)  # fmt: skip


class ItemFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """Validated together with the plan, by trying."""

    def clean(self) -> None:
        """What the catalogue would refuse."""
        super().clean()
        if not any(self.errors):
            rehearse(lambda: save(self.instance, self))


class ItemInline(StackedInline):
    """What the plan grants, and what more of it costs."""

    model = PlanItem
    formset = ItemFormSet
    extra = 0
    formfield_overrides: ClassVar[Any] = {DecimalField: {"widget": QuantityInput}}
    verbose_name = "item"
    labels: ClassVar[dict[str, str]] = {
        "entity_feature": "For each",
        "reset_interval": "Refills every",
        "billing_method": "How more is sold",
        "price_amount": "Price",
        "price_interval": "Price is per",
        "reset_interval_count": "Refills every so many",
        "price_interval_count": "Price is per so many",
        "billing_units": "Price is for so many units",
        "on_increase": "When there are more",
        "on_decrease": "When there are fewer",
    }
    verbose_name_plural = "Items: what the plan grants, and what more of it costs"
    fieldsets = (
        (None, {"fields": (("feature", "included", "unlimited"), ("entity_feature", "reset_interval"))}),
        ("Price of more", {"fields": (("billing_method", "price_amount", "price_interval"),)}),
        (
            "Details",
            {
                "classes": ("collapse",),
                "fields": (
                    ("reset_interval_count", "price_interval_count", "billing_units"),
                    ("max_purchase", "pooled"),
                    ("tiers", "tier_behavior"),
                    ("on_increase", "on_decrease"),
                    ("has_rollover", "rollover_max", "rollover_max_percentage"),
                    ("rollover_expiry", "rollover_expiry_length"),
                ),
            },
        ),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Under the names that people use."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.label = self.labels.get(db_field.name, field.label)
        return field

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanItem]:
        """With the features' names."""
        rows: QuerySet[PlanItem] = super().get_queryset(request).select_related("feature", "entity_feature", "plan")
        return rows


def save(plan: Plan, items: Any) -> Plan:
    """The plan with its items, through the catalogue: created, changed in place, or as a new version."""
    specs = tuple(ItemSpec.of(form.instance) for form in kept_forms(items))
    values = {name: getattr(plan, name) for name in FIELDS}
    if plan.pk is None:
        return versions.create(spec=PlanSpec(slug=plan.slug, items=specs, **values), at=clock.now())
    return versions.update(
        plan_id=Plan.objects.get(pk=plan.pk).slug,
        changes={**values, "items": specs},
        editing=Editing(),
        holdings=in_use,
        at=clock.now(),
    )


def sentences(plan: Plan) -> list[str]:
    """The items as a customer would read them: `50 Meeting Summaries per seat, every month`."""
    return [wording.sentence(item, settings.CURRENCY) for item in plan.items.all()]


def price(plan: Plan) -> str:
    """`$30 per month`, `Free`."""
    if plan.price_amount is None:
        return "No base price"
    return " ".join(wording.base_price(plan, settings.CURRENCY))


@admin.register(Plan)
class PlanAdmin(CatalogAdmin):
    """Plans, the newest version of each."""

    when_empty = "Define a feature first, then make a plan that grants it; or push a catalogue with atmn push."
    list_display = ("name", "slug", "shown_version", "shown_price", "grants", "group", "holders", "status")
    list_filter = (("archived_at", admin.EmptyFieldListFilter), "is_add_on", "auto_enable", "is_latest")
    search_fields = ("slug", "name")
    inlines = (ItemInline,)
    ordering = ("name",)
    sortable_by = ("slug", "shown_price", "holders", "status")
    actions = ("archive", "bring_back", "export")
    kind = "plans"
    change_form_before_template = "plans/plan_summary.html"
    fieldsets = (
        (None, {"fields": (("name", "slug"), "description", ("group", "is_add_on", "auto_enable"))}),
        ("Base price", {"fields": (("price_amount", "price_interval", "price_interval_count"),)}),
        (
            "Free trial",
            {
                "classes": ("collapse",),
                "fields": (("trial_length", "trial_unit"), ("trial_card_required", "trial_on_end"), "ignore_past_due"),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """With items and the number of holders; all versions only when asked for."""
        rows = super().get_queryset(request)
        plans: QuerySet[Plan] = rows.annotate(held=Count("subscriptions", filter=LIVE)).prefetch_related(
            "items__feature", "items__entity_feature"
        )
        match = request.resolver_match
        is_list = match is not None and match.url_name == "plans_plan_changelist"
        return plans.filter(is_latest=True) if is_list and "is_latest__exact" not in request.GET else plans

    @display(description="Version", ordering="version")
    def shown_version(self, plan: Plan) -> str:
        """`v2`."""
        return f"v{plan.version}"

    @display(description="Price", ordering="price_amount")
    def shown_price(self, plan: Plan) -> str:
        """As a customer reads it."""
        return price(plan)

    @display(description="Grants")
    def grants(self, plan: Plan) -> str:
        """In words."""
        return "; ".join(sentences(plan)) or "–"

    @display(description="On it", ordering="held")
    def holders(self, plan: Any) -> int:
        """Live subscriptions of this version."""
        return int(plan.held)

    @display(description="Status", label={"Live": "success", "Archived": "warning", "Old version": "info"})
    def status(self, plan: Plan) -> str:
        """Can it be attached?"""
        if plan.archived_at is not None:
            return "Archived"
        return "Live" if plan.is_latest else "Old version"

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> tuple[str, ...]:
        """The id of a plan stays: applications use it."""
        return () if obj is None else ("slug",)

    def has_change_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        """An old version is history."""
        return super().has_change_permission(request, obj) and (obj is None or obj.is_latest)

    def has_delete_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        """Plans are archived."""
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The editor, beneath what the plan says and who is on which version."""
        plan = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if plan is not None:
            rows = Plan.objects.filter(slug=plan.slug).annotate(held=Count("subscriptions", filter=LIVE))
            context |= {
                "plan": plan,
                "plan_price": price(plan),
                "plan_sentences": sentences(plan),
                "plan_versions": rows.order_by("-version"),
                "was_held": Subscription.objects.filter(plan=plan).exists(),
            }
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    def told_rows(self, obj: Plan) -> QuerySet[Plan]:
        """All versions: what was changed is told of the version that the change made."""
        return Plan.objects.filter(slug=obj.slug)

    def get_urls(self) -> list[URLPattern]:
        """Beside the editor: moving holders to the newest version."""
        move = path("<int:pk>/move/", self.admin_site.admin_view(self.move), name="plans_plan_move")
        return [move, *super().get_urls()]

    @method_decorator(csrf_protect)
    def move(self, request: HttpRequest, pk: int) -> HttpResponse:
        """With a dry run first."""
        return moving.move_view(request, pk, dict(self.admin_site.each_context(request)))

    def save_through(self, request: HttpRequest, form: Any, formsets: Any, *, change: bool) -> Plan:
        """Create or change the plan, and say when that made a version."""
        before = form.instance.version if change else None
        saved = save(form.instance, formsets[0])
        if before is not None and saved.version != before:
            messages.info(
                request,
                f"Version {before} has been held, so it stays as it is for those who are on it. "
                f"The change is version {saved.version}, which new attachments get.",
            )
        return saved

    @admin.action(description="Archive: no new attachments", permissions=("change",))
    def archive(self, request: HttpRequest, queryset: QuerySet[Plan]) -> None:
        """Nobody new gets the plan; who is on it stays."""
        self._set_archived(request, queryset, archived=True)

    @admin.action(description="Bring back from the archive", permissions=("change",))
    def bring_back(self, request: HttpRequest, queryset: QuerySet[Plan]) -> None:
        """It can be attached again."""
        self._set_archived(request, queryset, archived=False)

    def _set_archived(self, request: HttpRequest, queryset: QuerySet[Plan], *, archived: bool) -> None:
        rows = {plan.slug: plan for plan in queryset.filter(is_latest=True)}
        for slug, plan in rows.items():
            changes = {"archived": archived}
            versions.update(plan_id=slug, changes=changes, editing=Editing(), holdings=in_use, at=clock.now())
            self.note_archived(request, plan, archived=archived)
        self.message_user(request, told_archived("plan", len(rows), archived=archived))

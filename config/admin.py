"""What every admin page shares: bases that never write behind a service's back, bounded paging, who may log in."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import DateTimeField, DecimalField, JSONField, Model, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from config import clock, csv_stream, journal, zones
from config.actor import Actor, told
from config.journal import Done, Movement

admin.site.index_template = "billing/home.html"
admin.site.index_title = "Home"


class QuantityInput(UnfoldAdminDecimalFieldWidget):
    """A number without idle zeros: 50, not 50.0000000000."""

    def format_value(self, value: Any) -> str | None:
        """As people write it."""
        if not isinstance(value, Decimal):
            shown: str | None = super().format_value(value)
            return shown
        digits = format(value, "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than anybody pages, so that a table of millions opens as fast as one of hundreds."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        """How many rows there are, or `MOST` when there are more."""
        rows: Any = self.object_list
        return int(rows.order_by()[: self.MOST].count())


class Told(ModelAdmin):
    """Forms whose every save is told in the audit log and beneath the form, field by field, before and after."""

    HISTORY = 20
    change_form_outer_after_template = "admin/history.html"

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """What the audit log keeps of a save."""
        return self.noted("added" if add else "changed", journal.changes(form, formsets or ()))

    def noted(self, what: str, movements: list[Movement]) -> list[dict[str, Any]]:
        """The entry for the audit log, for log_change and log_addition."""
        title = f"{str(self.opts.verbose_name).capitalize()} {what}"
        return journal.message(Done(clock.now(), title, movements=movements))

    def told_rows(self, obj: Any) -> Iterable[Model]:
        """The rows whose entries are the history of this one."""
        return [obj]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """With what was changed, by whom, from what and to what."""
        context = dict(extra_context or {})
        obj = self.get_object(request, object_id) if object_id else None
        if obj is not None:
            context["history"] = journal.read(self.told_rows(obj), limit=self.HISTORY)
        return super().changeform_view(request, object_id, form_url, context)


class Admin(Told):
    """The base of all lists: bounded counts, times in the viewer's zone with UTC on hover."""

    empty_value_display = "–"

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    list_filter_submit = False
    formfield_overrides: ClassVar[Any] = {DecimalField: {"widget": QuantityInput}}
    warn_unsaved_form = True
    heading: ClassVar[str] = ""  # of the list, where the menu has another name for it than the model
    when_empty: ClassVar[str] = "What is written down here appears by itself."

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Columns, those that are times among them."""
        return [self._shown(name) for name in super().get_list_display(request)]

    def _shown(self, name: Any) -> Any:
        column = next((field for field in self.opts.fields if field.name == name), None)
        if column is not None and column.name == "actor":
            return admin.display(description="Who", ordering="actor")(_actor)
        if isinstance(column, JSONField):
            return admin.display(description=column.verbose_name.capitalize())(_facts(column.name))
        if not isinstance(column, DateTimeField):
            return name

        def time(row: Model) -> Any:
            at = getattr(row, column.name)
            return "–" if at is None else zones.shown(at)

        time.__name__ = column.name
        return admin.display(description=column.verbose_name.capitalize(), ordering=column.name)(time)

    def not_there(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For pages of rows that are gone: says so on the home page."""
        redirect: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return redirect


def _facts(name: str) -> Callable[[Any], str]:
    """What a column of JSON holds, as names with their values."""

    def facts(row: Any) -> str:
        value = getattr(row, name)
        if not isinstance(value, dict) or not value:
            return journal.text(value)
        pairs = ((key.replace("_", " ").capitalize(), journal.text(one)) for key, one in value.items())
        return format_html('<dl class="sl-facts">{}</dl>', format_html_join("", "<dt>{}</dt><dd>{}</dd>", pairs))

    facts.__name__ = name
    return facts


def _actor(row: Any) -> str:
    return told(row.actor) or journal.NOTHING


class ReadOnlyAdmin(Admin):
    """Rows that only services write: listed and shown, never added, changed or deleted here."""

    actions: ClassVar[Any] = None

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """What there is to read."""
        columns = (field.name for field in self.opts.fields if not field.primary_key)
        return [self._shown(name) for name in self.fields or [*columns, *self.readonly_fields]]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """All of it."""
        return self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False


class Paged(Admin):
    """A list whose rows have a page of their own in place of a form."""

    page_template: ClassVar[str]

    def page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What it shows; with a `title`, unless the row's name will do."""
        raise NotImplementedError

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page of one row, for those who may see it."""
        row = self.get_object(request, object_id)
        if row is None:
            return self.not_there(request, object_id)
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "title": str(row), **self.page(request, row)}
        return TemplateResponse(request, self.page_template, context)


class Exported(Admin):
    """A list that can be taken along: what is selected, or all that is filtered, as CSV.

    Not through django-import-export, which has the whole file in memory before the first line goes out.
    """

    actions: ClassVar[Any] = ("export",)
    exported: ClassVar[tuple[str, ...]] = ()  # fields, `customer__external_id` among them

    @admin.action(description="Export as CSV", permissions=("view",))
    def export(self, request: HttpRequest, queryset: QuerySet[Any]) -> StreamingHttpResponse:
        """Streamed, so that its length doesn't matter."""
        return csv_stream.download(f"{self.opts.model_name}s.csv", self._rows(queryset.order_by("pk")))

    def _rows(self, rows: QuerySet[Any]) -> Iterator[Sequence[Any]]:
        # Server-side cursors want a transaction; keys in steps do without.
        yield self.exported
        last = 0
        while chunk := list(rows.filter(pk__gt=last).values_list("pk", *self.exported)[:2000]):
            yield from (cells for _, *cells in chunk)
            last = chunk[-1][0]


def actor(request: HttpRequest, request_id: str = "") -> Actor:
    """The member of staff, as the ledger names them."""
    return Actor(f"staff:{request.user.get_username()}"[:100], request_id)


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(StockUserAdmin, Told):  # type: ignore[type-arg]
    """Staff; what they may do comes from their groups."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "first_name", "last_name", "is_staff", "is_active", "last_login")


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, Told):
    """Support, Billing, Read only, and what else a deployment needs."""

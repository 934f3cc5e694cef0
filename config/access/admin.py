from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from config import clock
from config.access import keys
from config.access.models import ApiKey
from config.admin import Admin
from config.journal import Movement


@admin.register(ApiKey)
class ApiKeyAdmin(Admin):
    """Keys are made and revoked here; a revoked one stays listed, since the ledger names it."""

    when_empty = "Make a key for your application. Its secret is shown once."
    list_display = ("name", "shown", "scope", "is_open", "created_at", "last_used_at")
    list_filter = ("scope", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "prefix")
    fields = ("name", "scope", "shown", "created_at", "last_used_at", "revoked_at")
    readonly_fields = ("shown", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    @display(description="Key", ordering="prefix")
    def shown(self, key: ApiKey) -> str:
        """What may be shown of the key."""
        return f"{key.prefix}…" if key.prefix else "Shown once, after saving"

    @display(description="Status", label={"In use": "success", "Revoked": "danger"})
    def is_open(self, key: ApiKey) -> str:
        """In words."""
        return "In use" if key.is_live else "Revoked"

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """A key that is out keeps its scope: whoever holds it relies on it."""
        return self.readonly_fields if obj is None else ("scope", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Keys are revoked, not deleted."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """A new key is made with its secret, which the next page shows."""
        if change:
            obj.save(update_fields=("name",))
            return
        key, secret = keys.create(name=obj.name, scope=obj.scope, at=clock.now())
        obj.pk, obj.prefix, obj.hash, obj.created_at = key.pk, key.prefix, key.hash, key.created_at
        messages.warning(request, f"Copy the key now, it is not shown again: {secret}")

    @admin.action(description="Revoke the selected keys", permissions=("change",))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Refuse these keys from now on."""
        live = list(queryset.filter(revoked_at=None))
        for key in live:
            keys.revoke(key, at=clock.now())
            self.log_change(request, key, self.noted("revoked", [Movement("Status", "In use", "Revoked")]))
        told = "1 key was revoked. It is" if len(live) == 1 else f"{len(live)} keys were revoked. They are"
        self.message_user(request, f"{told} refused within {keys.CACHE_SECONDS} seconds.")

from django.apps import AppConfig


class EntitiesConfig(AppConfig):
    """Customers and the seats, users, workspaces or projects beneath them."""

    name = "entities"
    default_auto_field = "django.db.models.BigAutoField"

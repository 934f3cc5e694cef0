from django.apps import AppConfig


class PlansConfig(AppConfig):
    """The catalogue: features, plans and what each plan grants and costs."""

    name = "plans"
    default_auto_field = "django.db.models.BigAutoField"

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class ConfigConfig(AppConfig):
    """The project's own commands and system checks."""

    name = "config"
    verbose_name = "Configuration"

    def ready(self) -> None:
        """Register the system checks: every app's module of that name."""
        autodiscover_modules("checks")

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """The project's own commands and system checks."""

    name = "config"
    verbose_name = "Configuration"

    def ready(self) -> None:
        """Register the system checks, which Django finds by importing their module."""
        __import__("config.checks")

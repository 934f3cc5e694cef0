from django.apps import AppConfig


class AccessConfig(AppConfig):
    """API keys and the answers kept for repeated requests."""

    name = "config.access"
    label = "access"
    verbose_name = "Access"

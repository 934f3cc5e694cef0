from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Subscriptions, balances, the ledger, invoices and the payment processors."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"

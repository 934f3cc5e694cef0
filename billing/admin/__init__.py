from billing.admin import actions, balances, invoices, logs, subscriptions

__all__ = ["actions", "balances", "invoices", "logs", "subscriptions"]

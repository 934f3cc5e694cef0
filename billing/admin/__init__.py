from billing.admin import actions, balances, invoices, jobs, logs, subscriptions

__all__ = ["actions", "balances", "invoices", "jobs", "logs", "subscriptions"]

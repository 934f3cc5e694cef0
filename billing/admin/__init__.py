from billing.admin import actions, balances, invoices, jobs, logs, subscriptions, webhooks

__all__ = ["actions", "balances", "invoices", "jobs", "logs", "subscriptions", "webhooks"]

from billing.admin import actions, audit_log, balances, invoices, jobs, logs, subscriptions, webhooks

__all__ = ["actions", "audit_log", "balances", "invoices", "jobs", "logs", "subscriptions", "webhooks"]

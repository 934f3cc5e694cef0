from billing.admin.webhooks import lists, views

__all__ = ["lists", "views"]

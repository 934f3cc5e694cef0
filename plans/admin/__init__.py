from plans.admin import features, plans

__all__ = ["features", "plans"]

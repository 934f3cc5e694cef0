from entities.admin import customers, members

__all__ = ["customers", "members"]

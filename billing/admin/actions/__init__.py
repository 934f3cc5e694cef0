from billing.admin.actions import balances, crowds, granting, limits, plans, sandbox, seats, settling

__all__ = ["balances", "crowds", "granting", "limits", "plans", "sandbox", "seats", "settling"]

from billing.admin.actions import balances, crowds, limits, plans, sandbox, seats, settling

__all__ = ["balances", "crowds", "limits", "plans", "sandbox", "seats", "settling"]

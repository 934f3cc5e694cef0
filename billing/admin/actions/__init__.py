from billing.admin.actions import balances, crowds, granting, limits, plans, sandbox, seats, settling, transferring

__all__ = ["balances", "crowds", "granting", "limits", "plans", "sandbox", "seats", "settling", "transferring"]

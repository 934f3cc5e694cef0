from billing.admin.actions import balances, plans, sandbox, seats, settling

__all__ = ["balances", "plans", "sandbox", "seats", "settling"]

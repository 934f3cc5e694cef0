"""Balances that went astray: what no code of ours can do, since the database refuses it."""

from decimal import Decimal

from django.db import connection

from billing.models import Balance
from billing.services.balances import ledger


def go_astray(balance: Balance, **numbers: Decimal | int) -> None:
    """Give a balance other numbers, claiming that entries explain them."""
    connection.check_constraints()  # what was opened until now, before it goes astray
    assignments = ", ".join(f"{name} = %({name})s" for name in numbers)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE billing_balance SET {assignments} WHERE id = %(id)s AND {ledger.EXPLAINED}",
            {**numbers, "id": balance.pk},
        )

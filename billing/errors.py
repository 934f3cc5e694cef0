"""What billing refuses, each with the code that programs rely on."""

from decimal import Decimal

from config.errors import DomainError


class InsufficientBalance(DomainError):
    code, status = "insufficient_balance", 400

    def __init__(self, feature_id: str, value: Decimal) -> None:
        super().__init__(
            f"Not enough {feature_id} left for {value.normalize():f}: nothing was deducted. Use less, or wait for the reset."
        )


class LockAlreadyExists(DomainError):
    code, status = "lock_already_exists", 409

    def __init__(self, lock_id: str) -> None:
        super().__init__(f"The lock {lock_id} was used before. Take each lock under an id of its own.")


class LockNotFound(DomainError):
    code, status = "invalid_request", 400

    def __init__(self, lock_id: str) -> None:
        super().__init__(f"There is no lock {lock_id}. Take it with balances.check and lock.enabled first.")


class LockAlreadyFinalized(DomainError):
    code, status = "lock_already_finalized", 409

    def __init__(self, lock_id: str, state: str) -> None:
        super().__init__(f"The lock {lock_id} is {state} already.")


class BalanceNotFound(DomainError):
    code, status = "invalid_request", 404

    def __init__(self, feature_id: str) -> None:
        super().__init__(f"No balance of {feature_id} matches. Look at the balances with customers.get or entities.get.")


class BalanceConflict(DomainError):
    code, status = "invalid_request", 409


class SeatsAreBilled(Exception):
    """Not for the outside: a change of seats has a price now, so billing.services.seats must invoice it first.

    `balance_pk` is the seats' balance and `by` how many more (below 0: fewer) are used.
    """

    def __init__(self, balance_pk: int, by: Decimal) -> None:
        super().__init__(balance_pk, by)
        self.balance_pk = balance_pk
        self.by = by

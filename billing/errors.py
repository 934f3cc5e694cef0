"""What billing refuses, each with the code that programs rely on."""

from decimal import Decimal

from config.errors import DomainError


class InsufficientBalance(DomainError):
    code, status = "insufficient_balance", 400

    def __init__(self, feature_id: str, value: Decimal) -> None:
        super().__init__(
            f"Not enough {feature_id} left for {value.normalize():f}, so nothing was deducted. "
            "Use less, or wait for the reset."
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
        super().__init__(f"No balance of {feature_id} matches. Look at what there is with customers.get.")


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


class PlanAlreadyAttached(DomainError):
    code, status = "plan_already_attached", 409

    def __init__(self, plan: str) -> None:
        super().__init__(f"{plan} is the plan held here already. Take a cancellation back with cancel_action uncancel.")


class SubscriptionNotFound(DomainError):
    code, status = "cus_product_not_found", 404

    def __init__(self, wanted: str) -> None:
        super().__init__(f"No active or scheduled plan matches {wanted}. Look at subscriptions in customers.get.")


class PaymentDeclined(DomainError):
    code, status = "payment_declined", 402

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Nothing was changed.")


class SeatLimitReached(DomainError):
    code, status = "feature_limit_reached", 400

    def __init__(self, feature_id: str) -> None:
        super().__init__(f"The plan allows no more {feature_id}. Free one, or change the plan.")


class LicenseNotFound(DomainError):
    code, status = "license_not_found", 404

    def __init__(self, plan_id: str) -> None:
        super().__init__(
            f"No plan of this customer offers {plan_id} as a licence. Attach one that does; see licenses.list."
        )


class LicensesUsedUp(DomainError):
    code, status = "license_limit_reached", 400

    def __init__(self, plan_id: str, wanted: int, left: int) -> None:
        super().__init__(
            f"{wanted} more of the licence {plan_id} wanted, {left} left. Release some with licenses.release, or buy "
            "more with license_quantities of billing.update."
        )


class LicenseNotAssigned(DomainError):
    code, status = "license_not_assigned", 404

    def __init__(self, entity_id: str, plan_id: str | None) -> None:
        super().__init__(f"Entity {entity_id} holds no licence{f' of {plan_id}' if plan_id else ''}.")


class LicenseConflict(DomainError):
    code, status = "license_conflict", 409

    def __init__(self, entity_id: str, plan: str) -> None:
        super().__init__(f"Entity {entity_id} pays for {plan}, a plan of the same group. Cancel that plan first.")


class LicensesInUse(DomainError):
    code, status = "licenses_in_use", 409

    def __init__(self, plan_id: str, assigned: int, wanted: int) -> None:
        super().__init__(
            f"{assigned} licences of {plan_id} are assigned, so there can't be {wanted} in all. "
            "Release some with licenses.release first."
        )


class RewardNotFound(DomainError):
    code, status = "reward_not_found", 404

    def __init__(self, wanted: str) -> None:
        super().__init__(f"{wanted} not found. Create it with rewards.create; see rewards.list for what there is.")


class RewardExists(DomainError):
    code, status = "duplicate_reward_id", 409

    def __init__(self, reward_id: str) -> None:
        super().__init__(f"A reward with the id {reward_id} already exists. Change it with rewards.update.")


class CodeTaken(DomainError):
    code, status = "promo_code_already_exists", 409

    def __init__(self, code: str) -> None:
        super().__init__(f"Promotion code {code} stands for another reward. Choose another code.")


class CodeRefused(DomainError):
    """`why` completes the sentence that starts with the code."""

    code, status = "invalid_promo_code", 400

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"Promotion code {code} {why}. Leave it out.")


class RewardRedeemed(DomainError):
    code, status = "reward_already_redeemed", 409

    def __init__(self, reward_id: str) -> None:
        super().__init__(f"This customer has {reward_id} already.")


class NothingToPay(DomainError):
    code, status = "nothing_to_pay", 400


class StateMoved(DomainError):
    code, status = "state_moved", 409


class WebhookNotFound(DomainError):
    code, status = "webhook_not_found", 404

    def __init__(self, public_id: str) -> None:
        super().__init__(f"There is no webhook endpoint {public_id!r}. webhooks.list shows those there are.")


class WebhookConflict(DomainError):
    code, status = "webhook_already_exists", 409

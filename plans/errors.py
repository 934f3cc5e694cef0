from config.errors import DomainError


class FeatureNotFound(DomainError):
    code, status = "feature_not_found", 404

    def __init__(self, feature_id: str) -> None:
        super().__init__(f"Feature {feature_id} not found. Create it with features.create or push your catalogue.")


class PlanNotFound(DomainError):
    code, status = "product_not_found", 404

    def __init__(self, plan_id: str, version: int | None = None) -> None:
        suffix = f" version {version}" if version else ""
        super().__init__(f"Plan {plan_id}{suffix} not found. Create it with plans.create or push your catalogue.")


class FeatureExists(DomainError):
    code, status = "duplicate_feature_id", 409

    def __init__(self, feature_id: str) -> None:
        super().__init__(f"A feature with the id {feature_id} already exists. Change it with features.update.")


class FeatureInUse(DomainError):
    """`why` says what holds it and what to do instead."""

    code, status = "feature_in_use", 400

    def __init__(self, feature_id: str, why: str) -> None:
        super().__init__(f"Feature {feature_id} is in use: {why}")


class PlanExists(DomainError):
    code, status = "product_already_exists", 400

    def __init__(self, plan_id: str) -> None:
        super().__init__(f"A plan with the id {plan_id} already exists. Change it with plans.update.")


class PlanLicensed(DomainError):
    code, status = "product_is_licensed", 400

    def __init__(self, plan_id: str, offered_by: str) -> None:
        super().__init__(f"Plan {plan_id} is offered as a licence by plan {offered_by}. Take it out of licenses there.")


class PlanInUse(DomainError):
    """`why` says what to do instead."""

    code, status = "product_has_customers", 400

    def __init__(self, plan_id: str, why: str) -> None:
        super().__init__(f"Plan {plan_id} has or had customers. {why}")

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

from config.errors import DomainError


class CustomerNotFound(DomainError):
    code, status = "customer_not_found", 404

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"Customer {customer_id} not found. Create it with customers.get_or_create.")


class CustomerAlreadyExists(DomainError):
    code, status = "customer_already_exists", 409

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"A customer with the id {customer_id} already exists.")


class EntityNotFound(DomainError):
    code, status = "entity_not_found", 404

    def __init__(self, entity_id: str) -> None:
        super().__init__(f"Entity {entity_id} not found. Create it with entities.create.")


class EntityAlreadyExists(DomainError):
    code, status = "entity_already_exists", 409

    def __init__(self, entity_id: str) -> None:
        super().__init__(f"This customer already has an entity with the id {entity_id}. Ids are unique per customer.")


class EntityIdRequired(DomainError):
    code, status = "entity_id_required", 400

    def __init__(self, entity_id: str) -> None:
        super().__init__(f"Several customers have an entity with the id {entity_id}. Send customer_id as well.")

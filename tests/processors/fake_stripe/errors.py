"""What the fake refuses, in Stripe's shape."""

from typing import Any


class Refused(Exception):
    """An error answer; `kind` is Stripe's `type`."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        payment_intent: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.unknown = code == "parameter_unknown"
        self.error: dict[str, Any] = {"type": kind, "message": message}
        for name, value in (("code", code), ("param", param), ("decline_code", decline_code)):
            if value is not None:
                self.error[name] = value
        if payment_intent is not None:
            self.error["payment_intent"] = {"id": payment_intent, "object": "payment_intent"}

    @property
    def body(self) -> dict[str, Any]:
        return {"error": self.error}


def missing(kind: str, key: str) -> Refused:
    return Refused(f"No such {kind}: '{key}'", status=404, code="resource_missing", param="id")

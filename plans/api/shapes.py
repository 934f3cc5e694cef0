"""How features, plans and billing controls look on the wire: every known key is there, null when it says nothing."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

_CONTROL_KEYS: dict[str, tuple[str, ...]] = {
    "usage_limits": ("feature_id", "enabled", "limit", "interval", "anchor", "filter", "source"),
    "spend_limits": ("feature_id", "enabled", "limit_type", "overage_limit", "skip_overage_billing", "source"),
    "overage_allowed": ("feature_id", "enabled", "source"),
    "usage_alerts": ("feature_id", "enabled", "threshold", "threshold_type", "name", "source"),
    "auto_topups": ("feature_id", "enabled", "threshold", "quantity", "purchase_limit", "invoice_mode", "source"),
}
_NUMBERS = {"limit", "overage_limit", "threshold", "quantity"}


def billing_controls(stored: dict[str, Any], usage: Sequence[Decimal | None] = ()) -> dict[str, Any]:
    """The controls as stored by `controls.BillingControlsField`; only lists that were ever set are there.

    `usage` lines up with the stored `usage_limits` and says what each has counted in its present window.
    """
    shown = {kind: [_control(kind, entry) for entry in stored[kind]] for kind in _CONTROL_KEYS if kind in stored}
    for limit, used in zip(shown.get("usage_limits", []), usage, strict=False):
        limit["usage"] = used
    return shown


def _control(kind: str, entry: dict[str, Any]) -> dict[str, Any]:
    shown = {key: entry.get(key) for key in _CONTROL_KEYS[kind]}
    return {key: Decimal(value) if key in _NUMBERS and value is not None else value for key, value in shown.items()}

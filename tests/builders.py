"""A customer with plans and people, made over HTTP the way an application makes them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.client import Api, read

# Whatever a test names of these is created when it first does.
FEATURES: Mapping[str, dict[str, Any]] = {
    "seats": {"type": "metered", "consumable": False},
    "workspaces": {"type": "metered", "consumable": False},
    "messages": {"type": "metered", "consumable": True},
    "summaries": {"type": "metered", "consumable": True},
    "requests": {"type": "metered", "consumable": True},
    "action1": {"type": "metered", "consumable": True, "event_names": ["acted"]},
    "action2": {"type": "metered", "consumable": True},
    "action3": {"type": "metered", "consumable": True, "event_names": ["acted"]},
    "credits": {
        "type": "credit_system",
        "credit_schema": [
            {"metered_feature_id": "action1", "credit_cost": Decimal("0.2")},
            {"metered_feature_id": "action2", "credit_cost": Decimal("0.6")},
        ],
    },
    "coins": {"type": "credit_system", "credit_schema": [{"metered_feature_id": "action1", "credit_cost": 2}]},
    "dashboard": {"type": "boolean"},
}
NEEDS = {"credits": ("action1", "action2"), "coins": ("action1",)}
MONTHLY = {"interval": "month"}


def ms(instant: str) -> int:
    """Unix milliseconds of an instant in UTC: `ms("2026-04-01")`, `ms("2026-04-01T12:00:01")`."""
    return int(datetime.fromisoformat(instant).replace(tzinfo=UTC).timestamp() * 1000)


def item(feature: str, included: Any = None, *, per: str = "", every: str = "month", **terms: Any) -> dict[str, Any]:
    """A plan item: so much of a feature `every` month (or never: ""), `per` seat or in all."""
    is_spent = FEATURES[feature].get("consumable", FEATURES[feature]["type"] == "credit_system")
    return {
        "feature_id": feature,
        **({"included": included} if included is not None else {}),
        **({"reset": {"interval": every}} if every and is_spent and not terms.get("unlimited") else {}),
        **({"entity_feature_id": per} if per else {}),
        **terms,
    }


def limit(most: Any, *, feature: str = "messages", interval: str = "month", **more: Any) -> dict[str, Any]:
    """Billing controls that cap a feature."""
    return {"usage_limits": [{"feature_id": feature, "enabled": True, "limit": most, "interval": interval, **more}]}


def overage(enabled: bool, *, feature: str = "messages") -> dict[str, Any]:
    """Billing controls that allow or forbid going below 0."""
    return {"overage_allowed": [{"feature_id": feature, "enabled": enabled}]}


class Account:
    """A customer as its application sees it; a member is meant where one is named, else the customer."""

    def __init__(self, api: Api, customer_id: str = "acme", *, since: str = "", **details: Any) -> None:
        self.api, self.id = api, customer_id
        if since:
            self.turn_clock(since)
        api.post("customers.get_or_create", customer_id=customer_id, **details)

    # -- what there is to hold --

    def offer(self, *features: str) -> None:
        """Have these features in the catalogue."""
        known = {feature["id"] for feature in self.api.post("features.list")["list"]}
        for feature in features:
            for one in (*NEEDS.get(feature, ()), feature):
                if one not in known:
                    known.add(one)
                    self.api.post("features.create", feature_id=one, name=one.title(), **FEATURES[one])

    def plan(self, plan_id: str, *items: dict[str, Any], **fields: Any) -> str:
        """Have a plan in the catalogue."""
        self.offer(*(one[key] for one in items for key in ("feature_id", "entity_feature_id") if key in one))
        self.api.post("plans.create", plan_id=plan_id, name=plan_id.title(), items=list(items), **fields)
        return plan_id

    def hold(self, *items: dict[str, Any], plan_id: str = "free", by: str = "", **fields: Any) -> None:
        """Have a plan of these items, and hold it."""
        self.attach(self.plan(plan_id, *items, **fields), by=by)

    def attach(self, plan_id: str, *, by: str = "", **more: Any) -> Any:
        return self.api.post("billing.attach", plan_id=plan_id, **self.whom(by), **more)

    def join(self, *members: str, feature: str = "seats", **more: Any) -> None:
        """Create the members, in this order."""
        self.offer(feature)
        for member in members:
            self.api.post("entities.create", customer_id=self.id, entity_id=member, feature_id=feature, **more)

    def leave(self, member: str) -> None:
        assert self.api.post("entities.delete", **self.whom(member)) == {"success": True}

    def grant(self, feature: str, included: Any = None, *, to: str = "", **more: Any) -> None:
        """Grant a balance by hand."""
        self.offer(feature)
        terms = {} if included is None else {"included_grant": included}
        done = self.api.post("balances.create", feature_id=feature, **self.whom(to), **terms, **more)
        assert done == {"success": True}

    def turn_clock(self, instant: str) -> None:
        self.api.post("sandbox.set_clock", customer_id=self.id, now=ms(instant))

    def control(self, controls: Mapping[str, Any], *, of: str = "") -> None:
        call = "entities.update" if of else "customers.update"
        self.api.post(call, billing_controls=controls, **self.whom(of))

    # -- what is done --

    def track(self, value: Any = 1, feature: str = "messages", *, by: str = "", **more: Any) -> Any:
        return self.api.post("balances.track", feature_id=feature, value=value, **self.whom(by), **more)

    def check(self, required: Any = 1, feature: str = "messages", *, by: str = "", **more: Any) -> Any:
        return self.api.post("balances.check", feature_id=feature, required_balance=required, **self.whom(by), **more)

    def allows(self, required: Any = 1, feature: str = "messages", *, by: str = "", **more: Any) -> bool:
        return bool(self.check(required, feature, by=by, **more)["allowed"])

    def lock(self, value: Any, lock_id: str, feature: str = "messages", *, by: str = "", **more: Any) -> Any:
        terms = {"enabled": True, "lock_id": lock_id, **more}
        return self.check(value, feature, by=by, lock=terms)

    def settle(self, lock_id: str, action: str = "confirm", **more: Any) -> None:
        assert self.api.post("balances.finalize", lock_id=lock_id, action=action, **more) == {"success": True}

    def set(self, feature: str = "messages", *, of: str = "", **values: Any) -> None:
        assert self.api.post("balances.update", feature_id=feature, **self.whom(of), **values) == {"success": True}

    def refused(self, status: int, call: str, *, by: str = "", **body: Any) -> str:
        """The code of a call about this customer that answers `status`."""
        answer = read(self.api.send(call, {**self.whom(by), **body}), status)
        assert answer["message"]
        assert answer["env"] == "sandbox"
        return str(answer["code"])

    # -- what is seen --

    def get(self, member: str = "", **more: Any) -> Any:
        return self.api.post("entities.get" if member else "customers.get", **self.whom(member), **more)

    def balance(self, feature: str = "messages", *, of: str = "") -> Any:
        return self.get(of)["balances"].get(feature)

    def numbers(self, feature: str = "messages", *, of: str = "") -> tuple[Any, Any, Any] | None:
        """(granted, remaining, usage), None without a balance."""
        return numbers(self.balance(feature, of=of))

    def events(self, **wanted: Any) -> list[Any]:
        """Events newest first."""
        found: list[Any] = self.api.post("events.list", customer_id=self.id, **wanted)["list"]
        return found

    def whom(self, member: str = "") -> dict[str, str]:
        return {"customer_id": self.id, **({"entity_id": member} if member else {})}


def numbers(balance: Any) -> tuple[Any, Any, Any] | None:
    """(granted, remaining, usage) of a balance on the wire."""
    return balance and (balance["granted"], balance["remaining"], balance["usage"])

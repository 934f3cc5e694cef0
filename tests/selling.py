"""A customer with a clock and a card, told through the API: `shop.on("2026-04-16")`, `shop.attach("pro", to="a")`."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.client import Api

CUSTOMER = "acme"
WRITTEN = ["open", "paid", "void", "uncollectible"]  # invoices that are no drafts


def ms(day: str) -> int:
    """A day, or an instant, in UTC as the wire has it."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def monthly(feature: str, included: int, *, per: str | None = None, **price: Any) -> dict[str, Any]:
    """A consumable that refills each month; with a price per unit beyond."""
    given: dict[str, Any] = {"feature_id": feature, "included": included, "reset": {"interval": "month"}}
    if per is not None:
        given["entity_feature_id"] = per
    if price:
        given["price"] = {"interval": "month", "billing_method": "usage_based", **price}
    return given


def prepaid(
    feature: str, included: int, amount: int, units: int, interval: str = "month", **more: Any
) -> dict[str, Any]:
    """Packs bought in advance."""
    price = {"amount": amount, "interval": interval, "billing_units": units, "billing_method": "prepaid"}
    return {"feature_id": feature, "included": included, "price": price, **more}


def seats(included: int, amount: int, up: str | None = None, down: str | None = None) -> dict[str, Any]:
    """Seats: in arrears, or with proration settings invoiced when they change."""
    price = {"amount": amount, "interval": "month", "billing_method": "usage_based"}
    given: dict[str, Any] = {"feature_id": "seats", "included": included, "price": price}
    if up is not None:
        given["proration"] = {"on_increase": up, "on_decrease": down}
    return given


class Shop:
    """Acme's dealings: plans are made as they are needed, figures are read back from the wire."""

    def __init__(self, api: Api) -> None:
        self.api = api
        for feature, consumable in [("seats", False), ("messages", True), ("words", True)]:
            api.post("features.create", feature_id=feature, name=feature.title(), type="metered", consumable=consumable)

    def plan(
        self, plan_id: str, amount: int | None = None, *items: dict[str, Any], every: str = "month", **more: Any
    ) -> None:
        """A plan with a base price, and items."""
        price = {"amount": amount, "interval": every} if amount is not None else None
        self.api.post("plans.create", plan_id=plan_id, name=plan_id.title(), price=price, items=list(items), **more)

    def opens(self, day: str = "2026-04-01", *entities: str, card: str | None = "success") -> None:
        """Acme appears, with a card and some entities that are seats."""
        self.api.post("sandbox.set_clock", customer_id=CUSTOMER, now=ms(day))
        if card is not None:
            self.card(card)
        for entity in entities:
            self.joins(entity)

    def card(self, behavior: str | None) -> None:
        self.api.post("sandbox.set_payment_method", customer_id=CUSTOMER, payment_method=behavior)

    def joins(self, entity: str) -> Any:
        return self.api.post("entities.create", customer_id=CUSTOMER, entity_id=entity, feature_id="seats")

    def leaves(self, entity: str) -> Any:
        return self.api.post("entities.delete", customer_id=CUSTOMER, entity_id=entity)

    def on(self, day: str) -> None:
        """Time passes until that day."""
        self.api.post("sandbox.set_clock", customer_id=CUSTOMER, now=ms(day))

    def attach(self, plan: str, to: str | None = None, **more: Any) -> Any:
        return self.api.post("billing.attach", **self._about(plan, to, more))

    def update(self, plan: str, of: str | None = None, **more: Any) -> Any:
        return self.api.post("billing.update", **self._about(plan, of, more))

    def price(self, plan: str, to: str | None = None, **more: Any) -> Decimal:
        """What attaching would cost now."""
        preview = self.api.post("billing.preview_attach", **self._about(plan, to, more))
        return Decimal(preview["total"])

    def price_of_update(self, plan: str, of: str | None = None, **more: Any) -> Decimal:
        preview = self.api.post("billing.preview_update", **self._about(plan, of, more))
        return Decimal(preview["total"])

    def buys(self, plan: str, to: str | None = None, **more: Any) -> Decimal:
        """Attach, having looked at the preview: the newest invoice must be what it said. Returns the price."""
        expected = self.price(plan, to, **more)
        before = 0 if expected else len(self.invoices())
        self.attach(plan, to, **more)
        after = self.invoices()
        if expected:
            assert after[0] == expected
        else:
            assert not any(after[: len(after) - before])
        return expected

    def changes(self, plan: str, of: str | None = None, **more: Any) -> Decimal:
        """Update, having looked at the preview: the newest invoice must be what it said. Returns the price."""
        expected, before = self.price_of_update(plan, of, **more), len(self.invoices())
        self.update(plan, of, **more)
        after = self.invoices()
        assert after[: len(after) - before] == ([expected] if expected else [])
        return expected

    def uses(self, feature: str, value: int, by: str | None = None) -> Any:
        return self.api.post("balances.track", customer_id=CUSTOMER, entity_id=by, feature_id=feature, value=value)

    def customer(self, *expand: str) -> Any:
        return self.api.post("customers.get", customer_id=CUSTOMER, expand=list(expand))

    def entity(self, entity: str) -> Any:
        return self.api.post("entities.get", customer_id=CUSTOMER, entity_id=entity)

    def invoices(self) -> list[Any]:
        """Totals, newest first."""
        listed = self.api.post("invoices.list", customer_id=CUSTOMER, status=WRITTEN)["list"]
        return [Decimal(invoice["total"]) for invoice in listed]

    def plans(self, of: str | None = None) -> dict[str, str]:
        """The plans of exactly that scope, with their states: active, canceling, trialing, scheduled, past_due."""
        shown = self.entity(of)["subscriptions"] if of else self.customer()["subscriptions"]
        scope = "entity" if of else "customer"
        return {row["plan_id"]: plan_state(row) for row in shown if row["scope"] == scope}

    def left(self, feature: str, of: str | None = None) -> Any:
        """What remains of a feature."""
        shown = self.entity(of) if of else self.customer()
        balance = shown["balances"].get(feature)
        return Decimal(balance["remaining"]) if balance else None

    def processor(self) -> list[Any]:
        """The live subscriptions at the processor."""
        state = self.api.post("sandbox.processor_state", customer_id=CUSTOMER)
        return [row for row in state["subscriptions"] if row["status"] != "canceled"]

    def _about(self, plan: str, entity: str | None, more: dict[str, Any]) -> dict[str, Any]:
        return {"customer_id": CUSTOMER, "plan_id": plan, "entity_id": entity, **more}


def plan_state(row: Any) -> str:
    if row["status"] == "scheduled":
        return "scheduled"
    words = ["past_due"] if row["past_due"] else ["trialing"] if row["trial_ends_at"] else []
    words += ["canceling"] if row["canceled_at"] else []
    return " ".join(words) or "active"


def three_plans(api: Api) -> Shop:
    """Free, Pro at 20 and Premium at 50 a month, for accounts and workspaces alike."""
    shop = Shop(api)
    shop.plan("free", None, monthly("messages", 100))
    shop.plan("pro", 20, monthly("messages", 500))
    shop.plan("premium", 50, monthly("messages", 1000))
    return shop

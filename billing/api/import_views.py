"""billing.import: customers who pay at Stripe already."""

from typing import Annotated, Any

import msgspec
from django.http import HttpRequest

from billing.services.imports import takeover
from billing.services.imports.takeover import ImportedBalance, ImportedPlan
from billing.services.plan_changes.requests import Quantity
from config import clock
from config.api import Endpoint, Keyed, moment, quantity
from config.errors import InvalidInput, InvalidRequest
from entities.api import shapes


class _Processor(msgspec.Struct, frozen=True):
    type: str
    id: str


class _Link(msgspec.Struct, frozen=True):
    subscription_id: str | None = None
    schedule_id: str | None = None


class _Quantity(msgspec.Struct, frozen=True):
    feature_id: str
    quantity: Any


class _Balance(msgspec.Struct, frozen=True):
    feature_id: str
    usage: Any = None
    balance: Any = None
    next_reset_at: Any = None


class _Plan(msgspec.Struct, frozen=True):
    plan_id: str
    version: int | None = None
    status: str = "active"
    started_at: Any = None
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    feature_quantities: list[_Quantity] = []
    balances: list[_Balance] = []


class _Billable(msgspec.Struct, frozen=True):
    plan: _Plan
    processor: str | None = None
    link: _Link = _Link()
    billing_cycle_anchor: Any = None


class _Details(msgspec.Struct, frozen=True):
    name: str = ""
    email: str = ""
    fingerprint: str = ""


class ImportInput(msgspec.Struct, frozen=True):
    customer_id: str
    billables: list[_Billable]
    customer_data: _Details = _Details()
    processors: list[_Processor] = []
    dry_run: bool = False


STATES = ("active", "trialing", "past_due", "canceled", "expired")


class Import(Endpoint):
    """Write down what a customer holds and pays at Stripe already; nothing there is changed."""

    Input = ImportInput
    keyed = Keyed.LEASE

    def handle(self, data: ImportInput, request: HttpRequest) -> dict[str, Any]:
        named = [*(row.type for row in data.processors), *(row.processor for row in data.billables if row.processor)]
        if any(name != "stripe" for name in named):
            raise InvalidRequest("processors: only stripe can be imported from. Leave the others out.")
        wall = clock.now()
        customer, done = takeover.take_over(
            customer_id=data.customer_id,
            details={key: value for key, value in msgspec.structs.asdict(data.customer_data).items() if value},
            processor_id=data.processors[0].id if data.processors else "",
            plans=[_plan(billable) for billable in data.billables],
            is_dry_run=data.dry_run,
            at=wall,
            actor=self.actor,
        )
        return {
            "customer_id": data.customer_id,
            "flashed": [
                {
                    "plan_id": row.plan,
                    "processor": "stripe" if billable.link.subscription_id else None,
                    "customer_product_id": row.row.public_id if row.row else None,
                    "status": row.status,
                    "skipped": row.skipped,
                    "expired": False,
                }
                for row, billable in zip(done, data.billables, strict=True)
            ],
            "customer": shapes.customer(customer, wall=wall) if customer is not None else None,
        }


def _plan(billable: _Billable) -> ImportedPlan:
    plan, link = billable.plan, billable.link
    if plan.status not in STATES:
        raise InvalidInput(f"billables.plan.status must be one of {', '.join(STATES)}.")
    if link.schedule_id:
        raise InvalidRequest(
            "link.schedule_id: schedules can't be imported. Release it at Stripe, or wait for its end."
        )
    return ImportedPlan(
        plan=plan.plan_id,
        version=plan.version,
        status=plan.status,
        subscription_id=link.subscription_id or "",
        anchor=_moment(billable.billing_cycle_anchor, "billables.billing_cycle_anchor"),
        started_at=_moment(plan.started_at, "billables.plan.started_at"),
        quantity=plan.quantity,
        quantities=[
            Quantity(feature=row.feature_id, quantity=quantity(row.quantity, "feature_quantities.quantity"))
            for row in plan.feature_quantities
        ],
        balances=[
            ImportedBalance(
                feature=row.feature_id,
                usage=None if row.usage is None else quantity(row.usage, "balances.usage"),
                balance=None if row.balance is None else quantity(row.balance, "balances.balance"),
                next_reset_at=_moment(row.next_reset_at, "balances.next_reset_at"),
            )
            for row in plan.balances
        ],
    )


def _moment(value: Any, name: str) -> Any:
    return None if value is None else moment(value, name)

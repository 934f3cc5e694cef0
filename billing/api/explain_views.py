"""balances.explain (ours): where a number comes from, and why a check says what it says."""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest

from billing.api import balance_shapes
from billing.models import LedgerEntry
from billing.services.balances import explaining
from billing.services.balances.explaining import Source
from config import clock
from config.access.models import Scope
from config.api import Endpoint, IdField, QuantityField, milliseconds
from plans.api.fields import Shape


class ExplainInput(Shape):
    customer_id = IdField()
    entity_id = IdField(required=False)
    feature_id = IdField()
    required_balance = QuantityField(required=False)


class Explain(Endpoint):
    """The answer of a check with its reasons, and each source with the ledger entries behind its present number."""

    Input = ExplainInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        explained = explaining.explain(
            customer_id=data["customer_id"],
            entity_id=data.get("entity_id"),
            feature=data["feature_id"],
            required=data.get("required_balance", Decimal(1)),
            wall=clock.now(),
        )
        return {
            **balance_shapes.check(explained.verdict),
            "feature_id": data["feature_id"],
            "at": milliseconds(explained.at),
            "reasons": explained.reasons,
            "sources": [_source(source, position) for position, source in enumerate(explained.sources, 1)],
            "more_sources": explained.more,
        }


def _source(source: Source, position: int) -> dict[str, Any]:
    row = source.row
    return {
        "position": position,
        "summary": source.summary,
        "balance_id": row.public_id or f"bal_{row.id}",
        "feature_id": source.feature.slug,
        "credit_cost": None if source.feature.is_own else source.feature.cost,
        "level": row.level,
        "entity_id": source.entity_id,
        "plan_id": row.plan_slug,
        "rollover": row.is_rollover,
        "unlimited": row.unlimited,
        "granted": row.granted,
        "used": row.usage,
        "held": row.held,
        "expired": row.expired,
        "remaining": row.left,
        "overage": source.overage,
        "reset": balance_shapes.reset(row),
        "expires_at": milliseconds(row.expires_at),
        "carried": {"used" if number == "usage" else number: value for number, value in source.carried.items()},
        "entries_left_out": source.left_out,
        "entries": [_entry(entry) for entry in source.entries],
    }


def _entry(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "id": f"led_{entry.pk}",
        "at": milliseconds(entry.at),
        "kind": entry.kind,
        "text": explaining.told(entry),
        "granted": entry.granted,
        "used": entry.usage,
        "held": entry.held,
        "expired": entry.expired,
        "event_id": f"evt_{entry.event_id}" if entry.event_id else None,
        "actor": entry.actor or None,
        "request_id": entry.request_id or None,
    }

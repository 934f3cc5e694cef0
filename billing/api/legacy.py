"""The calls of the 1.x generation: /v1/check and /v1/track, where a balance is a plain number."""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse

from billing.api import balance_shapes
from billing.api.balance_views import Check, CheckInput, Track, TrackInput
from billing.services import tracking
from billing.services.balances import metering
from billing.services.balances.metering import Usage
from config import clock
from config.access.models import Scope


class LegacyCheck(Check):
    """check with `balance` as a number; the present shape for clients that do not say 1.x."""

    def handle(self, data: CheckInput, request: HttpRequest) -> dict[str, Any]:
        if not self.version.legacy or data.lock:  # no client of that generation knows locks
            return super().handle(data, request)
        wall, required = clock.now(), data.required()
        if data.send_event:
            self.caller.require(Scope.WRITE)
            usage = Usage(data.customer_id, data.feature_id, required, data.entity_id, properties=data.properties or {})
            verdict, _ = metering.check_and_deduct(usage, wall=wall, actor=self.actor)
        else:
            verdict = metering.check(
                customer_id=data.customer_id,
                entity_id=data.entity_id,
                feature=data.feature_id,
                required=required,
                wall=wall,
                properties=data.properties,
            )
        decided_on = verdict.decided_on
        shown = balance_shapes.balance(verdict.found, decided_on) if decided_on else None
        reset = next((row["reset"] for row in shown["breakdown"] if row["reset"]), None) if shown else None
        unlimited = bool(shown and shown["unlimited"])
        return {
            "allowed": verdict.allowed,
            "code": "feature_found",
            "customer_id": data.customer_id,
            "feature_id": decided_on.slug if decided_on else data.feature_id,
            "entity_id": data.entity_id,
            "required_balance": verdict.required,
            "interval": reset["interval"] if reset else None,
            "interval_count": reset["interval_count"] if reset else None,
            "unlimited": unlimited,
            "balance": None if unlimited else (shown["remaining"] if shown else Decimal(0)),
            "usage": shown["usage"] if shown else Decimal(0),
            "included_usage": shown["granted"] if shown else Decimal(0),
            "next_reset_at": shown["next_reset_at"] if shown else None,
            "overage_allowed": bool(shown and shown["overage_allowed"]),
        }


class LegacyTrack(Track):
    """track that answers with the event's id; the present shape for clients that do not say 1.x."""

    def handle(self, data: TrackInput, request: HttpRequest) -> dict[str, Any] | HttpResponse:
        if not self.version.legacy or data.lock:
            return super().handle(data, request)
        tracked = tracking.track(data.usages(), wall=clock.now(), actor=self.actor)
        return {
            "id": f"evt_{tracked[0].event_id}",
            "code": "event_received",
            "customer_id": data.customer_id,
            "entity_id": data.entity_id,
            "feature_id": data.feature_id,
            "event_name": data.event_name,
        }

"""balances.*: check, track, holds, and balances granted or set by hand."""

from decimal import Decimal
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

from billing.api import balance_shapes, upsell
from billing.deduction import OverageBehavior
from billing.services import tracking
from billing.services.balances import grants, holds, metering
from billing.services.balances.metering import Usage
from config import clock
from config.access import idempotency
from config.access.models import Scope
from config.api import Endpoint, IdField, Keyed, QuantityField, TimestampField, moment, quantity, reply
from config.errors import DomainError, InvalidInput
from entities.subject import Subject
from plans.api.fields import CountField, MetadataField, OneOfField, Shape, SwitchField
from plans.intervals import Interval, IntervalUnit
from plans.models import ItemTerms

ONE = Decimal(1)
MOST_IN_A_BATCH = 1000
LONGEST_ID = 256


class LockInput(msgspec.Struct):
    lock_id: str
    enabled: bool = True
    expires_at: Any = None

    def terms(self) -> holds.LockTerms | None:
        """What to hold under, None when locking is switched off."""
        if not self.enabled:
            return None
        if not self.lock_id.strip() or len(self.lock_id) > LONGEST_ID:
            raise InvalidInput(f"lock.lock_id must have 1 to {LONGEST_ID} characters.")
        expires_at = None if self.expires_at is None else moment(self.expires_at, "lock.expires_at")
        return holds.LockTerms(self.lock_id, expires_at)


class CheckInput(msgspec.Struct):
    customer_id: str
    feature_id: str
    entity_id: str | None = None
    required_balance: Any = None
    required_quantity: Any = None
    properties: dict[str, Any] | None = None
    send_event: bool | None = None
    with_preview: bool | None = None
    lock: LockInput | None = None

    def required(self) -> Decimal:
        """How much is asked for: 1 unless said; required_quantity is the older name."""
        given = self.required_balance if self.required_balance is not None else self.required_quantity
        return ONE if given is None else quantity(given, "required_balance")


class TrackInput(msgspec.Struct):
    customer_id: str
    feature_id: str | None = None
    event_name: str | None = None
    entity_id: str | None = None
    value: Any = None
    properties: dict[str, Any] | None = None
    timestamp: Any = None
    overage_behavior: OverageBehavior | None = None
    idempotency_key: str | None = None
    is_async: bool | None = msgspec.field(name="async", default=None)
    lock: LockInput | None = None

    def usages(self) -> list[Usage]:
        """What is to be tracked: one feature, or every feature that listens to the event name."""
        if bool(self.feature_id) == bool(self.event_name):
            raise InvalidInput("Send exactly one of feature_id and event_name.")
        behavior = self.overage_behavior or OverageBehavior.CAP
        if self.event_name and behavior is OverageBehavior.REJECT:
            raise InvalidInput(
                "overage_behavior reject needs a feature_id; an event name may move several features.",
                code="invalid_request",
            )
        if self.event_name and self.lock and self.lock.enabled:
            raise InvalidInput("A lock needs a feature_id; an event name may move several features.")
        features = [self.feature_id] if self.feature_id else metering.listeners(self.event_name or "")
        return [
            Usage(
                customer_id=self.customer_id,
                feature=feature,
                value=ONE if self.value is None else quantity(self.value, "value"),
                entity_id=self.entity_id,
                behavior=behavior,
                properties=self.properties or {},
                event_name=self.event_name or "",
                timestamp=None if self.timestamp is None else moment(self.timestamp, "timestamp"),
            )
            for feature in features
        ]


class Check(Endpoint):
    """May the subject use so much of a feature? With `send_event` or a lock, also takes or holds what it allows."""

    Input = CheckInput
    keyed = Keyed.TRANSACTION
    access = Scope.READ

    def handle(self, data: CheckInput, request: HttpRequest) -> dict[str, Any]:
        required, wall = data.required(), clock.now()
        lock = data.lock.terms() if data.lock else None
        if not data.send_event and lock is None:
            verdict = metering.check(
                customer_id=data.customer_id,
                entity_id=data.entity_id,
                feature=data.feature_id,
                required=required,
                wall=wall,
                properties=data.properties,
            )
        else:
            self.caller.require(Scope.WRITE)
            usage = Usage(data.customer_id, data.feature_id, required, data.entity_id, properties=data.properties or {})
            verdict, _ = metering.check_and_deduct(usage, wall=wall, actor=self.actor, lock=lock)
        preview = upsell.preview(verdict) if data.with_preview and not verdict.allowed else None
        return balance_shapes.check(verdict, preview)


class Track(Endpoint):
    """The subject has used so much: deduct it and record the event."""

    Input = TrackInput

    def handle(self, data: TrackInput, request: HttpRequest) -> dict[str, Any] | HttpResponse:
        """What is said to be asynchronous is done at once all the same, and answered as if it were yet to be done."""
        answer = self._track(data)
        if data.is_async:
            return reply({**answer, "balance": None, "balances": None, "deductions": None}, status=202)
        return answer

    def _track(self, data: TrackInput) -> dict[str, Any]:
        wall, usages = clock.now(), data.usages()
        lock = data.lock.terms() if data.lock else None
        if lock is not None:
            verdict, tracked = metering.check_and_deduct(usages[0], wall=wall, actor=self.actor, lock=lock)
            return balance_shapes.track(tracked) if tracked else balance_shapes.untracked(verdict, usages[0].value)
        tracked_all = tracking.track(usages, wall=wall, actor=self.actor)
        if data.event_name:
            return balance_shapes.track_event(tracked_all, data.event_name)
        return balance_shapes.track(tracked_all[0])


class BatchTrack(Endpoint):
    """Many usages at once: all are validated before any is carried out."""

    takes_list = True
    status = 202
    keyed = Keyed.IGNORED  # each item may carry a key of its own

    def handle(self, data: Any, request: HttpRequest) -> dict[str, Any]:
        if not 1 <= len(data) <= MOST_IN_A_BATCH:
            raise InvalidInput(f"A batch holds 1 to {MOST_IN_A_BATCH} items, this one {len(data)}.")
        items = [self._item(item, position) for position, item in enumerate(data)]
        wall = clock.now()
        tracking.track_batch(
            [tracking.Item(item.usages(), item.idempotency_key or "") for item in items],
            caller=self.caller,
            wall=wall,
            actor=self.actor,
        )
        return {"success": True}

    def _item(self, item: Any, position: int) -> TrackInput:
        try:
            read = msgspec.convert(item, TrackInput)
            read.usages()
            if read.lock is not None:
                raise InvalidInput("A batch takes no locks. Track it alone.")
            idempotency.checked_key(read.idempotency_key)
        except msgspec.ValidationError as problem:
            raise InvalidInput(f"Item {position}: {problem}") from problem
        except DomainError as problem:
            raise InvalidInput(f"Item {position}: {problem.message}") from problem
        return read


class FinalizeInput(Shape):
    lock_id = IdField(max_length=LONGEST_ID)
    action = OneOfField(choices=["confirm", "release"])
    override_value = QuantityField(required=False)
    properties = MetadataField(required=False)


class Finalize(Endpoint):
    """Confirm a lock at its value or another, or release it."""

    Input = FinalizeInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        holds.finalize(
            lock_id=data["lock_id"],
            confirm=data["action"] == "confirm",
            override=data.get("override_value"),
            properties=data.get("properties"),
            wall=clock.now(),
            actor=self.actor,
        )
        return {"success": True}


class SubjectInput(Shape):
    customer_id = IdField()
    entity_id = IdField(required=False)


class ResetInput(Shape):
    interval = OneOfField(choices=IntervalUnit.values)
    interval_count = CountField(least=1, most=1000, required=False)


class RolloverInput(Shape):
    max = QuantityField(negative=False, required=False)
    max_percentage = QuantityField(negative=False, required=False)
    duration = OneOfField(choices=ItemTerms.RolloverExpiry.values, required=False)
    expiry_duration_type = OneOfField(choices=ItemTerms.RolloverExpiry.values, required=False)
    length = CountField(least=1, most=1200, required=False)
    expiry_duration_length = CountField(least=1, most=1200, required=False)


class CreateBalanceInput(SubjectInput):
    feature_id = IdField()
    included_grant = QuantityField(negative=False, required=False)
    unlimited = SwitchField(required=False)
    balance_id = IdField(required=False)
    reset = ResetInput(required=False)
    rollover = RolloverInput(required=False)
    next_reset_at = TimestampField(required=False)
    expires_at = TimestampField(required=False)


class CreateBalance(Endpoint):
    """Grant a balance by hand."""

    Input = CreateBalanceInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        reset = data.get("reset") or {}
        grant = grants.Grant(
            feature=data["feature_id"],
            included=data.get("included_grant"),
            unlimited=data.get("unlimited", False),
            public_id=data.get("balance_id", ""),
            reset=Interval.of(reset.get("interval", ""), reset.get("interval_count", 1)),
            next_reset_at=data.get("next_reset_at"),
            expires_at=data.get("expires_at"),
            rollover=_rollover(data.get("rollover")),
        )
        grants.create(subject=subject, grant=grant, at=subject.customer.now(clock.now()), actor=self.actor)
        return {"success": True}


class SelectBalanceInput(SubjectInput):
    balance_id = IdField(required=False)
    interval = OneOfField(choices=IntervalUnit.values, required=False)


class UpdateBalanceInput(SelectBalanceInput):
    feature_id = IdField()
    remaining = QuantityField(required=False)
    usage = QuantityField(required=False)
    add_to_balance = QuantityField(required=False)
    included_grant = QuantityField(negative=False, required=False)
    next_reset_at = TimestampField(required=False)
    expires_at = TimestampField(required=False)


class UpdateBalance(Endpoint):
    """Set what remains, what was used, the grant or the dates of balances."""

    Input = UpdateBalanceInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        grants.update(
            subject=subject,
            selection=_selection(data),
            setting=grants.Setting(
                remaining=data.get("remaining"),
                usage=data.get("usage"),
                add=data.get("add_to_balance"),
                included=data.get("included_grant"),
                next_reset_at=data.get("next_reset_at"),
                expires_at=data.get("expires_at"),
            ),
            at=subject.customer.now(clock.now()),
            actor=self.actor,
        )
        return {"success": True}


class DeleteBalanceInput(SelectBalanceInput):
    feature_id = IdField(required=False)
    recalculate_balances = SwitchField(required=False)


class DeleteBalance(Endpoint):
    """End balances; those that are paid for are refused."""

    Input = DeleteBalanceInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        if "feature_id" not in data and "balance_id" not in data:
            raise InvalidInput("Send feature_id or balance_id.", code="invalid_request")
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        grants.delete(
            subject=subject,
            selection=_selection(data),
            recalculate=data.get("recalculate_balances", False),
            at=subject.customer.now(clock.now()),
            actor=self.actor,
        )
        return {"success": True}


class RecalculateInput(SubjectInput):
    feature_id = IdField()


class RecalculateBalances(Endpoint):
    """Spread the usage of a feature over its balances afresh, in deduction order."""

    Input = RecalculateInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        at = subject.customer.now(clock.now())
        grants.recalculate(subject=subject, feature=data["feature_id"], at=at, actor=self.actor)
        return {"success": True}


def _selection(data: dict[str, Any]) -> grants.Selection:
    return grants.Selection(data.get("feature_id"), data.get("balance_id"), data.get("interval"))


def _rollover(data: dict[str, Any] | None) -> grants.Rollover | None:
    if data is None:
        return None
    forever = ItemTerms.RolloverExpiry.FOREVER in (data.get("duration"), data.get("expiry_duration_type"))
    months = data.get("length") or data.get("expiry_duration_length") or 1
    return grants.Rollover(data.get("max"), data.get("max_percentage"), None if forever else months)

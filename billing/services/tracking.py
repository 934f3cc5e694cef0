"""Usage as it comes in: one feature, an event name, or a batch; seats that have a price are invoiced on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction
from django.http import HttpResponse

from billing.errors import InsufficientBalance, SeatsAreBilled
from billing.services import seats
from billing.services.balances import metering
from billing.services.balances.metering import Tracked, Usage
from config.access import idempotency
from config.access.authentication import Caller
from config.actor import Actor
from config.api import encode, reply
from config.errors import DomainError, InvalidInput

_WRONG = (400, 404)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a batch, under an idempotency key of its own if it has one."""

    usages: list[Usage]
    key: str = ""


def track(usages: Sequence[Usage], *, wall: datetime, actor: Actor) -> list[Tracked]:
    """Track what was used; a change of seats that are billed at once is invoiced first, and refused if unpaid."""
    try:
        return metering.track_event(usages, wall=wall, actor=actor)
    except SeatsAreBilled as due:
        _expect_no_transaction()
        with seats.billed(due, wall=wall, actor=actor):
            return metering.track_event(usages, wall=wall, actor=actor, seats_are_paid=True)


def _expect_no_transaction() -> None:
    """The processor is not waited for with rows locked."""
    try:
        with transaction.atomic(durable=True):
            pass
    except RuntimeError as inside:
        raise idempotency.NeedsSteps from inside


def track_batch(items: Sequence[Item], *, caller: Caller, wall: datetime, actor: Actor) -> None:
    """Track all items or, if one is wrong or the process dies, none: the batch can then be sent again.

    A key that was used before, in this batch or earlier, makes its item count once. What a balance rejects is left
    out. Raises InvalidInput for an item that names what is not there or is wrong in another way.
    """
    with transaction.atomic():
        for position, item in enumerate(items):
            try:
                _track_item(item, caller=caller, wall=wall, actor=actor)
            except DomainError as problem:
                if problem.status in _WRONG:
                    raise InvalidInput(f"Item {position}: {problem.message}") from problem
                raise
            except idempotency.NeedsSteps as problem:
                raise InvalidInput(
                    f"Item {position}: seats that are invoiced when they change can't be in a batch. Track them alone."
                ) from problem


def _track_item(item: Item, *, caller: Caller, wall: datetime, actor: Actor) -> None:
    if not item.key:
        _track_quietly(item.usages, wall=wall, actor=actor)
        return
    try:
        idempotency.once(
            key=idempotency.Key(item.key, idempotency.Place.BODY),
            caller=caller,
            request_id=idempotency.fingerprint("POST", "batch_track", encode([str(usage) for usage in item.usages])),
            work=partial(_answer, item, wall, actor),
            leased=False,
            named_version=False,
        )
    except idempotency.KeyReused:
        return


def _answer(item: Item, wall: datetime, actor: Actor) -> HttpResponse:
    _track_quietly(item.usages, wall=wall, actor=actor)
    return reply({"success": True})


def _track_quietly(usages: Sequence[Usage], *, wall: datetime, actor: Actor) -> None:
    try:
        with transaction.atomic():
            track(usages, wall=wall, actor=actor)
    except InsufficientBalance:
        return

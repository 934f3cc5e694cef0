"""What is told of a plan that changed: pure. The words are those of the contract's `billing.updated`."""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a plan stands with its holder, as applications see it: past due is active, paused is expired."""

    ACTIVE = "active"
    SCHEDULED = "scheduled"
    EXPIRED = "expired"


class Action(StrEnum):
    """What happened to it."""

    ACTIVATED = "activated"
    SCHEDULED = "scheduled"
    UPDATED = "updated"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What is compared; `trial_ends_at` only while the trial lasts."""

    status: State
    past_due: bool
    canceled_at: datetime | None
    expires_at: datetime | None
    trial_ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """What happened, and what the fields that changed held before (None: it is new)."""

    action: Action
    previous: dict[str, Any] | None


def change(before: Lifecycle | None, after: Lifecycle) -> Change | None:
    """What is told of a plan that was `before` (None: not there) and is `after` now; None where nothing is."""
    if before is None:
        new = {State.ACTIVE: Action.ACTIVATED, State.SCHEDULED: Action.SCHEDULED}.get(after.status)
        return Change(new, None) if new else None
    names = [field.name for field in fields(Lifecycle)]
    previous = {name: getattr(before, name) for name in names if getattr(before, name) != getattr(after, name)}
    if not previous:
        return None
    moved = {State.ACTIVE: Action.ACTIVATED, State.SCHEDULED: Action.SCHEDULED, State.EXPIRED: Action.EXPIRED}
    return Change(moved[after.status] if "status" in previous else Action.UPDATED, previous)

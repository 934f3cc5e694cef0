"""Balances as one would keep them with matchsticks: slow, obvious, and written without looking at billing.deduction.

Everything is whole units, moved one at a time. The random sequences compare it with the real thing, step by step.
"""

import calendar
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

ROLLOVER_MOST = 15
COINS_A_UNIT = 2


@dataclass(eq=False)
class Pile:
    """One balance: a pile of units of a feature, somebody's own, somebody's share, or everybody's."""

    feature: str
    kind: str  # pool, share, own
    holder: str | None
    size: int
    born: int
    item: int = 0  # of the plan, in its order; 0: granted by hand
    holder_no: int = 0
    name: str = ""
    every: str = ""  # day, month or never
    anchor: datetime | None = None
    due: datetime | None = None
    expires: datetime | None = None
    rolls: bool = False
    rolled_from: "Pile | None" = None
    granted: int = 0
    used: int = 0
    held: int = 0
    lost: int = 0
    gone: bool = False

    @property
    def left(self) -> int:
        return self.granted - self.used - self.held - self.lost


@dataclass
class Held:
    """What a lock took, in the order taken: [pile, units, still there]."""

    who: str | None
    feature: str
    value: int
    window: datetime
    parts: list[tuple[Pile, int]] = field(default_factory=list)
    cleared: set[int] = field(default_factory=set)
    orphaned: bool = False  # whoever took it has left; one who comes under the same name is another


def boundary(anchor: datetime, every: str, n: int) -> datetime:
    """The nth day or month after the anchor; a 31st becomes the month's last day."""
    if every == "day":
        return anchor + timedelta(days=n)
    month = anchor.month - 1 + n
    year, month = anchor.year + month // 12, month % 12 + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, calendar.monthrange(year, month)[1]))


def next_boundary(anchor: datetime, every: str, at: datetime) -> datetime:
    n = 0
    while boundary(anchor, every, n) <= at:
        n += 1
    return boundary(anchor, every, n)


class Model:
    """Acme, its people and all their piles."""

    def __init__(self, now: datetime) -> None:
        self.now = self.created = now
        self.piles: list[Pile] = []
        self.people: list[str] = []
        self.numbers_of: dict[str, int] = {}
        self.ever = 0
        self.items: list[tuple[str, int, bool, str, bool]] = []
        self.started = now
        self.limits: dict[str | None, int] = {}
        self.counted: dict[tuple[str | None, datetime], int] = {}
        self.overage: bool | None = None
        self.locks: dict[str, Held] = {}

    # -- what there is --

    def start_plan(self, items: list[tuple[str, int, bool, str, bool]]) -> None:
        """(feature, included, per person, every, rolls over) of each item."""
        self.items, self.started = items, self.now
        for number, (feature, included, per_person, every, rolls) in enumerate(items, 1):
            if not per_person:
                self.lay(Pile(feature, "pool", None, included, 0, number, every=every, rolls=rolls, anchor=self.now))

    def lay(self, pile: Pile) -> None:
        self.ever += 1
        pile.born, pile.granted = self.ever, pile.size
        if pile.every and pile.anchor:
            pile.due = next_boundary(pile.anchor, pile.every, self.now)
        self.piles.append(pile)

    def join(self, who: str) -> None:
        self.people.append(who)
        self.ever += 1
        number = self.ever
        for seats in self.of("seats", None):
            seats.used += 1
        for item, (feature, included, per_person, every, rolls) in enumerate(self.items, 1):
            if per_person:
                self.lay(
                    Pile(
                        feature, "share", who, included, 0, item, number, every=every, rolls=rolls, anchor=self.started
                    )
                )
        self.numbers_of[who] = number

    def leave(self, who: str) -> None:
        self.people.remove(who)
        for lock in self.locks.values():
            lock.orphaned = lock.orphaned or lock.who == who
        for pile in self.piles:
            if pile.holder == who:
                pile.gone = True
        for seats in self.of("seats", None):
            if seats.used >= 1:
                seats.used -= 1
        self.limits.pop(who, None)

    def grant(self, feature: str, size: int, who: str | None, name: str, every: str, expires: datetime | None) -> None:
        kind = "own" if who else "pool"
        number = self.numbers_of[who] if who else 0
        self.lay(
            Pile(feature, kind, who, size, 0, 0, number, name, every, self.now if every else None, expires=expires)
        )

    def remove(self, name: str) -> None:
        for pile in self.alive():
            if pile.name == name:
                pile.gone = True
                for other in self.piles:
                    if other.rolled_from is pile:
                        other.gone = True

    def alive(self) -> list[Pile]:
        return [p for p in self.piles if not p.gone and (p.expires is None or p.expires > self.now)]

    def of(self, feature: str, who: str | None) -> list[Pile]:
        """The piles that somebody (None: the customer) can take from."""
        return [
            p
            for p in self.alive()
            if p.feature == feature and (p.kind == "pool" or (p.holder == who if who else p.kind == "share"))
        ]

    def paying(self, feature: str, who: str | None) -> list[tuple[Pile, int]]:
        """Who pays, in turn, and at how many of its units for one of the feature."""

        def turn(pile: Pile) -> tuple[object, ...]:
            never = datetime.max.replace(tzinfo=self.now.tzinfo)
            return (
                pile.rolled_from is None,
                (pile.kind == "pool") == (who is not None),
                ["day", "month", ""].index(pile.every),
                pile.expires or never,
                pile.item if who is None and pile.kind == "share" else 0,
                pile.holder_no,
                pile.born,
            )

        own = [(pile, 1) for pile in sorted(self.of(feature, who), key=turn)]
        if feature != "action1":
            return own
        return own + [(pile, COINS_A_UNIT) for pile in sorted(self.of("coins", who), key=turn)]

    # -- using --

    def room(self, who: str | None, feature: str) -> int | None:
        """What the usage limit leaves; None without one. It caps messages only."""
        owner = who if who in self.limits else None
        if feature != "messages" or owner not in self.limits:
            return None
        return self.limits[owner] - self.counted.get((owner, self.window()), 0)

    def count(self, who: str | None, feature: str, units: int, window: datetime | None = None) -> None:
        owner = who if who in self.limits else None
        if feature == "messages" and owner in self.limits and units:
            key = (owner, window or self.window())
            self.counted[key] = max(0, self.counted.get(key, 0) + units)

    def window(self) -> datetime:
        n = 0
        while boundary(self.created, "month", n + 1) <= self.now:
            n += 1
        return boundary(self.created, "month", n)

    def takes(self, who: str | None, feature: str, value: int, behavior: str) -> Iterator[tuple[Pile, int]]:
        """Take unit by unit; yields what each came from."""
        room = None if behavior == "overflow" else self.room(who, feature)
        for taken in range(value):
            if room is not None and taken >= room:
                return
            piles = self.paying(feature, who)
            found = next(((p, cost) for p, cost in piles if p.left >= cost), None)
            if found is None:
                found = next(((p, cost) for p, cost in piles if self.may_be_overdrawn(p, behavior)), None)
            if found is None:
                return
            yield found

    def may_be_overdrawn(self, pile: Pile, behavior: str) -> bool:
        if pile.rolled_from is not None:
            return False
        if behavior == "overflow":
            return True
        if pile.feature == "messages" and self.overage is not None:
            return self.overage
        return pile.feature == "seats" and behavior == "cap"

    def take(self, who: str | None, feature: str, value: int, behavior: str = "cap") -> bool:
        """Whether everything was there; with reject nothing moves unless it was."""
        done = []
        for pile, cost in self.takes(who, feature, value, behavior):
            pile.used += cost
            done.append((pile, cost))
        complete = len(done) == value
        if behavior == "reject" and not complete:
            for pile, cost in done:
                pile.used -= cost
            return False
        self.count(who, feature, len(done))
        return complete

    def give_back(
        self, who: str | None, feature: str, value: int, behavior: str = "cap", *, counts: bool = True
    ) -> None:
        done = 0
        for _ in range(value):
            piles = self.paying(feature, who)
            found = (
                next(((p, cost) for p, cost in piles if p.left < 0), None)
                or next(((p, cost) for p, cost in piles if p.used >= cost), None)
                or next(((p, cost) for p, cost in piles if behavior == "overflow" and p.rolled_from is None), None)
            )
            if found is None:
                break
            found[0].used -= found[1]
            done += 1
        if counts:
            self.count(who, feature, -done)

    def track(self, who: str | None, feature: str, value: int, behavior: str) -> bool:
        """False when it is refused."""
        if value < 0:
            self.give_back(who, feature, -value, behavior)
            return True
        return self.take(who, feature, value, behavior) or behavior != "reject"

    def allows(self, who: str | None, feature: str, required: int) -> bool:
        piles = self.paying(feature, who)
        if not piles:
            return False
        if required < 0:
            return True
        room = self.room(who, feature)
        if room is not None and room < required:
            return False
        if sum(max(0, pile.left) for pile, _ in piles) >= required * piles[0][1]:
            return True
        return any(self.may_be_overdrawn(pile, "reject") for pile, _ in piles)

    # -- holding --

    def lock(self, lock_id: str, who: str | None, feature: str, value: int) -> bool:
        if not self.paying(feature, who):
            return False
        lock = Held(who, feature, value, self.window())
        for pile, cost in self.takes(who, feature, value, "reject"):
            pile.held += cost
            lock.parts.append((pile, cost))
        if len(lock.parts) < value:
            for pile, cost in lock.parts:
                pile.held -= cost
            return False
        self.count(who, feature, value)
        self.locks[lock_id] = lock
        return True

    def settle(self, lock_id: str, final: int) -> None:
        """Keep `final` of what is held: the last taken goes back first, more is taken anew."""
        lock = self.locks.pop(lock_id)
        kept = min(final, lock.value)
        homeless = 0
        for position in reversed(range(len(lock.parts))):
            pile, cost = lock.parts[position]
            back = position >= kept
            if back and not lock.orphaned:
                self.count(lock.who, lock.feature, -1, lock.window)
            if position in lock.cleared:
                homeless += back
                continue
            pile.held -= cost
            if not back:
                pile.used += cost
            elif pile.gone:
                # It had been used when its pile went: it stays so there, and comes back elsewhere.
                pile.used += cost
                homeless += 1
        if lock.orphaned:
            return
        self.give_back(lock.who, lock.feature, homeless, counts=False)
        if final > kept:
            self.take(lock.who, lock.feature, final - kept)

    # -- setting --

    def set(self, feature: str, who: str | None, what: str, value: int) -> bool:
        """False when there is nothing to set."""
        piles = [
            p
            for p, _ in self.paying(feature, who)
            if p.rolled_from is None and p.feature == feature and (who is None or p.holder == who)
        ]
        if not piles:
            return False
        used = sum(p.used for p in piles)
        target = {
            "usage": value,
            "add_to_balance": used - value,
            "remaining": sum(p.granted - p.held - p.lost for p in piles) - value,
        }[what]
        for _ in range(target - used):
            (next((p for p in piles if p.left >= 1), None) or piles[0]).used += 1
        for _ in range(used - target):
            given = piles[0]
            if who is not None or len(piles) == 1:
                given = next((p for p in piles if p.left < 0), None) or next((p for p in piles if p.used > 0), piles[0])
            given.used -= 1
        return True

    # -- time --

    def turn(self, to: datetime) -> None:
        while True:
            dues = [p.due for p in self.piles if not p.gone and p.due is not None and p.due <= to]
            if not dues:
                break
            self.now = max(self.now, min(dues))
            for pile in list(self.piles):
                if not pile.gone and pile.due is not None and pile.due <= self.now:
                    self.refill(pile)
        self.now = to

    def refill(self, pile: Pile) -> None:
        if pile.expires is not None and pile.due is not None and pile.expires <= pile.due:
            pile.gone = True
            return
        if pile.rolls:
            self.roll_over(pile)
        for lock in self.locks.values():
            lock.cleared |= {n for n, (held_in, _) in enumerate(lock.parts) if held_in is pile}
        pile.granted, pile.used, pile.held, pile.lost = pile.size, 0, 0, 0
        if pile.anchor is not None:
            pile.due = next_boundary(pile.anchor, pile.every, self.now)

    def roll_over(self, pile: Pile) -> None:
        older = [p for p in self.piles if p.rolled_from is pile and not p.gone]
        fresh = max(0, pile.left)
        over = sum(p.left for p in older) + fresh - ROLLOVER_MOST
        for other in older:
            if over <= 0:
                break
            cut = min(over, other.left)
            other.lost += cut
            over -= cut
            other.gone = other.left == 0
        fresh -= max(0, over)
        if fresh > 0:
            rolled = Pile(pile.feature, pile.kind, pile.holder, fresh, 0, pile.item, pile.holder_no, rolled_from=pile)
            self.lay(rolled)

    # -- looking --

    def numbers(self, feature: str, who: str | None) -> tuple[int, int, int] | None:
        """(granted, remaining, usage) as a read shows it; the customer sees what its people own as well."""
        mine: Callable[[Pile], bool] = (lambda p: p.kind == "pool" or p.holder == who) if who else (lambda p: True)
        piles = [p for p in self.alive() if p.feature == feature and mine(p)]
        if not piles:
            return None
        return (
            sum(p.granted - p.lost for p in piles),
            sum(max(0, p.left) for p in piles),
            sum(p.used + p.held for p in piles),
        )

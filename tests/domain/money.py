"""What a customer owes, from what it held and when: slow, in fractions, and written without looking at the engine.

Everything is paid by the month in advance. A holding is a price over a stretch of time, and costs, in each month it
touches, the part of the month it covers. What is held now is paid until the month is over.
"""

import calendar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

SECOND = timedelta(seconds=1)


def month(anchor: datetime, n: int) -> datetime:
    """The nth month's beginning after the anchor; a 31st becomes the month's last day."""
    index = anchor.month - 1 + n
    year, number = anchor.year + index // 12, index % 12 + 1
    return anchor.replace(year=year, month=number, day=min(anchor.day, calendar.monthrange(year, number)[1]))


def months(anchor: datetime) -> list[datetime]:
    return [month(anchor, n) for n in range(60)]


@dataclass
class Stretch:
    """A price from `start` on, until `end` where it has one; months count from `anchor`."""

    price: Fraction
    anchor: datetime
    start: datetime
    end: datetime | None = None

    def cost(self, at: datetime) -> Fraction:
        """What was charged for it by `at`."""
        bounds = months(self.anchor)
        until = self.end or next(bound for bound in bounds if bound > at)
        whole = Fraction(0)
        for start, end in pairwise(bounds):
            covered = min(end, until) - max(start, self.start)
            if covered > timedelta(0):
                whole += self.price * Fraction(covered // SECOND, (end - start) // SECOND)
        return whole


@dataclass
class Held:
    """A plan that is held: what it is, when it ends and what then follows."""

    plan: str
    stretch: Stretch | None  # None: it is free
    ends: datetime | None = None
    then: str | None = None


@dataclass
class Ledger:
    """A customer's holdings by scope and group, and every stretch there ever was."""

    now: datetime
    prices: dict[str, Fraction]
    anchor: datetime | None = None
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def owed(self) -> Fraction:
        return sum((stretch.cost(self.now) for stretch in self.stretches), Fraction(0))

    @property
    def next_month(self) -> datetime:
        assert self.anchor is not None
        return next(bound for bound in months(self.anchor) if bound > self.now)

    def start(self, place: tuple[str, str], plan: str, price: Fraction) -> None:
        """Hold a plan from now on; the first that is paid for says when months begin."""
        stretch = None
        if price:
            if not any(held.stretch for other, held in self.held.items() if other != place):
                before = self.held.get(place)
                if before is None or before.stretch is None:
                    self.anchor = self.now
            assert self.anchor is not None
            stretch = Stretch(price, self.anchor, self.now)
            self.stretches.append(stretch)
        self.stop(place)
        self.held[place] = Held(plan, stretch)

    def stop(self, place: tuple[str, str], *, keeps_the_rest: bool = False) -> None:
        """Hold it no longer; what is paid for is given back, or kept."""
        held = self.held.pop(place, None)
        if held is not None and held.stretch is not None:
            held.stretch.end = self.next_month if keeps_the_rest else self.now

    def reprice(self, place: tuple[str, str], price: Fraction) -> None:
        """The same plan at another price from now on."""
        held = self.held[place]
        assert held.stretch is not None
        held.stretch.end = self.now
        held.stretch = Stretch(price, held.stretch.anchor, self.now)
        self.stretches.append(held.stretch)

    def turn(self, at: datetime) -> None:
        """Let time pass: what ends gives way to what follows."""
        while True:
            due = [(held.ends, place) for place, held in self.held.items() if held.ends and held.ends <= at]
            if not due:
                break
            self.now = min(due)[0]
            for place in sorted(place for ends, place in due if ends == self.now):
                held = self.held.pop(place)
                assert held.stretch is not None
                held.stretch.end = self.now
                if held.then is None:
                    continue
                price, stretch = self.prices[held.then], None
                if price:
                    stretch = Stretch(price, held.stretch.anchor, self.now)
                    self.stretches.append(stretch)
                self.held[place] = Held(held.then, stretch)
        self.now = at

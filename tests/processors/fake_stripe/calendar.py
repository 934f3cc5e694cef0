"""Stripe's calendar as its documentation tells it, in Unix seconds and UTC. Shares nothing with the engine's.

A monthly subscription anchored on 31 January bills on the last day of February, on 31 March, 30 April …
"""

from datetime import UTC, date, datetime, time, timedelta


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def last_day(year: int, month: int) -> int:
    following = date(year + (month == 12), month % 12 + 1, 1)
    return (following - timedelta(days=1)).day


def period_after(anchor: int, day: int | None, interval: str, count: int, start: int) -> int:
    """The end of the period that starts at `start`; `day` is the day that the anchor asks for (31 in February)."""
    if interval in ("day", "week"):
        return start + count * (86_400 if interval == "day" else 604_800)
    first, begun = instant(anchor), instant(start)
    steps = count * (12 if interval == "year" else 1)
    year, month = begun.year, begun.month
    for _ in range(steps):
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    wanted = day if day is not None else first.day
    moment = datetime.combine(
        date(year, month, min(wanted, last_day(year, month))),
        time(first.hour, first.minute, first.second),
        UTC,
    )
    return int(moment.timestamp())


def next_match(config: dict[str, int], after: int) -> int:
    """The first instant after `after` that an anchor config names."""
    begun = instant(after)
    year, month = begun.year, begun.month
    for _ in range(25):
        if config.get("month", month) == month:
            moment = datetime(
                year,
                month,
                min(config["day_of_month"], last_day(year, month)),
                config.get("hour", begun.hour),
                config.get("minute", begun.minute),
                config.get("second", begun.second),
                tzinfo=UTC,
            )
            if int(moment.timestamp()) > after:
                return int(moment.timestamp())
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    raise AssertionError("an anchor config matches within two years")

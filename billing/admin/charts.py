"""Bars over time as inline SVG: nothing to load, readable without colours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from billing.templatetags.shown import quantity

WIDTH, HEIGHT, FLOOR = 640, 130, 128


@dataclass(frozen=True, slots=True)
class Column:
    """A bar: where it stands, how high it is, and what it says."""

    x: str
    y: str
    width: str
    height: str
    title: str
    marked_y: str = ""
    marked_height: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing; `most` is the value of the highest bar, `marked` what its marked parts come to, in words."""

    title: str
    columns: list[Column]
    first: str
    last: str
    most: str
    total: str
    marked: str = ""
    is_empty: bool = False  # where every value is 0

    @property
    def view_box(self) -> str:
        return f"0 0 {WIDTH} {HEIGHT}"


def days(
    title: str,
    values: Mapping[date, Decimal],
    *,
    until: date,
    count: int = 30,
    marked: Mapping[date, Decimal] | None = None,
    mark: str = "",
) -> Chart:
    """The last `count` days, those without a value included; of each value the `marked` part stands out as `mark`."""
    shown = [until - timedelta(days=back) for back in range(count - 1, -1, -1)]
    labelled = [(f"{day:%-d %b}", values.get(day, Decimal(0))) for day in shown]
    parts = [marked.get(day, Decimal(0)) for day in shown] if marked is not None else None
    return bars(title, labelled, marked=parts, mark=mark)


def bars(
    title: str,
    values: Sequence[tuple[str, Decimal]],
    *,
    marked: Sequence[Decimal] | None = None,
    mark: str = "",
    told: Callable[[Decimal], str] = quantity,
) -> Chart:
    """Labelled values side by side, written as `told` does; what is below 0 is drawn as 0 and told in its title."""
    most = max((value for _, value in values), default=Decimal(0))
    step = Decimal(WIDTH) / max(len(values), 1)
    columns = []
    parts = marked if marked is not None else [Decimal(0)] * len(values)
    for index, ((label, value), part) in enumerate(zip(values, parts, strict=True)):
        height, marked_height = (_height(one, most) for one in (value, part))
        columns.append(
            Column(
                x=f"{step * index + step / 10:.2f}",
                y=f"{FLOOR - height:.2f}",
                width=f"{step * 8 / 10:.2f}",
                height=f"{height:.2f}",
                title=f"{label}: {told(value)}" + (f", {told(part)} {mark}" if part else ""),
                marked_y=f"{FLOOR - marked_height:.2f}",
                marked_height=f"{marked_height:.2f}" if part else "",
            )
        )
    total = sum((value for _, value in values), Decimal(0))
    is_empty = not any(value for _, value in values)
    first, last = (values[0][0], values[-1][0]) if values else ("", "")
    in_words = f"{told(sum(parts, Decimal(0)))} {mark}" if marked is not None else ""
    return Chart(title, columns, first, last, told(most), told(total), in_words, is_empty)


def _height(value: Decimal, most: Decimal) -> Decimal:
    return max(value, Decimal(0)) / most * (FLOOR - 18) if most > 0 else Decimal(0)

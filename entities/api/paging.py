"""Pages by keyset, in order of creation; by offset for the older clients."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from config.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Page[Row: Model]:
    """The rows of one page, where the next begins, and what clients that page by offset want to know."""

    rows: list[Row]
    next_cursor: str | None
    by_offset: Mapping[str, Any]

    def shape(self, shown: list[dict[str, Any]]) -> dict[str, Any]:
        return {"list": shown, "next_cursor": self.next_cursor, **self.by_offset}


def by_creation[Row: Model](
    rows: QuerySet[Row], data: Mapping[str, Any], *, oldest_first: bool, default: int
) -> Page[Row]:
    """The page that `start_cursor` (or `offset`) and `limit` ask for. Keys are handed out in creation order."""
    limit = data.get("limit", default)
    ordered = rows.order_by("pk" if oldest_first else "-pk")
    if data.get("start_cursor"):
        after = _read(data["start_cursor"])
        ordered = ordered.filter(pk__gt=after) if oldest_first else ordered.filter(pk__lt=after)
    offset = data.get("offset")
    start = offset or 0
    found = list(ordered[start : start + limit + 1])
    shown, more = found[:limit], len(found) > limit
    by_offset: dict[str, Any] = {}
    if offset is not None:
        total = rows.count()
        by_offset = {
            "total": total,
            "total_count": total,
            "total_filtered_count": total,
            "limit": limit,
            "offset": offset,
            "has_more": more,
        }
    return Page(shown, _write(shown[-1].pk) if more else None, by_offset)


def _write(pk: int) -> str:
    return base64.urlsafe_b64encode(str(pk).encode()).decode()


def _read(cursor: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(cursor).decode())
    except (ValueError, binascii.Error) as problem:
        raise InvalidInput("start_cursor is not one that this server gave; start again with an empty one.") from problem

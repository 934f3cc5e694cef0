"""The viewer's time zone: their browser tells it in a cookie, and the back-office writes and reads times in it.

Without one it is UTC. The full time in UTC stands beside each, on hover. Sentences about billing keep to UTC days,
as invoices do.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString

COOKIE = "zone"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]{0,30}(/[A-Za-z0-9_+\-]{1,30}){0,2}")


class ZoneMiddleware:
    """Answers each request in the zone of its viewer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with timezone.override(zone(request.COOKIES.get(COOKIE, ""))):
            return self.get_response(request)


def zone(name: str) -> tzinfo:
    """The zone with that name, such as Europe/Berlin; UTC for what is none."""
    if not NAME.fullmatch(name):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def told(value: datetime) -> str:
    """A time for a sentence: `4 December 2026, 18:00 CET`."""
    return f"{timezone.localtime(value):%-d %B %Y, %H:%M %Z}"


def shown(value: datetime, form: str = "%-d %b %Y, %H:%M") -> SafeString:
    """A time for a page; the whole of it in UTC on hover."""
    at = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        at.isoformat(),
        at.strftime("%A, %-d %B %Y, %H:%M:%S"),
        timezone.localtime(value).strftime(form),
    )


def _current() -> str:
    return f"In your time, {timezone.get_current_timezone_name().replace('_', ' ')}."


yours = lazy(_current, str)

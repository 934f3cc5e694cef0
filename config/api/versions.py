"""Which generation of the API a client speaks, as its `x-api-version` header says."""

import re
from typing import NamedTuple

from django.http import HttpRequest
from rest_framework.request import Request

from config.errors import InvalidApiVersion

_SHAPE = re.compile(r"([12])(\.\d{1,4}){0,2}", re.ASCII)


class Version(NamedTuple):
    """`legacy`: the REST generation (1.x). `named`: the client sent the header at all."""

    legacy: bool
    named: bool


_UNNAMED = Version(legacy=False, named=False)


def api_version(request: HttpRequest | Request) -> Version:
    """2.x or no header is the present generation, 1.x the legacy one; raises InvalidApiVersion for the rest."""
    header = request.META.get("HTTP_X_API_VERSION", "").strip()
    if not header:
        return _UNNAMED
    match = _SHAPE.fullmatch(header)
    if not match:
        raise InvalidApiVersion(f"x-api-version {header[:20]!r} isn't known here. Send 2.x, 1.x or no such header.")
    return Version(legacy=match[1] == "1", named=True)

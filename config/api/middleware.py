"""The short way for API calls, past everything that only pages need."""

from collections.abc import Callable
from functools import lru_cache

from django.http import HttpRequest, HttpResponseBase
from django.urls import ResolverMatch, get_urlconf, resolve

from config.api import failures
from config.errors import InvalidInput

PREFIX = "/v1/"


# Trying each pattern in turn costs more than the rest of the way; most calls have one of a few addresses.
@lru_cache(maxsize=512)
def _resolve(path: str, urlconf: str | None) -> ResolverMatch:
    return resolve(path, urlconf)


def answer(request: HttpRequest) -> HttpResponseBase:
    """The answer to what is under /v1, whatever goes wrong."""
    path = request.path_info
    try:
        if "\0" in path or "%00" in request.META.get("QUERY_STRING", ""):
            raise InvalidInput("The address holds a NUL character. Leave it out.")
        match = request.resolver_match = _resolve(path, get_urlconf())
        return match.func(request, *match.args, **match.kwargs)  # type: ignore[no-any-return]
    except Exception as problem:
        return failures.answer_for(problem, request)


class ApiMiddleware:
    """Answers what is under /v1 itself, from the view alone, and hands everything else on.

    Standing first, it spares API calls the sessions, cookies and redirects that pages need, and it is the outer
    wall behind which nothing answers HTML: an unknown path or an exception becomes JSON here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if not path.startswith(PREFIX) and path != "/v1":
            return self.get_response(request)
        return answer(request)

"""The one place where an exception becomes an answer: `{"message", "code", "env"}` and never HTML."""

import logging
from typing import Any

import psycopg
from django.conf import settings
from django.core import exceptions
from django.core.signals import got_request_exception
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.urls import Resolver404
from rest_framework import exceptions as rest

from config.api.json import reply
from config.errors import DomainError, InsufficientScope, InvalidInput, LockBusy, NotFound, Unavailable

logger = logging.getLogger(__name__)

_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_LONGEST = 1000  # characters of a message; ids that are repeated in it come in any length
_PHRASES = {
    "required": "is required.",
    "null": "must not be null.",
    "blank": "must not be empty.",
    "not_a_list": "must be a list.",
}


def failure(error: DomainError) -> HttpResponse:
    """The answer that tells of `error`."""
    message = error.message if len(error.message) <= _LONGEST else f"{error.message[: _LONGEST - 1]}…"
    body = {"message": message, "code": error.code, "env": settings.ENVIRONMENT}
    return reply(body, status=error.status, headers=error.response_headers)


def exception_handler(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """What DRF calls for any exception in a view; an unforeseen one is logged and answered as `internal_error`."""
    return answer_for(exc, context.get("request"))


def answer_for(exc: Exception, request: Any) -> HttpResponse:
    """The answer to any exception whatever."""
    error = exc if isinstance(exc, DomainError) else _translate(exc)
    if error is None:
        return _unforeseen(exc, request)
    if error.status >= 500 or isinstance(exc, DataError):
        logger.error("%s: %s", error.code, exc, exc_info=exc)
    return failure(error)


def _translate(exc: Exception) -> DomainError | None:
    match exc:
        case rest.ValidationError():
            return InvalidInput(first_problem(exc.get_full_details()))
        case exceptions.ValidationError():
            return InvalidInput(" ".join(exc.messages))
        case rest.APIException():
            return DomainError(str(exc.detail), code=exc.default_code, status=exc.status_code)
        case Resolver404() | Http404():
            return NotFound("There is nothing at this address. Check the path and the method of the call.")
        case exceptions.PermissionDenied():
            return InsufficientScope("This is not allowed.")
        case exceptions.RequestDataTooBig():
            limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            return DomainError(f"The body is over {limit} bytes. Send less.", code="payload_too_large", status=413)
        case exceptions.BadRequest() | exceptions.SuspiciousOperation() | UnreadablePostError():
            return InvalidInput("The request can't be read. Send it again.")
        case OperationalError() if isinstance(exc.__cause__, _BUSY):
            return LockBusy("Another call on the same customer is still running. Try again in a moment.")
        case DataError():
            return InvalidInput("A value is out of the range that can be stored.")
        case OperationalError() | InterfaceError():
            return Unavailable("The database can't be reached right now. Try again in a moment.")
    return None


def _unforeseen(exc: Exception, request: Any) -> HttpResponse:
    django_request: HttpRequest | None = getattr(request, "_request", request)
    logger.error("%s failed", getattr(django_request, "path", "A request"), exc_info=exc)
    got_request_exception.send(sender=None, request=django_request)
    message = "Something went wrong on our side. It has been logged."
    return failure(DomainError(message, code="internal_error", status=500))


def first_problem(details: Any, path: str = "") -> str:
    """The first of DRF's nested error details as a sentence that names its field: `items[0].price is required.`"""
    if isinstance(details, dict) and not (details.keys() == {"message", "code"} and isinstance(details["code"], str)):
        name, inner = next((item for item in details.items() if item[1]), ("", {"message": "is invalid.", "code": ""}))
        if name == "non_field_errors":
            return first_problem(inner, path)
        if isinstance(name, int):
            return first_problem(inner, f"{path}[{name}]")
        return first_problem(inner, f"{path}.{name}" if path else str(name))
    if isinstance(details, list):
        index, inner = next(
            (pair for pair in enumerate(details) if pair[1]), (0, {"message": "is invalid.", "code": ""})
        )
        is_leaf = isinstance(inner, dict) and inner.keys() == {"message", "code"}
        return first_problem(inner, path if is_leaf else f"{path}[{index}]")
    phrase = _PHRASES.get(details["code"], str(details["message"]))
    if not path:
        return phrase
    return f"{path} {phrase}" if phrase[:1].islower() else f"{path}: {phrase}"

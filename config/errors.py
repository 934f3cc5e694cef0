"""The one exception that says what is wrong with a request, and the kinds that belong to no app."""

from collections.abc import Mapping
from typing import ClassVar


class DomainError(Exception):
    """A refusal with a reason: `code` for programs, `message` for people, `status` for HTTP.

    The message names the field or id and says what to do. Subclasses fix `code` and `status`; both can be
    given per instance. `headers` are sent along with the answer.
    """

    code: str = "invalid_request"
    status: int = 400
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status = status or type(self).status
        self.response_headers = dict(headers if headers is not None else type(self).headers)


class InvalidInput(DomainError):
    """A field is missing, of the wrong type or out of range."""

    code = "invalid_inputs"


class InvalidRequest(DomainError):
    """Each field is fine by itself, but what is asked for can't be done as things stand."""

    code = "invalid_request"


class InvalidApiVersion(DomainError):
    """`x-api-version` names a generation that isn't spoken here."""

    code = "invalid_api_version"


class NoSecretKey(DomainError):
    """The request carries no API key."""

    code = "no_secret_key"
    status = 401
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class InvalidSecretKey(DomainError):
    """The API key is unknown, revoked or of the other environment."""

    code = "invalid_secret_key"
    status = 401
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class InsufficientScope(DomainError):
    """The API key may read, and the request writes."""

    code = "insufficient_scope"
    status = 403


class NotFound(DomainError):
    """There is nothing at this address; unknown ids have codes of their own."""

    code = "not_found"
    status = 404


class Conflict(DomainError):
    """Something with this id is there already, or the state moved on meanwhile."""

    code = "conflict"
    status = 409


class LockBusy(DomainError):
    """Another call on the same customer took longer than the wait that is allowed."""

    code = "lock_already_exists"
    status = 429
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class Unavailable(DomainError):
    """The database can't be reached right now."""

    code = "service_unavailable"
    status = 503
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}

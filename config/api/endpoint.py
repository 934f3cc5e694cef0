"""The base of every call under /v1: who asks, with what, and once only."""

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, ClassVar

import msgspec
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, UnsupportedMediaType
from rest_framework.views import APIView

from config.access import idempotency
from config.access.authentication import Caller, authenticate
from config.access.models import Scope
from config.actor import Actor
from config.api import json
from config.api.failures import exception_handler
from config.api.versions import Version, api_version
from config.database import deadlock
from config.errors import DomainError, InvalidInput


class Keyed(Enum):
    """What an idempotency key does to a call."""

    IGNORED = "ignored"
    # The answer is stored in the transaction of the work: both are there, or neither.
    TRANSACTION = "transaction"
    # The work speaks to the outside between transactions; the key is held by a lease meanwhile.
    LEASE = "lease"


# How much of a body that is too large is read and thrown away, in largest allowed bodies.
_DRAINED = 8


class Endpoint(APIView):
    """One call of the API.

    `Input` reads the request: a serializer (gives a dict), a msgspec Struct (gives the struct, and costs less),
    or None (gives the decoded JSON). Query parameters and parts of the path are merged in. `handle` gets that and
    returns a dict or list, sent with `status`, or a whole response made by `api.reply`.
    """

    Input: ClassVar[type[serializers.BaseSerializer[Any]] | type[msgspec.Struct] | None] = None
    methods: ClassVar[tuple[str, ...]] = ("POST",)
    access: ClassVar[Scope] = Scope.WRITE
    keyed: ClassVar[Keyed | None] = None  # None: TRANSACTION for what writes, IGNORED for what reads
    takes_list: ClassVar[bool] = False
    status: ClassVar[int] = 200

    # Django's own, not wrapped by DRF.
    request: HttpRequest  # type: ignore[assignment]
    version: Version
    caller: Caller  # the key that came with the request
    _decoder: ClassVar[msgspec.json.Decoder[Any] | None] = None

    def handle(self, data: Any, request: HttpRequest) -> Any:
        """Answer the validated request."""
        raise NotImplementedError

    @property
    def actor(self) -> Actor:
        """Who does it, for the ledger."""
        return Actor(f"key:{self.caller.prefix}", self.request.META.get("HTTP_X_REQUEST_ID", "")[:64])

    # -- how DRF is kept lean: Django's own request, one parser and renderer, scope instead of permissions --

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        shape: Any = cls.Input
        is_struct = isinstance(shape, type) and issubclass(shape, msgspec.Struct)
        cls._decoder = msgspec.json.Decoder(shape, float_hook=json.number) if is_struct else None

    @classmethod
    def as_view(cls, **options: Any) -> Any:
        """The view: a new instance per request, without the layers that Django and DRF put around it."""

        def view(request: HttpRequest, **path: Any) -> HttpResponseBase:
            return cls(**options).dispatch(request, **path)

        view.csrf_exempt = True  # type: ignore[attr-defined]  # nobody is logged in by a cookie here
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **path: Any) -> HttpResponseBase:
        """Answer, or tell what was wrong; DRF's way there without content negotiation and its wrapped request."""
        self.request, self.args, self.kwargs = request, args, path
        try:
            self.initial(request)
            return self.answer(request, *args, **path)
        except Exception as problem:
            return exception_handler(problem, {"request": request})

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Who asks, and may they?"""
        self.caller = authenticate(request)
        self.version = api_version(request)
        self.caller.require(self.access)

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """DRF calls this for a verb that has no method of its own here."""
        raise MethodNotAllowed(str(request.method))

    def answer(self, request: HttpRequest, *args: Any, **path: Any) -> HttpResponseBase:
        """Read, validate, handle; all of it once per idempotency key."""
        if request.method not in self.methods:
            self.http_method_not_allowed(request)
        body = _body(request)
        content_type = request.META.get("CONTENT_TYPE")
        if content_type and content_type != "application/json" and body:
            _expect_json(content_type)
        data = self.read(body, request, path)
        keys = self._keys(body, request)
        work: Callable[[], HttpResponse] = partial(self._respond, data, request)
        if keys:
            work = self._once_per_key(keys, work, body, request)
        return work() if self.keyed is Keyed.LEASE else deadlock.begin_again(work)

    get = post = put = patch = delete = answer

    options = http_method_not_allowed

    def read(self, body: bytes, request: HttpRequest, path: dict[str, Any]) -> Any:
        """The validated request: body over query parameters, parts of the path over both."""
        if self._decoder and not path and not request.META.get("QUERY_STRING"):
            return json.decode(body, self._decoder)
        data = json.decode(body)
        if isinstance(data, dict):
            data = {**request.GET.dict(), **data, **path}
        if not isinstance(data, list if self.takes_list else dict):
            raise InvalidInput(f"The body must be a JSON {'array' if self.takes_list else 'object'}.")
        if self._decoder:
            return json.decode(json.encode(data), self._decoder)
        if self.Input is None:
            return data
        shape: Any = self.Input
        serializer = shape(data=data, many=self.takes_list)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def _keys(self, body: bytes, request: HttpRequest) -> list[idempotency.Key]:
        """The keys that hold for this call: one in the header, one in the body, or both, each for itself."""
        keyed = self.keyed or (Keyed.TRANSACTION if self.access is Scope.WRITE else Keyed.IGNORED)
        if keyed is Keyed.IGNORED:
            return []
        data = json.decode(body) if b'"idempotency_key"' in body else None
        in_body = data.get("idempotency_key") if isinstance(data, dict) else None
        return idempotency.keys_of(header=request.META.get("HTTP_IDEMPOTENCY_KEY"), body=in_body)

    def _once_per_key(
        self, keys: Sequence[idempotency.Key], work: Callable[[], HttpResponse], body: bytes, request: HttpRequest
    ) -> Callable[[], HttpResponse]:
        request_id = idempotency.fingerprint(str(request.method), request.path, json.canonical(json.decode(body)))
        for key in keys:
            work = partial(
                idempotency.once,
                key=key,
                caller=self.caller,
                request_id=request_id,
                work=work,
                leased=self.keyed is Keyed.LEASE,
                named_version=self.version.named,
            )
        return work

    def _respond(self, data: Any, request: HttpRequest) -> HttpResponse:
        result = self.handle(data, request)
        return result if isinstance(result, HttpResponse) else json.reply(result, status=self.status)


def by_method(**views: type[Endpoint]) -> Callable[..., HttpResponseBase]:
    """One address, another endpoint per method: `by_method(get=ReadEntity, delete=DeleteEntity)`."""
    ready: dict[str, Callable[..., HttpResponseBase]] = {
        method.upper(): view.as_view() for method, view in views.items()
    }
    first = next(iter(ready.values()))

    def dispatch(request: HttpRequest, **path: Any) -> HttpResponseBase:
        return ready.get(str(request.method), first)(request, **path)

    return dispatch


def _body(request: HttpRequest) -> bytes:
    """The whole body, of a chunked request too, which Django takes for an empty one; raises RequestDataTooBig."""
    if "HTTP_TRANSFER_ENCODING" not in request.META or request.META.get("CONTENT_LENGTH"):
        try:
            return request.body
        except RequestDataTooBig:
            _drain(request)
            raise
    if not request.META.get("wsgi.input_terminated"):
        raise DomainError("Send the body with a Content-Length.", code="length_required", status=411)
    stream = request.META["wsgi.input"]
    body: bytes = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        _drain(stream)
        raise RequestDataTooBig
    return body


def _drain(stream: Any) -> None:
    """Let the sender finish a body that is refused, within bounds.

    Many clients read an answer only when they have sent everything; one that comes with a closed connection is lost.
    """
    for _ in range(_DRAINED):
        if not stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE):
            return


def _expect_json(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType(
            media_type, f"Send JSON with Content-Type: application/json, not {media_type[:80]!r}."
        )

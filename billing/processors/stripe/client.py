"""Calls to Stripe: explicit retries and timeouts, no telemetry, no open transaction, errors in our words."""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings
from django.db import transaction
from django.db.migrations.recorder import MigrationRecorder

from billing.processors.failures import (
    CardRefused,
    MissingAtProcessor,
    ProcessorFailure,
    ProcessorMisconfigured,
    ProcessorRefused,
    ProcessorUnavailable,
)
from config.access.idempotency import NeedsSteps

logger = logging.getLogger(__name__)

# The version that the SDK is pinned to; webhook endpoints are made with it and events of another one are turned away.
API_VERSION: str = stripe.api_version
_CONNECT_SECONDS, _READ_SECONDS = 5, 30
_RETRIES = 2
_LONGEST_KEY = 255
_NEEDS_CUSTOMER = frozenset(
    [
        "authentication_required",
        "invoice_payment_intent_requires_action",
        "subscription_payment_intent_requires_action",
        "payment_intent_authentication_failure",
    ]
)

stripe.enable_telemetry = False
os.environ.setdefault("STRIPE_SUPPRESS_NOTICES", "true")

type Found = dict[str, Any]


class Client:
    """A Stripe account. `call` answers with plain dicts and raises ProcessorFailure, CardRefused for a card."""

    def __init__(self, api_key: str, *, http_client: stripe.HTTPClient | None = None) -> None:
        self.is_test = "_test_" in api_key
        self.pause: int = 1  # seconds between looks at something that takes its time
        self.api = stripe.StripeClient(
            api_key,
            max_network_retries=_RETRIES,
            http_client=http_client or stripe.RequestsClient(timeout=(_CONNECT_SECONDS, _READ_SECONDS)),
        )

    def call(
        self, what: Callable[..., Any], *ids: str, params: Mapping[str, Any] | None = None, key: str = ""
    ) -> Found:
        """One call. `key` makes it safe to repeat; it is made unique to this database before it leaves."""
        _expect_no_transaction()
        options = {"idempotency_key": _unique(key)} if key else {}
        try:
            answer = what(*ids, params=dict(params or {}), options=options)
        except stripe.StripeError as problem:
            raise translated(problem) from problem
        found: Found = answer.to_dict()
        response = answer.last_response
        found["_replayed"] = bool(response) and (response.headers or {}).get("idempotent-replayed") == "true"
        return found

    def each(self, what: Callable[..., Any], *ids: str, params: Mapping[str, Any]) -> Iterator[Found]:
        """All rows of a list, page by page, newest first."""
        after: dict[str, str] = {}
        while True:
            page = self.call(what, *ids, params={"limit": 100, **params, **after})
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}


def _expect_no_transaction() -> None:
    """Nobody waits for the network with rows locked."""
    try:
        with transaction.atomic(durable=True):
            pass
    except RuntimeError as inside:
        raise NeedsSteps("Stripe was called inside a database transaction.") from inside


def translated(problem: stripe.StripeError) -> ProcessorFailure:
    """Stripe's error in our words, with what staff can do about it."""
    said = problem.user_message or "no reason given"
    request = f" (Stripe request {problem.request_id})" if problem.request_id else ""
    is_missing = isinstance(problem, stripe.InvalidRequestError) and (
        problem.code == "resource_missing" or problem.http_status == 404
    )
    # Whether what isn't there should be is for the caller to say: a plan's product is looked for before it is made.
    level = logging.DEBUG if is_missing else logging.WARNING
    logger.log(level, "Stripe: %s %s%s", type(problem).__name__, said, request)
    match problem:
        case stripe.AuthenticationError():
            return ProcessorMisconfigured(f"Stripe refuses our key. Put a valid one into STRIPE_SECRET_KEY.{request}")
        case stripe.PermissionError():
            return ProcessorMisconfigured(
                f"The Stripe key lacks a permission: {said} Add it to the key on Stripe's dashboard.{request}"
            )
        case stripe.CardError():
            return _refused_card(problem, f"The bank refused the card: {said}{request}")
        case stripe.StripeError() if problem.http_status == 409:
            return ProcessorUnavailable(f"Stripe is still at work on an earlier try. Try again in a minute.{request}")
        case stripe.RateLimitError():
            return ProcessorUnavailable(f"Stripe is busy. Try again in a few seconds.{request}")
        case stripe.IdempotencyError():
            return ProcessorRefused(f"An earlier try of this step had other contents. Run reconcile.{request}")
        case stripe.InvalidRequestError() if is_missing:
            return MissingAtProcessor(f"Stripe doesn't know it: {said}{request}")
        case stripe.InvalidRequestError():
            return ProcessorRefused(f"Stripe refused: {said}{request}")
    return ProcessorUnavailable(
        f"Stripe can't be reached or is in trouble. What was begun is settled with the next call; try again.{request}"
    )


def _refused_card(problem: stripe.CardError, message: str) -> CardRefused:
    found = CardRefused(message)
    codes = {problem.code, getattr(problem.error, "decline_code", None)}
    found.asks_customer = bool(codes & _NEEDS_CUSTOMER)
    return found


def digest(value: Any) -> str:
    """A short fingerprint of parameters, for keys of steps that may be taken again with other contents."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def seconds(moment: datetime) -> int:
    """Unix seconds, the fraction cut off."""
    return int(moment.timestamp())


def moment(unix: int | None) -> datetime | None:
    return None if unix is None else datetime.fromtimestamp(unix, UTC)


def _unique(key: str) -> str:
    return f"{settings.ORGANIZATION_SLUG}:{_database_mark()}:{key}"[:_LONGEST_KEY]


@functools.cache
def _database_mark() -> str:
    """Tells databases apart that share a Stripe account: rows of a fresh one must not meet keys of the last."""
    first = MigrationRecorder.Migration.objects.order_by("pk").values_list("applied", flat=True).first()
    return digest(str(first))

"""Endpoints of applications: added, changed, given a new secret, tried, removed; the same for staff and for the API."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from billing.errors import WebhookConflict, WebhookNotFound
from billing.models import WebhookDelivery, WebhookEndpoint, WebhookType
from billing.services.webhooks import outbox, signing, transport

MOST = 50
# How long the secret before a roll still signs along.
BOTH = timedelta(hours=24)
SENT = (WebhookType.USAGE_ALERT, WebhookType.LIMIT_REACHED, WebhookType.BILLING_UPDATED)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an endpoint is to be; None leaves a field as it is (of a new one: empty, and not disabled)."""

    url: str | None = None
    events: Sequence[str] | None = None
    description: str | None = None
    disabled: bool | None = None


def get(public_id: str) -> WebhookEndpoint:
    """The endpoint with that id; raises WebhookNotFound."""
    endpoint = WebhookEndpoint.objects.present().filter(public_id=public_id).first()
    if endpoint is None:
        raise WebhookNotFound(public_id)
    return endpoint


def create(public_id: str, terms: Terms, *, at: datetime) -> WebhookEndpoint:
    """Add an endpoint, with a secret of its own. Raises InvalidInput for its address, WebhookConflict for its id."""
    endpoint = WebhookEndpoint(public_id=public_id, secret=signing.new_secret(), created_at=at)
    _set(endpoint, terms, at)
    if WebhookEndpoint.objects.present().count() >= MOST:
        raise WebhookConflict(f"There are {MOST} webhook endpoints already. Remove one that is not needed.")
    try:
        with transaction.atomic():
            endpoint.save()
    except IntegrityError as taken:
        raise WebhookConflict(f"There is a webhook endpoint {public_id!r} already. Update it instead.") from taken
    return endpoint


def update(public_id: str, terms: Terms, *, at: datetime) -> WebhookEndpoint:
    """Change what is given; what waits goes to the new address. Raises WebhookNotFound, and InvalidInput."""
    with transaction.atomic():
        endpoint = _locked(public_id)
        _set(endpoint, terms, at)
        endpoint.save()
    return endpoint


def remove(public_id: str, *, at: datetime) -> None:
    """Send nothing more to it; its id is free again, and what it was sent stays listed. Raises WebhookNotFound."""
    with transaction.atomic():
        endpoint = _locked(public_id)
        endpoint.deleted_at = at
        endpoint.save(update_fields=["deleted_at"])
        _give_up(endpoint)


def roll_secret(public_id: str, *, at: datetime) -> WebhookEndpoint:
    """Give it a new secret; for a day messages are signed with the old one too. Raises WebhookNotFound."""
    with transaction.atomic():
        endpoint = _locked(public_id)
        endpoint.previous_secret, endpoint.previous_secret_until = endpoint.secret, at + BOTH
        endpoint.secret, endpoint.updated_at = signing.new_secret(), at
        endpoint.save()
    return endpoint


def send_test(public_id: str, *, at: datetime) -> None:
    """Send it a message that says nothing, so that its receiver can be tried. Raises WebhookNotFound."""
    endpoint = get(public_id)
    data = {"endpoint_id": endpoint.public_id, "message": "It works. Nothing has happened."}
    outbox.write(WebhookType.TEST, data, cause=f"test:{secrets.token_hex(8)}", at=at, endpoint_pk=endpoint.pk)


def _locked(public_id: str) -> WebhookEndpoint:
    endpoint = WebhookEndpoint.objects.present().select_for_update().filter(public_id=public_id).first()
    if endpoint is None:
        raise WebhookNotFound(public_id)
    return endpoint


def _set(endpoint: WebhookEndpoint, terms: Terms, at: datetime) -> None:
    if terms.url is not None:
        endpoint.url = transport.check_url(terms.url)
    if terms.events is not None:
        endpoint.events = list(dict.fromkeys(terms.events))
    if terms.description is not None:
        endpoint.description = terms.description
    if terms.disabled is not None and terms.disabled != (endpoint.disabled_at is not None):
        endpoint.disabled_at = at if terms.disabled else None
    endpoint.updated_at = at


def _give_up(endpoint: WebhookEndpoint) -> None:
    waiting = WebhookDelivery.objects.filter(endpoint=endpoint, status=WebhookDelivery.Status.PENDING)
    waiting.update(status=WebhookDelivery.Status.FAILED, next_attempt_at=None, leased_until=None)

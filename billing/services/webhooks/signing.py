"""Signatures as Standard Webhooks has them, so that receivers verify with a library they may have already."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook


def new_secret() -> str:
    """A secret to sign with, in the form that receivers' libraries take."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"


def headers(message_id: str, body: str, *, with_secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """The headers of one attempt: the id stays the same with every attempt, the time is that of this one (`at`)."""
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in with_secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }

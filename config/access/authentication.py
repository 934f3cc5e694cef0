"""How a request shows its key: `Authorization: Bearer sl_test_…`."""

from django.conf import settings
from django.http import HttpRequest

from config import clock
from config.access import keys
from config.access.keys import Caller
from config.errors import InvalidSecretKey, NoSecretKey

__all__ = ["Caller", "authenticate"]


def authenticate(request: HttpRequest) -> Caller:
    """Whose key came with the request; raises NoSecretKey or InvalidSecretKey."""
    scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise NoSecretKey("Send your API key as: Authorization: Bearer sl_…")
    caller = keys.holder(secret, at=clock.now())
    if caller is None:
        raise InvalidSecretKey(
            f"This API key is unknown or revoked in the {settings.ENVIRONMENT} environment. "
            "Make a new one in the admin or with manage.py create_api_key."
        )
    return caller

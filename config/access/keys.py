"""Making API keys, telling who holds one, and revoking them."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from time import monotonic

from django.conf import settings
from django.db.models import Q

from config.access.models import ApiKey, Scope
from config.errors import InsufficientScope, InvalidInput

# How long a process trusts what it knows of a key: a revoked key is refused everywhere after this many seconds.
CACHE_SECONDS = 15
MAX_NAME = 100
_CACHE_SIZE = 10_000
_SHOWN = 16

_PREFIXES = {"sandbox": "sl_test_", "live": "sl_live_"}


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a key, as much of it as a request needs."""

    key_id: int
    prefix: str
    scope: str

    def require(self, scope: str) -> None:
        """Raise InsufficientScope when the key isn't good for `scope`."""
        if scope == Scope.WRITE and self.scope != Scope.WRITE:
            raise InsufficientScope(f"The key {self.prefix}… may only read. Use a key with write scope.")


_cache: dict[bytes, tuple[float, Caller]] = {}
_cache_lock = Lock()


def create(*, name: str, at: datetime, scope: str = Scope.WRITE, secret: str = "") -> tuple[ApiKey, str]:
    """A new key and its secret, which can't be read again later.

    `secret` fixes the key (for demos and scripts) instead of a fresh one; the same secret again changes its row to
    the given name and scope and revives it. Raises InvalidInput for a name that is empty or too long, and for a
    secret of the other environment or too short.
    """
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"The name of a key has 1 to {MAX_NAME} printable characters.")
    secret = secret or _PREFIXES[settings.ENVIRONMENT] + secrets.token_urlsafe(32)
    check(secret)
    # Never show more than half of a short key.
    prefix = secret[: min(_SHOWN, len(secret) // 2)]
    key, _ = ApiKey.objects.update_or_create(
        hash=_hash(secret),
        defaults={"name": name, "scope": scope, "prefix": prefix, "revoked_at": None},
        create_defaults={"name": name, "scope": scope, "prefix": prefix, "created_at": at},
    )
    return key, secret


def check(secret: str) -> None:
    """Raise InvalidInput for a key that can't be one here."""
    other = "_live_" if settings.ENVIRONMENT == "sandbox" else "_test_"
    if other in secret:
        raise InvalidInput(f"A key with {other} in it isn't for this environment ({settings.ENVIRONMENT}).")
    if len(secret) < 8 or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise InvalidInput("A key has at least 8 printable characters without spaces.")


def revoke(key: ApiKey, *, at: datetime) -> None:
    """Refuse the key from now on; other processes follow within CACHE_SECONDS."""
    ApiKey.objects.live().filter(pk=key.pk).update(revoked_at=at)
    key.refresh_from_db(fields=("revoked_at",))
    forget()


def holder(secret: str, *, at: datetime) -> Caller | None:
    """Who holds this key; None for a key that is unknown or revoked. Mostly answered from memory."""
    hashed = _hash(secret)
    known = _cache.get(hashed)
    if known and known[0] > monotonic():
        return known[1]
    key = ApiKey.objects.live().filter(hash=hashed).only("id", "prefix", "scope").first()
    if key is None:
        _cache.pop(hashed, None)
        return None
    stale = Q(last_used_at=None) | Q(last_used_at__lt=at - timedelta(minutes=1))
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=at)
    caller = Caller(key_id=key.pk, prefix=key.prefix, scope=key.scope)
    with _cache_lock:
        if len(_cache) >= _CACHE_SIZE:
            _cache.clear()
        _cache[hashed] = (monotonic() + CACHE_SECONDS, caller)
    return caller


def forget() -> None:
    """Drop what this process knows of keys."""
    _cache.clear()


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
